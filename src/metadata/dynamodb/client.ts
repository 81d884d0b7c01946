/** The DynamoDB client. Loaded late because it loads the SDK. */
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { openClient } from "../../aws/client.ts";
import type { DynamodbSettings } from "./settings.ts";

export async function connect(settings: DynamodbSettings): Promise<DynamoDBClient> {
  return await openClient(settings, (options) => new DynamoDBClient(options));
}

/** The client for DynamoDB. Loaded late, it brings the SDK with it. */
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { openClient } from "../../aws/client.ts";
import type { DynamodbSettings } from "./settings.ts";

export async function connect(settings: DynamodbSettings): Promise<DynamoDBClient> {
  return await openClient(settings, (options) => new DynamoDBClient(options));
}

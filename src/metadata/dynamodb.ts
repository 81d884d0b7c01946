/**
 * The catalog in one DynamoDB table.
 *
 * This file is loaded by every command, the SDK only by those that use it: dynamodb-records.ts reads and
 * writes records, dynamodb-table.ts makes the table.
 */
import { openClient } from "../aws.ts";
import { DocprocError } from "../errors.ts";
import type { Settings } from "../settings.ts";
import type { MetadataDriver } from "./service.ts";

export const dynamodbMetadata: MetadataDriver = {
  summary: "an Amazon DynamoDB table",
  async open(settings) {
    const table = tableName(settings);
    const { DynamoDBClient, DynamoDbMetadata } = await import("./dynamodb-records.ts");
    const client = await openClient(settings, (options) => new DynamoDBClient(options));
    return new DynamoDbMetadata(client, table, settings);
  },
  async *provision(settings, options) {
    const table = tableName(settings);
    const { DynamoDBClient, provisionTable } = await import("./dynamodb-table.ts");
    const client = await openClient(settings, (config) => new DynamoDBClient(config));
    try {
      yield* provisionTable(client, table, settings, options);
    } finally {
      client.destroy();
    }
  },
};

/** https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html */
function tableName(settings: Settings): string {
  const { table } = settings;
  if (table === undefined) {
    throw new DocprocError("INVALID_CONFIG", "Metadata dynamodb needs a table.", { hint: "Add --table NAME." });
  }
  if (!/^[A-Za-z0-9_.-]{3,255}$/.test(table)) {
    throw new DocprocError("INVALID_CONFIG", `${JSON.stringify(table)} cannot be the name of a table.`, {
      hint: "Use 3 to 255 letters, digits, dots, hyphens and underscores.",
    });
  }
  return table;
}

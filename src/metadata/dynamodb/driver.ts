/**
 * The catalog in one DynamoDB table.
 *
 * Every command loads this file; the SDK loads on use: catalog.ts reads and writes records, table.ts creates the table,
 * removal.ts removes it.
 */
import { closing } from "../../aws/failures.ts";
import { DocprocError } from "../../core/errors.ts";
import type { Settings } from "../../core/settings.ts";
import type { MetadataDriver } from "../service.ts";

export const dynamodbMetadata: MetadataDriver = {
  summary: "an Amazon DynamoDB table",
  check: (settings) => void tableName(settings),
  async open(settings) {
    const table = tableName(settings);
    const [{ connect }, { DynamoDbMetadata }] = await Promise.all([import("./client.ts"), import("./catalog.ts")]);
    return new DynamoDbMetadata(await connect(settings), table, settings);
  },
  async *provision(settings, options) {
    const table = tableName(settings);
    const [{ connect }, { provisionTable }] = await Promise.all([import("./client.ts"), import("./table.ts")]);
    yield* closing(await connect(settings), (client) => provisionTable(client, table, settings, options));
  },
  async *dismantle(settings, options) {
    const table = tableName(settings);
    const [{ connect }, { removeTable }] = await Promise.all([import("./client.ts"), import("./removal.ts")]);
    yield* closing(await connect(settings), (client) => removeTable(client, table, settings, options));
  },
  async clockSkew(settings, signal) {
    const table = tableName(settings);
    const [{ connect }, { clockSkew }] = await Promise.all([import("./client.ts"), import("./table.ts")]);
    const client = await connect(settings);
    try {
      return await clockSkew(client, table, settings, signal);
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

/**
 * The catalog in one DynamoDB table.
 *
 * Every command loads this file; the SDK loads on use: catalog.ts reads and writes records, table.ts creates the table,
 * removal.ts removes it.
 */
import { closing } from "../../aws/failures.ts";
import { type DerivedAwsSettings, deriveAwsSettings } from "../../aws/settings.ts";
import { defineDriver } from "../../core/driver.ts";
import { DocprocError } from "../../core/errors.ts";
import type { MetadataService } from "../service.ts";
import { dynamodbSettings } from "./settings.ts";
import { dynamodbTraits } from "./traits.ts";

export const dynamodbMetadata = defineDriver<MetadataService, typeof dynamodbSettings, DerivedAwsSettings>({
  title: "DynamoDB",
  traits: dynamodbTraits,
  settings: dynamodbSettings,
  // A bucket alone selects S3 and a table of the same name.
  chosenBy: ["table", "bucket"],
  isRemote: true,
  derive: deriveAwsSettings,
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
  nameOf: ({ table = "" }) => ({ kind: "table", name: table, isPath: false }),
  placeOf: async ({ table }) => `table ${table}`,
  async permissions(role, settings) {
    const { dynamodbPermissions } = await import("./permissions.ts");
    return dynamodbPermissions(role, settings);
  },
});

/** https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html */
function tableName({ table }: { readonly table: string | undefined }): string {
  if (table === undefined) {
    throw new DocprocError("INVALID_CONFIG", "Metadata dynamodb needs a table.", { hint: "Add --table NAME." });
  }
  if (!/^[A-Za-z0-9_.-]{3,255}$/.test(table)) {
    throw new DocprocError("INVALID_CONFIG", `${JSON.stringify(table)} is not a valid table name.`, {
      hint: "Use 3 to 255 letters, digits, dots, hyphens and underscores.",
    });
  }
  return table;
}

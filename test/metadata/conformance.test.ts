/** Every kind of catalog passes the suite of conformance.ts, at every place that there is on this machine. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DeleteItemCommand, DynamoDBClient, PutItemCommand } from "@aws-sdk/client-dynamodb";
import { describe } from "vitest";
import { type MetadataName, metadataDrivers } from "../../src/metadata/registry.ts";
import { type AnySettings, awsEndpoints, awsSettings, localSettings } from "../support/aws.ts";
import { idAt, type MetadataTarget, metadataConformance, recordWith } from "./conformance.ts";

async function localTarget(): Promise<MetadataTarget> {
  const directory = await mkdtemp(join(tmpdir(), "docproc-metadata-"));
  return {
    settings: localSettings(directory),
    putClaim: async () => false,
    dropClaim: async () => false,
    // A page of SQLite has 500 rows.
    severalPages: (time) => Array.from({ length: 1200 }, (_, index) => recordWith({ id: idAt(time + index) })),
    questions: 100,
    close: () => rm(directory, { recursive: true }),
  };
}

function dynamoDbTarget(settings: AnySettings, endpoint: string, close: () => Promise<void>): MetadataTarget {
  const client = new DynamoDBClient({ endpoint });
  const keyOf = (name: string, identity: string) => ({ pk: { S: `name#${name}` }, sk: { S: identity } });
  return {
    settings,
    async putClaim(name, identity, id) {
      const Item = { ...keyOf(name, identity), id: { S: id }, size: { N: "5" } };
      await client.send(new PutItemCommand({ TableName: settings.table, Item }));
      return true;
    },
    async dropClaim(name, identity) {
      await client.send(new DeleteItemCommand({ TableName: settings.table, Key: keyOf(name, identity) }));
      return true;
    },
    // A page of DynamoDB has 1 MB of one shard.
    severalPages: (time) =>
      Array.from({ length: 90 }, (_, index) =>
        recordWith({ id: idAt(time + index).replace(/.$/, "0"), metadata: { long: "x".repeat(16_000) } }),
      ),
    questions: 20,
    async close() {
      client.destroy();
      await close();
    },
  };
}

/** The compiler asks for an entry for every driver of the registry, so none can be without tests. */
const targets: Record<MetadataName, Record<string, () => Promise<MetadataTarget>>> = {
  local: { "an SQLite file": localTarget },
  dynamodb: Object.fromEntries(
    Object.entries(awsEndpoints()).map(([name, start]) => [
      name,
      async () => {
        const { endpoint, close } = await start();
        return dynamoDbTarget(awsSettings(endpoint), endpoint, close);
      },
    ]),
  ),
};

for (const [driver, places] of Object.entries(targets) as [MetadataName, (typeof targets)[MetadataName]][]) {
  for (const [place, start] of Object.entries(places)) {
    describe(`${driver} metadata on ${place}`, () => metadataConformance(metadataDrivers[driver], start));
  }
}

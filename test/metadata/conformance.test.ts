/** Every kind of catalog passes the suite of conformance.ts, at every place that there is on this machine. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DeleteItemCommand, DynamoDBClient, GetItemCommand, PutItemCommand } from "@aws-sdk/client-dynamodb";
import { describe } from "vitest";
import {
  fromText,
  merged,
  toText,
  type Version,
  type Versions,
  versionOf,
  without,
} from "../../src/metadata/dynamodb/versions.ts";
import { type MetadataName, metadataDrivers } from "../../src/metadata/registry.ts";
import type { Entry } from "../../src/metadata/service.ts";
import { type AnySettings, awsEndpoints, awsSettings, localSettings } from "../support/aws.ts";
import { idAt, type MetadataTarget, metadataConformance, recordWith } from "./conformance.ts";

async function localTarget(): Promise<MetadataTarget> {
  const directory = await mkdtemp(join(tmpdir(), "docproc-metadata-"));
  return {
    settings: localSettings(directory),
    putPlace: async () => false,
    dropPlace: async () => false,
    // A page of SQLite has 500 rows.
    severalPages: (time) => Array.from({ length: 1200 }, (_, index) => recordWith({ id: idAt(time + index) })),
    questions: 100,
    close: () => rm(directory, { recursive: true }),
  };
}

function dynamoDbTarget(settings: AnySettings, endpoint: string, close: () => Promise<void>): MetadataTarget {
  const client = new DynamoDBClient({ endpoint });
  /** Replaces the head of a path; see src/metadata/dynamodb/versions.ts for what is in it. */
  async function changeHead(entry: Entry, change: (versions: Versions, own: Version) => Versions): Promise<boolean> {
    const { id, path, sha256 } = entry.record;
    const key = { pk: { S: `path#${path}` }, sk: { S: "head" } };
    const { Item } = await client.send(new GetItemCommand({ TableName: settings.table, Key: key }));
    const before = fromText(Item?.["entries"]?.S ?? "") ?? [];
    const entries = { S: toText(change(before, versionOf(id, entry.given, sha256))) };
    const head = { pages: { N: "0" }, ...Item, ...key, entries };
    if (entries.S === "") await client.send(new DeleteItemCommand({ TableName: settings.table, Key: key }));
    else await client.send(new PutItemCommand({ TableName: settings.table, Item: head }));
    return true;
  }
  return {
    settings,
    putPlace: (entry) => changeHead(entry, (versions, own) => merged(versions, [own])),
    dropPlace: (entry) => changeHead(entry, (versions, own) => without(versions, own.id)),
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

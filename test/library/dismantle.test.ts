/** What every driver promises of being dismantled. The promises are in src/storage/service.ts and src/metadata/service.ts. */
import promises, { access, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { CreateTableCommand, DynamoDBClient, PutItemCommand } from "@aws-sdk/client-dynamodb";
import { CreateMultipartUploadCommand, S3Client } from "@aws-sdk/client-s3";
import { describe, expect, onTestFinished, test } from "vitest";
import type { DismantledResource } from "../../src/core/resources.ts";
import { type DocumentRecord, newDocumentId, storageKey } from "../../src/document/record.ts";
import { temporaryIn } from "../../src/files/removal.ts";
import { asRow, openDatabase } from "../../src/files/sqlite.ts";
import { type MetadataName, metadataDrivers } from "../../src/metadata/registry.ts";
import type { MetadataDriver } from "../../src/metadata/service.ts";
import { type StorageName, storageDrivers } from "../../src/storage/registry.ts";
import type { StorageDriver } from "../../src/storage/service.ts";
import { type AnySettings, type AwsEndpoint, awsEndpoints, awsSettings, localSettings } from "../support/aws.ts";
import { bodyOf } from "../support/body.ts";
import { breakFileSystem } from "../support/fs-faults.ts";
import { usePlace } from "../support/library.ts";
import { entryOf, recordWith } from "../support/record.ts";

const never = new AbortController().signal;

type Driver = StorageDriver | MetadataDriver;

async function dismantle(
  driver: Driver,
  settings: AnySettings,
  options: { plan?: boolean; signal?: AbortSignal } = {},
) {
  const resources: DismantledResource[] = [];
  const shared = settings.storage === settings.metadata;
  for await (const resource of driver.dismantle(settings, { plan: false, signal: never, shared, ...options })) {
    resources.push(resource);
  }
  return resources.map(({ action }) => action);
}

async function provision(driver: Driver, settings: AnySettings) {
  const actions: string[] = [];
  for await (const { action } of driver.provision(settings, { plan: false, signal: never })) actions.push(action);
  return actions;
}

/** Where a driver is tried. */
interface Place {
  /** Starts a server, if the driver needs one. */
  readonly start?: () => Promise<AwsEndpoint>;
  /** Settings of a library of its own, which is not there yet. */
  readonly settings: (endpoint: string) => Promise<AnySettings>;
}

interface StoragePlace extends Place {
  /** Leaves what an upload leaves whose process dies. */
  readonly leave: (settings: AnySettings) => Promise<void>;
}

async function directorySettings(): Promise<AnySettings> {
  const directory = await mkdtemp(join(tmpdir(), "docproc-dismantle-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return localSettings(join(directory, "library"));
}

function record(): DocumentRecord {
  const id = newDocumentId();
  return recordWith({ id, path: `${id}.txt` });
}

const added = { unlessThere: true };

const newKey = () => storageKey("", newDocumentId(), "a.txt");
const conflict = (message: RegExp) => ({ code: "CONFLICT", message: expect.stringMatching(message) });

const directory: StoragePlace = {
  settings: directorySettings,
  leave: async ({ directory }) => await writeFile(temporaryIn(join(directory, "incoming")), "ha"),
};

const aws: Record<string, StoragePlace> = Object.fromEntries(
  Object.entries(awsEndpoints()).map(([name, start]) => [
    name,
    {
      start,
      settings: async (endpoint) => awsSettings(endpoint),
      async leave({ endpointUrl = "", bucket }) {
        const client = new S3Client({ endpoint: endpointUrl, forcePathStyle: true });
        onTestFinished(() => client.destroy());
        await client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: "k" }));
      },
    },
  ]),
);

/** The compiler asks for an entry for every driver of the registry: the places to try it at, by what they are called. */
const storagePlaces: Record<StorageName, Record<string, StoragePlace>> = {
  local: { "a directory": directory },
  s3: aws,
};
const metadataPlaces: Record<MetadataName, Record<string, Place>> = { local: { SQLite: directory }, dynamodb: aws };

for (const [name, places] of Object.entries(storagePlaces) as [StorageName, Record<string, StoragePlace>][]) {
  describe.each(Object.entries(places))(`${name} storage on %s, dismantled`, (_place, place) => {
    const endpoint = usePlace(place.start);
    const driver = storageDrivers[name];

    async function open() {
      // A catalog that is elsewhere: the storage alone is in the directory.
      const settings = { ...(await place.settings(endpoint() ?? "")), metadata: "dynamodb" };
      await provision(driver, settings);
      const storage = await driver.open(settings);
      onTestFinished(() => storage.close());
      const put = async (key: string) =>
        await storage.put(key, bodyOf(Buffer.from("bytes")), {
          size: 5,
          contentType: "text/plain",
          catalog: "c",
          signal: never,
        });
      return { settings, storage, put };
    }

    test("is gone, and can be made again", async () => {
      const { settings, storage, put } = await open();
      const key = newKey();
      await put(key);
      await storage.remove(key, never);
      expect(await dismantle(driver, settings, { plan: true })).not.toContain("removed");
      expect(new Set(await dismantle(driver, settings))).toEqual(new Set(["removed"]));
      await expect(storage.stat(key, never).then((found) => found?.size)).resolves.toBeUndefined();
      expect(new Set(await dismantle(driver, settings))).toEqual(new Set(["gone"]));
      expect(new Set(await dismantle(driver, settings, { plan: true }))).toEqual(new Set(["gone"]));
      expect(await provision(driver, settings)).toContain("created");
      await put(key);
      expect(String(await buffer(await storage.open(key, { signal: never })))).toBe("bytes");
    });

    test("is only looked at by a plan", async () => {
      const { settings, storage, put } = await open();
      expect(await dismantle(driver, settings, { plan: true })).toContain("would-remove");
      const key = newKey();
      await put(key);
      expect(await storage.stat(key, never)).toMatchObject({ size: 5 });
    });

    test.each([
      ["a document's", newKey()],
      ["somebody else's", "their-file.txt"],
    ])("is refused with an object in it, %s, which stays", async (_whose, key) => {
      const { settings, storage, put } = await open();
      await put(key);
      await put(newKey());
      const refused = conflict(/ holds (2 objects|1 object, 1 other file)\.$/);
      for (const plan of [true, false]) {
        await expect(dismantle(driver, settings, { plan })).rejects.toMatchObject(refused);
      }
      expect(String(await buffer(await storage.open(key, { signal: never })))).toBe("bytes");
    });

    test("is refused with an unfinished upload in it", async () => {
      const { settings, put } = await open();
      await put(newKey());
      await place.leave(settings);
      const refused = conflict(/ holds 1 object, 1 unfinished upload\.$/);
      await expect(dismantle(driver, settings)).rejects.toMatchObject(refused);
    });

    test("ends with its signal, and nothing is removed", async () => {
      const { settings } = await open();
      const signal = AbortSignal.abort();
      await expect(dismantle(driver, settings, { signal })).rejects.toMatchObject({ code: "CANCELLED" });
      expect(await dismantle(driver, settings, { plan: true })).toContain("would-remove");
    });
  });
}

for (const [name, places] of Object.entries(metadataPlaces) as [MetadataName, Record<string, Place>][]) {
  describe.each(Object.entries(places))(`${name} metadata on %s, dismantled`, (_place, place) => {
    const endpoint = usePlace(place.start);
    const driver = metadataDrivers[name];

    async function open() {
      // Bytes that are elsewhere: the catalog alone is in the directory.
      const settings = { ...(await place.settings(endpoint() ?? "")), storage: "s3" };
      await provision(driver, settings);
      const metadata = await driver.open(settings);
      onTestFinished(() => metadata.close());
      const commit = async (record: DocumentRecord) => await metadata.commit(entryOf(record), added, never);
      return { settings, metadata, commit };
    }

    test("is gone, and can be made again", async () => {
      const { settings, metadata, commit } = await open();
      const [one, other] = [record(), record()];
      const catalog = await metadata.catalog(never);
      await commit(one);
      await metadata.remove(one.id, never);
      expect(new Set(await dismantle(driver, settings, { plan: true }))).toEqual(new Set(["would-remove"]));
      expect(await metadata.catalog(never)).toBe(catalog);
      expect(new Set(await dismantle(driver, settings))).toEqual(new Set(["removed"]));
      expect(new Set(await dismantle(driver, settings))).toEqual(new Set(["gone"]));
      expect(new Set(await dismantle(driver, settings, { plan: true }))).toEqual(new Set(["gone"]));
      expect(await provision(driver, settings)).toContain("created");
      const anew = await driver.open(settings);
      onTestFinished(() => anew.close());
      expect(await anew.catalog(never)).not.toBe(catalog);
      expect(await anew.commit(entryOf(other), added, never)).toEqual({ committed: true });
    });

    test("is refused with documents in it, which stay", async () => {
      const { settings, metadata, commit } = await open();
      const [one, other] = [record(), record()];
      await commit(one);
      await commit(other);
      for (const plan of [true, false]) {
        await expect(dismantle(driver, settings, { plan })).rejects.toMatchObject(conflict(/ holds 2 documents\.$/));
      }
      expect((await metadata.get(one.id, never))?.record.id).toBe(one.id);
      await metadata.remove(one.id, never);
      await expect(dismantle(driver, settings)).rejects.toMatchObject(conflict(/ holds 1 document\.$/));
    });

    test("takes no record any more from who had it open", async () => {
      const { settings, metadata, commit } = await open();
      await metadata.catalog(never);
      await dismantle(driver, settings);
      await expect(commit(record())).rejects.toMatchObject({ name: "DocprocError" });
      expect(new Set(await dismantle(driver, settings))).toEqual(new Set(["gone"]));
    });

    test("ends with its signal, and nothing is removed", async () => {
      const { settings } = await open();
      const signal = AbortSignal.abort();
      await expect(dismantle(driver, settings, { signal })).rejects.toMatchObject({ code: "CANCELLED" });
      expect(await dismantle(driver, settings, { plan: true })).toContain("would-remove");
    });
  });
}

describe("an embedded library, dismantled", () => {
  async function open() {
    const settings = await directorySettings();
    for (const driver of Object.values(local)) await provision(driver, settings);
    const storage = await local.storage.open(settings);
    const metadata = await local.metadata.open(settings);
    onTestFinished(() => metadata.close());
    const options = { size: 1, contentType: "text/plain", catalog: await metadata.catalog(never), signal: never };
    const key = newKey();
    await storage.put(key, bodyOf(Buffer.from("a")), options);
    await storage.remove(key, never);
    const commit = async (made: DocumentRecord) => await metadata.commit(entryOf(made), added, never);
    const remove = async () => [
      ...(await dismantle(local.storage, settings)),
      ...(await dismantle(local.metadata, settings)),
    ];
    return { settings, metadata, commit, remove };
  }
  const local = { storage: storageDrivers.local, metadata: metadataDrivers.local };

  test("loses no record that comes in at the last moment", async () => {
    const { settings, commit, remove } = await open();
    const { unlink: real } = promises;
    const late: unknown[] = [];
    promises.unlink = async (path) => {
      if (path === join(settings.directory, "catalog.db")) late.push(await commit(record()).catch((error) => error));
      await real(path);
    };
    syncBuiltinESMExports();
    onTestFinished(() => {
      promises.unlink = real;
      syncBuiltinESMExports();
    });
    await remove();
    expect(late).toMatchObject([{ name: "DocprocError" }]);
  });

  test("continues after any failure of the disk", async () => {
    const broken = breakFileSystem();
    for (let n = 1, failed = true; failed; n += 1) {
      const { settings, remove } = await open();
      broken.include(settings.directory);
      broken.arm({ kind: "error", code: "EIO" }, n);
      const outcome = await remove().catch((error: unknown) => error);
      failed = broken.disarm().length > 0;
      if (failed) expect(outcome, `failure ${n}`).toMatchObject({ code: "UNAVAILABLE" });
      else expect(n).toBeGreaterThan(8);
      expect(new Set(await remove())).not.toContain("kept");
      await expect(access(settings.directory)).rejects.toMatchObject({ code: "ENOENT" });
    }
  });
});

test("a catalog file that an interrupted removal has left is removed", async () => {
  const settings = await directorySettings();
  await provision(metadataDrivers.local, settings);
  const catalog = await openDatabase(join(settings.directory, "catalog.db"), 0, (made) => {
    made.exec("DROP TABLE documents; DROP TABLE catalog; DROP TABLE tags");
  });
  catalog.close();
  expect(await dismantle(metadataDrivers.local, settings)).toEqual(["removed", "removed"]);
});

describe("the catalog file of another program", () => {
  test.each(["wal", "delete"])("stays as it is, in journal mode %s", async (mode) => {
    const settings = await directorySettings();
    await provision(storageDrivers.local, settings);
    const path = join(settings.directory, "catalog.db");
    const theirs = await openDatabase(path, 0, (made) => {
      made.exec(`PRAGMA journal_mode = ${mode}; CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)`);
    });
    theirs.close();
    for (const plan of [true, false]) {
      const refused = conflict(/database of another program/);
      await expect(dismantle(metadataDrivers.local, settings, { plan })).rejects.toMatchObject(refused);
    }
    const still = await openDatabase(path, 0, () => {});
    onTestFinished(() => still.close());
    expect(asRow(still.prepare("PRAGMA journal_mode").get())).toMatchObject({ journal_mode: mode });
    expect(asRow(still.prepare("SELECT a FROM theirs").get())).toMatchObject({ a: 1 });
    expect(await readdir(settings.directory)).toContain("catalog.db");
  });
});

describe.each(Object.entries(aws))("a table that docproc did not create, on %s", (_place, { start }) => {
  const endpoint = usePlace(start);

  async function makeTable(more: Partial<ConstructorParameters<typeof CreateTableCommand>[0]>) {
    const settings = awsSettings(endpoint() ?? "");
    const client = new DynamoDBClient({ endpoint: endpoint() ?? "" });
    onTestFinished(() => client.destroy());
    const keys = [
      { AttributeName: "pk", KeyType: "HASH" as const },
      { AttributeName: "sk", KeyType: "RANGE" as const },
    ];
    const TableName = settings.table;
    await client.send(
      new CreateTableCommand({
        TableName,
        KeySchema: keys,
        AttributeDefinitions: keys.map(({ AttributeName }) => ({ AttributeName, AttributeType: "S" as const })),
        BillingMode: "PAY_PER_REQUEST",
        ...more,
      }),
    );
    return { settings, client, TableName };
  }
  const driver = metadataDrivers.dynamodb;

  test("with other keys stays", async () => {
    const { settings } = await makeTable({
      KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
      AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
    });
    for (const plan of [true, false]) {
      await expect(dismantle(driver, settings, { plan })).rejects.toMatchObject(conflict(/has other keys/));
    }
  });

  test("with the same keys and items of its own stays", async () => {
    const { settings, client, TableName } = await makeTable({});
    await client.send(new PutItemCommand({ TableName, Item: { pk: { S: "user#1" }, sk: { S: "profile" } } }));
    await expect(dismantle(driver, settings)).rejects.toMatchObject(conflict(/ holds 1 other item\.$/));
    // Places without a document are docproc's own: a doctor frees them.
    await client.send(new PutItemCommand({ TableName, Item: { pk: { S: "path#a.txt" }, sk: { S: "head" } } }));
    await expect(dismantle(driver, settings)).rejects.toMatchObject(conflict(/ holds 1 path, 1 other item\.$/));
  });

  test("with the same keys, empty, but made otherwise than docproc does, stays", async () => {
    const { settings } = await makeTable({
      BillingMode: "PROVISIONED",
      ProvisionedThroughput: { ReadCapacityUnits: 1, WriteCapacityUnits: 1 },
    });
    await expect(dismantle(driver, settings)).rejects.toMatchObject(conflict(/docproc did not create the table/));
  });
});

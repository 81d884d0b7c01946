/** What each command costs on DynamoDB, in requests and in units: the figures that docs/dynamodb.md plans with. */
import { createHash, randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type AttributeValue,
  BatchWriteItemCommand,
  DynamoDBClient,
  paginateScan,
  type WriteRequest,
} from "@aws-sdk/client-dynamodb";
import { v7 } from "uuid";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { nameOfPath } from "../../../src/document/path.ts";
import { canonicalJson, type DocumentRecord, storageKey } from "../../../src/document/record.ts";
import { documentKey } from "../../../src/metadata/dynamodb/documents.ts";
import { inserted, merged, toText, type Versions, versionOf } from "../../../src/metadata/dynamodb/versions.ts";
import { metadataDrivers } from "../../../src/metadata/registry.ts";
import { type AwsEndpoint, awsEndpoints, awsSettings, startInRepoAws } from "../../support/aws.ts";
import { itemBytes, type Reading, startMeter } from "../../support/dynamodb-meter.ts";
import { randomNumbers } from "../../support/random.ts";
import { entryOf, recordWith } from "../../support/record.ts";
import { makeSandbox, type Outcome, runDocproc } from "../../support/run.ts";

const documents = 4000;
/** Of them, the newest for emulators that take long to answer about many. */
const few = 400;
const now = Date.UTC(2026, 0, 31);
/** Milliseconds from one document to the next: a week has 1,008 of them. */
const interval = 600_000;
/** Partition keys of documents: every listing asks each of them. */
const shards = 8;
/** Of ids that are spread over the shards as they are six times of seven: no shard has many more than the others. */
const seed = 5;

type Item = Record<string, AttributeValue>;

interface Library {
  /** Of one of the newest documents. */
  readonly id: string;
  /** Bytes of all documents in the table, without their places. */
  readonly bytes: number;
  /** Runs a command and says what it cost. */
  run(argv: readonly string[], files?: Readonly<Record<string, string>>): Promise<Outcome & { readonly cost: Reading }>;
  /** Every item of the table by its key. */
  items(): Promise<Map<string, Item>>;
  close(): Promise<void>;
}

const keyOf = ({ pk, sk }: Item) => `${pk?.S} ${sk?.S}`;
const total = (items: Iterable<Item>) => [...items].reduce((sum, item) => sum + itemBytes(item), 0);

/** What is searched for is known of each number: one in four, one in ten, one in twenty, four in all. */
function fieldsOf(number: number): { path: string; tags: Record<string, string> } {
  const digits = String(number).padStart(6, "0");
  const path = number % 20 === 1 ? "dist/app.tgz" : `${number % 10 === 0 ? "invoice" : "report"}-${digits}.pdf`;
  return { path, tags: { build: String(Math.floor(number / 4)), team: "abcd"[number % 4] ?? "" } };
}

/** Documents as one upload made them, but for what tells one document from another. */
async function fill(aws: AwsEndpoint, count: number): Promise<Library> {
  const sizes = new Map<string, number>();
  const meter = await startMeter(aws.endpoint, (key) => sizes.get(keyOf(key as Item)) ?? 0);
  const table = awsSettings("").bucket ?? "";
  const client = new DynamoDBClient({ endpoint: aws.endpoint });
  const items: Library["items"] = async () => {
    const found = new Map<string, Item>();
    for await (const { Items = [] } of paginateScan({ client }, { TableName: table })) {
      for (const item of Items) found.set(keyOf(item), item);
    }
    for (const [key, item] of found) sizes.set(key, itemBytes(item));
    return found;
  };
  const run: Library["run"] = async (argv, files = {}) => {
    const sandbox = await makeSandbox();
    for (const [name, text] of Object.entries(files)) await writeFile(join(sandbox.cwd, name), text);
    meter.start();
    const flags = ["--endpoint-url", meter.endpoint, "--bucket", table];
    const outcome = await runDocproc(sandbox, [...argv, ...flags], { now: () => now });
    expect(outcome).toMatchObject({ status: 0 });
    return { ...outcome, cost: meter.read() };
  };

  await run(["init"]);
  await run(["upload", "report.pdf", "--tag", "build=1", "--tag", "team=a"], { "report.pdf": "text" });
  const first = [...(await items()).values()];
  const document = first.find(({ pk }) => pk?.S?.startsWith("doc#")) ?? {};
  const made: Item[] = [];
  const paths = new Map<string, { head: Versions; pages: Versions[] }>();
  for (let number = documents - count; number < documents; number++) {
    const next = randomNumbers(number + seed);
    const random = Uint8Array.from({ length: 16 }, () => Math.floor(next() * 256));
    const id = v7({ msecs: now - (documents - number) * interval, random });
    const { path, tags } = fieldsOf(number);
    const sha256 = createHash("sha256").update(id).digest("hex");
    made.push({
      ...document,
      ...documentKey(id),
      path: { S: path },
      sha256: { S: sha256 },
      uri: { S: `s3://${table}/${storageKey("", id, nameOfPath(path))}` },
      tags: { S: canonicalJson(tags) },
    });
    const { head, pages } = paths.get(path) ?? { head: [], pages: [] };
    const { head: newest, page } = inserted(head, versionOf(id, tags, sha256), merged(...pages).at(-1)?.id);
    paths.set(path, { head: newest, pages: page ? [...pages, page] : pages });
  }
  for (const [path, { head, pages }] of paths) {
    const pk = { S: `path#${path}` };
    made.push({ pk, sk: { S: "head" }, entries: { S: toText(head) }, pages: { N: String(pages.length) } });
    for (const page of pages) made.push({ pk, sk: { S: `page#${randomUUID()}` }, entries: { S: toText(page) } });
  }
  const puts: WriteRequest[] = [
    ...made.map((Item) => ({ PutRequest: { Item } })),
    ...first
      .filter(({ pk }) => pk?.S !== "catalog")
      .map(({ pk, sk }) => ({ DeleteRequest: { Key: { pk, sk } as Item } })),
  ];
  const batches = Array.from({ length: Math.ceil(puts.length / 25) }, (_, n) => puts.slice(n * 25, n * 25 + 25));
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (let batch = batches.pop(); batch; batch = batches.pop()) {
        await client.send(new BatchWriteItemCommand({ RequestItems: { [table]: batch } }));
      }
    }),
  );
  return {
    id: made.filter(({ pk }) => pk?.S?.startsWith("doc#")).at(-20)?.["sk"]?.S ?? "",
    bytes: total(made.filter(({ pk }) => pk?.S?.startsWith("doc#"))),
    run,
    items,
    async close() {
      client.destroy();
      meter.close();
      await aws.close();
    },
  };
}

/** A command, what it asks for, and the read units that are paid for the answers. */
const reads: Record<string, [argv: string[], requests: Record<string, number>, readUnits: number]> = {
  "the newest fifty": [["list", "--limit", "50"], { Query: 8 }, 16],
  "the newest thousand": [["list", "--limit", "1000"], { Query: 8 }, 120],
  "fifty with a tag that one in four has": [["list", "--tag", "team=a", "--limit", "50"], { Query: 16 }, 40],
  "the four with a tag that no other has": [["list", "--tag", "build=700", "--limit", "50"], { Query: 48 }, 413],
  "what a commit made, of which there is nothing": [
    ["list", "--commit", "0123abc", "--limit", "50"],
    { Query: 48 },
    413,
  ],
  "what all of them add up to": [["stats"], { Query: 8 }, 382],
  "what those of the last week add up to": [["stats", "--since", "7d"], { Query: 8 }, 100],
  "none below a folder that is not there": [["list", "--under", "none", "--limit", "50"], { Query: 48 }, 413],
  "none with letters that no path has": [["list", "zzz", "--limit", "50"], { Query: 48 }, 413],
  "the newest of each of fifty paths": [["list", "--latest", "--limit", "50"], { Query: 8 }, 16],
  "fifty with a name like one in ten": [["list", "--name", "inv*", "--limit", "50"], { Query: 24 }, 80],
  "fifty of one path": [
    ["list", "--path", "dist/app.tgz", "--limit", "50"],
    { GetItem: 1, Query: 1, BatchGetItem: 1 },
    55,
  ],
  "all of one path": [["list", "--path", "dist/app.tgz", "--all"], { GetItem: 1, Query: 1, BatchGetItem: 2 }, 204],
  "fifty of the last week": [["list", "--since", "7d", "--limit", "50"], { Query: 8 }, 16],
  "everything of the last week": [["list", "--since", "7d", "--all"], { Query: 8 }, 100],
  everything: [["list", "--all"], { Query: 8 }, 382],
  "one by its id": [["show", "ID"], { GetItem: 2 }, 2],
  "one by the beginning of its id": [["show", "BEGINNING"], { GetItem: 2, Query: 8 }, 10],
  "one by its path": [["show", "report-003993.pdf"], { GetItem: 2 }, 2],
  "the newest of two hundred of its path": [["show", "dist/app.tgz"], { GetItem: 2 }, 2],
};

const own = "the servers of this repository";
/** Other emulators answer the same, only slower: of the reads these are looked at. */
const everywhere = ["the newest fifty", "one by its id", "one by the beginning of its id", "one by its path"];

for (const [place, start] of Object.entries(awsEndpoints())) {
  describe(`on ${place}`, () => {
    let filled: Promise<Library> | undefined;
    const library = () => (filled ??= start().then((aws) => fill(aws, place === own ? documents : few)));
    afterAll(async () => (await filled)?.close());
    const tried = Object.entries(reads).filter(([what]) => place === own || everywhere.includes(what));

    test.each(tried)(
      "reading %s costs as much as is said",
      async (_what, [argv, requests, readUnits]) => {
        const { run, id } = await library();
        const known = argv.map((word) => ({ ID: id, BEGINNING: id.slice(0, 13) })[word] ?? word);
        const { cost } = await run([...known, "--json"]);
        expect(cost).toMatchObject({ requests, readUnits, writeUnits: 0 });
        // The others report a constant.
        if (place === own) expect(cost.reportedUnits).toBe(readUnits);
      },
      120_000,
    );

    test("reading everything costs what the documents take, and their places cost nothing", async () => {
      const { run, bytes } = await library();
      const { cost, json } = await run(["list", "--all", "--json"]);
      expect(json().count).toBe(place === own ? documents : few);
      expect(cost.readUnits).toBeGreaterThanOrEqual(bytes / 4096);
      expect(cost.readUnits).toBeLessThan(bytes / 4096 + shards);
    });

    test("a new document costs four write units, one that is known none, and a removed one four again", async () => {
      const { run, items } = await library();
      const before = new Set((await items()).keys());
      const upload = ["upload", "new.txt", "--tag", "build=1", "--json"];
      const made = await run(upload, { "new.txt": "new" });
      // The head of its path, and once a command: which catalog is it?
      expect(made.cost).toMatchObject({ requests: { GetItem: 2, TransactWriteItems: 1 }, readUnits: 2, writeUnits: 4 });
      const added = [...(await items()).values()].filter((item) => !before.has(keyOf(item)));
      expect(added).toHaveLength(2);
      // Each is less than the kilobyte that a write unit is for, and written in a transaction.
      expect(Math.max(...added.map(itemBytes))).toBeLessThan(1024);

      const again = await run(upload, { "new.txt": "new" });
      expect(again.json().documents[0].action).toBe("unchanged");
      expect(again.cost).toMatchObject({ requests: { GetItem: 2 }, readUnits: 2, writeUnits: 0 });

      const removal = await run(["delete", made.json().documents[0].id, "--yes", "--json"]);
      // By its id, which could be a path as well; then it and the head of its path. And once: which catalog is it?
      expect(removal.cost).toMatchObject({
        requests: { GetItem: 5, TransactWriteItems: 1 },
        readUnits: 5,
        writeUnits: 4,
      });
      expect(new Set((await items()).keys())).toEqual(before);
    });

    test("a version costs four write units, also one with the bytes of an older one, and six where a page is full", async () => {
      const { run, items } = await library();
      const before = new Set((await items()).keys());
      const bytes = (index: number) => ({ "versions.txt": index % 2 === 0 ? "a" : "b" });
      for (let index = 0; index < 26; index++) {
        await items();
        const { cost, json } = await run(["upload", "versions.txt", "--json"], bytes(index));
        expect(json().summary.uploaded).toBe(1);
        expect(cost.writeUnits, String(index)).toBe(index === 16 || index === 24 ? 6 : 4);
        expect(cost.requests["TransactWriteItems"]).toBe(1);
        expect(cost.requests["Query"]).toBeUndefined();
      }
      await items();
      // A series that has no version in the head: its pages are read, once.
      const { cost } = await run(["upload", "versions.txt", "--tag", "build=1", "--json"], bytes(0));
      expect(cost).toMatchObject({ requests: { Query: 1, TransactWriteItems: 1 }, writeUnits: 4 });
      const { json } = await run(["list", "--path", "versions.txt", "--all", "--json"]);
      const ids = json().documents.map(({ id }: { id: string }) => id);
      expect(ids).toHaveLength(27);
      await run(["delete", ...ids, "--yes"]);
      expect(new Set((await items()).keys())).toEqual(before);
    });

    test("other tags cost one write unit, those that it has none, and a removal afterwards four", async () => {
      const { run, items } = await library();
      const before = new Set((await items()).keys());
      await run(["upload", "tagged.txt", "--tag", "build=1"], { "tagged.txt": "tagged" });
      await items();
      const tagged = await run(["tag", "tagged.txt", "build=2", "--json"]);
      // The head of its path, and the record.
      expect(tagged.cost).toMatchObject({ requests: { GetItem: 2, UpdateItem: 1 }, readUnits: 2, writeUnits: 1 });
      const again = await run(["tag", "tagged.txt", "build=2", "--json"]);
      expect(again.cost).toMatchObject({ requests: { GetItem: 2 }, readUnits: 2, writeUnits: 0 });
      expect((await run(["delete", tagged.json().id, "--yes"])).cost.writeUnits).toBe(4);
      expect(new Set((await items()).keys())).toEqual(before);
    });

    test("many documents at once cost as many units as each alone, and fewer requests", async () => {
      const { run } = await library();
      const names = Array.from({ length: 30 }, (_, index) => `many-${index}.txt`);
      const upload = ["upload", ...names, "--concurrency", "30", "--json"];
      const files = Object.fromEntries(names.map((name) => [name, name]));
      const lookups = ({ GetItem = 0, BatchGetItem = 0 }: Reading["requests"]) => GetItem + BatchGetItem;
      const made = await run(upload, files);
      expect(made.json().summary.uploaded).toBe(names.length);
      expect(made.cost.writeUnits).toBe(4 * names.length);
      // And which catalog is it? Those that ask at once may ask twice.
      expect(made.cost.readUnits).toBeLessThanOrEqual(names.length + 2);
      // How many are on their way at a time depends on the machine.
      expect(made.cost.requests["TransactWriteItems"]).toBeLessThan(names.length / 2);
      expect(lookups(made.cost.requests)).toBeLessThan(names.length / 2);

      const again = await run(upload, files);
      expect(again.json().summary.unchanged).toBe(names.length);
      expect(again.cost).toMatchObject({ writeUnits: 0, readUnits: 2 * names.length });
      expect(lookups(again.cost.requests)).toBeLessThan(names.length);
    });

    test("each further kilobyte of a record costs two write units more", async () => {
      const { run } = await library();
      const upload = ["upload", "large.txt", "--meta", `long=${"x".repeat(2048)}`];
      expect((await run(upload, { "large.txt": "large" })).cost.writeUnits).toBe(8);
    });
  });
}

test("a hundred look-ups are one request", async () => {
  const aws = await startInRepoAws();
  onTestFinished(() => aws.close());
  const meter = await startMeter(aws.endpoint);
  onTestFinished(() => meter.close());
  const settings = awsSettings(meter.endpoint);
  const signal = new AbortController().signal;
  setMaxListeners(0, signal);
  for await (const _ of metadataDrivers.dynamodb.provision(settings, { plan: false, signal }));
  const metadata = await metadataDrivers.dynamodb.open(settings);
  onTestFinished(() => metadata.close());
  const records = Array.from({ length: 100 }, (_, index) => recordWith({ path: `${index}.txt` }));
  const request = { unlessThere: true };
  await metadata.catalog(signal);
  await Promise.all(records.map((record) => metadata.commit(entryOf(record), request, signal)));
  meter.start();
  const lookUp = ({ path, tags, sha256 }: DocumentRecord) => metadata.lookUp({ path, given: tags }, sha256, signal);
  const found = await Promise.all(records.map(lookUp));
  expect(found.map(({ newest }) => newest?.record)).toEqual(records);
  // The heads, then the newest of each series.
  expect(meter.read()).toMatchObject({ requests: { BatchGetItem: 2 }, readUnits: 200 });
});

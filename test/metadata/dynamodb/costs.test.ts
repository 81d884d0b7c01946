/** What each command costs on DynamoDB, in requests and in units: the figures that docs/dynamodb.md plans with. */
import { createHash } from "node:crypto";
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
import { afterAll, describe, expect, test } from "vitest";
import { identityOf } from "../../../src/document/identity.ts";
import { canonicalJson, storageKey } from "../../../src/document/record.ts";
import { documentKey } from "../../../src/metadata/dynamodb/listing.ts";
import { type AwsEndpoint, awsEndpoints, awsSettings } from "../../support/aws.ts";
import { itemBytes, type Reading, startMeter } from "../../support/dynamodb-meter.ts";
import { randomNumbers } from "../../support/random.ts";
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
  /** Bytes of all documents in the table, without their claims. */
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
function fieldsOf(number: number): { name: string; tags: Record<string, string> } {
  const digits = String(number).padStart(6, "0");
  const name = number % 20 === 1 ? "app.tgz" : `${number % 10 === 0 ? "invoice" : "report"}-${digits}.pdf`;
  return { name, tags: { build: String(Math.floor(number / 4)), team: "abcd"[number % 4] ?? "" } };
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
  const [document, claim] = ["doc#", "name#"].map((kind) => first.find(({ pk }) => pk?.S?.startsWith(kind)) ?? {});
  const made: Item[] = [];
  for (let number = documents - count; number < documents; number++) {
    const next = randomNumbers(number + seed);
    const random = Uint8Array.from({ length: 16 }, () => Math.floor(next() * 256));
    const id = v7({ msecs: now - (documents - number) * interval, random });
    const { name, tags } = fieldsOf(number);
    const sha256 = createHash("sha256").update(id).digest("hex");
    const identity = identityOf({ sha256, tags });
    made.push({
      ...document,
      ...documentKey(id),
      identity: { S: identity },
      name: { S: name },
      sha256: { S: sha256 },
      uri: { S: `s3://${table}/${storageKey("", id, name)}` },
      tags: { S: canonicalJson(tags) },
    });
    made.push({ ...claim, pk: { S: `name#${name}` }, sk: { S: identity }, id: { S: id } });
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
    id: made.at(-20)?.["sk"]?.S ?? "",
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
  "the newest thousand": [["list", "--limit", "1000"], { Query: 8 }, 136],
  "fifty with a tag that one in four has": [["list", "--tag", "team=a", "--limit", "50"], { Query: 16 }, 40],
  "the four with a tag that no other has": [["list", "--tag", "build=700", "--limit", "50"], { Query: 48 }, 471],
  "what a commit made, of which there is nothing": [
    ["list", "--commit", "0123abc", "--limit", "50"],
    { Query: 48 },
    471,
  ],
  "what all of them add up to": [["stats"], { Query: 8 }, 453],
  "what those of the last week add up to": [["stats", "--since", "7d"], { Query: 8 }, 118],
  "fifty with a name like one in ten": [["list", "--name", "inv*", "--limit", "50"], { Query: 24 }, 88],
  "fifty of one name": [["list", "--name", "app.tgz", "--limit", "50"], { Query: 1, BatchGetItem: 1 }, 58],
  "all of one name": [["list", "--name", "app.tgz", "--all"], { Query: 1, BatchGetItem: 2 }, 207],
  "fifty of the last week": [["list", "--since", "7d", "--limit", "50"], { Query: 8 }, 16],
  "everything of the last week": [["list", "--since", "7d", "--all"], { Query: 8 }, 118],
  everything: [["list", "--all"], { Query: 8 }, 453],
  "one by its id": [["show", "ID"], { GetItem: 1 }, 1],
  "one by the beginning of its id": [["show", "BEGINNING"], { Query: 8 }, 8],
  "one by its name": [["show", "report-003993.pdf"], { Query: 1, GetItem: 1 }, 2],
  "the newest of two hundred of its name": [["show", "app.tgz"], { Query: 1, GetItem: 1 }, 8],
};

const own = "the servers of this repository";
/** Other emulators answer the same, only slower: of the reads these are looked at. */
const everywhere = ["the newest fifty", "one by its id", "one by the beginning of its id", "one by its name"];

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

    test("reading everything costs what the documents take, and their claims cost nothing", async () => {
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
      expect(made.cost.writeUnits).toBe(4);
      expect(made.cost.requests).toMatchObject({ TransactWriteItems: 1 });
      // Is it known? And once a command: which catalog is it?
      expect(made.cost.readUnits).toBeLessThanOrEqual(2);
      const added = [...(await items()).values()].filter((item) => !before.has(keyOf(item)));
      expect(added).toHaveLength(2);
      // Each is less than the kilobyte that a write unit is for, and written in a transaction.
      expect(Math.max(...added.map(itemBytes))).toBeLessThan(1024);

      const again = await run(upload, { "new.txt": "new" });
      expect(again.json().documents[0].action).toBe("unchanged");
      expect(again.cost).toMatchObject({ requests: { GetItem: 2 }, readUnits: 2, writeUnits: 0 });

      const removal = await run(["delete", made.json().documents[0].id, "--yes", "--json"]);
      // And once a command: which catalog is it?
      expect(removal.cost).toMatchObject({
        requests: { GetItem: 3, TransactWriteItems: 1 },
        readUnits: 3,
        writeUnits: 4,
      });
      expect(new Set((await items()).keys())).toEqual(before);
    });

    test("other tags cost six write units, those that it has none, and a removal afterwards four", async () => {
      const { run, items } = await library();
      const before = new Set((await items()).keys());
      await run(["upload", "tagged.txt", "--tag", "build=1"], { "tagged.txt": "tagged" });
      await items();
      const tagged = await run(["tag", "tagged.txt", "build=2", "--json"]);
      // Its name is looked up, and the record is read to find it, and again for the claim that it has.
      const requests = { Query: 1, GetItem: 2, TransactWriteItems: 1 };
      expect(tagged.cost).toMatchObject({ requests, readUnits: 3, writeUnits: 6 });
      const again = await run(["tag", tagged.json().id, "build=2", "--json"]);
      expect(again.cost).toMatchObject({ requests: { GetItem: 1 }, readUnits: 1, writeUnits: 0 });
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
      // And once a command: which catalog is it?
      expect(made.cost).toMatchObject({ writeUnits: 4 * names.length, readUnits: names.length + 1 });
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

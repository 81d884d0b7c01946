/** How the versions of a path lie in DynamoDB: in its head and on pages, with writers and faults at every moment. */
import { createHash } from "node:crypto";
import { setMaxListeners } from "node:events";
import { type AttributeValue, DynamoDBClient, PutItemCommand, paginateScan } from "@aws-sdk/client-dynamodb";
import { v7 } from "uuid";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { fromText } from "../../../src/metadata/dynamodb/versions.ts";
import { metadataDrivers } from "../../../src/metadata/registry.ts";
import type { Entry, MetadataService } from "../../../src/metadata/service.ts";
import { awsSettings, type InRepoAws, startInRepoAws } from "../../support/aws.ts";
import { type FaultProxy, startFaultProxy } from "../../support/fault-proxy.ts";
import { entryWith, everyOf, idAt, recordWith } from "../conformance.ts";

type Item = Record<string, AttributeValue>;

const never = new AbortController().signal;
setMaxListeners(0, never);
const bytes = (text: string) => createHash("sha256").update(text).digest("hex");
const at = Date.UTC(2026, 0, 1);

let aws: InRepoAws;
let proxy: FaultProxy;
let client: DynamoDBClient;
beforeAll(async () => {
  aws = await startInRepoAws();
  proxy = await startFaultProxy(aws.endpoint);
  client = new DynamoDBClient({ endpoint: aws.endpoint });
});
afterAll(async () => {
  client.destroy();
  await proxy.close();
  await aws.close();
});

async function openTable(retries = 2) {
  const settings = awsSettings(proxy.endpoint, { retries });
  for await (const _ of metadataDrivers.dynamodb.provision(settings, { plan: false, signal: never }));
  const open = async (): Promise<MetadataService> => {
    const metadata = await metadataDrivers.dynamodb.open(settings);
    onTestFinished(() => metadata.close());
    return metadata;
  };
  onTestFinished(() => proxy.clear());
  const table = settings.table ?? "";
  /** Head and pages of a path, as lists of ids. */
  const layout = async (path: string) => {
    const pages: string[][] = [];
    let head: string[] | undefined;
    let count: number | undefined;
    for await (const { Items = [] } of paginateScan({ client }, { TableName: table })) {
      for (const { pk, sk, entries, pages: said } of Items) {
        if (pk?.S !== `path#${path}`) continue;
        const ids = (fromText(entries?.S ?? "-") ?? []).map(({ id }) => id);
        if (sk?.S === "head") [head, count] = [ids, Number(said?.N)];
        else pages.push(ids);
      }
    }
    // What the head says of its pages is true.
    expect(count ?? 0).toBe(pages.length);
    return { head, pages: pages.sort((a, b) => ((a[0] ?? "") < (b[0] ?? "") ? -1 : 1)) };
  };
  const put = (item: Item) => client.send(new PutItemCommand({ TableName: table, Item: item }));
  proxy.log.length = 0;
  return { table, settings, open, layout, put, metadata: await open() };
}

/** Versions of one path, one a second, each with other bytes. */
function versionsOf(path: string, count: number, tags = {}): Entry[] {
  return Array.from({ length: count }, (_, index) =>
    entryWith(recordWith({ id: idAt(at + index * 1000), path, sha256: bytes(String(index)), tags })),
  );
}

const idsOf = (entries: readonly Entry[]) => entries.map(({ record }) => record.id);
const add = (metadata: MetadataService, entry: Entry, unlessThere = true) =>
  metadata.commit(entry, { unlessThere }, never);
const sent = (operation: string) => proxy.log.filter((request) => request.operation === operation).length;

describe("many versions", () => {
  test("fill the head, then pages of eight", async () => {
    const { metadata, layout } = await openTable();
    const all = versionsOf("a", 33);
    const ids = idsOf(all);
    for (const [index, entry] of all.entries()) {
      expect(await add(metadata, entry)).toEqual({ committed: true });
      if (index === 15) expect(await layout("a")).toEqual({ head: ids.slice(0, 16), pages: [] });
      if (index === 16) expect(await layout("a")).toEqual({ head: ids.slice(8, 17), pages: [ids.slice(0, 8)] });
    }
    const pages = [ids.slice(0, 8), ids.slice(8, 16), ids.slice(16, 24)];
    expect(await layout("a")).toEqual({ head: ids.slice(24), pages });
    expect(await everyOf(metadata.versions("a", never))).toEqual(ids.toReversed());
  });

  test("that come from the newest to the oldest lie on pages of their own once the head is full", async () => {
    const { metadata, layout } = await openTable();
    const all = versionsOf("a", 20);
    const ids = idsOf(all);
    for (const entry of all.toReversed()) await add(metadata, entry, false);
    expect(await layout("a")).toEqual({
      head: ids.slice(11),
      pages: [[ids[0]], [ids[1]], [ids[2]], ids.slice(3, 11)],
    });
    expect(await everyOf(metadata.versions("a", never))).toEqual(ids.toReversed());
  });

  test("are removed from head and pages, in any order, until nothing is left", async () => {
    for (const order of [(ids: string[]) => ids, (ids: string[]) => ids.toReversed()]) {
      const { metadata, layout } = await openTable();
      const all = versionsOf("a", 18);
      const ids = idsOf(all);
      for (const entry of all) await add(metadata, entry);
      const left = new Set(ids);
      for (const id of order(ids)) {
        expect((await metadata.remove(id, never))?.id).toBe(id);
        left.delete(id);
        expect(await everyOf(metadata.versions("a", never))).toEqual([...left].reverse());
        const { head, pages } = await layout("a");
        expect([...pages.flat(), ...(head ?? [])]).toEqual([...left]);
        // The head stays while there are pages.
        expect(head === undefined).toBe(left.size === 0);
      }
    }
  });

  test("on pages alone are found, and what is new stands before them", async () => {
    const { metadata, layout } = await openTable();
    const all = versionsOf("a", 17, { a: "1" });
    const ids = idsOf(all);
    for (const entry of all) await add(metadata, entry);
    for (const id of ids.slice(8)) await metadata.remove(id, never);
    expect(await layout("a")).toEqual({ head: [], pages: [ids.slice(0, 8)] });
    const standing = await metadata.lookUp({ path: "a", given: { a: "1" } }, bytes("3"), never);
    expect(standing).toMatchObject({ newest: all[7], twin: all[3], last: ids[7] });
    expect(await add(metadata, entryWith(recordWith({ path: "a", sha256: bytes("7"), tags: { a: "1" } })))).toEqual({
      committed: false,
      there: all[7],
    });
    const old = entryWith(recordWith({ id: idAt(at + 1500), path: "a", tags: { a: "1" } }));
    const young = entryWith(recordWith({ id: idAt(at + 60_000), path: "a", tags: { a: "1" } }));
    for (const entry of [old, young]) expect(await add(metadata, entry)).toEqual({ committed: true });
    const pages = [ids.slice(0, 8), [old.record.id]];
    expect(await layout("a")).toEqual({ head: [young.record.id], pages });
  });

  test("on pages count when it is decided whether a document is there", async () => {
    const { metadata } = await openTable();
    const series = { path: "a", given: { build: "1" } };
    const old = entryWith(recordWith({ id: idAt(at - 1000), path: "a", sha256: bytes("x"), tags: { build: "1" } }));
    await add(metadata, old);
    for (const entry of versionsOf("a", 20)) await add(metadata, entry);
    expect(await metadata.lookUp(series, bytes("x"), never)).toMatchObject({ newest: old, twin: old });
    const again = entryWith(recordWith({ path: "a", sha256: bytes("x"), tags: { build: "1" } }));
    expect(await add(metadata, again)).toEqual({ committed: false, there: old });
    // What was looked up before saves the Query of the pages.
    const seen = await metadata.lookUp(series, undefined, never);
    proxy.log.length = 0;
    const other = entryWith(recordWith({ path: "a", sha256: bytes("y"), tags: { build: "1" } }));
    expect(await metadata.commit(other, { unlessThere: true, seen }, never)).toEqual({ committed: true });
    expect(proxy.log.map(({ operation }) => operation)).toEqual(["TransactWriteItems"]);
  });
});

describe("writers of one path at once", () => {
  test("fifty, each a process of its own, with other bytes each: all are there, each once", async () => {
    const { open, metadata, layout } = await openTable();
    const processes = await Promise.all(Array.from({ length: 50 }, open));
    const entries = processes.map((_, index) => entryWith(recordWith({ path: "a", sha256: bytes(String(index)) })));
    const results = await Promise.all(processes.map((one, index) => add(one, entries[index] as Entry)));
    expect(results).toEqual(results.map(() => ({ committed: true })));
    const ids = idsOf(entries).sort();
    expect(await everyOf(metadata.versions("a", never))).toEqual(ids.toReversed());
    const { head, pages } = await layout("a");
    expect([...pages.flat(), ...(head ?? [])].sort()).toEqual(ids);
  });

  test("twenty, each a process of its own, with the same bytes: one is there, and the others name it", async () => {
    const { open, metadata } = await openTable();
    const processes = await Promise.all(Array.from({ length: 20 }, open));
    const series = { path: "a", given: {} };
    // As uploads do: look first, commit later.
    const seen = await Promise.all(processes.map((one) => one.lookUp(series, bytes("x"), never)));
    const results = await Promise.all(
      processes.map((one, index) => {
        const entry = entryWith(recordWith({ path: "a", sha256: bytes("x") }));
        return one.commit(entry, { unlessThere: true, seen: seen[index] }, never);
      }),
    );
    const [id] = await everyOf(metadata.versions("a", never));
    expect(results.filter(({ committed }) => committed)).toHaveLength(1);
    for (const result of results) if (!result.committed) expect(result.there.record.id).toBe(id);
    expect(await everyOf(metadata.versions("a", never))).toHaveLength(1);
  });

  test("of one process take turns: none fails, and none reads what the one before left", async () => {
    const { metadata } = await openTable();
    await metadata.catalog(never);
    proxy.log.length = 0;
    const all = versionsOf("a", 30);
    await Promise.all(all.map((entry) => add(metadata, entry)));
    expect(sent("TransactWriteItems")).toBe(30);
    expect(sent("GetItem") + sent("BatchGetItem") + sent("Query")).toBe(1);
    await Promise.all(all.slice(0, 9).map(({ record }) => metadata.remove(record.id, never)));
    expect(await everyOf(metadata.versions("a", never))).toEqual(idsOf(all.slice(9)).reverse());
  });

  test("that add and remove at once leave what each of them did, and heads that say what is on pages", async () => {
    const { open, metadata, layout } = await openTable();
    const processes = await Promise.all(Array.from({ length: 8 }, open));
    const kept: string[] = [];
    await Promise.all(
      processes.map(async (one, index) => {
        for (let round = 0; round < 6; round++) {
          const id = idAt(at + ((index * 7 + round * 13) % 50) * 1000);
          await add(one, entryWith(recordWith({ id, path: "a" })), round % 2 === 0);
          if (round % 3 === 2) kept.push(id);
          else expect((await one.remove(id, never))?.id).toBe(id);
        }
      }),
    );
    kept.sort();
    expect(await everyOf(metadata.versions("a", never))).toEqual(kept.toReversed());
    const { head, pages } = await layout("a");
    expect([...pages.flat(), ...(head ?? [])].sort()).toEqual(kept);
    for (const id of kept) expect((await metadata.get(id, never))?.record.id).toBe(id);
  });
});

describe("a lost answer", () => {
  test("of a commit is a success when the SDK asks again, at every size of the head", async () => {
    const { metadata } = await openTable();
    for (const entry of versionsOf("a", 18)) {
      proxy.clear();
      proxy.inject({ operation: "TransactWriteItems", nth: 1, action: { kind: "lose-reply" } });
      const result = await add(metadata, entry);
      if (!result.committed) expect(result.there).toEqual(entry);
    }
    expect(await everyOf(metadata.versions("a", never))).toHaveLength(18);
  });

  test("of a removal is a success when the SDK asks again", async () => {
    const { metadata } = await openTable();
    const all = versionsOf("a", 18);
    for (const entry of all) await add(metadata, entry);
    for (const { record } of all) {
      proxy.clear();
      proxy.inject({ operation: "TransactWriteItems", nth: 1, action: { kind: "lose-reply" } });
      expect((await metadata.remove(record.id, never))?.id).toBe(record.id);
    }
    expect(await everyOf(metadata.versions("a", never))).toEqual([]);
  });

  test("of a change of fields is a success when the SDK asks again, and unknown when it does not", async () => {
    const { metadata, open } = await openTable();
    const entry = entryWith(recordWith({ path: "a", tags: { a: "1" } }));
    await add(metadata, entry);
    proxy.inject({ operation: "UpdateItem", nth: 1, action: { kind: "lose-reply" } });
    const tags = { a: "2" };
    expect(await metadata.update(entry.record, { tags, expiresAt: "2027-01-01T00:00:00.000Z" }, never)).toBe(true);
    const changed = { ...entry.record, tags, expiresAt: "2027-01-01T00:00:00.000Z" };
    expect(await metadata.get(entry.record.id, never)).toEqual({ ...entry, record: changed });
    proxy.clear();
    proxy.inject({ operation: "UpdateItem", action: { kind: "lose-reply" } });
    await expect(metadata.update(changed, { expiresAt: null }, never)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    proxy.clear();
    expect((await (await open()).get(entry.record.id, never))?.record.expiresAt).toBeNull();
  });
});

test("a series whose hash begins as another's is told from it by its tags", async () => {
  const { metadata, table, put } = await openTable();
  const [one, other] = [{ a: "1" }, { a: "2" }].map((tags, index) =>
    entryWith(recordWith({ id: idAt(at + index), path: "a", sha256: bytes("x"), tags })),
  ) as [Entry, Entry];
  await add(metadata, one);
  await add(metadata, other);
  // As if both hashes had the same 12 digits.
  const Key = { pk: { S: "path#a" }, sk: { S: "head" } };
  const { GetItemCommand } = await import("@aws-sdk/client-dynamodb");
  const { Item = {} } = await client.send(new GetItemCommand({ TableName: table, Key }));
  const text = Item["entries"]?.S ?? "";
  const [first, second] = [text.slice(32, 44), text.slice(84, 96)];
  await put({ ...Item, entries: { S: text.replaceAll(second, first) } });
  expect((await metadata.lookUp({ path: "a", given: { a: "1" } }, undefined, never)).newest).toEqual(one);
  const again = entryWith(recordWith({ path: "a", sha256: bytes("x"), tags: { a: "1" } }));
  expect(await add(metadata, again)).toEqual({ committed: false, there: one });
});

test.each([
  ["versions", { entries: { S: "rm -rf" }, pages: { N: "0" } }],
  ["pages of another type", { entries: { S: "" }, pages: { S: "x" } }],
  ["no pages", { entries: { S: "" } }],
  ["half a page", { entries: { S: "" }, pages: { N: "0.5" } }],
  ["less than no pages", { entries: { S: "" }, pages: { N: "-1" } }],
])("a damaged head (%s) is an error that names the path, and nothing is written", async (_what, attributes) => {
  const { metadata, put } = await openTable();
  await put({ pk: { S: "path#a" }, sk: { S: "head" }, ...attributes });
  const damaged = { code: "INTEGRITY", message: "The versions of a in the catalog are damaged." };
  const entry = entryWith(recordWith({ path: "a" }));
  await expect(add(metadata, entry)).rejects.toMatchObject(damaged);
  await expect(metadata.lookUp({ path: "a", given: {} }, undefined, never)).rejects.toMatchObject(damaged);
  await expect(everyOf(metadata.versions("a", never))).rejects.toMatchObject(damaged);
  expect(await metadata.get(entry.record.id, never)).toBeUndefined();
});

describe("a table of an older docproc", () => {
  const older = {
    code: "INVALID_CONFIG",
    message: expect.stringMatching(/^The table .* has the layout of an older docproc\.$/),
  };
  const catalog = v7();

  async function openOlder() {
    const opened = await openTable();
    const id = idAt(at);
    const { path: _, ...fields } = recordWith({ id });
    await opened.put({ pk: { S: "catalog" }, sk: { S: "catalog" }, id: { S: catalog }, format: { N: "1" } });
    await opened.put({
      pk: { S: `doc#${Number.parseInt(id.slice(-1), 16) % 8}` },
      sk: { S: id },
      identity: { S: "0".repeat(64) },
      name: { S: fields.name },
      tags: { S: "{}" },
    });
    return { ...opened, id };
  }

  test.each<[string, (metadata: MetadataService, id: string) => Promise<unknown>]>([
    ["what is in it", (metadata) => everyOf(metadata.list({ ascending: false }, never))],
    ["a document", (metadata, id) => metadata.get(id, never)],
    ["a path", (metadata) => everyOf(metadata.versions("a", never))],
    ["a listing of a path", (metadata) => everyOf(metadata.list({ ascending: true, filter: { path: "a" } }, never))],
    ["an upload", (metadata) => metadata.lookUp({ path: "a", given: {} }, undefined, never)],
    ["a commit", (metadata) => add(metadata, entryWith(recordWith()))],
    ["a commit that must be stored", (metadata) => add(metadata, entryWith(recordWith()), false)],
    ["a removal", (metadata, id) => metadata.remove(id, never)],
    ["the catalog", (metadata) => metadata.catalog(never)],
  ])("is refused when it is asked for %s, with the way to a new one", async (_, ask) => {
    const { metadata, id, table } = await openOlder();
    const failure = await ask(metadata, id).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({
      ...older,
      hint: expect.stringContaining(` --deep --adopt ${catalog} --table NEW`),
    });
    let items = 0;
    for await (const { Items = [] } of paginateScan({ client }, { TableName: table })) items += Items.length;
    expect(items).toBe(2);
  });

  test("is looked for once a process, and only where a path has no versions", async () => {
    const { metadata } = await openTable();
    await metadata.catalog(never);
    proxy.log.length = 0;
    for (const entry of versionsOf("a", 3)) await add(metadata, entry);
    for (const path of ["b", "c"]) await metadata.lookUp({ path, given: {} }, undefined, never);
    // Each reads its head; the catalog was read before.
    expect(sent("GetItem")).toBe(5);
  });
});

test("a table of a newer docproc is refused", async () => {
  const { metadata, put } = await openTable();
  await put({ pk: { S: "catalog" }, sk: { S: "catalog" }, id: { S: v7() }, format: { N: "3" } });
  const newer = { code: "INVALID_CONFIG", message: expect.stringContaining("newer version") };
  await expect(metadata.catalog(never)).rejects.toMatchObject(newer);
  await expect(add(metadata, entryWith(recordWith()))).rejects.toMatchObject(newer);
});

test("a document says what it was given and that it is unproved only where it has to", async () => {
  const { metadata, table } = await openTable();
  const plain = entryWith(recordWith({ path: "a", tags: { a: "1" } }));
  const unproved = entryWith(recordWith({ path: "b", tags: { a: "1" } }), { proved: false });
  await add(metadata, plain);
  await add(metadata, unproved);
  const attributes = async (id: string) => {
    for await (const { Items = [] } of paginateScan({ client }, { TableName: table })) {
      const item = Items.find(({ sk }) => sk?.S === id);
      if (item) return { given: item["given"]?.S, unproved: item["unproved"]?.N };
    }
    return undefined;
  };
  const { id } = unproved.record;
  expect(await attributes(plain.record.id)).toEqual({ given: undefined, unproved: undefined });
  expect(await attributes(id)).toEqual({ given: undefined, unproved: "1" });
  await metadata.update(unproved.record, { tags: { a: "2" } }, never);
  expect(await attributes(id)).toEqual({ given: '{"a":"1"}', unproved: "1" });
  await metadata.update({ ...unproved.record, tags: { a: "2" } }, { tags: { a: "3" } }, never);
  expect(await attributes(id)).toEqual({ given: '{"a":"1"}', unproved: "1" });
  expect(await metadata.prove(id, never)).toBe(true);
  expect(await attributes(id)).toEqual({ given: '{"a":"1"}', unproved: undefined });
});

/** What a listing of an SQLite catalog reads: what a plain filter would find, and no more than an index allows. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { v7 } from "uuid";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DocumentFilter, type ListQuery, matcher } from "../../../src/document/query.ts";
import { canonicalJson, compareBytes, firstIdAt, type TextMap } from "../../../src/document/record.ts";
import { asRow, type Database, listsOf, openDatabase, prepareForLists } from "../../../src/files/sqlite.ts";
import { GlobFunction } from "../../../src/metadata/local/glob-function.ts";
import { pagesOf } from "../../../src/metadata/local/listing.ts";
import { pagesInOrder } from "../../../src/metadata/local/sorting.ts";
import { metadataDrivers } from "../../../src/metadata/registry.ts";
import { localSettings } from "../../support/aws.ts";
import { randomNumbers } from "../../support/random.ts";

/** More than what is counted and sorted without a thought, also of those that a tag or a name halves. */
const count = 26_000;
const begin = Date.UTC(2026, 0, 1);
const never = new AbortController().signal;

interface Entry {
  readonly id: string;
  readonly name: string;
  readonly contentType: string;
  readonly tags: TextMap;
  readonly size: number;
  readonly provenance: {
    readonly git: { readonly commit: string } | null;
    readonly ci: { readonly run: string };
  } | null;
}

/** A fifth of the newer half comes from two commits that begin alike, of the others a few from each. */
function provenanceOf(index: number): Entry["provenance"] {
  if (index < count / 2) return null;
  const few = `${index.toString(16).padStart(7, "0").slice(0, 6)}${"a".repeat(34)}`;
  const commit = index % 5 === 0 ? `beef123${String(index % 2).repeat(33)}` : few;
  return { git: index % 7 === 0 ? null : { commit }, ci: { run: String(Math.floor(index / 5000)) } };
}

/** The older half has names of its own, and a type. */
function entryAt(index: number, id = v7({ msecs: begin + index })): Entry {
  const isOld = index < count / 2;
  const name = index % 10 === 0 ? `inv-${index}.pdf` : isOld ? `old-${index}.[x].txt` : `new-${index}.txt`;
  const tags = {
    all: "yes",
    half: String(index % 2),
    build: String(Math.floor(index / 100)),
    ...(index < 4 ? { rare: "yes" } : {}),
  };
  const contentType = isOld ? "image/png" : index % 3 === 0 ? "image/gif" : "text/plain";
  return { id, name, contentType, tags, size: (index * 7919) % 3000, provenance: provenanceOf(index) };
}

interface Connection {
  readonly database: Database;
  readonly globs: GlobFunction;
}

async function connect(maxSteps?: number): Promise<Connection> {
  const opened = await openDatabase(join(directory, "catalog.db"), 0, () => {});
  return { database: opened, globs: new GlobFunction(opened, maxSteps) };
}

let directory: string;
let database: Database;
/** Connections to it, by how long a statement may spend on globs. */
let connections: Record<"patient" | "hasty", Connection>;
const entries: Entry[] = [];

const source = '{"kind":"stdin","path":null,"modifiedAt":null}';

function insert({ id, name, contentType, tags, size, provenance }: Entry): void {
  database
    .prepare("INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, 'file:///x', ?, '{}', ?, ?, NULL)")
    .run(
      id,
      name,
      id,
      size,
      contentType,
      "0".repeat(64),
      canonicalJson(tags),
      source,
      provenance && JSON.stringify(provenance),
    );
}

function add(entry: Entry): void {
  insert(entry);
  entries.push(entry);
  entries.sort((a, b) => (a.id < b.id ? -1 : 1));
}

function remove({ id }: Entry): void {
  database.prepare("DELETE FROM documents WHERE id = ?").run(id);
  entries.splice(
    entries.findIndex((entry) => entry.id === id),
    1,
  );
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "docproc-listing-"));
  for await (const _ of metadataDrivers.local.provision(localSettings(directory), { plan: false, signal: never }));
  connections = { patient: await connect(), hasty: await connect(20_000) };
  database = connections.patient.database;
  database.exec("PRAGMA synchronous = OFF; BEGIN");
  entries.push(...Array.from({ length: count }, (_, index) => entryAt(index)));
  for (const entry of entries) insert(entry);
  database.exec("COMMIT");
});
afterAll(async () => {
  for (const connection of Object.values(connections)) connection.database.close();
  await rm(directory, { recursive: true });
});

async function* listed(
  query: ListQuery,
  seen?: (sql: string, values: readonly unknown[]) => void,
  how: keyof typeof connections = "patient",
) {
  const { database: connected, globs } = connections[how];
  const select = async (sql: string, ...values: (string | number)[]) => {
    seen?.(sql, values);
    return globs.watch(() => listsOf(prepareForLists(connected, sql), ...values));
  };
  const pages = query.sort === undefined ? pagesOf(select, query) : pagesInOrder(select, query, query.sort);
  for await (const rows of pages) for (const row of rows) yield String(row[0]);
}

/** What a query of the catalog leaves to the filter behind it: the digits of a commit behind the seventh. */
function asRead({ commit, ...filter }: DocumentFilter = {}): DocumentFilter {
  return { ...filter, commit: commit?.slice(0, 7) };
}

/** Puts entries, which come oldest first, into the order of a query. */
function inOrder(found: readonly Entry[], { sort, ascending }: ListQuery): Entry[] {
  const compare = (a: Entry, b: Entry) =>
    (sort === "size" ? a.size - b.size : sort === "name" ? compareBytes(a.name, b.name) : 0) || (a.id < b.id ? -1 : 1);
  const ordered = found.toSorted(compare);
  return ascending ? ordered : ordered.reverse();
}

async function wanted(query: ListQuery) {
  const { after, since, until, idPrefix = "" } = query;
  const matches = (await matcher(asRead(query.filter))) as unknown as (entry: Entry) => boolean;
  const ordered = inOrder(entries, query);
  // Behind the cursor, which need not be one of those that are asked for.
  const behind = ordered.slice(ordered.findIndex(({ id }) => id === after) + 1);
  const found = behind.filter(
    (entry) =>
      entry.id.startsWith(idPrefix) &&
      (since === undefined || entry.id >= firstIdAt(since)) &&
      (until === undefined || entry.id < firstIdAt(until)) &&
      matches(entry),
  );
  return found.map(({ id }) => id);
}

const tagged: readonly (TextMap | undefined)[] = [
  undefined,
  { all: "yes" },
  { rare: "yes" },
  { none: "" },
  { half: "0" },
  { all: "yes", half: "1" },
  { half: "1", rare: "yes" },
  { half: "0", build: "7" },
  { all: "yes", half: "0", build: "120" },
  { half: "0", build: "none" },
];
const named = [
  ...[
    undefined,
    "*",
    "inv*",
    "old*",
    "new-*",
    "nothing*",
    "*.pdf",
    "*.zip",
    "inv-10.pdf",
    "no.pdf",
    "?nv-1*",
    "*-1?.*",
  ],
  ...["[io]*.txt", "{inv,new}-2*", "*\\[x\\]*", "old-1*7.[[]x].txt", "**"],
];
const typed = [undefined, "image", "image/png", "text/plain", "video", "*/gif", "image/{gif,jpeg}", "**/plain"];

const commits = ["beef123", `beef123${"0".repeat(33)}`, "004000a", "0123456"];

describe("a listing", () => {
  test.each([
    ["patient", 350],
    ["hasty", 80],
  ] as const)(
    "is what a plain filter finds, in both directions, from any cursor, whatever is expected: %s",
    async (how, rounds) => {
      const next = randomNumbers(11);
      const pick = <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)] as T;
      const some = <T>(value: T): T | undefined => (next() < 0.2 ? value : undefined);
      const time = () => begin + Math.floor(next() * count);
      for (let round = 0; round < rounds; round++) {
        const filter: DocumentFilter = {
          tags: pick(tagged),
          name: pick(named),
          type: next() < 0.6 ? undefined : pick(typed),
          commit: next() < 0.7 ? undefined : pick(commits),
          run: next() < 0.8 ? undefined : pick(["3", "5", "none"]),
        };
        const query: ListQuery = {
          sort: pick([undefined, "name", "size"]),
          ascending: next() < 0.5,
          after: some(pick(entries).id),
          since: some(time()),
          until: some(time()),
          idPrefix: some(pick(entries).id.slice(0, 11)),
          filter,
          expected: pick([undefined, 1, 51, 700]),
        };
        const found: string[] = [];
        for await (const id of listed(query, undefined, how)) found.push(id);
        expect(found, JSON.stringify(query)).toEqual(await wanted(query));
        if (round % 10 === 0) {
          add(entryAt(pick([0, 7, count - 1]), v7({ msecs: time() })));
          remove(pick(entries));
        }
      }
    },
    120_000,
  );

  test("has what was there from the beginning to the end once, whatever is added and removed meanwhile", async () => {
    const next = randomNumbers(12);
    const filters = [undefined, { tags: { half: "0" } }, { tags: { all: "yes", half: "1" } }, { name: "*.txt" }];
    const asked: Partial<ListQuery>[] = [
      ...filters.map((filter) => ({ filter })),
      { sort: "size" },
      ...(["name", "size"] as const).map((sort) => ({ sort, filter: { tags: { half: "0" } } })),
    ];
    for (const one of asked) {
      for (const ascending of [true, false]) {
        const query: ListQuery = { ascending, expected: 20, ...one };
        const before = await wanted(query);
        const known = new Map(entries.map((entry) => [entry.id, entry]));
        const gone = new Set<string>();
        const found: string[] = [];
        for await (const id of listed(query)) {
          if (found.push(id) % 1000 !== 0) continue;
          const victim = entries[Math.floor(next() * entries.length)] as Entry;
          gone.add(victim.id);
          remove(victim);
          const added = entryAt(Math.floor(next() * count), v7({ msecs: begin + Math.floor(next() * count) }));
          add(added);
          known.set(added.id, added);
        }
        expect(new Set(found).size).toBe(found.length);
        const ordered = inOrder(
          found.map((id) => known.get(id) as Entry),
          query,
        );
        expect(found).toEqual(ordered.map(({ id }) => id));
        const seen = new Set(found);
        expect(before.filter((id) => !gone.has(id) && !seen.has(id))).toEqual([]);
      }
    }
  });
});

test.each([undefined, "name", "size"] as const)(
  "no statement of a listing takes long, whatever its globs take (sorted by %s)",
  async (sort) => {
    const { globs } = connections.hasty;
    // Few match, so that a page of matches is long in coming.
    const filter = { name: "*[13]9?9.*", tags: { half: "1" } };
    let most = 0;
    let listing = 0;
    const note = () => {
      most = Math.max(most, globs.steps);
    };
    for await (const _ of listed({ ascending: true, filter, sort }, note, "hasty")) listing += 1;
    note();
    expect(listing).toBe((await wanted({ ascending: true, filter, sort })).length);
    // What the limit is, and what one name more takes.
    expect(most).toBeGreaterThan(20_000);
    expect(most).toBeLessThan(25_000);
  },
);

test("a listing lets others have their turn between two pages", async () => {
  const metadata = await metadataDrivers.local.open(localSettings(directory));
  let turns = 0;
  const timer = setInterval(() => {
    turns += 1;
  }, 0);
  let count = 0;
  for await (const _ of metadata.list({ ascending: true }, never)) count += 1;
  clearInterval(timer);
  expect(count).toBe(entries.length);
  expect(turns).toBeGreaterThan(10);
  const interrupted = new AbortController();
  const listing = metadata.list({ ascending: true }, interrupted.signal)[Symbol.asyncIterator]();
  await listing.next();
  setImmediate(() => interrupted.abort());
  const rest = async () => {
    while (!(await listing.next()).done) count -= 1;
  };
  await expect(rest()).rejects.toMatchObject({ code: "CANCELLED" });
  expect(count).toBeGreaterThan(entries.length - 1000);
  await metadata.close();
});

test("a listing by size or name does not go on behind a document that is gone, and one by time does", async () => {
  const after = v7({ msecs: begin + 10 });
  for (const sort of ["name", "size"] as const) {
    const reading = listed({ ascending: true, sort, after, expected: 1 }).next();
    await expect(reading).rejects.toMatchObject({ code: "NOT_FOUND", message: expect.stringContaining(after) });
  }
  expect((await listed({ ascending: true, after, expected: 1 }).next()).done).toBe(false);
});

describe("the newest fifty", () => {
  /** How SQLite goes about the statements of a query, until as many rows as are expected are there. */
  async function plansOf(filter: DocumentFilter, more: Partial<ListQuery> = {}): Promise<string[]> {
    const plans: string[] = [];
    const explain = (sql: string, values: readonly unknown[]) => {
      const steps = database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...(values as string[]));
      plans.push(steps.map((step) => String(asRow(step)["detail"])).join("\n"));
    };
    let found = 0;
    for await (const _ of listed({ ascending: false, expected: 50, filter, ...more }, explain)) {
      found += 1;
      if (found === 50) break;
    }
    return plans;
  }

  test("are read from the index of a tag, a name, or a type, in one statement and without sorting", async () => {
    const exact: [DocumentFilter, string][] = [
      [{}, "documents USING PRIMARY KEY (id>? AND id<?)"],
      [{ tags: { all: "yes" } }, "entry USING PRIMARY KEY (key=? AND value=? AND id>? AND id<?)"],
      [{ tags: { rare: "yes" } }, "entry USING PRIMARY KEY (key=? AND value=? AND id>? AND id<?)"],
      [{ name: "inv-10.pdf" }, "entry USING COVERING INDEX documents_by_name (name=? AND id>? AND id<?)"],
      [{ name: "old*" }, "entry USING COVERING INDEX documents_by_beginning (<expr>=? AND id>? AND id<?)"],
      [{ type: "image/png" }, "entry USING COVERING INDEX documents_by_type (content_type=? AND id>? AND id<?)"],
    ];
    for (const [filter, search] of exact) {
      const plans = await plansOf(filter);
      expect(plans).toHaveLength(1);
      expect(plans[0]).toContain(`SEARCH ${search}`);
      expect(plans[0]).not.toMatch(/SCAN|TEMP B-TREE/);
    }
  });

  test("begin with the rarest of several conditions", async () => {
    for (const filter of [
      { tags: { all: "yes", half: "0", rare: "yes" } },
      { tags: { rare: "yes", all: "yes" }, name: "*.pdf", type: "image" },
    ]) {
      const statements: { sql: string; values: readonly unknown[] }[] = [];
      for await (const _ of listed({ ascending: false, filter }, (sql, values) => statements.push({ sql, values })));
      expect(statements.at(-1)?.values.slice(0, 2)).toEqual(["rare", "yes"]);
      expect(statements.filter(({ sql }) => sql.startsWith("SELECT id, name"))).toHaveLength(1);
    }
  });

  test("of two tags that many have are merged in order", async () => {
    const plans = await plansOf({ tags: { all: "yes", half: "0" } });
    expect(plans.at(-1)).toContain("MERGE (INTERSECT)");
    expect(plans.at(-1)).not.toContain("TEMP B-TREE");
  });

  test("of several types, of tags, and of how names begin are merged in order", async () => {
    const merged: [DocumentFilter, RegExp][] = [
      [{ type: "image" }, /MERGE \(UNION ALL\)/],
      [{ type: "image", tags: { half: "0" }, name: "old*" }, /MERGE \(INTERSECT\).*MERGE \(UNION ALL\)/s],
      [{ tags: { half: "0" }, name: "old-*" }, /MERGE \(INTERSECT\).*documents_by_beginning \(<expr>=\?/s],
    ];
    for (const [filter, how] of merged) {
      const plan = (await plansOf(filter)).at(-1);
      expect(plan).toMatch(how);
      expect(plan).not.toContain("TEMP B-TREE");
    }
  });

  test("of a glob that few match are those of its range alone, sorted", async () => {
    const plan = (await plansOf({ name: "inv-1*" })).at(-1);
    expect(plan).toContain("documents_by_name (name>? AND name<?)");
    expect(plan).toContain("TEMP B-TREE");
  });

  test("of a commit or a run are read from their index", async () => {
    const exact: [DocumentFilter, string][] = [
      [{ commit: "beef123" }, "entry USING INDEX documents_by_commit (<expr>=? AND id>? AND id<?)"],
      [{ run: "4" }, "entry USING INDEX documents_by_run (<expr>=? AND id>? AND id<?)"],
    ];
    for (const [filter, how] of exact) {
      const plan = (await plansOf(filter)).at(-1);
      expect(plan).toContain(how);
      expect(plan).not.toContain("TEMP B-TREE");
    }
  });

  test("by size or name are read from its index, and sorted only if few are what they could be", async () => {
    const walked: [DocumentFilter, "size" | "name", string][] = [
      [{}, "size", "SCAN entry USING INDEX documents_by_size"],
      [{}, "name", "SCAN entry USING INDEX documents_by_name"],
      [{ tags: { half: "0" } }, "size", "SCAN entry USING INDEX documents_by_size"],
      [{ name: "*.txt" }, "name", "entry USING INDEX documents_by_name"],
    ];
    for (const [filter, sort, how] of walked) {
      const plan = (await plansOf(filter, { sort })).at(-1);
      expect(plan).toContain(how);
      expect(plan).not.toContain("TEMP B-TREE");
    }
    const few: [DocumentFilter, Partial<ListQuery>][] = [
      [{ tags: { rare: "yes" } }, {}],
      [{ name: "inv*", tags: { all: "yes" } }, {}],
      [{ type: "image/gif" }, {}],
      [{}, { since: begin, until: begin + 3000 }],
    ];
    for (const [filter, more] of few) {
      for (const sort of ["size", "name"] as const) {
        const plan = (await plansOf(filter, { sort, ...more })).at(-1);
        expect(plan).not.toContain("SCAN");
        expect(plan).toContain("USE TEMP B-TREE FOR ORDER BY");
      }
    }
  });

  test("of a glob of one letter that only old documents match are not looked for all the way", async () => {
    expect((await plansOf({ name: "n*" })).join("\n")).not.toContain("TEMP B-TREE");
    const plans = await plansOf({ name: "o*" });
    expect(plans).toHaveLength(4);
    expect(plans.at(-1)).toContain("documents_by_name (name>? AND name<?)");
    // Whoever takes everything goes through everything once.
    expect((await plansOf({ name: "o*" }, { expected: undefined })).join("\n")).not.toContain("TEMP B-TREE");
  });
});

test("nothing that a query asks for is part of a statement", async () => {
  const hostile = "zq9'; DROP TABLE documents --";
  const filters: DocumentFilter[] = [
    { tags: { [hostile]: hostile } },
    ...["", "*", "?*x"].map((glob) => ({ name: `${hostile}${glob}` })),
    ...["", "*", "/png", "/*"].map((glob) => ({ type: `${hostile}${glob}` })),
    { commit: hostile, run: hostile },
    { tags: { color: hostile, [hostile]: "red" }, name: `*${hostile}`, type: `image/${hostile}*` },
  ];
  const statements: string[] = [];
  for (const filter of filters) {
    for (const ascending of [true, false]) {
      const query: ListQuery = { filter, ascending, after: hostile, idPrefix: hostile, expected: 50 };
      for await (const _ of listed(query, (sql) => void statements.push(sql)));
      for (const sort of [undefined, "name", "size"] as const) {
        for await (const _ of listed({ filter, ascending, sort }, (sql) => void statements.push(sql)));
      }
    }
  }
  expect(statements.length).toBeGreaterThan(20);
  expect(statements.filter((sql) => sql.includes("zq9"))).toEqual([]);
});

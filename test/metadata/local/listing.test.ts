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
  readonly path: string;
  readonly name: string;
  readonly sha256: string;
  readonly contentType: string;
  readonly tags: TextMap;
  readonly size: number;
  readonly provenance: {
    readonly git: { readonly commit: string; readonly branch: string } | null;
    readonly ci: { readonly run: string };
  } | null;
}

/** A fifth of the newer half comes from two commits that begin alike, of the others a few from each. */
function provenanceOf(index: number): Entry["provenance"] {
  if (index < count / 2) return null;
  const few = `${index.toString(16).padStart(7, "0").slice(0, 6)}${"a".repeat(34)}`;
  const commit = index % 5 === 0 ? `beef123${String(index % 2).repeat(33)}` : few;
  return {
    git: index % 7 === 0 ? null : { commit, branch: index % 20 === 1 ? "fix" : "main" },
    ci: { run: String(Math.floor(index / 5000)) },
  };
}

/** Their names fold to others. The last two share a beginning with a folder, but are not in it. */
const folders = ["", "Scans/", "Scans/2026/", "İzmir/", "été/", "Scans.old/", "Scansx/"];

/** The older half has names of its own, and a type. Seven of eight have a path, and some bytes, of their own. */
function entryAt(index: number, id = v7({ msecs: begin + index })): Entry {
  const isOld = index < count / 2;
  const name = index % 10 === 0 ? `inv-${index}.pdf` : isOld ? `old-${index}.[x].txt` : `new-${index}.txt`;
  const tags = {
    all: "yes",
    half: String(index % 2),
    build: String(Math.floor(index / 100)),
    ...(index < 4 ? { rare: "yes" } : {}),
    ...(isOld ? { old: String(index % 5) } : {}),
    many: String(index % 1000),
    ...(index % 1000 === 3 ? {} : { "most'\"\\": "yes" }),
  };
  const contentType = isOld ? "image/png" : index % 3 === 0 ? "image/gif" : "text/plain";
  const path = `${folders[index % folders.length]}${index % 8 === 0 ? "" : `${index % 4 === 1 ? "Dist" : "dist"}/`}${name}`;
  const sha256 = (index % 3 === 0 ? "abcdef0".padEnd(64, String(index % 2)) : index.toString(16)).padStart(64, "0");
  return { id, path, name, contentType, sha256, tags, size: (index * 7919) % 3000, provenance: provenanceOf(index) };
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
const pathsById = new Map<string, string>();

const source = '{"kind":"stdin","path":null,"modifiedAt":null}';

function insert({ id, path, name, contentType, sha256, tags, size, provenance }: Entry): void {
  pathsById.set(id, path);
  database
    .prepare("INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, 'file:///x', ?, '{}', ?, ?, NULL, NULL, ?, 1)")
    .run(
      id,
      path,
      name,
      size,
      contentType,
      sha256,
      canonicalJson(tags),
      source,
      provenance && JSON.stringify(provenance),
      canonicalJson(tags),
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
  const select = async (sql: string, ...values: (string | number | null)[]) => {
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

/** Below zero where `a` comes first in the order of a query. */
function compareIn({ sort, ascending }: ListQuery, a: Entry, b: Entry): number {
  const difference = sort === "size" ? a.size - b.size : sort === "path" ? compareBytes(a.path, b.path) : 0;
  return (difference || (a.id < b.id ? -1 : 1)) * (ascending ? 1 : -1);
}

function inOrder(found: readonly Entry[], query: ListQuery): Entry[] {
  return found.toSorted((a, b) => compareIn(query, a, b));
}

async function wanted(query: ListQuery) {
  const { after, since, until, idPrefix = "" } = query;
  const matches = (await matcher(asRead(query.filter))) as unknown as (entry: Entry) => boolean;
  // The cursor need not be one of those that are asked for.
  const cursor = entries.find(({ id }) => id === after);
  const found = entries.filter(
    (entry) =>
      (cursor === undefined || (entry !== cursor && compareIn(query, cursor, entry) < 0)) &&
      entry.id.startsWith(idPrefix) &&
      (since === undefined || entry.id >= firstIdAt(since)) &&
      (until === undefined || entry.id < firstIdAt(until)) &&
      matches(entry),
  );
  // Only those, since sorting is what takes long.
  return inOrder(found, query).map(({ id }) => id);
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

const keyed = [
  undefined,
  undefined,
  ["old"],
  ["rare"],
  ["half", "old"],
  ["none"],
  ["many"],
  ["build", "half"],
  ["most'\"\\"],
];
const untagged: DocumentFilter["notTags"][] = [
  ...[undefined, undefined, [{ key: "old" }], [{ key: "half", value: "1" }], [{ key: "most'\"\\", value: "yes" }]],
  ...[
    [
      { key: "old", value: "3" },
      { key: "build", value: "7" },
    ],
    [{ key: "rare" }, { key: "half", value: "0" }],
  ],
  [{ key: "all" }],
  [{ key: "many" }],
];
const pathed = [
  ...["Scans/**", "**/inv-*", "*/*.txt", "Scans/2026/dist/inv-30.pdf", "dist/old-15.[[]x].txt", "{Scans,été}/*/n*"],
  ...["été/dist/*", "no/such"],
];
const beneath = ["Scans", "Scans/2026", "été", "Scansx/dist", "Scan"];
/** Of every kind, in small letters and with capital ones. */
const asked = [
  ...["inv-1", "scans/", "Scans/", "SCANS/", "scans/2026/", "i", "Dist/o", "dist/o", "*.TXT", "*1.txt", "old*", "Old*"],
  ...["i̇zm", "İZM", "izm", "ÉTÉ/", "été/*/*", "scans/**/*5.pdf", "%", "_", "\\", "'", "scans*/dist/inv-?0*", "nothing"],
];
const hashes = ["0000000", `${"0".repeat(57)}abcdef0`.slice(0, 60), "0".repeat(60), "abcdef0"];

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
          tags: next() < 0.4 ? undefined : pick(tagged),
          name: next() < 0.4 ? undefined : pick(named),
          type: next() < 0.6 ? undefined : pick(typed),
          commit: next() < 0.7 ? undefined : pick(commits),
          run: next() < 0.8 ? undefined : pick(["3", "5", "none"]),
          branch: next() < 0.9 ? undefined : pick(["main", "fix", "none"]),
          sha256: next() < 0.9 ? undefined : pick(hashes),
          path: next() < 0.8 ? undefined : pick(pathed),
          under: next() < 0.8 ? undefined : pick(beneath),
          what: next() < 0.7 ? undefined : pick(asked),
          tagKeys: pick(keyed),
          notTags: pick(untagged),
        };
        const query: ListQuery = {
          sort: pick([undefined, "path", "size"]),
          ascending: next() < 0.5,
          after: some(pick(entries).id),
          since: some(time()),
          until: some(time()),
          idPrefix: some(pick(entries).id.slice(0, 11)),
          filter,
          expected: pick([undefined, 1, 51, 700]),
        };
        const found: string[] = [];
        const exactly = (await matcher({ what: filter.what })) as unknown as (entry: Entry) => boolean;
        for await (const id of listed(query, undefined, how)) {
          // SQLite cannot fold this letter, and leaves what has it to the filter.
          const unsure = filter.what === undefined ? undefined : pathsById.get(id);
          if (!unsure?.includes("İ") || exactly({ path: unsure } as Entry)) found.push(id);
        }
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
      ...(["path", "size"] as const).map((sort) => ({ sort, filter: { tags: { half: "0" } } })),
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

test.each([undefined, "path", "size"] as const)(
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

test("the versions of a path, and all places, are read over several pages", async () => {
  const metadata = await metadataDrivers.local.open(localSettings(directory));
  const made = Array.from({ length: 1100 }, (_, index) => ({
    ...entryAt(index * 20),
    name: "many.txt",
    path: "path/to/many.txt",
  }));
  database.exec("BEGIN");
  for (const entry of made) insert(entry);
  database.exec("COMMIT");
  try {
    const versions: string[] = [];
    for await (const id of metadata.versions("path/to/many.txt", never)) versions.push(id);
    expect(versions).toEqual(made.map(({ id }) => id).reverse());
    const places = new Map<string, string>();
    for await (const { id, path } of metadata.places(never)) places.set(id, path);
    expect(places).toEqual(new Map([...entries, ...made].map(({ id, path }) => [id, path])));
  } finally {
    database.exec("DELETE FROM documents WHERE name = 'many.txt'");
    await metadata.close();
  }
});

test("a listing by size or path does not go on behind a document that is gone, and one by time does", async () => {
  const after = v7({ msecs: begin + 10 });
  for (const sort of ["path", "size"] as const) {
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
      expect(statements.filter(({ sql }) => sql.startsWith("SELECT id, path"))).toHaveLength(1);
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

  test("by size or path are read from its index, and sorted only if few are what they could be", async () => {
    const walked: [DocumentFilter, "size" | "path", string][] = [
      [{}, "size", "SCAN entry USING INDEX documents_by_size"],
      [{}, "path", "SCAN entry USING INDEX documents_by_path"],
      [{ tags: { half: "0" } }, "size", "SCAN entry USING INDEX documents_by_size"],
      [{ path: "**/*.txt" }, "path", "entry USING INDEX documents_by_path"],
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
      for (const sort of ["size", "path"] as const) {
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
      for (const sort of [undefined, "path", "size"] as const) {
        for await (const _ of listed({ filter, ascending, sort }, (sql) => void statements.push(sql)));
      }
    }
  }
  expect(statements.length).toBeGreaterThan(20);
  expect(statements.filter((sql) => sql.includes("zq9"))).toEqual([]);
});

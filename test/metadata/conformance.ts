/** The suite that every kind of catalog passes. The promises are the comments of src/metadata/service.ts. */
import { createHash } from "node:crypto";
import { setMaxListeners } from "node:events";
import { v7 } from "uuid";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Settings } from "../../src/core/settings.ts";
import { nameOfPath } from "../../src/document/path.ts";
import { type ListQuery, matcher } from "../../src/document/query.ts";
import { type DocumentRecord, timeOfId, uploadTimeOfId } from "../../src/document/record.ts";
import type { Changes, Entry, MetadataDriver, MetadataService } from "../../src/metadata/service.ts";
import { storageDrivers } from "../../src/storage/registry.ts";
import { randomNumbers } from "../support/random.ts";
import { versionsConformance } from "./versions.ts";

const never = new AbortController().signal;
// As the program does: everything that is under way listens.
setMaxListeners(0, never);

/** A place of a catalog, empty when a suite begins. */
export interface MetadataTarget {
  readonly settings: Settings;
  /**
   * Makes, or takes away, the place of an entry among the versions of its path, and nothing else, as a crash can; false
   * where a place is nothing apart from its document.
   */
  putPlace(entry: Entry): Promise<boolean>;
  dropPlace(entry: Entry): Promise<boolean>;
  /** Enough records, from this time on, that one page of the driver cannot hold them. */
  severalPages(time: number): DocumentRecord[];
  /** How many random questions are asked. */
  readonly questions: number;
  close(): Promise<void>;
}

/** An id made at a time of the test's choosing. */
export const idAt = (time: number) => v7({ msecs: time });

/** @param fields without the name, which follows from the path */
export function recordWith(fields: Partial<Omit<DocumentRecord, "name">> = {}): DocumentRecord {
  const id = fields.id ?? v7();
  const path = fields.path ?? `document-${id}.txt`;
  return {
    id,
    path,
    name: nameOfPath(path),
    size: 5,
    contentType: "text/plain",
    sha256: createHash("sha256").update(id).digest("hex"),
    uploadedAt: uploadTimeOfId(id),
    uri: `s3://bucket/${id}`,
    tags: {},
    metadata: {},
    source: { kind: "file", path: "./a", modifiedAt: "2026-01-01T00:00:00.000Z" },
    provenance: null,
    crc32: null,
    expiresAt: null,
    ...fields,
  };
}

/** All that an iteration yields. */
export async function everyOf<T>(all: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const one of all) found.push(one);
  return found;
}

/** What an upload commits, unless it is said otherwise. */
export function entryWith(record: DocumentRecord, fields: Partial<Entry> = {}): Entry {
  return { record, given: record.tags, proved: true, ...fields };
}

export function metadataConformance(driver: MetadataDriver, start: () => Promise<MetadataTarget>): void {
  let target: MetadataTarget;
  let metadata: MetadataService;

  beforeAll(async () => {
    target = await start();
    for await (const _ of driver.provision(target.settings, { plan: false, signal: never }));
    metadata = await driver.open(target.settings);
  });
  afterAll(async () => {
    await metadata?.close();
    await target?.close();
  });

  const add = (record: DocumentRecord) => metadata.commit(entryWith(record), { unlessThere: true }, never);
  const ids = async (query: Partial<ListQuery>) => {
    const found = await everyOf(metadata.list({ ascending: false, ...query }, never));
    return found.map(({ record }) => record.id);
  };
  const versionsOf = (path: string) => everyOf(metadata.versions(path, never));
  const placesOf = async (path: string) => {
    const places = await everyOf(metadata.places(never));
    return places.flatMap((place) => (place.path === path ? [place.id] : [])).sort();
  };
  const recordOf = async (id: string) => (await metadata.get(id, never))?.record;

  describe("versions", () => versionsConformance(() => ({ driver, target, metadata })));

  test("gives back an entry value for value", async () => {
    const hostile = JSON.parse('{"__proto__":"kept","constructor":"x","":"","ü":"\\ud83d\\ude80","a\\nb":"c\\u0000d"}');
    const record = recordWith({
      path: "Übung/a b/#?%&=+:*\\|\"'<>/..a/Résumé 📄 \u202e.pdf",
      size: 2 ** 50,
      tags: hostile,
      metadata: { long: "x".repeat(16_000) },
      source: { kind: "stdin", path: null, modifiedAt: null },
      provenance: { git: { commit: "abc", branch: null, dirty: true, remote: null }, ci: null },
      crc32: "00c0ffee",
      expiresAt: "2027-02-28T23:59:59.999Z",
    });
    for (const [given, proved] of [
      [hostile, true],
      [{}, false],
      [JSON.parse('{"__proto__":"1"}'), true],
    ] as const) {
      const entry = entryWith({ ...record, id: v7() }, { given, proved });
      expect(await metadata.commit(entry, { unlessThere: true }, never)).toEqual({ committed: true });
      const found = await metadata.get(entry.record.id, never);
      const sorted = (map: object = {}) => JSON.stringify(Object.entries(map).sort());
      expect(JSON.stringify(found?.record)).toBe(
        JSON.stringify({
          ...record,
          id: entry.record.id,
          uploadedAt: found?.record.uploadedAt,
          tags: found?.record.tags,
        }),
      );
      expect(found?.record.uploadedAt).toBe(uploadTimeOfId(entry.record.id));
      expect(sorted(found?.record.tags)).toBe(sorted(hostile));
      expect([sorted(found?.given), found?.proved]).toEqual([sorted(given), proved]);
    }
  });

  test("keeps paths of any length and form apart, and gives them back", async () => {
    const longest = `${"d".repeat(511)}/${"é".repeat(256)}`;
    const start = v7();
    const paths = [
      longest,
      longest.slice(0, -1),
      "/a",
      "#a",
      "#",
      " ",
      "\u{10ffff}".repeat(100),
      "/A",
      ".a",
      "/a/b",
      "~",
    ];
    const made = paths.map((path) => recordWith({ path: path.length > 500 ? path : `${start}${path}` }));
    for (const record of made) expect(await add(record)).toEqual({ committed: true });
    for (const record of made) {
      expect(await metadata.get(record.id, never)).toEqual(entryWith(record));
      expect(await versionsOf(record.path)).toEqual([record.id]);
      expect(await placesOf(record.path)).toEqual([record.id]);
      expect((await metadata.remove(record.id, never))?.path).toBe(record.path);
      expect(await versionsOf(record.path)).toEqual([]);
    }
  });

  test("gives back the address of a document in every kind of storage", async () => {
    for (const { traits } of Object.values(storageDrivers)) {
      const record = recordWith({ uri: `${traits.scheme}://place/of/it%20all` });
      await add(record);
      expect(await recordOf(record.id)).toEqual(record);
    }
  });

  test("answers undefined for what it does not have", async () => {
    expect(await metadata.get(v7(), never)).toBeUndefined();
    const { newest, twin, last } = await metadata.lookUp({ path: "none", given: {} }, "0".repeat(64), never);
    expect([newest, twin, last]).toEqual([undefined, undefined, undefined]);
    expect(await versionsOf("none")).toEqual([]);
    expect(await placesOf("none")).toEqual([]);
    expect(await metadata.remove(v7(), never)).toBeUndefined();
    expect(await metadata.prove(v7(), never)).toBe(false);
    expect(await metadata.update(recordWith(), { tags: { a: "1" } }, never)).toBe(false);
  });

  test("shows a commit at once in every kind of read", async () => {
    const record = recordWith({ path: `a/${v7()}` });
    await add(record);
    const entry = entryWith(record);
    expect(await metadata.get(record.id, never)).toEqual(entry);
    const standing = await metadata.lookUp({ path: record.path, given: {} }, record.sha256, never);
    expect(standing).toMatchObject({ newest: entry, twin: entry, last: record.id });
    expect(await versionsOf(record.path)).toEqual([record.id]);
    expect(await placesOf(record.path)).toEqual([record.id]);
    expect(await ids({ idPrefix: record.id })).toEqual([record.id]);
  });

  test("answers many commits at once as if each were alone", async () => {
    const held = recordWith();
    await add(held);
    const path = `mixed/${v7()}`;
    const wanted = Array.from({ length: 120 }, () => recordWith());
    const rivals = Array.from({ length: 5 }, () => recordWith({ path, sha256: "a".repeat(64) }));
    const late = Array.from({ length: 3 }, () => recordWith({ path: held.path, sha256: held.sha256 }));
    const [twice] = wanted;
    const all = [...wanted.slice(0, 70), ...rivals, ...late, ...wanted.slice(70), ...(twice ? [twice] : [])];
    const results = await Promise.all(all.map(add));
    const resultOf = (record: DocumentRecord) => results[all.indexOf(record)];
    const there = (record: DocumentRecord) => ({ committed: false, there: entryWith(record) });
    for (const record of wanted) expect(resultOf(record)).toEqual({ committed: true });
    expect(results.at(-1)).toEqual(there(twice ?? held));
    for (const record of late) expect(resultOf(record)).toEqual(there(held));
    const [winner = held, ...others] = rivals.filter((record) => resultOf(record)?.committed);
    expect([winner.path, others]).toEqual([path, []]);
    for (const record of rivals) if (record !== winner) expect(resultOf(record)).toEqual(there(winner));
    const found = await Promise.all(all.map(({ id }) => recordOf(id)));
    const isThere = (record: DocumentRecord) => wanted.includes(record) || record === winner;
    expect(found.map((record) => record?.id)).toEqual(all.map((record) => (isThere(record) ? record.id : undefined)));
    for (const record of wanted) expect(await versionsOf(record.path)).toEqual([record.id]);
    expect(await versionsOf(path)).toEqual([winner.id]);
    expect(await versionsOf(held.path)).toEqual([held.id]);
  }, 120_000);

  test("answers many reads at once, of one and the same and of what is not there, each for itself", async () => {
    const made = Array.from({ length: 30 }, () => recordWith());
    await Promise.all(made.map(add));
    const reads = Array.from({ length: 300 }, (_, index) => made[index % 40]);
    const found = await Promise.all(reads.map((record) => recordOf(record?.id ?? v7())));
    expect(found).toEqual(reads);
    const standings = await Promise.all(
      reads.map((record) => metadata.lookUp({ path: record?.path ?? "none", given: {} }, record?.sha256, never)),
    );
    expect(standings.map(({ newest }) => newest?.record)).toEqual(reads);
    expect(standings.map(({ twin }) => twin?.record)).toEqual(reads);
    expect(standings.map(({ last }) => last)).toEqual(reads.map((record) => record?.id));
  });

  test("cancels, of many at once, those alone whose signal fires", async () => {
    const made = Array.from({ length: 40 }, () => recordWith());
    await Promise.all(made.slice(0, 20).map(add));
    const interruption = new AbortController();
    setMaxListeners(0, interruption.signal);
    const isCancelled = (index: number) => index % 2 === 1;
    const signalOf = (index: number) => (isCancelled(index) ? interruption.signal : never);
    const attempts = made.map(async (record, index) =>
      index < 20
        ? (await metadata.get(record.id, signalOf(index)))?.record.id === record.id
        : (await metadata.commit(entryWith(record), { unlessThere: true }, signalOf(index))).committed,
    );
    interruption.abort();
    const results = await Promise.allSettled(attempts);
    for (const [index, result] of results.entries()) {
      const done = { status: "fulfilled", value: true };
      // A driver that is done before the signal fires says so.
      if (!isCancelled(index) || result.status === "fulfilled") expect(result).toEqual(done);
      else expect(result.reason).toMatchObject({ code: "CANCELLED" });
      const isThere = (await metadata.get(made[index]?.id ?? "", never)) !== undefined;
      expect(isThere).toBe(index < 20 || result.status === "fulfilled");
    }
  });

  test("lists newest first, or oldest first, by id", async () => {
    const at = Date.UTC(2001, 0, 1);
    const made = Array.from({ length: 40 }, (_, index) => recordWith({ id: idAt(at + index * 1000) }));
    for (const record of [...made].reverse()) await add(record);
    const wanted = made.map(({ id }) => id);
    const range = { since: at, until: at + 3_600_000 };
    expect(await ids({ ...range, ascending: true })).toEqual(wanted);
    expect(await ids(range)).toEqual(wanted.toReversed());
  });

  test("lists by size and by path, if it says that it sorts", async () => {
    if (!driver.traits.sorts) return;
    const at = Date.UTC(2011, 0, 1);
    const made = [3, 1, 2].map((size, index) =>
      recordWith({ id: idAt(at + index), size, path: `${9 - size}/${size}` }),
    );
    for (const record of made) await add(record);
    const [three, one, two] = made.map(({ id }) => id);
    const range = { since: at, until: at + 1000, ascending: true };
    expect(await ids({ ...range, sort: "size" })).toEqual([one, two, three]);
    expect(await ids({ ...range, sort: "path" })).toEqual([three, two, one]);
  });

  test("includes the beginning of a time range and excludes its end", async () => {
    const at = Date.UTC(2002, 0, 1);
    const made = [0, 1, 2].map((offset) => recordWith({ id: idAt(at + offset) }));
    for (const record of made) await add(record);
    expect(await ids({ since: at + 1, until: at + 2 })).toEqual([made[1]?.id]);
    expect(await ids({ since: at, until: at })).toEqual([]);
  });

  test("continues behind a cursor, whatever was added or removed meanwhile", async () => {
    const at = Date.UTC(2003, 0, 1);
    const made = Array.from({ length: 9 }, (_, index) => recordWith({ id: idAt(at + index) }));
    for (const record of made) await add(record);
    const wanted = made.map(({ id }) => id);
    const range = { since: at, until: at + 1000 };
    expect(await ids({ ...range, after: wanted[5] })).toEqual(wanted.slice(0, 5).toReversed());
    expect(await ids({ ...range, after: wanted[5], ascending: true })).toEqual(wanted.slice(6));
    await metadata.remove(wanted[5] ?? "", never);
    await add(recordWith({ id: idAt(at + 500) }));
    expect(await ids({ ...range, after: wanted[5] })).toEqual(wanted.slice(0, 5).toReversed());
  });

  test("lists a catalog of several pages without a gap, while documents are added", async () => {
    const at = Date.UTC(2004, 0, 1);
    const made = target.severalPages(at);
    for (let index = 0; index < made.length; index += 4) await Promise.all(made.slice(index, index + 4).map(add));
    const wanted = made.map(({ id }) => id);
    const seen: string[] = [];
    for await (const { record } of metadata.list({ ascending: true, since: at, until: at + 5000 }, never)) {
      if (seen.push(record.id) === 40) await add(recordWith({ id: idAt(at + 4000) }));
    }
    expect(seen.slice(0, wanted.length)).toEqual(wanted);
    expect(new Set(seen).size).toBe(seen.length);
    expect(await ids({ since: at, until: at + 3000 })).toEqual(wanted.toReversed());
    // Small pages that grow until they are full.
    expect(await ids({ since: at, until: at + 3000, expected: 2 })).toEqual(wanted.toReversed());
  });

  test("lists the same whatever number of records is expected, and from any cursor", async () => {
    const at = Date.UTC(2007, 0, 1);
    const made = Array.from({ length: 40 }, (_, index) =>
      recordWith({ id: idAt(at + index), tags: { seventh: String(index % 7 === 0) } }),
    );
    await Promise.all(made.map(add));
    const range = { since: at, until: at + 1000 };
    for (const ascending of [true, false]) {
      for (const filter of [undefined, { tags: { seventh: "true" } }]) {
        const matching = made.filter((record) => !filter || record.tags["seventh"] === "true").map(({ id }) => id);
        const wanted = ascending ? matching : matching.toReversed();
        for (const expected of [1, wanted.length, 5000, undefined]) {
          expect(await ids({ ...range, ascending, filter, expected })).toEqual(wanted);
        }
        // Page by page, as a person goes on.
        for (const limit of [13, wanted.length]) {
          const seen: string[] = [];
          for (let last = -1; seen.length > last; ) {
            last = seen.length;
            const query = { ...range, ascending, filter, after: seen.at(-1), expected: limit + 1 };
            const page: string[] = [];
            for await (const { record } of metadata.list(query, never)) {
              if (page.push(record.id) === limit) break;
            }
            seen.push(...page);
          }
          expect(seen).toEqual(wanted);
        }
      }
    }
  }, 120_000);

  test("lists nothing where the cursor lies beyond the time range", async () => {
    const at = Date.UTC(2008, 0, 1);
    const [early, late] = [recordWith({ id: idAt(at) }), recordWith({ id: idAt(at + 1000) })];
    for (const record of [early, late]) await add(record);
    expect(await ids({ since: at + 500, after: early.id })).toEqual([]);
    expect(await ids({ until: at + 500, after: late.id, ascending: true })).toEqual([]);
    expect(await ids({ since: at + 500, after: early.id, filter: { name: early.name } })).toEqual([]);
  });

  test("lists one name in order, in the range, behind the cursor, and what is not there no more", async () => {
    const at = Date.UTC(2009, 0, 1);
    const name = `one of many (${v7()}).tgz`;
    const pathAt = (index: number) => `${["", "a/", "a/b/"][index % 3]}${name}`;
    // More than a batch of DynamoDB, which has 100.
    const made = Array.from({ length: 120 }, (_, index) =>
      recordWith({ id: idAt(at + index), path: pathAt(index), tags: { even: String(index % 2 === 0) } }),
    );
    for (let index = 0; index < made.length; index += 10) await Promise.all(made.slice(index, index + 10).map(add));
    await add(recordWith({ id: idAt(at + 50), path: `${name}.sig` }));
    const wanted = made.map(({ id }) => id);
    for (const expected of [1, 10, 120, undefined]) {
      expect(await ids({ filter: { name }, expected })).toEqual(wanted.toReversed());
      expect(await ids({ filter: { name }, expected, ascending: true })).toEqual(wanted);
    }
    const range = { since: at + 10, until: at + 20, filter: { name } };
    expect(await ids(range)).toEqual(wanted.slice(10, 20).toReversed());
    expect(await ids({ ...range, after: wanted[15], ascending: true })).toEqual(wanted.slice(16, 20));
    expect(await ids({ ...range, filter: { name, tags: { even: "true" } }, ascending: true })).toEqual(
      wanted.slice(10, 20).filter((_, index) => index % 2 === 0),
    );
    expect(await ids({ filter: { name: name.toUpperCase() } })).toEqual([]);
    await metadata.remove(wanted[119] ?? "", never);
    await target.putPlace(entryWith(recordWith({ path: name })));
    expect(await ids({ filter: { name }, expected: 2 })).toEqual(wanted.slice(0, 119).toReversed());
  }, 120_000);

  test("filters by every tag given, by name and by type", async () => {
    const at = Date.UTC(2005, 0, 1);
    const range = { since: at, until: at + 1000 };
    const [a, b, c] = [
      recordWith({
        id: idAt(at),
        path: "invoice.pdf",
        contentType: "application/pdf",
        tags: { build: "1", os: "linux" },
      }),
      recordWith({ id: idAt(at + 1), path: "Invoice.png", contentType: "image/png", tags: { build: "1" } }),
      recordWith({ id: idAt(at + 2), path: "inv/notes.txt", tags: { build: "2" } }),
    ];
    for (const record of [a, b, c]) await add(record);
    const listed = (filter: ListQuery["filter"]) => ids({ ...range, ascending: true, filter });
    expect(await listed({ tags: { build: "1" } })).toEqual([a.id, b.id]);
    expect(await listed({ tags: { build: "1", os: "linux" } })).toEqual([a.id]);
    expect(await listed({ tags: { toString: "1" } })).toEqual([]);
    expect(await listed({ name: "inv*" })).toEqual([a.id]);
    expect(await listed({ type: "image" })).toEqual([b.id]);
    expect(await listed({ type: "text/*", name: "*.txt", tags: { build: "2" } })).toEqual([c.id]);
  });

  test("finds what is below a folder, and nothing of one that begins like it", async () => {
    const folder = `folder ${v7()}`;
    const below = [recordWith({ path: `${folder}/a` }), recordWith({ path: `${folder}/b/c/d.txt` })];
    const beside = ["", "x/a", "-x/a", ".d/a", "0/a"].map((end) => recordWith({ path: `${folder}${end}` }));
    for (const record of [...below, ...beside]) await add(record);
    const wanted = below.map(({ id }) => id).sort();
    expect(await ids({ ascending: true, filter: { under: folder } })).toEqual(wanted);
    expect(await ids({ ascending: true, filter: { what: `${folder}/` } })).toEqual(wanted);
    expect(await ids({ filter: { under: `${folder}/b` } })).toEqual([below[1]?.id]);
    expect(await ids({ filter: { path: `${folder}/*` } })).toEqual([below[0]?.id]);
    expect(await ids({ filter: { path: `${folder}/**/*.txt` } })).toEqual([below[1]?.id]);
  });

  test("finds letters of both cases by small ones, and of one case by a capital one", async () => {
    const mark = v7();
    const made = ["Été", "été", "İstanbul", "SCANS", "Scans"].map((name) =>
      recordWith({ path: `${mark}/${name}/a.Pdf` }),
    );
    for (const record of made) await add(record);
    const found = async (what: string) => {
      const all = await ids({ ascending: true, filter: { under: mark, what } });
      return all.map((id) => made.findIndex((record) => record.id === id)).sort();
    };
    expect(await found("te\u0301/")).toEqual([]);
    expect(await found("e\u0301te\u0301")).toEqual([0, 1]);
    expect(await found("Été")).toEqual([0]);
    expect(await found("i̇stanbul")).toEqual([2]);
    expect(await found("scans")).toEqual([3, 4]);
    expect(await found("Scans")).toEqual([4]);
    expect(await found("*.pdf")).toEqual([0, 1, 2, 3, 4]);
    expect(await found("*.Pdf")).toEqual([0, 1, 2, 3, 4]);
    expect(await found("*.PDF")).toEqual([]);
    expect(await found("*/scans/*")).toEqual([3, 4]);
    expect(await found(`${mark}/scans/`)).toEqual([3, 4]);
    expect(await found("%")).toEqual([]);
    expect(await found("_")).toEqual([]);
  });

  test("finds any tag of a key, and what has no such tag", async () => {
    const folder = v7();
    // Of many values of a key, each is not asked for by itself.
    const made = Array.from({ length: 30 }, (_, index) =>
      recordWith({
        path: `${folder}/${index}`,
        tags: { mark: folder, ...(index < 25 ? { 'many"': String(index) } : {}), ...(index % 3 ? { few: "" } : {}) },
      }),
    );
    await Promise.all(made.map(add));
    const found = async (filter: ListQuery["filter"]) =>
      (await ids({ filter: { tags: { mark: folder }, ...filter } })).length;
    expect(await found({ tagKeys: ["few"] })).toBe(20);
    expect(await found({ notTags: [{ key: "few" }] })).toBe(10);
    expect(await found({ notTags: [{ key: "few", value: "x" }] })).toBe(30);
    expect(await found({ tagKeys: ['many"'] })).toBe(25);
    expect(await found({ notTags: [{ key: 'many"' }] })).toBe(5);
    expect(await found({ notTags: [{ key: 'many"', value: "7" }, { key: "few" }] })).toBe(10);
    expect(await found({ tagKeys: ['many"', "few"] })).toBe(16);
    expect(await found({ tagKeys: ["mark"], notTags: [{ key: "mark" }] })).toBe(0);
  });

  test("finds the beginning of a hash, and what was made on a branch", async () => {
    const git = (branch: string | null) => ({ commit: null, branch, dirty: null, remote: null });
    const digits = v7().replaceAll("-", "");
    const mark = v7();
    const made = ["main", "fix", null].map((branch, index) =>
      recordWith({
        sha256: `${digits}${index}`.padEnd(64, "0"),
        provenance: { git: git(branch && `${mark}/${branch}`), ci: null },
      }),
    );
    for (const record of made) await add(record);
    expect(await ids({ filter: { sha256: digits } })).toHaveLength(3);
    expect(await ids({ filter: { sha256: `${digits}1` } })).toEqual([made[1]?.id]);
    expect(await ids({ filter: { sha256: made[2]?.sha256 } })).toEqual([made[2]?.id]);
    expect(await ids({ filter: { branch: `${mark}/main` } })).toEqual([made[0]?.id]);
    expect(await ids({ filter: { branch: mark } })).toEqual([]);
  });

  test("finds what one commit, or the beginning of one, and what one CI run made", async () => {
    const ci = (run: string) => ({ provider: "x", run, attempt: null, job: null, actor: null, url: null });
    const git = (commit: string | null) => ({ commit, branch: null, dirty: null, remote: null });
    const [x, y] = [`abcdef0${"1".repeat(33)}`, `abcdef0${"2".repeat(33)}`];
    const mark = v7();
    const made = [
      recordWith({ tags: { mark }, provenance: { git: git(x), ci: ci(`${mark}-1`) } }),
      recordWith({ tags: { mark }, provenance: { git: git(y), ci: ci(`${mark}-1`) } }),
      recordWith({ tags: { mark }, provenance: { git: git(x), ci: null } }),
      recordWith({ tags: { mark }, provenance: { git: git(null), ci: ci(`${mark}-2`) } }),
      recordWith({ tags: { mark }, provenance: null }),
    ];
    for (const record of made) await add(record);
    const found = async (filter: ListQuery["filter"]) => {
      const all = await ids({ ascending: true, filter: { tags: { mark }, ...filter } });
      return all.map((id) => made.findIndex((record) => record.id === id));
    };
    expect(await found({ commit: x })).toEqual([0, 2]);
    expect(await found({ commit: "abcdef0" })).toEqual([0, 1, 2]);
    expect(await found({ commit: "abcdef01" })).toEqual([0, 2]);
    expect(await found({ commit: "abcdef03" })).toEqual([]);
    expect(await ids({ ascending: true, filter: { run: `${mark}-1` } })).toEqual([made[0]?.id, made[1]?.id]);
    expect(await found({ run: `${mark}-1`, commit: y })).toEqual([1]);
    expect(await found({ run: mark })).toEqual([]);
  });

  describe("update", () => {
    const record = recordWith;

    test("changes the fields that may change, and nothing else", async () => {
      const mark = v7();
      const before = record({ tags: { mark, a: "1" }, metadata: { m: "1" } });
      await add(before);
      const all: Changes[] = [
        { tags: { mark, b: "\u2028" } },
        { metadata: { m: "2", n: "" } },
        { contentType: "image/png" },
        { expiresAt: "2030-01-01T00:00:00.000Z" },
        { expiresAt: null, metadata: {} },
        { expiresAt: "2031-01-01T00:00:00.000Z", tags: { mark }, contentType: "text/html; charset=utf-8" },
      ];
      let current = before;
      for (const changes of all) {
        expect(await metadata.update(current, changes, never)).toBe(true);
        current = { ...current, ...changes };
        expect(await metadata.get(before.id, never)).toEqual(entryWith(current, { given: before.tags }));
      }
      expect(await ids({ filter: { tags: { mark }, type: "text/html*" } })).toEqual([before.id]);
      expect(await ids({ filter: { tags: { mark, a: "1" } } })).toEqual([]);
      expect(await versionsOf(before.path)).toEqual([before.id]);
      expect(await metadata.remove(before.id, never)).toEqual(current);
      expect(await placesOf(before.path)).toEqual([]);
    });

    test("keeps the document in its series, whatever tags it gets", async () => {
      const before = record({ path: `kept/${v7()}`, tags: { a: "1" } });
      await add(before);
      expect(await metadata.update(before, { tags: { a: "2" } }, never)).toBe(true);
      const entry = entryWith({ ...before, tags: { a: "2" } }, { given: { a: "1" } });
      const again = record({ path: before.path, sha256: before.sha256, tags: { a: "1" } });
      expect(await add(again)).toEqual({ committed: false, there: entry });
      expect(await metadata.lookUp({ path: before.path, given: { a: "1" } }, undefined, never)).toMatchObject({
        newest: entry,
        last: before.id,
      });
      expect(
        (await metadata.lookUp({ path: before.path, given: { a: "2" } }, undefined, never)).newest,
      ).toBeUndefined();
      const other = record({ path: before.path, sha256: before.sha256, tags: { a: "2" } });
      expect(await add(other)).toEqual({ committed: true });
      // Tags may become again what they were.
      expect(await metadata.update(entry.record, { tags: { a: "1" } }, never)).toBe(true);
      expect(await metadata.get(before.id, never)).toEqual(entryWith(before));
    });

    test("keeps what a document is: proved or not", async () => {
      const before = record();
      await metadata.commit(entryWith(before, { proved: false }), { unlessThere: true }, never);
      expect(await metadata.update(before, { tags: { a: "1" } }, never)).toBe(true);
      expect(await metadata.get(before.id, never)).toMatchObject({ given: {}, proved: false });
    });

    test("does nothing to a record that is gone, or has changed meanwhile in any of the fields", async () => {
      const now = record({ tags: { a: "1" }, metadata: { b: "1" }, expiresAt: "2030-01-01T00:00:00.000Z" });
      await add(now);
      const others: Changes[] = [{ tags: {} }, { metadata: {} }, { contentType: "a/b" }, { expiresAt: null }];
      for (const seen of [...others, { expiresAt: "2030-01-01T00:00:00.001Z" }]) {
        expect(await metadata.update({ ...now, ...seen }, { tags: { a: "2" } }, never)).toBe(false);
        expect(await metadata.get(now.id, never)).toEqual(entryWith(now));
      }
      await metadata.remove(now.id, never);
      expect(await metadata.update(now, { tags: { a: "2" } }, never)).toBe(false);
      expect(await metadata.get(now.id, never)).toBeUndefined();
      expect(await placesOf(now.path)).toEqual([]);
    });

    test("lets one of ten changes at once win", async () => {
      const before = record();
      await add(before);
      const results = await Promise.all(
        Array.from({ length: 10 }, (_, index) => metadata.update(before, { metadata: { by: `${index}` } }, never)),
      );
      const winners = results.flatMap((won, index) => (won ? [index] : []));
      expect(winners).toHaveLength(1);
      expect((await recordOf(before.id))?.metadata).toEqual({ by: `${winners[0]}` });
    });

    test("leaves nothing half when the record is removed at the same time", async () => {
      const made = Array.from({ length: 20 }, () => record());
      await Promise.all(made.map(add));
      const outcomes = await Promise.all(
        made.flatMap((one) => [metadata.update(one, { tags: { a: "1" } }, never), metadata.remove(one.id, never)]),
      );
      for (const [index, { id, path }] of made.entries()) {
        const removed = outcomes[2 * index + 1] as DocumentRecord | undefined;
        expect(removed?.id).toBe(id);
        expect(removed?.tags).toEqual(outcomes[2 * index] === true ? { a: "1" } : {});
        expect(await metadata.get(id, never)).toBeUndefined();
        expect(await placesOf(path)).toEqual([]);
      }
    });

    test("does nothing under a signal that has fired", async () => {
      const before = record();
      await add(before);
      const attempt = metadata.update(before, { tags: { a: "1" } }, AbortSignal.abort());
      await expect(attempt).rejects.toMatchObject({ code: "CANCELLED" });
      expect(await metadata.get(before.id, never)).toEqual(entryWith(before));
    });
  });

  describe("prove", () => {
    const imported = async (fields: Parameters<typeof recordWith>[0] = {}) => {
      const entry = entryWith(recordWith(fields), { proved: false });
      expect(await metadata.commit(entry, { unlessThere: true }, never)).toEqual({ committed: true });
      return entry;
    };

    test("lets an upload find an entry that none could find before, and changes nothing else", async () => {
      const entry = await imported({ tags: { a: "1" }, metadata: { b: "2" } });
      const { path, id, sha256, tags } = entry.record;
      const lookUp = () => metadata.lookUp({ path, given: tags }, sha256, never);
      expect(await lookUp()).toMatchObject({ newest: entry, twin: undefined, last: id });
      const proved = { ...entry, proved: true };
      for (let time = 1; time <= 2; time++) {
        expect(await metadata.prove(id, never)).toBe(true);
        expect(await metadata.get(id, never)).toEqual(proved);
        expect(await lookUp()).toMatchObject({ newest: proved, twin: proved, last: id });
      }
      expect(await add(recordWith({ path, sha256, tags }))).toEqual({ committed: false, there: proved });
      expect(await versionsOf(path)).toEqual([id]);
      expect(await metadata.remove(id, never)).toEqual(entry.record);
      expect(await placesOf(path)).toEqual([]);
    });

    test("says that an entry is gone", async () => {
      const { record } = await imported();
      await metadata.remove(record.id, never);
      expect(await metadata.prove(record.id, never)).toBe(false);
      expect(await metadata.get(record.id, never)).toBeUndefined();
      expect(await placesOf(record.path)).toEqual([]);
    });

    test("and a change of tags at the same time both hold", async () => {
      const entries = await Promise.all(Array.from({ length: 10 }, () => imported()));
      const outcomes = await Promise.all(
        entries.flatMap(({ record }) => [
          metadata.prove(record.id, never),
          metadata.update(record, { tags: { a: "1" } }, never),
        ]),
      );
      expect(new Set(outcomes)).toEqual(new Set([true]));
      for (const { record } of entries) {
        expect(await metadata.get(record.id, never)).toEqual(
          entryWith({ ...record, tags: { a: "1" } }, { given: {}, proved: true }),
        );
      }
    });

    test("does nothing under a signal that has fired", async () => {
      const entry = await imported();
      await expect(metadata.prove(entry.record.id, AbortSignal.abort())).rejects.toMatchObject({ code: "CANCELLED" });
      expect(await metadata.get(entry.record.id, never)).toEqual(entry);
    });
  });

  test("remembers for every process, and once, which catalogs it adopted, and keeps its own id", async () => {
    const other = await driver.open(target.settings);
    const own = await metadata.catalog(never);
    const gone = [v7(), v7().replaceAll("-", "")];
    expect(await metadata.adopted(never)).toEqual([]);
    for (const catalog of [...gone, ...gone]) await metadata.adopt(catalog, never);
    for (const one of [metadata, other]) {
      expect((await one.adopted(never)).toSorted()).toEqual(gone.toSorted());
      expect(await one.catalog(never)).toBe(own);
    }
    await expect(metadata.adopt(v7(), AbortSignal.abort())).rejects.toMatchObject({ code: "CANCELLED" });
    expect(await metadata.adopted(never)).toHaveLength(2);
    await other.close();
  });

  test("lists what a plain filter finds, for any question, while documents come and go", async () => {
    const next = randomNumbers(17);
    const pick = <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)] as T;
    const at = Date.UTC(2010, 0, 1);
    const time = () => at + Math.floor(next() * 100);
    const mark = v7();
    const made: DocumentRecord[] = [];
    const addOne = async () => {
      const record = recordWith({
        id: idAt(time()),
        path: `${pick(["", "inv-3.pdf/", "inv-3.pdf/Été/"])}${pick(["inv", "old", "[new]"])}-${Math.floor(next() * 5)}.${pick(["pdf", "txt"])}`,
        contentType: pick(["image/png", "image/gif", "text/plain; charset=utf-8"]),
        tags: { mark, color: pick(["red", "blue"]), ...(next() < 0.1 ? { 'a"\n=': "\u2028" } : {}) },
      });
      await add(record);
      made.push(record);
    };
    for (let batch = 0; batch < 8; batch++) await Promise.all(Array.from({ length: 10 }, addOne));
    for (let round = 0; round < target.questions; round++) {
      const filter = {
        tags: { mark, ...pick([{}, { color: "red" }, { 'a"\n=': "\u2028" }, { color: "blue", size: "xl" }]) },
        tagKeys: pick([undefined, undefined, ["color"], ['a"\n='], ["none"]]),
        notTags: pick([undefined, undefined, [{ key: "color", value: "red" }], [{ key: 'a"\n=' }], [{ key: "none" }]]),
        path: pick([undefined, undefined, undefined, "inv-3.pdf/*", "**/inv-3.pdf", "inv-3.pdf/Été/inv-3.pdf"]),
        under: pick([undefined, undefined, undefined, "inv-3.pdf", "inv-3.pdf/Été", "inv-3.pd"]),
        what: pick([undefined, undefined, undefined, "inv-3", "été/", "INV", "*.pdf", "été/inv*"]),
        sha256: pick([undefined, undefined, undefined, made[0]?.sha256.slice(0, 7), "fffffff"]),
        name: pick([undefined, undefined, "inv-*", "*.pdf", "inv-3.pdf", "\\[new]*", "{inv,old}-[0-2]*", "no*"]),
        type: pick([undefined, undefined, "image", "image/png", "text/plain*", "video"]),
      };
      const matches = await matcher(filter);
      const [since, until] = [pick([undefined, time()]), pick([undefined, time()])];
      const ascending = next() < 0.5;
      const after = pick([undefined, pick(made).id]);
      const wanted = made
        .filter(
          (record) =>
            matches(record) &&
            (since === undefined || timeOfId(record.id) >= since) &&
            (until === undefined || timeOfId(record.id) < until) &&
            (after === undefined || (ascending ? record.id > after : record.id < after)),
        )
        .map(({ id }) => id)
        .sort();
      const query = { ascending, since, until, after, filter, expected: pick([undefined, 1, 7]) };
      expect(await ids(query), JSON.stringify(query)).toEqual(ascending ? wanted : wanted.reverse());
      if (round % 5 > 0) continue;
      const [gone] = made.splice(Math.floor(next() * made.length), 1);
      await metadata.remove(gone?.id ?? "", never);
      await addOne();
    }
  }, 120_000);

  test("finds ids by their beginning", async () => {
    const at = Date.UTC(2006, 0, 1);
    const made = [recordWith({ id: idAt(at) }), recordWith({ id: idAt(at + 1) })];
    for (const record of made) await add(record);
    const [first = "", second = ""] = made.map(({ id }) => id);
    expect(await ids({ idPrefix: first.slice(0, 13) })).toEqual([first]);
    expect(await ids({ idPrefix: first.slice(0, 12), ascending: true })).toEqual([first, second]);
    expect(timeOfId(second)).toBe(at + 1);
  });

  test("has an id that is the same for every process, and for ever", async () => {
    const other = await driver.open(target.settings);
    const ids = await Promise.all([metadata, other, metadata].map((one) => one.catalog(never)));
    expect(ids[0]).toMatch(/^[0-9a-f-]{32,36}$/);
    expect(new Set(ids).size).toBe(1);
    await other.close();
  });

  test("has the traits of its driver, and a place that is named", async () => {
    expect(metadata.traits).toEqual(driver.traits);
    expect(driver.nameOf(target.settings).name).not.toBe("");
    expect(await driver.placeOf(target.settings)).toBe(await driver.placeOf({ ...target.settings }));
  });

  test("says how far its clock is from ours", async () => {
    expect(Math.abs(await driver.clockSkew(target.settings, never))).toBeLessThan(5_000);
  });

  test("does nothing under a signal that has fired", async () => {
    const fired = AbortSignal.abort();
    const record = recordWith();
    await expect(metadata.commit(entryWith(record), { unlessThere: true }, fired)).rejects.toMatchObject({
      code: "CANCELLED",
    });
    expect(await metadata.get(record.id, never)).toBeUndefined();
    await expect(metadata.get(record.id, fired)).rejects.toMatchObject({ code: "CANCELLED" });
  });

  test("is seen by another opening of the same catalog", async () => {
    const other = await driver.open(target.settings);
    const record = recordWith();
    await add(record);
    expect((await other.get(record.id, never))?.record.id).toBe(record.id);
    await other.close();
    await other.close();
  });

  test("keeps its records when it is provisioned again", async () => {
    const record = recordWith();
    await add(record);
    const actions: string[] = [];
    for await (const { action } of driver.provision(target.settings, { plan: false, signal: never })) {
      actions.push(action);
    }
    expect(new Set(actions)).toEqual(new Set(["exists"]));
    expect((await recordOf(record.id))?.id).toBe(record.id);
  });
}

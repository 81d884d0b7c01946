/** Catalog and storage held against each other, both ways, however many there are of each. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Leftover } from "../../src/core/leftover.ts";
import { type DocumentRecord, storageKey } from "../../src/document/record.ts";
import { examine, type Finding } from "../../src/library/doctor.ts";
import { Comparison, isDocumentKey } from "../../src/library/reconcile.ts";
import { minGarbageAge } from "../../src/library/removal.ts";
import type { MetadataService, Place } from "../../src/metadata/service.ts";
import type { ListedObject, StorageService, StoredObject } from "../../src/storage/service.ts";
import { entryOf, recordWith } from "../support/record.ts";
import { servicesOf } from "../support/services.ts";

const never = new AbortController().signal;
const soak = process.env["DOCPROC_SOAK"] === "1";

/** The id of the document of a number: as old as can be, and in the order of the numbers. */
function idOf(n: number): string {
  const hex = n.toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-${n.toString(16).padStart(12, "0").slice(-12)}`;
}

const keyOf = (n: number, prefix = "") => storageKey(prefix, idOf(n), "a");
const object = (n: number, fields: Partial<ListedObject> = {}): ListedObject => ({
  key: keyOf(n),
  size: 1,
  age: minGarbageAge + n,
  ...fields,
});

const record = (n: number): DocumentRecord =>
  recordWith({ id: idOf(n), path: "a", size: 1, uri: `s3://bucket/${keyOf(n)}` });
const entry = (n: number) => entryOf(record(n));

async function* each<T>(items: Iterable<T>): AsyncIterable<T> {
  yield* items;
}

function* numbers(from: number, to: number): Iterable<number> {
  for (let n = from; n < to; n++) yield n;
}

function* mapped<T>(items: Iterable<number>, make: (n: number) => T): Iterable<T> {
  for (const n of items) yield make(n);
}

describe("a comparison", () => {
  async function openComparison(prefix = "") {
    const comparison = await Comparison.open(prefix);
    onTestFinished(() => comparison.close());
    return comparison;
  }

  test("finds what one has and the other has not, both ways, beyond one page", async () => {
    const comparison = await openComparison();
    // More than a thousand, which is how many are read at a time.
    await comparison.addObjects(each(mapped(numbers(0, 3_000), (n) => object(n))));
    await comparison.addRecords(each(mapped(numbers(1_500, 4_500), entry)));
    await comparison.addPlaces(each(mapped(numbers(1_600, 6_000), (n) => ({ id: idOf(n), path: "a" }))));
    expect(comparison.counts).toEqual({ records: 3_000, objects: 3_000, foreign: 0, places: 4_400 });
    expect([...comparison.recordsWithoutBytes()]).toEqual([...mapped(numbers(3_000, 4_500), idOf)]);
    expect([...comparison.objectsWithoutRecord()]).toEqual([
      ...mapped(numbers(0, 1_500), (n) => ({ id: idOf(n), ...object(n) })),
    ]);
    expect([...comparison.placesWithoutRecord()].map(({ id }) => id)).toEqual([...mapped(numbers(4_500, 6_000), idOf)]);
    expect([...comparison.recordsWithoutPlace()]).toEqual([...mapped(numbers(1_500, 1_600), idOf)]);
  });

  test("finds all objects, orphans and places of one id, however many", async () => {
    const comparison = await openComparison();
    const key = (n: number) => `${idOf(7).slice(-2)}/${idOf(7)}/${n}`;
    await comparison.addObjects(each(mapped(numbers(0, 2_500), (n) => object(7, { key: key(n) }))));
    await comparison.addPlaces(each(mapped(numbers(0, 2_500), (n) => ({ id: idOf(7), path: String(n) }))));
    const found = [...comparison.objectsWithoutRecord()];
    expect(new Set(found.map((one) => one.key)).size).toBe(2_500);
    expect([...comparison.placesWithoutRecord()]).toHaveLength(2_500);
    for (const one of found) comparison.addOrphan({ ...one, owner: "ours" });
    expect([...comparison.orphans()]).toHaveLength(2_500);
  });

  test("takes an object of another size or of another key of the same id for none", async () => {
    const comparison = await openComparison();
    await comparison.addObjects(each([object(1, { size: 2 }), object(2), object(3, { size: 2 })]));
    await comparison.addObjects(each([3, 4].map((n) => object(n, { key: keyOf(n).replace(/a$/, "b") }))));
    await comparison.addRecords(each([1, 2, 3, 4].map(entry)));
    expect([...comparison.recordsWithoutBytes()]).toEqual([1, 3, 4].map(idOf));
    expect([...comparison.objectsWithoutRecord()]).toEqual([]);
  });

  test("takes a place at another path for none", async () => {
    const comparison = await openComparison();
    await comparison.addRecords(each([1, 2].map(entry)));
    await comparison.addPlaces(
      each([
        { id: idOf(1), path: "b" },
        { id: idOf(2), path: "a" },
      ]),
    );
    expect([...comparison.recordsWithoutPlace()]).toEqual([idOf(1)]);
  });

  test("knows the objects of a library that was moved", async () => {
    const comparison = await openComparison("p/");
    await comparison.addObjects(each([object(1, { key: keyOf(1, "p/") })]));
    await comparison.addRecords(each([entry(1)]));
    expect([...comparison.recordsWithoutBytes()]).toEqual([]);
  });

  test("knows the keys of documents below its prefix, and counts the others", async () => {
    const comparison = await openComparison("p/");
    const [id, digits] = [idOf(300), idOf(300).slice(-2)];
    expect(isDocumentKey(keyOf(300, "p/"), "p/")).toBe(true);
    const others = [
      keyOf(300),
      `p/${digits}/${id}`,
      `p/${digits}/${id}/`,
      `p/${digits}/${id}/a/b`,
      `p/00/${id}/a`,
      `p/${digits}/${id.toUpperCase()}/a`,
      `p/${digits}/${id.replace("-7", "-4")}/a`,
      `p/p/${digits}/${id}/a`,
      `x/p/${digits}/${id}/a`,
      "p/",
      "",
    ];
    for (const key of others) expect({ key, ours: isDocumentKey(key, "p/") }).toEqual({ key, ours: false });
    await comparison.addObjects(each([...others, keyOf(300, "p/")].map((key) => object(300, { key }))));
    expect(comparison.counts).toMatchObject({ objects: 1, foreign: others.length });
  });
});

/** What a fake library holds; each list may be made while it is read. */
interface Holding {
  readonly objects?: () => Iterable<ListedObject>;
  readonly records?: () => Iterable<DocumentRecord>;
  readonly places?: () => Iterable<Pick<Place, "id" | "path">>;
  readonly leftovers?: () => Iterable<Leftover>;
  /** What is there when it is asked for, whatever was listed. */
  readonly stat?: (key: string) => Partial<StoredObject> | undefined;
  readonly get?: (id: string) => DocumentRecord | undefined;
  readonly versions?: () => Iterable<string>;
}

const notAsked = (): never => {
  throw new Error("a doctor does not do this");
};

/** A doctor of a library that is nowhere, and what was removed from it. */
function openFake(holding: Holding, repair = false) {
  const removed: string[] = [];
  const released: string[] = [];
  const storage: StorageService = {
    traits: { resumes: false, rangesInFlight: 1, shared: false, checksums: false, signs: false, scheme: "s3" },
    put: notAsked,
    copy: notAsked,
    open: notAsked,
    async stat(key) {
      const found = holding.stat?.(key);
      return found && { size: 1, crc32: null, catalog: "ours", version: null, touched: null, ...found };
    },
    list: () => each(holding.objects?.() ?? []),
    leftovers: () => each(holding.leftovers?.() ?? []),
    remove: async (key) => void removed.push(key),
    sign: notAsked,
    uri: (key) => `s3://bucket/${key}`,
    close: async () => {},
  };
  const release = (id: string) => async () => void released.push(id);
  const metadata: MetadataService = {
    traits: { sorts: false, readsFree: true },
    commit: notAsked,
    lookUp: notAsked,
    versions: () => each((holding.versions ?? notAsked)()),
    remove: notAsked,
    update: notAsked,
    prove: notAsked,
    adopted: async () => [],
    adopt: notAsked,
    async get(id) {
      const found = holding.get?.(id);
      return found && entryOf(found);
    },
    async *places() {
      for (const { id, path } of holding.places?.() ?? []) yield { id, path, release: release(id) };
    },
    async *list() {
      for (const found of holding.records?.() ?? []) yield entryOf(found);
    },
    catalog: async () => "ours",
    close: async () => {},
  };
  const findings: Finding[] = [];
  const examined = () =>
    examine(
      servicesOf(storage, metadata),
      { repair, trustCatalog: false, signal: never },
      async (finding) => void findings.push(finding),
    );
  return { examined, findings, removed, released };
}

const one =
  <T>(item: T) =>
  () => [item];

describe("a doctor while others work", () => {
  test("does not miss the bytes of what was uploaded after the objects were listed", async () => {
    const places = one({ id: idOf(1), path: "a" });
    const held = { records: one(record(1)), places, stat: () => ({}), get: record.bind(null, 1) };
    const { examined, findings } = openFake(held);
    expect(await examined()).toMatchObject({ records: 1, objects: 0 });
    expect(findings).toEqual([]);
  });

  test("does not miss the bytes of what was deleted since", async () => {
    const { examined, findings } = openFake({ records: one(record(1)) });
    await examined();
    expect(findings).toEqual([]);
  });

  test("reports a document without a place only if it still is there and still has none", async () => {
    const held = { objects: one(object(1)), records: one(record(1)) };
    const get = () => record(1);
    const [lost, back, gone] = [
      openFake({ ...held, get, versions: one(idOf(2)) }, true),
      openFake({ ...held, get, versions: one(idOf(1)) }),
      openFake({ ...held, versions: one(idOf(2)) }),
    ];
    for (const { examined } of [lost, back, gone]) await examined();
    expect(lost.findings).toMatchObject([{ code: "MISSING_PLACE", id: idOf(1), name: "a", repaired: false }]);
    expect({ removed: lost.removed, released: lost.released }).toEqual({ removed: [], released: [] });
    expect([...back.findings, ...gone.findings]).toEqual([]);
  });

  test("does not call an orphan what has a record by now, or is gone", async () => {
    const committed = openFake({ objects: one(object(1)), stat: () => ({}), get: () => record(1) }, true);
    const gone = openFake({ objects: one(object(1)) }, true);
    for (const { examined, findings, removed } of [committed, gone]) {
      expect(await examined()).toMatchObject({ objects: 1, young: 0 });
      expect({ findings, removed }).toEqual({ findings: [], removed: [] });
    }
  });

  test("does not remove what gets its record between the look and the removal", async () => {
    let asked = 0;
    const get = () => (++asked > 1 ? record(1) : undefined);
    const { examined, findings, removed } = openFake({ objects: one(object(1)), stat: () => ({}), get }, true);
    await examined();
    expect(removed).toEqual([]);
    expect(findings).toMatchObject([{ code: "ORPHAN_OBJECT", repaired: false }]);
  });

  test("does not free a place whose document is there by now", async () => {
    const places = one({ id: idOf(1), path: "a" });
    const { examined, findings, released } = openFake({ places, get: () => record(1) }, true);
    await examined();
    expect({ findings, released }).toEqual({ findings: [], released: [] });
  });

  test.each([
    [0, 1],
    [minGarbageAge - 1, 1],
    [minGarbageAge, 0],
  ])("leaves alone what is %i ms old, if that is less than a day", async (age, young) => {
    const discarded: string[] = [];
    const discard = async () => void discarded.push("leftover");
    const leftovers = one<Leftover>({ kind: "temporary-file", name: "t", age, discard });
    const { examined, findings, removed } = openFake(
      { objects: one(object(1, { age })), stat: () => ({}), leftovers },
      true,
    );
    expect(await examined()).toMatchObject({ young: 2 * young });
    expect(findings).toHaveLength(2 - 2 * young);
    expect([...removed, ...discarded]).toEqual(young === 1 ? [] : [keyOf(1), "leftover"]);
  });
});

test(`a doctor finds the few differences among ${soak ? "a million" : "50,000"} documents in the same memory`, async () => {
  const count = soak ? 1_000_000 : 50_000;
  const planted = { missing: 17, orphan: count - 3, place: Math.floor(count / 2) };
  setFlagsFromString("--expose-gc");
  const collectGarbage: () => void = runInNewContext("gc");
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  let most = 0;
  /** Counts what is still in use, now and then. */
  function* watched(skipped: number): Iterable<number> {
    for (const n of numbers(0, count)) {
      if (n % (count / 5) === 0) {
        collectGarbage();
        most = Math.max(most, process.memoryUsage().heapUsed - before);
      }
      if (n !== skipped) yield n;
    }
  }
  const isListed = (id: string) => id !== idOf(planted.orphan) && id !== idOf(planted.place);
  const { examined, findings } = openFake({
    objects: () => mapped(watched(planted.missing), (n) => object(n)),
    *records() {
      for (const n of watched(planted.orphan)) if (n !== planted.place) yield record(n);
    },
    places: () => mapped(watched(-1), (n) => ({ id: idOf(n), path: "a" })),
    stat: (key) => (key === keyOf(planted.missing) ? undefined : {}),
    get: (id) => (isListed(id) ? record(Number.parseInt(id.slice(-12), 16)) : undefined),
  });
  const summary = await examined();
  expect(summary).toMatchObject({ records: count - 2, objects: count - 1, foreign: 0, places: count });
  expect(findings.map(({ code, id }) => [code, id])).toEqual([
    ["MISSING_BYTES", idOf(planted.missing)],
    ["ORPHAN_OBJECT", idOf(planted.place)],
    ["ORPHAN_OBJECT", idOf(planted.orphan)],
    ["ORPHAN_PLACE", idOf(planted.place)],
    ["ORPHAN_PLACE", idOf(planted.orphan)],
  ]);
  // Kept in memory, it would be some hundred bytes for each object, record and place.
  expect(most).toBeLessThan(soak ? 100_000_000 : 5_000_000);
}, 600_000);

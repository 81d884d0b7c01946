/** The part of the suite for every kind of catalog that is about the versions of a path: see conformance.ts. */
import { createHash } from "node:crypto";
import { setMaxListeners } from "node:events";
import { v7 } from "uuid";
import { expect, test } from "vitest";
import { canonicalJson, type DocumentRecord, newDocumentId, type TextMap } from "../../src/document/record.ts";
import type { CommitResult, Entry, MetadataDriver, MetadataService, Series } from "../../src/metadata/service.ts";
import { randomNumbers } from "../support/random.ts";
import { entryWith, everyOf, idAt, type MetadataTarget, recordWith } from "./conformance.ts";

const never = new AbortController().signal;
setMaxListeners(0, never);

export interface Opened {
  readonly driver: MetadataDriver;
  readonly target: MetadataTarget;
  readonly metadata: MetadataService;
}

/** The SHA-256 of some bytes. */
const bytes = (text: string) => createHash("sha256").update(text).digest("hex");
const newPath = () => `versions/${v7()}/a.txt`;

/** Defines the tests. @param opened is called in them */
export function versionsConformance(opened: () => Opened): void {
  const commit = (entry: Entry, unlessThere = true) => opened().metadata.commit(entry, { unlessThere }, never);
  const add = (record: DocumentRecord, unlessThere = true) => commit(entryWith(record), unlessThere);
  const lookUp = (series: Series, sha256?: string) => opened().metadata.lookUp(series, sha256, never);
  const versionsOf = (path: string) => everyOf(opened().metadata.versions(path, never));
  const placesOf = async (path: string) => {
    const all = await everyOf(opened().metadata.places(never));
    return all.filter((place) => place.path === path);
  };
  const placeIdsOf = async (path: string) => (await placesOf(path)).map(({ id }) => id).sort();
  const there = (record: DocumentRecord) => ({ committed: false, there: entryWith(record) });
  const stored = { committed: true };

  test("the same bytes again are there, other bytes and those of before are a new version", async () => {
    const path = newPath();
    const made = ["v1", "v2", "v1", "v1", "v2", "v2", "v1"].map((text) => recordWith({ path, sha256: bytes(text) }));
    const [first, second, third, , fourth, , fifth] = made as [DocumentRecord, ...DocumentRecord[]];
    const results: CommitResult[] = [];
    for (const record of made) results.push(await add(record));
    expect(results).toEqual([stored, stored, stored, there(third ?? first), stored, there(fourth ?? first), stored]);
    expect(await versionsOf(path)).toEqual([fifth, fourth, third, second, first].map((record) => record?.id));
    expect((await lookUp({ path, given: {} })).newest?.record).toEqual(fifth);
  });

  test("the same bytes at another path, or with other tags, are another document", async () => {
    const path = newPath();
    const one = recordWith({ path });
    const sha256 = one.sha256;
    const others = [
      recordWith({ path: newPath(), sha256 }),
      recordWith({ path: `${path}/a.txt`, sha256 }),
      recordWith({ path: path.toUpperCase(), sha256 }),
      recordWith({ path, sha256, tags: { build: "43" } }),
      recordWith({ path, sha256, tags: { build: "43", os: "" } }),
    ];
    for (const record of [one, ...others]) expect(await add(record)).toEqual(stored);
    for (const record of [one, ...others]) {
      expect(await add(recordWith({ path: record.path, sha256, tags: record.tags }))).toEqual(there(record));
    }
    expect(await versionsOf(path)).toHaveLength(3);
  });

  test("tags have no order", async () => {
    const path = newPath();
    const record = recordWith({ path, tags: { a: "1", b: "2" } });
    await add(record);
    expect(await add(recordWith({ path, sha256: record.sha256, tags: { b: "2", a: "1" } }))).toEqual(there(record));
    expect((await lookUp({ path, given: { b: "2", a: "1" } })).newest?.record.id).toBe(record.id);
  });

  test("a repeated commit of the same entry returns its own, even where all are stored", async () => {
    const record = recordWith({ path: newPath() });
    await add(record);
    for (const unlessThere of [true, false]) expect(await add(record, unlessThere)).toEqual(there(record));
    expect(await versionsOf(record.path)).toEqual([record.id]);
  });

  test("a repeated commit returns the entry as it is by now", async () => {
    const { metadata } = opened();
    const record = recordWith({ path: newPath() });
    await commit(entryWith(record, { proved: false }));
    await metadata.update(record, { tags: { a: "1" } }, never);
    await metadata.prove(record.id, never);
    expect(await add(record)).toEqual({
      committed: false,
      there: entryWith({ ...record, tags: { a: "1" } }, { given: {} }),
    });
  });

  test("a version that comes late is compared with the one before it and the one after it", async () => {
    const path = newPath();
    const at = Date.UTC(2012, 0, 1);
    const version = (time: number, text: string) => recordWith({ id: idAt(at + time), path, sha256: bytes(text) });
    const [a, b] = [version(10, "a"), version(20, "b")];
    for (const record of [b, a]) expect(await add(record)).toEqual(stored);
    expect(await add(version(15, "a"))).toEqual(there(a));
    expect(await add(version(15, "b"))).toEqual(there(b));
    expect(await add(version(5, "a"))).toEqual(there(a));
    expect(await add(version(25, "b"))).toEqual(there(b));
    const c = version(15, "c");
    const [beforeA, betweenB, betweenA, last] = [version(5, "b"), version(12, "b"), version(18, "a"), version(25, "a")];
    for (const record of [c, beforeA, betweenB, betweenA, last]) expect(await add(record)).toEqual(stored);
    expect(await versionsOf(path)).toEqual([last, b, betweenA, c, betweenB, a, beforeA].map(({ id }) => id));
  });

  test("a neighbour whose bytes were not read does not count", async () => {
    const path = newPath();
    const at = Date.UTC(2013, 0, 1);
    const version = (time: number) => recordWith({ id: idAt(at + time), path, sha256: bytes("same") });
    const unproved = entryWith(version(10), { proved: false });
    expect(await commit(unproved)).toEqual(stored);
    const [before, after] = [version(5), version(15)];
    expect(await add(before)).toEqual(stored);
    expect(await add(after)).toEqual(stored);
    expect(await add(version(20))).toEqual(there(after));
    // What is committed need not be proved itself.
    expect(await commit(entryWith(version(20), { proved: false }))).toEqual(there(after));
    await opened().metadata.prove(unproved.record.id, never);
    const provedNow = { committed: false, there: { ...unproved, proved: true } };
    await opened().metadata.remove(after.id, never);
    expect(await add(version(20))).toEqual(provedNow);
    await opened().metadata.remove(before.id, never);
    expect(await add(version(5))).toEqual(provedNow);
  });

  test("versions with other tags between do not count, nor do those that were removed", async () => {
    const path = newPath();
    const sha256 = bytes("same");
    const first = recordWith({ path, sha256 });
    const other = recordWith({ path, tags: { a: "1" } });
    for (const record of [first, other]) await add(record);
    expect(await add(recordWith({ path, sha256 }))).toEqual(there(first));
    const between = recordWith({ path });
    await add(between);
    await opened().metadata.remove(between.id, never);
    expect(await add(recordWith({ path, sha256 }))).toEqual(there(first));
    await opened().metadata.remove(first.id, never);
    expect(await add(recordWith({ path, sha256 }))).toEqual(stored);
  });

  test("all are stored where none has to be new", async () => {
    const path = newPath();
    const made = Array.from({ length: 5 }, () => recordWith({ path, sha256: bytes("same") }));
    const results = await Promise.all(made.map((record) => add(record, false)));
    expect(results).toEqual(made.map(() => stored));
    expect(await versionsOf(path)).toEqual(made.map(({ id }) => id).reverse());
    const later = await add(recordWith({ path, sha256: bytes("same") }));
    expect(later).toEqual(there(made.at(-1) ?? recordWith()));
  });

  test("a standing that has grown old changes no result", async () => {
    const { metadata } = opened();
    const path = newPath();
    const series = { path, given: {} };
    const sha256 = bytes("same");
    const empty = await lookUp(series, sha256);
    const first = recordWith({ path, sha256 });
    await add(first);
    const second = recordWith({ path, sha256 });
    expect(await metadata.commit(entryWith(second), { unlessThere: true, seen: empty }, never)).toEqual(there(first));
    const full = await lookUp(series, sha256);
    await metadata.remove(first.id, never);
    expect(await metadata.commit(entryWith(second), { unlessThere: true, seen: full }, never)).toEqual(stored);
    const other = recordWith({ path });
    expect(await metadata.commit(entryWith(other), { unlessThere: true, seen: full }, never)).toEqual(stored);
    const third = recordWith({ path, sha256: other.sha256 });
    for (const seen of [empty, full]) {
      expect(await metadata.commit(entryWith(third), { unlessThere: true, seen }, never)).toEqual(there(other));
    }
    expect(await metadata.commit(entryWith(third), { unlessThere: false, seen: empty }, never)).toEqual(stored);
    expect(await versionsOf(path)).toEqual([third, other, second].map(({ id }) => id));
  });

  test("one of twenty commits of the same bytes to a series wins", async () => {
    const { driver, target } = opened();
    const services = await Promise.all(Array.from({ length: 4 }, () => driver.open(target.settings)));
    for (const tags of [{}, { build: "1" }]) {
      const path = newPath();
      const made = Array.from({ length: 20 }, () => recordWith({ path, tags, sha256: bytes("same") }));
      const results = await Promise.all(
        made.map((record, index) => services[index % 4]?.commit(entryWith(record), { unlessThere: true }, never)),
      );
      const winners = made.filter((_, index) => results[index]?.committed);
      expect(winners).toHaveLength(1);
      const [winner = recordWith()] = winners;
      for (const result of results) expect(result).toEqual(result?.committed ? stored : there(winner));
      expect(await versionsOf(path)).toEqual([winner.id]);
      expect(await placeIdsOf(path)).toEqual([winner.id]);
    }
    for (const service of services) await service.close();
  }, 60_000);

  test("twenty versions of a path at once are all there", async () => {
    const path = newPath();
    const made = Array.from({ length: 20 }, (_, index) => recordWith({ path, tags: { third: String(index % 3) } }));
    const results = await Promise.all(made.map((record) => add(record)));
    expect(results).toEqual(made.map(() => stored));
    expect(await versionsOf(path)).toEqual(made.map(({ id }) => id).reverse());
    expect(await placeIdsOf(path)).toEqual(made.map(({ id }) => id));
    for (const [index, record] of made.slice(-3).entries()) {
      const given = { third: String((17 + index) % 3) };
      expect((await lookUp({ path, given })).newest?.record).toEqual(record);
    }
  }, 60_000);

  test("uploads of two versions in turns, by several processes, leave no two equal neighbours", async () => {
    const { driver, target, metadata } = opened();
    const path = newPath();
    const services = await Promise.all(Array.from({ length: 4 }, () => driver.open(target.settings)));
    const attempts: { entry: Entry; result: CommitResult }[] = [];
    const upload = async (service: MetadataService, round: number) => {
      const given: TextMap = round % 5 === 0 ? { build: "1" } : {};
      const sha256 = bytes(`v${round % 2}`);
      const seen = await service.lookUp({ path, given }, sha256, never);
      if (seen.newest?.proved && seen.newest.record.sha256 === sha256) return;
      const id = newDocumentId(seen.last);
      if (seen.last !== undefined) expect(id > seen.last).toBe(true);
      const entry = entryWith(recordWith({ id, path, sha256, tags: given }));
      attempts.push({ entry, result: await service.commit(entry, { unlessThere: true, seen }, never) });
    };
    await Promise.all(
      services.map(async (service, index) => {
        for (let round = 0; round < target.questions / 2; round++) await upload(service, round + index);
      }),
    );
    const entries: Entry[] = [];
    for (const id of (await versionsOf(path)).reverse()) {
      const entry = await metadata.get(id, never);
      if (entry) entries.push(entry);
    }
    const committed = attempts.filter(({ result }) => result.committed).map(({ entry }) => entry);
    const byId = (a: Entry, b: Entry) => (a.record.id < b.record.id ? -1 : 1);
    expect(entries).toEqual(committed.toSorted(byId));
    for (const tags of ["{}", '{"build":"1"}']) {
      const series = entries.filter(({ given }) => canonicalJson(given) === tags);
      expect(series.length).toBeGreaterThan(1);
      for (const [index, { record }] of series.slice(1).entries()) {
        expect(record.sha256).not.toBe(series[index]?.record.sha256);
      }
    }
    for (const { entry, result } of attempts) {
      if (result.committed) continue;
      expect(result.there.record.sha256).toBe(entry.record.sha256);
      expect(result.there.given).toEqual(entry.given);
      expect(entries).toContainEqual(result.there);
    }
    for (const service of services) await service.close();
  }, 120_000);

  test("a look-up knows the newest of a series, a twin in any series, and the last id of the path", async () => {
    const path = newPath();
    const at = Date.UTC(2014, 0, 1);
    const version = (time: number, text: string, tags: TextMap = {}) =>
      recordWith({ id: idAt(at + time), path, sha256: bytes(text), tags });
    const [a, tagged, b, late] = [
      version(10, "a"),
      version(20, "tagged", { t: "1" }),
      version(30, "b"),
      version(40, "late", { t: "2" }),
    ];
    for (const record of [late, b, tagged, a]) expect(await add(record)).toEqual(stored);
    const unproved = entryWith(version(35, "unproved"), { proved: false });
    await commit(unproved);
    const of = async (given: TextMap, text?: string) => {
      const { newest, twin, last } = await lookUp({ path, given }, text === undefined ? undefined : bytes(text));
      return [newest, twin, last];
    };
    const entry = entryWith;
    expect(await of({})).toEqual([unproved, undefined, late.id]);
    expect(await of({}, "unproved")).toEqual([unproved, undefined, late.id]);
    expect(await of({}, "a")).toEqual([unproved, entry(a), late.id]);
    expect(await of({}, "late")).toEqual([unproved, entry(late), late.id]);
    expect(await of({ t: "1" }, "tagged")).toEqual([entry(tagged), entry(tagged), late.id]);
    expect(await of({ t: "1" }, "b")).toEqual([entry(tagged), entry(b), late.id]);
    expect(await of({ t: "3" }, "b")).toEqual([undefined, entry(b), late.id]);
    expect(await of({ t: "3" }, "none")).toEqual([undefined, undefined, late.id]);
    // The newest of the series, where several documents are a twin.
    const again = version(5, "late", { t: "1" });
    await add(again);
    expect(await of({ t: "2" }, "late")).toEqual([entry(late), entry(late), late.id]);
    await opened().metadata.remove(late.id, never);
    expect(await of({ t: "2" }, "late")).toEqual([undefined, entry(again), unproved.record.id]);
  });

  test("sixty versions are listed newest first, in whatever order they come and go", async () => {
    const { metadata } = opened();
    const path = newPath();
    const next = randomNumbers(5);
    const shuffled = <T>(all: readonly T[]) =>
      all
        .map((one) => ({ one, by: next() }))
        .sort((a, b) => a.by - b.by)
        .map(({ one }) => one);
    const at = Date.UTC(2015, 0, 1);
    const made = Array.from({ length: 60 }, (_, index) => recordWith({ id: idAt(at + index), path }));
    const others = ["a", "#", "/a", " "].map((end) => recordWith({ id: idAt(at + 30), path: `${path}${end}` }));
    for (const record of shuffled([...made, ...others])) expect(await add(record)).toEqual(stored);
    let left = made.map(({ id }) => id).reverse();
    expect(await versionsOf(path)).toEqual(left);
    for (const [index, id] of shuffled(left).entries()) {
      expect((await metadata.remove(id, never))?.id).toBe(id);
      left = left.filter((one) => one !== id);
      if (index % 10 === 0) expect(await versionsOf(path)).toEqual(left);
      expect((await lookUp({ path, given: {} })).last).toBe(left[0]);
    }
    expect(await versionsOf(path)).toEqual([]);
    for (const record of others) expect(await versionsOf(record.path)).toEqual([record.id]);
  }, 60_000);

  test("versions do what a plain model does, for any sequence of changes", async () => {
    const { metadata, target } = opened();
    const next = randomNumbers(23);
    const pick = <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)] as T;
    const paths = [newPath(), newPath()];
    const tagSets: TextMap[] = [{}, { t: "1" }];
    const texts = ["a", "b", "c"].map(bytes);
    const at = Date.UTC(2016, 0, 1);
    /** By id. */
    let model: Entry[] = [];
    const versions = (path: string) => model.filter(({ record }) => record.path === path);
    const seriesOf = ({ path, given }: Series) =>
      versions(path).filter((entry) => canonicalJson(entry.given) === canonicalJson(given));
    const replace = (entry: Entry) => {
      model = model.map((one) => (one.record.id === entry.record.id ? entry : one));
    };
    const steps: Record<string, () => Promise<void>> = {
      async commit() {
        const id = pick([idAt(at + Math.floor(next() * 1000)), newDocumentId(), pick(model)?.record.id ?? v7()]);
        const entry = entryWith(recordWith({ id, path: pick(paths), sha256: pick(texts), tags: pick(tagSets) }), {
          given: pick(tagSets),
          proved: next() < 0.8,
        });
        const unlessThere = next() < 0.8;
        const own = model.find(({ record }) => record.id === id);
        const series = seriesOf({ path: entry.record.path, given: entry.given });
        const sides = [
          series.findLast(({ record }) => record.id < id),
          series.find(({ record }) => record.id > id),
        ].filter((one) => one?.proved && one.record.sha256 === entry.record.sha256);
        const result = await commit(entry, unlessThere);
        if (own) expect(result).toEqual({ committed: false, there: own });
        else if (unlessThere && sides.length > 0) {
          expect(result.committed).toBe(false);
          if (!result.committed) expect(sides).toContainEqual(result.there);
        } else {
          expect(result).toEqual(stored);
          model = [...model, entry].sort((a, b) => (a.record.id < b.record.id ? -1 : 1));
        }
      },
      async remove() {
        const entry = pick(model);
        if (entry === undefined) return;
        expect(await metadata.remove(entry.record.id, never)).toEqual(entry.record);
        model = model.filter((one) => one !== entry);
      },
      async update() {
        const entry = pick(model);
        if (entry === undefined) return;
        const isStale = next() < 0.2;
        const tags = pick(tagSets);
        const before = isStale ? { ...entry.record, metadata: { stale: "yes" } } : entry.record;
        expect(await metadata.update(before, { tags }, never)).toBe(!isStale);
        if (!isStale) replace({ ...entry, record: { ...entry.record, tags } });
      },
      async prove() {
        const entry = pick(model);
        if (entry === undefined) return;
        expect(await metadata.prove(entry.record.id, never)).toBe(true);
        replace({ ...entry, proved: true });
      },
    };
    for (let round = 0; round < 5 * target.questions; round++) {
      await steps[pick(["commit", "commit", "commit", "remove", "update", "prove"])]?.();
      const series = { path: pick(paths), given: pick(tagSets) };
      const sha256 = pick([undefined, ...texts]);
      const { newest, twin, last } = await lookUp(series, sha256);
      const wanted = seriesOf(series).at(-1);
      expect(newest).toEqual(wanted);
      expect(last).toBe(versions(series.path).at(-1)?.record.id);
      const twins = versions(series.path).filter((one) => one.proved && one.record.sha256 === sha256);
      if (wanted?.proved && wanted.record.sha256 === sha256) expect(twin).toEqual(wanted);
      else if (twins.length === 0) expect(twin).toBeUndefined();
      else expect(twins).toContainEqual(twin);
      if (round % 5 > 0) continue;
      for (const path of paths) {
        const ids = versions(path).map(({ record }) => record.id);
        expect(await versionsOf(path)).toEqual(ids.toReversed());
        expect(await placeIdsOf(path)).toEqual(ids);
      }
      for (const entry of model) expect(await metadata.get(entry.record.id, never)).toEqual(entry);
    }
  }, 120_000);

  test("a document is removed with its place, so that it can come again", async () => {
    const { metadata } = opened();
    const record = recordWith({ path: newPath() });
    await add(record);
    expect(await metadata.remove(record.id, never)).toEqual(record);
    expect(await metadata.get(record.id, never)).toBeUndefined();
    expect(await placeIdsOf(record.path)).toEqual([]);
    expect(await versionsOf(record.path)).toEqual([]);
    expect(await metadata.remove(record.id, never)).toBeUndefined();
    expect(await add(recordWith({ path: record.path, sha256: record.sha256 }))).toEqual(stored);
  });

  test("of removals and commits at once, each is done or not, and nothing is left half", async () => {
    const { metadata } = opened();
    const path = newPath();
    const made = Array.from({ length: 10 }, (_, index) => recordWith({ path, sha256: bytes(String(index % 2)) }));
    for (const record of made) expect(await add(record)).toEqual(stored);
    const more = Array.from({ length: 10 }, (_, index) => recordWith({ path, sha256: bytes(String(index % 3)) }));
    const removals = made.map(({ id }) => metadata.remove(id, never));
    const [removed, results] = await Promise.all([Promise.all(removals), Promise.all(more.map((one) => add(one)))]);
    expect(removed).toEqual(made);
    const left = more.filter((_, index) => results[index]?.committed).map(({ id }) => id);
    expect(left.length).toBeGreaterThan(0);
    expect(await versionsOf(path)).toEqual(left.toReversed());
    expect(await placeIdsOf(path)).toEqual(left);
    for (const { id } of more) {
      expect((await metadata.get(id, never)) !== undefined).toBe(left.includes(id));
    }
  }, 60_000);

  test("knows the place of every document, and releases none of one that is there", async () => {
    const path = newPath();
    const made = Array.from({ length: 3 }, (_, index) => recordWith({ path, tags: { index: String(index) } }));
    for (const record of made) await add(record);
    for (const place of await placesOf(path)) await place.release(never);
    const ids = made.map(({ id }) => id);
    expect(await placeIdsOf(path)).toEqual(ids);
    expect(await versionsOf(path)).toEqual(ids.toReversed());
  });

  test("releases a place whose document is not there, also twice, and then it is free", async () => {
    const { target } = opened();
    const record = recordWith({ path: newPath() });
    const lost = recordWith({ path: record.path });
    if (!(await target.putPlace(entryWith(lost)))) {
      expect(await placeIdsOf(record.path)).toEqual([]);
      return;
    }
    expect(await placeIdsOf(record.path)).toEqual([lost.id]);
    for (const place of await placesOf(record.path)) {
      for (let time = 1; time <= 2; time++) await place.release(never);
    }
    expect(await placeIdsOf(record.path)).toEqual([]);
    expect(await add(record)).toEqual(stored);
    expect(await versionsOf(record.path)).toEqual([record.id]);
  });

  test("removes a document although its place is gone, and leaves the places of others alone", async () => {
    const { target, metadata } = opened();
    const record = recordWith({ path: newPath() });
    const other = recordWith({ path: record.path });
    for (const one of [record, other]) await add(one);
    await target.dropPlace(entryWith(record));
    expect(await metadata.remove(record.id, never)).toEqual(record);
    expect(await metadata.get(record.id, never)).toBeUndefined();
    expect(await placeIdsOf(record.path)).toEqual([other.id]);
    expect(await metadata.get(other.id, never)).toEqual(entryWith(other));
  });
}

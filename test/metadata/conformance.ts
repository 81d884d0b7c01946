/** The suite that every kind of catalog passes. The promises are the comments of src/metadata/service.ts. */
import { createHash } from "node:crypto";
import { setMaxListeners } from "node:events";
import { v7 } from "uuid";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Settings } from "../../src/core/settings.ts";
import { identityOf } from "../../src/document/identity.ts";
import { type ListQuery, matcher } from "../../src/document/query.ts";
import { type DocumentRecord, timeOfId, uploadTimeOfId } from "../../src/document/record.ts";
import {
  apart,
  type CommitResult,
  type MetadataDriver,
  type MetadataService,
  unproved,
} from "../../src/metadata/service.ts";
import { storageDrivers } from "../../src/storage/registry.ts";
import { randomNumbers } from "../support/random.ts";

const never = new AbortController().signal;
// As the program does: everything that is under way listens.
setMaxListeners(0, never);

/** A place of a catalog, empty when a suite begins. */
export interface MetadataTarget {
  readonly settings: Settings;
  /** Makes, or takes away, a claim alone; false where a claim is nothing apart from its record. */
  putClaim(name: string, identity: string, id: string): Promise<boolean>;
  dropClaim(name: string, identity: string): Promise<boolean>;
  /** Enough records, from this time on, that one page of the driver cannot hold them. */
  severalPages(time: number): DocumentRecord[];
  /** How many random questions are asked. */
  readonly questions: number;
  close(): Promise<void>;
}

/** An id made at a time of the test's choosing. */
export const idAt = (time: number) => v7({ msecs: time });

export function recordWith(fields: Partial<DocumentRecord> = {}): DocumentRecord {
  const id = fields.id ?? v7();
  return {
    id,
    name: `document-${id}.txt`,
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
    ...fields,
  };
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

  const commit = (record: DocumentRecord) => metadata.commit(record, identityOf(record), never);
  const ids = async (query: Partial<ListQuery>) => {
    const found: string[] = [];
    for await (const { id } of metadata.list({ ascending: false, ...query }, never)) found.push(id);
    return found;
  };
  const claimsOf = async (name: string | undefined) => {
    const found: { id: string; name: string; size: number }[] = [];
    for await (const { id, name: of, size } of metadata.claims(name, never)) found.push({ id, name: of, size });
    return found.sort((a, b) => (a.id < b.id ? -1 : 1));
  };

  test("gives back a record value for value", async () => {
    const hostile = JSON.parse('{"__proto__":"kept","constructor":"x","":"","ü":"\\ud83d\\ude80","a\\nb":"c\\u0000d"}');
    const record = recordWith({
      name: "Résumé 📄 \u001b[31m\u202e.pdf",
      size: 2 ** 50,
      tags: hostile,
      metadata: { long: "x".repeat(16_000) },
      source: { kind: "stdin", path: null, modifiedAt: null },
      provenance: { git: { commit: "abc", branch: null, dirty: true, remote: null }, ci: null },
      crc32: "00c0ffee",
    });
    expect(await commit(record)).toEqual({ committed: true });
    const found = await metadata.get(record.id, never);
    expect(JSON.stringify(found)).toBe(JSON.stringify({ ...record, tags: found?.tags }));
    expect(Object.entries(found?.tags ?? {}).sort()).toEqual(Object.entries(hostile).sort());
  });

  test("gives back the address of a document in every kind of storage", async () => {
    for (const { traits } of Object.values(storageDrivers)) {
      const record = recordWith({ uri: `${traits.scheme}://place/of/it%20all` });
      await commit(record);
      expect(await metadata.get(record.id, never)).toEqual(record);
    }
  });

  test("answers undefined for what it does not have", async () => {
    expect(await metadata.get(v7(), never)).toBeUndefined();
    expect(await metadata.holder("nobody", "0".repeat(64), never)).toBeUndefined();
    expect(await claimsOf("nobody")).toEqual([]);
  });

  test("shows a commit at once in every kind of read", async () => {
    const record = recordWith();
    await commit(record);
    expect((await metadata.get(record.id, never))?.id).toBe(record.id);
    expect(await metadata.holder(record.name, identityOf(record), never)).toBe(record.id);
    expect(await claimsOf(record.name)).toEqual([{ id: record.id, name: record.name, size: record.size }]);
    expect(await ids({ idPrefix: record.id })).toEqual([record.id]);
  });

  test("refuses a second record with the same claim, names the holder and writes nothing", async () => {
    const first = recordWith();
    const second = { ...recordWith(), name: first.name, sha256: first.sha256 };
    await commit(first);
    expect(await commit(second)).toEqual({ committed: false, holder: first.id });
    expect(await metadata.get(second.id, never)).toBeUndefined();
    expect(await claimsOf(first.name)).toHaveLength(1);
  });

  test("answers a repeated commit of the same record with its own id", async () => {
    const record = recordWith();
    await commit(record);
    expect(await commit(record)).toEqual({ committed: false, holder: record.id });
    expect(await claimsOf(record.name)).toHaveLength(1);
  });

  test("lets one of twenty commits of the same claim win", async () => {
    const name = `race-${v7()}`;
    const records = Array.from({ length: 20 }, () => recordWith({ name, sha256: "a".repeat(64) }));
    const results = await Promise.all(records.map(commit));
    const winners = records.filter((_, index) => results[index]?.committed);
    expect(winners).toHaveLength(1);
    for (const result of results) if (!result.committed) expect(result.holder).toBe(winners[0]?.id);
    expect(await claimsOf(name)).toHaveLength(1);
    expect(await ids({ filter: { name } })).toEqual([winners[0]?.id]);
  });

  test("answers many commits at once as if each were alone", async () => {
    const held = recordWith();
    await commit(held);
    const name = `mixed-${v7()}`;
    const wanted = Array.from({ length: 120 }, () => recordWith());
    const rivals = Array.from({ length: 5 }, () => recordWith({ name, sha256: "a".repeat(64) }));
    const late = Array.from({ length: 3 }, () => recordWith({ name: held.name, sha256: held.sha256 }));
    const [twice] = wanted;
    const all = [...wanted.slice(0, 70), ...rivals, ...late, ...wanted.slice(70), ...(twice ? [twice] : [])];
    const results = await Promise.all(all.map(commit));
    const resultOf = (record: DocumentRecord) => results[all.indexOf(record)];
    for (const record of wanted) expect(resultOf(record)).toEqual({ committed: true });
    expect(results.at(-1)).toEqual({ committed: false, holder: twice?.id });
    for (const record of late) expect(resultOf(record)).toEqual({ committed: false, holder: held.id });
    const [winner, ...others] = rivals.filter((record) => resultOf(record)?.committed);
    expect([winner?.name, others]).toEqual([name, []]);
    for (const record of rivals) {
      if (record !== winner) expect(resultOf(record)).toEqual({ committed: false, holder: winner?.id });
    }
    const there = await Promise.all(all.map(({ id }) => metadata.get(id, never)));
    const isThere = (record: DocumentRecord) => wanted.includes(record) || record === winner;
    expect(there.map((record) => record?.id)).toEqual(all.map((record) => (isThere(record) ? record.id : undefined)));
    for (const { name, id } of wanted) expect(await claimsOf(name)).toEqual([{ id, name, size: 5 }]);
  }, 120_000);

  test("answers many reads at once, of one and the same and of what is not there, each for itself", async () => {
    const made = Array.from({ length: 30 }, () => recordWith());
    await Promise.all(made.map(commit));
    const reads = Array.from({ length: 300 }, (_, index) => made[index % 40]);
    const found = await Promise.all(reads.map((record) => metadata.get(record?.id ?? v7(), never)));
    expect(found).toEqual(reads);
    const holders = await Promise.all(
      reads.map((record) => metadata.holder(record?.name ?? "nobody", record ? identityOf(record) : "x", never)),
    );
    expect(holders).toEqual(reads.map((record) => record?.id));
  });

  test("cancels, of many at once, those alone whose signal fires", async () => {
    const made = Array.from({ length: 40 }, () => recordWith());
    await Promise.all(made.slice(0, 20).map(commit));
    const interruption = new AbortController();
    setMaxListeners(0, interruption.signal);
    const isCancelled = (index: number) => index % 2 === 1;
    const signalOf = (index: number) => (isCancelled(index) ? interruption.signal : never);
    const attempts = made.map(async (record, index) =>
      index < 20
        ? (await metadata.get(record.id, signalOf(index)))?.id === record.id
        : (await metadata.commit(record, identityOf(record), signalOf(index))).committed,
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

  test("keeps documents of one name apart by their bytes and by their tags", async () => {
    const name = `same-${v7()}`;
    const one = recordWith({ name });
    const otherBytes = recordWith({ name, size: 7 });
    const otherTags = recordWith({ name, sha256: one.sha256, tags: { build: "43" } });
    for (const record of [one, otherBytes, otherTags]) expect(await commit(record)).toEqual({ committed: true });
    expect((await claimsOf(name)).map(({ size }) => size).sort()).toEqual([5, 5, 7]);
  });

  test("lists newest first, or oldest first, by id", async () => {
    const at = Date.UTC(2001, 0, 1);
    const made = Array.from({ length: 40 }, (_, index) => recordWith({ id: idAt(at + index * 1000) }));
    for (const record of [...made].reverse()) await commit(record);
    const wanted = made.map(({ id }) => id);
    const range = { since: at, until: at + 3_600_000 };
    expect(await ids({ ...range, ascending: true })).toEqual(wanted);
    expect(await ids(range)).toEqual(wanted.toReversed());
  });

  test("lists by size and by name, if it says that it sorts", async () => {
    if (!driver.traits.sorts) return;
    const at = Date.UTC(2011, 0, 1);
    const made = [3, 1, 2].map((size, index) => recordWith({ id: idAt(at + index), size, name: `${9 - size}` }));
    for (const record of made) await commit(record);
    const [three, one, two] = made.map(({ id }) => id);
    const range = { since: at, until: at + 1000, ascending: true };
    expect(await ids({ ...range, sort: "size" })).toEqual([one, two, three]);
    expect(await ids({ ...range, sort: "name" })).toEqual([three, two, one]);
  });

  test("includes the beginning of a time range and excludes its end", async () => {
    const at = Date.UTC(2002, 0, 1);
    const made = [0, 1, 2].map((offset) => recordWith({ id: idAt(at + offset) }));
    for (const record of made) await commit(record);
    expect(await ids({ since: at + 1, until: at + 2 })).toEqual([made[1]?.id]);
    expect(await ids({ since: at, until: at })).toEqual([]);
  });

  test("continues behind a cursor, whatever was added or removed meanwhile", async () => {
    const at = Date.UTC(2003, 0, 1);
    const made = Array.from({ length: 9 }, (_, index) => recordWith({ id: idAt(at + index) }));
    for (const record of made) await commit(record);
    const wanted = made.map(({ id }) => id);
    const range = { since: at, until: at + 1000 };
    expect(await ids({ ...range, after: wanted[5] })).toEqual(wanted.slice(0, 5).toReversed());
    expect(await ids({ ...range, after: wanted[5], ascending: true })).toEqual(wanted.slice(6));
    await metadata.remove(wanted[5] ?? "", never);
    await commit(recordWith({ id: idAt(at + 500) }));
    expect(await ids({ ...range, after: wanted[5] })).toEqual(wanted.slice(0, 5).toReversed());
  });

  test("lists a catalog of several pages without a gap, while somebody adds to it", async () => {
    const at = Date.UTC(2004, 0, 1);
    const made = target.severalPages(at);
    for (let index = 0; index < made.length; index += 4) await Promise.all(made.slice(index, index + 4).map(commit));
    const wanted = made.map(({ id }) => id);
    const seen: string[] = [];
    for await (const { id } of metadata.list({ ascending: true, since: at, until: at + 5000 }, never)) {
      if (seen.push(id) === 40) await commit(recordWith({ id: idAt(at + 4000) }));
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
    await Promise.all(made.map(commit));
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
            for await (const { id } of metadata.list(query, never)) if (page.push(id) === limit) break;
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
    for (const record of [early, late]) await commit(record);
    expect(await ids({ since: at + 500, after: early.id })).toEqual([]);
    expect(await ids({ until: at + 500, after: late.id, ascending: true })).toEqual([]);
    expect(await ids({ since: at + 500, after: early.id, filter: { name: early.name } })).toEqual([]);
  });

  test("lists one name in order, in the range, behind the cursor, and what is not there no more", async () => {
    const at = Date.UTC(2009, 0, 1);
    const name = `one of many (${v7()}).tgz`;
    // More than a batch of DynamoDB, which has 100.
    const made = Array.from({ length: 120 }, (_, index) =>
      recordWith({ id: idAt(at + index), name, tags: { even: String(index % 2 === 0) } }),
    );
    for (let index = 0; index < made.length; index += 10) await Promise.all(made.slice(index, index + 10).map(commit));
    await commit(recordWith({ id: idAt(at + 50), name: `${name}.sig` }));
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
    await target.putClaim(name, "0".repeat(64), v7());
    expect(await ids({ filter: { name }, expected: 2 })).toEqual(wanted.slice(0, 119).toReversed());
  }, 120_000);

  test("filters by every tag given, by name and by type", async () => {
    const at = Date.UTC(2005, 0, 1);
    const range = { since: at, until: at + 1000 };
    const [a, b, c] = [
      recordWith({
        id: idAt(at),
        name: "invoice.pdf",
        contentType: "application/pdf",
        tags: { build: "1", os: "linux" },
      }),
      recordWith({ id: idAt(at + 1), name: "Invoice.png", contentType: "image/png", tags: { build: "1" } }),
      recordWith({ id: idAt(at + 2), name: "notes.txt", tags: { build: "2" } }),
    ];
    for (const record of [a, b, c]) await commit(record);
    const listed = (filter: ListQuery["filter"]) => ids({ ...range, ascending: true, filter });
    expect(await listed({ tags: { build: "1" } })).toEqual([a.id, b.id]);
    expect(await listed({ tags: { build: "1", os: "linux" } })).toEqual([a.id]);
    expect(await listed({ tags: { toString: "1" } })).toEqual([]);
    expect(await listed({ name: "inv*" })).toEqual([a.id]);
    expect(await listed({ type: "image" })).toEqual([b.id]);
    expect(await listed({ type: "text/*", name: "*.txt", tags: { build: "2" } })).toEqual([c.id]);
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
    for (const record of made) await commit(record);
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

  describe("retag", () => {
    const retag = (record: DocumentRecord, tags: DocumentRecord["tags"]) =>
      metadata.retag(record, tags, identityOf({ ...record, tags }), never);
    const tagged = async (tags: DocumentRecord["tags"]) => {
      const record = recordWith({ tags });
      await commit(record);
      return record;
    };

    test("changes the tags and moves the claim, and nothing else", async () => {
      const mark = v7();
      const record = await tagged({ mark, a: "1" });
      const tags = { mark, b: "\u2028" };
      expect(await retag(record, tags)).toEqual({ retagged: true });
      const changed = { ...record, tags };
      expect(await metadata.get(record.id, never)).toEqual(changed);
      expect(await metadata.holder(record.name, identityOf(record), never)).toBeUndefined();
      expect(await metadata.holder(record.name, identityOf(changed), never)).toBe(record.id);
      expect(await claimsOf(record.name)).toHaveLength(1);
      expect(await ids({ filter: { tags } })).toEqual([record.id]);
      expect(await ids({ filter: { tags: { mark, a: "1" } } })).toEqual([]);
      expect(await metadata.remove(record.id, never)).toEqual(changed);
      expect(await claimsOf(record.name)).toEqual([]);
    });

    test("does nothing to a record that is gone, or has other tags by now", async () => {
      const record = await tagged({ a: "1" });
      expect(await retag({ ...record, tags: { a: "0" } }, { a: "2" })).toEqual({ retagged: false, holder: undefined });
      expect(await metadata.get(record.id, never)).toEqual(record);
      await metadata.remove(record.id, never);
      expect(await retag(record, { a: "2" })).toEqual({ retagged: false, holder: undefined });
      expect(await metadata.get(record.id, never)).toBeUndefined();
      expect(await claimsOf(record.name)).toEqual([]);
    });

    test("does nothing where another document has that claim, and names it", async () => {
      const record = await tagged({ a: "1" });
      const other = { ...recordWith({ tags: { a: "2" } }), name: record.name, sha256: record.sha256 };
      await commit(other);
      expect(await retag(record, { a: "2" })).toEqual({ retagged: false, holder: other.id });
      expect(await metadata.get(record.id, never)).toEqual(record);
      expect(await metadata.holder(record.name, identityOf(record), never)).toBe(record.id);
      expect(await claimsOf(record.name)).toHaveLength(2);
    });

    test("leaves a claim that stands beside another one beside it", async () => {
      const record = await tagged({ a: "1" });
      const beside = { ...recordWith({ tags: { a: "1" } }), name: record.name, sha256: record.sha256 };
      const besideOf = (tags: DocumentRecord["tags"]) => `${identityOf({ ...beside, tags })}#${beside.id}`;
      await metadata.commit(beside, besideOf({ a: "1" }), never);
      expect(await retag(beside, { a: "2" })).toEqual({ retagged: true });
      expect(await metadata.holder(record.name, besideOf({ a: "2" }), never)).toBe(beside.id);
      expect(await metadata.holder(record.name, besideOf({ a: "1" }), never)).toBeUndefined();
      // The plain one is still free for whoever uploads it.
      expect(await metadata.holder(record.name, identityOf({ ...beside, tags: { a: "2" } }), never)).toBeUndefined();
    });

    test("lets one of ten changes at once win", async () => {
      const record = await tagged({});
      const results = await Promise.all(Array.from({ length: 10 }, (_, index) => retag(record, { by: `${index}` })));
      const winners = results.flatMap(({ retagged }, index) => (retagged ? [index] : []));
      expect(winners).toHaveLength(1);
      expect((await metadata.get(record.id, never))?.tags).toEqual({ by: `${winners[0]}` });
      expect(await claimsOf(record.name)).toHaveLength(1);
    });

    test("leaves no claim and no record half when the record is removed at the same time", async () => {
      const made = Array.from({ length: 20 }, () => recordWith());
      await Promise.all(made.map(commit));
      const outcomes = await Promise.all(
        made.flatMap((record) => [retag(record, { a: "1" }), metadata.remove(record.id, never)]),
      );
      for (const [index, { id, name }] of made.entries()) {
        const removed = outcomes[2 * index + 1] as DocumentRecord | undefined;
        expect(removed?.id).toBe(id);
        expect(await metadata.get(id, never)).toBeUndefined();
        expect(await claimsOf(name)).toEqual([]);
      }
    });

    test("works although the record's claim is gone, and leaves the claim of another alone", async () => {
      const record = await tagged({});
      if (!(await target.dropClaim(record.name, identityOf(record)))) return;
      const successor = { ...record, id: v7() };
      expect(await commit(successor)).toEqual({ committed: true });
      expect(await retag(record, { a: "1" })).toEqual({ retagged: true });
      const changed = identityOf({ ...record, tags: { a: "1" } });
      expect(await metadata.holder(record.name, changed, never)).toBe(record.id);
      expect(await metadata.holder(record.name, identityOf(record), never)).toBe(successor.id);
    });
  });

  describe("prove", () => {
    const imported = async (fields: Partial<DocumentRecord> = {}) => {
      const record = recordWith(fields);
      const claim = unproved(identityOf(record), record.id);
      expect(await metadata.commit(record, claim, never)).toEqual({ committed: true });
      return record;
    };
    const prove = (record: DocumentRecord) => metadata.prove(record, identityOf(record), never);
    const holder = (record: DocumentRecord, claim: string) => metadata.holder(record.name, claim, never);
    /** The kind of claim that a record has. */
    const claimOf = async (record: DocumentRecord) => {
      const identity = identityOf(record);
      const claims = { plain: identity, apart: apart(identity, record.id), unproved: unproved(identity, record.id) };
      const found: string[] = [];
      for (const [kind, claim] of Object.entries(claims)) {
        if ((await holder(record, claim)) === record.id) found.push(kind);
      }
      return found.join();
    };

    test("lets an upload find a record that none could find before, and changes nothing else", async () => {
      const record = await imported({ tags: { a: "1" }, metadata: { b: "2" } });
      expect(await claimOf(record)).toBe("unproved");
      expect(await holder(record, identityOf(record))).toBeUndefined();
      expect(await claimsOf(record.name)).toEqual([{ id: record.id, name: record.name, size: record.size }]);
      expect(await prove(record)).toBe(true);
      expect(await claimOf(record)).toBe("plain");
      expect(await metadata.get(record.id, never)).toEqual(record);
      expect(await claimsOf(record.name)).toHaveLength(1);
      expect(await ids({ filter: { tags: { a: "1" }, name: record.name } })).toEqual([record.id]);
      expect(await metadata.remove(record.id, never)).toEqual(record);
      expect(await claimsOf(record.name)).toEqual([]);
    });

    test("puts it beside a document that has its claim, and leaves that one alone", async () => {
      const first = recordWith();
      await commit(first);
      const record = await imported({ name: first.name, sha256: first.sha256 });
      expect(await prove(record)).toBe(true);
      expect(await claimOf(record)).toBe("apart");
      expect(await claimOf(first)).toBe("plain");
      expect(await claimsOf(first.name)).toHaveLength(2);
    });

    test("leaves a record with another claim as it is, and does nothing twice", async () => {
      const first = recordWith();
      await commit(first);
      const beside = recordWith({ name: first.name, sha256: first.sha256 });
      await metadata.commit(beside, apart(identityOf(beside), beside.id), never);
      await metadata.remove(first.id, never);
      const record = await imported();
      for (let time = 1; time <= 2; time++) {
        expect(await prove(beside)).toBe(true);
        expect(await claimOf(beside)).toBe("apart");
        expect(await prove(record)).toBe(true);
        expect(await claimOf(record)).toBe("plain");
      }
    });

    test("does nothing to a record that is gone, or has other tags by now", async () => {
      const record = await imported({ tags: { a: "1" } });
      expect(await prove({ ...record, tags: { a: "0" } })).toBe(false);
      expect(await claimOf(record)).toBe("unproved");
      await metadata.remove(record.id, never);
      expect(await prove(record)).toBe(false);
      expect(await metadata.get(record.id, never)).toBeUndefined();
      expect(await claimsOf(record.name)).toEqual([]);
    });

    test("is needed whatever tags the record gets meanwhile", async () => {
      const record = await imported({ tags: { a: "1" } });
      const other = recordWith({ name: record.name, sha256: record.sha256, tags: { a: "2" } });
      await commit(other);
      const tags = { a: "2" };
      const changed = { ...record, tags };
      expect(await metadata.retag(record, tags, identityOf(changed), never)).toEqual({ retagged: true });
      expect(await claimOf(changed)).toBe("unproved");
      expect(await holder(changed, identityOf(changed))).toBe(other.id);
      expect(await claimsOf(record.name)).toHaveLength(2);
    });

    test("beside commits of the same document at the same time gives each a claim of its own", async () => {
      const records = await Promise.all(Array.from({ length: 10 }, () => imported()));
      const rivals = records.map(({ name, sha256 }) => recordWith({ name, sha256 }));
      const outcomes = await Promise.all(
        records.flatMap((record, index) => [prove(record), commit(rivals[index] ?? record)]),
      );
      for (const [index, record] of records.entries()) {
        const rival = rivals[index] ?? record;
        expect(outcomes[2 * index]).toBe(true);
        const won = outcomes[2 * index + 1] as CommitResult;
        expect(won).toEqual(won.committed ? { committed: true } : { committed: false, holder: record.id });
        expect(await claimOf(record)).toBe(won.committed ? "apart" : "plain");
        expect(await claimOf(rival)).toBe(won.committed ? "plain" : "");
      }
    });

    test("does nothing under a signal that has fired", async () => {
      const record = await imported();
      const attempt = metadata.prove(record, identityOf(record), AbortSignal.abort());
      await expect(attempt).rejects.toMatchObject({ code: "CANCELLED" });
      expect(await claimOf(record)).toBe("unproved");
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
    const add = async () => {
      const record = recordWith({
        id: idAt(time()),
        name: `${pick(["inv", "old", "[new]"])}-${Math.floor(next() * 5)}.${pick(["pdf", "txt"])}`,
        contentType: pick(["image/png", "image/gif", "text/plain; charset=utf-8"]),
        tags: { mark, color: pick(["red", "blue"]), ...(next() < 0.1 ? { 'a"\n=': "\u2028" } : {}) },
      });
      await commit(record);
      made.push(record);
    };
    for (let batch = 0; batch < 8; batch++) await Promise.all(Array.from({ length: 10 }, add));
    for (let round = 0; round < target.questions; round++) {
      const filter = {
        tags: { mark, ...pick([{}, { color: "red" }, { 'a"\n=': "\u2028" }, { color: "blue", size: "xl" }]) },
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
      await add();
    }
  }, 120_000);

  test("finds ids by their beginning", async () => {
    const at = Date.UTC(2006, 0, 1);
    const made = [recordWith({ id: idAt(at) }), recordWith({ id: idAt(at + 1) })];
    for (const record of made) await commit(record);
    const [first = "", second = ""] = made.map(({ id }) => id);
    expect(await ids({ idPrefix: first.slice(0, 13) })).toEqual([first]);
    expect(await ids({ idPrefix: first.slice(0, 12), ascending: true })).toEqual([first, second]);
    expect(timeOfId(second)).toBe(at + 1);
  });

  test("removes a record with its claim, so that the claim is free again", async () => {
    const record = recordWith();
    await commit(record);
    expect((await metadata.remove(record.id, never))?.id).toBe(record.id);
    expect(await metadata.get(record.id, never)).toBeUndefined();
    expect(await claimsOf(record.name)).toEqual([]);
    expect(await metadata.remove(record.id, never)).toBeUndefined();
    expect(await commit({ ...recordWith(), name: record.name, sha256: record.sha256 })).toEqual({ committed: true });
  });

  test("knows every claim there is, and releases none whose document is there", async () => {
    const records = Array.from({ length: 3 }, () => recordWith());
    for (const record of records) await commit(record);
    const all = await claimsOf(undefined);
    for (const { id, name, size } of records) expect(all).toContainEqual({ id, name, size });
    for await (const claim of metadata.claims(records[0]?.name, never)) await claim.release(never);
    expect(await claimsOf(records[0]?.name ?? "")).toHaveLength(1);
  });

  test("releases a claim whose document is not there, also twice, and then it is free", async () => {
    const record = recordWith();
    const lost = v7();
    if (!(await target.putClaim(record.name, identityOf(record), lost))) {
      expect(await claimsOf(record.name)).toEqual([]);
      return;
    }
    expect(await commit(record)).toEqual({ committed: false, holder: lost });
    for await (const claim of metadata.claims(record.name, never)) {
      expect(claim.id).toBe(lost);
      for (let time = 1; time <= 2; time++) await claim.release(never);
    }
    expect(await claimsOf(record.name)).toEqual([]);
    expect(await commit(record)).toEqual({ committed: true });
  });

  test("removes a record although its claim is gone, and leaves the claim of another alone", async () => {
    const [record, other] = [recordWith(), recordWith()];
    await commit(record);
    if (await target.dropClaim(record.name, identityOf(record))) {
      const successor = { ...record, id: v7() };
      expect(await commit(successor)).toEqual({ committed: true });
      expect((await metadata.remove(record.id, never))?.id).toBe(record.id);
      expect(await claimsOf(record.name)).toMatchObject([{ id: successor.id }]);
      expect((await metadata.get(successor.id, never))?.id).toBe(successor.id);
    }
    await commit(other);
    await target.dropClaim(other.name, identityOf(other));
    expect((await metadata.remove(other.id, never))?.id).toBe(other.id);
    expect(await metadata.get(other.id, never)).toBeUndefined();
    expect(await claimsOf(other.name)).toEqual([]);
  });

  test("has an id that is the same for everybody, and for ever", async () => {
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
    await expect(metadata.commit(record, identityOf(record), fired)).rejects.toMatchObject({ code: "CANCELLED" });
    expect(await metadata.get(record.id, never)).toBeUndefined();
    await expect(metadata.get(record.id, fired)).rejects.toMatchObject({ code: "CANCELLED" });
  });

  test("is seen by another opening of the same catalog", async () => {
    const other = await driver.open(target.settings);
    const record = recordWith();
    await commit(record);
    expect((await other.get(record.id, never))?.id).toBe(record.id);
    await other.close();
    await other.close();
  });

  test("keeps its records when it is provisioned again", async () => {
    const record = recordWith();
    await commit(record);
    const actions: string[] = [];
    for await (const { action } of driver.provision(target.settings, { plan: false, signal: never })) {
      actions.push(action);
    }
    expect(new Set(actions)).toEqual(new Set(["exists"]));
    expect((await metadata.get(record.id, never))?.id).toBe(record.id);
  });
}

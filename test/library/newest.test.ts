/** Of several documents of one path only the newest, in every order and on every page. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { nameOfPath } from "../../src/document/path.ts";
import type { Selection } from "../../src/document/query.ts";
import { type DocumentRecord, firstIdAt, uploadTimeOfId } from "../../src/document/record.ts";
import { TextSet } from "../../src/files/text-set.ts";
import { listNewest, newestOfEach } from "../../src/library/newest.ts";
import { metadataDrivers } from "../../src/metadata/registry.ts";
import type { MetadataService } from "../../src/metadata/service.ts";
import { localSettings } from "../support/aws.ts";

const never = new AbortController().signal;
let directory: string;
let metadata: MetadataService;
const begin = Date.UTC(2026, 0, 1);
/** In the order of their uploads. */
const paths = ["a", "b/a", "a", "c", "b/a", "d", "a"];
const sizes = [9, 2, 7, 1, 3, 8, 4];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "docproc-newest-"));
  metadata = await metadataDrivers.local.open(localSettings(directory));
  for (const [index, path] of paths.entries()) {
    const id = idAt(index);
    const record: DocumentRecord = {
      ...{ id, path, name: nameOfPath(path), size: sizes[index] ?? 0, contentType: "text/plain" },
      ...{ sha256: "0".repeat(64), uploadedAt: uploadTimeOfId(id), uri: `s3://bucket/${id}` },
      ...{ tags: { half: index < 4 ? "first" : "second" }, metadata: {} },
      ...{ source: { kind: "stdin", path: null, modifiedAt: null }, provenance: null, crc32: null, expiresAt: null },
    };
    await metadata.commit({ record, given: {}, proved: true }, { unlessThere: false }, never);
  }
});
afterAll(async () => {
  await metadata.close();
  await rm(directory, { recursive: true });
});

const idAt = (index: number) => `${firstIdAt(begin + index)}-7000-8000-000000000000`;

/** Which of the documents are listed, by their number. */
async function listed(query: Partial<Selection>): Promise<number[]> {
  const found: number[] = [];
  for await (const { record } of listNewest(metadata, { ascending: false, latest: true, ...query }, never)) {
    found.push(paths.findIndex((_, index) => idAt(index) === record.id));
  }
  return found;
}

describe("the newest of each path", () => {
  test("come in every order", async () => {
    expect(await listed({})).toEqual([6, 5, 4, 3]);
    expect(await listed({ ascending: true })).toEqual([3, 4, 5, 6]);
    expect(await listed({ sort: "path", ascending: true })).toEqual([6, 4, 3, 5]);
    expect(await listed({ sort: "size" })).toEqual([5, 6, 4, 3]);
  });

  test("are those of the matching documents: a filter comes first", async () => {
    expect(await listed({ filter: { tags: { half: "first" } } })).toEqual([3, 2, 1]);
    expect(await listed({ until: begin + 2, ascending: true })).toEqual([0, 1]);
    expect(await listed({ filter: { tags: { half: "first" } }, sort: "size" })).toEqual([2, 1, 3]);
  });

  test("are the same on many pages as on one", async () => {
    const orders: Partial<Selection>[] = [{}, { ascending: true }, { sort: "size" }, { sort: "path", ascending: true }];
    for (const order of orders) {
      const all = await listed(order);
      const seen: number[] = [];
      for (let after: string | undefined; ; ) {
        const [next] = await listed({ ...order, after, expected: 1 });
        if (next === undefined) break;
        seen.push(next);
        after = idAt(next);
      }
      expect(seen, JSON.stringify(order)).toEqual(all);
    }
  });

  test("come beside the others, which can be counted", async () => {
    async function* records() {
      yield* ["a", "b", "a", "a"].map((path, index) => ({ path, index }));
    }
    const older: number[] = [];
    const newest: number[] = [];
    for await (const { index } of newestOfEach(
      records(),
      ({ path }) => path,
      (one) => older.push(one.index),
    ))
      newest.push(index);
    expect([newest, older]).toEqual([
      [0, 1],
      [2, 3],
    ]);
  });
});

test("a set of texts is one on disk as well, and says what is new", async () => {
  const set = new TextSet(3);
  const texts = ["a", "b", "A", "é", "e\u0301", "", "a/b", "b"];
  const known = new Set<string>();
  for (const text of [...texts, ...texts]) {
    expect(await set.add(text), JSON.stringify(text)).toBe(!known.has(text));
    known.add(text);
    for (const one of [...texts, "other"]) expect(set.has(one)).toBe(known.has(one));
  }
  set.close();
});

/** The versions of a path: what a new one is, in which order they are, and that no byte is sent that is there. */
import { randomBytes } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { DocprocError } from "../../src/core/errors.ts";
import { firstIdAt } from "../../src/document/record.ts";
import { findDocument } from "../../src/library/find.ts";
import { retag } from "../../src/library/tag.ts";
import type { StorageService } from "../../src/storage/service.ts";
import { openFile } from "../../src/transfer/source.ts";
import { openProtocolLibrary, type ProtocolLibrary, replaced } from "../support/protocol.ts";
import { entryOf, recordWith } from "../support/record.ts";
import { flipBit } from "../support/stored.ts";

const never = new AbortController().signal;

let library: ProtocolLibrary;

beforeEach(async () => {
  library = await openProtocolLibrary();
});
afterEach(async () => {
  vi.useRealTimers();
  await library.close();
});

const path = "document.bin";
const puts = () => library.calls.filter((call) => call === "storage.put").length;
const newest = async () => await findDocument(library.metadata, path, never);

describe.each([
  ["small", 2_000],
  ["large", 700_000],
] as const)("a %s document", (_size, size) => {
  const [one, two] = [randomBytes(size), randomBytes(size)];

  test("of the first version is stored again after the second, which is then not the newest", async () => {
    const first = await library.upload(one);
    await library.upload(two);
    const third = await library.upload(one);
    expect(third).toMatchObject({ action: "uploaded", bytesSent: 0 });
    expect(third.id).not.toBe(first.id);
    expect((await newest()).id).toBe(third.id);
    expect((await library.stored(third)).equals(one)).toBe(true);
    await library.expectConsistent(3);
    expect(await library.upload(one)).toMatchObject({ action: "unchanged", id: third.id });
  });

  test("that its path has with other tags is copied, not sent", async () => {
    const first = await library.upload(one, { tags: { build: "42" } });
    const before = puts();
    const second = await library.upload(one, { tags: { build: "43" } });
    expect(second).toMatchObject({ action: "uploaded", bytesSent: 0, tags: { build: "43" } });
    expect(puts()).toBe(before);
    // Each is its own: without the first, the second has its bytes.
    await rm(library.objectOf(first));
    expect((await library.stored(second)).equals(one)).toBe(true);
  });

  test("that another path has is sent", async () => {
    await library.upload(one);
    expect(await library.upload(one, { path: "other.bin" })).toMatchObject({ bytesSent: size });
  });

  test("makes no second copy when tags were edited between two uploads", async () => {
    const first = await library.upload(one);
    await retag(library.metadata, await newest(), { set: { paid: "yes" }, unset: [] }, never);
    expect(await library.upload(one)).toMatchObject({ action: "unchanged", id: first.id, tags: { paid: "yes" } });
    await library.expectConsistent(1);
  });

  test("is sent where the version with its bytes is gone or damaged", async () => {
    const first = await library.upload(one);
    await library.upload(two);
    const object = library.objectOf(first);
    for (const damage of [async () => writeFile(object, flipBit(await readFile(object))), () => rm(object)]) {
      await damage();
      const again = await library.upload(one, { onDuplicate: "store", tags: { n: String(Math.random()) } });
      expect(again).toMatchObject({ action: "uploaded", bytesSent: size });
      expect((await library.stored(again)).equals(one)).toBe(true);
      await library.metadata.remove(again.id ?? "", never);
    }
  });

  test.each<[string, (storage: StorageService) => StorageService["copy"]]>([
    ["cannot be proved", () => async () => undefined],
    ["fails", () => () => Promise.reject(new DocprocError("ACCESS_DENIED", "no"))],
  ])("is sent where its copy %s", async (_what, copy) => {
    await library.upload(one);
    await library.upload(two);
    const storage = replaced(library.storage, "copy", () => copy(library.storage));
    const third = await library.upload(one, {}, { storage });
    expect(third).toMatchObject({ action: "uploaded", bytesSent: size });
    await library.expectConsistent(3);
  });

  test("that is cancelled while it is copied leaves nothing", async () => {
    await library.upload(one);
    await library.upload(two);
    const abort = new AbortController();
    const storage = replaced(library.storage, "copy", (real) => async (...args) => {
      abort.abort(new DocprocError("CANCELLED", "stop"));
      return await real(...args);
    });
    const attempt = library.upload(one, { signal: abort.signal }, { storage });
    await expect(attempt).rejects.toMatchObject({ code: "CANCELLED" });
    await library.expectConsistent(2);
  });

  test("is the newest even where the clock of the last one was ahead", async () => {
    const first = await library.upload(one);
    const ahead = `${firstIdAt(Date.now() + 3_600_000)}-7000-8000-000000000000`;
    const { id: _id, uploadedAt: _at, name: _name, ...fields } = await newest();
    await library.metadata.commit(
      entryOf(recordWith({ ...fields, id: ahead, sha256: "1".repeat(64) })),
      { unlessThere: true },
      never,
    );
    const second = await library.upload(two);
    expect((second.id ?? "") > ahead).toBe(true);
    expect((await newest()).id).toBe(second.id);
    expect((first.id ?? "") < ahead).toBe(true);
  });
});

test("an empty document is not copied: to send it is as quick", async () => {
  await library.upload(Buffer.alloc(0));
  library.calls.length = 0;
  await library.upload(Buffer.alloc(0), { onDuplicate: "store" });
  expect(library.calls).toContain("storage.put");
  expect(library.calls).not.toContain("storage.copy");
});

test("any number of equal uploads at once is one version, and others beside them stay apart", async () => {
  const [one, two] = [randomBytes(500), randomBytes(500)];
  await library.file(one, "one.bin");
  await library.file(two, "two.bin");

  const uploads = Array.from({ length: 12 }, async (_, n) => {
    const source = await openFile(`${library.directory}/${n % 2 === 0 ? "one" : "two"}.bin`);
    return await library.upload(source, { tags: { of: n % 2 === 0 ? "one" : "two" } });
  });
  const all = await Promise.all(uploads);
  expect(new Set(all.map(({ id }) => id)).size).toBe(2);
  expect(all.filter(({ action }) => action === "uploaded")).toHaveLength(2);
  await library.expectConsistent(2);
});

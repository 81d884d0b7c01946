/** Documents whose stored bytes are gone or wrong: what an upload of the same does about them, alone and beside others. */
import { createHash, randomBytes } from "node:crypto";
import { readFile, rm, utimes, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { DocprocError } from "../../src/core/errors.ts";
import type { DocumentRecord } from "../../src/document/record.ts";
import { removeDocument } from "../../src/library/removal.ts";
import { retag } from "../../src/library/tag.ts";
import type { StorageService } from "../../src/storage/service.ts";
import type { UploadedDocument } from "../../src/transfer/request.ts";
import { noFacts, openProtocolLibrary, type ProtocolLibrary, replaced } from "../support/protocol.ts";
import { servicesOf } from "../support/services.ts";
import { flipBit } from "../support/stored.ts";

const never = new AbortController().signal;

let library: ProtocolLibrary;

beforeEach(async () => {
  library = await openProtocolLibrary();
});
afterEach(() => library.close());

/** Changes the bytes that are stored; null removes them. */
async function damage(document: UploadedDocument, change: (bytes: Buffer) => Buffer | null): Promise<void> {
  const path = library.objectOf(document);
  const changed = change(await readFile(path));
  if (changed === null) await rm(path);
  else await writeFile(path, changed);
}

const damages: Record<string, (bytes: Buffer) => Buffer | null> = {
  "are gone": () => null,
  "have another length": (bytes) => bytes.subarray(1),
  "differ in one bit": flipBit,
};
const sizes = [
  ["small", randomBytes(2_000)],
  ["large", randomBytes(700_000)],
] as const;
const cases = sizes.flatMap(([size, bytes]) =>
  Object.entries(damages).map(([what, change]) => [size, what, bytes, change] as const),
);

describe.each(cases)("a %s document whose bytes %s", (_size, _what, bytes, change) => {
  test("gets them back from an upload of the same, under its own key and id", async () => {
    const first = await library.upload(bytes);
    await damage(first, change);
    const again = await library.upload(bytes);
    expect(again).toEqual({ ...first, action: "restored", bytesSent: bytes.length });
    expect((await library.stored(first)).equals(bytes)).toBe(true);
    await library.expectConsistent(1);
    expect(await library.upload(bytes)).toMatchObject({ action: "unchanged", bytesSent: 0 });
  });

  test("gets them back from the file it was made of, when that is asked for by its id", async () => {
    const first = (await library.upload(bytes)) as UploadedDocument & DocumentRecord;
    const second = await library.upload(randomBytes(10));
    await damage(first, change);
    const restored = await library.upload(bytes, { restores: first });
    expect(restored).toMatchObject({ id: first.id, action: "restored" });
    await library.expectConsistent(2);
    expect((await library.upload(bytes, { restores: first })).action).toBe("unchanged");
    expect((await library.upload(await readFile(library.objectOf(second)))).action).toBe("unchanged");
  });

  test("loses nothing to another file that is named for it", async () => {
    const first = (await library.upload(bytes)) as UploadedDocument & DocumentRecord;
    await damage(first, change);
    const before = await readFile(library.objectOf(first)).catch(() => undefined);
    for (const other of [randomBytes(bytes.length), randomBytes(3)]) {
      const attempt = library.upload(other, { restores: first });
      await expect(attempt).rejects.toMatchObject({ code: "INTEGRITY", hint: expect.stringContaining("Nothing was") });
    }
    expect(await readFile(library.objectOf(first)).catch(() => undefined)).toEqual(before);
    expect((await library.everything()).records.map(({ id }) => id)).toEqual([first.id]);
  });

  test("is only planned in a dry run", async () => {
    const first = await library.upload(bytes);
    await damage(first, change);
    library.calls.length = 0;
    expect(await library.upload(bytes, { dryRun: true })).toMatchObject({ action: "planned", id: first.id });
    expect(library.calls.filter((call) => /put|copy|commit|update|remove/.test(call))).toEqual([]);
    await library.upload(bytes);
    expect(await library.upload(bytes, { dryRun: true })).toMatchObject({ action: "unchanged", id: first.id });
  });

  test("gets its bytes and its new facts from one upload", async () => {
    const first = await library.upload(bytes, { facts: { ...noFacts, metadata: { a: "1" } } });
    await damage(first, change);
    const facts = { ...noFacts, metadata: { a: "2" }, contentType: "x/y" };
    const again = await library.upload(bytes, { facts });
    expect(again).toMatchObject({ id: first.id, action: "restored", metadata: { a: "2" }, contentType: "x/y" });
    expect((await library.metadata.get(first.id ?? "", never))?.record).toMatchObject({ metadata: { a: "2" } });
  });

  test("keeps what another process puts back at the same moment", async () => {
    const first = await library.upload(bytes);
    await damage(first, change);
    const beside = beforeFirstPut(async () => {
      expect(await library.upload(bytes)).toMatchObject({ action: "restored", id: first.id });
    });
    const again = await library.upload(bytes, {}, { storage: beside });
    expect(again.id).toBe(first.id);
    expect(["restored", "unchanged"]).toContain(again.action);
    await library.expectConsistent(1);
  });

  test("comes back from many uploads at once", async () => {
    const first = await library.upload(bytes);
    await damage(first, change);
    const all = await Promise.all(Array.from({ length: 8 }, () => library.upload(bytes)));
    expect(new Set(all.map(({ id }) => id))).toEqual(new Set([first.id]));
    expect(all.map(({ action }) => action)).toContain("restored");
    await library.expectConsistent(1);
  });

  test("is stored as a new one where it is deleted while its bytes come back", async () => {
    const first = await library.upload(bytes);
    await damage(first, change);
    const beside = beforeFirstPut(async () => {
      await removeDocument(servicesOf(library.storage, library.metadata), first as DocumentRecord, never);
    });
    const again = await library.upload(bytes, {}, { storage: beside });
    expect(again).toMatchObject({ action: "uploaded" });
    expect(again.id).not.toBe(first.id);
    await library.expectConsistent(1);
  });

  test("says so when it is deleted while its bytes come back by its id", async () => {
    const first = (await library.upload(bytes)) as UploadedDocument & DocumentRecord;
    await damage(first, change);
    const beside = beforeFirstPut(async () => {
      await removeDocument(servicesOf(library.storage, library.metadata), first, never);
    });
    const attempt = library.upload(bytes, { restores: first }, { storage: beside });
    await expect(attempt).rejects.toMatchObject({ code: "NOT_FOUND" });
    await library.expectConsistent(0);
  });

  test("is looked at again when it is damaged otherwise meanwhile", async () => {
    const first = await library.upload(bytes);
    await damage(first, change);
    const beside = beforeFirstPut(async () => {
      await writeFile(library.objectOf(first), "damaged in another way");
    });
    const again = await library.upload(bytes, {}, { storage: beside });
    expect(again).toMatchObject({ id: first.id, action: "restored" });
    await library.expectConsistent(1);
  });

  test("is what it was when the restoring fails, and comes back from the next", async () => {
    const first = await library.upload(bytes);
    await damage(first, change);
    const before = await readFile(library.objectOf(first)).catch(() => undefined);
    const full = replaced(library.storage, "put", () => () => Promise.reject(new DocprocError("UNAVAILABLE", "full")));
    await expect(library.upload(bytes, {}, { storage: full })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(await readFile(library.objectOf(first)).catch(() => undefined)).toEqual(before);
    expect((await library.everything()).records).toHaveLength(1);
    expect(await library.upload(bytes)).toMatchObject({ id: first.id, action: "restored" });
  });
});

/** A storage in which something happens between the look at an object and its replacement, once. */
function beforeFirstPut(happens: () => Promise<void>): StorageService {
  let first = true;
  return replaced(library.storage, "put", (put) => async (...args) => {
    if (first) {
      first = false;
      await happens();
    }
    return await put(...args);
  });
}

test("sound bytes are never written to, even by a restoring that took them for damaged", async () => {
  const bytes = randomBytes(2_000);
  const first = await library.upload(bytes);
  const path = library.objectOf(first);
  await damage(first, flipBit);
  const beside = beforeFirstPut(async () => {
    await library.upload(bytes);
    // Long ago, so that a file written now would show.
    await utimes(path, new Date(0), new Date(0));
    await writeFile(path, bytes);
  });
  const before = async () => (await library.stored(first)).equals(bytes);
  expect(await library.upload(bytes, {}, { storage: beside })).toMatchObject({ id: first.id });
  expect(await before()).toBe(true);
});

test("what another process puts back right after the look is left alone", async () => {
  const bytes = randomBytes(2_000);
  const first = await library.upload(bytes);
  await damage(first, () => null);
  let looks = 0;
  const beside = replaced(library.storage, "stat", (stat) => async (...args) => {
    const found = await stat(...args);
    looks += 1;
    if (looks === 1) await library.upload(bytes);
    return found;
  });
  const again = await library.upload(bytes, {}, { storage: beside });
  expect(again).toMatchObject({ id: first.id, action: "unchanged", bytesSent: 0 });
  await library.expectConsistent(1);
});

test("an object that is changed over and over is given up, with a failure that says so", async () => {
  const bytes = randomBytes(2_000);
  const first = await library.upload(bytes);
  await damage(first, flipBit);
  let n = 0;
  const beside = replaced(library.storage, "put", (put) => async (...args) => {
    n += 1;
    await writeFile(library.objectOf(first), `damaged for the ${n}th time`);
    return await put(...args);
  });
  await expect(library.upload(bytes, {}, { storage: beside })).rejects.toMatchObject({ code: "CONFLICT" });
  expect(n).toBe(3);
  expect((await library.upload(bytes)).action).toBe("restored");
});

test("the winner of a race is looked at, and gets its bytes from the loser's", async () => {
  const bytes = randomBytes(2_000);
  const first = await library.upload(bytes);
  await damage(first, () => null);
  const late = replaced(library.metadata, "lookUp", () => async () => ({
    newest: undefined,
    twin: undefined,
    last: undefined,
  }));
  const loser = await library.upload(bytes, {}, { metadata: late });
  expect(loser).toMatchObject({ id: first.id, action: "restored" });
  await library.expectConsistent(1);
});

describe("an upload of what is there", () => {
  const bytes = randomBytes(2_000);
  const facts = { contentType: "text/x-a", metadata: { a: "1" }, expiresAt: "2030-01-01T00:00:00.000Z" };

  test.each<[string, Partial<typeof facts>]>([
    ["another content type", { contentType: "text/x-b" }],
    ["other metadata", { metadata: { a: "2" } }],
    ["another time of expiry", { expiresAt: "2031-01-01T00:00:00.000Z" }],
  ])("with %s changes its record, and sends nothing", async (_what, change) => {
    const first = await library.upload(bytes, { facts });
    library.calls.length = 0;
    const again = await library.upload(bytes, { facts: { ...noFacts, ...change } });
    expect(again).toEqual({ ...first, ...change, action: "updated", bytesSent: 0 });
    expect(library.calls.filter((call) => /put|copy|commit/.test(call))).toEqual([]);
    expect((await library.metadata.get(first.id ?? "", never))?.record).toMatchObject({ ...facts, ...change });
    expect(await library.upload(bytes, { facts: { ...noFacts, ...change } })).toMatchObject({ action: "unchanged" });
    expect(await library.upload(bytes)).toMatchObject({ action: "unchanged", ...change });
  });

  test("keeps the facts that are not given, and the tags that were edited since", async () => {
    const first = (await library.upload(bytes, { facts, tags: { build: "1" } })) as UploadedDocument & DocumentRecord;
    await retag(library.metadata, first, { set: { paid: "yes" }, unset: ["build"] }, never);
    const again = await library.upload(bytes, { tags: { build: "1" } });
    expect(again).toMatchObject({ ...facts, id: first.id, action: "unchanged", tags: { paid: "yes" } });
    await library.expectConsistent(1);
  });

  test("is not believed when only a file says that it has these bytes", async () => {
    const {
      action: _,
      bytesSent: __,
      ...record
    } = (await library.upload("other bytes")) as UploadedDocument & DocumentRecord;
    await library.metadata.remove(record.id, never);
    const claimed = { ...record, sha256: createHash("sha256").update(bytes).digest("hex"), size: bytes.length };
    await library.metadata.commit({ record: claimed, given: {}, proved: false }, { unlessThere: false }, never);
    expect(await library.upload(bytes)).toMatchObject({ action: "uploaded", bytesSent: bytes.length });
  });
});

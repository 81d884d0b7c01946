/** The upload protocol: what both services hold after each step succeeds, fails, or leaves its outcome open. */
import { createHash, randomBytes } from "node:crypto";
import { appendFile, rename, truncate, utimes, writeFile } from "node:fs/promises";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { DocprocError } from "../../src/core/errors.ts";
import { type DocumentRecord, newDocumentId, uploadTimeOfId } from "../../src/document/record.ts";
import { findDocument } from "../../src/library/find.ts";
import { removeDocument } from "../../src/library/removal.ts";
import { retag } from "../../src/library/tag.ts";
import { piecesOf } from "../../src/storage/read-ahead.ts";
import { openFile, openStdin, type Source } from "../../src/transfer/source.ts";
import { bodyOf } from "../support/body.ts";
import { noFacts, openProtocolLibrary, type ProtocolLibrary, replaced } from "../support/protocol.ts";
import { entryOf } from "../support/record.ts";
import { servicesOf } from "../support/services.ts";

const never = new AbortController().signal;

let library: ProtocolLibrary;
let storage: ProtocolLibrary["storage"];
let metadata: ProtocolLibrary["metadata"];
let calls: string[];
let upload: ProtocolLibrary["upload"];

beforeEach(async () => {
  library = await openProtocolLibrary();
  ({ storage, metadata, calls, upload } = library);
});
afterEach(() => library.close());

/** A catalog that does not know the document before it is committed, as for the slower one of two uploads. */
const unaware = () =>
  replaced(metadata, "lookUp", () => async () => ({ newest: undefined, twin: undefined, last: undefined }));
const services = () => servicesOf(storage, metadata);
const file: ProtocolLibrary["file"] = (...args) => library.file(...args);
const everything = () => library.everything();
const expectConsistent = (documents: number) => library.expectConsistent(documents);

const small = Buffer.from("a small document");
const large = randomBytes(700_000);
const both = [
  ["small", small],
  ["large", large],
] as const;

describe.each(both)("uploading a %s document", (_size, bytes) => {
  test("stores the bytes first and the record after them", async () => {
    const document = await upload(bytes);
    expect(document).toMatchObject({ action: "uploaded", size: bytes.length, bytesSent: bytes.length });
    expect(document.sha256).toBe(createHash("sha256").update(bytes).digest("hex"));
    expect(calls.indexOf("storage.put")).toBeGreaterThanOrEqual(0);
    expect(calls.indexOf("metadata.commit")).toBeGreaterThan(calls.indexOf("storage.put"));
    await expectConsistent(1);
  });

  test("sends nothing the second time and returns the first record", async () => {
    const first = await upload(bytes);
    calls.length = 0;
    const again = await upload(bytes);
    expect(again).toEqual({ ...first, action: "unchanged", bytesSent: 0 });
    expect(calls).not.toContain("storage.put");
    await expectConsistent(1);
  });

  test("makes another record for other tags, and for another name", async () => {
    const path = await file(bytes);
    await upload(await openFile(path));
    await upload(await openFile(path), { tags: { build: "43" } });
    await upload(await openFile(path), { path: "other.bin" });
    await expectConsistent(3);
  });

  test("makes another record of the same when it is told to store, and finds the newest afterwards", async () => {
    const stored = [];
    for (let n = 0; n < 3; n++) stored.push((await upload(bytes, { onDuplicate: "store" })).id ?? "");
    expect(new Set(stored).size).toBe(3);
    expect(stored.toSorted()).toEqual(stored);
    expect(await upload(bytes)).toMatchObject({ id: stored[2], action: "unchanged" });
    expect((await findDocument(metadata, "document.bin", never)).id).toBe(stored[2]);
    await expectConsistent(3);
  });

  test("commits nothing when the bytes cannot be stored", async () => {
    const full = new DocprocError("UNAVAILABLE", "disk full");
    const failing = replaced(storage, "put", () => () => Promise.reject(full));
    await expect(upload(bytes, {}, { storage: failing })).rejects.toBe(full);
    expect(calls).not.toContain("metadata.commit");
    await expectConsistent(0);
  });

  test.each(["ACCESS_DENIED", "NOT_INITIALISED", "CANCELLED"] as const)(
    "removes the bytes when the commit is refused with %s",
    async (code) => {
      const failing = replaced(metadata, "commit", () => () => Promise.reject(new DocprocError(code, "no")));
      const attempt = upload(bytes, {}, { metadata: failing });
      await expect(attempt).rejects.toMatchObject({ code });
      await expectConsistent(0);
    },
  );

  test("succeeds when the commit was done and only its answer was lost", async () => {
    const lossy = replaced(metadata, "commit", (commit) => async (...args) => {
      await commit(...args);
      throw new DocprocError("UNAVAILABLE", "connection reset");
    });
    const document = await upload(bytes, {}, { metadata: lossy });
    expect(document.action).toBe("uploaded");
    await expectConsistent(1);
  });

  test("keeps the bytes when it is unknown whether the commit was done", async () => {
    const down = new DocprocError("UNAVAILABLE", "connection reset");
    const unreachable = replaced(
      replaced(metadata, "commit", () => () => Promise.reject(down)),
      "get",
      () => () => Promise.reject(down),
    );
    const attempt = upload(bytes, {}, { metadata: unreachable });
    const hint = expect.stringContaining("It is unknown whether document.bin was recorded.");
    await expect(attempt).rejects.toMatchObject({ code: "UNAVAILABLE", message: down.message, hint });
    // A record that appears late has its bytes; bytes whose record never appears are only garbage.
    expect((await everything()).keys).toHaveLength(1);
    await upload(bytes);
    expect((await everything()).records).toHaveLength(1);
  });

  test("removes its own bytes and returns the winner when another upload of the same was faster", async () => {
    const path = await file(bytes);
    const overtaken = replaced(metadata, "commit", (commit) => async (...args) => {
      calls.push("overtaken");
      if (calls.filter((call) => call === "overtaken").length === 1) await upload(await openFile(path));
      return await commit(...args);
    });
    const loser = await upload(await openFile(path), {}, { metadata: overtaken });
    expect(loser.action).toBe("unchanged");
    expect((await everything()).records.map(({ id }) => id)).toEqual([loser.id]);
    await expectConsistent(1);
  });

  test("commits after all when the winner is deleted in between", async () => {
    const first = await upload(bytes);
    // The one that is there goes away after it was named and before its bytes are looked at.
    const late = replaced(unaware(), "commit", (commit) => async (...args) => {
      const result = await commit(...args);
      if (!result.committed) await removeDocument(services(), first as DocumentRecord, never);
      return result;
    });
    const facts = { ...noFacts, contentType: "x/y" };
    const document = await upload(bytes, { facts }, { metadata: late });
    expect(document).toMatchObject({ action: "uploaded", contentType: "x/y" });
    expect((await everything()).records.map(({ id }) => id)).toEqual([document.id]);
    await expectConsistent(1);
  });

  test.each([
    ["before anything is sent", () => metadata],
    ["after the bytes are", () => unaware()],
  ])("finds the same document when its tags are edited %s", async (_when, catalog) => {
    const first = await upload(bytes);
    const tagged = replaced(catalog(), "lookUp", (lookUp) => async (...args) => {
      await retag(metadata, first as DocumentRecord, { set: { paid: "yes" }, unset: [] }, never);
      return await lookUp(...args);
    });
    const document = await upload(bytes, {}, { metadata: tagged });
    expect(document).toMatchObject({ action: "unchanged", id: first.id, tags: { paid: "yes" } });
    await expectConsistent(1);
  });

  test("keeps its bytes when its record is given tags before the lost answer to the commit is made up for", async () => {
    const repeated = replaced(metadata, "commit", (commit) => async (entry, options, signal) => {
      await commit(entry, options, signal);
      await retag(metadata, entry.record, { set: { a: "1" }, unset: [] }, never);
      // What the SDK makes of it: it asks again, and the record is there.
      return await commit(entry, options, signal);
    });
    const document = await upload(bytes, {}, { metadata: repeated });
    expect(document).toMatchObject({ action: "uploaded", tags: { a: "1" } });
    await expectConsistent(1);
  });

  test("never takes a record that was imported under its id for its own, where that is of other bytes", async () => {
    const { action: _, bytesSent: __, ...record } = await upload(bytes);
    const id = newDocumentId();
    const imported = { ...(record as DocumentRecord), id, uploadedAt: uploadTimeOfId(id) };
    await metadata.commit(entryOf(imported, { proved: false }), { unlessThere: false }, never);
    const lost = replaced(metadata, "commit", () => async () => {
      throw new DocprocError("UNAVAILABLE", "connection reset");
    });
    for (const [catalog, code] of [
      [metadata, "CONFLICT"],
      [lost, "UNAVAILABLE"],
    ] as const) {
      const attempt = upload(bytes, { as: { id, given: {} } }, { metadata: catalog });
      await expect(attempt).rejects.toMatchObject({ code });
    }
    expect((await metadata.get(id, never))?.record).toEqual(imported);
  });

  test("refuses bytes that are not as many as were sent, and removes them", async () => {
    const lying = replaced(storage, "put", (put) => async (...args) => {
      const stored = await put(...args);
      return { ...stored, size: stored.size - 1 };
    });
    const attempt = upload(bytes, {}, { storage: lying });
    await expect(attempt).rejects.toMatchObject({ code: "INTEGRITY" });
    await expectConsistent(0);
  });

  test("leaves nothing when it is cancelled while the bytes are sent", async () => {
    const abort = new AbortController();
    const interrupted = replaced(storage, "put", (put) => async (...args) => {
      abort.abort(new DocprocError("CANCELLED", "stop"));
      return await put(...args);
    });
    const source = await openFile(await file(bytes));
    const attempt = upload(source, { signal: abort.signal }, { storage: interrupted });
    await expect(attempt).rejects.toMatchObject({ code: "CANCELLED" });
    await expectConsistent(0);
  });

  test("sends and commits nothing in a dry run", async () => {
    const document = await upload(bytes, { dryRun: true });
    expect(document).toMatchObject({ action: "planned", id: null, uri: null, uploadedAt: null, size: bytes.length });
    expect(calls.filter((call) => /put|commit/.test(call))).toEqual([]);
    await expectConsistent(0);
  });

  test("takes a stream of unknown length", async () => {
    const document = await upload(openStdin(Readable.from([bytes])), { path: "piped" });
    expect(document).toMatchObject({ size: bytes.length, source: { kind: "stdin", path: null, modifiedAt: null } });
    await expectConsistent(1);
  });
});

describe("a source that changes while it is read", () => {
  const changes: Record<string, (path: string) => Promise<void>> = {
    "is truncated": (path) => truncate(path, 1000),
    grows: (path) => appendFile(path, "more"),
    "is overwritten with as many bytes": async (path) => {
      await writeFile(path, randomBytes(large.length));
      await utimes(path, new Date(), new Date(Date.now() + 5000));
    },
    "is replaced by another file": async (path) => {
      await writeFile(`${path}.new`, large);
      await rename(`${path}.new`, path);
    },
  };

  test.each(Object.entries(changes))("fails and leaves nothing when it %s", async (_what, change) => {
    const path = await file(large);
    // The change comes when the first bytes are already on their way.
    const disturbed = replaced(storage, "put", (put) => async (key, body, options) => {
      async function* watched() {
        let first = true;
        for await (const chunk of piecesOf(body, 100_000)) {
          yield Buffer.from(chunk);
          if (first) await change(path);
          first = false;
        }
      }
      return await put(key, bodyOf(watched), options);
    });
    const attempt = upload(await openFile(path), {}, { storage: disturbed });
    await expect(attempt).rejects.toMatchObject({ code: "INTEGRITY" });
    await expectConsistent(0);
  });

  test("fails when a small one changes between reading and sending", async () => {
    const path = await file(small);
    const source = await openFile(path);
    await appendFile(path, "more");
    await expect(upload(source)).rejects.toMatchObject({ code: "INTEGRITY" });
    await expectConsistent(0);
  });
});

describe("a large document", () => {
  async function reads(bytes: Buffer, path: string): Promise<number> {
    const source = await openFile(await file(bytes));
    let count = 0;
    const counting: Source = {
      ...source,
      read(signal) {
        count += 1;
        return source.read(signal);
      },
    };
    await upload(counting, { path });
    return count;
  }

  test("is read ahead only where its path has a version, whose bytes may be the same", async () => {
    expect(await reads(large, "a/large.bin")).toBe(1);
    expect(await reads(large, "b/large.bin")).toBe(1);
    expect(await reads(randomBytes(large.length), "a/large.bin")).toBe(2);
    expect(await reads(randomBytes(3), "a/large.bin")).toBe(1);
    await expectConsistent(4);
  });
});

describe("finding a document", () => {
  test("takes an id, the beginning of one, or a path, and prefers the newest of a path", async () => {
    const first = await upload("1", { path: "cv/résumé.txt" });
    const second = await upload("2", { path: "cv/résumé.txt" });
    const find = async (reference: string) => (await findDocument(metadata, reference, never)).id;
    expect(await find(first.id ?? "")).toBe(first.id);
    expect(await find((first.id ?? "").toUpperCase())).toBe(first.id);
    expect(await find((second.id ?? "").slice(0, 24))).toBe(second.id);
    expect(await find("cv/résumé.txt")).toBe(second.id);
    expect(await find("cv/résumé.txt".normalize("NFD"))).toBe(second.id);
    await expect(find("résumé.txt")).rejects.toMatchObject({ hint: expect.stringContaining("cv/résumé.txt") });
  });

  test("never guesses between a path and the beginning of an id", async () => {
    const first = await upload("1", { path: "one" });
    const prefix = (first.id ?? "").slice(0, 13);
    const second = await upload("2", { path: prefix });
    const attempt = findDocument(metadata, prefix, never);
    await expect(attempt).rejects.toMatchObject({ code: "CONFLICT", hint: expect.stringContaining(`./${prefix}`) });
    expect((await findDocument(metadata, `./${prefix}`, never)).id).toBe(second.id);
    // Upper case is another path, and the same id.
    const upper = await upload("3", { path: "CAFE0123" });
    expect((await findDocument(metadata, "CAFE0123", never)).id).toBe(upper.id);
    await expect(findDocument(metadata, "cafe0123", never)).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("takes the one before when the newest of a name is deleted while it is looked for", async () => {
    const first = await upload("1");
    const second = await upload("2");
    const late = replaced(metadata, "get", (get) => async (id, signal) => {
      await metadata.remove(second.id ?? "", signal);
      return await get.call(metadata, id, signal);
    });
    expect(await findDocument(late, "document.bin", never)).toMatchObject({ id: first.id });
  });

  test("says which are meant when a beginning is not unique, and that there is none", async () => {
    const first = await upload("1", { path: "one" });
    await upload("2", { path: "two" });
    await expect(findDocument(metadata, (first.id ?? "").slice(0, 8), never)).rejects.toMatchObject({
      code: "CONFLICT",
    });
    await expect(findDocument(metadata, "three", never)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(findDocument(metadata, "%' OR 1=1 --", never)).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});

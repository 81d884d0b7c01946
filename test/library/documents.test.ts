/** The upload protocol: what both services hold after each step succeeds, fails, or leaves its outcome open. */
import { createHash, randomBytes } from "node:crypto";
import { appendFile, mkdtemp, rename, rm, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { DocprocError } from "../../src/core/errors.ts";
import { identityOf } from "../../src/document/identity.ts";
import { type DocumentRecord, newDocumentId, uploadTimeOfId } from "../../src/document/record.ts";
import { findDocument } from "../../src/library/find.ts";
import { retag } from "../../src/library/tag.ts";
import { metadataDrivers } from "../../src/metadata/registry.ts";
import { apart, type MetadataService, unproved } from "../../src/metadata/service.ts";
import { piecesOf } from "../../src/storage/read-ahead.ts";
import { storageDrivers } from "../../src/storage/registry.ts";
import type { StorageService } from "../../src/storage/service.ts";
import { openFile, openStdin, type Source } from "../../src/transfer/source.ts";
import type { UploadProtocol, UploadRequest } from "../../src/transfer/upload.ts";
import { localSettings } from "../support/aws.ts";
import { bodyOf } from "../support/body.ts";
import { servicesOf, uploadsOf } from "../support/services.ts";

const never = new AbortController().signal;
/** Small, so that a "large" document is one of a few hundred kilobytes. */
const inMemoryLimit = 100_000;

let directory: string;
let storage: StorageService;
let metadata: MetadataService;
let calls: string[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "docproc-documents-"));
  const settings = localSettings(join(directory, "library"));
  calls = [];
  storage = logged("storage", await storageDrivers.local.open(settings));
  metadata = logged("metadata", await metadataDrivers.local.open(settings));
});
afterEach(async () => {
  await metadata.close();
  await rm(directory, { recursive: true });
});

/** The same service; each call leaves its name in `calls`. */
function logged<S extends object>(name: string, service: S): S {
  return new Proxy(service, {
    get(target, method) {
      const value = Reflect.get(target, method);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        calls.push(`${name}.${String(method)}`);
        return Reflect.apply(value, target, args);
      };
    },
  });
}

/** The same service with one method replaced; the replacement gets the real one. */
function replaced<S extends object, M extends keyof S>(service: S, method: M, make: (real: S[M]) => S[M]): S {
  const real = Reflect.get(service, method) as S[M];
  const instead = make(real);
  return new Proxy(service, { get: (target, name) => (name === method ? instead : Reflect.get(target, name)) });
}

function uploads(
  parts: { storage?: StorageService; metadata?: MetadataService; now?: () => number } = {},
): UploadProtocol {
  return uploadsOf(servicesOf(parts.storage ?? storage, parts.metadata ?? metadata, parts.now), inMemoryLimit);
}

async function file(bytes: Buffer | string, name = "document.bin"): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, bytes);
  return path;
}

async function upload(uploads: UploadProtocol, source: Source, request: Partial<UploadRequest> = {}) {
  try {
    return await uploads.run(source, {
      name: "document.bin",
      contentType: async () => "application/octet-stream",
      tags: {},
      metadata: {},
      provenance: Promise.resolve(null),
      onDuplicate: "reuse",
      dryRun: false,
      signal: never,
      ...request,
    });
  } finally {
    await source.close();
  }
}

async function everything() {
  const records: DocumentRecord[] = [];
  for await (const record of metadata.list({ ascending: true }, never)) records.push(record);
  const keys: string[] = [];
  for await (const { key } of storage.list("", never)) keys.push(key);
  return { records, keys };
}

/** The oracle: every record has its bytes and its hash, and there is no object without a record. */
async function expectConsistent(documents: number): Promise<void> {
  const { records, keys } = await everything();
  expect(records).toHaveLength(documents);
  expect(keys).toHaveLength(documents);
  for (const record of records) {
    const bytes = await buffer(await storage.open(record.uri.slice(storage.uri("").length), { signal: never }));
    expect(bytes.length).toBe(record.size);
    expect(createHash("sha256").update(bytes).digest("hex")).toBe(record.sha256);
  }
}

const small = Buffer.from("a small document");
const large = randomBytes(700_000);
const both = [
  ["small", small],
  ["large", large],
] as const;

describe.each(both)("uploading a %s document", (_size, bytes) => {
  test("stores the bytes first and the record after them", async () => {
    const document = await upload(uploads(), await openFile(await file(bytes)));
    expect(document).toMatchObject({ action: "uploaded", size: bytes.length, bytesSent: bytes.length });
    expect(document.sha256).toBe(createHash("sha256").update(bytes).digest("hex"));
    expect(calls.indexOf("storage.put")).toBeGreaterThanOrEqual(0);
    expect(calls.indexOf("metadata.commit")).toBeGreaterThan(calls.indexOf("storage.put"));
    await expectConsistent(1);
  });

  test("sends nothing the second time and returns the first record", async () => {
    const first = await upload(uploads(), await openFile(await file(bytes)));
    calls.length = 0;
    const again = await upload(uploads(), await openFile(await file(bytes)));
    expect(again).toEqual({ ...first, action: "unchanged", bytesSent: 0 });
    expect(calls).not.toContain("storage.put");
    await expectConsistent(1);
  });

  test("makes another record for other tags, and for another name", async () => {
    const path = await file(bytes);
    await upload(uploads(), await openFile(path));
    await upload(uploads(), await openFile(path), { tags: { build: "43" } });
    await upload(uploads(), await openFile(path), { name: "other.bin" });
    await expectConsistent(3);
  });

  test("makes another record of the same when it is told to store, and reuses one afterwards", async () => {
    const path = await file(bytes);
    const one = await upload(uploads(), await openFile(path), { onDuplicate: "store" });
    const two = await upload(uploads(), await openFile(path), { onDuplicate: "store" });
    const three = await upload(uploads(), await openFile(path), { onDuplicate: "store" });
    expect(new Set([one.id, two.id, three.id]).size).toBe(3);
    expect(await upload(uploads(), await openFile(path))).toMatchObject({ id: one.id, action: "unchanged" });
    expect((await findDocument(metadata, "document.bin", never)).id).toBe(three.id);
    await expectConsistent(3);
  });

  test("commits nothing when the bytes cannot be stored", async () => {
    const full = new DocprocError("UNAVAILABLE", "disk full");
    const failing = replaced(storage, "put", () => () => Promise.reject(full));
    await expect(upload(uploads({ storage: failing }), await openFile(await file(bytes)))).rejects.toBe(full);
    expect(calls).not.toContain("metadata.commit");
    await expectConsistent(0);
  });

  test.each(["ACCESS_DENIED", "NOT_INITIALISED", "CANCELLED"] as const)(
    "removes the bytes when the commit is refused with %s",
    async (code) => {
      const failing = replaced(metadata, "commit", () => () => Promise.reject(new DocprocError(code, "no")));
      const attempt = upload(uploads({ metadata: failing }), await openFile(await file(bytes)));
      await expect(attempt).rejects.toMatchObject({ code });
      await expectConsistent(0);
    },
  );

  test("succeeds when the commit was done and only its answer was lost", async () => {
    const lossy = replaced(metadata, "commit", (commit) => async (...args) => {
      await commit(...args);
      throw new DocprocError("UNAVAILABLE", "connection reset");
    });
    const document = await upload(uploads({ metadata: lossy }), await openFile(await file(bytes)));
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
    const attempt = upload(uploads({ metadata: unreachable }), await openFile(await file(bytes)));
    const hint = expect.stringContaining("It is unknown whether document.bin was recorded.");
    await expect(attempt).rejects.toMatchObject({ code: "UNAVAILABLE", message: down.message, hint });
    // A record that appears late has its bytes; bytes whose record never appears are only garbage.
    expect((await everything()).keys).toHaveLength(1);
    await upload(uploads(), await openFile(await file(bytes)));
    expect((await everything()).records).toHaveLength(1);
  });

  test("removes its own bytes and returns the winner when another upload of the same was faster", async () => {
    const path = await file(bytes);
    const overtaken = replaced(metadata, "commit", (commit) => async (...args) => {
      calls.push("overtaken");
      if (calls.filter((call) => call === "overtaken").length === 1) await upload(uploads(), await openFile(path));
      return await commit(...args);
    });
    const loser = await upload(uploads({ metadata: overtaken }), await openFile(path));
    expect(loser.action).toBe("unchanged");
    expect((await everything()).records.map(({ id }) => id)).toEqual([loser.id]);
    await expectConsistent(1);
  });

  test("commits after all when the winner is deleted in between", async () => {
    const path = await file(bytes);
    const first = await upload(uploads(), await openFile(path));
    const blind = replaced(
      replaced(metadata, "holder", () => async () => undefined),
      "get",
      (get) => async (id, signal) => {
        // The holder of the claim goes away after it was named and before it is read.
        if (id === first.id) await metadata.remove(id, never);
        return await get(id, signal);
      },
    );
    const document = await upload(uploads({ metadata: blind }), await openFile(path), {
      contentType: async () => "x/y",
    });
    expect(document).toMatchObject({ action: "uploaded", contentType: "x/y" });
    expect((await everything()).records.map(({ id }) => id)).toEqual([document.id]);
  });

  test.each([
    ["before anything is sent", (service: MetadataService) => service],
    ["after the bytes are", (service: MetadataService) => replaced(service, "holder", () => async () => undefined)],
  ])("makes a record of its own when the one of the same tags is given others %s", async (_when, blinded) => {
    const path = await file(bytes);
    const first = await upload(uploads(), await openFile(path));
    const tagged = replaced(blinded(metadata), "get", (get) => async (id, signal) => {
      // Between the answer who holds the claim and the reading of that document.
      if (id === first.id) await retag(metadata, first as DocumentRecord, { set: { a: "1" }, unset: [] }, never);
      return await get(id, signal);
    });
    const document = await upload(uploads({ metadata: tagged }), await openFile(path));
    expect(document).toMatchObject({ action: "uploaded", tags: {} });
    expect((await everything()).records.map(({ tags }) => tags)).toEqual([{ a: "1" }, {}]);
    await expectConsistent(2);
  });

  test("keeps its bytes when its record is given tags before the lost answer to the commit is made up for", async () => {
    const repeated = replaced(metadata, "commit", (commit) => async (record, identity, signal) => {
      await commit(record, identity, signal);
      await retag(metadata, record, { set: { a: "1" }, unset: [] }, never);
      // What the SDK makes of it: the record is there, and its claim is free.
      return { committed: false, holder: record.id };
    });
    const document = await upload(uploads({ metadata: repeated }), await openFile(await file(bytes)));
    expect(document).toMatchObject({ action: "uploaded", tags: { a: "1" } });
    await expectConsistent(1);
  });

  test("never takes a record that was imported under its id for its own, where that is of other bytes", async () => {
    const first = await upload(uploads(), await openFile(await file(bytes)));
    const { action: _, bytesSent: __, ...record } = first as DocumentRecord & { action: string; bytesSent: number };
    const id = newDocumentId();
    const imported = { ...record, id, uploadedAt: uploadTimeOfId(id) };
    await metadata.commit(imported, unproved(identityOf(imported), id), never);
    const lost = replaced(metadata, "commit", () => async () => {
      throw new DocprocError("UNAVAILABLE", "connection reset");
    });
    for (const [catalog, code] of [
      [metadata, "CONFLICT"],
      [lost, "UNAVAILABLE"],
    ] as const) {
      const as = { id, claim: apart(identityOf(imported), id) };
      const attempt = upload(uploads({ metadata: catalog }), await openFile(await file(bytes)), { as });
      await expect(attempt).rejects.toMatchObject({ code });
    }
    expect(await metadata.get(id, never)).toEqual(imported);
  });

  test("refuses bytes that are not as many as were sent, and removes them", async () => {
    const lying = replaced(storage, "put", (put) => async (...args) => {
      const stored = await put(...args);
      return { ...stored, size: stored.size - 1 };
    });
    const attempt = upload(uploads({ storage: lying }), await openFile(await file(bytes)));
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
    const attempt = upload(uploads({ storage: interrupted }), source, { signal: abort.signal });
    await expect(attempt).rejects.toMatchObject({ code: "CANCELLED" });
    await expectConsistent(0);
  });

  test("sends and commits nothing in a dry run", async () => {
    const document = await upload(uploads(), await openFile(await file(bytes)), { dryRun: true });
    expect(document).toMatchObject({ action: "planned", id: null, uri: null, uploadedAt: null, size: bytes.length });
    expect(calls.filter((call) => /put|commit/.test(call))).toEqual([]);
    await expectConsistent(0);
  });

  test("takes a stream of unknown length", async () => {
    const document = await upload(uploads(), openStdin(Readable.from([bytes])), { name: "piped" });
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
    const attempt = upload(uploads({ storage: disturbed }), await openFile(path));
    await expect(attempt).rejects.toMatchObject({ code: "INTEGRITY" });
    await expectConsistent(0);
  });

  test("fails when a small one changes between reading and sending", async () => {
    const path = await file(small);
    const source = await openFile(path);
    await appendFile(path, "more");
    await expect(upload(uploads(), source)).rejects.toMatchObject({ code: "INTEGRITY" });
    await expectConsistent(0);
  });
});

describe("a large document whose name is known", () => {
  test("is read ahead only when a document of that name has its size", async () => {
    const reads = async (bytes: Buffer) => {
      const source = await openFile(await file(bytes));
      let count = 0;
      const counting: Source = {
        ...source,
        read(signal) {
          count += 1;
          return source.read(signal);
        },
      };
      await upload(uploads(), counting);
      return count;
    };
    expect(await reads(large)).toBe(1);
    expect(await reads(randomBytes(large.length + 1))).toBe(1);
    expect(await reads(randomBytes(large.length))).toBe(2);
    await expectConsistent(3);
  });
});

describe("finding a document", () => {
  test("takes an id, the beginning of one, or a name, and prefers the newest of a name", async () => {
    const first = await upload(uploads(), await openFile(await file("1")), { name: "résumé.txt" });
    const second = await upload(uploads(), await openFile(await file("2")), { name: "résumé.txt" });
    const find = async (reference: string) => (await findDocument(metadata, reference, never)).id;
    expect(await find(first.id ?? "")).toBe(first.id);
    expect(await find((first.id ?? "").toUpperCase())).toBe(first.id);
    expect(await find((second.id ?? "").slice(0, 24))).toBe(second.id);
    expect(await find("résumé.txt")).toBe(second.id);
    expect(await find("résumé.txt".normalize("NFD"))).toBe(second.id);
  });

  test("takes the one before when the newest of a name is deleted while it is looked for", async () => {
    const first = await upload(uploads(), await openFile(await file("1")));
    const second = await upload(uploads(), await openFile(await file("2")));
    const late = replaced(metadata, "get", (get) => async (id, signal) => {
      await metadata.remove(second.id ?? "", signal);
      return await get.call(metadata, id, signal);
    });
    expect(await findDocument(late, "document.bin", never)).toMatchObject({ id: first.id });
  });

  test("says which are meant when a beginning is not unique, and that there is none", async () => {
    const first = await upload(uploads(), await openFile(await file("1")), { name: "one" });
    await upload(uploads(), await openFile(await file("2")), { name: "two" });
    await expect(findDocument(metadata, (first.id ?? "").slice(0, 8), never)).rejects.toMatchObject({ code: "USAGE" });
    await expect(findDocument(metadata, "three", never)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(findDocument(metadata, "%' OR 1=1 --", never)).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});

/** The upload protocol on an embedded library of its own, whose services can be watched, replaced, and looked at. */
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { expect } from "vitest";
import type { DocumentRecord } from "../../src/document/record.ts";
import { metadataDrivers } from "../../src/metadata/registry.ts";
import type { MetadataService } from "../../src/metadata/service.ts";
import { storageDrivers } from "../../src/storage/registry.ts";
import type { StorageService } from "../../src/storage/service.ts";
import type { UploadedDocument, UploadRequest } from "../../src/transfer/request.ts";
import { openFile, type Source } from "../../src/transfer/source.ts";
import { localSettings } from "./aws.ts";
import { servicesOf, uploadsOf } from "./services.ts";

const never = new AbortController().signal;
/** Small, so that a "large" document is one of a few hundred kilobytes. */
const inMemoryLimit = 100_000;

/** No fact of a document is given. */
export const noFacts = { contentType: undefined, metadata: undefined, expiresAt: undefined };

export interface Parts {
  readonly storage?: StorageService;
  readonly metadata?: MetadataService;
  readonly now?: () => number;
}

export type ProtocolLibrary = Awaited<ReturnType<typeof openProtocolLibrary>>;

export async function openProtocolLibrary() {
  const directory = await mkdtemp(join(tmpdir(), "docproc-protocol-"));
  const settings = localSettings(join(directory, "library"));
  const calls: string[] = [];
  const storage = logged(calls, "storage", await storageDrivers.local.open(settings));
  const metadata = logged(calls, "metadata", await metadataDrivers.local.open(settings));

  /** The name of a new file with these bytes, or with others from now on. */
  async function file(bytes: Buffer | string, name = "document.bin"): Promise<string> {
    const path = join(directory, name);
    await writeFile(path, bytes);
    return path;
  }

  const written = new Map<string, Promise<string>>();
  /** A file with these bytes, written once: an upload must not see it change under another. */
  function fileOf(bytes: Buffer | string): Promise<string> {
    const name = `${createHash("sha256").update(bytes).digest("hex")}.bin`;
    const path = written.get(name) ?? file(bytes, name);
    written.set(name, path);
    return path;
  }

  /** @param parts instead of the library's own */
  async function upload(
    from: Source | Buffer | string,
    request: Partial<UploadRequest> = {},
    parts: Parts = {},
  ): Promise<UploadedDocument> {
    const source = typeof from === "string" || Buffer.isBuffer(from) ? await openFile(await fileOf(from)) : from;
    const services = servicesOf(parts.storage ?? storage, parts.metadata ?? metadata, parts.now);
    try {
      return await uploadsOf(services, inMemoryLimit).run(source, {
        path: "document.bin",
        facts: noFacts,
        detectType: async () => "application/octet-stream",
        tags: {},
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
    for await (const { record } of metadata.list({ ascending: true }, never)) records.push(record);
    const keys: string[] = [];
    for await (const { key } of storage.list("", never)) keys.push(key);
    return { records, keys };
  }

  const keyOf = ({ uri }: Pick<UploadedDocument, "uri">) => (uri ?? "").slice(storage.uri("").length);

  return {
    directory,
    storage,
    metadata,
    /** What was asked of the services, such as `storage.put`. */
    calls,
    file,
    upload,
    everything,
    keyOf,
    /** The file that holds the bytes of a document. */
    objectOf: (document: Pick<UploadedDocument, "uri">) => new URL(document.uri ?? ""),
    /** The bytes of a document as they are stored. */
    stored: async (document: Pick<UploadedDocument, "uri">) =>
      await buffer(await storage.open(keyOf(document), { signal: never })),
    /** Every record has its bytes and its hash, and there is no object without a record. */
    async expectConsistent(documents: number): Promise<void> {
      const { records, keys } = await everything();
      expect(records).toHaveLength(documents);
      expect(keys).toHaveLength(documents);
      for (const record of records) {
        const bytes = await buffer(await storage.open(keyOf(record), { signal: never }));
        expect(bytes.length).toBe(record.size);
        expect(createHash("sha256").update(bytes).digest("hex")).toBe(record.sha256);
      }
    },
    async close(): Promise<void> {
      await metadata.close();
      await rm(directory, { recursive: true });
    },
  };
}

/** The same service; each call leaves its name in `calls`. */
function logged<S extends object>(calls: string[], name: string, service: S): S {
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
export function replaced<S extends object, M extends keyof S>(service: S, method: M, make: (real: S[M]) => S[M]): S {
  const real = Reflect.get(service, method) as S[M];
  const instead = make(real);
  return new Proxy(service, { get: (target, name) => (name === method ? instead : Reflect.get(target, name)) });
}

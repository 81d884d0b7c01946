/** Imports records into a catalog over the same storage. Their bytes stay where they are. */
import { isDeepStrictEqual } from "node:util";
import { DocprocError, toDocprocError } from "../core/errors.ts";
import { identityOf } from "../document/identity.ts";
import { type DocumentRecord, idOfKey, isUnambiguousKey } from "../document/record.ts";
import { isCatalogId } from "../metadata/marks.ts";
import { type MetadataService, unproved } from "../metadata/service.ts";
import type { StorageService, StoredObject } from "../storage/service.ts";
import { commitRecord } from "../transfer/commit.ts";
import type { DocumentService } from "./documents.ts";
import { verifyDocument } from "./verify.ts";

export interface ImportRequest {
  readonly documents: DocumentService;
  readonly storage: StorageService;
  readonly metadata: MetadataService;
  /** Of the storage keys of this library. */
  readonly prefix: string;
  /** Read and hash the bytes. */
  readonly deep: boolean;
  /** The id of a catalog that is gone: objects that are marked with it become this catalog's. */
  readonly adopt: string | undefined;
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Called with the number of bytes newly read. */
  readonly onProgress: (bytes: number) => void;
  /** Called when an object is marked with the catalog to adopt, which is adopted then. */
  readonly onAdopted: () => void;
  /** Called with the id of another catalog, if the object is marked with it. */
  readonly onOtherCatalog: (id: string) => void;
}

export type ImportedDocument = DocumentRecord & {
  readonly action: "imported" | "unchanged";
  /** Whether its bytes are known to have its SHA-256. No upload is `unchanged` for one where they are not. */
  readonly hashed: boolean;
};

/**
 * Takes a record into the catalog, as it is, or finds that it is there. Where another document has the same name, bytes
 * and tags, both are kept, as both have bytes of their own.
 *
 * After it has returned, the record is there and so are its bytes, as far as their size and the storage's checksum say;
 * with `deep`, as their SHA-256 says.
 * @throws NOT_FOUND or INTEGRITY when its bytes are not in the storage or are others; CONFLICT when its id is that of
 *   another record, or its bytes are those of a library with another prefix; nothing is recorded then
 */
export async function importRecord(record: DocumentRecord, request: ImportRequest): Promise<ImportedDocument> {
  const { documents, storage, metadata, deep, signal, now } = request;
  const there = await metadata.get(record.id, signal);
  if (there) return await asImported(there, record, request);
  const key = await documents.keyOf(record, signal);
  assertOwnPlace(key, record, request);
  await assertSound(record, request);
  const onDuplicate = "store";
  const claim = deep ? undefined : unproved(identityOf(record), record.id);
  const committing = { metadata, storage, key, storedAt: now(), now, onDuplicate, claim, signal } as const;
  const recorded = await commitRecord(record, committing);
  if (recorded !== record) return await asImported(recorded, record, request);
  return { ...record, action: "imported", hashed: deep };
}

async function asImported(
  there: DocumentRecord,
  record: DocumentRecord,
  request: ImportRequest,
): Promise<ImportedDocument> {
  const { documents, deep, signal } = request;
  if (!isDeepStrictEqual(there, record)) {
    throw new DocprocError("CONFLICT", `The catalog has another record of ${record.id}: ${there.name}.`, {
      hint: "Nothing was overwritten. docproc show prints the one that is there.",
    });
  }
  let hashed = await documents.isProved(there, signal);
  if (deep && !hashed) {
    await documents.prove(there, signal, request.onProgress);
    hashed = true;
  }
  // That its bytes are gone, or elsewhere, is for docproc verify to say.
  const stored = await documents.stat(there, signal).catch((error: unknown) => {
    if (toDocprocError(error).code !== "NOT_FOUND") throw error;
    return undefined;
  });
  if (stored) await heedMark(stored, request);
  return { ...there, action: "unchanged", hashed };
}

/**
 * A document's own bytes are below the prefix of its library. An object that was registered may be anywhere, where others
 * store objects, too, but not among the documents of a library.
 */
function assertOwnPlace(key: string, record: DocumentRecord, { prefix, storage }: ImportRequest): void {
  const { id, name, uri, source } = record;
  if (idOfKey(key, prefix) === id) return;
  const registrable = storage.traits.shared && isUnambiguousKey(key) && idOfKey(key, undefined) === undefined;
  if (source.kind === "register" && registrable) return;
  const where = key.startsWith(prefix)
    ? "under a key that this library does not make"
    : `outside the prefix ${prefix} of this library`;
  throw new DocprocError("CONFLICT", `${name} (${id}) is stored ${where}: ${uri}`, {
    hint: "Nothing was recorded. Choose the library that it is of with --prefix or --use, or docproc copy it from there.",
  });
}

async function assertSound(record: DocumentRecord, request: ImportRequest): Promise<void> {
  const { documents, deep, signal, onProgress } = request;
  let stored: StoredObject | undefined;
  const damage = await verifyDocument(documents, record, deep, signal, onProgress, (found) => {
    stored = found;
  });
  if (damage) {
    const code = damage.code === "MISSING" ? "NOT_FOUND" : "INTEGRITY";
    throw new DocprocError(code, `${record.name} (${record.id}): ${damage.message}`, {
      hint: "Nothing was recorded. A record is taken in when its bytes are where it says.",
    });
  }
  if (stored) await heedMark(stored, request);
}

/** Adopts the catalog that an object is marked with, if that was asked for, and tells of it otherwise. */
async function heedMark(stored: StoredObject, request: ImportRequest): Promise<void> {
  const { documents, adopt, signal, onAdopted, onOtherCatalog } = request;
  const { catalog } = stored;
  if (catalog === null || !isCatalogId(catalog)) return;
  if (catalog === adopt) {
    await documents.adopt(catalog, signal);
    onAdopted();
  } else if ((await documents.ownerOf(stored, signal)) === "other") {
    onOtherCatalog(catalog);
  }
}

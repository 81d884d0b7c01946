/** Imports records into a catalog over the same storage. Their bytes stay where they are. */
import { isDeepStrictEqual } from "node:util";
import { DocprocError, toDocprocError } from "../core/errors.ts";
import { identityOf } from "../document/identity.ts";
import { type DocumentRecord, idOfKey, isUnambiguousKey } from "../document/record.ts";
import { isCatalogId } from "../metadata/marks.ts";
import { unproved } from "../metadata/service.ts";
import type { StorageService, StoredObject } from "../storage/service.ts";
import { keyOf, recordStored, statDocument } from "./documents.ts";
import { isProved, prove } from "./proof.ts";
import type { Services } from "./services.ts";
import { verifyDocument } from "./verify.ts";

export { isCatalogId };

export interface ImportRequest {
  /** Read and hash the bytes. */
  readonly deep: boolean;
  /** The id of a catalog that is gone: objects that are marked with it become this catalog's. */
  readonly adopt: string | undefined;
  readonly signal: AbortSignal;
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
export async function importRecord(
  record: DocumentRecord,
  services: Services,
  request: ImportRequest,
): Promise<ImportedDocument> {
  const { deep, signal } = request;
  const [storage, metadata] = await Promise.all([services.storage(), services.metadata()]);
  const there = await metadata.get(record.id, signal);
  if (there) return await asImported(there, record, services, request);
  const key = await keyOf(services, record, signal);
  assertOwnPlace(key, record, services.prefix, storage);
  await assertSound(record, services, request);
  const claim = deep ? undefined : unproved(identityOf(record), record.id);
  const recorded = await recordStored(services, record, { key, onDuplicate: "store", claim, signal });
  if (recorded !== record) return await asImported(recorded, record, services, request);
  return { ...record, action: "imported", hashed: deep };
}

async function asImported(
  there: DocumentRecord,
  record: DocumentRecord,
  services: Services,
  request: ImportRequest,
): Promise<ImportedDocument> {
  const { deep, signal } = request;
  if (!isDeepStrictEqual(there, record)) {
    throw new DocprocError("CONFLICT", `The catalog has another record of ${record.id}: ${there.name}.`, {
      hint: "Nothing was overwritten. docproc show prints the one that is there.",
    });
  }
  let hashed = await isProved(services, there, signal);
  if (deep && !hashed) {
    await prove(services, there, signal, request.onProgress);
    hashed = true;
  }
  // That its bytes are gone, or elsewhere, is for docproc verify to say.
  const stored = await statDocument(services, there, signal).catch((error: unknown) => {
    if (toDocprocError(error).code !== "NOT_FOUND") throw error;
    return undefined;
  });
  if (stored) await heedMark(stored, services, request);
  return { ...there, action: "unchanged", hashed };
}

/**
 * A document's own bytes are below the prefix of its library. An object that was registered may be anywhere, where others
 * store objects, too, but not among the documents of a library.
 */
function assertOwnPlace(key: string, record: DocumentRecord, prefix: string, storage: StorageService): void {
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

async function assertSound(record: DocumentRecord, services: Services, request: ImportRequest): Promise<void> {
  const { deep, signal, onProgress } = request;
  let stored: StoredObject | undefined;
  const onStored = (found: StoredObject) => {
    stored = found;
  };
  const damage = await verifyDocument(services, record, { deep, signal, onProgress, onStored });
  if (damage) {
    const code = damage.code === "MISSING" ? "NOT_FOUND" : "INTEGRITY";
    throw new DocprocError(code, `${record.name} (${record.id}): ${damage.message}`, {
      hint: "Nothing was recorded. A record is taken in when its bytes are where it says.",
    });
  }
  if (stored) await heedMark(stored, services, request);
}

/** Adopts the catalog that an object is marked with, if that was asked for, and tells of it otherwise. */
async function heedMark({ catalog }: StoredObject, { marks }: Services, request: ImportRequest): Promise<void> {
  const { adopt, signal, onAdopted, onOtherCatalog } = request;
  if (catalog === null || !isCatalogId(catalog)) return;
  if (catalog === adopt) {
    await marks.adopt(catalog, signal);
    onAdopted();
  } else if ((await marks.ownerOf(catalog, signal)) === "other") {
    onOtherCatalog(catalog);
  }
}

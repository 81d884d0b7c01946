/** Imports records into a catalog over the same storage. Their bytes stay where they are. */
import { isDeepStrictEqual } from "node:util";
import { DocprocError } from "../core/errors.ts";
import { type DocumentRecord, idOfKey, isUnambiguousKey, type TextMap } from "../document/record.ts";
import { isCatalogId } from "../metadata/marks.ts";
import type { Entry } from "../metadata/service.ts";
import type { StorageService, StoredObject } from "../storage/service.ts";
import { keyOf, recordStored } from "./documents.ts";
import { prove } from "./proof.ts";
import type { Services } from "./services.ts";
import { verifyDocument } from "./verify.ts";

export { isCatalogId };

export interface ImportRequest {
  /** Read and hash the bytes. */
  readonly deep: boolean;
  /** The id of a lost catalog, whose objects become this catalog's. */
  readonly adopt: string | undefined;
  readonly signal: AbortSignal;
  /** Called with the bytes newly read. */
  readonly onProgress: (bytes: number) => void;
  /** Called when an object belongs to the catalog to adopt, after adopting it. */
  readonly onAdopted: () => void;
  /** Called with the id when an object belongs to another catalog. */
  readonly onOtherCatalog: (id: string) => void;
}

export type ImportedDocument = DocumentRecord & {
  readonly action: "imported" | "unchanged";
  /** Whether its SHA-256 was verified. Otherwise no upload is `unchanged` because of it. */
  readonly hashed: boolean;
};

/**
 * Adds a record to the catalog, or finds it. It is a version of its path beside any others.
 *
 * Afterwards the record exists, and so do its bytes, judging by their size and the storage's checksum; with `deep`, by
 * their SHA-256.
 * @param given the tags that it was uploaded with
 * @throws NOT_FOUND or INTEGRITY when its bytes are missing or differ; CONFLICT when another record has its id, or
 *   its bytes belong to a library with another prefix; nothing is recorded then
 */
export async function importRecord(
  record: DocumentRecord,
  given: TextMap,
  services: Services,
  request: ImportRequest,
): Promise<ImportedDocument> {
  const { deep, signal } = request;
  const [storage, metadata] = await Promise.all([services.storage(), services.metadata()]);
  const there = await metadata.get(record.id, signal);
  if (there) return await asImported(there, record, services, request);
  const key = await keyOf(services, record, signal);
  assertOwnPlace(key, record, services.prefix, storage);
  await assertIntact(record, services, request, "Nothing was recorded. ");
  const recorded = await recordStored(services, { record, given, proved: deep }, { key, onDuplicate: "store", signal });
  if (recorded === record) return { ...record, action: "imported", hashed: deep };
  const now = await metadata.get(record.id, signal);
  if (now) return await asImported(now, record, services, request);
  throw new DocprocError("NOT_FOUND", `The document ${record.id} was deleted while it was imported.`);
}

async function asImported(
  there: Entry,
  record: DocumentRecord,
  services: Services,
  request: ImportRequest,
): Promise<ImportedDocument> {
  const { deep, signal } = request;
  if (!isDeepStrictEqual(there.record, record)) {
    const message = `The catalog has a different record with the id ${record.id}: ${there.record.path}.`;
    throw new DocprocError("CONFLICT", message, {
      hint: "Nothing was overwritten. See the existing one with docproc show.",
    });
  }
  await assertIntact(there.record, services, { ...request, deep: false }, "");
  if (deep) await prove(services, there, signal, request.onProgress);
  return { ...there.record, action: "unchanged", hashed: deep || there.proved };
}

/**
 * A document's own bytes are below its library's prefix. A registered object may be anywhere in a shared storage, but
 * not among the documents of a library.
 */
function assertOwnPlace(key: string, record: DocumentRecord, prefix: string, storage: StorageService): void {
  const { id, path, uri, source } = record;
  if (idOfKey(key, prefix) === id) return;
  const registrable = storage.traits.shared && isUnambiguousKey(key) && idOfKey(key, undefined) === undefined;
  if (source.kind === "register" && registrable) return;
  const where = key.startsWith(prefix)
    ? "under a key that is not this library's"
    : `outside the prefix ${prefix} of this library`;
  throw new DocprocError("CONFLICT", `${path} (${id}) is stored ${where}: ${uri}`, {
    hint: "Nothing was recorded. Choose its own library with --prefix or --use, or copy it from there with docproc copy.",
  });
}

/** @param outcome for the hint: what was not done */
async function assertIntact(record: DocumentRecord, services: Services, request: ImportRequest, outcome: string) {
  const { deep, signal, onProgress } = request;
  let stored: StoredObject | undefined;
  const onStored = (found: StoredObject) => {
    stored = found;
  };
  const damage = await verifyDocument(services, record, { deep, signal, onProgress, onStored });
  if (damage) {
    const code = damage.code === "MISSING" ? "NOT_FOUND" : "INTEGRITY";
    const fix = outcome === "" ? damage.fix : "Restore the bytes at the record's uri, then import it again.";
    throw new DocprocError(code, `${record.path} (${record.id}): ${damage.message}`, { hint: `${outcome}${fix}` });
  }
  if (stored) await handleMark(stored, services, request);
}

/** Adopts the catalog that an object belongs to if requested, and reports it otherwise. */
async function handleMark({ catalog }: StoredObject, { marks }: Services, request: ImportRequest): Promise<void> {
  const { adopt, signal, onAdopted, onOtherCatalog } = request;
  if (catalog === null || !isCatalogId(catalog)) return;
  if (catalog === adopt) {
    await marks.adopt(catalog, signal);
    onAdopted();
  } else if ((await marks.ownerOf(catalog, signal)) === "other") {
    onOtherCatalog(catalog);
  }
}

/** Records that come back into a catalog, or into another one over the same storage. Their bytes stay where they are. */
import { isDeepStrictEqual } from "node:util";
import { commitRecord } from "./commit.ts";
import type { DocumentRecord } from "./document.ts";
import type { DocumentService } from "./documents.ts";
import { DocprocError } from "./errors.ts";
import type { MetadataService } from "./metadata/service.ts";
import type { StorageService } from "./storage/service.ts";
import { verifyDocument } from "./verify.ts";

export interface ImportRequest {
  readonly documents: DocumentService;
  readonly storage: StorageService;
  readonly metadata: MetadataService;
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

export type ImportedDocument = DocumentRecord & { readonly action: "imported" | "unchanged" };

/**
 * Takes a record into the catalog, as it is, or finds that it is there. Where another document has the same name, bytes
 * and tags, both are kept, as both have bytes of their own.
 *
 * After it has returned, the record is there and so are its bytes, as far as their size and the storage's checksum say.
 * @throws NOT_FOUND or INTEGRITY when its bytes are not in the storage or are others; CONFLICT when its id is that of
 *   another record; nothing is recorded then
 */
export async function importRecord(record: DocumentRecord, request: ImportRequest): Promise<ImportedDocument> {
  const { documents, storage, metadata, signal, now } = request;
  const there = await metadata.get(record.id, signal);
  if (there) return asImported(there, record);
  const key = await documents.keyOf(record, signal);
  const damage = await verifyDocument(documents, record, false, signal, () => {});
  if (damage) {
    const code = damage.code === "MISSING" ? "NOT_FOUND" : "INTEGRITY";
    throw new DocprocError(code, `${record.name} (${record.id}): ${damage.message}`, {
      hint: "Nothing was recorded. A record is taken in when its bytes are where it says.",
    });
  }
  const onDuplicate = "store";
  const recorded = await commitRecord(record, { metadata, storage, key, landed: now(), now, onDuplicate, signal });
  return recorded === record ? { ...record, action: "imported" } : asImported(recorded, record);
}

function asImported(there: DocumentRecord, record: DocumentRecord): ImportedDocument {
  if (isDeepStrictEqual(there, record)) return { ...there, action: "unchanged" };
  throw new DocprocError("CONFLICT", `The catalog has another record of ${record.id}: ${there.name}.`, {
    hint: "Nothing was overwritten. docproc show prints the one that is there.",
  });
}

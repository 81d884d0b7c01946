/** Resolves a document reference: an id, the beginning of one, or a name. */

import { DocprocError } from "../core/errors.ts";
import { type DocumentRecord, documentName, isDocumentId, isDocumentName } from "../document/record.ts";
import type { MetadataService } from "../metadata/service.ts";

/**
 * Finds one document by id, by a unique prefix of its id, or by name (the newest).
 * @throws NOT_FOUND, or USAGE when the reference is ambiguous
 */
export async function findDocument(
  metadata: MetadataService,
  reference: string,
  signal: AbortSignal,
): Promise<DocumentRecord> {
  const id = reference.toLowerCase();
  const found =
    (isDocumentId(id) ? await metadata.get(id, signal) : undefined) ??
    (await findByPrefix(metadata, id, signal)) ??
    (await findByName(metadata, reference, signal));
  if (found) return found;
  throw new DocprocError("NOT_FOUND", `No document has the id or name ${JSON.stringify(reference)}.`, {
    hint: "Run docproc list to see all documents.",
  });
}

/** @throws NOT_FOUND when no document has this id */
export async function getDocument(metadata: MetadataService, id: string, signal: AbortSignal): Promise<DocumentRecord> {
  const record = await metadata.get(id, signal);
  if (record === undefined) throw new DocprocError("NOT_FOUND", `No document has the id ${id}.`);
  return record;
}

async function findByPrefix(
  metadata: MetadataService,
  prefix: string,
  signal: AbortSignal,
): Promise<DocumentRecord | undefined> {
  if (!/^[0-9a-f][0-9a-f-]{3,34}$/.test(prefix)) return undefined;
  const found: DocumentRecord[] = [];
  for await (const record of metadata.list({ ascending: true, idPrefix: prefix, expected: 2 }, signal)) {
    if (found.push(record) === 2) break;
  }
  if (found.length < 2) return found[0];
  const byName = await findByName(metadata, prefix, signal);
  if (byName) return byName;
  throw new DocprocError("USAGE", `More than one document has an id that starts with ${prefix}.`, {
    hint: `Use more of its digits. Two of them: ${found.map(({ id }) => id).join(", ")}.`,
  });
}

async function findByName(
  metadata: MetadataService,
  text: string,
  signal: AbortSignal,
): Promise<DocumentRecord | undefined> {
  // An invalid name matches nothing.
  if (!isDocumentName(text)) return undefined;
  const ids: string[] = [];
  for await (const { id } of metadata.claims(documentName(text), signal)) ids.push(id);
  for (const id of ids.sort().reverse()) {
    const record = await metadata.get(id, signal);
    // Deleted meanwhile, or an orphaned claim: the previous one is the newest then.
    if (record) return record;
  }
  return undefined;
}

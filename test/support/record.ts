/** Records for tests that need one and do not care about the rest of it. */
import { nameOfPath } from "../../src/document/path.ts";
import { type DocumentRecord, newDocumentId, uploadTimeOfId } from "../../src/document/record.ts";
import type { Entry } from "../../src/document/stored-form.ts";

/** A record with these fields. Name and time follow from its path and its id, as in every library. */
export function recordWith(fields: Partial<Omit<DocumentRecord, "name" | "uploadedAt">> = {}): DocumentRecord {
  const { id = newDocumentId(), path = "a.txt" } = fields;
  return {
    size: 5,
    contentType: "text/plain",
    sha256: "0".repeat(64),
    uri: `s3://bucket/${id}`,
    tags: {},
    metadata: {},
    source: { kind: "stdin", path: null, modifiedAt: null },
    provenance: null,
    crc32: null,
    expiresAt: null,
    ...fields,
    ...{ id, path, name: nameOfPath(path), uploadedAt: uploadTimeOfId(id) },
  };
}

/** What a catalog keeps of a record that was uploaded like this. */
export function entryOf(record: DocumentRecord, more: Partial<Entry> = {}): Entry {
  return { record, given: record.tags, proved: true, ...more };
}

/** A document as a row of the table `documents`. */
import { fromStored, type StoredRecord } from "../../document/stored-form.ts";
import type { Entry } from "../service.ts";

/** The columns of {@link entryOf} and {@link valuesOf}, in this order; the id is the first. */
export const storedColumns =
  "id, path, size, content_type, sha256, uri, tags, metadata, source, provenance, crc32, expires_at, given, proved";

/** The place of one value for each of {@link storedColumns}. */
export const storedMarks = "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?";

/**
 * Parses the values of a row.
 * @throws INTEGRITY for a row that docproc did not write
 */
export function entryOf(row: readonly unknown[]): Entry {
  // By index: destructuring a list uses its iterator, a million times.
  return fromStored({
    id: row[0],
    path: row[1],
    size: row[2],
    contentType: row[3],
    sha256: row[4],
    uri: row[5],
    tags: row[6],
    metadata: row[7],
    source: row[8],
    provenance: row[9],
    crc32: row[10],
    expiresAt: row[11],
    // Equal text need not be parsed again.
    given: row[12] === row[6] ? null : row[12],
    proved: row[13],
  });
}

/** The values of a row. The tags given are always there: a series is found by them. */
export function valuesOf(stored: StoredRecord): (string | number | null)[] {
  return [
    stored.id,
    stored.path,
    stored.size,
    stored.contentType,
    stored.sha256,
    stored.uri,
    stored.tags,
    stored.metadata,
    stored.source,
    stored.provenance,
    stored.crc32,
    stored.expiresAt,
    stored.given ?? stored.tags,
    stored.proved,
  ];
}

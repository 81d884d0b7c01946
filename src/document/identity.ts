/** Which documents are versions of one another. A separate file because hashing takes time and a listing needs none. */
import { createHash } from "node:crypto";
import { canonicalJson, type TextMap } from "./record.ts";

/**
 * The documents of one path that were uploaded with the same tags. A document is there if the newest one of its series
 * has its bytes; otherwise it is a new version.
 */
export interface Series {
  readonly path: string;
  /** The tags at the upload; those of a record may be edited later. */
  readonly given: TextMap;
}

/**
 * A short name of the tags of a series.
 * @returns 64 hex digits
 */
export function hashOfTags(given: TextMap): string {
  return createHash("sha256").update(canonicalJson(given)).digest("hex");
}

/** When two documents are the same. A separate file because hashing takes time to load and a listing needs none. */
import { createHash } from "node:crypto";
import { canonicalJson, type DocumentRecord } from "./record.ts";

/**
 * What identifies a document beside its name: its bytes and its tags.
 * @returns 64 hex digits
 */
export function identityOf(document: Pick<DocumentRecord, "sha256" | "tags">): string {
  return createHash("sha256")
    .update(`${document.sha256}\n${canonicalJson(document.tags)}`)
    .digest("hex");
}

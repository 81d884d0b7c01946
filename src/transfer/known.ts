/**
 * What an upload does when its document is there already: it looks at the stored bytes, puts them back if they are gone
 * or wrong, and updates the record where the user gave other facts.
 */
import { toDocprocError } from "../core/errors.ts";
import type { DocumentRecord } from "../document/record.ts";
import { changeRecord, differing } from "./change.ts";
import { notRestorable, type RestoreContext, restoreBytes, type Send } from "./restore.ts";

/** Facts of a document that do not identify it. Undefined: not given, so that those of the record stay. */
export type GivenFacts = {
  readonly [Field in "contentType" | "metadata" | "expiresAt"]: DocumentRecord[Field] | undefined;
};

export interface KnownDocument {
  readonly record: DocumentRecord;
  readonly action: "unchanged" | "restored" | "updated" | "planned";
  readonly bytesSent: number;
}

export interface KnownRequest {
  readonly facts: GivenFacts;
  /** Look, but change nothing. */
  readonly dryRun: boolean;
  /**
   * Whether the user asked for these bytes to be restored: a new document is no substitute, and the stored bytes are
   * read, since the user may know of damage that shows nowhere else.
   */
  readonly mustRestore: boolean;
  readonly signal: AbortSignal;
}

/**
 * @param send sends the right bytes
 * @returns undefined when a new document has to be stored: the known one was deleted meanwhile, or its bytes are
 *   damaged and not docproc's to restore
 * @throws CONFLICT for such bytes if they must be restored
 */
export async function settleKnown(
  context: RestoreContext,
  record: DocumentRecord,
  send: Send,
  { facts, dryRun, mustRestore, signal }: KnownRequest,
): Promise<KnownDocument | undefined> {
  const { state, bytesSent } = await restoreBytes(context, record, dryRun ? undefined : send, mustRestore, signal);
  if (state === "foreign" && mustRestore) throw notRestorable(record);
  if (state === "foreign" || state === "gone") return undefined;
  if (dryRun) {
    const isSame = state === "sound" && Object.keys(differing(record, facts)).length === 0;
    return { record, action: isSame ? "unchanged" : "planned", bytesSent };
  }
  if (mustRestore) await context.metadata.prove(record.id, signal);
  const done = await changeRecord(context.metadata, record, () => facts, signal).catch((error: unknown) => {
    // Deleted meanwhile.
    if (mustRestore || toDocprocError(error).code !== "NOT_FOUND") throw error;
    return undefined;
  });
  if (done === undefined) return undefined;
  const { record: current, changed } = done;
  const action = state === "restored" ? "restored" : changed ? "updated" : "unchanged";
  return { record: current, action, bytesSent };
}

/** The last step of every new document: its bytes are stored and proved, now its record is committed. */

import { DocprocError } from "../core/errors.ts";
import { cleanUpSignal } from "../core/retry.ts";
import { type DocumentRecord, timeOfId } from "../document/record.ts";
import { isRecorded, mayHaveSucceeded, outcomeUnknown } from "../metadata/commit-outcome.ts";
import type { Entry, MetadataService, Standing } from "../metadata/service.ts";
import type { StorageService } from "../storage/service.ts";

export interface CommitOptions {
  readonly metadata: MetadataService;
  readonly storage: StorageService;
  /** Of the bytes. */
  readonly key: string;
  /** When the bytes were last known to be stored, in milliseconds since the epoch. */
  readonly storedAt: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** `reuse`: record nothing if the series has the same bytes at this place. */
  readonly onDuplicate: "reuse" | "store";
  /** What the series had before the upload: it may save a request. */
  readonly seen?: Standing | undefined;
  readonly signal: AbortSignal;
}

/** Milliseconds after which the stored bytes are checked again before the commit. */
const staleAfter = 10 * 60_000;
/**
 * Milliseconds after which doctor might remove the object as garbage: S3 dates an object by the start of its multipart
 * upload. The bytes are then checked after the commit, too.
 */
const garbageRiskAfter = 12 * 3_600_000;

/**
 * Commits an entry, or returns the record that is there already: see {@link MetadataService.commit}.
 *
 * When it throws, nothing is recorded; only after UNAVAILABLE the record may yet appear.
 * @throws CONFLICT when another document has the id; INTEGRITY when the bytes were removed meanwhile
 */
export async function commitRecord(entry: Entry, commit: CommitOptions): Promise<DocumentRecord> {
  const { metadata, onDuplicate, seen, storedAt, now, signal } = commit;
  const { record } = entry;
  try {
    if (now() - storedAt > staleAfter) await assertStored(record, commit);
    const result = await metadata.commit(entry, { unlessThere: onDuplicate === "reuse", seen }, signal);
    if (!result.committed) {
      const there = result.there.record;
      return there.id === record.id ? asOwnRecord(there, record) : there;
    }
  } catch (error) {
    // The response may have been lost after success: ask the catalog.
    const isOwn = (found: DocumentRecord) => isSame(found, record);
    const recorded = mayHaveSucceeded(error) ? await isRecorded(metadata, record.id, signal, isOwn) : false;
    if (recorded === undefined) throw outcomeUnknown(error, `whether ${record.path} was recorded`);
    if (!recorded) throw error;
  }
  if (now() - timeOfId(record.id) > garbageRiskAfter) {
    await assertStored(record, commit).catch(async (error) => {
      await metadata.remove(record.id, cleanUpSignal(signal));
      throw error;
    });
  }
  return record;
}

async function assertStored({ size }: DocumentRecord, { storage, key, signal }: CommitOptions): Promise<void> {
  if ((await storage.stat(key, signal))?.size === size) return;
  throw new DocprocError("INTEGRITY", `The bytes stored as ${key} were removed before they were recorded.`, {
    hint: "Nothing was recorded. Run the same command again.",
  });
}

/** Whether a record describes the bytes that were just stored. An imported record may say anything. */
function isSame(found: DocumentRecord, own: DocumentRecord): boolean {
  return found.path === own.path && found.sha256 === own.sha256 && found.uri === own.uri;
}

/** A repeated commit finds its own record, perhaps retagged since. Any other record has the same id by mistake. */
function asOwnRecord(found: DocumentRecord, own: DocumentRecord): DocumentRecord {
  if (isSame(found, own)) return found;
  throw new DocprocError("CONFLICT", `The id ${own.id} belongs to another document.`, {
    hint: "Nothing was overwritten. Run the same command again to get another id.",
  });
}

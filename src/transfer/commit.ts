/** The last step of every new document: its bytes are stored and proved, now its record is committed. */

import { DocprocError, throwIfCancelled } from "../core/errors.ts";
import { cleanUpSignal } from "../core/retry.ts";
import { identityOf } from "../document/identity.ts";
import { type DocumentRecord, timeOfId } from "../document/record.ts";
import { isRecorded, mayHaveSucceeded, orphanClaim, outcomeUnknown } from "../metadata/commit-outcome.ts";
import { apart, type MetadataService } from "../metadata/service.ts";
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
  /** What to do when another document holds the identity. */
  readonly onDuplicate: "reuse" | "store";
  /** Replaces the record's identity. */
  readonly claim?: string | undefined;
  readonly signal: AbortSignal;
}

/** Milliseconds after which the stored bytes are checked again before the commit. */
const staleAfter = 10 * 60_000;
/**
 * Milliseconds after which doctor might remove the object as garbage: S3 dates an object by the start of its multipart
 * upload. The bytes are then checked after the commit, too.
 */
const garbageRiskAfter = 12 * 3_600_000;
/** Attempts before a claim whose holder is gone counts as an orphan. */
const claimAttempts = 5;

/**
 * Commits the record, or returns the one that already holds its identity.
 *
 * When it throws, nothing is recorded; only after UNAVAILABLE the record may yet appear.
 * @throws CONFLICT when another document has the id, or the holder of the claim is gone; INTEGRITY when the bytes
 *   were removed meanwhile
 */
export async function commitRecord(record: DocumentRecord, commit: CommitOptions): Promise<DocumentRecord> {
  const { metadata, onDuplicate, storedAt, now, signal } = commit;
  const identity = commit.claim ?? identityOf(record);
  try {
    for (let attempt = 1; ; attempt++) {
      if (now() - storedAt > staleAfter) await assertStored(record, commit);
      const result = await metadata.commit(record, identity, signal);
      if (result.committed) break;
      const winner = await metadata.get(result.holder, signal);
      if (winner?.id === record.id) return asOwnRecord(winner, record);
      if (onDuplicate === "store") {
        // The plain claim is taken; the one with the id is always free.
        await metadata.commit(record, apart(identity, record.id), signal);
        break;
      }
      if (winner && (commit.claim !== undefined || identityOf(winner) === identity)) return winner;
      // The holder was deleted or retagged between the two requests, so the claim is free again.
      if (attempt === claimAttempts) throw orphanClaim(record.name, result.holder);
      throwIfCancelled(signal);
    }
  } catch (error) {
    // The response may have been lost after success: ask the catalog.
    const isOwn = (found: DocumentRecord) => isSame(found, record);
    const recorded = mayHaveSucceeded(error) ? await isRecorded(metadata, record.id, signal, isOwn) : false;
    if (recorded === undefined) throw outcomeUnknown(error, `whether ${record.name} was recorded`);
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
  return found.name === own.name && found.sha256 === own.sha256 && found.uri === own.uri;
}

/** A repeated commit finds its own record, perhaps retagged since. Any other record has the same id by mistake. */
function asOwnRecord(found: DocumentRecord, own: DocumentRecord): DocumentRecord {
  if (isSame(found, own)) return found;
  throw new DocprocError("CONFLICT", `The id ${own.id} belongs to another document.`, {
    hint: "Nothing was overwritten. Run the same command again to get another id.",
  });
}

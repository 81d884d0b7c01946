/** The last step of every new document: its bytes are stored and proved, now its record is committed. */

import { DocprocError, throwIfCancelled } from "../core/errors.ts";
import { cleanUpSignal } from "../core/retry.ts";
import { identityOf } from "../document/identity.ts";
import { type DocumentRecord, timeOfId } from "../document/record.ts";
import { isRecorded, mayHaveSucceeded, orphanClaim, outcomeUnknown } from "../metadata/commit-outcome.ts";
import { apart, type MetadataService } from "../metadata/service.ts";
import type { StorageService } from "../storage/service.ts";

export interface Commit {
  readonly metadata: MetadataService;
  readonly storage: StorageService;
  /** Of the bytes. */
  readonly key: string;
  /** When the bytes were last known to be there, in milliseconds since the epoch. */
  readonly landed: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** What to do where another document holds the identity. */
  readonly onDuplicate: "reuse" | "store";
  /** In place of the record's identity. */
  readonly claim?: string | undefined;
  readonly signal: AbortSignal;
}

/** Milliseconds after which the bytes of an upload are looked for once more before their record is committed. */
const landedLongAgo = 10 * 60_000;
/**
 * Milliseconds after which a document is so old that a doctor may be about to take its object for garbage: S3 dates
 * an object by the beginning of its multipart upload. The bytes are then looked for after the commit, too.
 */
const begunLongAgo = 12 * 3_600_000;
/** How often a commit meets a claim whose holder is gone before the claim is called an orphan. */
const claimAttempts = 5;

/**
 * Commits the record, or returns the one that already holds its identity.
 *
 * When it throws, nothing is recorded; except after UNAVAILABLE, when the record may yet appear.
 * @throws CONFLICT when the id is another document's, or the holder of the claim is not there; INTEGRITY when the
 *   bytes were removed meanwhile
 */
export async function commitRecord(record: DocumentRecord, commit: Commit): Promise<DocumentRecord> {
  const { metadata, onDuplicate, landed, now, signal } = commit;
  const identity = commit.claim ?? identityOf(record);
  try {
    for (let attempt = 1; ; attempt++) {
      if (now() - landed > landedLongAgo) await assertStored(record, commit);
      const result = await metadata.commit(record, identity, signal);
      if (result.committed) break;
      const winner = await metadata.get(result.holder, signal);
      if (winner?.id === record.id) return asOwnRecord(winner, record);
      if (onDuplicate === "store") {
        // The plain claim is taken: one with the id behind it is free.
        await metadata.commit(record, apart(identity, record.id), signal);
        break;
      }
      if (winner && (commit.claim !== undefined || identityOf(winner) === identity)) return winner;
      // It was deleted between the two requests, or given other tags, and the claim is free again.
      if (attempt === claimAttempts) throw orphanClaim(record.name, result.holder);
      throwIfCancelled(signal);
    }
  } catch (error) {
    // The answer may have been lost after the commit was done: the catalog knows.
    const isOwn = (found: DocumentRecord) => isSame(found, record);
    const recorded = mayHaveSucceeded(error) ? await isRecorded(metadata, record.id, signal, isOwn) : false;
    if (recorded === undefined) throw outcomeUnknown(error, `whether ${record.name} was recorded`);
    if (!recorded) throw error;
  }
  if (now() - timeOfId(record.id) > begunLongAgo) {
    await assertStored(record, commit).catch(async (error) => {
      await metadata.remove(record.id, cleanUpSignal(signal));
      throw error;
    });
  }
  return record;
}

async function assertStored({ size }: DocumentRecord, { storage, key, signal }: Commit): Promise<void> {
  if ((await storage.stat(key, signal))?.size === size) return;
  throw new DocprocError("INTEGRITY", `The bytes stored as ${key} were removed before they were recorded.`, {
    hint: "Nothing was recorded. Run the same command again.",
  });
}

/** Whether a record says the same of the bytes that were just stored. One that was imported may say anything. */
function isSame(found: DocumentRecord, own: DocumentRecord): boolean {
  return found.name === own.name && found.sha256 === own.sha256 && found.uri === own.uri;
}

/**
 * A commit that was repeated finds its own record, perhaps with the tags that somebody has given it since. One of
 * another document there would have to have the same id.
 */
function asOwnRecord(found: DocumentRecord, own: DocumentRecord): DocumentRecord {
  if (isSame(found, own)) return found;
  throw new DocprocError("CONFLICT", `The id ${own.id} is that of another document.`, {
    hint: "Nothing was overwritten. Run the same command again: it gets another id.",
  });
}

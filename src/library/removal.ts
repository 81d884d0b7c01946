/** Removes what a library has: documents that a user names, and garbage that doctor finds. */

import { reached } from "../core/crash-points.ts";
import { DocprocError, toDocprocError } from "../core/errors.ts";
import type { Leftover } from "../core/leftover.ts";
import { cleanUpSignal } from "../core/retry.ts";
import { type DocumentRecord, idOfKey, timeOfId } from "../document/record.ts";
import { isRecorded, mayHaveSucceeded, outcomeUnknown } from "../metadata/commit-outcome.ts";
import type { Place } from "../metadata/service.ts";
import { keyOf } from "./documents.ts";
import type { Services } from "./services.ts";

/** The outcome for the bytes of a removed document. */
export type RemovedBytes =
  | { readonly bytes: "removed"; readonly reason: null }
  | { readonly bytes: "kept"; readonly reason: KeptFor };

/**
 * Why bytes outlive their record:
 *
 * - `registered`: docproc did not store them;
 * - `outside-prefix`: they belong to a library with another prefix;
 * - `other-catalog`: their mark says that they were stored for another catalog;
 * - `unmarked`: nothing says for which catalog they were stored.
 */
export type KeptFor = "registered" | "outside-prefix" | "other-catalog" | "unmarked";

/**
 * Removes a document: its record and its place at its path atomically, then its bytes if this catalog stored them for it. Other bytes
 * stay: see {@link KeptFor}.
 * @throws NOT_FOUND when it is gone already; after any other failure the message says what is left
 */
export async function removeDocument(
  services: Services,
  record: DocumentRecord,
  signal: AbortSignal,
): Promise<RemovedBytes> {
  const [metadata, storage] = await Promise.all([services.metadata(), services.storage()]);
  const key = await keyOf(services, record, signal);
  // First, so that a failure here has removed nothing.
  const reason = await reasonToKeep(services, record, key, signal);
  const removed = await metadata.remove(record.id, signal).catch(async (error: unknown) => {
    // The response may have been lost after success: ask the catalog.
    const recorded = mayHaveSucceeded(error) ? await isRecorded(metadata, record.id, signal) : true;
    if (recorded === undefined) throw outcomeUnknown(error, `whether ${record.id} was removed`);
    if (recorded) throw error;
    return record;
  });
  if (removed === undefined) {
    throw new DocprocError("NOT_FOUND", `The document ${record.id} is already deleted.`);
  }
  reached("record-removed");
  if (reason !== undefined) return { bytes: "kept", reason };
  try {
    // Without the caller's signal, since half a removal helps no one.
    await storage.remove(key, cleanUpSignal());
  } catch (thrown) {
    const { code, message } = toDocprocError(thrown);
    throw new DocprocError(
      code === "CANCELLED" ? "UNAVAILABLE" : code,
      `The record of ${record.id} is deleted, but its bytes are not: ${message}`,
      {
        hint: "Remove them with docproc doctor --repair when they are a day old.",
        cause: thrown,
      },
    );
  }
  reached("bytes-removed");
  return { bytes: "removed", reason: null };
}

/** Undefined for bytes that this catalog stored for this document, and for missing ones. */
async function reasonToKeep(
  { storage, marks, prefix }: Services,
  { id }: DocumentRecord,
  key: string,
  signal: AbortSignal,
): Promise<KeptFor | undefined> {
  if (idOfKey(key, prefix) !== id) {
    return idOfKey(key, undefined) === id ? "outside-prefix" : "registered";
  }
  const stored = await (await storage()).stat(key, signal);
  const owner = stored && (await marks.ownerOf(stored.catalog, signal));
  if (owner === "other") return "other-catalog";
  return owner === "unknown" ? "unmarked" : undefined;
}

/** Milliseconds. Younger garbage is never removed: an upload may be using it. */
export const minGarbageAge = 24 * 3_600_000;

/**
 * Removes an object without a record.
 * @returns false when it is too young, or has a record by now: a long upload commits once its bytes are proved
 */
export async function removeOrphan(
  services: Services,
  { id, key, age }: { readonly id: string; readonly key: string; readonly age: number },
  signal: AbortSignal,
): Promise<boolean> {
  const [metadata, storage] = await Promise.all([services.metadata(), services.storage()]);
  // Checked again as late as possible.
  if (age < minGarbageAge || (await metadata.get(id, signal))) return false;
  await storage.remove(key, signal);
  return true;
}

/** @returns false for one that may still be in use */
export async function removeLeftover(leftover: Leftover, signal: AbortSignal): Promise<boolean> {
  if (leftover.age < minGarbageAge) return false;
  await leftover.discard(signal);
  return true;
}

/** @returns false while an upload may still be using it */
export async function removePlace({ now }: Services, place: Place, signal: AbortSignal): Promise<boolean> {
  if (now() - timeOfId(place.id) < minGarbageAge) return false;
  await place.release(signal);
  return true;
}

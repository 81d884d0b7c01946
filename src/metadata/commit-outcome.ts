/** What a failed commit or removal means: after UNAVAILABLE it may have succeeded. */

import { DocprocError, toDocprocError } from "../core/errors.ts";
import { cleanUpSignal } from "../core/retry.ts";
import type { DocumentRecord } from "../document/record.ts";
import type { MetadataService } from "./service.ts";

/** True when a failed commit() or remove() may have succeeded, or may still succeed. */
export function mayHaveSucceeded(error: unknown): boolean {
  return !(error instanceof DocprocError) || error.code === "UNAVAILABLE";
}

/**
 * Looks the record up; undefined when the catalog cannot be reached. After an interruption the look-up is short.
 * @param matches whether the record found is the expected one
 */
export async function isRecorded(
  metadata: MetadataService,
  id: string,
  caller: AbortSignal,
  matches: (record: DocumentRecord) => boolean = () => true,
): Promise<boolean | undefined> {
  return await metadata.get(id, cleanUpSignal(caller)).then(
    (entry) => entry !== undefined && matches(entry.record),
    () => undefined,
  );
}

/** The failure of a commit or removal whose outcome could not be looked up. */
export function outcomeUnknown(error: unknown, what: string): DocprocError {
  const failure = toDocprocError(error);
  if (failure.code !== "UNAVAILABLE") return failure;
  return failure.withHint(`It is unknown ${what}. Run the same command again; finished work is not repeated.`);
}

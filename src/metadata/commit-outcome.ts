/** What to make of a commit or a removal that failed: after UNAVAILABLE it may be done all the same. */

import { DocprocError, toDocprocError } from "../core/errors.ts";
import { cleanUpSignal } from "../core/retry.ts";
import type { DocumentRecord } from "../document/record.ts";
import type { MetadataService } from "./service.ts";

/** The contract of commit() and remove(): after UNAVAILABLE it may be done, or come to be done. */
export function mayBeDone(error: unknown): boolean {
  return !(error instanceof DocprocError) || error.code === "UNAVAILABLE";
}

/**
 * Asks the catalog; undefined when it cannot be asked. After an interruption it is not asked for long.
 * @param isMeant whether a record with this id is the one in question
 */
export async function isRecorded(
  metadata: MetadataService,
  id: string,
  caller: AbortSignal,
  isMeant: (record: DocumentRecord) => boolean = () => true,
): Promise<boolean | undefined> {
  return await metadata.get(id, cleanUpSignal(caller)).then(
    (record) => record !== undefined && isMeant(record),
    () => undefined,
  );
}

/** The failure of a commit or a removal that the catalog could not be asked about afterwards. */
export function inDoubt(error: unknown, what: string): DocprocError {
  const failure = toDocprocError(error);
  if (failure.code !== "UNAVAILABLE") return failure;
  return failure.withHint(`It is not known ${what}. Run the same command again: what is done is not done twice.`);
}

/** A claim that is in the way, and whose document is not there. */
export function orphanClaim(name: string, holder: string): DocprocError {
  return new DocprocError("CONFLICT", `The name ${name} is claimed by the document ${holder}, which is not there.`, {
    hint: "docproc doctor --repair frees such claims.",
  });
}

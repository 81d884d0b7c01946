/** What to make of a commit or a removal that failed: after UNAVAILABLE it may be done all the same. */
import { DocprocError } from "../errors.ts";
import type { MetadataService } from "./service.ts";

/** Milliseconds for finding out, and for clearing up, after something failed. */
export const cleanUpDeadline = 5_000;

/** The contract of commit() and remove(): after UNAVAILABLE it may be done, or come to be done. */
export function mayBeDone(error: unknown): boolean {
  return !(error instanceof DocprocError) || error.code === "UNAVAILABLE";
}

/** Asks the catalog; undefined when it cannot be asked. */
export async function isRecorded(metadata: MetadataService, id: string): Promise<boolean | undefined> {
  return await metadata.get(id, AbortSignal.timeout(cleanUpDeadline)).then(
    (record) => record !== undefined,
    () => undefined,
  );
}

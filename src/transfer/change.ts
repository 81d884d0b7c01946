/** Changes a record that other commands may be changing as well. */
import { isDeepStrictEqual } from "node:util";
import { DocprocError } from "../core/errors.ts";
import { cleanUpSignal, pause } from "../core/retry.ts";
import type { DocumentRecord } from "../document/record.ts";
import { mayHaveSucceeded, outcomeUnknown } from "../metadata/commit-outcome.ts";
import type { Changes, MetadataService } from "../metadata/service.ts";

/** Retries while others change the same record. */
const attempts = 5;

/** Wanted values; undefined ones stay. */
export type Wanted = { readonly [Field in keyof Changes]?: Changes[Field] | undefined };

export interface ChangedRecord {
  readonly record: DocumentRecord;
  /** False when it had all the values already. */
  readonly changed: boolean;
}

/**
 * Changes fields of a record atomically; other fields stay, including concurrent changes by others.
 * @param edit the wanted values, from the record as it is
 * @throws NOT_FOUND when it is gone; CONFLICT, with nothing changed, when others keep changing it; the errors of `edit`
 */
export async function changeRecord(
  metadata: MetadataService,
  found: DocumentRecord,
  edit: (record: DocumentRecord) => Wanted,
  signal: AbortSignal,
): Promise<ChangedRecord> {
  const { id } = found;
  let record: DocumentRecord | undefined = found;
  for (let attempt = 1; record !== undefined; attempt++) {
    const changes = differing(record, edit(record));
    if (Object.keys(changes).length === 0) return { record, changed: false };
    const done = await metadata.update(record, changes, signal).catch(async (error: unknown) => {
      // The response may have been lost after success: ask the catalog.
      if (!mayHaveSucceeded(error)) throw error;
      const now = await metadata.get(id, cleanUpSignal(signal)).catch(() => undefined);
      if (now !== undefined && Object.keys(differing(now.record, changes)).length === 0) return true;
      throw outcomeUnknown(error, `whether ${id} was changed`);
    });
    if (done) return { record: { ...record, ...changes }, changed: true };
    if (attempt === attempts) {
      throw new DocprocError("CONFLICT", `Other commands changed ${id} ${attempts} times meanwhile.`, {
        hint: "Nothing was changed. Run the same command again.",
      });
    }
    await pause(attempt, signal);
    record = (await metadata.get(id, signal))?.record;
  }
  throw new DocprocError("NOT_FOUND", `The document ${id} no longer exists.`);
}

/** The changes that make a difference; undefined values make none. */
export function differing(record: DocumentRecord, changes: Wanted): Changes {
  const all = Object.entries(changes) as [keyof Changes, unknown][];
  return Object.fromEntries(
    all.filter(([field, value]) => value !== undefined && !isSame(record[field], value)),
  ) as Changes;
}

/** Maps may have no prototype. */
function isSame(one: unknown, other: unknown): boolean {
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) return one === other;
  return isDeepStrictEqual({ ...one }, { ...other });
}

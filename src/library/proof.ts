/** Whether the SHA-256 of a record was computed from its bytes, or comes unverified from an imported file. */

import { DocprocError } from "../core/errors.ts";
import { pause } from "../core/retry.ts";
import { identityOf } from "../document/identity.ts";
import type { DocumentRecord } from "../document/record.ts";
import { apart, type MetadataService } from "../metadata/service.ts";

/** How often others may change the tags of a document meanwhile. */
const attempts = 5;

/** False for a record that was imported and whose bytes were not read since. */
export async function isProved(
  metadata: MetadataService,
  record: DocumentRecord,
  signal: AbortSignal,
): Promise<boolean> {
  const identity = identityOf(record);
  for (const claim of [identity, apart(identity, record.id)]) {
    if ((await metadata.holder(record.name, claim, signal)) === record.id) return true;
  }
  return false;
}

/**
 * Remembers that the bytes of a record are those that it says, so that an upload of the same document finds it.
 * @param record whose bytes were read and hashed. Of one that is gone by now nothing is remembered
 * @throws CONFLICT when others change its tags all the time
 */
export async function markProved(
  metadata: MetadataService,
  record: DocumentRecord,
  signal: AbortSignal,
): Promise<void> {
  let now: DocumentRecord | undefined = record;
  for (let attempt = 1; now !== undefined; attempt++) {
    if (await metadata.prove(now, identityOf(now), signal)) return;
    if (attempt === attempts) {
      throw new DocprocError("CONFLICT", `The tags of ${record.id} were changed by others, ${attempts} times over.`, {
        hint: "Run the same command again.",
      });
    }
    await pause(attempt, signal);
    now = await metadata.get(record.id, signal);
  }
}

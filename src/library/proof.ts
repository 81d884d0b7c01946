/** Whether the SHA-256 of a record was computed from its bytes, or comes unverified from an imported file. */

import { DocprocError } from "../core/errors.ts";
import { pause } from "../core/retry.ts";
import { identityOf } from "../document/identity.ts";
import type { DocumentRecord } from "../document/record.ts";
import { apart } from "../metadata/service.ts";
import { bytesOf } from "./documents.ts";
import type { Services } from "./services.ts";

/** Retries while others change the tags of a document. */
const attempts = 5;

/** False for an imported record whose bytes were not read since. */
export async function isProved(services: Services, record: DocumentRecord, signal: AbortSignal): Promise<boolean> {
  const metadata = await services.metadata();
  const identity = identityOf(record);
  for (const claim of [identity, apart(identity, record.id)]) {
    if ((await metadata.holder(record.name, claim, signal)) === record.id) return true;
  }
  return false;
}

/**
 * Verifies the bytes of a record and records that, so that an upload of the same document finds it. Does nothing for a
 * record that is gone by then.
 * @param onProgress called with the bytes newly read
 * @throws INTEGRITY, NOT_FOUND when the bytes differ or are gone; CONFLICT when others keep changing its tags
 */
export async function prove(
  services: Services,
  record: DocumentRecord,
  signal: AbortSignal,
  onProgress: (bytes: number) => void,
): Promise<void> {
  const metadata = await services.metadata();
  for await (const chunk of bytesOf(services, record, signal)) onProgress(chunk.byteLength);
  let now: DocumentRecord | undefined = record;
  for (let attempt = 1; now !== undefined; attempt++) {
    if (await metadata.prove(now, identityOf(now), signal)) return;
    if (attempt === attempts) {
      throw new DocprocError(
        "CONFLICT",
        `Other commands changed the tags of ${record.id} ${attempts} times meanwhile.`,
        {
          hint: "Run the same command again.",
        },
      );
    }
    await pause(attempt, signal);
    now = await metadata.get(record.id, signal);
  }
}

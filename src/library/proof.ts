/** Whether the SHA-256 of a record was computed from its bytes, or comes unverified from an imported file. */

import { DocprocError } from "../core/errors.ts";
import { pause } from "../core/retry.ts";
import { identityOf } from "../document/identity.ts";
import type { DocumentRecord } from "../document/record.ts";
import { apart } from "../metadata/service.ts";
import { bytesOf } from "./documents.ts";
import type { Services } from "./services.ts";

/** How often others may change the tags of a document meanwhile. */
const attempts = 5;

/** False for a record that was imported and whose bytes were not read since. */
export async function isProved(services: Services, record: DocumentRecord, signal: AbortSignal): Promise<boolean> {
  const metadata = await services.metadata();
  const identity = identityOf(record);
  for (const claim of [identity, apart(identity, record.id)]) {
    if ((await metadata.holder(record.name, claim, signal)) === record.id) return true;
  }
  return false;
}

/**
 * Reads the bytes of a record, and remembers that they are those that it says, so that an upload of the same document
 * finds it. Of a record that is gone by then nothing is remembered.
 * @param onProgress called with the number of bytes newly read
 * @throws INTEGRITY, NOT_FOUND when they are others or gone; CONFLICT when others change its tags all the time
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
      throw new DocprocError("CONFLICT", `The tags of ${record.id} were changed by others, ${attempts} times over.`, {
        hint: "Run the same command again.",
      });
    }
    await pause(attempt, signal);
    now = await metadata.get(record.id, signal);
  }
}

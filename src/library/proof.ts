/** Whether the SHA-256 of a record was computed from its bytes, or comes unverified from an imported file. */

import type { Entry } from "../metadata/service.ts";
import { bytesOf } from "./documents.ts";
import type { Services } from "./services.ts";

/**
 * Verifies the bytes of an entry that was only imported, and records that, so that an upload of the same document finds
 * it. Does nothing for one that is proved, or gone by then.
 * @param onProgress called with the bytes newly read
 * @throws INTEGRITY, NOT_FOUND when the bytes differ or are gone
 */
export async function prove(
  services: Services,
  { record, proved }: Entry,
  signal: AbortSignal,
  onProgress: (bytes: number) => void,
): Promise<void> {
  if (proved) return;
  for await (const chunk of bytesOf(services, record, signal)) onProgress(chunk.byteLength);
  await recordProof(services, record.id, signal);
}

/** Records that the bytes of a document were just verified. */
export async function recordProof(services: Services, id: string, signal: AbortSignal): Promise<void> {
  await (await services.metadata()).prove(id, signal);
}

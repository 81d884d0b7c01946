/** Checks that a stored document equals what was uploaded. Damage is reported, never repaired or removed. */

import type { DocumentRecord } from "../document/record.ts";
import type { StoredObject } from "../storage/service.ts";
import { howToRestore } from "../transfer/reader.ts";
import { type DamageCode, examine } from "../transfer/stored.ts";
import { keyIfHere } from "./documents.ts";
import type { Services } from "./services.ts";

export interface DocumentDamage {
  readonly code: DamageCode;
  readonly id: string;
  readonly path: string;
  readonly uri: string;
  readonly message: string;
  /** The fix. */
  readonly fix: string;
}

export interface VerifyRequest {
  /** Read and hash it; otherwise compare only size and checksum from the storage. */
  readonly deep: boolean;
  readonly signal: AbortSignal;
  /** Called with the bytes newly read. */
  readonly onProgress?: (bytes: number) => void;
  /** Called with the storage's facts about it, if any. */
  readonly onStored?: (stored: StoredObject) => void;
}

/**
 * Checks one document.
 * @returns undefined when it is sound
 * @throws what prevents the check: no permission, no connection
 */
export async function verifyDocument(
  services: Services,
  record: DocumentRecord,
  { deep, signal, onProgress, onStored }: VerifyRequest,
): Promise<DocumentDamage | undefined> {
  const { id, path, uri } = record;
  const [storage, key] = await Promise.all([services.storage(), keyIfHere(services, record, signal)]);
  const damage = (code: DamageCode, message: string): DocumentDamage => ({
    code,
    id,
    path,
    uri,
    message,
    fix: howToRestore(record),
  });
  if (key === undefined) return damage("MISSING", `Its bytes are not in ${storage.uri("")} but in ${uri}.`);
  const { retries } = services;
  const found = await examine({ storage, key, record, retries, deep, signal, onProgress });
  if (found.stored) onStored?.(found.stored);
  return found.damage && damage(found.damage.code, found.damage.message);
}

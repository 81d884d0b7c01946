/** Checks that a stored document equals what was uploaded. Damage is reported, never repaired or removed. */

import { DocprocError } from "../core/errors.ts";
import type { DocumentRecord } from "../document/record.ts";
import type { StoredObject } from "../storage/service.ts";
import { bytesOf, statDocument } from "./documents.ts";
import type { Services } from "./services.ts";

export interface DocumentDamage {
  readonly code: "MISSING" | "WRONG_SIZE" | "WRONG_CHECKSUM" | "WRONG_BYTES";
  readonly id: string;
  readonly name: string;
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
  const { id, name, uri } = record;
  const damage = (code: DocumentDamage["code"], message: string): DocumentDamage => ({
    code,
    id,
    name,
    uri,
    message,
    fix,
  });
  try {
    const stored = await statDocument(services, record, signal);
    if (stored) onStored?.(stored);
    if (stored === undefined) return damage("MISSING", "Its bytes are missing.");
    if (stored.size !== record.size) {
      return damage("WRONG_SIZE", `It has ${stored.size} bytes instead of ${record.size}.`);
    }
    if (stored.crc32 !== null && record.crc32 !== null && stored.crc32 !== Number.parseInt(record.crc32, 16)) {
      return damage("WRONG_CHECKSUM", "Its stored checksum has changed since the upload.");
    }
    if (deep) for await (const chunk of bytesOf(services, record, signal)) onProgress?.(chunk.byteLength);
    return undefined;
  } catch (error) {
    if (!(error instanceof DocprocError)) throw error;
    if (error.code === "NOT_FOUND") return damage("MISSING", error.message);
    if (error.code === "INTEGRITY") return damage("WRONG_BYTES", error.message);
    throw error;
  }
}

const fix = "Upload the file again with --on-duplicate store, then delete this document by id.";

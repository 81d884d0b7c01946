/**
 * Puts the bytes of a recorded document back under its own key, when they are gone or wrong. Sound bytes are never
 * overwritten: the storage replaces only the damaged object that was looked at.
 */
import { reached } from "../core/crash-points.ts";
import { DocprocError, throwIfCancelled, toDocprocError } from "../core/errors.ts";
import { cleanUpSignal } from "../core/retry.ts";
import { type DocumentRecord, idOfKey } from "../document/record.ts";
import type { Marks } from "../metadata/marks.ts";
import type { MetadataService } from "../metadata/service.ts";
import type { PutOptions, PutResult, StorageService, StoredObject } from "../storage/service.ts";
import { examine, placeOfBytes } from "./stored.ts";

export interface RestoreContext {
  readonly storage: StorageService;
  readonly metadata: MetadataService;
  readonly marks: Marks;
  /** Of the library's storage keys. */
  readonly prefix: string;
  /** Attempts to resume reading after a broken connection that brought next to nothing. */
  readonly retries: number;
}

/** Stores bytes under a key, which may hold a damaged object: see {@link PutOptions.replaces}. */
export type Send = (key: string, options: Pick<PutOptions, "replaces" | "catalog" | "owns">) => Promise<PutResult>;

/**
 * - `sound`: they are what the record says;
 * - `restored`: they were put back;
 * - `damaged`: they were not put back, because `send` is undefined;
 * - `foreign`: they are damaged, and docproc did not store them for this catalog;
 * - `gone`: the document was deleted meanwhile.
 */
export type BytesState =
  | { readonly state: "sound" | "damaged" | "foreign" | "gone"; readonly bytesSent: 0 }
  | { readonly state: "restored"; readonly bytesSent: number };

/** Attempts while others restore or damage the same object. */
const attempts = 3;

/**
 * Looks at the bytes of a document and restores them if needed.
 * @param send sends the right bytes; undefined: only look
 * @param deep read the bytes: their size and stored checksum are no proof enough
 * @throws CONFLICT when others keep changing the object, and the errors of `send`
 */
export async function restoreBytes(
  { storage, metadata, marks, prefix, retries }: RestoreContext,
  record: DocumentRecord,
  send: Send | undefined,
  deep: boolean,
  signal: AbortSignal,
): Promise<BytesState> {
  const { id } = record;
  const key = await placeOfBytes(storage, prefix, record, signal);
  // Their storage is another one than the configured one.
  if (key === undefined) return { state: "foreign", bytesSent: 0 };
  for (let attempt = 1; ; attempt++) {
    const { stored, damage } = await examine({ storage, key, record, retries, deep, signal });
    if (damage === undefined) return { state: "sound", bytesSent: 0 };
    if (idOfKey(key, prefix) !== id || (await isForeign(stored, marks, signal))) {
      return { state: "foreign", bytesSent: 0 };
    }
    if (send === undefined) return { state: "damaged", bytesSent: 0 };
    const replaces = stored ?? null;
    const catalog = await marks.catalog(signal);
    const owns = async (other: string) => (await marks.ownerOf(other, signal)) !== "other";
    try {
      const { bytesSent } = await send(key, { replaces, catalog, owns });
      reached("bytes-restored");
      if (await metadata.get(id, signal)) return { state: "restored", bytesSent };
    } catch (error) {
      // Another process restored it, or changed it again: look once more.
      if (toDocprocError(error).code !== "CONFLICT" || attempt === attempts) throw error;
      throwIfCancelled(signal);
      continue;
    }
    // Deleted meanwhile. If this fails, the object is only garbage.
    await storage.remove(key, cleanUpSignal(signal)).catch(() => {});
    return { state: "gone", bytesSent: 0 };
  }
}

async function isForeign(stored: StoredObject | undefined, marks: Marks, signal: AbortSignal): Promise<boolean> {
  return stored !== undefined && (await marks.ownerOf(stored.catalog, signal)) === "other";
}

/** A document whose bytes docproc may not put back. */
export function notRestorable({ id, path, uri }: DocumentRecord): DocprocError {
  return new DocprocError("CONFLICT", `The bytes of ${path} (${id}) were not stored by this library: ${uri}`, {
    hint: "Nothing was changed. Store the object again at this address, or upload the file as a new document.",
  });
}

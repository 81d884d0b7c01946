/** The bytes of a recorded document: under which key they are, and whether they are what the record says. */
import { DocprocError } from "../core/errors.ts";
import { type DocumentRecord, idOfKey, storageKey } from "../document/record.ts";
import type { StorageService, StoredObject } from "../storage/service.ts";
import { readDocument } from "./reader.ts";

/**
 * The storage key of a document, whether there are bytes or not; undefined when they are in another storage.
 * @param prefix of the library's keys
 */
export async function keyOfRecord(
  storage: StorageService,
  prefix: string,
  { id, name, uri }: DocumentRecord,
  signal: AbortSignal,
): Promise<string | undefined> {
  const base = storage.uri("");
  if (uri.startsWith(base)) return uri.slice(base.length);
  // The whole library was moved: its records still have the old address.
  const key = storageKey(prefix, id, name);
  return (await storage.stat(key, signal)) ? key : undefined;
}

/**
 * Where the bytes of a document belong in this storage: under its key if it has one there, else under the key that it
 * would get, if the library was moved here with others of the same kind.
 */
export async function placeOfBytes(
  storage: StorageService,
  prefix: string,
  record: DocumentRecord,
  signal: AbortSignal,
): Promise<string | undefined> {
  const key = await keyOfRecord(storage, prefix, record, signal);
  if (key !== undefined) return key;
  const { id, name, uri } = record;
  const wasStored = uri.startsWith(`${storage.traits.scheme}://`) && idOfKey(uri, undefined) === id;
  return wasStored ? storageKey(prefix, id, name) : undefined;
}

export type DamageCode = "MISSING" | "WRONG_SIZE" | "WRONG_CHECKSUM" | "WRONG_BYTES";

/** What was found where a document's bytes should be. */
export interface Examined {
  /** The storage's facts; undefined when nothing is stored there. */
  readonly stored: StoredObject | undefined;
  /** Undefined when the bytes are sound. */
  readonly damage: { readonly code: DamageCode; readonly message: string } | undefined;
}

export interface Examination {
  readonly storage: StorageService;
  readonly key: string;
  readonly record: DocumentRecord;
  /** Attempts to resume reading after a broken connection that brought next to nothing. */
  readonly retries: number;
  /** Read and hash the bytes in any case. */
  readonly deep: boolean;
  readonly signal: AbortSignal;
  /** Called with the bytes newly read. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

/**
 * Compares the stored object with the record: its size, and its checksum if the storage keeps one. Where that proves
 * nothing, because something wrote to the object after it was stored or its checksum or mark is gone, the bytes are
 * read.
 * @throws what prevents the look: no permission, no connection
 */
export async function examine(examination: Examination): Promise<Examined> {
  const { storage, key, record, deep, signal, onProgress } = examination;
  const stored = await storage.stat(key, signal);
  const found = (code: DamageCode, message: string): Examined => ({ stored, damage: { code, message } });
  if (stored === undefined) return found("MISSING", "Its bytes are missing.");
  if (stored.size !== record.size) {
    return found("WRONG_SIZE", `It has ${stored.size} bytes instead of ${record.size}.`);
  }
  const expected = record.crc32 === null ? null : Number.parseInt(record.crc32, 16);
  if (stored.crc32 !== null && expected !== null && stored.crc32 !== expected) {
    return found("WRONG_CHECKSUM", "Its stored checksum has changed since the upload.");
  }
  if (!deep && isProof(stored, record)) return { stored, damage: undefined };
  try {
    for await (const chunk of readDocument(examination)) onProgress?.(chunk.byteLength);
    return { stored, damage: undefined };
  } catch (error) {
    if (!(error instanceof DocprocError)) throw error;
    if (error.code === "NOT_FOUND") return found("MISSING", error.message);
    if (error.code === "INTEGRITY") return found("WRONG_BYTES", error.message);
    throw error;
  }
}

/** Whether an object of the right size, without a wrong checksum, needs no closer look. */
function isProof({ touched, crc32, catalog }: StoredObject, { crc32: expected, source }: DocumentRecord): boolean {
  if (touched === true) return false;
  if (expected !== null) return crc32 !== null;
  // Without checksums: what another program stored in place of it has no mark. Registered objects never had one.
  return catalog !== null || source.kind === "register";
}

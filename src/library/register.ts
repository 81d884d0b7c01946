/**
 * Registers an object that someone else stored. It reads the object once, because only its bytes prove its hash: most
 * servers keep no checksum of the whole object, and an endpoint's claims prove nothing.
 */
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { v7 } from "uuid";
import { crc32Digits } from "../core/crc32.ts";
import { DocprocError, throwIfCancelled } from "../core/errors.ts";
import { detectedType } from "../document/detected-type.ts";
import { documentPath, nameOfPath } from "../document/path.ts";
import {
  canonicalJson,
  contentType,
  type DocumentRecord,
  idOfKey,
  isUnambiguousKey,
  type TextMap,
  uploadTimeOfId,
} from "../document/record.ts";
import type { Entry } from "../metadata/service.ts";
import type { ObjectOrigin, StorageService, StoredObject } from "../storage/service.ts";
import { type ObjectReading, readStored } from "../transfer/reader.ts";
import { recordStored } from "./documents.ts";
import { storageFlags } from "./hints.ts";
import { prove } from "./proof.ts";
import type { Services } from "./services.ts";
import { verifyDocument } from "./verify.ts";

export interface RegisterRequest {
  /** See `documentPath`; default: the last segment of the key. */
  readonly path: string | undefined;
  /** Default: the object's own type, or one detected from its first bytes. */
  readonly contentType: string | undefined;
  readonly tags: TextMap;
  readonly documentMetadata: TextMap;
  readonly onDuplicate: "reuse" | "store";
  readonly signal: AbortSignal;
  /** Called with the object's size in bytes before it is read; returns the callback for bytes read. */
  readonly onBegin: (size: number) => (bytes: number) => void;
}

export type RegisteredDocument = DocumentRecord & { readonly action: "registered" | "unchanged" };

/**
 * Registers an object, or finds its document: the same content of the same object has the same id, which also contains
 * its storage time.
 * @param uri `s3://bucket/key`, in the configured storage
 * @throws USAGE for any other address, or one of docproc's own keys; NOT_FOUND when there is no object; CONFLICT when
 *   it is registered under another name or with other tags; INTEGRITY when it changed while it was read
 */
export async function registerObject(
  uri: string,
  services: Services,
  request: RegisterRequest,
): Promise<RegisteredDocument> {
  const { tags, onDuplicate, signal } = request;
  const [storage, metadata] = await Promise.all([services.storage(), services.metadata()]);
  const key = keyOf(uri, storage);
  const ownId = idOfKey(key, undefined);
  if (ownId !== undefined) return await uploadedBefore(ownId, uri, services, request);
  const before = await find(key, uri, storage, signal);
  const path = documentPath(request.path ?? nameOfPath(key));
  const id = idOf(uri, before);
  const known = await metadata.get(id, signal);
  // The id proves that the content is the same, so it is not read again.
  if (known) return await proved(asRegistered(known, uri, path, tags), services, request);
  const reading = { storage, key, size: before.size, retries: services.retries, signal };
  const read = await readObject(reading, request.onBegin(before.size));
  if (!isSame(before, await find(key, uri, storage, signal))) throw changed(uri);
  if (before.crc32 !== null && before.crc32 !== read.crc32) {
    throw new DocprocError("INTEGRITY", `The stored checksum of ${uri} does not match its bytes.`, {
      hint: "Nothing was recorded. Store it again.",
    });
  }
  const record: DocumentRecord = {
    id,
    path,
    name: nameOfPath(path),
    size: before.size,
    contentType: await typeOf(nameOfPath(path), before.origin, read.head, request),
    sha256: read.sha256,
    uploadedAt: uploadTimeOfId(id),
    uri,
    tags,
    metadata: request.documentMetadata,
    source: { kind: "register", path: uri, modifiedAt: new Date(before.origin.storedAt).toISOString() },
    provenance: null,
    crc32: crc32Digits(before.crc32),
    expiresAt: null,
  };
  const entry = { record, given: tags, proved: true };
  const winner = await recordStored(services, entry, { key, onDuplicate, signal });
  if (winner.id === id) return { ...winner, action: "registered" };
  // Another document has the same bytes: it is an answer only if they are really there.
  const damage = await verifyDocument(services, winner, { deep: false, signal });
  if (damage === undefined) return { ...winner, action: "unchanged" };
  return { ...(await recordStored(services, entry, { key, onDuplicate: "store", signal })), action: "registered" };
}

/** @throws INTEGRITY when the record was imported and the object's bytes differ */
async function proved(
  entry: Entry,
  services: Services,
  { signal, onBegin }: RegisterRequest,
): Promise<RegisteredDocument> {
  const { record } = entry;
  if (!entry.proved) await prove(services, entry, signal, onBegin(record.size));
  return { ...record, action: "unchanged" };
}

/** @throws CONFLICT when the object is registered under another path or with other tags */
function asRegistered(known: Entry, uri: string, path: string, tags: TextMap): Entry {
  const { record, given } = known;
  const same = record.path === path && canonicalJson(given) === canonicalJson(tags);
  if (same && record.uri === uri) return known;
  throw new DocprocError("CONFLICT", `${uri} is already registered as ${record.path} with the id ${record.id}.`, {
    hint: "To register it again, delete that record with docproc delete; the object stays.",
  });
}

/** An object that docproc uploaded. Without a record it may be an upload under way, or garbage. */
async function uploadedBefore(
  id: string,
  uri: string,
  services: Services,
  request: RegisterRequest,
): Promise<RegisteredDocument> {
  const { signal } = request;
  const entry = await (await services.metadata()).get(id, signal);
  if (entry?.record.uri === uri) {
    const damage = await verifyDocument(services, entry.record, { deep: false, signal });
    if (damage === undefined) return await proved(entry, services, request);
    const code = damage.code === "MISSING" ? "NOT_FOUND" : "INTEGRITY";
    throw new DocprocError(code, `${uri}: ${damage.message}`, { hint: damage.fix });
  }
  throw new DocprocError("USAGE", `${uri} was stored by docproc, but no document here has it.`, {
    hint: "Restore the records of a lost catalog with docproc import; docproc doctor lists objects without a record.",
  });
}

/** An object in a shared storage. */
type Registrable = StoredObject & { readonly origin: ObjectOrigin };

async function find(key: string, uri: string, storage: StorageService, signal: AbortSignal): Promise<Registrable> {
  const found = await storage.stat(key, signal);
  if (found?.origin) return { ...found, origin: found.origin };
  if (found) throw notHere(uri, storage);
  throw new DocprocError("NOT_FOUND", `The object ${uri} does not exist.`, { hint: "Check the key with aws s3 ls." });
}

/** S3 URIs are not escaped, so keys are used verbatim. */
function keyOf(uri: string, storage: StorageService): string {
  const base = storage.uri("");
  if (!storage.traits.shared) throw notHere(uri, storage);
  if (!uri.startsWith(`${storage.traits.scheme}://`)) {
    throw new DocprocError("USAGE", `${JSON.stringify(uri)} is not an object address such as ${base}KEY.`, {
      hint: "To store a file, use docproc upload.",
    });
  }
  if (!uri.startsWith(base) || uri === base) throw notHere(uri, storage);
  const key = uri.slice(base.length);
  if (isUnambiguousKey(key)) return key;
  throw new DocprocError("USAGE", `${JSON.stringify(uri)} has a segment . or .., which some servers resolve.`, {
    hint: "Copy the object to another key and register that.",
  });
}

function notHere(uri: string, storage: StorageService): DocprocError {
  const flags = storageFlags(({ traits }) => traits.shared);
  return new DocprocError("USAGE", `${uri} cannot be registered here: documents are kept in ${storage.uri("")}`, {
    hint: storage.traits.shared
      ? `Name an object of this storage, or choose another one with ${flags}.`
      : `No other program stores objects here. Choose a storage with ${flags}, or upload the file with docproc upload.`,
  });
}

/** Equal for the same content of the same object, and sorted by storage time. */
function idOf(uri: string, { size, origin }: Registrable): string {
  const random = createHash("sha256")
    .update(JSON.stringify([uri, origin.etag, size]))
    .digest();
  return v7({ msecs: origin.storedAt, random });
}

function isSame(one: Registrable, other: Registrable): boolean {
  const facts = ({ size, origin }: Registrable) => [size, origin.etag, origin.storedAt].join();
  return facts(one) === facts(other);
}

/** Leading bytes for type detection. */
const headSize = 4_100;

async function readObject(reading: ObjectReading, onProgress: (bytes: number) => void) {
  const { storage, key, size, signal } = reading;
  const digest = createHash("sha256");
  let checksum = 0;
  let length = 0;
  let head = Buffer.alloc(0);
  for await (const chunk of readStored(reading)) {
    throwIfCancelled(signal);
    digest.update(chunk);
    checksum = crc32(chunk, checksum);
    length += chunk.byteLength;
    if (head.length < headSize) head = Buffer.concat([head, chunk.subarray(0, headSize - head.length)]);
    // Too many bytes are an error already, and might never end.
    if (length > size) break;
    onProgress(chunk.byteLength);
  }
  if (length !== size) throw changed(storage.uri(key));
  return { sha256: digest.digest("hex"), crc32: checksum, head };
}

/** S3's types for objects stored without one. */
const untyped: ReadonlySet<string> = new Set(["binary/octet-stream", "application/octet-stream"]);

async function typeOf(name: string, origin: ObjectOrigin, head: Buffer, request: RegisterRequest): Promise<string> {
  if (request.contentType !== undefined) return request.contentType;
  if (origin.contentType !== null && !untyped.has(origin.contentType)) {
    try {
      return contentType(origin.contentType);
    } catch {
      // The object has an invalid type.
    }
  }
  return await detectedType(name, head);
}

function changed(uri: string): DocprocError {
  return new DocprocError("INTEGRITY", `${uri} changed while it was being read.`, {
    hint: "Nothing was recorded. Register it again when no program writes to it.",
  });
}

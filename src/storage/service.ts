/**
 * The contract for where bytes are kept. Drivers: local/, s3/; registry.ts lists them.
 *
 * Everything thrown is a DocprocError; a vendor's error is only ever its cause.
 * The promises below are what test/storage/conformance.test.ts asks of every driver.
 */
import type { Driver } from "../core/driver.ts";
import type { ForeignEntry, Leftover } from "../core/leftover.ts";

export interface StorageService {
  /** Where kinds of storage differ; nothing else of them is ever asked. */
  readonly traits: StorageTraits;

  /**
   * Stores an object under a key that has never been used.
   *
   * On success the whole object is durable and visible. On any failure or abort nothing is visible under the
   * key and, where the service can be reached, nothing is left behind; except with a checkpoint, when what is
   * stored after a failure of {@link mayGoOn} waits for a later put of the same key. An existing object is never
   * overwritten: `CONFLICT`. An error thrown by `body` is thrown on as it is.
   */
  put(key: string, body: Body, options: PutOptions): Promise<PutResult>;

  /**
   * Opens an object for reading, `range` in bytes with both ends included.
   * Rejects with `NOT_FOUND` before a stream exists. The stream ends after the last byte or throws `UNAVAILABLE`.
   */
  open(key: string, options: OpenOptions): Promise<AsyncIterable<Uint8Array>>;

  /** The facts about an object, or undefined: absence is an answer. */
  stat(key: string, signal: AbortSignal): Promise<StoredObject | undefined>;

  /**
   * Every object whose key starts with `prefix`, once each, in no particular order, any number of pages,
   * lazily. A prefix without objects is an empty list.
   */
  list(prefix: string, signal: AbortSignal): AsyncIterable<ListedObject>;

  /**
   * What puts that were cut short left under keys that start with `prefix`, lazily, puts under way included. What others
   * put among it is named, and cannot be discarded.
   */
  leftovers(prefix: string, signal: AbortSignal): AsyncIterable<Leftover | ForeignEntry>;

  /**
   * Removes an object of a key that `storageKey` made. Removing what is not there succeeds; where something else has
   * the name, it may be left: `CONFLICT`.
   */
  remove(key: string, signal: AbortSignal): Promise<void>;

  /**
   * Signs a request that anybody may send until it expires, without credentials of their own. A GET answers with the
   * object, under a name and a type. A PUT stores it, whole, and can store nothing but the bytes of that SHA-256, and
   * those only while nothing is stored under the key.
   * @throws USAGE where requests cannot be signed, or the service would not hold a PUT to that; NOT_FOUND for a GET
   *   of what is not there, CONFLICT for a PUT of what is
   */
  sign(key: string, request: RequestToSign): Promise<SignedRequest>;

  /** The address of a key, `s3://bucket/key` or `file:///…`: that of the empty key and the key behind it. */
  uri(key: string): string;

  /** Frees connections. May be called twice; nothing works afterwards. */
  close(): Promise<void>;
}

export interface StorageTraits {
  /** True where a put with a checkpoint can go on from where an earlier one stopped. */
  readonly resumes: boolean;
  /** Ranges of one object worth reading at a time; 1 where a single stream is as fast. */
  readonly rangesInFlight: number;
  /** True where other catalogs may keep their objects beside ours. */
  readonly shared: boolean;
  /** True where a checksum of each object is kept, if the endpoint is a good one. */
  readonly checksums: boolean;
  /** True where requests can be signed. */
  readonly signs: boolean;
  /** What every address of a key begins with, before `://`. */
  readonly scheme: string;
}

/** The bytes of a put, read once from the beginning to the end. */
export interface Body {
  /** All of them, where they are in memory. */
  readonly bytes?: Buffer;
  /**
   * Fills `into` with the next bytes: with fewer only at the end, with none behind it. May be called again before it
   * resolves; the calls are served in turn, and the memory has to stay as it is until then. Memory that threads share
   * (see `sharedMemory`) is hashed without a copy. Throws what is wrong with the source.
   */
  read(into: Uint8Array): Promise<Piece>;
  /** Starts from the beginning again; false where that cannot be done. */
  rewind(): Promise<boolean>;
}

/** What was read at a time. */
export interface Piece {
  /** Bytes. */
  readonly length: number;
  /** SHA-256 of the body up to the end of this piece, 64 hex digits. */
  readonly sha256: string;
  /** Of this piece. */
  readonly crc32: number;
}

export interface PutOptions {
  /** Bytes of the body, or null when nobody knows before its end. */
  readonly size: number | null;
  readonly contentType: string;
  /** The catalog that the object will belong to, see `MetadataService.catalog`. */
  readonly catalog: string;
  /** Whether the objects of another catalog are this one's, too; without it those of none are. */
  readonly owns?: (catalog: string) => Promise<boolean>;
  readonly signal: AbortSignal;
  /** Called with the number of bytes newly on their way; the sum may end below the size, never above. */
  readonly onProgress?: (bytes: number) => void;
  /** Called with the number of bytes that are stored since an earlier put, and not sent again. */
  readonly onSkipped?: (bytes: number) => void;
  /** Where a put remembers how far it has come. Without one it starts from nothing. */
  readonly checkpoint?: Checkpoint;
}

/** The memory of a put that is sent in parts. What is written survives a crash of the process or of the machine. */
export interface Checkpoint {
  /** What an earlier put began, or undefined. */
  readonly begun: BegunUpload | undefined;
  /** The part of this number that an earlier put stored, or undefined. */
  part(number: number): SavedPart | undefined;
  /** Forgets what was begun and all its parts, and remembers this. */
  begin(upload: BegunUpload): void;
  save(number: number, part: SavedPart): void;
}

export interface BegunUpload {
  /** The service's name for it. */
  readonly uploadId: string;
  /** Bytes of every part but the last. */
  readonly partSize: number;
}

export interface SavedPart {
  /** Bytes. */
  readonly size: number;
  /** SHA-256 of the body from its beginning to the end of this part, hex. */
  readonly sha256: string;
  readonly etag: string;
}

export interface OpenOptions {
  readonly signal: AbortSignal;
  readonly range?: { readonly start: number; readonly end: number };
}

export interface StoredObject {
  /** Bytes. */
  readonly size: number;
  /** CRC-32 of the whole object as the service computed it; null where it computes none. */
  readonly crc32: number | null;
  /** The catalog that the object was stored for; null where nobody can tell. */
  readonly catalog: string | null;
  /** What else is known of it where others store objects, too; undefined elsewhere. */
  readonly origin?: ObjectOrigin;
}

export interface ObjectOrigin {
  readonly contentType: string | null;
  /** Differs from one content of the object to the next. */
  readonly etag: string;
  /** When it was stored, by the service's own clock, in milliseconds since the epoch. */
  readonly storedAt: number;
}

export interface PutResult extends Pick<StoredObject, "size" | "crc32"> {
  /** Bytes that travelled; fewer than `size` when parts of an earlier put were there. */
  readonly bytesSent: number;
}

export interface ListedObject {
  readonly key: string;
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since it was stored, by the service's own clock. */
  readonly age: number;
}

/** A request to be signed, and what its object is to whoever gets it, or has to be when it is put. */
export type RequestToSign = {
  readonly contentType: string;
  /** Milliseconds, whole seconds, at most {@link longestExpiry}. */
  readonly expiresIn: number;
  readonly signal: AbortSignal;
} & (
  | { readonly method: "GET"; readonly name: string }
  | {
      readonly method: "PUT";
      /** Bytes. */
      readonly size: number;
      /** Hex. */
      readonly sha256: string;
      /** See {@link PutOptions.catalog}. */
      readonly catalog: string;
    }
);

/** Milliseconds. https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html (X-Amz-Expires) */
export const longestExpiry = 604_800_000;

export interface SignedRequest {
  readonly url: string;
  /** Have to be sent with it, as they are. */
  readonly headers: Readonly<Record<string, string>>;
  /** By the service's clock. Earlier than was asked for where the credentials that signed it end earlier. */
  readonly expiresAt: Date;
  /** Whose end ends it as well: null for credentials that stay, `unknown` for those that do not say when they end. */
  readonly credentialsExpireAt: Date | "unknown" | null;
}

/** The catalog of an object that was only put to see what an endpoint does with it: nobody's, garbage at any time. */
export const probeCatalog = "docproc-probe";

export type StorageDriver = Driver<StorageService>;

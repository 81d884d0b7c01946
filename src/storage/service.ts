/**
 * The storage contract. Drivers: local/, s3/; registry.ts lists them.
 *
 * Every error is a DocprocError; a vendor's error is only its cause. test/storage/conformance.test.ts tests every
 * promise below against every driver.
 */
import type { Driver } from "../core/driver.ts";
import type { ForeignEntry, Leftover } from "../core/leftover.ts";

export interface StorageService {
  /** The only way callers may tell drivers apart. */
  readonly traits: StorageTraits;

  /**
   * Stores an object under a key that was never used; with {@link PutOptions.replaces}, under one that was.
   *
   * After success the whole object is durable and visible. After a failure or an abort nothing is visible under a key
   * that was never used, and nothing is left behind if the service can be reached. A key that was used is never
   * cleared, since another process may have put its object back: it has the object from before, or the whole new one.
   * With a checkpoint, parts stored before a resumable failure ({@link isResumable}) stay for the next put of the same
   * key.
   * @throws CONFLICT when the key exists, or its object is not the one to be replaced; nothing was changed then.
   *   Errors of `body` pass through unchanged.
   */
  put(key: string, body: Body, options: PutOptions): Promise<PutResult>;

  /**
   * Copies an object to another key of this storage; no byte passes through the network (`bytesSent` 0). The copy is
   * made, proved and left behind like the object of a put.
   * @returns undefined when the copy cannot be made, or not be proved to have the expected bytes: put them instead.
   *   Nothing was changed then.
   * @throws like `put`; INTEGRITY when an object was replaced and the new one proved wrong
   */
  copy(from: string, to: string, options: CopyOptions): Promise<PutResult | undefined>;

  /**
   * Opens an object for reading. `range` counts bytes, both ends included. The stream ends after the last byte or
   * throws `UNAVAILABLE`.
   * @throws NOT_FOUND before a stream exists
   */
  open(key: string, options: OpenOptions): Promise<AsyncIterable<Uint8Array>>;

  /** The facts about an object; undefined when there is none. */
  stat(key: string, signal: AbortSignal): Promise<StoredObject | undefined>;

  /**
   * Lists every object whose key starts with `prefix`, once each, in no particular order, lazily over any number of
   * pages. A prefix without objects is an empty list.
   */
  list(prefix: string, signal: AbortSignal): AsyncIterable<ListedObject>;

  /**
   * Lists what interrupted puts left under keys that start with `prefix`, lazily; puts under way are included. Entries
   * of other programs are named, and cannot be discarded.
   */
  leftovers(prefix: string, signal: AbortSignal): AsyncIterable<Leftover | ForeignEntry>;

  /**
   * Removes the object of a key that `storageKey` made. Idempotent.
   * @throws CONFLICT when something else has that name and is left
   */
  remove(key: string, signal: AbortSignal): Promise<void>;

  /**
   * Signs a request that anyone may send until it expires, without credentials. A GET returns the object under the
   * given name and type. A PUT stores exactly the bytes with that SHA-256, and only if the key is free.
   * @throws USAGE when the driver cannot sign, or the service would not enforce the limits of a PUT; NOT_FOUND for a
   *   GET of a missing object; CONFLICT for a PUT of an existing one
   */
  sign(key: string, request: RequestToSign): Promise<SignedRequest>;

  /** `s3://bucket/key` or `file:///…`; `uri(key) === uri("") + key`. */
  uri(key: string): string;

  /** Frees connections. May be called twice; the service is unusable afterwards. */
  close(): Promise<void>;
}

export interface StorageTraits {
  /** True when a put with a checkpoint resumes an interrupted one. */
  readonly resumes: boolean;
  /** How many ranges of one object to read in parallel; 1 where a single stream is as fast. */
  readonly rangesInFlight: number;
  /** True when other catalogs may keep objects in the same place. */
  readonly shared: boolean;
  /** True when objects have checksums, unless the endpoint keeps none. */
  readonly checksums: boolean;
  /** True when requests can be signed. */
  readonly signs: boolean;
  /** The URI scheme of every key, without `://`. */
  readonly scheme: string;
}

/** The bytes of a put, read once from beginning to end. */
export interface Body {
  /** The whole body, when it is in memory. */
  readonly bytes?: Buffer;
  /**
   * Fills `into` with the next bytes: fewer only at the end, then none. May be called again before it resolves; calls
   * are served in order, and `into` must not change until then. Shared memory (`sharedMemory`) is hashed without a
   * copy. Throws the errors of the source.
   */
  read(into: Uint8Array): Promise<Piece>;
  /** Restarts from the beginning; false when the source cannot. */
  rewind(): Promise<boolean>;
}

/** The result of one read. */
export interface Piece {
  /** Bytes. */
  readonly length: number;
  /** SHA-256 of the body up to the end of this piece, 64 hex digits. */
  readonly sha256: string;
  /** Of this piece alone. */
  readonly crc32: number;
}

export interface PutOptions {
  /** Bytes of the body; null when unknown before its end. */
  readonly size: number | null;
  readonly contentType: string;
  /** The catalog that the object belongs to, see `MetadataService.catalog`. */
  readonly catalog: string;
  /** Whether this catalog owns the objects of another one. Default: it owns only its own. */
  readonly owns?: (catalog: string) => Promise<boolean>;
  /**
   * Set for a key that was used: what `stat` said of its damaged object, which is replaced in one step and only if it is
   * still that one; null when its object is gone. Of several replacements at the same time a local directory may let
   * more than one succeed; each is whole.
   */
  readonly replaces?: StoredObject | null | undefined;
  readonly signal: AbortSignal;
  /** Called with the bytes newly sent; the sum may stay below the size and never exceeds it. */
  readonly onProgress?: (bytes: number) => void;
  /** Called with the bytes that an earlier put stored and this one does not send again. */
  readonly onSkipped?: (bytes: number) => void;
  /** Where a put saves its progress. Without one it starts from zero. */
  readonly checkpoint?: Checkpoint;
}

/** What a copy has to be. */
export interface CopyOptions extends Pick<PutOptions, "contentType" | "catalog" | "owns" | "replaces" | "signal"> {
  /** Bytes. */
  readonly size: number;
  /** Of the whole object; null when unknown. */
  readonly crc32: number | null;
  /** Hex. */
  readonly sha256: string;
}

/** The saved progress of a multipart put. It survives a crash of the process or the machine. */
export interface Checkpoint {
  /** The upload that an earlier put began, if any. */
  readonly begun: BegunUpload | undefined;
  /** The part with this number, if an earlier put stored it. */
  part(number: number): SavedPart | undefined;
  /** Replaces the saved upload and drops its parts. */
  begin(upload: BegunUpload): void;
  save(number: number, part: SavedPart): void;
}

export interface BegunUpload {
  /** The service's id of the upload. */
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
  /** CRC-32 of the whole object as the service computed it; null when it computes none. */
  readonly crc32: number | null;
  /** The catalog that the object was stored for; null when unknown. */
  readonly catalog: string | null;
  /** Names this content of the key; null when the service names none. Never the name of other content. */
  readonly version: string | null;
  /** Whether something wrote to the object after it was stored; null where only the checksum can tell. */
  readonly touched: boolean | null;
  /** Facts about objects that other programs may have stored; only where they can. */
  readonly origin?: ObjectOrigin;
}

export interface ObjectOrigin {
  readonly contentType: string | null;
  /** Changes with the content. */
  readonly etag: string;
  /** Milliseconds since the epoch, by the service's clock. */
  readonly storedAt: number;
}

export interface PutResult extends Pick<StoredObject, "size" | "crc32"> {
  /** Bytes sent; fewer than `size` when the put resumed. */
  readonly bytesSent: number;
}

export interface ListedObject {
  readonly key: string;
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since it was stored, by the service's clock. */
  readonly age: number;
}

/** A request to sign. GET: the name and type that the recipient sees. PUT: what the object must be. */
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
  /** Must be sent unchanged with the request. */
  readonly headers: Readonly<Record<string, string>>;
  /** By the service's clock. Earlier than requested when the credentials expire first. */
  readonly expiresAt: Date;
  /**
   * When the signing credentials, and with them the URL, expire: null for permanent ones, `unknown` if they do not say.
   */
  readonly credentialsExpireAt: Date | "unknown" | null;
}

/** The catalog of objects that only probe an endpoint: garbage at any time. */
export const probeCatalog = "docproc-probe";

export type StorageDriver = Driver<StorageService>;

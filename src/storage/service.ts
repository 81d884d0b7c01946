/**
 * The contract for where bytes are kept. Drivers: local.ts, s3.ts; registry.ts lists them.
 *
 * Everything thrown is a DocprocError; a vendor's error is only ever its cause.
 * The promises below are what test/storage.test.ts asks of every driver.
 */
import type { ProvisionedResource, ProvisionOptions, Settings } from "../settings.ts";

export interface StorageService {
  /**
   * Stores an object under a key that has never been used.
   *
   * On success the whole object is durable and visible. On any failure or abort nothing is visible under the
   * key and, where the service can be reached, nothing is left behind. An existing object is never
   * overwritten: `CONFLICT`. An error thrown by `body` is thrown on as it is.
   */
  put(key: string, body: Body, options: PutOptions): Promise<StoredObject>;

  /**
   * Opens an object for reading, `range` in bytes with both ends included.
   * Rejects with `NOT_FOUND` before a stream exists, never inside it.
   */
  open(key: string, options: OpenOptions): Promise<AsyncIterable<Uint8Array>>;

  /** The facts about an object, or undefined: absence is an answer. */
  stat(key: string, signal: AbortSignal): Promise<StoredObject | undefined>;

  /**
   * Every object whose key starts with `prefix`, once each, in no particular order, any number of pages,
   * lazily. A prefix without objects is an empty list.
   */
  list(prefix: string, signal: AbortSignal): AsyncIterable<ListedObject>;

  /** Removes an object. Removing what is not there succeeds. */
  remove(key: string, signal: AbortSignal): Promise<void>;

  /** The address of a key: `s3://bucket/key` or `file:///…`. */
  uri(key: string): string;

  /** The key of an address made by {@link uri}; undefined for an address in another place. */
  keyOf(uri: string): string | undefined;

  /** Frees connections. May be called twice; nothing works afterwards. */
  close(): Promise<void>;
}

/** Whole in memory, or in pieces that can be read once. */
export type Body = Uint8Array | AsyncIterable<Uint8Array>;

export interface PutOptions {
  /** Bytes of the body, or null when nobody knows before its end. */
  readonly size: number | null;
  readonly contentType: string;
  readonly signal: AbortSignal;
  /** Called with the number of bytes newly on their way; the sum may end below the size, never above. */
  readonly onProgress?: (bytes: number) => void;
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
}

export interface ListedObject {
  readonly key: string;
  /** Bytes. */
  readonly size: number;
  readonly modifiedAt: Date;
}

/** What the registry holds for each kind of storage. */
export interface StorageDriver {
  /** One line for `--help`. */
  readonly summary: string;
  /** @throws INVALID_CONFIG when a setting that the driver needs is missing. Sends nothing. */
  open(settings: Settings): Promise<StorageService>;
  /** Makes and hardens what the driver needs, and says what became of each resource. Idempotent. */
  provision(settings: Settings, options: ProvisionOptions): AsyncIterable<ProvisionedResource>;
}

/**
 * The catalog contract. Drivers: local/, dynamodb/; registry.ts lists them.
 *
 * Documents of one path are its versions, in the order of their ids. Those that were uploaded with the same tags are a
 * series (see `Series`): a document is there if the newest of its series has its bytes.
 *
 * Every error is a DocprocError; a vendor's error is only its cause. A read sees every commit confirmed before it, by
 * any process. test/metadata/conformance.test.ts tests these promises against every driver.
 */

import type { Driver } from "../core/driver.ts";
import type { Series } from "../document/identity.ts";
import type { ListQuery } from "../document/query.ts";
import type { DocumentRecord } from "../document/record.ts";
import type { Entry } from "../document/stored-form.ts";

export type { Entry, Series };

export interface MetadataService {
  /** The only way callers may tell drivers apart. */
  readonly traits: MetadataTraits;

  /**
   * Adds an entry. With `unlessThere` nothing is written if a neighbour in its series, the version before it or after
   * it by id, is proved and has the same SHA-256: the result has that one. So when any number of processes commit the
   * same bytes to one series at once, exactly one succeeds. Committing the same entry again returns its own.
   *
   * After `UNAVAILABLE` the outcome is unknown; after any other failure nothing was written.
   */
  commit(entry: Entry, options: CommitRequest, signal: AbortSignal): Promise<CommitResult>;

  /** The entry exactly as committed; undefined when there is none. */
  get(id: string, signal: AbortSignal): Promise<Entry | undefined>;

  /**
   * What a series has, before a document is uploaded to it.
   * @param sha256 of the document; undefined while unknown, then {@link Standing.twin} is undefined
   */
  lookUp(series: Series, sha256: string | undefined, signal: AbortSignal): Promise<Standing>;

  /** The ids of the documents of a path, newest first, lazily. */
  versions(path: string, signal: AbortSignal): AsyncIterable<string>;

  /**
   * Lists the matching entries by id, newest or oldest first, lazily. One that exists from beginning to end is listed
   * exactly once, whatever is added or removed meanwhile.
   */
  list(query: ListQuery, signal: AbortSignal): AsyncIterable<Entry>;

  /**
   * Removes an entry, and its place among the versions of its path, both or neither. Returns the record, or undefined
   * if there was none. After `UNAVAILABLE` the outcome is unknown; after any other failure nothing was removed.
   */
  remove(id: string, signal: AbortSignal): Promise<DocumentRecord | undefined>;

  /**
   * Changes fields of a record, all or none, if those that may change ({@link Changes}) are still those of `record`.
   * The document stays in its series.
   *
   * After `UNAVAILABLE` the outcome is unknown; after any other failure nothing was written.
   * @returns false when the record is gone or has changed
   */
  update(record: DocumentRecord, changes: Changes, signal: AbortSignal): Promise<boolean>;

  /**
   * Records that the bytes of an entry were read and have its SHA-256.
   *
   * After `UNAVAILABLE` the outcome is unknown; after any other failure nothing was written.
   * @returns false when it is gone
   */
  prove(id: string, signal: AbortSignal): Promise<boolean>;

  /** Lists which document has a place among the versions of which path, in no particular order, lazily. */
  places(signal: AbortSignal): AsyncIterable<Place>;

  /**
   * The permanent id of this catalog, the same for every process. Objects are marked with it.
   * @throws INVALID_CONFIG when another version of docproc wrote the catalog
   */
  catalog(signal: AbortSignal): Promise<string>;

  /** The ids passed to {@link adopt}, each once, in no particular order. */
  adopted(signal: AbortSignal): Promise<readonly string[]>;

  /** Records that a catalog is gone and that its objects now belong to this one. Idempotent. */
  adopt(catalog: string, signal: AbortSignal): Promise<void>;

  /** Frees connections. May be called twice; the service is unusable afterwards. */
  close(): Promise<void>;
}

export interface CommitRequest {
  /** Write nothing if the series has the bytes at this place. */
  readonly unlessThere: boolean;
  /** From {@link MetadataService.lookUp}: it may save a request. */
  readonly seen?: Standing | undefined;
}

export type CommitResult =
  | { readonly committed: true }
  /** The one that is there: with the same id, or the neighbour with the same bytes. */
  | { readonly committed: false; readonly there: Entry };

export interface Standing {
  /** The newest of the series. */
  readonly newest: Entry | undefined;
  /** A proved document of the path with the SHA-256, of any series: its bytes can be copied. The newest, if it is one. */
  readonly twin: Entry | undefined;
  /** The newest id of the path. The id of a new version must sort after it. */
  readonly last: string | undefined;
  /** For the driver. */
  readonly state?: unknown;
}

/** New values of fields of a record that may change. */
export type Changes = Partial<Pick<DocumentRecord, "tags" | "metadata" | "contentType" | "expiresAt">>;

export interface Place {
  readonly id: string;
  readonly path: string;
  /** Frees the place if its document is gone; otherwise does nothing. */
  release(signal: AbortSignal): Promise<void>;
}

export interface MetadataTraits {
  /** True when {@link MetadataService.list} supports {@link ListQuery.sort}. */
  readonly sorts: boolean;
  /** True when reading every record is free of charge. */
  readonly readsFree: boolean;
}

export type MetadataDriver = Driver<MetadataService>;

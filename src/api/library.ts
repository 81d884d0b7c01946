/**
 * The contract of docproc for programs: the same libraries, promises and errors, without a command line.
 * open-library.ts implements it.
 */
import type { Readable } from "node:stream";
import type { DriverOptions, MetadataName, StorageName } from "../config/settings.ts";
import type { DocumentRecord } from "../document/record.ts";

/** Whatever yields bytes, once: a stream of Node or of the web, the body of a request, a generator. */
export type Chunks = AsyncIterable<Uint8Array>;

/**
 * Where the library is, by the names that a config file has. Nothing else decides: no config file is read, and no
 * `DOCPROC_*` variable, unless `config` asks for it. The AWS SDK still reads its own variables and files for
 * credentials, region and endpoint.
 */
export interface LibraryOptions extends DriverOptions {
  /**
   * True reads what the command line would read: `DOCPROC_*` variables, the project's and the user's config file. A
   * path reads this file in place of the project's. The other options stand above both.
   */
  readonly config?: boolean | string | undefined;
  readonly storage?: StorageName | undefined;
  readonly metadata?: MetadataName | undefined;
  /** Put before every key in the storage. */
  readonly prefix?: string | undefined;
  /** Bytes of a part of a multipart upload, or text like `16MiB`. */
  readonly partSize?: number | string | undefined;
  /** Parts sent at a time, of all uploads together. */
  readonly partsInFlight?: number | undefined;
  readonly onDuplicate?: "reuse" | "store" | undefined;
  /** How often to retry after a transient failure. */
  readonly retries?: number | undefined;
  /** A request that makes no progress for this long is aborted: seconds, or text like `2m`. */
  readonly timeout?: number | string | undefined;
  /** Where interrupted uploads of large files are remembered, to resume them. Without it they are not. */
  readonly stateDirectory?: string | undefined;
}

export interface CallOptions {
  /** Ends the call, with `CANCELLED`, or with the signal's reason where that is a DocprocError. */
  readonly signal?: AbortSignal | undefined;
}

export interface UploadOptions extends CallOptions {
  /** The name of the document; of a file it is otherwise that of the file. */
  readonly name?: string | undefined;
  /** Otherwise it is found out from the name and the first bytes. */
  readonly contentType?: string | undefined;
  /** To find it by; part of what makes it the same document. */
  readonly tags?: Readonly<Record<string, string>> | undefined;
  /** To keep with it. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** What to do with the same name, bytes and tags. */
  readonly onDuplicate?: "reuse" | "store" | undefined;
  /** Called with bytes newly on their way. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

export interface UploadedRecord extends DocumentRecord {
  /** `resumed` went on from an upload that was interrupted; `unchanged` was there, and nothing was stored. */
  readonly action: "uploaded" | "resumed" | "unchanged";
  /** Bytes that travelled. */
  readonly bytesSent: number;
}

/** What was removed. */
export interface DeletedRecord extends DocumentRecord {
  /** `kept`: they were not stored for this document by this catalog. */
  readonly bytes: "removed" | "kept";
  /** Why they were kept; more may be added. */
  readonly reason: "registered" | "outside-prefix" | "other-catalog" | "unmarked" | null;
}

export interface ListOptions extends CallOptions {
  /** With all of these tags. */
  readonly tags?: Readonly<Record<string, string>> | undefined;
  /** A glob for the name. */
  readonly name?: string | undefined;
  /** A glob for the content type; `image` means `image/*`. */
  readonly type?: string | undefined;
  /** Uploaded at or after: a date, or text like `7d` or `2026-01-31`. */
  readonly since?: Date | string | undefined;
  /** Uploaded before: the same. */
  readonly until?: Date | string | undefined;
  /** Behind the document with this id: the last one of the page before. */
  readonly after?: string | undefined;
  /** At most so many. */
  readonly limit?: number | undefined;
  /** Oldest first; otherwise newest first. */
  readonly ascending?: boolean | undefined;
}

export interface DownloadOptions extends CallOptions {
  /** A file, or a directory: one that is there, or ends in a slash. */
  readonly to: string;
  /** Replace a file that is there. */
  readonly force?: boolean | undefined;
  /** Called with bytes newly written. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

/** What became of a resource that the library needs: a directory, a catalog, a bucket, a rule of it, a table. */
export interface Resource {
  readonly kind: string;
  readonly name: string;
  readonly action: "created" | "exists" | "updated" | "unsupported";
}

/**
 * Every method throws a DocprocError and nothing else. None prints, ends the process, or listens to its signals. Records
 * are frozen, with all that they hold: parts of them may be in the hands of others.
 */
export interface Library {
  /** Makes what the library needs, as `docproc init` does; what is there stays. An embedded one is made when it is used. */
  init(options?: CallOptions): Promise<Resource[]>;
  /**
   * Stores a document, or finds that it is there: same name, same bytes, same tags are the same document. When this
   * returns, bytes and record are durable and visible to every process. When it throws, there is no record; after
   * `UNAVAILABLE` one may yet appear, and has its bytes if it does.
   * @param given a path, a file: URL, bytes, or anything that yields bytes, which is read once
   */
  upload(given: string | URL | Uint8Array | Chunks, options?: UploadOptions): Promise<UploadedRecord>;
  /** The records that match, lazily: breaking off the loop reads no more. */
  list(options?: ListOptions): AsyncIterable<DocumentRecord>;
  /**
   * One document by id, by a beginning of an id that only one has, or by name: the newest of that name.
   * @throws NOT_FOUND; USAGE where more than one could be meant
   */
  get(reference: string, options?: CallOptions): Promise<DocumentRecord>;
  /**
   * The bytes of a document. Where they are not those that were uploaded, the stream fails with `INTEGRITY` before its
   * last bytes: nobody who waits for all of them gets them.
   * @param document a reference, or a record that was got before
   * @throws NOT_FOUND where there is no such document, or its bytes are gone
   */
  read(document: string | DocumentRecord, options?: CallOptions): Promise<Readable>;
  /**
   * Writes a document to a file, which appears whole and checked, or not at all.
   * @throws CONFLICT where something is there; what {@link read} throws
   */
  download(
    document: string | DocumentRecord,
    options: DownloadOptions,
  ): Promise<DocumentRecord & { readonly path: string }>;
  /**
   * Removes a document: its record, then its bytes, if they were stored for it by this catalog.
   * @param document a reference, or a record of which the id counts
   * @throws NOT_FOUND
   */
  delete(document: string | DocumentRecord, options?: CallOptions): Promise<DeletedRecord>;
  /** Closes files and connections. May be called twice; nothing works afterwards. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

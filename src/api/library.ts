/**
 * The contract of docproc for programs: the same libraries, promises and errors, without a command line.
 * open-library.ts implements it.
 */
import type { Readable } from "node:stream";
import type { DriverOptions, MetadataName, StorageName } from "../config/settings.ts";
import type { DocumentRecord } from "../document/record.ts";
import type { Stats } from "../library/stats.ts";

/** Anything that yields bytes once: a Node or web stream, a request's body, a generator. */
export type Chunks = AsyncIterable<Uint8Array>;

/**
 * Where the library is, by the keys of a config file. Nothing else decides: no config file and no `DOCPROC_*` variable
 * is read, unless `config` asks for it. The AWS SDK still reads its own variables and files for credentials, region and
 * endpoint.
 */
export interface LibraryOptions extends DriverOptions {
  /**
   * True reads what the command line reads: `DOCPROC_*` variables, the project's and the user's config file. A path
   * reads this file instead of the project's. The other options override both.
   */
  readonly config?: boolean | string | undefined;
  readonly storage?: StorageName | undefined;
  readonly metadata?: MetadataName | undefined;
  /** Prepended to every storage key. */
  readonly prefix?: string | undefined;
  /** Bytes of a part of a multipart upload, or text like `16MiB`. */
  readonly partSize?: number | string | undefined;
  /** Parts in flight, all uploads together. */
  readonly partsInFlight?: number | undefined;
  readonly onDuplicate?: "reuse" | "store" | undefined;
  /** Retries after a transient failure. */
  readonly retries?: number | undefined;
  /** Aborts a request that makes no progress for this long: seconds, or text like `2m`. */
  readonly timeout?: number | string | undefined;
  /** Where interrupted uploads of large files are recorded, to resume them. Without it they restart. */
  readonly stateDirectory?: string | undefined;
}

export interface CallOptions {
  /** Ends the call with `CANCELLED`, or with the signal's reason if it is a DocprocError. */
  readonly signal?: AbortSignal | undefined;
}

export interface UploadOptions extends CallOptions {
  /** Where the document stands in the library, such as `dist/app.js`; default: the file's name. */
  readonly path?: string | undefined;
  /** Default: detected from the name and the first bytes. */
  readonly contentType?: string | undefined;
  /** Tags to find it by; part of its identity. */
  readonly tags?: Readonly<Record<string, string>> | undefined;
  /** Kept with it. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** When it may be removed: a date, or text like `30d` or `2030-01-31`. Nothing is removed by itself. */
  readonly expires?: Date | string | undefined;
  /** If the document is there already: see {@link Library.upload}. */
  readonly onDuplicate?: "reuse" | "store" | undefined;
  /** Called with the bytes newly sent. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

export interface UploadedRecord extends DocumentRecord {
  /**
   * `resumed`: an interrupted upload was completed; `unchanged`: it was there; `restored`: it was there, and its bytes
   * were put back; `updated`: it was there, and its metadata, content type or expiry changed.
   */
  readonly action: "uploaded" | "resumed" | "unchanged" | "restored" | "updated";
  /** Bytes sent. */
  readonly bytesSent: number;
}

/** The removed document. */
export interface DeletedRecord extends DocumentRecord {
  /** `kept`: the bytes were not stored for this document by this catalog. */
  readonly bytes: "removed" | "kept";
  /** Why the bytes were kept; values may be added. */
  readonly reason: "registered" | "outside-prefix" | "other-catalog" | "unmarked" | null;
}

/** Filters: documents that meet all of these. */
export interface FilterOptions extends CallOptions {
  /** All of these tags. */
  readonly tags?: Readonly<Record<string, string>> | undefined;
  /** Tags with all of these keys, whatever their values. */
  readonly tagKeys?: readonly string[] | undefined;
  /** None of these tags; without a value: no tag of this key. */
  readonly notTags?: readonly { readonly key: string; readonly value?: string | undefined }[] | undefined;
  /** The path of a folder: the documents below it, at any depth. */
  readonly under?: string | undefined;
  /** A glob for the path. */
  readonly path?: string | undefined;
  /** A glob for the name, the last part of the path. */
  readonly name?: string | undefined;
  /** A glob for the content type; `image` means `image/*`. */
  readonly type?: string | undefined;
  /** Uploaded at or after: a date, or text like `7d` or `2026-01-31`. */
  readonly since?: Date | string | undefined;
  /** Uploaded before; see `since`. */
  readonly until?: Date | string | undefined;
  /** With the SHA-256 with this prefix, at least 7 digits. */
  readonly sha256?: string | undefined;
  /** Made on this git branch. */
  readonly branch?: string | undefined;
  /** Made from the git commit with this prefix, at least 7 digits. */
  readonly commit?: string | undefined;
  /** Made by this CI run. */
  readonly run?: string | undefined;
  /** Of the matching documents only the newest of each path. */
  readonly latest?: boolean | undefined;
}

export interface ListOptions extends FilterOptions {
  /** Continue after the document with this id, the last one of the previous page. */
  readonly after?: string | undefined;
  /** At most this many. */
  readonly limit?: number | undefined;
  /** Oldest first; otherwise newest first. */
  readonly ascending?: boolean | undefined;
  /** By `time` (default), by `size`, largest first, or by `path`, always from A to Z. */
  readonly sort?: "time" | "size" | "path" | undefined;
}

export interface TagOptions extends CallOptions {
  /** Tags to add or change. */
  readonly set?: Readonly<Record<string, string>> | undefined;
  /** Keys of tags to remove. */
  readonly unset?: readonly string[] | undefined;
}

export interface TaggedRecord extends DocumentRecord {
  /** `unchanged`: it had these tags already. */
  readonly action: "tagged" | "unchanged";
}

export interface UrlOptions extends CallOptions {
  /** `GET` reads the document; `PUT` restores its lost bytes and can store no others. */
  readonly method?: "GET" | "PUT" | undefined;
  /** Life of the URL, up to seven days: seconds, or text like `1h`. Default: 15 minutes. */
  readonly expiresIn?: number | string | undefined;
}

/** A request that anyone may send until it expires, without credentials. */
export interface SignedUrl {
  readonly id: string;
  readonly path: string;
  readonly method: "GET" | "PUT";
  readonly url: string;
  /** Must be sent unchanged with the request. */
  readonly headers: Readonly<Record<string, string>>;
  /** Earlier than requested when the signing credentials expire first. */
  readonly expiresAt: string;
  /** True for temporary signing credentials that do not say when they expire. */
  readonly mayExpireEarlier: boolean;
}

export interface VerifyOptions extends CallOptions {
  /** Read and hash the document; otherwise compare only size and checksum. */
  readonly deep?: boolean | undefined;
  /** Called with the bytes newly read. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

/** The damage of a stored document. */
export interface Damage {
  readonly code: "MISSING" | "WRONG_SIZE" | "WRONG_CHECKSUM" | "WRONG_BYTES";
  readonly id: string;
  readonly path: string;
  readonly uri: string;
  readonly message: string;
  /** The fix. */
  readonly fix: string;
}

export interface CopyOptions extends CallOptions {
  /** Another library from `openLibrary()`. */
  readonly to: Library;
  /** Called with the bytes newly sent. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

/** The record in the target library. */
export interface CopiedRecord extends DocumentRecord {
  /** `unchanged`: it existed, and nothing was sent. `restored`: it existed, and its bytes were put back. */
  readonly action: "copied" | "unchanged" | "restored";
  /** Bytes sent. */
  readonly bytesSent: number;
}

/** Defaults: `path` is the last segment of the key, `contentType` the object's. `onProgress` counts bytes read. */
export type RegisterOptions = Omit<UploadOptions, "expires">;

export interface RegisteredRecord extends DocumentRecord {
  /** `unchanged`: it was recorded already. */
  readonly action: "registered" | "unchanged";
}

export interface DownloadedRecord extends DocumentRecord {
  /** `present`: the file was there with the same bytes. */
  readonly action: "downloaded" | "present";
  /** The absolute path of the file. */
  readonly file: string;
}

export interface DownloadOptions extends CallOptions {
  /** A file, or a directory if it exists as one or ends in a slash. */
  readonly to: string;
  /** Replace an existing file. */
  readonly force?: boolean | undefined;
  /** Called with the bytes newly written. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

/** A resource of the library, and what init did with it: a directory, catalog, bucket, bucket rule or table. */
export interface Resource {
  readonly kind: string;
  readonly name: string;
  readonly action: "created" | "exists" | "updated" | "unsupported";
}

/**
 * Every method throws only DocprocErrors. None prints, ends the process or handles its signals. Records are deeply
 * frozen, because callers share parts of them.
 */
export interface Library {
  /**
   * Creates what the library needs, like `docproc init`; what exists stays. An embedded library is created on first
   * use.
   */
  init(options?: CallOptions): Promise<Resource[]>;
  /**
   * Stores a document, or finds it: it is there if the newest one at its path that was uploaded with these tags has
   * these bytes. Stored bytes that are missing or damaged are put back.
   *
   * When it returns, bytes and record are durable and visible to every process. When it throws, there is no new record;
   * after `UNAVAILABLE` one may yet appear, with its bytes.
   * @param given a path, a file: URL, bytes, or an iterable of bytes, which is read once
   */
  upload(given: string | URL | Uint8Array | Chunks, options?: UploadOptions): Promise<UploadedRecord>;
  /** The matching records, lazily: leaving the loop stops reading. */
  list(options?: ListOptions): AsyncIterable<DocumentRecord>;
  /**
   * Finds one document by its id, by its path (the newest version), or by a unique beginning of its id.
   * @throws NOT_FOUND; CONFLICT when the reference means two documents
   */
  get(reference: string, options?: CallOptions): Promise<DocumentRecord>;
  /**
   * The bytes of a document. If they are damaged, the stream fails with `INTEGRITY` before its last bytes, so that no
   * consumer takes them for complete.
   * @param document a reference, or a record
   * @throws NOT_FOUND when the document or its bytes are gone
   */
  read(document: string | DocumentRecord, options?: CallOptions): Promise<Readable>;
  /**
   * Writes a document to a file, which appears whole and checked, or not at all. A file with its bytes is left alone.
   * @throws CONFLICT when another file is there, or a link to a directory would be followed below `to`; the errors of {@link read}
   */
  download(document: string | DocumentRecord, options: DownloadOptions): Promise<DownloadedRecord>;
  /**
   * Removes a document: its record, then its bytes if this catalog stored them for it.
   * @param document a reference, or a record, of which only the id is used
   * @throws NOT_FOUND
   */
  delete(document: string | DocumentRecord, options?: CallOptions): Promise<DeletedRecord>;
  /**
   * Sets and removes tags atomically; other tags stay.
   * @param document a reference, or a record, of which only the id is used
   * @throws NOT_FOUND; CONFLICT when others keep changing it
   */
  tag(document: string | DocumentRecord, options: TagOptions): Promise<TaggedRecord>;
  /**
   * Signs a request for a document, which anyone may send until it expires.
   * @param document a reference, or a record, of which only the id is used
   * @throws USAGE when the storage cannot sign; NOT_FOUND for a GET of missing bytes; CONFLICT for a PUT of existing
   *   bytes
   */
  url(document: string | DocumentRecord, options?: UrlOptions): Promise<SignedUrl>;
  /** Counts matching documents and their bytes: in total, by type, by tag, by day. Reads every one of their records. */
  stats(options?: FilterOptions): Promise<Stats>;
  /**
   * Checks that a document equals what was uploaded. Changes nothing.
   * @param document a reference, or a record, of which only the id is used
   * @returns undefined when it is sound
   */
  verify(document: string | DocumentRecord, options?: VerifyOptions): Promise<Damage | undefined>;
  /**
   * Copies a document with its id into another library, or finds it there.
   * @param document a reference, or a record, of which only the id is used
   * @throws USAGE when both are the same library; CONFLICT when another document there has the id; INTEGRITY when the
   *   bytes are damaged
   */
  copy(document: string | DocumentRecord, options: CopyOptions): Promise<CopiedRecord>;
  /**
   * Records an object that the library's bucket holds already, and leaves it in place. It is read once.
   * @param uri `s3://bucket/key`
   * @throws USAGE when it is no object of this bucket; NOT_FOUND; CONFLICT when it is registered under another path
   *   or with other tags; INTEGRITY when it changed while it was read
   */
  register(uri: string, options?: RegisterOptions): Promise<RegisteredRecord>;
  /** Closes files and connections. May be called twice; the library is unusable afterwards. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

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
  /** The name of the document; default: the file's name. */
  readonly name?: string | undefined;
  /** Default: detected from the name and the first bytes. */
  readonly contentType?: string | undefined;
  /** Tags to find it by; part of its identity. */
  readonly tags?: Readonly<Record<string, string>> | undefined;
  /** Arbitrary data to keep with it. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** What to do when a document with the same name, bytes and tags exists. */
  readonly onDuplicate?: "reuse" | "store" | undefined;
  /** Called with the bytes newly sent. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

export interface UploadedRecord extends DocumentRecord {
  /** `resumed`: an interrupted upload was completed; `unchanged`: it existed, and nothing was stored. */
  readonly action: "uploaded" | "resumed" | "unchanged";
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

/** Which documents: those to which all of this applies. */
export interface FilterOptions extends CallOptions {
  /** All of these tags. */
  readonly tags?: Readonly<Record<string, string>> | undefined;
  /** A glob for the name. */
  readonly name?: string | undefined;
  /** A glob for the content type; `image` means `image/*`. */
  readonly type?: string | undefined;
  /** Uploaded at or after: a date, or text like `7d` or `2026-01-31`. */
  readonly since?: Date | string | undefined;
  /** Uploaded before; see `since`. */
  readonly until?: Date | string | undefined;
  /** Made from the git commit that begins so: 7 digits at least. */
  readonly commit?: string | undefined;
  /** Made by this CI run. */
  readonly run?: string | undefined;
}

export interface ListOptions extends FilterOptions {
  /** Continue after the document with this id, the last one of the previous page. */
  readonly after?: string | undefined;
  /** Maximal number of records. */
  readonly limit?: number | undefined;
  /** Oldest first; otherwise newest first. */
  readonly ascending?: boolean | undefined;
  /** By `time` (the default), by `size`, largest first, or by `name`, which is always from A to Z. */
  readonly sort?: "time" | "size" | "name" | undefined;
}

export interface TagOptions extends CallOptions {
  /** Tags that are added, or get another value. */
  readonly set?: Readonly<Record<string, string>> | undefined;
  /** Keys of tags that are removed. */
  readonly unset?: readonly string[] | undefined;
}

export interface TaggedRecord extends DocumentRecord {
  /** `unchanged` had these tags already. */
  readonly action: "tagged" | "unchanged";
}

export interface UrlOptions extends CallOptions {
  /** `GET` reads the document; `PUT` restores its bytes where they are lost, and can store no others. */
  readonly method?: "GET" | "PUT" | undefined;
  /** How long it can be used, up to seven days: seconds, or text like `1h`. Otherwise it is 15 minutes. */
  readonly expiresIn?: number | string | undefined;
}

/** A request that can be sent without credentials until it expires. */
export interface SignedUrl {
  readonly id: string;
  readonly name: string;
  readonly method: "GET" | "PUT";
  readonly url: string;
  /** Have to be sent with it, as they are. */
  readonly headers: Readonly<Record<string, string>>;
  /** Earlier than was asked for where the credentials that signed it expire earlier. */
  readonly expiresAt: string;
  /** True where temporary credentials signed it that do not say when they expire. */
  readonly mayExpireEarlier: boolean;
}

export interface VerifyOptions extends CallOptions {
  /** Read the document and hash it; otherwise its size and checksum are compared. */
  readonly deep?: boolean | undefined;
  /** Called with bytes newly read. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

/** What is wrong with a stored document. */
export interface Damage {
  readonly code: "MISSING" | "WRONG_SIZE" | "WRONG_CHECKSUM" | "WRONG_BYTES";
  readonly id: string;
  readonly name: string;
  readonly uri: string;
  readonly message: string;
  /** The fix. */
  readonly fix: string;
}

export interface CopyOptions extends CallOptions {
  /** Another library that `openLibrary()` opened. */
  readonly to: Library;
  /** Called with the bytes newly sent. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

/** The record in the library that it was copied to. */
export interface CopiedRecord extends DocumentRecord {
  /** `unchanged` was there, and nothing was sent. */
  readonly action: "copied" | "unchanged";
  /** Bytes sent. */
  readonly bytesSent: number;
}

/** `name` is otherwise the last part of the key, `contentType` that of the object; `onProgress` counts bytes read. */
export type RegisterOptions = UploadOptions;

export interface RegisteredRecord extends DocumentRecord {
  /** `unchanged` was recorded already. */
  readonly action: "registered" | "unchanged";
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
   * Stores a document, or finds it: same name, same bytes and same tags are the same document. When it returns, bytes
   * and record are durable and visible to every process. When it throws, there is no record; after `UNAVAILABLE` one
   * may yet appear, with its bytes.
   * @param given a path, a file: URL, bytes, or an iterable of bytes, which is read once
   */
  upload(given: string | URL | Uint8Array | Chunks, options?: UploadOptions): Promise<UploadedRecord>;
  /** The matching records, lazily: leaving the loop stops reading. */
  list(options?: ListOptions): AsyncIterable<DocumentRecord>;
  /**
   * Finds one document by id, by a unique prefix of its id, or by name (the newest).
   * @throws NOT_FOUND; USAGE when the reference is ambiguous
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
   * Writes a document to a file, which appears whole and checked, or not at all.
   * @throws CONFLICT when the file exists; the errors of {@link read}
   */
  download(
    document: string | DocumentRecord,
    options: DownloadOptions,
  ): Promise<DocumentRecord & { readonly path: string }>;
  /**
   * Removes a document: its record, then its bytes if this catalog stored them for it.
   * @param document a reference, or a record, of which only the id is used
   * @throws NOT_FOUND
   */
  delete(document: string | DocumentRecord, options?: CallOptions): Promise<DeletedRecord>;
  /**
   * Sets and removes tags, in one step; other tags stay as they are.
   * @param document a reference, or a record of which the id counts
   * @throws CONFLICT where another document has the same name, bytes and tags; NOT_FOUND
   */
  tag(document: string | DocumentRecord, options: TagOptions): Promise<TaggedRecord>;
  /**
   * Signs a request for a document, which anyone may send until it expires.
   * @throws USAGE where the storage signs no requests; NOT_FOUND for a GET of bytes that are gone; CONFLICT for a PUT
   *   of bytes that are there
   */
  url(document: string | DocumentRecord, options?: UrlOptions): Promise<SignedUrl>;
  /** How many documents match, and how large they are: in all, by type, by tag, by day. Reads every one of their records. */
  stats(options?: FilterOptions): Promise<Stats>;
  /**
   * Whether a document is still what was uploaded. Changes nothing.
   * @returns undefined for a sound one
   */
  verify(document: string | DocumentRecord, options?: VerifyOptions): Promise<Damage | undefined>;
  /**
   * Copies a document into another library, with its id, or finds that it is there.
   * @param document a reference, or a record of which the id counts
   * @throws USAGE where both are the same library; CONFLICT where that one has another document under the id, or the
   *   same name, bytes and tags under another id; INTEGRITY where the bytes are not those that were uploaded
   */
  copy(document: string | DocumentRecord, options: CopyOptions): Promise<CopiedRecord>;
  /**
   * Records an object that is in the bucket of the library already, and leaves it where it is. It is read once.
   * @param uri `s3://bucket/key`
   * @throws USAGE where it is not an object of this bucket; NOT_FOUND; CONFLICT where it is registered under another
   *   name or with other tags; INTEGRITY where it changed while it was read
   */
  register(uri: string, options?: RegisterOptions): Promise<RegisteredRecord>;
  /** Closes files and connections. May be called twice; the library is unusable afterwards. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * All operations on documents, on any storage and catalog. Only this file and the upload protocol it runs write to both
 * services; neither service knows the other.
 */

import { reached } from "../core/crash-points.ts";
import { DocprocError, toDocprocError } from "../core/errors.ts";
import { cleanUpSignal } from "../core/retry.ts";
import type { ListQuery } from "../document/query.ts";
import { type DocumentRecord, idOfKey, storageKey } from "../document/record.ts";
import { isRecorded, mayHaveSucceeded, outcomeUnknown } from "../metadata/commit-outcome.ts";
import { Marks, type Owner } from "../metadata/marks.ts";
import type { RequestToSign, SignedRequest, StoredObject } from "../storage/service.ts";
import type { UploadJournals } from "../transfer/journal.ts";
import type { Source } from "../transfer/source.ts";
import type { UploadedDocument, UploadOptions, UploadProtocol, UploadRequest } from "../transfer/upload.ts";
import { findDocument } from "./find.ts";
import type { RetaggedDocument, TagEdit } from "./tag.ts";

export interface DocumentServiceOptions extends Omit<UploadOptions, "journals" | "marks"> {
  /** See {@link UploadOptions.journals}; called with the first upload. */
  readonly journals: (() => Promise<UploadJournals>) | undefined;
}

/** What became of the bytes of a removed document. */
export type RemovedBytes =
  | { readonly bytes: "removed"; readonly reason: null }
  | { readonly bytes: "kept"; readonly reason: KeptFor };

/**
 * Why bytes outlive their record:
 *
 * - `registered`: docproc did not put them there;
 * - `outside-prefix`: they are those of a library with another prefix;
 * - `other-catalog`: their mark says that they were stored for another catalog;
 * - `unmarked`: nothing says for which catalog they were stored.
 */
export type KeptFor = "registered" | "outside-prefix" | "other-catalog" | "unmarked";

export class DocumentService {
  readonly #options: DocumentServiceOptions;
  readonly #marks: Marks;
  #uploads: Promise<UploadProtocol> | undefined;

  constructor(options: DocumentServiceOptions) {
    this.#options = options;
    this.#marks = new Marks(options.metadata);
  }

  /** See {@link UploadProtocol.run}. */
  async upload(source: Source, request: UploadRequest): Promise<UploadedDocument> {
    return await (await this.#uploadProtocol()).run(source, request);
  }

  /** See {@link UploadProtocol.forget}. */
  async forgetUpload(source: Source, request: UploadRequest): Promise<void> {
    await (await this.#uploadProtocol()).forget(source, request);
  }

  /** See {@link findDocument}. */
  async find(reference: string, signal: AbortSignal): Promise<DocumentRecord> {
    return await findDocument(await this.#options.metadata(), reference, signal);
  }

  /** @throws NOT_FOUND when no document has this id */
  async get(id: string, signal: AbortSignal): Promise<DocumentRecord> {
    const record = await (await this.#options.metadata()).get(id, signal);
    if (record === undefined) throw new DocprocError("NOT_FOUND", `No document has the id ${id}.`);
    return record;
  }

  /** See {@link MetadataService.list}. */
  async list(query: ListQuery, signal: AbortSignal): Promise<AsyncIterable<DocumentRecord>> {
    return (await this.#options.metadata()).list(query, signal);
  }

  /** The bytes of a document, checked against its record: see {@link readDocument}. */
  async *read(record: DocumentRecord, signal: AbortSignal): AsyncIterable<Uint8Array> {
    const storage = await this.#options.storage();
    const key = await this.keyOf(record, signal);
    const { readDocument } = await import("../transfer/reader.ts");
    yield* readDocument({ storage, key, record, retries: this.#options.retries, signal });
  }

  /** What the storage has of a document's bytes; undefined for nothing. */
  async stat(record: DocumentRecord, signal: AbortSignal): Promise<StoredObject | undefined> {
    const storage = await this.#options.storage();
    return await storage.stat(await this.keyOf(record, signal), signal);
  }

  /**
   * The key of a document's bytes.
   * @throws NOT_FOUND when they are in another storage than the one that is configured
   */
  async keyOf(record: DocumentRecord, signal: AbortSignal): Promise<string> {
    const storage = await this.#options.storage();
    const base = storage.uri("");
    if (record.uri.startsWith(base)) return record.uri.slice(base.length);
    // A library that was moved as a whole: its records still say where it was.
    const key = storageKey(this.#options.prefix, record.id, record.name);
    if (await storage.stat(key, signal)) return key;
    throw new DocprocError("NOT_FOUND", `The bytes of ${record.id} are not in ${base} but in ${record.uri}.`, {
      hint: "Choose the storage that it was uploaded to with --bucket or --directory.",
    });
  }

  /** Signs a request that reads a document's bytes, or restores lost ones: see {@link StorageService.sign}. */
  async sign(
    record: DocumentRecord,
    { method, expiresIn, signal }: Pick<RequestToSign, "method" | "expiresIn" | "signal">,
  ): Promise<SignedRequest> {
    const storage = await this.#options.storage();
    const key = await this.keyOf(record, signal);
    const { name, contentType, size, sha256 } = record;
    if (method === "GET") return await storage.sign(key, { method, name, contentType, expiresIn, signal });
    const catalog = await this.#marks.catalog(signal);
    return await storage.sign(key, { method, size, sha256, catalog, contentType, expiresIn, signal });
  }

  /** See {@link retag}. */
  async tag(record: DocumentRecord, edit: TagEdit, signal: AbortSignal): Promise<RetaggedDocument> {
    const [metadata, { retag }] = await Promise.all([this.#options.metadata(), import("./tag.ts")]);
    return await retag(metadata, record, edit, signal);
  }

  /**
   * Whether the SHA-256 of a record is known to be that of its bytes. Of one that was imported it is what a file said,
   * until {@link prove}.
   */
  async isProved(record: DocumentRecord, signal: AbortSignal): Promise<boolean> {
    const [metadata, { isProved }] = await Promise.all([this.#options.metadata(), import("./proof.ts")]);
    return await isProved(metadata, record, signal);
  }

  /**
   * Reads the bytes of a record, and remembers that they are those that it says.
   * @param onProgress called with the number of bytes newly read
   * @throws INTEGRITY, NOT_FOUND when they are others or gone
   */
  async prove(record: DocumentRecord, signal: AbortSignal, onProgress: (bytes: number) => void): Promise<void> {
    const [metadata, { markProved }] = await Promise.all([this.#options.metadata(), import("./proof.ts")]);
    for await (const chunk of this.read(record, signal)) onProgress(chunk.byteLength);
    await markProved(metadata, record, signal);
  }

  /** Whose an object is: see {@link Marks.ownerOf}. */
  async ownerOf({ catalog }: StoredObject, signal: AbortSignal): Promise<Owner> {
    return await this.#marks.ownerOf(catalog, signal);
  }

  /** Takes the objects of a catalog that is gone for this one's: see {@link Marks.adopt}. */
  async adopt(catalog: string, signal: AbortSignal): Promise<void> {
    await this.#marks.adopt(catalog, signal);
  }

  /**
   * Removes a document: its record and claim in one step, then its bytes, if they were stored for it by this catalog.
   * Others stay: see {@link KeptFor}.
   * @throws NOT_FOUND when it is gone already; after any other failure the message says what is left
   */
  async remove(record: DocumentRecord, signal: AbortSignal): Promise<RemovedBytes> {
    const [metadata, storage] = await Promise.all([this.#options.metadata(), this.#options.storage()]);
    const key = await this.keyOf(record, signal);
    // Asked first: where that fails, nothing has been removed.
    const reason = await this.#reasonToKeep(record, key, signal);
    const removed = await metadata.remove(record.id, signal).catch(async (error: unknown) => {
      // The answer may have been lost after the record was removed: the catalog knows.
      const recorded = mayHaveSucceeded(error) ? await isRecorded(metadata, record.id, signal) : true;
      if (recorded === undefined) throw outcomeUnknown(error, `whether ${record.id} was removed`);
      if (recorded) throw error;
      return record;
    });
    if (removed === undefined) {
      throw new DocprocError("NOT_FOUND", `The document ${record.id} is gone already.`);
    }
    reached("record-removed");
    if (reason !== undefined) return { bytes: "kept", reason };
    try {
      // Not under the caller's signal: half a removal is what nobody asked for.
      await storage.remove(key, cleanUpSignal());
    } catch (thrown) {
      const { code, message } = toDocprocError(thrown);
      throw new DocprocError(
        code === "CANCELLED" ? "UNAVAILABLE" : code,
        `${record.id} is removed, its bytes are not: ${message}`,
        {
          hint: "Nothing lists them any more. docproc doctor --repair removes them when they are a day old.",
          cause: thrown,
        },
      );
    }
    reached("bytes-removed");
    return { bytes: "removed", reason: null };
  }

  /** Undefined for bytes that were stored for this document by this catalog, and for those that are gone. */
  async #reasonToKeep({ id }: DocumentRecord, key: string, signal: AbortSignal): Promise<KeptFor | undefined> {
    if (idOfKey(key, this.#options.prefix) !== id) {
      return idOfKey(key, undefined) === id ? "outside-prefix" : "registered";
    }
    const stored = await (await this.#options.storage()).stat(key, signal);
    const owner = stored && (await this.ownerOf(stored, signal));
    if (owner === "other") return "other-catalog";
    return owner === "unknown" ? "unmarked" : undefined;
  }

  #uploadProtocol(): Promise<UploadProtocol> {
    this.#uploads ??= this.#loadUploads();
    return this.#uploads;
  }

  /** What sends, reads and hashes takes time to load; looking a document up needs none of it. */
  async #loadUploads(): Promise<UploadProtocol> {
    const { UploadProtocol } = await import("../transfer/upload.ts");
    const journals = await this.#options.journals?.();
    return new UploadProtocol({ ...this.#options, journals, marks: this.#marks });
  }
}

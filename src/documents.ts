/**
 * The document service: what can be done with documents, on whichever storage and catalog. It alone, and the upload
 * protocol it runs, write to both services; neither of them knows the other.
 */
import { type DocumentRecord, isKeyOf, storageKey } from "./document.ts";
import { DocprocError, toDocprocError } from "./errors.ts";
import { findDocument } from "./find.ts";
import type { UploadJournals } from "./journal.ts";
import { inDoubt, isRecorded, mayBeDone } from "./metadata/doubt.ts";
import type { ListQuery } from "./query.ts";
import type { RetaggedDocument, TagEdit } from "./retag.ts";
import { cleanUpSignal } from "./retry.ts";
import type { Source } from "./source.ts";
import { reached } from "./steps.ts";
import type { RequestToSign, SignedRequest, StoredObject } from "./storage/service.ts";
import type { UploadedDocument, UploadOptions, UploadProtocol, UploadRequest } from "./upload.ts";

export interface DocumentServiceOptions extends Omit<UploadOptions, "journals"> {
  /** See {@link UploadOptions.journals}; called with the first upload. */
  readonly journals: (() => Promise<UploadJournals>) | undefined;
}

export class DocumentService {
  readonly #options: DocumentServiceOptions;
  #uploads: Promise<UploadProtocol> | undefined;

  constructor(options: DocumentServiceOptions) {
    this.#options = options;
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

  /** See {@link MetadataService.list}. */
  async list(query: ListQuery, signal: AbortSignal): Promise<AsyncIterable<DocumentRecord>> {
    return (await this.#options.metadata()).list(query, signal);
  }

  /** The bytes of a document, checked against its record: see {@link readDocument}. */
  async *read(record: DocumentRecord, signal: AbortSignal): AsyncIterable<Uint8Array> {
    const storage = await this.#options.storage();
    const key = await this.keyOf(record, signal);
    const { readDocument } = await import("./reader.ts");
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
    const catalog = await (await this.#options.metadata()).catalog(signal);
    return await storage.sign(key, { method, size, sha256, catalog, contentType, expiresIn, signal });
  }

  /** See {@link retag}. */
  async tag(record: DocumentRecord, edit: TagEdit, signal: AbortSignal): Promise<RetaggedDocument> {
    const [metadata, { retag }] = await Promise.all([this.#options.metadata(), import("./retag.ts")]);
    return await retag(metadata, record, edit, signal);
  }

  /**
   * Removes a document: its record and claim in one step, then its bytes. Those that were not stored for it, but were
   * there when it was registered, stay.
   * @throws NOT_FOUND when it is gone already; after any other failure the message says what is left
   */
  async remove(record: DocumentRecord, signal: AbortSignal): Promise<void> {
    const [metadata, storage] = await Promise.all([this.#options.metadata(), this.#options.storage()]);
    const key = await this.keyOf(record, signal);
    const removed = await metadata.remove(record.id, signal).catch(async (error: unknown) => {
      // The answer may have been lost after the record was removed: the catalog knows.
      const recorded = mayBeDone(error) ? await isRecorded(metadata, record.id, signal) : true;
      if (recorded === undefined) throw inDoubt(error, `whether ${record.id} was removed`);
      if (recorded) throw error;
      return record;
    });
    if (removed === undefined) {
      throw new DocprocError("NOT_FOUND", `The document ${record.id} is gone already.`);
    }
    reached("record-removed");
    if (!isKeyOf(record.id, key)) return;
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
  }

  #uploadProtocol(): Promise<UploadProtocol> {
    this.#uploads ??= this.#loadUploads();
    return this.#uploads;
  }

  /** What sends, reads and hashes takes time to load; looking a document up needs none of it. */
  async #loadUploads(): Promise<UploadProtocol> {
    const { UploadProtocol } = await import("./upload.ts");
    return new UploadProtocol({ ...this.#options, journals: await this.#options.journals?.() });
  }
}

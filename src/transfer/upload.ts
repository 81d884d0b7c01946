/**
 * The upload protocol: bytes first, then the record.
 *
 * A record is committed only after its bytes are stored and proved, so every listed document can be read. A crash in
 * between leaves an object without a record, never the reverse.
 *
 * A document is there if the newest of its series has its bytes (see `Series`); its stored bytes are looked at before
 * that is said. Otherwise it is a new version, whose bytes are copied inside the storage if the path has them already.
 */
import { hash } from "node:crypto";
import { reached } from "../core/crash-points.ts";
import { DocprocError, isResumable, throwIfCancelled, toDocprocError } from "../core/errors.ts";
import { memoryShare } from "../core/limits.ts";
import { MemoryBudget } from "../core/memory-budget.ts";
import { nameOfPath } from "../document/path.ts";
import { type DocumentRecord, newDocumentId, storageKey } from "../document/record.ts";
import type { Marks } from "../metadata/marks.ts";
import type { MetadataService, Standing } from "../metadata/service.ts";
import type { StorageService } from "../storage/service.ts";
import {
  drain,
  expecting,
  hashAll,
  MemoryBody,
  readHead,
  type SourceHead,
  type StreamedBody,
  streamedBody,
} from "./body.ts";
import type { UploadJournal, UploadJournals, UploadPlan } from "./journal.ts";
import { settleKnown } from "./known.ts";
import { type Facts, NewDocument, planned } from "./new-document.ts";
import { seriesOf, type UploadedDocument, type UploadRequest } from "./request.ts";
import type { Send } from "./restore.ts";
import { Resumption } from "./resumption.ts";
import { type Source, sourceChanged } from "./source.ts";

export interface UploadProtocolOptions {
  /** Called on first use. */
  readonly storage: () => Promise<StorageService>;
  readonly metadata: () => Promise<MetadataService>;
  /** Undefined: interrupted uploads are not resumed. */
  readonly journals: UploadJournals | undefined;
  /** Of the catalog that the documents are stored for. */
  readonly marks: Marks;
  /** Prepended to every storage key. */
  readonly prefix: string;
  /** Bytes: up to this size a document is read into memory and hashed before anything is sent. */
  readonly inMemoryLimit: number;
  /** Bytes that all documents in flight may use together. */
  readonly memory: number;
  /** Attempts to resume reading after a broken connection that brought next to nothing. */
  readonly retries: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

export class UploadProtocol {
  readonly #options: UploadProtocolOptions;
  readonly #memory: MemoryBudget;

  constructor(options: UploadProtocolOptions) {
    this.#options = options;
    this.#memory = new MemoryBudget(options.memory);
  }

  /**
   * Uploads a document, or finds it and restores or updates what it lacks.
   *
   * When it returns, bytes and record are durable and visible to every process. When it throws, there is no record, and
   * no bytes as far as the storage can be reached. Exceptions: after UNAVAILABLE the record may yet appear, with its
   * bytes; and a large upload may wait to be resumed.
   * @throws INTEGRITY when the source changed meanwhile, or the stored bytes differ from those sent
   */
  async run(source: Source, request: UploadRequest): Promise<UploadedDocument> {
    const { inMemoryLimit, memory } = this.#options;
    const release = await this.#memory.take(memoryShare(source.size, inMemoryLimit, memory));
    try {
      throwIfCancelled(request.signal);
      const head = await readHead(source, inMemoryLimit, request.signal);
      if (head.rest === undefined) return await this.#uploadWhole(source, head.bytes, request);
      try {
        return await this.#uploadStream(source, head, request);
      } finally {
        await head.rest.close();
      }
    } finally {
      release();
    }
  }

  /** Removes the remains of an interrupted upload of a document that exists by now. */
  async forget(source: Source, request: UploadRequest): Promise<void> {
    await (await this.#resumption()).drop(source, request, this.#plan(source, request, "", undefined));
  }

  /** A document in memory: hashed before anything is sent. */
  async #uploadWhole(source: Source, bytes: Buffer, request: UploadRequest): Promise<UploadedDocument> {
    await source.assertUnchanged();
    reached("source-read");
    const facts: Facts = { size: bytes.length, sha256: hash("sha256", bytes, "hex") };
    const body = () => new MemoryBody(bytes);
    const standing = await this.#lookUp(request, facts.sha256);
    const known = await this.#known(source, request, standing, facts, body);
    if (known) return known;
    const contentType = request.facts.contentType ?? (await request.detectType(bytes));
    if (request.dryRun) return await planned(source, request, facts, contentType);
    const plan = this.#plan(source, request, contentType, standing.last);
    const made = await this.#newDocument(source, request, plan, standing);
    return await made.store(body(), () => facts, facts);
  }

  /** A document that is hashed while it is sent. */
  async #uploadStream(source: Source, head: SourceHead, request: UploadRequest): Promise<UploadedDocument> {
    const { signal } = request;
    let standing = await this.#lookUp(request, undefined);
    // Reading a large file twice pays only where its bytes may be stored already.
    let facts: Facts | undefined;
    if (request.restores && source.place === null) {
      const restored = await this.#restoreStream(source, head, request, request.restores);
      if (restored) return restored;
    }
    if (source.place !== null && source.size !== null && (standing.last !== undefined || request.restores)) {
      facts = { size: source.size, sha256: await hashAll(source, signal) };
      standing = await this.#lookUp(request, facts.sha256);
      const bodies: StreamedBody[] = [];
      const body = () => {
        const one = streamedBody(source, { bytes: Buffer.alloc(0), rest: undefined }, signal);
        bodies.push(one);
        return one;
      };
      const known = await this.#known(source, request, standing, facts, body).finally(async () => {
        for (const one of bodies) await one.close();
      });
      if (known) {
        const plan = this.#plan(source, request, known.contentType ?? "", undefined);
        await (await this.#resumption()).drop(source, request, plan);
        return known;
      }
    }
    const contentType = request.facts.contentType ?? (await request.detectType(head.bytes));
    if (request.dryRun)
      return await planned(source, request, facts ?? { size: source.size, sha256: null }, contentType);
    const fresh = this.#plan(source, request, contentType, standing.last);
    const { last } = standing;
    const journal = await (await this.#resumption()).open(source, request, fresh, last);
    const body = streamedBody(source, head, signal);
    try {
      const made = await this.#newDocument(source, request, journal?.plan ?? fresh, standing, journal);
      const document = await made.store(body, () => ({ size: body.size, sha256: body.sha256 }), facts);
      await journal?.remove();
      reached("journal-removed");
      return document;
    } catch (error) {
      if (isResumable(toDocprocError(error))) journal?.close();
      else await journal?.remove();
      throw error;
    } finally {
      await body.close();
    }
  }

  /** Bytes that can be read only once are sent at once, and must prove to be those of the document by their end. */
  async #restoreStream(
    source: Source,
    head: SourceHead,
    request: UploadRequest,
    restores: DocumentRecord,
  ): Promise<UploadedDocument | undefined> {
    const { signal } = request;
    const body = streamedBody(source, head, signal);
    try {
      const known = await this.#known(source, request, nothing, restores, () => body);
      // Nothing had to be restored: they must be the right bytes all the same.
      if (body.size === 0) await drain(expecting(body, restores, () => otherBytes(source.label, restores)));
      return known;
    } finally {
      await body.close();
    }
  }

  async #lookUp(request: UploadRequest, sha256: string | undefined): Promise<Standing> {
    // With a given id, the caller has looked.
    if (request.as || request.restores) return nothing;
    const metadata = await this.#options.metadata();
    return await metadata.lookUp(seriesOf(request), sha256, request.signal);
  }

  /** The document, if it is there; see {@link settleKnown}. */
  async #known(
    source: Source,
    request: UploadRequest,
    { newest }: Standing,
    { size, sha256 }: Facts,
    body: () => MemoryBody | StreamedBody,
  ): Promise<UploadedDocument | undefined> {
    const { restores, onDuplicate, facts, dryRun, signal, onProgress } = request;
    if (restores && restores.sha256 !== sha256) throw otherBytes(source.label, restores);
    const isThere = onDuplicate === "reuse" && newest?.proved === true && newest.record.sha256 === sha256;
    const record = restores ?? (isThere ? newest.record : undefined);
    if (record === undefined) return undefined;
    const [storage, metadata] = await Promise.all([this.#options.storage(), this.#options.metadata()]);
    const { contentType } = record;
    const failure = () => (restores ? otherBytes(source.label, restores) : sourceChanged(source.label));
    const send: Send = async (key, options) =>
      await storage.put(key, expecting(body(), { size, sha256 }, failure), {
        ...options,
        size,
        contentType,
        signal,
        ...(onProgress && { onProgress }),
      });
    const context = { ...this.#options, storage, metadata };
    const known = await settleKnown(context, record, send, {
      facts,
      dryRun,
      mustRestore: restores !== undefined,
      signal,
    });
    if (known === undefined && restores)
      throw new DocprocError("NOT_FOUND", `The document ${record.id} no longer exists.`);
    return known && { ...known.record, action: known.action, bytesSent: known.bytesSent };
  }

  async #newDocument(
    source: Source,
    request: UploadRequest,
    plan: UploadPlan,
    seen: Standing,
    journal?: UploadJournal,
  ): Promise<NewDocument> {
    const [storage, metadata] = await Promise.all([this.#options.storage(), this.#options.metadata()]);
    return new NewDocument({ ...this.#options, storage, metadata }, { source, request, plan, seen, journal });
  }

  async #resumption(): Promise<Resumption> {
    const [storage, metadata] = await Promise.all([this.#options.storage(), this.#options.metadata()]);
    const { journals, marks } = this.#options;
    return new Resumption({ storage, metadata, catalog: (signal) => marks.catalog(signal), journals });
  }

  #plan(source: Source, { path, as }: UploadRequest, contentType: string, after: string | undefined): UploadPlan {
    const id = as?.id ?? newDocumentId(after);
    const key = storageKey(this.#options.prefix, id, nameOfPath(path));
    return { id, key, stamp: source.place?.stamp ?? "", contentType };
  }
}

/** For an upload that needs no look at its series. */
const nothing: Standing = { newest: undefined, twin: undefined, last: undefined };

/** The file is not the one whose bytes are to be restored. */
function otherBytes(label: string, { path, id }: DocumentRecord): DocprocError {
  return new DocprocError("INTEGRITY", `${label} does not have the bytes of ${path} (${id}).`, {
    hint: "Nothing was changed. Name the file that was uploaded, or upload this one as a new version.",
  });
}

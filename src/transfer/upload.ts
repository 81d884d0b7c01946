/**
 * The upload protocol: bytes first, then the record.
 *
 * A record is committed only after its bytes are stored and proved, so every listed document can be read. A crash in
 * between leaves an object without a record, never the reverse.
 */
import { hash } from "node:crypto";
import { reached } from "../core/crash-points.ts";
import { crc32Digits } from "../core/crc32.ts";
import { DocprocError, isResumable, throwIfCancelled, toDocprocError } from "../core/errors.ts";
import { memoryShare } from "../core/limits.ts";
import { MemoryBudget } from "../core/memory-budget.ts";
import { cleanUpSignal } from "../core/retry.ts";
import { identityOf } from "../document/identity.ts";
import {
  type DocumentRecord,
  type DocumentSource,
  newDocumentId,
  type Provenance,
  storageKey,
  type TextMap,
  uploadTimeOfId,
} from "../document/record.ts";
import { mayHaveSucceeded } from "../metadata/commit-outcome.ts";
import type { Marks } from "../metadata/marks.ts";
import type { MetadataService } from "../metadata/service.ts";
import type { Body, PutResult, StorageService } from "../storage/service.ts";
import { hashAll, MemoryBody, readHead, type SourceHead, streamedBody } from "./body.ts";
import { commitRecord } from "./commit.ts";
import type { UploadJournal, UploadJournals, UploadPlan } from "./journal.ts";
import { Resumption } from "./resumption.ts";
import type { Source } from "./source.ts";

export interface UploadRequest {
  /** NFC base name, see `documentName`. */
  readonly name: string;
  /** Detects the type from the first bytes; not called for a known document. */
  readonly contentType: (head: Uint8Array) => Promise<string>;
  readonly tags: TextMap;
  readonly metadata: TextMap;
  /** May still be pending; never rejects. */
  readonly provenance: Promise<Provenance | null>;
  readonly onDuplicate: "reuse" | "store";
  /** The id and claim to record it under: those it has in another library. */
  readonly as?: { readonly id: string; readonly claim: string };
  /** Read and hash, but send and commit nothing. */
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
  /** Called with the bytes newly sent. */
  readonly onProgress?: (bytes: number) => void;
  /** Called with the bytes that an earlier run stored. */
  readonly onSkipped?: (bytes: number) => void;
}

export type UploadAction = "uploaded" | "resumed" | "unchanged" | "planned";

/** A record, or a planned one: null for fields that only an upload can fill. */
export type UploadedDocument = { [Field in keyof DocumentRecord]: DocumentRecord[Field] | null } & {
  readonly action: UploadAction;
  /** Bytes sent for this document. */
  readonly bytesSent: number;
};

export interface UploadProtocolOptions {
  /** Called on first use: a document that exists already needs no storage. */
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
   * Uploads a document, or finds it: same name, same bytes and same tags are the same document.
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
      return await this.#upload(source, request);
    } finally {
      release();
    }
  }

  /** Removes the remains of an interrupted upload of a document that exists by now. */
  async forget(source: Source, request: UploadRequest): Promise<void> {
    await (await this.#resumption()).drop(source, request, this.#plan(source, request, ""));
  }

  async #upload(source: Source, request: UploadRequest): Promise<UploadedDocument> {
    throwIfCancelled(request.signal);
    const head = await readHead(source, this.#options.inMemoryLimit, request.signal);
    if (head.rest === undefined) return await this.#uploadWhole(source, head.bytes, request);
    try {
      return await this.#uploadStream(source, head, request);
    } finally {
      await head.rest.close();
    }
  }

  /** A document in memory: hashed before anything is sent. */
  async #uploadWhole(source: Source, bytes: Buffer, request: UploadRequest): Promise<UploadedDocument> {
    await source.assertUnchanged();
    reached("source-read");
    const sha256 = hash("sha256", bytes, "hex");
    const existing = await this.#existing(sha256, request);
    if (existing) return { ...existing, action: "unchanged", bytesSent: 0 };
    const contentType = await request.contentType(bytes);
    const facts = { size: bytes.length, sha256, contentType };
    if (request.dryRun) return await planned(source, request, facts);
    const body = new MemoryBody(bytes);
    return await this.#store(source, request, {
      plan: this.#plan(source, request, contentType),
      body,
      facts: () => facts,
    });
  }

  /** A document that is hashed while it is sent. */
  async #uploadStream(source: Source, head: SourceHead, request: UploadRequest): Promise<UploadedDocument> {
    const { size } = source;
    // Reading a large file twice pays only if it is probably known: same name, same size.
    if (size !== null && (await this.#nameHasSize(request, size))) {
      const existing = await this.#existing(await hashAll(source, request.signal), request);
      if (existing) {
        await (await this.#resumption()).drop(source, request, this.#plan(source, request, existing.contentType));
        return { ...existing, action: "unchanged", bytesSent: 0 };
      }
    }
    const contentType = await request.contentType(head.bytes);
    if (request.dryRun) return await planned(source, request, { size, sha256: null, contentType });
    const fresh = this.#plan(source, request, contentType);
    const journal = await (await this.#resumption()).open(source, request, fresh);
    const plan = journal?.plan ?? fresh;
    const body = streamedBody(source, head, request.signal);
    try {
      const facts = () => ({ size: body.size, sha256: body.sha256, contentType });
      const document = await this.#store(source, request, { plan, body, facts, journal });
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

  /** Send, prove, commit. */
  async #store(source: Source, request: UploadRequest, upload: PendingUpload): Promise<UploadedDocument> {
    const { name, tags, metadata, signal, onProgress, onSkipped } = request;
    const { plan, body, facts, journal } = upload;
    const storage = await this.#options.storage();
    const catalog = await this.#options.marks.catalog(signal);
    const putting = storage.put(plan.key, body, {
      size: body instanceof MemoryBody ? facts().size : source.size,
      contentType: plan.contentType,
      catalog,
      owns: async (other) => (await this.#options.marks.ownerOf(other, signal)) !== "other",
      signal,
      ...(onProgress && { onProgress }),
      ...(onSkipped && { onSkipped }),
      ...(journal && { checkpoint: journal }),
    });
    const stored = await putting.catch(async (error: unknown) => {
      // An earlier run with the same given id may have stored its bytes and failed before the commit.
      if (request.as === undefined || toDocprocError(error).code !== "CONFLICT") throw error;
      return await this.#storedBefore(storage, plan, facts(), signal);
    });
    const storedAt = this.#options.now();
    try {
      const { size, sha256 } = facts();
      if (stored.size !== size) throw sizeMismatch(source.label, size, stored.size);
      reached("bytes-proved");
      const record: DocumentRecord = {
        id: plan.id,
        name,
        size,
        contentType: plan.contentType,
        sha256,
        uploadedAt: uploadTimeOfId(plan.id),
        uri: storage.uri(plan.key),
        tags,
        metadata,
        source: { kind: source.kind, path: source.path, modifiedAt: source.modifiedAt } satisfies DocumentSource,
        provenance: await request.provenance,
        crc32: crc32Digits(stored.crc32),
      };
      const winner = await commitRecord(record, {
        metadata: await this.#options.metadata(),
        storage,
        key: plan.key,
        storedAt,
        now: this.#options.now,
        onDuplicate: request.onDuplicate,
        claim: request.as?.claim,
        signal,
      });
      reached("record-committed");
      const { bytesSent } = stored;
      if (winner.id === plan.id) return { ...winner, action: bytesSent < size ? "resumed" : "uploaded", bytesSent };
      await removeOwn(storage, plan.key, signal);
      return { ...winner, action: "unchanged", bytesSent };
    } catch (error) {
      // With a journal, the next run resumes from here.
      const resumes = journal !== undefined && isResumable(toDocprocError(error));
      // With a given id the object may be another run's; doctor removes it if no run records it.
      if (!mayHaveSucceeded(error) && !resumes && request.as === undefined) await removeOwn(storage, plan.key, signal);
      throw error;
    }
  }

  /** @throws CONFLICT when other bytes, or another catalog's, are stored under the key */
  async #storedBefore(
    storage: StorageService,
    { id, key }: UploadPlan,
    { size, sha256 }: { size: number; sha256: string },
    signal: AbortSignal,
  ): Promise<PutResult> {
    const found = await storage.stat(key, signal);
    const other = (cause?: unknown) =>
      new DocprocError("CONFLICT", `Another object is stored under ${key}.`, {
        hint: "Nothing was overwritten. Check the library with docproc doctor.",
        cause,
      });
    if (found?.size !== size || (await this.#options.marks.ownerOf(found.catalog, signal)) === "other") throw other();
    const { readDocument } = await import("./reader.ts");
    const reading = { storage, key, record: { id, size, sha256 }, retries: this.#options.retries, signal };
    try {
      for await (const _ of readDocument(reading));
    } catch (error) {
      throw toDocprocError(error).code === "INTEGRITY" ? other(error) : error;
    }
    return { size, crc32: found.crc32, bytesSent: 0 };
  }

  async #existing(sha256: string, request: UploadRequest): Promise<DocumentRecord | undefined> {
    // With a given id, the caller has checked.
    if (request.onDuplicate === "store" || request.as) return undefined;
    const metadata = await this.#options.metadata();
    const identity = identityOf({ sha256, tags: request.tags });
    const holder = await metadata.holder(request.name, identity, request.signal);
    const found = holder === undefined ? undefined : await metadata.get(holder, request.signal);
    // If it was retagged between the two requests, it is another document.
    return found && identityOf(found) === identity ? found : undefined;
  }

  async #nameHasSize(request: UploadRequest, size: number): Promise<boolean> {
    if (request.onDuplicate === "store" || request.as) return false;
    const metadata = await this.#options.metadata();
    for await (const claim of metadata.claims(request.name, request.signal)) {
      if (claim.size === size) return true;
    }
    return false;
  }

  async #resumption(): Promise<Resumption> {
    const [storage, metadata] = await Promise.all([this.#options.storage(), this.#options.metadata()]);
    const { journals, marks } = this.#options;
    return new Resumption({ storage, metadata, catalog: (signal) => marks.catalog(signal), journals });
  }

  #plan(source: Source, { name, as }: UploadRequest, contentType: string): UploadPlan {
    const id = as?.id ?? newDocumentId();
    return { id, key: storageKey(this.#options.prefix, id, name), stamp: source.place?.stamp ?? "", contentType };
  }
}

interface PendingUpload {
  readonly plan: UploadPlan;
  readonly body: Body;
  /** Known after the end of the body. */
  readonly facts: () => { size: number; sha256: string };
  readonly journal?: UploadJournal | undefined;
}

/** Removes the object of a failed upload. If that fails, it is only garbage. */
async function removeOwn(storage: StorageService, key: string, signal: AbortSignal): Promise<void> {
  await storage.remove(key, cleanUpSignal(signal)).catch(() => {});
}

async function planned(
  source: Source,
  { name, tags, metadata, provenance: pendingProvenance }: UploadRequest,
  facts: { size: number | null; sha256: string | null; contentType: string },
): Promise<UploadedDocument> {
  const { size, sha256, contentType } = facts;
  const { kind, path, modifiedAt } = source;
  const provenance = await pendingProvenance;
  const known = { name, size, contentType, sha256, tags, metadata, source: { kind, path, modifiedAt }, provenance };
  const unknown = { id: null, uploadedAt: null, uri: null, crc32: null };
  return { ...unknown, ...known, action: "planned", bytesSent: 0 };
}

function sizeMismatch(label: string, sent: number, stored: number): DocprocError {
  return new DocprocError("INTEGRITY", `${sent} bytes of ${label} were sent, but ${stored} were stored.`, {
    hint: "The stored object was removed. Run the same command again.",
  });
}

/**
 * The document service: the only thing that writes to both services, and the upload protocol.
 *
 * Bytes first, then the record. A record is committed only after its bytes are stored and proved, so whatever
 * is listed can be read. A crash in between leaves an object without a record, never the reverse.
 */
import { createHash, hash } from "node:crypto";
import {
  type DocumentRecord,
  type DocumentSource,
  documentName,
  identityOf,
  isDocumentId,
  isDocumentName,
  newDocumentId,
  storageKey,
  type TextMap,
  uploadTimeOfId,
} from "./document.ts";
import { DocprocError, throwIfCancelled } from "./errors.ts";
import type { MetadataService } from "./metadata/service.ts";
import type { ListQuery } from "./query.ts";
import { type Source, sourceChanged } from "./source.ts";
import type { Body, StorageService } from "./storage/service.ts";

export interface UploadRequest {
  /** NFC base name, see `documentName`. */
  readonly name: string;
  /** Decides from the first bytes; not asked when the document is known already. */
  readonly contentType: (head: Uint8Array) => Promise<string>;
  readonly tags: TextMap;
  readonly metadata: TextMap;
  readonly onDuplicate: "reuse" | "store";
  /** Look, hash, but send nothing and commit nothing. */
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
  /** Called with bytes newly on their way. */
  readonly onProgress?: (bytes: number) => void;
}

export type UploadAction = "uploaded" | "unchanged" | "planned";

/** A record, or what it would be: null where only an upload could tell. */
export type UploadedDocument = { [Field in keyof DocumentRecord]: DocumentRecord[Field] | null } & {
  readonly action: UploadAction;
  /** Bytes that travelled for this document. */
  readonly bytesSent: number;
};

export interface DocumentServiceOptions {
  /** Called when it is first needed: a listing opens no storage. */
  readonly storage: () => Promise<StorageService>;
  readonly metadata: () => Promise<MetadataService>;
  /** Put before every storage key. */
  readonly prefix: string;
  /** Bytes: what is at most this large is read into memory, and its hash known before anything is sent. */
  readonly inMemoryLimit: number;
}

export class DocumentService {
  readonly #storage: () => Promise<StorageService>;
  readonly #metadata: () => Promise<MetadataService>;
  readonly #prefix: string;
  readonly #inMemoryLimit: number;

  constructor(options: DocumentServiceOptions) {
    this.#storage = options.storage;
    this.#metadata = options.metadata;
    this.#prefix = options.prefix;
    this.#inMemoryLimit = options.inMemoryLimit;
  }

  /**
   * Uploads a document, or finds that it is there: same name, same bytes, same tags are the same document.
   *
   * When it returns, bytes and record are durable and visible to every process. When it throws, no record
   * exists, and no bytes either as far as the storage can be reached; except after UNAVAILABLE, when the record
   * may yet appear and has its bytes if it does.
   * @throws INTEGRITY when the source changed meanwhile or other bytes were stored than sent
   */
  async upload(source: Source, request: UploadRequest): Promise<UploadedDocument> {
    const { head, rest } = await readHead(source, this.#inMemoryLimit, request.signal);
    if (rest === undefined) return await this.#uploadWhole(source, head, request);
    try {
      return await this.#uploadStream(source, head, rest, request);
    } finally {
      await rest[Symbol.asyncIterator]().return?.();
    }
  }

  /** One document by id, by a prefix of an id that only one document has, or by name: the newest of that name. */
  async find(reference: string, signal: AbortSignal): Promise<DocumentRecord> {
    const metadata = await this.#metadata();
    const id = reference.toLowerCase();
    const found =
      (isDocumentId(id) ? await metadata.get(id, signal) : undefined) ??
      (await this.#findByPrefix(id, signal)) ??
      (await this.#findByName(reference, signal));
    if (found) return found;
    throw new DocprocError("NOT_FOUND", `No document has the id or name ${JSON.stringify(reference)}.`, {
      hint: "docproc list shows what there is.",
    });
  }

  /** See {@link MetadataService.list}. */
  async *list(query: ListQuery, signal: AbortSignal): AsyncIterable<DocumentRecord> {
    yield* (await this.#metadata()).list(query, signal);
  }

  /** A document in memory: its identity is known before anything is sent. */
  async #uploadWhole(source: Source, bytes: Buffer, request: UploadRequest): Promise<UploadedDocument> {
    await source.assertUnchanged();
    const sha256 = hash("sha256", bytes, "hex");
    const existing = await this.#existing(sha256, request);
    if (existing) return { ...existing, action: "unchanged", bytesSent: 0 };
    const facts = { size: bytes.length, sha256, head: bytes };
    if (request.dryRun) return planned(source, request, { ...facts, contentType: await request.contentType(bytes) });
    return await this.#store(source, request, bytes, bytes, () => facts);
  }

  /** A document that is sent while it is read, and hashed on the way. */
  async #uploadStream(
    source: Source,
    head: Buffer,
    rest: AsyncIterable<Buffer>,
    request: UploadRequest,
  ): Promise<UploadedDocument> {
    const { size } = source;
    // Reading a large file twice pays only when it is probably known: same name, same size.
    if (size !== null && (await this.#nameHasSize(request, size))) {
      const existing = await this.#existing(await hashAll(source, request.signal), request);
      if (existing) return { ...existing, action: "unchanged", bytesSent: 0 };
    }
    if (request.dryRun) {
      const contentType = await request.contentType(head);
      return planned(source, request, { size, sha256: null, contentType });
    }
    const digest = createHash("sha256");
    let bytesRead = 0;
    async function* body(): AsyncIterable<Buffer> {
      for await (const chunk of concat(head, rest)) {
        digest.update(chunk);
        bytesRead += chunk.length;
        yield chunk;
      }
      // Before the storage publishes anything: the end of the body is reached only if the source held still.
      if (size !== null && bytesRead !== size) throw sourceChanged(source.label);
      await source.assertUnchanged();
    }
    return await this.#store(source, request, body(), head, () => ({ size: bytesRead, sha256: digest.digest("hex") }));
  }

  /** Send, prove, commit. */
  async #store(
    source: Source,
    request: UploadRequest,
    body: Body,
    head: Uint8Array,
    factsOnceSent: () => { size: number; sha256: string },
  ): Promise<UploadedDocument> {
    const { name, tags, metadata, signal, onProgress } = request;
    const storage = await this.#storage();
    const contentType = await request.contentType(head);
    const id = newDocumentId();
    const key = storageKey(this.#prefix, id, name);
    const size = body instanceof Uint8Array ? body.length : source.size;
    const stored = await storage.put(key, body, { size, contentType, signal, ...(onProgress && { onProgress }) });
    try {
      const facts = factsOnceSent();
      if (stored.size !== facts.size) throw notWhatWasSent(source.label, facts.size, stored.size);
      const record: DocumentRecord = {
        id,
        name,
        size: facts.size,
        contentType,
        sha256: facts.sha256,
        uploadedAt: uploadTimeOfId(id),
        uri: storage.uri(key),
        tags,
        metadata,
        source: { kind: source.kind, path: source.path, modifiedAt: source.modifiedAt } satisfies DocumentSource,
        provenance: null,
      };
      const winner = await this.#commit(record, request);
      if (winner.id === id) return { ...record, action: "uploaded", bytesSent: facts.size };
      await removeOwn(storage, key);
      return { ...winner, action: "unchanged", bytesSent: facts.size };
    } catch (error) {
      if (!mayBeCommitted(error)) await removeOwn(storage, key);
      throw error;
    }
  }

  /** Commits the record, or returns the one that already holds its identity. */
  async #commit(record: DocumentRecord, { signal, onDuplicate }: UploadRequest): Promise<DocumentRecord> {
    const metadata = await this.#metadata();
    const identity = identityOf(record);
    try {
      for (;;) {
        const result = await metadata.commit(record, identity, signal);
        if (result.committed || result.holder === record.id) return record;
        if (onDuplicate === "store") {
          // The plain claim is taken: one with the id behind it is free, and names still find the document.
          await metadata.commit(record, `${identity}#${record.id}`, signal);
          return record;
        }
        const winner = await metadata.get(result.holder, signal);
        // Undefined: it was deleted between the two requests, and the claim is free again.
        if (winner) return winner;
        throwIfCancelled(signal);
      }
    } catch (error) {
      // The answer may have been lost after the commit was done: the catalog knows.
      if (mayBeCommitted(error) && (await isCommitted(metadata, record))) return record;
      throw error;
    }
  }

  async #existing(sha256: string, request: UploadRequest): Promise<DocumentRecord | undefined> {
    if (request.onDuplicate === "store") return undefined;
    const metadata = await this.#metadata();
    const identity = identityOf({ sha256, tags: request.tags });
    const holder = await metadata.holder(request.name, identity, request.signal);
    return holder === undefined ? undefined : await metadata.get(holder, request.signal);
  }

  async #nameHasSize(request: UploadRequest, size: number): Promise<boolean> {
    if (request.onDuplicate === "store") return false;
    const metadata = await this.#metadata();
    for await (const claim of metadata.claims(request.name, request.signal)) {
      if (claim.size === size) return true;
    }
    return false;
  }

  async #findByPrefix(prefix: string, signal: AbortSignal): Promise<DocumentRecord | undefined> {
    if (!/^[0-9a-f][0-9a-f-]{3,34}$/.test(prefix)) return undefined;
    const metadata = await this.#metadata();
    const found: DocumentRecord[] = [];
    for await (const record of metadata.list({ ascending: true, idPrefix: prefix }, signal)) {
      if (found.push(record) === 2) break;
    }
    if (found.length < 2) return found[0];
    const byName = await this.#findByName(prefix, signal);
    if (byName) return byName;
    throw new DocprocError("USAGE", `More than one document has an id that starts with ${prefix}.`, {
      hint: `Give more of it. Two of them: ${found.map(({ id }) => id).join(", ")}.`,
    });
  }

  async #findByName(text: string, signal: AbortSignal): Promise<DocumentRecord | undefined> {
    // What cannot be a name is the name of nothing.
    if (!isDocumentName(text)) return undefined;
    const name = documentName(text);
    const metadata = await this.#metadata();
    let newest = "";
    for await (const { id } of metadata.claims(name, signal)) if (id > newest) newest = id;
    return newest === "" ? undefined : await metadata.get(newest, signal);
  }
}

/** The contract of commit(): after UNAVAILABLE the record may be there or come, and its bytes must stay. */
function mayBeCommitted(error: unknown): boolean {
  return !(error instanceof DocprocError) || error.code === "UNAVAILABLE";
}

async function isCommitted(metadata: MetadataService, record: DocumentRecord): Promise<boolean> {
  return await metadata.get(record.id, AbortSignal.timeout(cleanUpDeadline)).then(
    (committed) => committed !== undefined,
    () => false,
  );
}

/** The object of an upload that did not become a document. If it cannot be removed now, it is only garbage. */
async function removeOwn(storage: StorageService, key: string): Promise<void> {
  await storage.remove(key, AbortSignal.timeout(cleanUpDeadline)).catch(() => {});
}

/** Milliseconds. */
const cleanUpDeadline = 5_000;

function planned(
  source: Source,
  { name, tags, metadata }: UploadRequest,
  facts: { size: number | null; sha256: string | null; contentType: string },
): UploadedDocument {
  const { size, sha256, contentType } = facts;
  const { kind, path, modifiedAt } = source;
  const known = { name, size, contentType, sha256, tags, metadata, source: { kind, path, modifiedAt } };
  return { id: null, uploadedAt: null, uri: null, provenance: null, ...known, action: "planned", bytesSent: 0 };
}

function notWhatWasSent(label: string, sent: number, stored: number): DocprocError {
  return new DocprocError("INTEGRITY", `${sent} bytes of ${label} were sent and ${stored} were stored.`, {
    hint: "The stored object was removed. Run the same command again.",
  });
}

/**
 * Reads at most `limit` bytes. `rest` is undefined when that is all, and otherwise continues behind them.
 * @throws INTEGRITY when a file ends before its size
 */
async function readHead(source: Source, limit: number, signal: AbortSignal) {
  const chunks: Buffer[] = [];
  let length = 0;
  const iterator = source.read(signal)[Symbol.asyncIterator]();
  while (length <= limit) {
    const next = await iterator.next();
    if (next.done) {
      if (source.size !== null && length !== source.size) throw sourceChanged(source.label);
      return { head: Buffer.concat(chunks, length), rest: undefined };
    }
    chunks.push(next.value);
    length += next.value.length;
    // A large file need not be held: its beginning is enough, it is read on from there.
    if (source.size !== null && source.size > limit) break;
  }
  return { head: Buffer.concat(chunks, length), rest: { [Symbol.asyncIterator]: () => iterator } };
}

async function* concat(head: Buffer, rest: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  yield head;
  yield* rest;
}

async function hashAll(source: Source, signal: AbortSignal): Promise<string> {
  const digest = createHash("sha256");
  for await (const chunk of source.read(signal)) digest.update(chunk);
  await source.assertUnchanged();
  return digest.digest("hex");
}

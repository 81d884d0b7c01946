/** A document that is not there: its bytes are stored and proved, then its record is committed. */
import { reached } from "../core/crash-points.ts";
import { crc32Digits } from "../core/crc32.ts";
import { DocprocError, isResumable, toDocprocError } from "../core/errors.ts";
import { cleanUpSignal } from "../core/retry.ts";
import { nameOfPath } from "../document/path.ts";
import { type DocumentRecord, type DocumentSource, uploadTimeOfId } from "../document/record.ts";
import { mayHaveSucceeded } from "../metadata/commit-outcome.ts";
import type { Standing } from "../metadata/service.ts";
import type { Body, PutResult, StoredObject } from "../storage/service.ts";
import { MemoryBody } from "./body.ts";
import { commitRecord } from "./commit.ts";
import type { UploadJournal, UploadPlan } from "./journal.ts";
import { settleKnown } from "./known.ts";
import { seriesOf, type UploadedDocument, type UploadRequest } from "./request.ts";
import type { RestoreContext, Send } from "./restore.ts";
import type { Source } from "./source.ts";
import { examine, keyOfRecord } from "./stored.ts";

/** What is known of the bytes. */
export interface Facts {
  readonly size: number;
  /** Hex. */
  readonly sha256: string;
}

export interface NewDocumentParts {
  readonly source: Source;
  readonly request: UploadRequest;
  readonly plan: UploadPlan;
  /** What the series had when it was looked up. */
  readonly seen: Standing;
  readonly journal: UploadJournal | undefined;
}

export interface NewDocumentContext extends RestoreContext {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

export class NewDocument {
  readonly #context: NewDocumentContext;
  readonly #parts: NewDocumentParts;

  constructor(context: NewDocumentContext, parts: NewDocumentParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /**
   * Send, prove, commit.
   * @param facts of the body, known after its end
   * @param known the same if they are known before: then the bytes may be copied instead of sent
   */
  async store(body: Body, facts: () => Facts, known: Facts | undefined): Promise<UploadedDocument> {
    const { source, request, plan, journal } = this.#parts;
    const copied = known && (await this.#copy(known));
    const stored = copied ?? (await this.#send(body, facts));
    const storedAt = this.#context.now();
    try {
      const { size, sha256 } = copied && known ? known : facts();
      if (stored.size !== size) throw sizeMismatch(source.label, size, stored.size);
      reached("bytes-proved");
      const record = await this.#record({ size, sha256 }, stored);
      const onDuplicate = request.as ? "store" : request.onDuplicate;
      let winner = await this.#commit(record, onDuplicate, storedAt);
      if (winner.id !== plan.id) {
        const known = await this.#settleWinner(winner, stored);
        if (known) return known;
        winner = await this.#commit(record, "store", storedAt);
      }
      const { bytesSent } = stored;
      return { ...winner, action: !copied && bytesSent < size ? "resumed" : "uploaded", bytesSent };
    } catch (error) {
      // With a journal, the next run resumes from here.
      const resumes = journal !== undefined && isResumable(toDocprocError(error));
      // With a given id the object may be another run's; doctor removes it if no run records it.
      if (!mayHaveSucceeded(error) && !resumes && request.as === undefined) await this.#removeOwn();
      throw error;
    }
  }

  async #send(body: Body, facts: () => Facts): Promise<PutResult> {
    const { source, request, plan, journal } = this.#parts;
    const { storage } = this.#context;
    const { onProgress, onSkipped } = request;
    const putting = storage.put(plan.key, body, {
      size: body instanceof MemoryBody ? facts().size : source.size,
      ...(await this.#ownership()),
      ...(onProgress && { onProgress }),
      ...(onSkipped && { onSkipped }),
      ...(journal && { checkpoint: journal }),
    });
    return await putting.catch(async (error: unknown) => {
      // An earlier run with the same given id may have stored its bytes and failed before the commit.
      if (request.as === undefined || toDocprocError(error).code !== "CONFLICT") throw error;
      return await this.#storedBefore(facts());
    });
  }

  async #ownership() {
    const { plan, request } = this.#parts;
    const { marks } = this.#context;
    const { signal } = request;
    const catalog = await marks.catalog(signal);
    const owns = async (other: string) => (await marks.ownerOf(other, signal)) !== "other";
    return { contentType: plan.contentType, catalog, owns, signal };
  }

  /**
   * Copies the bytes of another version of the path inside the storage.
   * @returns undefined when there is none, or when the copy cannot be made or proved: then the bytes are sent
   */
  async #copy(known: Facts): Promise<PutResult | undefined> {
    const { request, plan, seen } = this.#parts;
    const { storage, marks, prefix, retries } = this.#context;
    const { signal } = request;
    const twin = seen.twin?.record;
    // A zero-byte object is sent as quickly.
    if (twin === undefined || twin.sha256 !== known.sha256 || twin.size !== known.size || known.size === 0)
      return undefined;
    try {
      const key = await keyOfRecord(storage, prefix, twin, signal);
      if (key === undefined) return undefined;
      const { stored, damage } = await examine({ storage, key, record: twin, retries, deep: false, signal });
      if (stored === undefined || damage) return undefined;
      const copying = { ...known, crc32: stored.crc32, ...(await this.#ownership()) };
      const copied = await storage.copy(key, plan.key, copying).catch(async (error: unknown) => {
        // A run that was interrupted after the copy, and is resumed, has made it.
        const there = toDocprocError(error).code === "CONFLICT" ? await storage.stat(plan.key, signal) : undefined;
        const isCopy = there?.size === known.size && there.crc32 !== null && there.crc32 === stored.crc32;
        if (!isCopy || (await marks.ownerOf(there.catalog, signal)) !== "ours") throw error;
        return { size: there.size, crc32: there.crc32, bytesSent: 0 };
      });
      if (copied) reached("bytes-copied");
      return copied;
    } catch (error) {
      // Whatever prevents the copy, sending may work.
      if (signal.aborted) throw error;
      return undefined;
    }
  }

  /** @throws CONFLICT when other bytes, or another catalog's, are stored under the key */
  async #storedBefore({ size, sha256 }: Facts): Promise<PutResult> {
    const { request, plan, source } = this.#parts;
    const { storage, marks, retries } = this.#context;
    const { id, key } = plan;
    const { signal } = request;
    const found = await storage.stat(key, signal);
    const other = (cause?: unknown) =>
      new DocprocError("CONFLICT", `Another object is stored under ${key}.`, {
        hint: "Nothing was overwritten. Check the library with docproc doctor.",
        cause,
      });
    if (found?.size !== size || (await marks.ownerOf(found.catalog, signal)) === "other") throw other();
    const { readDocument } = await import("./reader.ts");
    const record = { id, size, sha256, source, uri: storage.uri(key) };
    try {
      for await (const _ of readDocument({ storage, key, record, retries, signal }));
    } catch (error) {
      throw toDocprocError(error).code === "INTEGRITY" ? other(error) : error;
    }
    return { size, crc32: found.crc32, bytesSent: 0 };
  }

  async #record({ size, sha256 }: Facts, stored: Pick<StoredObject, "crc32">): Promise<DocumentRecord> {
    const { source, request, plan } = this.#parts;
    const { path, tags, facts, provenance } = request;
    return {
      id: plan.id,
      path,
      name: nameOfPath(path),
      size,
      contentType: plan.contentType,
      sha256,
      uploadedAt: uploadTimeOfId(plan.id),
      uri: this.#context.storage.uri(plan.key),
      tags,
      metadata: facts.metadata ?? {},
      source: { kind: source.kind, path: source.path, modifiedAt: source.modifiedAt } satisfies DocumentSource,
      provenance: await provenance,
      crc32: crc32Digits(stored.crc32),
      expiresAt: facts.expiresAt ?? null,
    };
  }

  async #commit(record: DocumentRecord, onDuplicate: "reuse" | "store", storedAt: number): Promise<DocumentRecord> {
    const { request, plan, seen } = this.#parts;
    const { storage, metadata, now } = this.#context;
    const entry = { record, given: seriesOf(request).given, proved: true };
    const where = { metadata, storage, key: plan.key, storedAt, now, signal: request.signal };
    const committed = await commitRecord(entry, { ...where, onDuplicate, seen });
    reached("record-committed");
    return committed;
  }

  /**
   * Another upload was faster. Its bytes are looked at like those of any known document, and restored from ours.
   * @returns undefined when ours has to be recorded after all
   */
  async #settleWinner(winner: DocumentRecord, ours: PutResult): Promise<UploadedDocument | undefined> {
    const { request, plan } = this.#parts;
    const { storage } = this.#context;
    const { facts, signal } = request;
    const { size, crc32 } = ours;
    let isCopyable = true;
    const send: Send = async (key, options) => {
      const { sha256, contentType } = winner;
      const copied = await storage.copy(plan.key, key, { size, crc32, sha256, contentType, signal, ...options });
      if (copied) return copied;
      isCopyable = false;
      throw new DocprocError("UNAVAILABLE", `The bytes of ${winner.path} (${winner.id}) could not be restored.`);
    };
    const asked = { facts, dryRun: false, mustRestore: false, signal };
    const known = await settleKnown(this.#context, winner, send, asked).catch((error: unknown) => {
      // The bytes were read once and are stored: they become a document of their own.
      if (isCopyable) throw error;
      return undefined;
    });
    if (known === undefined) return undefined;
    await this.#removeOwn();
    return { ...known.record, action: known.action, bytesSent: ours.bytesSent };
  }

  /** Removes the object of a failed upload. If that fails, it is only garbage. */
  async #removeOwn(): Promise<void> {
    const { plan, request } = this.#parts;
    await this.#context.storage.remove(plan.key, cleanUpSignal(request.signal)).catch(() => {});
  }
}

/** The document of a dry run: null for what only an upload can tell. */
export async function planned(
  source: Source,
  { path, tags, facts: given, provenance }: UploadRequest,
  facts: { readonly size: number | null; readonly sha256: string | null },
  contentType: string,
): Promise<UploadedDocument> {
  return {
    id: null,
    path,
    name: nameOfPath(path),
    ...facts,
    contentType,
    uploadedAt: null,
    uri: null,
    tags,
    metadata: given.metadata ?? {},
    source: { kind: source.kind, path: source.path, modifiedAt: source.modifiedAt },
    provenance: await provenance,
    crc32: null,
    expiresAt: given.expiresAt ?? null,
    action: "planned",
    bytesSent: 0,
  };
}

function sizeMismatch(label: string, sent: number, stored: number): DocprocError {
  return new DocprocError("INTEGRITY", `${sent} bytes of ${label} were sent, but ${stored} were stored.`, {
    hint: "The stored object was removed. Run the same command again.",
  });
}

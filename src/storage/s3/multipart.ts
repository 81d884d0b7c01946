/**
 * One attempt to send an object to S3 through lib-storage.
 *
 * lib-storage cuts the body into parts and keeps some of them in flight. It gets a facade of the client, because we
 * must control three things: which upload a part belongs to (to resume an interrupted upload and skip parts that S3
 * has), when the upload is completed, and how it is cleaned up. Its own `abort()` returns while parts are still on
 * their way, and a part that lands after an abort stays in the bucket.
 */
import { setMaxListeners } from "node:events";
import { crc32 } from "node:zlib";
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import prettyBytes from "pretty-bytes";
import { errorNameOf, httpStatusOf, UnusableAnswer } from "../../aws/failures.ts";
import { reached } from "../../core/crash-points.ts";
import { combineCrc32 } from "../../core/crc32.ts";
import { cancelled, DocprocError, isResumable, throwIfCancelled } from "../../core/errors.ts";
import { cleanUpSignal } from "../../core/retry.ts";
import { conflictAt } from "../conflict.ts";
import type { Body, Piece, PutOptions, PutResult, StoredObject } from "../service.ts";
import { changedSinceStored, EarlierPut, isMarkedFor, totalSize } from "./earlier-put.ts";
import {
  abortUpload,
  type Checksums,
  catalogHeader,
  checksumText,
  conditionOf,
  fullObjectCrc32,
  headIfThere,
  headObject,
  isWritable,
  type ObjectTarget,
  type PartPlan,
  type StoredPart,
  unfinishedUploads,
} from "./parts.ts";
import type { S3Settings } from "./settings.ts";
import { type PartMemory, type Window, windowsOf } from "./windows.ts";

export interface SendOptions extends PutOptions {
  readonly settings: S3Settings;
  readonly memory: PartMemory;
}

type Facts = Pick<StoredObject, "size" | "crc32">;

/** One attempt to store one object. Call {@link send} once, and {@link end} after it has failed. */
export class ObjectUpload {
  readonly #target: ObjectTarget;
  readonly #options: SendOptions;
  readonly #plan: PartPlan;
  /** Fires with the caller's signal, and when a request fails for good. */
  readonly #stop = new AbortController();
  readonly #inFlight = new Set<Promise<unknown>>();
  readonly #parts: StoredPart[] = [];
  #earlier: EarlierPut | undefined;
  #uploadId: string | undefined;
  #beginning: Promise<string | undefined> | undefined;
  /** The first failed request; later failures only follow from it. */
  #failure: { readonly error: unknown } | undefined;
  /** True once a request was sent that begins an upload, or that makes the object visible. */
  #mayHaveBegun = false;
  #mayBeVisible = false;
  #proof: Facts | undefined;
  #size = 0;
  #crc32 = 0;
  #bytesSent = 0;

  constructor(target: ObjectTarget, plan: PartPlan, options: SendOptions) {
    this.#target = target;
    this.#options = options;
    this.#plan = plan;
    // Every request adds a listener.
    setMaxListeners(0, this.#stop.signal);
  }

  async send(body: Body): Promise<PutResult> {
    const { signal } = this.#options;
    const forward = () => this.#stop.abort(cancelled(signal));
    signal.addEventListener("abort", forward, { once: true });
    try {
      throwIfCancelled(signal);
      const earlier = await EarlierPut.find(this.#target, this.#options, this.#stop.signal);
      this.#earlier = earlier;
      this.#mayBeVisible = earlier.completed !== undefined;
      this.#uploadId = earlier.begun?.uploadId;
      await this.#sendParts(body, earlier.begun?.partSize ?? this.#plan.partSize);
      reached("s3-parts-stored");
      if (this.#uploadId !== undefined && !earlier.completed) await this.#complete(this.#uploadId);
      const { size, crc32: stored } = await this.#prove();
      return { size, crc32: stored, bytesSent: this.#bytesSent };
    } finally {
      signal.removeEventListener("abort", forward);
    }
  }

  /**
   * Ends a failed upload: waits for requests in flight, and removes everything unless the upload can be resumed.
   * @param dropped the upload cannot be resumed, whatever the error is
   * @returns the error with a hint for the user
   */
  async end(error: DocprocError, dropped: boolean): Promise<DocprocError> {
    this.#stop.abort();
    await Promise.allSettled(this.#inFlight);
    const { checkpoint, size, signal } = this.#options;
    // Parts of an earlier put count even if this attempt never looked at them.
    const stored = Math.max(totalSize(this.#parts), this.#earlier?.storedBytes ?? 0);
    if (checkpoint && stored > 0 && isResumable(error) && !dropped) {
      const share = `${prettyBytes(stored)} of ${prettyBytes(size ?? stored)}`;
      const goOn = `un the same command again; ${share} are stored and will not be sent again.`;
      // The same credentials would fail again.
      return error.withHint(error.code === "ACCESS_DENIED" ? `${error.hint} Then r${goOn}` : `R${goOn}`);
    }
    // The user needs the first error; doctor and the lifecycle rule clean up later.
    await this.#discard(cleanUpSignal(signal)).catch(() => {});
    return error;
  }

  async #discard(signal: AbortSignal): Promise<void> {
    const { client, bucket: Bucket, key: Key } = this.#target;
    const isNewKey = this.#options.replaces === undefined;
    if (this.#uploadId !== undefined) await abortUpload(this.#target, this.#uploadId, signal);
    else if (this.#mayHaveBegun) await this.#discardOtherBeginnings(undefined, signal);
    // Another process may have put back the object of a record.
    if (this.#mayBeVisible && isNewKey)
      await client.send(new DeleteObjectCommand({ Bucket, Key }), { abortSignal: signal });
  }

  async #sendParts(body: Body, partSize: number): Promise<void> {
    const { signal } = this.#stop;
    const whole = body.bytes;
    if (whole && whole.length <= partSize) {
      this.#count([{ length: whole.length, crc32: crc32(whole) }]);
      return await this.#putWhole(whole);
    }
    // A body that needs parts begins its upload while they are read.
    if ((this.#options.size ?? 0) > partSize) this.#ensureBegun(partSize).catch(() => {});
    const sending: Promise<void>[] = [];
    try {
      for await (const window of windowsOf(body, { ...this.#plan, partSize }, this.#options.memory, signal)) {
        this.#count(window.parts);
        const sent = this.#sendWindow(window);
        // Handled when all windows are sent.
        sent.catch(() => {});
        sending.push(sent);
      }
    } catch (error) {
      // Otherwise a request failed, and is reported below.
      if (!signal.aborted) throw error;
    }
    const failed = (await Promise.allSettled(sending)).find((outcome) => outcome.status === "rejected");
    if (failed) throw this.#failure?.error ?? failed.reason;
    throwIfCancelled(this.#options.signal);
  }

  async #sendWindow(window: Window): Promise<void> {
    const isWhole = window.partsBefore === 0 && window.parts.length <= 1;
    try {
      if (isWhole && this.#uploadId === undefined) return await this.#putWhole(window.bytes);
      const upload = new Upload({
        client: this.#facade(window),
        params: { ...this.#params(), Body: window.bytes },
        partSize: window.partSize,
        queueSize: window.parts.length || 1,
        leavePartsOnError: true,
      });
      await upload.done();
    } finally {
      window.free();
    }
  }

  #params() {
    return {
      Bucket: this.#target.bucket,
      Key: this.#target.key,
      ContentType: this.#options.contentType,
      Metadata: { [catalogHeader]: this.#options.catalog },
      ChecksumAlgorithm: "CRC32",
      ChecksumType: "FULL_OBJECT",
    } as const;
  }

  #checksum() {
    return { ChecksumCRC32: checksumText(this.#crc32) };
  }

  /** A client for lib-storage; `send` turns its commands into ours. */
  #facade(window: Window): S3Client {
    const send = (command: unknown): Promise<unknown> => {
      const sent = this.#dispatch(command, window);
      this.#inFlight.add(sent);
      const settled = () => this.#inFlight.delete(sent);
      // One failed part fails the object, so the others stop.
      sent.then(settled, (error) => {
        settled();
        this.#failure ??= { error };
        this.#stop.abort();
      });
      return sent;
    };
    return Object.create(this.#target.client, { send: { value: send } });
  }

  async #dispatch(command: unknown, window: Window): Promise<unknown> {
    if (command instanceof CreateMultipartUploadCommand) {
      return { UploadId: await this.#ensureBegun(window.partSize) };
    }
    if (command instanceof UploadPartCommand) {
      return await this.#part(window, command.input.PartNumber ?? 1, command.input.Body as Buffer);
    }
    if (command instanceof PutObjectCommand) {
      // lib-storage sends the last part alone as an object. It belongs to the upload that earlier windows begin,
      // perhaps right now.
      await this.#beginning;
      return await this.#part(window, 1, command.input.Body as Buffer);
    }
    // Completed by #complete(), after everything was read and checked.
    if (command instanceof CompleteMultipartUploadCommand) return {};
    throw new DocprocError("INTERNAL", `lib-storage sent an unexpected ${Object(command).constructor.name}.`);
  }

  /** Begins the upload once, unless one is resumed. */
  #ensureBegun(partSize: number): Promise<string | undefined> {
    if (this.#beginning === undefined) {
      this.#beginning = this.#begin(partSize);
      this.#inFlight.add(this.#beginning);
    }
    return this.#beginning;
  }

  async #begin(partSize: number): Promise<string | undefined> {
    const abortSignal = this.#stop.signal;
    if (this.#uploadId !== undefined) return this.#uploadId;
    this.#mayHaveBegun = true;
    const command = new CreateMultipartUploadCommand(this.#params());
    const reply = await this.#target.client.send(command, { abortSignal });
    this.#uploadId = reply.UploadId;
    if (reply.UploadId !== undefined) this.#options.checkpoint?.begin({ uploadId: reply.UploadId, partSize });
    reached("s3-upload-begun");
    // A lost response: an earlier attempt began an upload too.
    if ((reply.$metadata.attempts ?? 1) > 1) {
      await this.#discardOtherBeginnings(reply.UploadId, abortSignal).catch(() => {});
    }
    return this.#uploadId;
  }

  /**
   * Aborts all other uploads of this key. The key contains the document's id, so all of them are ours, unless other
   * processes put back the same document.
   */
  async #discardOtherBeginnings(except: string | undefined, signal: AbortSignal): Promise<void> {
    if (this.#options.replaces !== undefined) return;
    const { client, bucket, key } = this.#target;
    for await (const { Key, UploadId } of unfinishedUploads(client, bucket, key, signal)) {
      if (Key !== key || UploadId === undefined || UploadId === except) continue;
      await abortUpload(this.#target, UploadId, signal);
    }
  }

  /**
   * Sends a part, unless S3 has exactly these bytes from an earlier put.
   * @param place of the part in its window, from 1
   */
  async #part(window: Window, place: number, Body: Buffer): Promise<StoredPart> {
    const { checkpoint, onProgress, onSkipped } = this.#options;
    const PartNumber = window.partsBefore + place;
    const { sha256, crc32: checksum } = window.parts[place - 1] as Piece;
    const stored = this.#earlier?.has(PartNumber, Body.length, sha256);
    if (stored) {
      this.#parts.push(stored);
      onSkipped?.(Body.length);
      return stored;
    }
    const { client, bucket: Bucket, key: Key } = this.#target;
    const checksums = { ChecksumAlgorithm: "CRC32", ChecksumCRC32: checksumText(checksum) } as const;
    const upload = { Bucket, Key, UploadId: this.#uploadId, PartNumber, Body, ...checksums };
    const reply = await client.send(new UploadPartCommand(upload), { abortSignal: this.#stop.signal });
    const { ETag, ChecksumCRC32 } = reply;
    if (ETag === undefined) throw new UnusableAnswer("A part has no ETag.");
    checkpoint?.save(PartNumber, { size: Body.length, sha256, etag: ETag });
    const part = { PartNumber, ETag, size: Body.length, ...(ChecksumCRC32 === undefined ? {} : { ChecksumCRC32 }) };
    this.#parts.push(part);
    reached("s3-part-stored");
    this.#bytesSent += Body.length;
    onProgress?.(Body.length);
    return part;
  }

  async #putWhole(Body: Buffer): Promise<void> {
    const command = new PutObjectCommand({
      ...this.#params(),
      ...conditionOf(this.#options),
      ...this.#checksum(),
      Body,
    });
    await this.#assertReplaceable();
    this.#mayBeVisible = true;
    const sent = this.#target.client.send(command, { abortSignal: this.#stop.signal });
    this.#inFlight.add(sent);
    const reply = await sent.catch((error) => this.#ownEarlierAttempt(error));
    reached("s3-object-sent");
    this.#bytesSent = this.#size;
    this.#options.onProgress?.(this.#size);
    this.#proof = { size: this.#size, crc32: fullObjectCrc32(reply) };
  }

  async #complete(uploadId: string): Promise<void> {
    throwIfCancelled(this.#options.signal);
    const { client, bucket: Bucket, key: Key } = this.#target;
    const parts = this.#parts.toSorted((a, b) => (a.PartNumber ?? 0) - (b.PartNumber ?? 0));
    const command = new CompleteMultipartUploadCommand({
      Bucket,
      Key,
      UploadId: uploadId,
      MultipartUpload: { Parts: parts.map(({ size: _, ...part }) => part) },
      ...conditionOf(this.#options),
      MpuObjectSize: this.#size,
      ChecksumType: "FULL_OBJECT",
      ...this.#checksum(),
    });
    await this.#assertReplaceable();
    this.#mayBeVisible = true;
    const sent = client.send(command, { abortSignal: this.#stop.signal });
    const reply = await sent.catch(async (error) => {
      const stored = await this.#ownEarlierAttempt(error);
      // Another process has put the object back: these parts are of no use.
      const isLeft = errorNameOf(error) !== "NoSuchUpload";
      if (isLeft) await abortUpload(this.#target, uploadId, this.#stop.signal).catch(() => {});
      return stored;
    });
    reached("s3-upload-completed");
    this.#proof = { size: this.#size, crc32: fullObjectCrc32(reply) };
  }

  /** Right before the write, for endpoints that ignore its condition. */
  async #assertReplaceable(): Promise<void> {
    if (!this.#options.replaces || isWritable(await headIfThere(this.#target, this.#stop.signal), this.#options))
      return;
    throw conflictAt(this.#target.key, this.#options);
  }

  /**
   * The SDK repeats a request whose response was lost, and then meets its own success: 412 for an object, 404 for a
   * multipart upload. Only this document uses the key, so an object of the same size (and checksum, if the endpoint has
   * one) is what was sent: by us, or by a process that puts back the same document.
   */
  async #ownEarlierAttempt(error: unknown): Promise<Checksums> {
    const status = httpStatusOf(error);
    // S3 refused. After any other failure (a lost response, a 500) it may have stored the object.
    if (status !== undefined && status >= 400 && status < 500) this.#mayBeVisible = false;
    if (status !== 412 && status !== 404) throw error;
    const stored = await this.#head().catch(() => undefined);
    const isOurs = stored && this.#isWhatWasRead(stored) && isMarkedFor(stored, this.#options.catalog);
    if (!isOurs || (this.#options.replaces && isWritable(stored, this.#options))) {
      // The object that was to be replaced is another one, or gone.
      if (this.#options.replaces && errorNameOf(error) !== "NoSuchUpload") {
        throw conflictAt(this.#target.key, this.#options, error);
      }
      throw error;
    }
    this.#mayBeVisible = true;
    return stored.crc32 === null ? {} : { ChecksumCRC32: checksumText(stored.crc32) };
  }

  /** An endpoint without checksums is verified by size only: weaker, but not blind. */
  async #prove(): Promise<Facts> {
    const answered = this.#earlier?.completed ?? this.#proof;
    const stored = answered?.crc32 == null ? await this.#head() : answered;
    if (this.#isWhatWasRead(stored)) return stored;
    if (this.#earlier?.completed) throw changedSinceStored();
    throw new DocprocError("INTEGRITY", `S3 stored other bytes of ${this.#target.key} than were sent.`, {
      hint: `${this.#options.replaces === undefined ? "The object was removed. " : ""}Run the same command again.`,
    });
  }

  #isWhatWasRead({ size, crc32: stored }: Facts): boolean {
    return size === this.#size && (stored === null || stored === this.#crc32);
  }

  #head(): Promise<StoredObject> {
    return headObject(this.#target, this.#stop.signal);
  }

  /** Parts must be counted in order. */
  #count(parts: readonly Pick<Piece, "length" | "crc32">[]): void {
    for (const { length, crc32: checksum } of parts) {
      this.#size += length;
      this.#crc32 = combineCrc32(this.#crc32, checksum, length);
    }
  }
}

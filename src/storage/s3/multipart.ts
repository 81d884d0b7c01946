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
import { httpStatusOf, UnusableAnswer } from "../../aws/failures.ts";
import { reached } from "../../core/crash-points.ts";
import { combineCrc32 } from "../../core/crc32.ts";
import { cancelled, DocprocError, isResumable, throwIfCancelled } from "../../core/errors.ts";
import { cleanUpSignal } from "../../core/retry.ts";
import type { Settings } from "../../core/settings.ts";
import type { Body, Piece, PutOptions, PutResult, StoredObject } from "../service.ts";
import { changedSinceStored, EarlierPut, isMarkedFor, totalSize } from "./earlier-put.ts";
import {
  abortUpload,
  type Checksums,
  catalogHeader,
  checksumText,
  fullObjectCrc32,
  headObject,
  type ObjectTarget,
  type PartPlan,
  type StoredPart,
  unfinishedUploads,
} from "./parts.ts";
import { type PartMemory, type Window, windowsOf } from "./windows.ts";

export interface SendOptions extends PutOptions {
  readonly settings: Settings;
  readonly memory: PartMemory;
}

/** One attempt to store one object; {@link send} is called once, {@link end} after it has failed. */
export class ObjectUpload {
  readonly #target: ObjectTarget;
  readonly #options: SendOptions;
  readonly #plan: PartPlan;
  /** Fires with the caller's signal, and when one request has failed for good. */
  readonly #stop = new AbortController();
  readonly #inFlight = new Set<Promise<unknown>>();
  readonly #parts: StoredPart[] = [];
  #earlier: EarlierPut | undefined;
  #uploadId: string | undefined;
  #beginning: Promise<string | undefined> | undefined;
  /** Of the first request that failed: those after it failed because of it. */
  #failure: { readonly error: unknown } | undefined;
  /** True once a request was sent that begins an upload, or one that makes the object visible. */
  #mayHaveBegun = false;
  #mayBeVisible = false;
  #proof: StoredObject | undefined;
  #size = 0;
  #crc32 = 0;
  #bytesSent = 0;

  constructor(target: ObjectTarget, plan: PartPlan, options: SendOptions) {
    this.#target = target;
    this.#options = options;
    this.#plan = plan;
    // Each request listens to it.
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
   * Ends a failed upload: nothing is in flight afterwards, and nothing of it is left unless it can be gone on with.
   * @param spent the upload is worth nothing, whatever the error is
   * @returns the error, with what the user can do about it
   */
  async end(error: DocprocError, spent: boolean): Promise<DocprocError> {
    this.#stop.abort();
    await Promise.allSettled(this.#inFlight);
    const { checkpoint, size, signal } = this.#options;
    // What an earlier put stored counts even if this one did not get as far as looking at it.
    const stored = Math.max(totalSize(this.#parts), this.#earlier?.storedBytes ?? 0);
    if (checkpoint && stored > 0 && isResumable(error) && !spent) {
      const share = `${prettyBytes(stored)} of ${prettyBytes(size ?? stored)}`;
      const goOn = `un the same command again: ${share} are stored and will not be sent again.`;
      // With the same credentials it would fail again.
      return error.withHint(error.code === "ACCESS_DENIED" ? `${error.hint} Then r${goOn}` : `R${goOn}`);
    }
    // The failure that led here is what the user needs to hear; doctor and the lifecycle rule sweep up after this.
    await this.#discard(cleanUpSignal(signal)).catch(() => {});
    return error;
  }

  async #discard(signal: AbortSignal): Promise<void> {
    const { client, bucket: Bucket, key: Key } = this.#target;
    if (this.#uploadId !== undefined) await abortUpload(this.#target, this.#uploadId, signal);
    else if (this.#mayHaveBegun) await this.#discardOtherBeginnings(undefined, signal);
    if (this.#mayBeVisible) await client.send(new DeleteObjectCommand({ Bucket, Key }), { abortSignal: signal });
  }

  async #sendParts(body: Body, partSize: number): Promise<void> {
    const { signal } = this.#stop;
    const whole = body.bytes;
    if (whole && whole.length <= partSize) {
      this.#count([{ length: whole.length, crc32: crc32(whole) }]);
      return await this.#putWhole(whole);
    }
    // What is known to take parts is begun while the first of them are read.
    if ((this.#options.size ?? 0) > partSize) this.#ensureBegun(partSize).catch(() => {});
    const sending: Promise<void>[] = [];
    try {
      for await (const window of windowsOf(body, { ...this.#plan, partSize }, this.#options.memory, signal)) {
        this.#count(window.parts);
        const sent = this.#sendWindow(window);
        // It is looked at when all are sent.
        sent.catch(() => {});
        sending.push(sent);
      }
    } catch (error) {
      // Else a request has failed, and that ended the reading.
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
      IfNoneMatch: "*",
      ChecksumAlgorithm: "CRC32",
      ChecksumType: "FULL_OBJECT",
    } as const;
  }

  #checksum() {
    return { ChecksumCRC32: checksumText(this.#crc32) };
  }

  /** A client to lib-storage; `send` is where its commands become ours. */
  #facade(window: Window): S3Client {
    const send = (command: unknown): Promise<unknown> => {
      const sent = this.#dispatch(command, window);
      this.#inFlight.add(sent);
      const settled = () => this.#inFlight.delete(sent);
      // One part that failed for good fails the object: the others need not go on.
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
      // The end of a body that goes on in parts is a part, too, though lib-storage takes it for an object. The windows
      // before it begin the upload, and one of them may still be about it.
      await this.#beginning;
      return await this.#part(window, 1, command.input.Body as Buffer);
    }
    // Completed by #complete(), after everything has been read and checked.
    if (command instanceof CompleteMultipartUploadCommand) return {};
    throw new DocprocError("INTERNAL", `lib-storage sent an unexpected ${Object(command).constructor.name}.`);
  }

  /** Begins an upload, once, unless there is one to go on with. */
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
    const { IfNoneMatch: _, ...params } = this.#params();
    const reply = await this.#target.client.send(new CreateMultipartUploadCommand(params), { abortSignal });
    this.#uploadId = reply.UploadId;
    if (reply.UploadId !== undefined) this.#options.checkpoint?.begin({ uploadId: reply.UploadId, partSize });
    reached("s3-upload-begun");
    // The answer to an earlier attempt was lost: that one began an upload too.
    if ((reply.$metadata.attempts ?? 1) > 1) {
      await this.#discardOtherBeginnings(reply.UploadId, abortSignal).catch(() => {});
    }
    return this.#uploadId;
  }

  /** Drops every upload of this key but one. The key holds the id of the document, so all of them are ours. */
  async #discardOtherBeginnings(except: string | undefined, signal: AbortSignal): Promise<void> {
    const { client, bucket, key } = this.#target;
    for await (const { Key, UploadId } of unfinishedUploads(client, bucket, key, signal)) {
      if (Key !== key || UploadId === undefined || UploadId === except) continue;
      await abortUpload(this.#target, UploadId, signal);
    }
  }

  /**
   * Sends a part, or finds that S3 has just these bytes since an earlier put: read again and hashed just now.
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
    const command = new PutObjectCommand({ ...this.#params(), ...this.#checksum(), Body });
    this.#mayBeVisible = true;
    const sent = this.#target.client.send(command, { abortSignal: this.#stop.signal });
    this.#inFlight.add(sent);
    const reply = await sent.catch((error) => this.#ownEarlierAttempt(error));
    reached("s3-object-sent");
    this.#bytesSent = this.#size;
    this.#options.onProgress?.(this.#size);
    this.#proof = { size: this.#size, crc32: fullObjectCrc32(reply), catalog: this.#options.catalog };
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
      IfNoneMatch: "*",
      MpuObjectSize: this.#size,
      ChecksumType: "FULL_OBJECT",
      ...this.#checksum(),
    });
    this.#mayBeVisible = true;
    const sent = client.send(command, { abortSignal: this.#stop.signal });
    const reply = await sent.catch((error) => this.#ownEarlierAttempt(error));
    reached("s3-upload-completed");
    this.#proof = { size: this.#size, crc32: fullObjectCrc32(reply), catalog: this.#options.catalog };
  }

  /**
   * The SDK repeats a request whose answer was lost, and then meets its own success: 412 for an object, 404
   * for a multipart upload. The key is of this document alone, so an object there that is as large, with our
   * checksum where the endpoint has one, is what was sent.
   */
  async #ownEarlierAttempt(error: unknown): Promise<Checksums> {
    const status = httpStatusOf(error);
    // S3 said no; after anything else (a lost answer, a 500) it may have stored the object all the same.
    if (status !== undefined && status >= 400 && status < 500) this.#mayBeVisible = false;
    if (status !== 412 && status !== 404) throw error;
    const stored = await this.#head().catch(() => undefined);
    if (!stored || !this.#isWhatWasRead(stored) || !isMarkedFor(stored, this.#options.catalog)) throw error;
    this.#mayBeVisible = true;
    return stored.crc32 === null ? {} : { ChecksumCRC32: checksumText(stored.crc32) };
  }

  /** An endpoint that returns no checksum is believed on the size: weaker, but not blind. */
  async #prove(): Promise<StoredObject> {
    const answered = this.#earlier?.completed ?? this.#proof;
    const stored = answered?.crc32 == null ? await this.#head() : answered;
    if (this.#isWhatWasRead(stored)) return stored;
    if (this.#earlier?.completed) throw changedSinceStored();
    throw new DocprocError("INTEGRITY", `S3 did not store the bytes of ${this.#target.key} that were sent.`, {
      hint: "The object was removed. Run the same command again.",
    });
  }

  #isWhatWasRead({ size, crc32: stored }: StoredObject): boolean {
    return size === this.#size && (stored === null || stored === this.#crc32);
  }

  #head(): Promise<StoredObject> {
    return headObject(this.#target, this.#stop.signal);
  }

  /** The parts come in their order. */
  #count(parts: readonly Pick<Piece, "length" | "crc32">[]): void {
    for (const { length, crc32: checksum } of parts) {
      this.#size += length;
      this.#crc32 = combineCrc32(this.#crc32, checksum, length);
    }
  }
}

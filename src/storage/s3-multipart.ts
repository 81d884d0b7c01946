/**
 * One object on its way to S3, through lib-storage.
 *
 * lib-storage cuts the body into parts and keeps some of them in flight. It is handed a facade of the client,
 * because three things have to be ours: which upload a part belongs to (so that an interrupted upload is gone on
 * with, and a part that S3 has is not sent again), when the upload is completed, and how it is cleaned up. Its own
 * `abort()` returns while parts are still on their way, and a part that lands after an abort stays in the bucket.
 */
import { Readable } from "node:stream";
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
import { errorNameOf, fromAwsError, httpStatusOf, UnusableAnswer } from "../aws.ts";
import { cancelled, DocprocError, mayGoOn, throwIfCancelled } from "../errors.ts";
import { cleanUpSignal } from "../retry.ts";
import type { Settings } from "../settings.ts";
import { reached } from "../steps.ts";
import { changedSinceStored, EarlierPut, isMarkedFor, totalSize } from "./s3-earlier-put.ts";
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
} from "./s3-parts.ts";
import type { Body, PutOptions, PutResult, StoredObject } from "./service.ts";

/** Parts of one object in flight; with the part size this bounds the memory of an upload. */
const partsInFlight = 4;
/** Bytes taken from the body at a time. */
const pieceSize = 256 * 1024;
/** How often an upload that S3 has dropped is begun anew. */
const beginnings = 3;

/**
 * Sends a body as a new object and proves it: S3's own CRC-32 of the whole object must equal that of the
 * bytes that were read. On failure no object and no part of it stay behind, as far as S3 can be reached; unless
 * there is a checkpoint, and the failure is one after which the upload can be gone on with.
 * @throws CONFLICT, INTEGRITY when the proof fails, what the SDK's failures mean, what the body threw, CANCELLED
 */
export async function sendObject(
  target: ObjectTarget,
  body: Body,
  plan: PartPlan,
  options: PutOptions & { readonly settings: Settings },
): Promise<PutResult> {
  const operation = { action: "s3:PutObject", resource: `bucket ${target.bucket}`, settings: options.settings };
  const tell = tellOnce(options);
  for (let attempt = 1; ; attempt++) {
    const upload = new ObjectUpload(target, plan, { ...options, ...tell() });
    try {
      return await upload.send(body);
    } catch (thrown) {
      const error = options.signal.aborted ? cancelled(options.signal) : fromAwsError(thrown, operation);
      const ended = await upload.end(error, isSpent(thrown));
      if (!isSpent(thrown) || attempt === beginnings || options.signal.aborted || !(await body.rewind())) throw ended;
    }
  }
}

/** Makes the callbacks of one attempt after another: what was told of in one is not told of again in the next. */
function tellOnce({ onProgress, onSkipped }: PutOptions): () => Pick<PutOptions, "onProgress" | "onSkipped"> {
  let told = 0;
  return () => {
    let counted = 0;
    const beyond = (tell?: (bytes: number) => void) => (bytes: number) => {
      counted += bytes;
      if (counted > told) tell?.(Math.min(bytes, counted - told));
      told = Math.max(told, counted);
    };
    return { onProgress: beyond(onProgress), onSkipped: beyond(onSkipped) };
  };
}

/**
 * S3 no longer knows the upload, or met another request for the key while it completed it; either way all parts
 * have to be sent again. https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
 */
function isSpent(error: unknown): boolean {
  return ["NoSuchUpload", "ConditionalRequestConflict"].includes(errorNameOf(error));
}

class ObjectUpload {
  readonly #target: ObjectTarget;
  readonly #options: PutOptions;
  readonly #plan: PartPlan;
  /** Fires with the caller's signal, and when one request has failed for good. */
  readonly #stop = new AbortController();
  readonly #inFlight = new Set<Promise<unknown>>();
  /** By number: SHA-256 of the body up to the end of the part. Kept only for a checkpoint. */
  readonly #digests = new Map<number, string>();
  readonly #parts: StoredPart[] = [];
  #earlier: EarlierPut | undefined;
  /** Parts stored by earlier runs of lib-storage for this object. */
  #partsBefore = 0;
  #uploadId: string | undefined;
  /** True once a request was sent that begins an upload, or one that makes the object visible. */
  #mayHaveBegun = false;
  #mayBeVisible = false;
  #proof: StoredObject | undefined;
  #size = 0;
  #crc32 = 0;
  #bytesSent = 0;

  constructor(target: ObjectTarget, plan: PartPlan, options: PutOptions) {
    this.#target = target;
    this.#options = options;
    this.#plan = plan;
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
    if (checkpoint && stored > 0 && mayGoOn(error) && !spent) {
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

  async #sendParts(body: Body, firstPartSize: number): Promise<void> {
    const { size } = this.#options;
    if (size !== null && size <= firstPartSize) {
      return await this.#run(await this.#takeWhole(body, size), firstPartSize);
    }
    let piece = await body.take(pieceSize);
    for (let partSize = firstPartSize; ; partSize *= 2) {
      const { partsPerSize } = this.#plan;
      const pieces = this.#pieces(body, piece, partSize, partsPerSize);
      await this.#run(Readable.from(pieces), partSize);
      // Only a stream of unknown length gets here with more to come.
      piece = await body.take(pieceSize);
      if (piece === undefined) return;
      this.#partsBefore += partsPerSize;
    }
  }

  async #takeWhole(body: Body, size: number): Promise<Buffer> {
    const pieces: Uint8Array[] = [];
    // One byte more than is expected: the end of the body is where it says what is wrong with it.
    for (let piece = await body.take(size + 1); piece; piece = await body.take(size + 1)) {
      this.#count(piece);
      pieces.push(piece);
    }
    const [first] = pieces;
    // The common case, a document that is in memory, is not copied.
    if (first && pieces.length === 1) return Buffer.from(first.buffer, first.byteOffset, first.byteLength);
    return Buffer.concat(pieces);
  }

  /** The body in pieces none of which belongs to two parts, up to a number of parts. */
  async *#pieces(body: Body, first: Uint8Array | undefined, partSize: number, parts: number) {
    let piece = first;
    for (let number = this.#partsBefore + 1; number <= this.#partsBefore + parts; number++) {
      for (let left = partSize; left > 0; piece = undefined) {
        piece ??= await body.take(Math.min(left, pieceSize));
        if (piece === undefined) {
          this.#noteDigest(number, body);
          return;
        }
        this.#count(piece);
        left -= piece.byteLength;
        // Before the piece is handed on: with it, lib-storage has the part.
        if (left === 0) this.#noteDigest(number, body);
        yield piece;
      }
    }
  }

  #noteDigest(number: number, body: Body): void {
    if (this.#options.checkpoint) this.#digests.set(number, body.sha256());
  }

  async #run(body: Buffer | Readable, partSize: number): Promise<void> {
    const upload = new Upload({
      client: this.#facade(partSize),
      params: {
        Bucket: this.#target.bucket,
        Key: this.#target.key,
        Body: body,
        ContentType: this.#options.contentType,
        Metadata: { [catalogHeader]: this.#options.catalog },
        IfNoneMatch: "*",
        ChecksumAlgorithm: "CRC32",
        ChecksumType: "FULL_OBJECT",
        ...(body instanceof Buffer ? { ChecksumCRC32: checksumText(this.#crc32) } : {}),
      },
      partSize,
      queueSize: partsInFlight,
      leavePartsOnError: true,
    });
    await upload.done();
  }

  /** A client to lib-storage; `send` is where its commands become ours. */
  #facade(partSize: number): S3Client {
    const send = (command: unknown): Promise<unknown> => {
      const sent = this.#dispatch(command, partSize);
      this.#inFlight.add(sent);
      const settled = () => this.#inFlight.delete(sent);
      // One part that failed for good fails the object: the others need not go on.
      sent.then(settled, () => {
        settled();
        this.#stop.abort();
      });
      return sent;
    };
    return Object.create(this.#target.client, { send: { value: send } });
  }

  async #dispatch(command: unknown, partSize: number): Promise<unknown> {
    if (command instanceof CreateMultipartUploadCommand) return { UploadId: await this.#begin(command, partSize) };
    if (command instanceof UploadPartCommand) {
      return await this.#part(this.#partsBefore + (command.input.PartNumber ?? 1), command.input.Body as Buffer);
    }
    if (command instanceof PutObjectCommand) {
      // The rest of a stream that fits into one part is a part here, not an object of its own.
      if (this.#uploadId === undefined) return await this.#putWhole(command);
      return await this.#part(this.#partsBefore + 1, command.input.Body as Buffer);
    }
    // Completed by #complete(), after everything has been read and checked.
    if (command instanceof CompleteMultipartUploadCommand) return {};
    throw new DocprocError("INTERNAL", `lib-storage sent an unexpected ${Object(command).constructor.name}.`);
  }

  /** Begins an upload, unless there is one to go on with. */
  async #begin(command: CreateMultipartUploadCommand, partSize: number): Promise<string | undefined> {
    const abortSignal = this.#stop.signal;
    if (this.#uploadId !== undefined) return this.#uploadId;
    this.#mayHaveBegun = true;
    const reply = await this.#target.client.send(command, { abortSignal });
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

  /** Sends a part, or finds that S3 has just these bytes since an earlier put: read again and hashed just now. */
  async #part(PartNumber: number, Body: Buffer): Promise<StoredPart> {
    const { checkpoint, onProgress, onSkipped } = this.#options;
    const sha256 = this.#digests.get(PartNumber) ?? "";
    const stored = this.#earlier?.has(PartNumber, Body.length, sha256);
    if (stored) {
      this.#parts.push(stored);
      onSkipped?.(Body.length);
      return stored;
    }
    const { client, bucket: Bucket, key: Key } = this.#target;
    const upload = { Bucket, Key, UploadId: this.#uploadId, PartNumber, Body, ChecksumAlgorithm: "CRC32" as const };
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

  async #putWhole(command: PutObjectCommand): Promise<unknown> {
    this.#mayBeVisible = true;
    const sent = this.#target.client.send(command, { abortSignal: this.#stop.signal });
    const reply = await sent.catch((error) => this.#ownEarlierAttempt(error));
    reached("s3-object-sent");
    this.#bytesSent = this.#size;
    this.#options.onProgress?.(this.#size);
    this.#proof = { size: this.#size, crc32: fullObjectCrc32(reply), catalog: this.#options.catalog };
    return reply;
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
      ChecksumCRC32: checksumText(this.#crc32),
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

  #count(piece: Uint8Array): void {
    this.#size += piece.byteLength;
    this.#crc32 = crc32(piece, this.#crc32);
  }
}

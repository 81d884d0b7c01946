/**
 * One object on its way to S3, through lib-storage.
 *
 * lib-storage cuts the body into parts and keeps some of them in flight. It is handed a facade of the client,
 * because three things have to be ours: which upload a part belongs to (so that one upload can be continued),
 * when the upload is completed, and how it is cleaned up. Its own `abort()` returns while parts are still on
 * their way, and a part that lands after an abort stays in the bucket.
 */

import { Readable } from "node:stream";
import { crc32 } from "node:zlib";
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  ListPartsCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
  type UploadPartCommandOutput,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { httpStatusOf } from "../aws.ts";
import { cancelled, DocprocError, throwIfCancelled } from "../errors.ts";
import type { Body, PutOptions, StoredObject } from "./service.ts";

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
const maxParts = 10_000;
const mebibyte = 1024 * 1024;
/** Bytes. Five MiB is the least that S3 takes; fewer, larger parts cost fewer requests. */
const defaultPartSize = 8 * mebibyte;
/** Parts of one object in flight; with the part size this bounds the memory of an upload. */
const partsInFlight = 4;
/** Milliseconds for cleaning up after a failure, and after an interruption, when a person waits. */
const cleanUpDeadline = 5_000;
const interruptedDeadline = 2_000;

/**
 * How a body is cut: parts of `partSize` bytes, and where nobody knows the size, twice as large after every
 * `partsPerSize` parts, so that a stream of any length ends below part 10,001.
 */
export interface PartPlan {
  readonly partSize: number;
  readonly partsPerSize: number;
}

/** Plans the parts of a body. A configured part size is raised where it would need over 10,000 parts. */
export function planParts(size: number | null, configured: number | undefined): PartPlan {
  const partSize = configured ?? defaultPartSize;
  // From 8 MiB: 1,250 parts of each size reach 2.4 TiB with the eighth.
  if (size === null) return { partSize, partsPerSize: maxParts / 8 };
  const least = Math.ceil(size / maxParts / mebibyte) * mebibyte;
  return { partSize: Math.max(partSize, least), partsPerSize: maxParts };
}

export interface ObjectTarget {
  readonly client: S3Client;
  readonly bucket: string;
  readonly key: string;
}

/**
 * Sends a body as a new object and proves it: S3's own CRC-32 of the whole object must equal that of the
 * bytes that were read. On failure no object and no part of it stay behind, as far as S3 can be reached.
 * @throws what the SDK, the body or the signal threw; INTEGRITY when the proof fails
 */
export async function sendObject(
  target: ObjectTarget,
  body: Body,
  plan: PartPlan,
  options: PutOptions,
): Promise<StoredObject> {
  const upload = new ObjectUpload(target, options);
  try {
    return await upload.send(body, plan);
  } catch (error) {
    await upload.cleanUp();
    throw options.signal.aborted ? cancelled(options.signal) : error;
  }
}

class ObjectUpload {
  readonly #target: ObjectTarget;
  readonly #options: PutOptions;
  /** Fires with the caller's signal, and when one request has failed for good. */
  readonly #stop = new AbortController();
  readonly #inFlight = new Set<Promise<unknown>>();
  readonly #parts: CompletedPart[] = [];
  /** Parts stored by earlier runs of lib-storage for this object. */
  #partsBefore = 0;
  #uploadId: string | undefined;
  /** True once a request was sent that makes the object visible. */
  #mayBeVisible = false;
  #proof: StoredObject | undefined;
  #size = 0;
  #crc32 = 0;

  constructor(target: ObjectTarget, options: PutOptions) {
    this.#target = target;
    this.#options = options;
  }

  async send(body: Body, plan: PartPlan): Promise<StoredObject> {
    const forward = () => this.#stop.abort(cancelled(this.#options.signal));
    this.#options.signal.addEventListener("abort", forward, { once: true });
    try {
      throwIfCancelled(this.#options.signal);
      await this.#sendParts(body, plan);
      if (this.#uploadId !== undefined) await this.#complete(this.#uploadId);
      return await this.#prove();
    } finally {
      this.#options.signal.removeEventListener("abort", forward);
    }
  }

  /** Removes what a failed upload left: nothing is in flight afterwards, no part is stored, no object visible. */
  async cleanUp(): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled(this.#inFlight);
    const { client, bucket: Bucket, key: Key } = this.#target;
    const deadline = this.#options.signal.aborted ? interruptedDeadline : cleanUpDeadline;
    const late = { abortSignal: AbortSignal.timeout(deadline) };
    // The failure that led here is what the user needs to hear; a bucket's lifecycle rule sweeps up after this.
    if (this.#uploadId !== undefined) {
      await abortUpload(client, { Bucket, Key, UploadId: this.#uploadId }, late).catch(() => {});
    }
    if (this.#mayBeVisible) await client.send(new DeleteObjectCommand({ Bucket, Key }), late).catch(() => {});
  }

  async #sendParts(body: Body, plan: PartPlan): Promise<void> {
    if (body instanceof Uint8Array) {
      this.#count(body);
      return await this.#run(Buffer.from(body.buffer, body.byteOffset, body.byteLength), plan.partSize);
    }
    const pieces = new Pieces(body, (chunk) => this.#count(chunk));
    try {
      for (let { partSize } = plan; ; partSize *= 2) {
        await this.#run(Readable.from(pieces.take(partSize * plan.partsPerSize)), partSize);
        if (await pieces.ended()) return;
        this.#partsBefore = this.#parts.length;
      }
    } finally {
      await pieces.close();
    }
  }

  async #run(body: Buffer | Readable, partSize: number): Promise<void> {
    const upload = new Upload({
      client: this.#facade(),
      params: {
        Bucket: this.#target.bucket,
        Key: this.#target.key,
        Body: body,
        ContentType: this.#options.contentType,
        IfNoneMatch: "*",
        ChecksumAlgorithm: "CRC32",
        ChecksumType: "FULL_OBJECT",
        ...(body instanceof Buffer && body.length <= partSize ? { ChecksumCRC32: this.#checksum() } : {}),
      },
      partSize,
      queueSize: partsInFlight,
      leavePartsOnError: true,
    });
    await upload.done();
  }

  /** A client to lib-storage; `send` is where its commands become ours. */
  #facade(): S3Client {
    const send = (command: unknown): Promise<unknown> => {
      const sent = this.#dispatch(command);
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

  async #dispatch(command: unknown): Promise<unknown> {
    const { client } = this.#target;
    const signal = { abortSignal: this.#stop.signal };
    if (command instanceof CreateMultipartUploadCommand) {
      if (this.#uploadId === undefined) this.#uploadId = (await client.send(command, signal)).UploadId;
      return { UploadId: this.#uploadId };
    }
    if (command instanceof UploadPartCommand) {
      const { input } = command;
      return await this.#sendPart(new UploadPartCommand({ ...input, PartNumber: this.#number(input.PartNumber) }));
    }
    if (command instanceof PutObjectCommand) {
      const { Bucket, Key, Body } = command.input;
      if (this.#uploadId !== undefined) {
        // The rest of a stream that fits into one part is a part here, not an object of its own.
        const rest = { Bucket, Key, Body: Body as Buffer, UploadId: this.#uploadId };
        return await this.#sendPart(
          new UploadPartCommand({ ...rest, PartNumber: this.#number(1), ChecksumAlgorithm: "CRC32" }),
        );
      }
      this.#mayBeVisible = true;
      const reply = await client.send(command, signal).catch((error) => this.#ownEarlierAttempt(error));
      this.#options.onProgress?.(this.#size);
      this.#proof = { size: this.#size, crc32: fullObjectCrc32(reply) };
      return reply;
    }
    // Completed by #complete(), after everything has been read and checked.
    if (command instanceof CompleteMultipartUploadCommand) return {};
    throw new DocprocError("INTERNAL", `lib-storage sent an unexpected ${Object(command).constructor.name}.`);
  }

  #number(partNumber: number | undefined): number {
    return this.#partsBefore + (partNumber ?? 1);
  }

  async #sendPart(command: UploadPartCommand): Promise<UploadPartCommandOutput> {
    const { PartNumber, Body } = command.input;
    const reply = await this.#target.client.send(command, { abortSignal: this.#stop.signal });
    this.#parts.push({
      PartNumber,
      ETag: reply.ETag,
      ...(reply.ChecksumCRC32 === undefined ? {} : { ChecksumCRC32: reply.ChecksumCRC32 }),
    });
    this.#options.onProgress?.((Body as Buffer).length);
    return reply;
  }

  async #complete(uploadId: string): Promise<void> {
    throwIfCancelled(this.#options.signal);
    const { client, bucket: Bucket, key: Key } = this.#target;
    const command = new CompleteMultipartUploadCommand({
      Bucket,
      Key,
      UploadId: uploadId,
      MultipartUpload: { Parts: this.#parts.toSorted((a, b) => (a.PartNumber ?? 0) - (b.PartNumber ?? 0)) },
      IfNoneMatch: "*",
      MpuObjectSize: this.#size,
      ChecksumType: "FULL_OBJECT",
      ChecksumCRC32: this.#checksum(),
    });
    this.#mayBeVisible = true;
    const reply = await client
      .send(command, { abortSignal: this.#stop.signal })
      .catch((error) => this.#ownEarlierAttempt(error));
    this.#proof = { size: this.#size, crc32: fullObjectCrc32(reply) };
  }

  /**
   * The SDK repeats a request whose answer was lost, and then meets its own success: 412 for an object, 404
   * for a multipart upload. The object is ours if it is byte for byte what was sent.
   */
  async #ownEarlierAttempt(error: unknown): Promise<Checksums> {
    const status = httpStatusOf(error);
    // S3 said no; after anything else (a lost answer, a 500) it may have stored the object all the same.
    if (status !== undefined && status >= 400 && status < 500) this.#mayBeVisible = false;
    if (status !== 412 && status !== 404) throw error;
    const stored = await this.#head().catch(() => undefined);
    if (stored?.size !== this.#size || stored.crc32 !== this.#crc32) throw error;
    this.#mayBeVisible = true;
    return { ChecksumCRC32: this.#checksum() };
  }

  /** An endpoint that returns no checksum is believed on the size: weaker, but not blind. */
  async #prove(): Promise<StoredObject> {
    const stored = this.#proof?.crc32 == null ? await this.#head() : this.#proof;
    const same = stored.size === this.#size && (stored.crc32 === null || stored.crc32 === this.#crc32);
    if (same) return stored;
    throw new DocprocError("INTEGRITY", `S3 did not store the bytes of ${this.#target.key} that were sent.`, {
      hint: "The object was removed. Run the same command again.",
    });
  }

  #head(): Promise<StoredObject> {
    return headObject(this.#target, this.#stop.signal);
  }

  #count(chunk: Uint8Array): void {
    this.#size += chunk.byteLength;
    this.#crc32 = crc32(chunk, this.#crc32);
  }

  #checksum(): string {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(this.#crc32);
    return bytes.toString("base64");
  }
}

/**
 * Aborts until nothing is left: a part that was on its way may land after the first time.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html
 */
async function abortUpload(
  client: S3Client,
  upload: { Bucket: string; Key: string; UploadId: string },
  options: { abortSignal: AbortSignal },
): Promise<void> {
  let gone = false;
  for (let attempt = 1; attempt <= 3 && !gone; attempt++) {
    await client.send(new AbortMultipartUploadCommand(upload), options);
    const parts = client.send(new ListPartsCommand({ ...upload, MaxParts: 1 }), options);
    gone = await parts.then(
      () => false,
      () => true,
    );
  }
}

/** The facts about an object. Rejects with what the SDK throws, 404 for an object that is not there. */
export async function headObject(
  { client, bucket: Bucket, key: Key }: ObjectTarget,
  abortSignal: AbortSignal,
): Promise<StoredObject> {
  const reply = await client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: "ENABLED" }), { abortSignal });
  return { size: reply.ContentLength ?? 0, crc32: fullObjectCrc32(reply) };
}

interface Checksums {
  readonly ChecksumCRC32?: string | undefined;
  readonly ChecksumType?: string | undefined;
}

/**
 * The CRC-32 of a whole object, or null. A composite checksum (`-N` at its end) is one of the parts' checksums.
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
 */
function fullObjectCrc32({ ChecksumCRC32, ChecksumType }: Checksums): number | null {
  if (ChecksumCRC32 === undefined || ChecksumType === "COMPOSITE" || ChecksumCRC32.includes("-")) return null;
  return Buffer.from(ChecksumCRC32, "base64").readUInt32BE();
}

/** A stream that can be taken a number of bytes at a time. */
class Pieces {
  readonly #iterator: AsyncIterator<Uint8Array>;
  readonly #onChunk: (chunk: Uint8Array) => void;
  #rest: Uint8Array | undefined;
  #done = false;

  constructor(body: AsyncIterable<Uint8Array>, onChunk: (chunk: Uint8Array) => void) {
    this.#iterator = body[Symbol.asyncIterator]();
    this.#onChunk = onChunk;
  }

  async *take(bytes: number): AsyncIterable<Uint8Array> {
    let left = bytes;
    while (left > 0 && !(await this.ended())) {
      const chunk = this.#rest as Uint8Array;
      const piece = chunk.subarray(0, left);
      this.#rest = chunk.byteLength > left ? chunk.subarray(left) : undefined;
      left -= piece.byteLength;
      this.#onChunk(piece);
      yield piece;
    }
  }

  /** Reads on until there is a byte or the end. */
  async ended(): Promise<boolean> {
    while (!this.#done && (this.#rest === undefined || this.#rest.byteLength === 0)) {
      const next = await this.#iterator.next();
      if (next.done) this.#done = true;
      else this.#rest = next.value;
    }
    return this.#done;
  }

  async close(): Promise<void> {
    if (!this.#done) await this.#iterator.return?.();
  }
}

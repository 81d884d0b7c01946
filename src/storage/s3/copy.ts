/** Copies an object inside the bucket: small ones in one request, others in parts. Loaded only for a copy. */
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  UploadPartCopyCommand,
} from "@aws-sdk/client-s3";
import pMap from "p-map";
import { fromAwsError, httpStatusOf, UnusableAnswer } from "../../aws/failures.ts";
import { reached } from "../../core/crash-points.ts";
import { cancelled, DocprocError, throwIfCancelled } from "../../core/errors.ts";
import { cleanUpSignal, lateSignal } from "../../core/retry.ts";
import { conflictAt } from "../conflict.ts";
import type { CopyOptions, PutResult, StoredObject } from "../service.ts";
import { isMarkedFor } from "./earlier-put.ts";
import {
  abortUpload,
  type Checksums,
  catalogHeader,
  checksumText,
  conditionOf,
  fullObjectCrc32,
  headIfThere,
  isWritable,
  type ObjectTarget,
  planParts,
} from "./parts.ts";
import type { S3Settings } from "./settings.ts";

/** Bytes copied by one request: S3 takes 5 GiB, but its answer has to come within the time limit of a request. */
const mostAtOnce = 256 * 1024 ** 2;
const partsInFlight = 8;

/**
 * Copies an object and proves it: S3's CRC-32 of the whole copy must be the expected one.
 * @param from a key of the same bucket
 * @param atOnce bytes that one request may copy
 * @returns see `StorageService.copy`
 */
export async function copyObject(
  from: string,
  target: ObjectTarget,
  options: CopyOptions,
  settings: S3Settings,
  atOnce = mostAtOnce,
): Promise<PutResult | undefined> {
  const copy = new ObjectCopy(from, target, options, settings);
  try {
    const copied = await copy.run(atOnce);
    if (copied === undefined) await copy.discard();
    return copied && { size: options.size, crc32: copied.crc32, bytesSent: 0 };
  } catch (thrown) {
    // The user needs the first error; doctor and the lifecycle rule clean up later.
    await copy.discard().catch(() => {});
    if (options.signal.aborted) throw cancelled(options.signal);
    throw fromAwsError(thrown, { action: "s3:PutObject", resource: `bucket ${target.bucket}`, settings });
  }
}

type Copied = Pick<StoredObject, "crc32">;

class ObjectCopy {
  readonly #from: string;
  readonly #target: ObjectTarget;
  readonly #options: CopyOptions;
  readonly #settings: S3Settings;
  #uploadId: string | undefined;
  /** True once a request was sent that makes the copy visible. */
  #mayBeVisible = false;

  constructor(from: string, target: ObjectTarget, options: CopyOptions, settings: S3Settings) {
    this.#from = from;
    this.#target = target;
    this.#options = options;
    this.#settings = settings;
  }

  async run(atOnce: number): Promise<Copied | undefined> {
    const { size, crc32, signal } = this.#options;
    throwIfCancelled(signal);
    // An endpoint may ignore the conditions of a copy, so what is there is looked at first.
    const [source, there] = await Promise.all([
      headIfThere({ ...this.#target, key: this.#from }, signal),
      headIfThere(this.#target, signal),
    ]);
    if (!isWritable(there, this.#options)) throw conflictAt(this.#target.key, this.#options);
    if (crc32 === null || source?.crc32 !== crc32 || source.size !== size || source.version === null) return undefined;
    const answer = lateSignal(signal);
    try {
      const copied = await (size <= atOnce
        ? this.#whole(source.version, answer.signal)
        : this.#inParts(source.version, atOnce, answer.signal)
      ).catch((error: unknown) => this.#settle(error));
      throwIfCancelled(signal);
      return copied && (await this.#prove(copied));
    } finally {
      answer.forget();
    }
  }

  /** Removes what was made, unless the key was used before: another process may have put back its object. */
  async discard(): Promise<void> {
    const { client, bucket: Bucket, key: Key } = this.#target;
    const abortSignal = cleanUpSignal(this.#options.signal);
    if (this.#uploadId !== undefined) await abortUpload(this.#target, this.#uploadId, abortSignal);
    if (!this.#mayBeVisible || this.#options.replaces !== undefined) return;
    await client.send(new DeleteObjectCommand({ Bucket, Key }), { abortSignal });
  }

  async #whole(etag: string, abortSignal: AbortSignal): Promise<Copied> {
    const command = new CopyObjectCommand({
      ...this.#described(),
      ...this.#source(etag),
      ...conditionOf(this.#options),
      MetadataDirective: "REPLACE",
    });
    this.#mayBeVisible = true;
    const { CopyObjectResult: result = {} } = await this.#target.client.send(command, { abortSignal });
    reached("s3-object-sent");
    return copiedOf(result);
  }

  /** @param late fires a while after the caller's signal, for the request whose outcome matters */
  async #inParts(etag: string, atOnce: number, late: AbortSignal): Promise<Copied> {
    const { client, bucket: Bucket, key: Key } = this.#target;
    const { size, crc32, signal } = this.#options;
    const begin = new CreateMultipartUploadCommand({ ...this.#described(), ChecksumType: "FULL_OBJECT" });
    const { UploadId } = await client.send(begin, { abortSignal: signal });
    this.#uploadId = UploadId;
    reached("s3-upload-begun");
    const { partSize } = planParts(size, atOnce, 0);
    const stop = new AbortController();
    const abortSignal = AbortSignal.any([signal, stop.signal]);
    const copyPart = async (start: number, index: number) => {
      const CopySourceRange = `bytes=${start}-${Math.min(start + partSize, size) - 1}`;
      const part = { Bucket, Key, UploadId, PartNumber: index + 1, CopySourceRange, ...this.#source(etag) };
      const { CopyPartResult } = await client.send(new UploadPartCopyCommand(part), { abortSignal });
      if (CopyPartResult?.ETag === undefined) throw new UnusableAnswer("A part has no ETag.");
      reached("s3-part-stored");
      return { PartNumber: index + 1, ETag: CopyPartResult.ETag };
    };
    const starts = Array.from({ length: Math.ceil(size / partSize) }, (_, index) => index * partSize);
    let failure: { readonly error: unknown } | undefined;
    const Parts = await pMap(
      starts,
      async (start, index) => {
        if (abortSignal.aborted) return { PartNumber: index + 1 };
        return await copyPart(start, index).catch((error: unknown) => {
          // All requests in flight are awaited, since a part that lands after the upload was aborted would stay.
          failure ??= { error };
          stop.abort();
          return { PartNumber: index + 1 };
        });
      },
      { concurrency: partsInFlight },
    );
    if (failure) throw failure.error;
    throwIfCancelled(signal);
    reached("s3-parts-stored");
    const complete = new CompleteMultipartUploadCommand({
      Bucket,
      Key,
      UploadId,
      MultipartUpload: { Parts },
      ...conditionOf(this.#options),
      MpuObjectSize: size,
      ChecksumType: "FULL_OBJECT",
      ChecksumCRC32: checksumText(crc32 ?? 0),
    });
    this.#mayBeVisible = true;
    const reply = await client.send(complete, { abortSignal: late });
    reached("s3-upload-completed");
    this.#uploadId = undefined;
    return copiedOf(reply);
  }

  #described() {
    const { contentType, catalog } = this.#options;
    return {
      Bucket: this.#target.bucket,
      Key: this.#target.key,
      ContentType: contentType,
      Metadata: { [catalogHeader]: catalog },
      ChecksumAlgorithm: "CRC32",
    } as const;
  }

  /** The source as it was looked at. https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html */
  #source(etag: string) {
    const { bucketOwner } = this.#settings;
    return {
      CopySource: [this.#target.bucket, ...this.#from.split("/")].map(encodeURIComponent).join("/"),
      CopySourceIfMatch: etag,
      ...(bucketOwner === undefined ? {} : { ExpectedSourceBucketOwner: bucketOwner }),
    };
  }

  /**
   * Decides what a failed request means. After 412 or 404 the copy of an earlier attempt may be there, whose answer was
   * lost; or the source is another one by now. Any other refusal means that this endpoint does not copy this object (it
   * is archived, or encrypted with a key that these credentials may not use): its bytes can be put all the same.
   */
  async #settle(error: unknown): Promise<Copied | undefined> {
    const status = httpStatusOf(error);
    if (status === undefined || status < 400 || (status >= 500 && status !== 501)) throw error;
    this.#mayBeVisible = false;
    if (status !== 412 && status !== 404) return undefined;
    const there = await headIfThere(this.#target, this.#options.signal);
    if (there && this.#isWanted(there)) {
      this.#mayBeVisible = true;
      return there;
    }
    if (isWritable(there, this.#options)) return undefined;
    throw conflictAt(this.#target.key, this.#options, error);
  }

  #isWanted(there: StoredObject): boolean {
    const { size, crc32, catalog } = this.#options;
    return there.size === size && there.crc32 === crc32 && isMarkedFor(there, catalog);
  }

  async #prove(copied: Copied): Promise<Copied | undefined> {
    const { crc32, replaces, signal } = this.#options;
    const proof = copied.crc32 === null ? await headIfThere(this.#target, signal) : copied;
    if (proof?.crc32 === crc32) return proof;
    if (replaces === undefined) return undefined;
    throw new DocprocError("INTEGRITY", `S3 stored other bytes of ${this.#target.key} than it was to copy.`, {
      hint: "Run the same command again.",
    });
  }
}

function copiedOf(reply: Checksums): Copied {
  return { crc32: fullObjectCrc32(reply) };
}

/** The parts of a multipart upload: cutting a body into them, listing those S3 has, and dropping them. */
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandInput,
  type ListMultipartUploadsCommandOutput,
  ListPartsCommand,
  type MultipartUpload,
  type Part,
  type S3Client,
} from "@aws-sdk/client-s3";
import { advancingPages, httpStatusOf } from "../../aws/failures.ts";
import { DocprocError } from "../../core/errors.ts";
import { defaultPartSize, plannedPartSize } from "../../core/limits.ts";
import type { PutOptions, StoredObject } from "../service.ts";

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
export const maxParts = 10_000;
const mebibyte = 1024 * 1024;
const maxPartSize = 5 * 1024 * mebibyte;

/**
 * The division of a body: parts of `partSize` bytes. For an unknown size, they double after every `partsPerSize` parts,
 * so that a stream of any length ends below part 10,001.
 */
export interface PartPlan {
  readonly partSize: number;
  readonly partsPerSize: number;
}

/**
 * Plans the parts of a body. A configured part size is raised if it would need over 10,000 parts.
 * @param memory bytes that parts in flight may use
 * @throws USAGE when no plan is possible
 */
export function planParts(size: number | null, configured: number | undefined, memory: number): PartPlan {
  // From 8 MiB: 1,250 parts of each size reach 2 TiB with the eighth.
  if (size === null) return { partSize: configured ?? defaultPartSize, partsPerSize: maxParts / 8 };
  const partSize = configured ?? plannedPartSize(size, memory);
  const least = Math.ceil(size / maxParts / mebibyte) * mebibyte;
  if (least > maxPartSize) {
    throw new DocprocError("USAGE", `${size} bytes are more than S3 accepts as one object.`, {
      hint: "Split the file: the limit is 10,000 parts of 5 GiB.",
    });
  }
  return { partSize: Math.max(partSize, least), partsPerSize: maxParts };
}

export interface ObjectTarget {
  readonly client: S3Client;
  readonly bucket: string;
  readonly key: string;
}

export interface StoredPart extends CompletedPart {
  /** Bytes. */
  readonly size: number;
}

/** The stored parts of an upload, by number. Rejects with the SDK's error, 404 when there is no such upload. */
export async function storedParts(
  target: ObjectTarget,
  uploadId: string,
  abortSignal: AbortSignal,
): Promise<Map<number, StoredPart>> {
  const parts = new Map<number, StoredPart>();
  for await (const { PartNumber, ETag, Size, ChecksumCRC32 } of listParts(target, uploadId, abortSignal)) {
    if (PartNumber === undefined) continue;
    const checksum = ChecksumCRC32 === undefined ? {} : { ChecksumCRC32 };
    parts.set(PartNumber, { PartNumber, ETag, size: Size ?? 0, ...checksum });
  }
  return parts;
}

/** When the last part of an upload was stored; undefined without parts. Rejects like {@link storedParts}. */
export async function lastPartStored(
  target: ObjectTarget,
  uploadId: string,
  abortSignal: AbortSignal,
): Promise<Date | undefined> {
  let last: Date | undefined;
  for await (const { LastModified } of listParts(target, uploadId, abortSignal)) {
    if (last === undefined || (LastModified && LastModified > last)) last = LastModified;
  }
  return last;
}

async function* listParts(
  { client, bucket: Bucket, key: Key }: ObjectTarget,
  UploadId: string,
  abortSignal: AbortSignal,
): AsyncIterable<Part> {
  // Not the SDK's paginator: it continues while there is a marker, which the last page has, too.
  let marker: string | undefined;
  for (let more = true; more; ) {
    const from = marker === undefined ? {} : { PartNumberMarker: marker };
    const command: ListPartsCommand = new ListPartsCommand({ Bucket, Key, UploadId, ...from });
    const page = await client.send(command, { abortSignal });
    yield* page.Parts ?? [];
    // A page that does not advance would be requested forever.
    more = page.IsTruncated === true && page.NextPartNumberMarker !== marker;
    marker = page.NextPartNumberMarker;
  }
}

/** Every unfinished upload of keys that start with `prefix`. */
export async function* unfinishedUploads(
  client: S3Client,
  Bucket: string,
  Prefix: string,
  abortSignal: AbortSignal,
): AsyncIterable<MultipartUpload> {
  const pages = advancingPages(uploadPages(client, { Bucket, Prefix }, abortSignal), nextUploads);
  for await (const { Uploads = [] } of pages) yield* Uploads;
}

async function* uploadPages(
  client: S3Client,
  input: ListMultipartUploadsCommandInput,
  abortSignal: AbortSignal,
): AsyncIterable<ListMultipartUploadsCommandOutput> {
  for (let next: ReturnType<typeof nextUploads> = {}; next; ) {
    const command = new ListMultipartUploadsCommand({ ...input, ...next });
    const page: ListMultipartUploadsCommandOutput = await client.send(command, { abortSignal });
    yield page;
    next = nextUploads(page);
  }
}

/** The markers that request the following page. */
function nextUploads({ IsTruncated, NextKeyMarker, NextUploadIdMarker }: ListMultipartUploadsCommandOutput) {
  const next: Pick<ListMultipartUploadsCommandInput, "KeyMarker" | "UploadIdMarker"> = {
    KeyMarker: NextKeyMarker,
    UploadIdMarker: NextUploadIdMarker,
  };
  return IsTruncated ? next : undefined;
}

/**
 * Aborts until no parts are left: one in flight may land after the first abort. Idempotent.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html
 */
export async function abortUpload(
  { client, bucket: Bucket, key: Key }: ObjectTarget,
  UploadId: string,
  abortSignal: AbortSignal,
): Promise<void> {
  const upload = { Bucket, Key, UploadId };
  try {
    for (let attempt = 1; attempt <= 3; attempt++) {
      await client.send(new AbortMultipartUploadCommand(upload), { abortSignal });
      await client.send(new ListPartsCommand({ ...upload, MaxParts: 1 }), { abortSignal });
    }
  } catch (error) {
    if (httpStatusOf(error) !== 404) throw error;
  }
}

/** Object metadata: the catalog that the object was stored for. */
export const catalogHeader = "docproc-catalog";

/** The facts about an object. Rejects with the SDK's error, 404 when there is no such object. */
export async function headObject(
  { client, bucket: Bucket, key: Key }: ObjectTarget,
  abortSignal: AbortSignal,
): Promise<StoredObject> {
  const reply = await client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: "ENABLED" }), { abortSignal });
  const { ETag: etag, LastModified: stored, ContentType: contentType = null } = reply;
  return {
    size: reply.ContentLength ?? 0,
    crc32: fullObjectCrc32(reply),
    catalog: reply.Metadata?.[catalogHeader] ?? null,
    version: etag ?? null,
    // Its checksum tells.
    touched: null,
    ...(etag !== undefined && stored && { origin: { etag, storedAt: stored.getTime(), contentType } }),
  };
}

/** The facts about an object; undefined when there is none. Rejects with the SDK's error. */
export async function headIfThere(target: ObjectTarget, signal: AbortSignal): Promise<StoredObject | undefined> {
  return await headObject(target, signal).catch((error) => {
    if (httpStatusOf(error) === 404) return undefined;
    throw error;
  });
}

/**
 * The condition of a request that makes an object visible.
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
 */
export function conditionOf({ replaces }: Pick<PutOptions, "replaces">): { IfMatch: string } | { IfNoneMatch: "*" } {
  return replaces ? { IfMatch: replaces.version ?? "" } : { IfNoneMatch: "*" };
}

/** Whether {@link conditionOf} holds for what is there. */
export function isWritable(there: StoredObject | undefined, { replaces }: Pick<PutOptions, "replaces">): boolean {
  return replaces ? replaces.version !== null && there?.version === replaces.version : there === undefined;
}

export interface Checksums {
  readonly ChecksumCRC32?: string | undefined;
  readonly ChecksumType?: string | undefined;
}

/**
 * The CRC-32 of a whole object, or null. A composite checksum (ending in `-N`) is one of the parts' checksums.
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
 */
export function fullObjectCrc32({ ChecksumCRC32, ChecksumType }: Checksums): number | null {
  if (ChecksumCRC32 === undefined || ChecksumType === "COMPOSITE" || ChecksumCRC32.includes("-")) return null;
  const bytes = Buffer.from(ChecksumCRC32, "base64");
  return bytes.length === 4 ? bytes.readUInt32BE() : null;
}

/** A CRC-32 in S3's notation. */
export function checksumText(crc32: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32);
  return bytes.toString("base64");
}

// Objects and parts that are made of other objects.
import { type Checksum, checksumElements, checksumOf, declaredChecksum } from "./checksums.ts";
import { accessDenied, invalidArgument, invalidRequest, notFound, notImplemented, S3Error } from "./errors.ts";
import { type Context, isoDate, quoted, type Reply, unquoted, xmlReply } from "./handler.ts";
import { findUpload, partNumberOf } from "./multipart.ts";
import {
  checkWriteConditions,
  describeObject,
  encryptionHeaders,
  etagOf,
  noSuchKey,
  preconditionFailed,
} from "./objects.ts";
import type { Bucket, StoredObject } from "./state.ts";

/** Bytes. https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html */
const MAX_SOURCE = 5 * 1024 ** 3;

const UNSUPPORTED = /^x-amz-copy-source-(if-none-match|if-(un)?modified-since|server-side-.*)$/;

/** The object that is copied, after all that S3 asks of it. */
function findSource({ headers, buckets, options }: Context): { bucketName: string; key: string; object: StoredObject } {
  const [unsupported] = Object.keys(headers).filter((name) => UNSUPPORTED.test(name));
  if (unsupported !== undefined) throw notImplemented(unsupported);
  const source = headers["x-amz-copy-source"] ?? "";
  if (source.includes("?")) throw notImplemented("x-amz-copy-source", "the test server has no versions");
  const [, bucketName = "", key = ""] = /^\/?([^/]+)\/(.+)$/s.exec(decoded(source)) ?? [];
  if (key === "") {
    const message = "Copy Source must mention the source bucket and key: sourcebucket/sourcekey";
    throw invalidArgument(message, "x-amz-copy-source", source);
  }
  const bucket = buckets.get(bucketName);
  if (bucket === undefined) {
    throw notFound("NoSuchBucket", "The specified bucket does not exist", { BucketName: bucketName });
  }
  const owner = headers["x-amz-source-expected-bucket-owner"];
  if (owner !== undefined && owner !== options.ownerAccount) throw accessDenied();
  const object = bucket.objects.get(key);
  if (object === undefined) throw noSuchKey(key);
  const expected = headers["x-amz-copy-source-if-match"];
  if (expected !== undefined && unquoted(expected) !== object.etag) {
    throw preconditionFailed("x-amz-copy-source-If-Match");
  }
  return { bucketName, key, object };
}

/** A plus means a space here, as in a form. */
function decoded(source: string): string {
  try {
    return decodeURIComponent(source.replaceAll("+", "%20"));
  } catch {
    throw invalidArgument("Invalid copy source encoding.", "x-amz-copy-source", source);
  }
}

function checkSize(bytes: number, { options }: Context): void {
  const most = options.largestCopy ?? MAX_SOURCE;
  if (bytes <= most) return;
  const larger = "The specified copy source is larger than the maximum allowable size for a copy source";
  throw invalidRequest(`${larger}: ${most}`);
}

/** A copy that fails in the middle has begun its answer: the error comes with status 200. */
function failInTheMiddle({ options }: Context): void {
  const code = options.copyFailures?.shift();
  if (code !== undefined) throw new S3Error(200, code, "We encountered an internal error. Please try again.");
}

export function copyObject(context: Context, bucket: Bucket): Reply {
  const { headers, key, bucketName, options } = context;
  const source = findSource(context);
  const directive = headers["x-amz-metadata-directive"] ?? "COPY";
  if (directive !== "COPY" && directive !== "REPLACE") {
    throw invalidArgument("Unknown metadata directive.", "x-amz-metadata-directive", directive);
  }
  if (directive === "COPY" && source.bucketName === bucketName && source.key === key) {
    const message =
      "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.";
    throw invalidRequest(message);
  }
  const { body } = source.object;
  checkSize(body.length, context);
  checkWriteConditions(context, bucket);
  const asked = describeObject(context, bucket);
  const { contentType, metadata } = directive === "COPY" ? source.object : asked;
  const description = { contentType, metadata, headers: asked.headers };
  failInTheMiddle(context);
  let checksum: Checksum | undefined;
  if (options.checksums !== false) {
    const algorithm = declaredChecksum(headers)?.algorithm ?? source.object.checksum?.algorithm ?? "CRC64NVME";
    checksum = { algorithm, type: "FULL_OBJECT", value: checksumOf(algorithm, body) };
  }
  const etag = etagOf(body, description);
  const lastModified = new Date();
  bucket.objects.set(key, { ...description, body, etag, checksum, lastModified });
  const result = { LastModified: isoDate(lastModified), ETag: quoted(etag), ChecksumType: checksum?.type };
  return xmlReply("CopyObjectResult", { ...result, ...checksumElements(checksum) }, encryptionHeaders(description));
}

export function uploadPartCopy(context: Context, bucket: Bucket): Reply {
  const { headers, options } = context;
  const number = partNumberOf(context);
  const { upload } = findUpload(context, bucket);
  const { object } = findSource(context);
  const body = rangeOf(headers["x-amz-copy-source-range"], object.body);
  checkSize(body.length, context);
  failInTheMiddle(context);
  const algorithm = options.checksums === false ? undefined : upload.checksum?.algorithm;
  const checksum = algorithm && { algorithm, value: checksumOf(algorithm, body) };
  const etag = etagOf(body, upload);
  const lastModified = new Date();
  upload.parts.set(number, { body, etag, checksum, lastModified });
  const result = { LastModified: isoDate(lastModified), ETag: quoted(etag), ...checksumElements(checksum) };
  return xmlReply("CopyPartResult", result, encryptionHeaders(upload));
}

/** Both ends are required, and must be in the object: https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html */
function rangeOf(header: string | undefined, body: Buffer): Buffer {
  if (header === undefined) return body;
  const name = "x-amz-copy-source-range";
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(header) ?? [];
  if (first === undefined || last === undefined || Number(last) < Number(first)) {
    const form =
      "must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy";
    throw invalidArgument(`The ${name} value ${form}`, name, header);
  }
  if (Number(last) >= body.length) {
    throw invalidArgument(`Range specified is not valid for source object of size: ${body.length}`, name, header);
  }
  return body.subarray(Number(first), Number(last) + 1);
}

// The operations on one object, and what every way to write an object has in common.
import { createHash, randomBytes } from "node:crypto";
import { ENCRYPTIONS } from "./bucket-documents.ts";
import { type Checksum, checksumHeaders, checksumOf } from "./checksums.ts";
import { invalidArgument, invalidRequest, notFound, notImplemented, S3Error } from "./errors.ts";
import { type Context, quoted, type Reply, unquoted } from "./handler.ts";
import { readRange } from "./parameters.ts";
import type { Bucket, Description, MultipartUpload } from "./state.ts";

const STORAGE_CLASSES =
  /^(STANDARD|STANDARD_IA|ONEZONE_IA|INTELLIGENT_TIERING|GLACIER|GLACIER_IR|DEEP_ARCHIVE|REDUCED_REDUNDANCY)$/;
const MAX_METADATA = 2048;
const SSE = "x-amz-server-side-encryption";

const md5 = (data: Buffer) => createHash("md5").update(data).digest();
const withPrefix = (headers: Description["headers"], prefix: string) =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith(prefix)));
export const noSuchKey = (Key: string) => notFound("NoSuchKey", "The specified key does not exist.", { Key });
export const preconditionFailed = (Condition: string) =>
  new S3Error(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", {
    Condition,
  });

/** What PutObject and CreateMultipartUpload say of the object besides its content. */
export function describeObject({ headers }: Context, bucket: Bucket): Description {
  const metadata: Description["metadata"] = {};
  let size = 0;
  for (const [name, value] of Object.entries(withPrefix(headers, "x-amz-meta-"))) {
    // The SDK signs such a value as UTF-8 but node sends it as Latin-1, so that the signature cannot match.
    if (/[^\x20-\x7e\t]/.test(value)) {
      throw new S3Error(403, "SignatureDoesNotMatch", `Characters of ${name} make the signature not match.`);
    }
    const short = name.slice("x-amz-meta-".length);
    metadata[short] = value;
    size += short.length + value.length;
  }
  if (size > MAX_METADATA) {
    const message = "Your metadata headers exceed the maximum allowed metadata size";
    throw new S3Error(400, "MetadataTooLarge", message, { Size: size, MaxSizeAllowed: MAX_METADATA });
  }
  const encodings = (headers["content-encoding"] ?? "").split(",").map((encoding) => encoding.trim());
  const sse = headers["x-amz-server-side-encryption"] ?? bucket.encryption?.algorithm;
  const kmsKeyId = headers["x-amz-server-side-encryption-aws-kms-key-id"] ?? bucket.encryption?.kmsKeyId;
  const storageClass = headers["x-amz-storage-class"] ?? "STANDARD";
  if (sse !== undefined && !ENCRYPTIONS.test(sse)) {
    const message = "The encryption method specified is not supported";
    throw invalidArgument(message, "x-amz-server-side-encryption", sse);
  }
  if (!STORAGE_CLASSES.test(storageClass)) {
    throw new S3Error(400, "InvalidStorageClass", "The storage class you specified is not valid");
  }
  const kept = {
    "cache-control": headers["cache-control"],
    "content-disposition": headers["content-disposition"],
    "content-encoding": encodings.filter((name) => name !== "aws-chunked").join(",") || undefined,
    "content-language": headers["content-language"],
    expires: headers["expires"],
    "x-amz-website-redirect-location": headers["x-amz-website-redirect-location"],
    "x-amz-storage-class": storageClass === "STANDARD" ? undefined : storageClass,
    "x-amz-server-side-encryption": sse,
    "x-amz-server-side-encryption-aws-kms-key-id": sse?.startsWith("aws:kms") === true ? kmsKeyId : undefined,
  };
  const present = Object.entries(kept).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]));
  return {
    contentType: headers["content-type"] ?? "binary/octet-stream",
    metadata,
    headers: Object.fromEntries(present),
  };
}

/** What replies say of how an object is encrypted. */
export const encryptionHeaders = ({ headers }: Description) => withPrefix(headers, SSE);

// Under KMS the ETag is not the MD5 of the content: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
export const etagOf = (body: Buffer, { headers }: Description): string =>
  (headers[SSE]?.startsWith("aws:kms") ? randomBytes(16) : md5(body)).toString("hex");

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html */
export function checkWriteConditions({ headers, key }: Context, bucket: Bucket, upload?: MultipartUpload): void {
  const { "if-none-match": absent, "if-match": expected } = headers;
  if (absent === undefined && expected === undefined) return;
  const Condition = expected === undefined ? "If-None-Match" : "If-Match";
  if (absent !== undefined && (absent !== "*" || expected !== undefined)) {
    throw notImplemented("If-None-Match", "We don't accept the provided value of If-None-Match header for this API");
  }
  if (expected !== undefined && !/^"[^"*]+"$/.test(expected)) {
    throw notImplemented("If-Match", "We don't accept the provided value of If-Match header for this API");
  }
  const object = bucket.objects.get(key);
  if (expected !== undefined && object === undefined) throw noSuchKey(key);
  if (expected === undefined ? object !== undefined : unquoted(expected) !== object?.etag) {
    throw preconditionFailed(Condition);
  }
  if (upload?.deletedSince === true) {
    const message = "The conditional request cannot succeed due to a conflicting operation against this resource.";
    throw new S3Error(409, "ConditionalRequestConflict", message, { Condition, Key: key });
  }
}

export function putObject(context: Context, bucket: Bucket): Reply {
  const { body, key, options } = context;
  const description = describeObject(context, bucket);
  checkWriteConditions(context, bucket);
  let checksum: Checksum | undefined;
  if (options.checksums !== false) {
    // What comes without a checksum gets this one:
    // https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
    const sent = context.checksum ?? { algorithm: "CRC64NVME", value: checksumOf("CRC64NVME", body) };
    checksum = { ...sent, type: "FULL_OBJECT" };
  }
  const etag = etagOf(body, description);
  bucket.objects.set(key, { ...description, body, etag, checksum, lastModified: new Date() });
  const headers = { etag: quoted(etag), ...checksumHeaders(checksum), ...encryptionHeaders(description) };
  return { status: 200, headers };
}

export function getObject({ headers, key, query }: Context, bucket: Bucket): Reply {
  const object = bucket.objects.get(key);
  const mode = headers["x-amz-checksum-mode"];
  if (mode !== undefined && mode !== "ENABLED")
    throw invalidRequest("Value for x-amz-checksum-mode header is invalid.");
  if (object === undefined) throw noSuchKey(key);
  const { body, etag, checksum, contentType, metadata } = object;
  const { "if-match": ifMatch = "*", "if-none-match": ifNoneMatch = "" } = headers;
  const validators = { etag: quoted(etag), "last-modified": object.lastModified.toUTCString() };
  if (ifMatch !== "*" && unquoted(ifMatch) !== etag) throw preconditionFailed("If-Match");
  if (ifNoneMatch === "*" || unquoted(ifNoneMatch) === etag) return { status: 304, headers: validators };
  const range = readRange(headers["range"], body.length);
  const content = range === undefined ? body : body.subarray(range.first, range.last + 1);
  return {
    status: range === undefined ? 200 : 206,
    headers: {
      ...validators,
      "accept-ranges": "bytes",
      "content-type": contentType,
      "content-length": content.length,
      "content-range": range === undefined ? undefined : `bytes ${range.first}-${range.last}/${body.length}`,
      ...object.headers,
      ...Object.fromEntries(Object.entries(metadata).map(([name, value]) => [`x-amz-meta-${name}`, value])),
      ...overrides(query),
      ...(mode === "ENABLED" && content.length === body.length ? checksumHeaders(checksum) : {}),
    },
    body: content,
  };
}

/** What the address asks to be answered in place of what was stored. */
function overrides(query: Context["query"]): Reply["headers"] {
  const prefix = "response-";
  const asked = Object.entries(query).filter(([name]) => name.startsWith(prefix));
  return Object.fromEntries(asked.map(([name, value]) => [name.slice(prefix.length), value]));
}

export function deleteObject({ headers, key }: Context, bucket: Bucket): Reply {
  if (headers["if-match"] !== undefined) throw notImplemented("If-Match", "the test server has no conditional delete");
  if (bucket.objects.delete(key)) {
    for (const upload of bucket.uploads.values()) upload.deletedSince ||= upload.key === key;
  }
  return { status: 204 };
}

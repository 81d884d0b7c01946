// An in-memory S3 for tests that refuses what Amazon S3 refuses. Signatures are not verified; bucket policies and
// lifecycle rules are kept but not acted upon; there are no versions, tags, ACLs, copies or object locks. A request for
// something that is not here is answered 501 NotImplemented, so that the test that needs it notices.
import { createHash, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import {
  badDigest,
  CHECKSUM_ALGORITHMS,
  checkAuthorization,
  checksumHeader,
  checksumOf,
  childNodes,
  childText,
  type DeclaredChecksum,
  declaredChecksum,
  ENCRYPTIONS,
  type Encryption,
  everyAccessBlocked,
  type Headers,
  invalidArgument,
  invalidRequest,
  isChecksumValue,
  makeToken,
  malformedXml,
  nameEncoder,
  notFound,
  notImplemented,
  OWNERSHIPS,
  type PartChecksum,
  type Payload,
  type PublicAccessBlock,
  parseXml,
  percentEncode,
  readAccessBlock,
  readCount,
  readEncryption,
  readLifecycle,
  readOwnership,
  readPayload,
  readPolicy,
  readRange,
  readToken,
  S3Error,
  type XmlNode,
  type XmlValue,
  xmlDocument,
} from "./s3-wire.ts";

export interface Checksum extends DeclaredChecksum {
  value: string;
}

interface Description {
  contentType: string;
  /** User metadata, names without x-amz-meta-. */
  metadata: Record<string, string>;
  /** Other headers that come back with the object: cache-control, x-amz-server-side-encryption and the like. */
  headers: Record<string, string>;
}

export interface StoredObject extends Description {
  body: Buffer;
  /** Without quotes. */
  etag: string;
  checksum?: Checksum | undefined;
  lastModified: Date;
}

export interface StoredPart {
  body: Buffer;
  etag: string;
  checksum?: PartChecksum | undefined;
  lastModified: Date;
}

export interface MultipartUpload extends Description {
  key: string;
  parts: Map<number, StoredPart>;
  initiated: Date;
  /** What CreateMultipartUpload declared. */
  checksum?: DeclaredChecksum | undefined;
  /** The object of this key was deleted since, so that a conditional completion is a conflict. */
  deletedSince: boolean;
}

interface BucketConfiguration {
  publicAccessBlock?: PublicAccessBlock | undefined;
  ownership?: string | undefined;
  encryption?: Encryption | undefined;
  policy?: string | undefined;
  /** The rules, as XML. */
  lifecycle?: string | undefined;
}

export interface Bucket extends BucketConfiguration {
  created: Date;
  objects: Map<string, StoredObject>;
  uploads: Map<string, MultipartUpload>;
}

export interface RecordedRequest {
  /** The name of the operation; for one the server does not know, what the SDK calls it, or the method. */
  readonly operation: string;
  readonly method: string;
  /** As sent, percent-encoded and without the query. */
  readonly path: string;
  readonly query: Headers;
  readonly headers: Headers;
  /** Length of the payload after removal of the aws-chunked encoding. */
  bodyBytes: number;
  /** 0 until answered; stays 0 when the client goes away before its request is complete. */
  status: number;
}

export interface S3Server {
  readonly endpoint: string;
  /** In order of arrival. */
  readonly requests: RecordedRequest[];
  readonly buckets: Map<string, Bucket>;
  reset(): void;
  close(): Promise<void>;
}

export interface S3ServerOptions {
  region?: string;
  accessKeyId?: string;
  ownerAccount?: string;
  /** Operations answered 501 NotImplemented, to imitate lesser endpoints. */
  without?: readonly string[];
  /** false: checksums are neither kept nor returned nor demanded; those sent are still compared with the body. */
  checksums?: boolean;
  /** Buckets of another account. */
  foreignBuckets?: readonly string[];
  /** false: new buckets have the defaults of Amazon S3, which are AES256, no public access, BucketOwnerEnforced. */
  bareBuckets?: boolean;
}

interface Reply {
  status: number;
  headers?: Record<string, string | number | undefined>;
  body?: string | Buffer;
}

interface Context extends Payload {
  readonly options: Required<Pick<S3ServerOptions, "region" | "ownerAccount">> & S3ServerOptions;
  readonly buckets: Map<string, Bucket>;
  readonly operation: string;
  readonly bucketName: string;
  readonly key: string;
  readonly query: Headers;
  readonly headers: Headers;
}
/** For CreateBucket and ListBuckets `bucket` is one that does not exist yet. */
type Handler = (context: Context, bucket: Bucket) => Reply;

const STORAGE_CLASSES =
  /^(STANDARD|STANDARD_IA|ONEZONE_IA|INTELLIGENT_TIERING|GLACIER|GLACIER_IR|DEEP_ARCHIVE|REDUCED_REDUNDANCY)$/;
const MIN_PART = 5 * 1024 * 1024;
const MAX_METADATA = 2048;
const UNSUPPORTED_HEADERS =
  /^(if-(un)?modified-since|x-amz-(acl|tagging|copy-source.*|grant-.*|object-lock-.*|server-side-encryption-customer-.*|write-offset-bytes|mfa|if-match-.*|checksum-(sha512|md5|xxhash.*)))$/;

const md5 = (data: Buffer) => createHash("md5").update(data).digest();
const quoted = (etag: string) => `"${etag}"`;
const unquoted = (etag: string) => etag.replace(/^"(.*)"$/, "$1");
const isoDate = (date: Date) => `${date.toISOString().slice(0, 19)}.000Z`;
const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));
const withPrefix = (headers: Description["headers"], prefix: string) =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith(prefix)));
const xmlReply = (root: string, value: Record<string, XmlValue>, more: Reply["headers"] = {}, raw?: string): Reply => ({
  status: 200,
  headers: { "content-type": "application/xml", ...more },
  body: xmlDocument(root, value, raw),
});

const accessDenied = () => new S3Error(403, "AccessDenied", "Access Denied");
const noSuchKey = (Key: string) => notFound("NoSuchKey", "The specified key does not exist.", { Key });
const preconditionFailed = (Condition: string) =>
  new S3Error(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", {
    Condition,
  });

// --- buckets --------------------------------------------------------------------------------------------------------

function newBucket({ bareBuckets }: S3ServerOptions): Bucket {
  const bucket: Bucket = { created: new Date(), objects: new Map(), uploads: new Map() };
  if (bareBuckets !== false) return bucket;
  return {
    ...bucket,
    publicAccessBlock: { ...everyAccessBlocked },
    ownership: "BucketOwnerEnforced",
    encryption: { algorithm: "AES256", bucketKey: false },
  };
}

function createBucket({ buckets, options: { region }, bucketName, headers, body }: Context, bucket: Bucket): Reply {
  const config = body.length > 0 ? parseXml(body.toString(), "CreateBucketConfiguration") : undefined;
  const constraint = childText(config, "LocationConstraint");
  if (region === "us-east-1" && constraint === region) {
    throw new S3Error(400, "InvalidLocationConstraint", "The specified location-constraint is not valid");
  }
  if (constraint !== (region === "us-east-1" ? undefined : region)) {
    const message = `The ${constraint ?? "unspecified"} location constraint is incompatible for the region specific endpoint this request was sent to.`;
    throw new S3Error(400, "IllegalLocationConstraintException", message);
  }
  const ownership = headers["x-amz-object-ownership"];
  if (ownership !== undefined && !OWNERSHIPS.test(ownership)) {
    throw invalidArgument("Invalid x-amz-object-ownership header", "x-amz-object-ownership", ownership);
  }
  if (!buckets.has(bucketName)) {
    buckets.set(bucketName, ownership === undefined ? bucket : { ...bucket, ownership });
  } else if (region !== "us-east-1") {
    const message = "Your previous request to create the named bucket succeeded and you already own it.";
    throw new S3Error(409, "BucketAlreadyOwnedByYou", message, { BucketName: bucketName });
  }
  return { status: 200, headers: { location: `/${bucketName}` } };
}

function deleteBucket({ buckets, bucketName }: Context, { objects }: Bucket): Reply {
  if (objects.size > 0) throw new S3Error(409, "BucketNotEmpty", "The bucket you tried to delete is not empty");
  buckets.delete(bucketName);
  return { status: 204 };
}

/** The handlers that get, put and delete one part of the configuration of a bucket. */
function configuration<F extends keyof BucketConfiguration>(
  field: F,
  missing: readonly [code: string, message: string],
  show: (value: NonNullable<BucketConfiguration[F]>) => Reply,
  parse: (context: Context, bucket: Bucket) => BucketConfiguration[F],
): { get: Handler; put: Handler; remove: Handler } {
  return {
    get({ bucketName }, bucket) {
      const value = bucket[field];
      if (value === undefined) throw notFound(missing[0], missing[1], { BucketName: bucketName });
      return show(value);
    },
    put(context, bucket) {
      Object.assign(bucket, { [field]: parse(context, bucket) });
      return { status: 200 };
    },
    remove({ options }, bucket) {
      Object.assign(bucket, { [field]: field === "encryption" ? newBucket(options)[field] : undefined });
      return { status: 204 };
    },
  };
}

const publicAccessBlock = configuration(
  "publicAccessBlock",
  ["NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found"],
  (value) => xmlReply("PublicAccessBlockConfiguration", value),
  ({ body }) => readAccessBlock(body),
);
const ownershipControls = configuration(
  "ownership",
  ["OwnershipControlsNotFoundError", "The bucket ownership controls were not found"],
  (value) => xmlReply("OwnershipControls", { Rule: { ObjectOwnership: value } }),
  ({ body }) => readOwnership(body),
);
const encryption = configuration(
  "encryption",
  ["ServerSideEncryptionConfigurationNotFoundError", "The server side encryption configuration was not found"],
  ({ algorithm, kmsKeyId, bucketKey }) => {
    const byDefault = { SSEAlgorithm: algorithm, KMSMasterKeyID: kmsKeyId };
    const rule = { ApplyServerSideEncryptionByDefault: byDefault, BucketKeyEnabled: bucketKey };
    return xmlReply("ServerSideEncryptionConfiguration", { Rule: rule });
  },
  ({ body }) => readEncryption(body),
);
const policy = configuration(
  "policy",
  ["NoSuchBucketPolicy", "The bucket policy does not exist"],
  (text) => ({ status: 200, headers: { "content-type": "application/json" }, body: text }),
  ({ body, bucketName }, { publicAccessBlock: block }) => {
    const { opensToAnyone } = readPolicy(body, bucketName);
    if (opensToAnyone && block?.BlockPublicPolicy === true) throw accessDenied();
    return body.toString();
  },
);
const lifecycle = configuration(
  "lifecycle",
  ["NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist"],
  (rules) => xmlReply("LifecycleConfiguration", {}, {}, rules),
  ({ body }) => readLifecycle(body),
);

// --- objects --------------------------------------------------------------------------------------------------------

/** What PutObject and CreateMultipartUpload say of the object besides its content. */
function describeObject({ headers }: Context, bucket: Bucket): Description {
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

const SSE = "x-amz-server-side-encryption";
// Under KMS the ETag is not the MD5 of the content: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
const etagOf = (body: Buffer, { headers }: Description): string =>
  (headers[SSE]?.startsWith("aws:kms") ? randomBytes(16) : md5(body)).toString("hex");

const checksumHeaders = (checksum: PartChecksum | Checksum | undefined): Record<string, string> => {
  if (checksum === undefined) return {};
  const value = { [checksumHeader(checksum.algorithm)]: checksum.value };
  return "type" in checksum ? { ...value, "x-amz-checksum-type": checksum.type } : value;
};
const checksumElements = (checksum: PartChecksum | undefined): Record<string, string> =>
  checksum === undefined ? {} : { [`Checksum${checksum.algorithm}`]: checksum.value };

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html */
function checkWriteConditions({ headers, key }: Context, bucket: Bucket, upload?: MultipartUpload): void {
  const condition = headers["if-none-match"];
  if (headers["if-match"] !== undefined)
    throw notImplemented("If-Match", "the test server has no conditional overwrite");
  if (condition === undefined) return;
  if (condition !== "*") {
    throw notImplemented("If-None-Match", "We don't accept the provided value of If-None-Match header for this API");
  }
  if (bucket.objects.has(key)) throw preconditionFailed("If-None-Match");
  if (upload?.deletedSince === true) {
    const message = "The conditional request cannot succeed due to a conflicting operation against this resource.";
    throw new S3Error(409, "ConditionalRequestConflict", message, { Condition: "If-None-Match", Key: key });
  }
}

function putObject(context: Context, bucket: Bucket): Reply {
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
  const headers = { etag: quoted(etag), ...checksumHeaders(checksum), ...withPrefix(description.headers, SSE) };
  return { status: 200, headers };
}

function getObject({ headers, key }: Context, bucket: Bucket): Reply {
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
      ...(mode === "ENABLED" && content.length === body.length ? checksumHeaders(checksum) : {}),
    },
    body: content,
  };
}

function deleteObject({ headers, key }: Context, bucket: Bucket): Reply {
  if (headers["if-match"] !== undefined) throw notImplemented("If-Match", "the test server has no conditional delete");
  if (bucket.objects.delete(key)) {
    for (const upload of bucket.uploads.values()) upload.deletedSince ||= upload.key === key;
  }
  return { status: 204 };
}

// --- listings -------------------------------------------------------------------------------------------------------

/** One page of `names` in the order of their bytes. */
function pageOf(names: Iterable<string>, prefix: string, after: string, max: number) {
  const left = [...names].filter((name) => name.startsWith(prefix) && byBytes(name, after) > 0).sort(byBytes);
  const page = left.slice(0, max);
  const last = page.at(-1);
  return { page, next: last !== undefined && left.length > max ? makeToken(last) : undefined };
}

function listBuckets({ buckets, options, query }: Context): Reply {
  const { prefix } = query;
  const max = readCount(query, "max-buckets", 10_000, 10_000, 1);
  const { page, next } = pageOf(buckets.keys(), prefix ?? "", readToken(query["continuation-token"]) ?? "", max);
  const Bucket = page.map((Name) => {
    const created = buckets.get(Name)?.created ?? new Date(0);
    return { Name, CreationDate: isoDate(created), BucketRegion: options.region };
  });
  const owner = { ID: options.ownerAccount };
  const fields = { Owner: owner, Buckets: { Bucket }, Prefix: prefix, ContinuationToken: next };
  return xmlReply("ListAllMyBucketsResult", fields);
}

function listObjects({ bucketName, query }: Context, bucket: Bucket): Reply {
  if (query["list-type"] !== "2") throw invalidArgument("Invalid List Type", "list-type", query["list-type"] ?? "");
  const { prefix = "", "start-after": startAfter, "continuation-token": token } = query;
  const encode = nameEncoder(query);
  const max = readCount(query, "max-keys", 1000, 1000);
  const { page, next } = pageOf(bucket.objects.keys(), prefix, readToken(token) ?? startAfter ?? "", max);
  return xmlReply("ListBucketResult", {
    Name: bucketName,
    Prefix: encode(prefix),
    StartAfter: startAfter === undefined ? undefined : encode(startAfter),
    ContinuationToken: token,
    NextContinuationToken: next,
    KeyCount: page.length,
    MaxKeys: max,
    EncodingType: query["encoding-type"],
    IsTruncated: next !== undefined,
    Contents: page.map((key) => {
      const object = bucket.objects.get(key);
      return {
        Key: encode(key),
        LastModified: isoDate(object?.lastModified ?? new Date(0)),
        ETag: quoted(object?.etag ?? ""),
        ChecksumAlgorithm: object?.checksum?.algorithm,
        ChecksumType: object?.checksum?.type,
        Size: object?.body.length,
        StorageClass: object?.headers["x-amz-storage-class"] ?? "STANDARD",
      };
    }),
  });
}

function listMultipartUploads({ bucketName, query }: Context, bucket: Bucket): Reply {
  const encode = nameEncoder(query);
  const { prefix = "", "key-marker": keyMarker = "" } = query;
  const idMarker = keyMarker === "" ? "" : (query["upload-id-marker"] ?? "");
  const max = readCount(query, "max-uploads", 1000, 1000, 1);
  const all = [...bucket.uploads]
    .filter(([, upload]) => upload.key.startsWith(prefix))
    .sort(([, a], [, b]) => byBytes(a.key, b.key) || a.initiated.getTime() - b.initiated.getTime());
  const marked = all.findIndex(([id, upload]) => id === idMarker && upload.key === keyMarker);
  if (idMarker !== "" && marked < 0) throw invalidArgument("Invalid uploadId marker", "upload-id-marker", idMarker);
  const left = all.filter(([, { key }], index) => (marked < 0 ? byBytes(key, keyMarker) > 0 : index > marked));
  const page = left.slice(0, max);
  const truncated = left.length > page.length;
  const [lastId, lastUpload] = (truncated ? page.at(-1) : undefined) ?? [];
  return xmlReply("ListMultipartUploadsResult", {
    Bucket: bucketName,
    KeyMarker: encode(keyMarker),
    UploadIdMarker: idMarker,
    NextKeyMarker: lastUpload === undefined ? undefined : encode(lastUpload.key),
    NextUploadIdMarker: lastId,
    Prefix: prefix === "" ? undefined : encode(prefix),
    EncodingType: query["encoding-type"],
    MaxUploads: max,
    IsTruncated: truncated,
    Upload: page.map(([id, upload]) => ({
      Key: encode(upload.key),
      UploadId: id,
      StorageClass: upload.headers["x-amz-storage-class"] ?? "STANDARD",
      Initiated: isoDate(upload.initiated),
      ChecksumAlgorithm: upload.checksum?.algorithm,
      ChecksumType: upload.checksum?.type,
    })),
  });
}

// --- multipart uploads ----------------------------------------------------------------------------------------------

function findUpload({ query: { uploadId: id = "" }, key }: Context, bucket: Bucket) {
  const upload = bucket.uploads.get(id);
  if (upload?.key === key) return { id, upload };
  const message =
    "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.";
  throw notFound("NoSuchUpload", message, { UploadId: id });
}

function createMultipartUpload(context: Context, bucket: Bucket): Reply {
  const { key, bucketName, headers, options } = context;
  const checksum = options.checksums === false ? undefined : declaredChecksum(headers);
  const description = describeObject(context, bucket);
  const id = randomBytes(48).toString("base64url");
  const state = { key, parts: new Map(), initiated: new Date(), checksum, deletedSince: false };
  bucket.uploads.set(id, { ...description, ...state });
  const declared = { "x-amz-checksum-algorithm": checksum?.algorithm, "x-amz-checksum-type": checksum?.type };
  const all = { ...declared, ...withPrefix(description.headers, SSE) };
  return xmlReply("InitiateMultipartUploadResult", { Bucket: bucketName, Key: key, UploadId: id }, all);
}

function uploadPart(context: Context, bucket: Bucket): Reply {
  const { body, options } = context;
  const { partNumber = "" } = context.query;
  if (!/^([1-9]\d{0,3}|10000)$/.test(partNumber)) {
    const message = "Part number must be an integer between 1 and 10000, inclusive";
    throw invalidArgument(message, "partNumber", partNumber);
  }
  const { upload } = findUpload(context, bucket);
  const expected = upload.checksum?.algorithm;
  const actual = context.checksum?.algorithm;
  if (expected !== undefined && expected !== actual) {
    const types = `expected checksum Type: ${expected}, actual checksum Type: ${actual ?? "null"}`.toLowerCase();
    throw invalidRequest(`Checksum Type mismatch occurred, ${types}`);
  }
  const checksum = options.checksums === false ? undefined : context.checksum;
  const etag = etagOf(body, upload);
  upload.parts.set(Number(partNumber), { body, etag, checksum, lastModified: new Date() });
  const headers = { etag: quoted(etag), ...checksumHeaders(checksum), ...withPrefix(upload.headers, SSE) };
  return { status: 200, headers };
}

function listParts(context: Context, bucket: Bucket): Reply {
  const { query, options, bucketName, key } = context;
  const { id, upload } = findUpload(context, bucket);
  const marker = readCount(query, "part-number-marker", 0, 0x7fffffff);
  const max = readCount(query, "max-parts", 1000, 1000);
  const left = [...upload.parts].filter(([number]) => number > marker).sort(([a], [b]) => a - b);
  const page = left.slice(0, max);
  return xmlReply("ListPartsResult", {
    Bucket: bucketName,
    Key: key,
    UploadId: id,
    PartNumberMarker: marker,
    NextPartNumberMarker: page.at(-1)?.[0] ?? 0,
    MaxParts: max,
    IsTruncated: left.length > page.length,
    Part: page.map(([PartNumber, part]) => ({
      PartNumber,
      LastModified: isoDate(part.lastModified),
      ETag: quoted(part.etag),
      Size: part.body.length,
      ...checksumElements(upload.checksum === undefined ? undefined : part.checksum),
    })),
    Owner: { ID: options.ownerAccount },
    StorageClass: upload.headers["x-amz-storage-class"] ?? "STANDARD",
    ChecksumAlgorithm: upload.checksum?.algorithm,
    ChecksumType: upload.checksum?.type,
  });
}

function completeMultipartUpload(context: Context, bucket: Bucket): Reply {
  const { headers, key, bucketName, options } = context;
  const { id, upload } = findUpload(context, bucket);
  checkWriteConditions(context, bucket, upload);
  const parts = requestedParts(context, id, upload);
  const small = parts.slice(0, -1).find(({ part }) => part.body.length < MIN_PART);
  if (small !== undefined) {
    const message = "Your proposed upload is smaller than the minimum allowed size";
    const extra = { MinSizeAllowed: MIN_PART, ProposedSize: small.part.body.length };
    throw new S3Error(400, "EntityTooSmall", message, { ...extra, ETag: small.part.etag, PartNumber: small.number });
  }
  // https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html: consecutive numbers with checksums, or 500
  if (upload.checksum !== undefined && parts.some(({ number }, index) => number !== index + 1)) {
    throw new S3Error(500, "InternalError", "We encountered an internal error. Please try again.");
  }
  const body = Buffer.concat(parts.map(({ part }) => part.body));
  const size = headers["x-amz-mp-object-size"];
  if (size !== undefined && size !== String(body.length)) {
    const value = `header value ${size} does not match what was computed: ${body.length}`;
    throw invalidRequest(`The provided 'x-amz-mp-object-size' ${value}`);
  }
  const checksum = options.checksums === false ? undefined : objectChecksum(headers, upload, parts, body);
  const etags = Buffer.concat(parts.map(({ part }) => Buffer.from(part.etag, "hex")));
  const etag = `${etagOf(etags, upload)}-${parts.length}`;
  const { contentType, metadata, headers: kept } = upload;
  bucket.objects.set(key, { body, etag, contentType, metadata, headers: kept, checksum, lastModified: new Date() });
  bucket.uploads.delete(id);
  const Location = `http://${headers["host"]}/${bucketName}/${percentEncode(key)}`;
  const result = { Location, Bucket: bucketName, Key: key, ETag: quoted(etag), ChecksumType: checksum?.type };
  const fields = { ...result, ...checksumElements(checksum) };
  return xmlReply("CompleteMultipartUploadResult", fields, withPrefix(kept, SSE));
}

interface NumberedPart {
  number: number;
  part: StoredPart;
}

function requestedParts({ body, options }: Context, id: string, upload: MultipartUpload): NumberedPart[] {
  const parts: NumberedPart[] = [];
  for (const node of childNodes(parseXml(body.toString(), "CompleteMultipartUpload"), "Part")) {
    const etag = unquoted(childText(node, "ETag") ?? "");
    const numeral = childText(node, "PartNumber") ?? "";
    const number = Number(numeral);
    if (etag === "" || !/^\d+$/.test(numeral)) throw malformedXml();
    if (number < 1 || number > 10_000) {
      const message = "PartNumber must be an integer between 1 and 10000, inclusive";
      throw invalidArgument(message, "PartNumber", numeral);
    }
    if (number <= (parts.at(-1)?.number ?? 0)) {
      const message = "The list of parts was not in ascending order. Parts must be ordered by part number.";
      throw new S3Error(400, "InvalidPartOrder", message, { UploadId: id });
    }
    const part = upload.parts.get(number);
    if (part?.etag !== etag || (options.checksums !== false && !checksumMatches(node, number, upload, part))) {
      const message =
        "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.";
      throw new S3Error(400, "InvalidPart", message, { UploadId: id, PartNumber: number, ETag: etag });
    }
    parts.push({ number, part });
  }
  if (parts.length === 0) throw malformedXml();
  return parts;
}

function checksumMatches(node: XmlNode, number: number, upload: MultipartUpload, part: StoredPart): boolean {
  const given = CHECKSUM_ALGORITHMS.flatMap((algorithm) => {
    const value = childText(node, `Checksum${algorithm}`);
    return value === undefined ? [] : [{ algorithm, value }];
  });
  const [checksum] = given;
  if (given.length > 1 || (checksum !== undefined && !isChecksumValue(checksum.algorithm, checksum.value))) {
    const value = given.map((item) => `${item.algorithm}:${item.value};`).join("");
    throw invalidArgument("Invalid Base64 or multiple checksums present in request", "Checksum", value);
  }
  const { algorithm, type } = upload.checksum ?? {};
  if (checksum === undefined) {
    if (type !== "COMPOSITE" || algorithm === undefined) return true;
    throw invalidRequest(
      `The upload was created using a ${algorithm.toLowerCase()} checksum. The complete request must include the checksum for each part. It was missing for part ${number} in the request.`,
    );
  }
  if (algorithm !== undefined && checksum.algorithm !== algorithm) {
    const other = checksum.algorithm.toLowerCase();
    const message = `The ${other} you specified for part ${number} did not match what we received.`;
    throw new S3Error(400, "BadDigest", message);
  }
  // For S3 a part of an upload that declared no algorithm has no checksum to compare with.
  return algorithm !== undefined && part.checksum?.value === checksum.value;
}

function objectChecksum(
  headers: Headers,
  upload: MultipartUpload,
  parts: readonly NumberedPart[],
  body: Buffer,
): Checksum {
  const { algorithm, type }: DeclaredChecksum = upload.checksum ?? {
    algorithm: "CRC64NVME",
    type: "FULL_OBJECT",
  };
  const digests = () => parts.map(({ part }) => Buffer.from(part.checksum?.value ?? "", "base64"));
  const digest = checksumOf(algorithm, type === "FULL_OBJECT" ? body : Buffer.concat(digests()));
  const value = type === "FULL_OBJECT" ? digest : `${digest}-${parts.length}`;
  if ((headers["x-amz-checksum-type"] ?? type) !== type) {
    throw invalidRequest(
      `The upload was created using the ${type} checksum mode. The complete request must use the same checksum mode.`,
    );
  }
  for (const name of CHECKSUM_ALGORITHMS) {
    const given = headers[checksumHeader(name)];
    // S3 ignores the checksum of another algorithm if the upload declared none.
    if (given === undefined || (name !== algorithm && upload.checksum === undefined)) continue;
    // The count that follows a composite checksum may be left out.
    const stated = type === "COMPOSITE" ? given.replace(/-\d+$/, "") : given;
    if (name !== algorithm || !isChecksumValue(name, stated)) {
      throw invalidRequest(`Value for ${checksumHeader(name)} header is invalid.`);
    }
    if (given !== value && given !== digest) throw badDigest(name.toLowerCase());
  }
  return { algorithm, type, value };
}

function abortMultipartUpload(context: Context, bucket: Bucket): Reply {
  bucket.uploads.delete(findUpload(context, bucket).id);
  return { status: 204 };
}

// --- dispatch -------------------------------------------------------------------------------------------------------

function headBucket({ options, bucketName }: Context): Reply {
  const headers = { "x-amz-bucket-region": options.region, "x-amz-bucket-arn": `arn:aws:s3:::${bucketName}` };
  return { status: 200, headers };
}

function getBucketLocation({ options: { region } }: Context): Reply {
  return xmlReply("LocationConstraint", {}, {}, region === "us-east-1" ? "" : region);
}

/** By name: method, scope, the query parameter that selects the operation, others it takes; and its handler. */
const OPERATIONS: Readonly<Record<string, readonly [route: string, handler: Handler]>> = {
  ListBuckets: ["GET service - prefix max-buckets continuation-token", listBuckets],
  CreateBucket: ["PUT bucket -", createBucket],
  HeadBucket: ["HEAD bucket -", headBucket],
  DeleteBucket: ["DELETE bucket -", deleteBucket],
  GetBucketLocation: ["GET bucket location", getBucketLocation],
  GetPublicAccessBlock: ["GET bucket publicAccessBlock", publicAccessBlock.get],
  PutPublicAccessBlock: ["PUT bucket publicAccessBlock", publicAccessBlock.put],
  DeletePublicAccessBlock: ["DELETE bucket publicAccessBlock", publicAccessBlock.remove],
  GetBucketOwnershipControls: ["GET bucket ownershipControls", ownershipControls.get],
  PutBucketOwnershipControls: ["PUT bucket ownershipControls", ownershipControls.put],
  DeleteBucketOwnershipControls: ["DELETE bucket ownershipControls", ownershipControls.remove],
  GetBucketEncryption: ["GET bucket encryption", encryption.get],
  PutBucketEncryption: ["PUT bucket encryption", encryption.put],
  DeleteBucketEncryption: ["DELETE bucket encryption", encryption.remove],
  GetBucketPolicy: ["GET bucket policy", policy.get],
  PutBucketPolicy: ["PUT bucket policy", (...of) => ({ ...policy.put(...of), status: 204 })],
  DeleteBucketPolicy: ["DELETE bucket policy", policy.remove],
  GetBucketLifecycleConfiguration: ["GET bucket lifecycle", lifecycle.get],
  PutBucketLifecycleConfiguration: ["PUT bucket lifecycle", lifecycle.put],
  DeleteBucketLifecycle: ["DELETE bucket lifecycle", lifecycle.remove],
  ListObjectsV2: ["GET bucket list-type prefix max-keys continuation-token start-after encoding-type", listObjects],
  ListMultipartUploads: [
    "GET bucket uploads prefix key-marker upload-id-marker max-uploads encoding-type",
    listMultipartUploads,
  ],
  PutObject: ["PUT object -", putObject],
  GetObject: ["GET object -", getObject],
  HeadObject: ["HEAD object -", getObject],
  DeleteObject: ["DELETE object -", deleteObject],
  CreateMultipartUpload: ["POST object uploads", createMultipartUpload],
  UploadPart: ["PUT object uploadId partNumber", uploadPart],
  ListParts: ["GET object uploadId max-parts part-number-marker", listParts],
  CompleteMultipartUpload: ["POST object uploadId", completeMultipartUpload],
  AbortMultipartUpload: ["DELETE object uploadId", abortMultipartUpload],
};

function findOperation(method: string, bucketName: string, key: string, query: Headers): string | undefined {
  const scope = key !== "" ? "object" : bucketName !== "" ? "bucket" : "service";
  const names = Object.keys(query).filter((name) => name !== "x-id");
  return Object.entries(OPERATIONS).find(([, [route]]) => {
    const [routeMethod, routeScope, selector = "-", ...parameters] = route.split(" ");
    const selected = selector === "-" || names.includes(selector);
    const known = [selector, ...parameters];
    return routeMethod === method && routeScope === scope && selected && names.every((name) => known.includes(name));
  })?.[0];
}

type Unread = Omit<Context, keyof Payload>;

/** Nothing here waits, so that no other request can come between a condition and the write it guards. */
function answer(raw: Buffer, context: Unread, record: RecordedRequest): Reply {
  const { headers, options, operation } = context;
  checkAuthorization(headers, options.region, options.accessKeyId);
  const [, handler] = OPERATIONS[operation] ?? [];
  if (handler === undefined || options.without?.includes(operation) === true) {
    throw new S3Error(501, "NotImplemented", `${operation} is not implemented`);
  }
  const unsupported = Object.keys(headers).find((name) => UNSUPPORTED_HEADERS.test(name));
  if (unsupported !== undefined) throw notImplemented(unsupported);
  const bucket = operation === "ListBuckets" ? newBucket(options) : findBucket(context);
  const payload = readPayload(raw, headers, operation);
  record.bodyBytes = payload.body.length;
  return handler({ ...context, ...payload }, bucket);
}

function findBucket({ operation, bucketName, key, buckets, headers, options }: Unread): Bucket {
  const { "x-amz-expected-bucket-owner": expectedOwner = options.ownerAccount } = headers;
  const extra = { BucketName: bucketName };
  const size = Buffer.byteLength(key);
  if (!/^(?!\d+\.\d+\.\d+\.\d+$|xn--)[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]$/.test(bucketName)) {
    throw new S3Error(400, "InvalidBucketName", "The specified bucket is not valid.", extra);
  }
  if (size > 1024) {
    throw new S3Error(400, "KeyTooLongError", "Your key is too long", { Size: size, MaxSizeAllowed: 1024 });
  }
  if (options.foreignBuckets?.includes(bucketName) === true) {
    const message = "The requested bucket name is not available. Please select a different name and try again.";
    if (operation === "CreateBucket") throw new S3Error(409, "BucketAlreadyExists", message, extra);
    throw accessDenied();
  }
  if (operation === "CreateBucket") return newBucket(options);
  const bucket = buckets.get(bucketName);
  if (bucket === undefined) throw notFound("NoSuchBucket", "The specified bucket does not exist", extra);
  if (!/^\d{12}$/.test(expectedOwner)) {
    const message = "The value of the expected bucket owner parameter must be an AWS Account ID";
    throw new S3Error(400, "InvalidBucketOwnerAWSAccountID", message);
  }
  if (expectedOwner !== options.ownerAccount) throw accessDenied();
  return bucket;
}

function errorReply(error: unknown, RequestId: string, region: string): Reply {
  const { status, code, message, extra } =
    error instanceof S3Error ? error : new S3Error(500, "InternalError", `bug in the test server: ${String(error)}`);
  const headers = { "content-type": "application/xml", "x-amz-bucket-region": region };
  return { status, headers, body: xmlDocument("Error", { Code: code, Message: message, ...extra, RequestId }) };
}

async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of request) chunks.push(chunk);
    return Buffer.concat(chunks);
  } catch {
    return undefined; // the client went away
  }
}

export async function startS3Server(options: S3ServerOptions = {}): Promise<S3Server> {
  const { region = "us-east-1", ownerAccount = "123456789012" } = options;
  const requests: RecordedRequest[] = [];
  const buckets = new Map<string, Bucket>();

  const server = createServer(async (request, response) => {
    const { method = "", url = "" } = request;
    // Not new URL(), which would resolve the dots of a key like a/../b.
    const [path = "", search = ""] = url.split(/\?(.*)/s);
    const [, bucketName = "", key = ""] = /^\/([^/]*)\/?(.*)$/s.exec(decodePath(path)) ?? [];
    const query = Object.fromEntries(new URLSearchParams(search));
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
    const operation = findOperation(method, bucketName, key, query) ?? query["x-id"] ?? method;
    const record: RecordedRequest = { operation, method, path, query, headers, bodyBytes: 0, status: 0 };
    requests.push(record);
    const raw = await readBody(request);
    if (raw === undefined) return;
    record.bodyBytes = raw.length;
    const requestId = randomBytes(8).toString("hex").toUpperCase();
    let reply: Reply;
    try {
      const state = { options: { ...options, region, ownerAccount }, buckets };
      reply = answer(raw, { ...state, operation, bucketName, key, query, headers }, record);
    } catch (error) {
      reply = errorReply(error, requestId, region);
    }
    record.status = reply.status;
    response.statusCode = reply.status;
    const all = { "x-amz-request-id": requestId, "x-amz-id-2": "test", server: "AmazonS3", ...reply.headers };
    for (const [name, value] of Object.entries(all)) if (value !== undefined) response.setHeader(name, value);
    response.end(method === "HEAD" ? undefined : reply.body);
  });
  // Longer than a test lasts: a client that uses a connection again must not meet its end.
  server.keepAliveTimeout = 120_000;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;

  let closed: Promise<void> | undefined;
  return {
    endpoint: `http://127.0.0.1:${port}`,
    requests,
    buckets,
    reset() {
      buckets.clear();
      requests.length = 0;
    },
    close() {
      closed ??= new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
      return closed;
    },
  };
}

/** A path that is no percent-encoding stays as it is. */
function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

// The operations on one multipart upload.
import { randomBytes } from "node:crypto";
import {
  CHECKSUM_ALGORITHMS,
  type Checksum,
  checksumElements,
  checksumHeader,
  checksumHeaders,
  checksumOf,
  type DeclaredChecksum,
  declaredChecksum,
  isChecksumValue,
} from "./checksums.ts";
import { badDigest, invalidArgument, invalidRequest, malformedXml, notFound, S3Error } from "./errors.ts";
import { type Context, isoDate, quoted, type Reply, unquoted, xmlReply } from "./handler.ts";
import { checkWriteConditions, describeObject, encryptionHeaders, etagOf } from "./objects.ts";
import { type Headers, percentEncode, readCount } from "./parameters.ts";
import type { Bucket, MultipartUpload, StoredPart } from "./state.ts";
import { childNodes, childText, parseXml, type XmlNode } from "./xml.ts";

const MIN_PART = 5 * 1024 * 1024;

export function findUpload({ query: { uploadId: id = "" }, key }: Context, bucket: Bucket) {
  const upload = bucket.uploads.get(id);
  if (upload?.key === key) return { id, upload };
  const message =
    "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.";
  throw notFound("NoSuchUpload", message, { UploadId: id });
}

export function createMultipartUpload(context: Context, bucket: Bucket): Reply {
  const { key, bucketName, headers, options } = context;
  const checksum = options.checksums === false ? undefined : declaredChecksum(headers);
  const description = describeObject(context, bucket);
  const id = randomBytes(48).toString("base64url");
  const state = { key, parts: new Map(), initiated: new Date(), checksum, deletedSince: false };
  bucket.uploads.set(id, { ...description, ...state });
  const declared = { "x-amz-checksum-algorithm": checksum?.algorithm, "x-amz-checksum-type": checksum?.type };
  const all = { ...declared, ...encryptionHeaders(description) };
  return xmlReply("InitiateMultipartUploadResult", { Bucket: bucketName, Key: key, UploadId: id }, all);
}

export function partNumberOf({ query: { partNumber = "" } }: Context): number {
  if (/^([1-9]\d{0,3}|10000)$/.test(partNumber)) return Number(partNumber);
  const message = "Part number must be an integer between 1 and 10000, inclusive";
  throw invalidArgument(message, "partNumber", partNumber);
}

export function uploadPart(context: Context, bucket: Bucket): Reply {
  const { body, options } = context;
  const number = partNumberOf(context);
  const { upload } = findUpload(context, bucket);
  const expected = upload.checksum?.algorithm;
  const actual = context.checksum?.algorithm;
  if (expected !== undefined && expected !== actual) {
    const types = `expected checksum Type: ${expected}, actual checksum Type: ${actual ?? "null"}`.toLowerCase();
    throw invalidRequest(`Checksum Type mismatch occurred, ${types}`);
  }
  const checksum = options.checksums === false ? undefined : context.checksum;
  const etag = etagOf(body, upload);
  upload.parts.set(number, { body, etag, checksum, lastModified: new Date() });
  const headers = { etag: quoted(etag), ...checksumHeaders(checksum), ...encryptionHeaders(upload) };
  return { status: 200, headers };
}

export function listParts(context: Context, bucket: Bucket): Reply {
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

export function completeMultipartUpload(context: Context, bucket: Bucket): Reply {
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
  return xmlReply("CompleteMultipartUploadResult", fields, encryptionHeaders(upload));
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

export function abortMultipartUpload(context: Context, bucket: Bucket): Reply {
  bucket.uploads.delete(findUpload(context, bucket).id);
  return { status: 204 };
}

// The body of a request: aws-chunked encoding, and what headers and trailers say of the content.
import { createHash } from "node:crypto";
import { checksumAlgorithm, checksumHeader, checksumOf, isChecksumValue, type PartChecksum } from "./checksums.ts";
import { badDigest, invalidArgument, invalidRequest, notImplemented, S3Error } from "./errors.ts";
import type { Headers } from "./parameters.ts";

export interface Payload {
  readonly body: Buffer;
  /** The checksum the client sent, in a header or a trailer. */
  readonly checksum?: PartChecksum | undefined;
}

const MIN_CHUNK = 8192;
const STREAMING = /^STREAMING-(?:UNSIGNED-PAYLOAD-TRAILER|(AWS4-HMAC-SHA256)-PAYLOAD(?:-TRAILER)?)$/;

const incompleteBody = (): S3Error =>
  new S3Error(
    400,
    "IncompleteBody",
    "You did not provide the number of bytes specified by the Content-Length HTTP header",
  );
const malformedTrailer = (): S3Error =>
  new S3Error(
    400,
    "MalformedTrailerError",
    "The request contained trailing data that was not well-formed or did not conform to our published schema.",
  );

interface ChunkedBody {
  readonly body: Buffer;
  readonly trailers: ReadonlyMap<string, string>;
}

/** https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and sigv4-streaming-trailers.html */
function decodeChunked(raw: Buffer, signed: boolean, trailing: boolean): ChunkedBody {
  const chunks: Buffer[] = [];
  let offset = 0;
  const line = (): string => {
    const end = raw.indexOf("\r\n", offset);
    if (end < 0) throw incompleteBody();
    const text = raw.toString("latin1", offset, end);
    offset = end + 2;
    return text;
  };
  for (;;) {
    const header = /^([0-9a-fA-F]+)(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(line());
    if (header === null || signed !== (header[2] !== undefined)) throw incompleteBody();
    const size = Number.parseInt(header[1] ?? "", 16);
    if (size === 0) break;
    const last = chunks.at(-1);
    if (last !== undefined && last.length < MIN_CHUNK) {
      const message = "Only the last chunk is allowed to have a size less than 8192 bytes";
      const extra = { Chunk: chunks.length + 1, BadChunkSize: last.length };
      throw new S3Error(403, "InvalidChunkSizeError", message, extra);
    }
    const chunk = raw.subarray(offset, offset + size);
    offset += size;
    if (chunk.length !== size || line() !== "") throw incompleteBody();
    chunks.push(chunk);
  }
  const trailers = new Map<string, string>();
  for (let text = line(); text !== ""; text = line()) {
    const colon = text.indexOf(":");
    if (!trailing || colon < 1) throw malformedTrailer();
    trailers.set(text.slice(0, colon).trim().toLowerCase(), text.slice(colon + 1).trim());
  }
  const signature = trailers.get("x-amz-trailer-signature");
  if (offset !== raw.length || (signed && trailing) !== (signature !== undefined)) throw malformedTrailer();
  trailers.delete("x-amz-trailer-signature");
  return { body: Buffer.concat(chunks), trailers };
}

/** The payload of a request after all the comparisons S3 makes of it with its headers and trailers. */
export function readPayload(raw: Buffer, headers: Headers, operation: string): Payload {
  const sha256 = headers["x-amz-content-sha256"];
  if (sha256 === undefined) throw invalidRequest("Missing required header for this request: x-amz-content-sha256");
  const streaming = STREAMING.exec(sha256);
  const sized = streaming === null ? "content-length" : "x-amz-decoded-content-length";
  if (streaming === null && headers["transfer-encoding"] !== undefined) throw notImplemented("Transfer-Encoding");
  if ((streaming !== null || /^(PutObject|UploadPart)$/.test(operation)) && headers[sized] === undefined) {
    throw new S3Error(411, "MissingContentLength", "You must provide the Content-Length HTTP header.");
  }
  const plain = { body: raw, trailers: new Map<string, string>() };
  const { body, trailers } =
    streaming === null ? plain : decodeChunked(raw, streaming[1] !== undefined, sha256.endsWith("-TRAILER"));
  if (streaming === null) checkSha256(sha256, raw);
  else if (headers[sized] !== String(body.length)) throw incompleteBody();
  const announced = (headers["x-amz-trailer"] ?? "").toLowerCase().replaceAll(/\s/g, "");
  if (announced !== [...trailers.keys()].join()) throw malformedTrailer();
  checkMd5(headers["content-md5"], body);
  // On completion the checksum headers speak of the object and not of the request.
  const checksum = operation === "CompleteMultipartUpload" ? undefined : bodyChecksum(headers, trailers, body);
  if (/^Put(?!Object)/.test(operation) && checksum === undefined && headers["content-md5"] === undefined) {
    throw invalidRequest("Missing required header for this request: Content-MD5 OR x-amz-checksum-*");
  }
  return { body, checksum };
}

function checkSha256(expected: string, body: Buffer): void {
  if (expected === "UNSIGNED-PAYLOAD") return;
  if (!/^[0-9a-f]{64}$/.test(expected)) {
    const message = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING- value or a valid sha256 value.";
    throw invalidArgument(message, "x-amz-content-sha256", expected);
  }
  const computed = createHash("sha256").update(body).digest("hex");
  if (computed === expected) return;
  const message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
  const extra = { ClientComputedContentSHA256: expected, S3ComputedContentSHA256: computed };
  throw new S3Error(400, "XAmzContentSHA256Mismatch", message, extra);
}

function checkMd5(expected: string | undefined, body: Buffer): void {
  if (expected === undefined) return;
  const bytes = Buffer.from(expected, "base64");
  if (bytes.length !== 16 || bytes.toString("base64") !== expected) {
    throw new S3Error(400, "InvalidDigest", "The Content-MD5 you specified was invalid.");
  }
  const computed = createHash("md5").update(body).digest("base64");
  if (computed === expected) return;
  const extra = { ExpectedDigest: expected, CalculatedDigest: computed };
  throw new S3Error(400, "BadDigest", "The Content-MD5 you specified did not match what we received.", extra);
}

function bodyChecksum(headers: Headers, trailers: ReadonlyMap<string, string>, body: Buffer): PartChecksum | undefined {
  const [checksum, second] = [...Object.entries(headers), ...trailers].flatMap(([name, value]) => {
    const algorithm = checksumAlgorithm(/^x-amz-checksum-(.*)$/.exec(name)?.[1] ?? "");
    return algorithm === undefined ? [] : [{ algorithm, value }];
  });
  if (second !== undefined) {
    throw invalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.");
  }
  const declared = headers["x-amz-sdk-checksum-algorithm"];
  if (declared !== undefined && checksum === undefined) {
    throw invalidRequest("x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* was found.");
  }
  if (declared !== undefined && checksumAlgorithm(declared) !== checksum?.algorithm) {
    throw invalidRequest("Value for x-amz-sdk-checksum-algorithm header is invalid.");
  }
  if (checksum === undefined) return undefined;
  if (!isChecksumValue(checksum.algorithm, checksum.value)) {
    const kind = trailers.size > 0 ? "trailing header" : "header";
    throw invalidRequest(`Value for ${checksumHeader(checksum.algorithm)} ${kind} is invalid.`);
  }
  if (checksumOf(checksum.algorithm, body) !== checksum.value) throw badDigest(checksum.algorithm);
  return checksum;
}

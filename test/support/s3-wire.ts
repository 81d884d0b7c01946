// The protocol of S3 without any state: errors, XML, checksums, aws-chunked bodies, authorization, and the documents and
// parameters of requests. Each function refuses what Amazon S3 refuses, by throwing an S3Error.
import { createHash, randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";

/** What S3 answers instead of a result; `extra` become further elements of the XML error document. */
export class S3Error extends Error {
  readonly status: number;
  readonly code: string;
  readonly extra: Readonly<Record<string, string | number>>;
  constructor(status: number, code: string, message: string, extra: Readonly<Record<string, string | number>> = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.extra = extra;
  }
}

/** Headers of a request, or the parameters of its query. */
export type Headers = Readonly<Record<string, string>>;

export const invalidRequest = (message: string): S3Error => new S3Error(400, "InvalidRequest", message);
export const invalidArgument = (message: string, name: string, value: string): S3Error =>
  new S3Error(400, "InvalidArgument", message, { ArgumentName: name, ArgumentValue: value });
export const notFound = (code: string, message: string, extra: Readonly<Record<string, string>> = {}): S3Error =>
  new S3Error(404, code, message, extra);
export const badDigest = (algorithm: string): S3Error =>
  new S3Error(400, "BadDigest", `The ${algorithm} you specified did not match the calculated checksum.`);
export const malformedXml = (): S3Error =>
  new S3Error(
    400,
    "MalformedXML",
    "The XML you provided was not well-formed or did not validate against our published schema",
  );
export const notImplemented = (header: string, why?: string): S3Error =>
  new S3Error(501, "NotImplemented", "A header you provided implies functionality that is not implemented", {
    Header: header,
    ...(why === undefined ? {} : { additionalMessage: why }),
  });

// --- XML ------------------------------------------------------------------------------------------------------------

export interface XmlNode {
  readonly name: string;
  readonly children: XmlNode[];
  text: string;
}

export type XmlValue =
  | string
  | number
  | boolean
  | undefined
  | readonly XmlValue[]
  | { readonly [name: string]: XmlValue };

const TOKEN =
  /<\?[^>]*\?>|<!--[\s\S]*?-->|<(\/?)([A-Za-z_][\w.-]*)((?:\s+[\w.:-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>|([^<]+)/gy;
const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

function unescapeXml(text: string): string {
  return text.replace(
    /&(?:#x([0-9a-fA-F]+)|#(\d+)|(\w*));?/g,
    (whole, hex?: string, decimal?: string, name?: string) => {
      const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
      const plain = name === undefined ? String.fromCodePoint(code) : ENTITIES[name];
      if (plain === undefined || !whole.endsWith(";")) throw malformedXml();
      return plain;
    },
  );
}

/** Parses one document, checks the name of its root element, and refuses everything that is not well-formed. */
export function parseXml(text: string, root: string): XmlNode {
  const top: XmlNode = { name: "", children: [], text: "" };
  const open = [top];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text);
    const parent = open.at(-1);
    if (match === null || parent === undefined) throw malformedXml();
    const [, slash, name, , selfClosing, characters] = match;
    if (characters !== undefined) {
      if (parent === top && characters.trim() !== "") throw malformedXml();
      parent.text += unescapeXml(characters);
    } else if (slash === "/") {
      if (parent.name !== name || selfClosing !== "") throw malformedXml();
      open.pop();
    } else if (name !== undefined) {
      const node: XmlNode = { name, children: [], text: "" };
      parent.children.push(node);
      if (selfClosing === "") open.push(node);
    }
  }
  const [node, second] = top.children;
  if (node?.name !== root || second !== undefined || open.length !== 1) throw malformedXml();
  return node;
}

export const childNodes = (node: XmlNode | undefined, name: string): XmlNode[] =>
  (node?.children ?? []).filter((child) => child.name === name);
export const childText = (node: XmlNode | undefined, name: string): string | undefined =>
  childNodes(node, name)[0]?.text.trim();

// S3 writes control characters as references that XML 1.0 forbids; encoding-type=url is the documented way around.
const escapeXml = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: S3 escapes exactly these
  text.replace(/[<>&"\u0000-\u0008\u000b-\u001f]/g, (c) => {
    const named = Object.entries(ENTITIES).find(([, plain]) => plain === c);
    return named === undefined ? `&#x${c.charCodeAt(0).toString(16)};` : `&${named[0]};`;
  });

function element(name: string, value: XmlValue): string {
  if (value === undefined) return "";
  if (isList(value)) return value.map((item) => element(name, item)).join("");
  if (typeof value !== "object") return `<${name}>${escapeXml(String(value))}</${name}>`;
  const inner = Object.entries(value).map(([key, item]) => element(key, item));
  return `<${name}>${inner.join("")}</${name}>`;
}
const isList = (value: XmlValue): value is readonly XmlValue[] => Array.isArray(value);

export const nodeXml = (node: XmlNode): string =>
  `<${node.name}>${node.children.length > 0 ? node.children.map(nodeXml).join("") : escapeXml(node.text)}</${node.name}>`;

/** A whole response document; `raw` is XML put inside the root after the elements of `value`. */
export const xmlDocument = (root: string, value: Readonly<Record<string, XmlValue>>, raw = ""): string =>
  `<?xml version="1.0" encoding="UTF-8"?>\n` +
  `<${root}${root === "Error" ? "" : ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'}>` +
  `${Object.entries(value)
    .map(([key, item]) => element(key, item))
    .join("")}${raw}</${root}>`;

// --- checksums ------------------------------------------------------------------------------------------------------

export type ChecksumAlgorithm = "CRC32" | "CRC32C" | "CRC64NVME" | "SHA1" | "SHA256";
export type ChecksumType = "FULL_OBJECT" | "COMPOSITE";

/** A reflected CRC of up to 64 bits, register and polynomial held as two 32-bit halves. */
function makeCrc(polynomialHigh: number, polynomialLow: number, bytes: 4 | 8): (data: Buffer) => Buffer {
  const highs = new Uint32Array(256);
  const lows = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    let high = 0;
    let low = i;
    for (let bit = 0; bit < 8; bit++) {
      const carry = low & 1;
      low = (low >>> 1) | (high << 31);
      high >>>= 1;
      if (carry === 1) {
        high ^= polynomialHigh;
        low ^= polynomialLow;
      }
    }
    highs[i] = high;
    lows[i] = low;
  }
  return (data) => {
    let high = bytes === 8 ? 0xffffffff : 0;
    let low = 0xffffffff;
    for (const byte of data) {
      const index = (low ^ byte) & 0xff;
      low = ((low >>> 8) | (high << 24)) ^ (lows[index] ?? 0);
      high = (high >>> 8) ^ (highs[index] ?? 0);
    }
    const out = Buffer.alloc(8);
    out.writeUInt32BE(~high >>> 0, 0);
    out.writeUInt32BE(~low >>> 0, 4);
    return out.subarray(8 - bytes);
  };
}

function crc32Bytes(data: Buffer): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(crc32(data));
  return out;
}

const DIGESTS: Readonly<Record<ChecksumAlgorithm, (data: Buffer) => Buffer>> = {
  CRC32: crc32Bytes,
  CRC32C: makeCrc(0, 0x82f63b78, 4),
  CRC64NVME: makeCrc(0x9a6c9329, 0xac4bc9b5, 8),
  SHA1: (data) => createHash("sha1").update(data).digest(),
  SHA256: (data) => createHash("sha256").update(data).digest(),
};
const DIGEST_LENGTHS: Readonly<Record<ChecksumAlgorithm, number>> = {
  CRC32: 4,
  CRC32C: 4,
  CRC64NVME: 8,
  SHA1: 20,
  SHA256: 32,
};

export const CHECKSUM_ALGORITHMS: readonly ChecksumAlgorithm[] = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"];
export const checksumHeader = (algorithm: ChecksumAlgorithm): string => `x-amz-checksum-${algorithm.toLowerCase()}`;
/** The algorithm of a name as headers, trailers and elements spell it. */
export const checksumAlgorithm = (name: string): ChecksumAlgorithm | undefined =>
  CHECKSUM_ALGORITHMS.find((algorithm) => algorithm === name.toUpperCase());
export const checksumOf = (algorithm: ChecksumAlgorithm, data: Buffer): string =>
  DIGESTS[algorithm](data).toString("base64");
/** Canonical base64 of the right length; S3 refuses stray bits and characters that a lenient decoder skips. */
export function isChecksumValue(algorithm: ChecksumAlgorithm, value: string): boolean {
  const bytes = Buffer.from(value, "base64");
  return bytes.length === DIGEST_LENGTHS[algorithm] && bytes.toString("base64") === value;
}

// --- aws-chunked bodies ---------------------------------------------------------------------------------------------

const MIN_CHUNK = 8192;

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

export interface ChunkedBody {
  readonly body: Buffer;
  readonly trailers: ReadonlyMap<string, string>;
}

/** https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and sigv4-streaming-trailers.html */
export function decodeChunked(raw: Buffer, signed: boolean, trailing: boolean): ChunkedBody {
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

// --- AWS Signature Version 4 ----------------------------------------------------------------------------------------

const CREDENTIAL = /^([^/,\s]+)\/(\d{8})\/([a-z0-9-]+)\/([a-z0-9]+)\/aws4_request$/;
const MAX_SKEW_MS = 15 * 60 * 1000;

const malformedAuthorization = (message: string, extra: Readonly<Record<string, string>> = {}): S3Error =>
  new S3Error(400, "AuthorizationHeaderMalformed", `The authorization header is malformed; ${message}`, extra);
const accessDenied = (message: string, extra: Readonly<Record<string, string>> = {}): S3Error =>
  new S3Error(403, "AccessDenied", message, extra);

function instant(amzDate: string): number {
  const parts = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(amzDate)?.slice(1).map(Number);
  const [year = Number.NaN, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts ?? [];
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

/** Checks everything about the Authorization header but the signature itself: the server knows no secret keys. */
export function checkAuthorization(headers: Headers, region: string, accessKeyId: string | undefined): void {
  const { authorization } = headers;
  if (authorization === undefined) throw accessDenied("Access Denied");
  const [scheme, rest = ""] = authorization.split(/ (.*)/s);
  if (scheme !== "AWS4-HMAC-SHA256") {
    throw invalidRequest(
      "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
    );
  }
  const fields = new Map(
    rest.split(",").map((field): [string, string] => {
      const [name = "", value = ""] = field.trim().split(/=(.*)/s);
      return [name, value];
    }),
  );
  const credential = CREDENTIAL.exec(fields.get("Credential") ?? "");
  const signedHeaders = fields.get("SignedHeaders") ?? "";
  if (credential === null) throw malformedAuthorization("the Credential is mal-formed");
  if (!/^[a-z0-9-]+(;[a-z0-9-]+)*$/.test(signedHeaders)) throw malformedAuthorization("missing SignedHeaders.");
  if (!/^[0-9a-f]{64}$/.test(fields.get("Signature") ?? "")) throw malformedAuthorization("missing Signature.");
  const [, id = "", date, signedRegion, service] = credential;
  if (service !== "s3") {
    throw malformedAuthorization(`incorrect service "${service}". This endpoint belongs to "s3".`);
  }
  if (signedRegion !== region) {
    throw malformedAuthorization(`the region '${signedRegion}' is wrong; expecting '${region}'`, { Region: region });
  }
  if (accessKeyId !== undefined && id !== accessKeyId) {
    const message = "The AWS Access Key Id you provided does not exist in our records.";
    throw new S3Error(403, "InvalidAccessKeyId", message, { AWSAccessKeyId: id });
  }
  const time = instant(headers["x-amz-date"] ?? "");
  if (Number.isNaN(time)) throw accessDenied("AWS authentication requires a valid Date or x-amz-date header");
  if (date !== headers["x-amz-date"]?.slice(0, 8)) {
    throw malformedAuthorization(`Invalid credential date "${date}". This date is not the same as X-Amz-Date.`);
  }
  if (Math.abs(Date.now() - time) > MAX_SKEW_MS) {
    const message = "The difference between the request time and the current time is too large.";
    throw new S3Error(403, "RequestTimeTooSkewed", message, { MaxAllowedSkewMilliseconds: MAX_SKEW_MS });
  }
  const signed = new Set(signedHeaders.split(";"));
  const unsigned = Object.keys(headers).filter(
    (name) => (name === "host" || /^x-amz-/.test(name)) && !signed.has(name),
  );
  if (unsigned.length > 0) {
    const extra = { HeadersNotSigned: unsigned.join(", ") };
    throw accessDenied("There were headers present in the request which were not signed", extra);
  }
}

// --- payload --------------------------------------------------------------------------------------------------------

export interface PartChecksum {
  algorithm: ChecksumAlgorithm;
  value: string;
}

export interface Payload {
  readonly body: Buffer;
  /** The checksum the client sent, in a header or a trailer. */
  readonly checksum?: PartChecksum | undefined;
}

const STREAMING = /^STREAMING-(?:UNSIGNED-PAYLOAD-TRAILER|(AWS4-HMAC-SHA256)-PAYLOAD(?:-TRAILER)?)$/;

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

export interface DeclaredChecksum {
  algorithm: ChecksumAlgorithm;
  type: ChecksumType;
}

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html */
export function declaredChecksum(headers: Headers): DeclaredChecksum | undefined {
  const { "x-amz-checksum-algorithm": name, "x-amz-checksum-type": type } = headers;
  const algorithm = checksumAlgorithm(name ?? "");
  if (name === undefined && type === undefined) return undefined;
  if (name === undefined) {
    throw invalidRequest("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.");
  }
  if (algorithm === undefined) {
    const known = CHECKSUM_ALGORITHMS.join(", ");
    throw invalidRequest(
      `Checksum algorithm provided is unsupported. Please try again with any of the valid types: [${known}]`,
    );
  }
  const chosen = type ?? (algorithm === "CRC64NVME" ? "FULL_OBJECT" : "COMPOSITE");
  if (chosen !== "FULL_OBJECT" && chosen !== "COMPOSITE") {
    throw invalidRequest("Value for x-amz-checksum-type header is invalid.");
  }
  if (chosen === "FULL_OBJECT" ? algorithm.startsWith("SHA") : algorithm === "CRC64NVME") {
    const name = algorithm.toLowerCase();
    throw invalidRequest(`The ${chosen} checksum type cannot be used with the ${name} checksum algorithm.`);
  }
  return { algorithm, type: chosen };
}

// --- parameters -----------------------------------------------------------------------------------------------------

/** undefined: no range, or one of a form that S3 ignores. */
export function readRange(header: string | undefined, size: number): { first: number; last: number } | undefined {
  const [, from = "", to = ""] = /^bytes=(\d*)-(\d*)$/.exec(header ?? "") ?? [];
  if (header === undefined || (from === "" && to === "")) return undefined;
  if (from !== "" && to !== "" && Number(to) < Number(from)) return undefined;
  const first = from === "" ? Math.max(size - Number(to), 0) : Number(from);
  const last = from === "" || to === "" ? size - 1 : Math.min(Number(to), size - 1);
  if (first < size) return { first, last };
  const extra = { RangeRequested: header, ActualObjectSize: size };
  throw new S3Error(416, "InvalidRange", "The requested range is not satisfiable", extra);
}

export function readCount(query: Headers, name: string, fallback: number, cap: number, least = 0): number {
  const text = query[name] ?? String(fallback);
  const value = Number(text);
  if (/^\d{1,10}$/.test(text) && value >= least && value <= 0x7fffffff) return Math.min(value, cap);
  throw invalidArgument(`Provided ${name} not an integer or within integer range`, name, text);
}

export const makeToken = (last: string) => Buffer.from(`after ${last}`).toString("base64url");
export function readToken(token: string | undefined): string | undefined {
  const text = Buffer.from(token ?? "", "base64url").toString();
  if (token === undefined) return undefined;
  if (makeToken(text.slice(6)) === token) return text.slice(6);
  throw invalidArgument("The continuation token provided is incorrect", "continuation-token", token);
}

export function nameEncoder(query: Headers): (name: string) => string {
  const type = query["encoding-type"];
  if (type === undefined) return (name) => name;
  if (type !== "url") throw invalidArgument("Invalid Encoding Method specified in Request", "encoding-type", type);
  return (name) => percentEncode(name).replaceAll("%20", "+");
}
export const percentEncode = (key: string) => encodeURIComponent(key).replaceAll("%2F", "/");

// --- configuration of buckets ---------------------------------------------------------------------------------------

const ACCESS_BLOCKS = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"] as const;
export type PublicAccessBlock = Record<(typeof ACCESS_BLOCKS)[number], boolean>;
export const everyAccessBlocked: PublicAccessBlock = {
  BlockPublicAcls: true,
  IgnorePublicAcls: true,
  BlockPublicPolicy: true,
  RestrictPublicBuckets: true,
};

export function readAccessBlock(body: Buffer): PublicAccessBlock {
  const config = parseXml(body.toString(), "PublicAccessBlockConfiguration");
  const block = { ...everyAccessBlocked };
  for (const name of ACCESS_BLOCKS) block[name] = /^true$/i.test(childText(config, name) ?? "");
  if (config.children.length === 0 || config.children.some(({ name }) => !(name in block))) throw malformedXml();
  return block;
}

export const OWNERSHIPS = /^(BucketOwnerEnforced|BucketOwnerPreferred|ObjectWriter)$/;

export function readOwnership(body: Buffer): string {
  const rules = childNodes(parseXml(body.toString(), "OwnershipControls"), "Rule");
  const ownership = childText(rules[0], "ObjectOwnership") ?? "";
  if (rules.length !== 1 || !OWNERSHIPS.test(ownership)) throw malformedXml();
  return ownership;
}

export const ENCRYPTIONS = /^(AES256|aws:kms(:dsse)?)$/;
export interface Encryption {
  algorithm: string;
  kmsKeyId?: string | undefined;
  bucketKey: boolean;
}

export function readEncryption(body: Buffer): Encryption {
  const rules = childNodes(parseXml(body.toString(), "ServerSideEncryptionConfiguration"), "Rule");
  const [byDefault] = childNodes(rules[0], "ApplyServerSideEncryptionByDefault");
  const algorithm = childText(byDefault, "SSEAlgorithm") ?? "";
  if (rules.length !== 1 || !ENCRYPTIONS.test(algorithm)) throw malformedXml();
  const bucketKey = childText(rules[0], "BucketKeyEnabled") === "true";
  return { algorithm, kmsKeyId: childText(byDefault, "KMSMasterKeyID"), bucketKey };
}

const malformedPolicy = (message: string) => new S3Error(400, "MalformedPolicy", message);
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
const asList = (value: unknown): unknown[] => (Array.isArray(value) ? value : value === undefined ? [] : [value]);

/** Validates a bucket policy as far as S3 does and tells whether S3 would call it public. */
export function readPolicy(body: Buffer, bucketName: string): { opensToAnyone: boolean } {
  const arn = `arn:aws:s3:::${bucketName}`;
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString());
  } catch {
    throw malformedPolicy("Policies must be valid JSON and the first byte must be '{'");
  }
  const { Statement, Version = "2008-10-17" } = isRecord(parsed) ? parsed : {};
  const statements = asList(Statement).filter(isRecord);
  if (Version !== "2012-10-17" && Version !== "2008-10-17") {
    throw malformedPolicy("The policy must contain a valid version string");
  }
  if (statements.length === 0) throw malformedPolicy("Missing required field Statement");
  let opensToAnyone = false;
  for (const statement of statements) {
    const { Effect, Principal, Condition } = statement;
    const field = (name: string) => asList(statement[name] ?? statement[`Not${name}`]);
    const missing = ["Principal", "Action", "Resource"].find((name) => field(name).length === 0);
    if (missing !== undefined) throw malformedPolicy(`Missing required field ${missing}`);
    if (Effect !== "Allow" && Effect !== "Deny") throw malformedPolicy(`Invalid effect: ${Effect}`);
    if (!field("Resource").every((name) => name === arn || String(name).startsWith(`${arn}/`))) {
      throw malformedPolicy("Policy has invalid resource");
    }
    const anyone = Principal === "*" || (isRecord(Principal) && asList(Principal["AWS"]).includes("*"));
    opensToAnyone ||= Effect === "Allow" && anyone && Condition === undefined;
  }
  return { opensToAnyone };
}

/** The rules of a valid lifecycle configuration, as XML, each with an ID. */
export function readLifecycle(body: Buffer): string {
  const rules = childNodes(parseXml(body.toString(), "LifecycleConfiguration"), "Rule");
  for (const rule of rules) checkLifecycleRule(rule);
  if (rules.length === 0) throw malformedXml();
  if (new Set(rules.map((rule) => childText(rule, "ID"))).size < rules.length) {
    throw invalidArgument("Rule ID must be unique. Found same ID for more than one rule", "ID", "");
  }
  return rules.map(nodeXml).join("");
}

function checkLifecycleRule(rule: XmlNode): void {
  const has = (name: string) => childNodes(rule, name).length === 1;
  if (!/^(Enabled|Disabled)$/.test(childText(rule, "Status") ?? "") || has("Filter") === has("Prefix")) {
    throw malformedXml();
  }
  if (!rule.children.some(({ name }) => /Expiration$|Transition$|^AbortIncompleteMultipartUpload$/.test(name))) {
    throw invalidRequest("At least one action needs to be specified in a rule.");
  }
  if (has("AbortIncompleteMultipartUpload")) {
    const days = childText(childNodes(rule, "AbortIncompleteMultipartUpload")[0], "DaysAfterInitiation") ?? "";
    if (!/^[1-9]\d*$/.test(days)) {
      const message = "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer";
      throw invalidArgument(message, "DaysAfterInitiation", days);
    }
    if (/<Tag>/.test(nodeXml(rule))) {
      throw invalidRequest("AbortIncompleteMultipartUpload cannot be specified with Tags.");
    }
  }
  if (!has("ID")) rule.children.unshift({ name: "ID", children: [], text: randomBytes(24).toString("base64") });
  const id = childText(rule, "ID") ?? "";
  if (id.length > 255) throw invalidArgument("ID length should not exceed allowed limit of 255", "ID", id);
}

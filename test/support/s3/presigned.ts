// AWS Signature Version 4 in the address of a request: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
import { createHash, createHmac } from "node:crypto";
import { CREDENTIAL, checkSigned, instant, MAX_SKEW_MS } from "./authorization.ts";
import { accessDenied, S3Error } from "./errors.ts";
import type { Headers } from "./parameters.ts";
import type { S3ServerOptions } from "./state.ts";

interface Presigned {
  readonly method: string;
  /** As sent. */
  readonly path: string;
  readonly query: Headers;
  readonly headers: Headers;
}

const ALGORITHM = "AWS4-HMAC-SHA256";
const MAX_EXPIRES = 604_800;

export const isPresigned = (query: Headers): boolean => query["X-Amz-Algorithm"] !== undefined;

/**
 * What of the query is about the request itself. Headers that a client moved into the address are among what is left
 * out: that Amazon S3 ignores a checksum there is known, https://github.com/aws/aws-sdk-js-v3/issues/4448
 */
export function withoutSignature(query: Headers): Headers {
  return isPresigned(query)
    ? Object.fromEntries(Object.entries(query).filter(([name]) => !/^x-amz-/i.test(name)))
    : query;
}

const malformed = (message: string): S3Error => new S3Error(400, "AuthorizationQueryParametersError", message);

/** Unlike in headers, the signature itself is verified. */
export function checkPresigned(
  request: Presigned,
  { region = "", accessKeyId, secretAccessKey = "test" }: S3ServerOptions,
): void {
  const { query, headers } = request;
  if (headers["authorization"] !== undefined) {
    throw new S3Error(400, "InvalidArgument", "Only one auth mechanism allowed");
  }
  const { "X-Amz-Algorithm": algorithm, "X-Amz-Date": date = "", "X-Amz-SignedHeaders": signedHeaders = "" } = query;
  if (algorithm !== ALGORITHM) throw malformed(`X-Amz-Algorithm only supports "${ALGORITHM}"`);
  const [credential, id = "", day = "", signedRegion, service] = CREDENTIAL.exec(query["X-Amz-Credential"] ?? "") ?? [];
  const start = instant(date);
  if (credential === undefined || service !== "s3" || signedRegion !== region || date.slice(0, 8) !== day) {
    throw malformed("Error parsing the X-Amz-Credential parameter");
  }
  if (Number.isNaN(start)) throw malformed("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"");
  const expires = Number(query["X-Amz-Expires"] ?? Number.NaN);
  if (!Number.isInteger(expires) || expires < 0) throw malformed("X-Amz-Expires should be a number");
  if (expires > MAX_EXPIRES) throw malformed("X-Amz-Expires must be less than a week (in seconds)");
  if (start > Date.now() + MAX_SKEW_MS) throw accessDenied("Request is not valid yet");
  if (Date.now() > start + expires * 1000) throw accessDenied("Request has expired", { "X-Amz-Expires": `${expires}` });
  if (accessKeyId !== undefined && id !== accessKeyId) {
    throw new S3Error(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.");
  }
  if (signatureOf(request, day, region, signedHeaders, secretAccessKey) !== query["X-Amz-Signature"]) {
    throw new S3Error(
      403,
      "SignatureDoesNotMatch",
      "The request signature we calculated does not match the signature you provided.",
    );
  }
  checkSigned(headers, signedHeaders);
}

const encode = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
const hmac = (key: string | Buffer, text: string) => createHmac("sha256", key).update(text).digest();

function signatureOf(
  { method, path, query, headers }: Presigned,
  day: string,
  region: string,
  signedHeaders: string,
  secret: string,
): string {
  const parameters = Object.entries(query)
    .filter(([name]) => name !== "X-Amz-Signature")
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort();
  const sent = signedHeaders.split(";").map((name) => `${name}:${(headers[name] ?? "").trim().replace(/ +/g, " ")}\n`);
  const canonical = [method, path, parameters.join("&"), sent.join(""), signedHeaders, "UNSIGNED-PAYLOAD"].join("\n");
  const scope = `${day}/${region}/s3/aws4_request`;
  const digest = createHash("sha256").update(canonical).digest("hex");
  const toSign = [ALGORITHM, query["X-Amz-Date"], scope, digest].join("\n");
  const key = [region, "s3", "aws4_request"].reduce((key, part) => hmac(key, part), hmac(`AWS4${secret}`, day));
  return hmac(key, toSign).toString("hex");
}

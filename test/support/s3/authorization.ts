// AWS Signature Version 4, as far as it can be checked without a secret key.
import { accessDenied, invalidRequest, S3Error } from "./errors.ts";
import type { Headers } from "./parameters.ts";

export const CREDENTIAL = /^([^/,\s]+)\/(\d{8})\/([a-z0-9-]+)\/([a-z0-9]+)\/aws4_request$/;
export const MAX_SKEW_MS = 15 * 60 * 1000;

const malformedAuthorization = (message: string, extra: Readonly<Record<string, string>> = {}): S3Error =>
  new S3Error(400, "AuthorizationHeaderMalformed", `The authorization header is malformed; ${message}`, extra);

export function instant(amzDate: string): number {
  const parts = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(amzDate)?.slice(1).map(Number);
  const [year = Number.NaN, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts ?? [];
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

/** Checks everything about the Authorization header but the signature itself: the server knows no secret keys. */
export function checkAuthorization(headers: Headers, region: string, accessKeyId: string | undefined): void {
  const { authorization } = headers;
  if (authorization === undefined) throw accessDenied();
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
  checkSigned(headers, signedHeaders);
}

export function checkSigned(headers: Headers, signedHeaders: string): void {
  const signed = new Set(signedHeaders.split(";"));
  const unsigned = Object.keys(headers).filter(
    (name) => (name === "host" || /^x-amz-/.test(name)) && !signed.has(name),
  );
  if (unsigned.length > 0) {
    const extra = { HeadersNotSigned: unsigned.join(", ") };
    throw accessDenied("There were headers present in the request which were not signed", extra);
  }
}

import { describe, expect, test } from "vitest";
import { errorNameOf, fromAwsError, httpStatusOf } from "../../src/aws/failures.ts";
import { DocprocError, type ErrorCode } from "../../src/core/errors.ts";
import { awsSettings } from "../support/aws.ts";

const settings = awsSettings("", { bucket: "invoices", endpointUrl: undefined, customEndpoint: undefined });
const operation = { action: "s3:PutObject", resource: "bucket invoices", settings };
const withProfile = { ...operation, settings: { ...settings, profile: "work" } };

/** An answer of a service as the SDK throws it: name and fields from the body, `$response` not enumerable. */
function answer(status: number, name: string, fields: object = {}, headers: Record<string, string> = {}): Error {
  const error = Object.assign(new Error(`Message of ${name}`), {
    $fault: status < 500 ? "client" : "server",
    $retryable: undefined,
    $metadata: { httpStatusCode: status, requestId: "REQ1", attempts: 3, totalRetryDelay: 100 },
    Code: name,
    ...fields,
  });
  Object.defineProperty(error, "name", { value: name, enumerable: true });
  Object.defineProperty(error, "$response", { value: { statusCode: status, headers }, enumerable: false });
  return error;
}

/** The answer to a HEAD request has no body: no code and no message. */
const head = (status: number, headers: Record<string, string> = {}) =>
  answer(status, status === 404 ? "NotFound" : "Unknown", { Code: undefined, message: "UnknownError" }, headers);

/** A failed connection, with what the SDK adds. */
const connection = (code: string, fields: object = {}) =>
  Object.assign(new Error(`connect ${code} 127.0.0.1:1`), {
    code,
    syscall: "connect",
    $metadata: { attempts: 3, totalRetryDelay: 100 },
    ...fields,
  });

const named = (name: string, message: string) => Object.assign(new Error(message), { name });

describe("what a failure of AWS means", () => {
  test.each<[string, ErrorCode, Error]>([
    ["an expired session in S3", "ACCESS_DENIED", answer(400, "ExpiredToken")],
    ["an expired session in DynamoDB", "ACCESS_DENIED", answer(400, "ExpiredTokenException")],
    ["a token that is none", "ACCESS_DENIED", answer(400, "InvalidToken")],
    [
      "no credentials",
      "ACCESS_DENIED",
      named("CredentialsProviderError", "Could not load credentials from any providers"),
    ],
    ["an unknown key id", "ACCESS_DENIED", answer(403, "InvalidAccessKeyId")],
    ["a wrong secret", "ACCESS_DENIED", answer(403, "SignatureDoesNotMatch")],
    ["an unknown key id in DynamoDB", "ACCESS_DENIED", answer(400, "UnrecognizedClientException")],
    ["a wrong clock", "ACCESS_DENIED", answer(403, "RequestTimeTooSkewed")],
    ["a policy that forbids it in S3", "ACCESS_DENIED", answer(403, "AccessDenied")],
    ["a policy that forbids it in DynamoDB", "ACCESS_DENIED", answer(400, "AccessDeniedException")],
    ["a HEAD that is refused", "ACCESS_DENIED", head(403)],
    ["a refusal by something that speaks no XML", "ACCESS_DENIED", answer(403, "Error", { Code: undefined })],
    ["no bucket", "NOT_INITIALISED", answer(404, "NoSuchBucket")],
    ["no table", "NOT_INITIALISED", answer(400, "ResourceNotFoundException")],
    ["no object", "NOT_FOUND", answer(404, "NoSuchKey")],
    ["a HEAD that finds nothing", "NOT_FOUND", head(404)],
    ["another region, by redirect", "INVALID_CONFIG", answer(301, "PermanentRedirect")],
    ["another region, by signature", "INVALID_CONFIG", answer(400, "AuthorizationHeaderMalformed")],
    ["another region, by HEAD", "INVALID_CONFIG", head(301)],
    ["a name that no bucket can have", "INVALID_CONFIG", answer(400, "InvalidBucketName")],
    ["an object that exists", "CONFLICT", answer(412, "PreconditionFailed")],
    ["a HEAD whose condition fails", "CONFLICT", head(412)],
    ["another writer of the same key", "UNAVAILABLE", answer(409, "ConditionalRequestConflict")],
    ["an upload that is gone", "UNAVAILABLE", answer(404, "NoSuchUpload")],
    ["a bucket name that is taken", "CONFLICT", answer(409, "BucketAlreadyExists")],
    ["other bytes than announced", "INTEGRITY", answer(400, "BadDigest")],
    ["another SHA-256 than announced", "INTEGRITY", answer(400, "XAmzContentSHA256Mismatch")],
    ["a service that is overloaded", "UNAVAILABLE", answer(503, "SlowDown")],
    ["a HEAD to an overloaded service", "UNAVAILABLE", head(503)],
    ["an internal failure", "UNAVAILABLE", answer(500, "InternalServerError")],
    ["a gateway that answers HTML", "UNAVAILABLE", answer(502, "Error", { Code: undefined })],
    ["too many requests", "UNAVAILABLE", answer(429, "TooManyRequests")],
    ["throttling", "UNAVAILABLE", answer(400, "ThrottlingException")],
    ["used up throughput", "UNAVAILABLE", answer(400, "ProvisionedThroughputExceededException")],
    ["a transaction in the way", "UNAVAILABLE", answer(400, "TransactionConflictException")],
    ["nobody listening", "UNAVAILABLE", connection("ECONNREFUSED")],
    ["an unknown host", "UNAVAILABLE", connection("ENOTFOUND", { syscall: "getaddrinfo" })],
    ["a resolver that does not answer", "UNAVAILABLE", connection("EAI_AGAIN", { syscall: "getaddrinfo" })],
    ["a connection that breaks", "UNAVAILABLE", connection("ECONNRESET", { name: "TimeoutError" })],
    ["no answer in time", "UNAVAILABLE", connection("ETIMEDOUT", { name: "TimeoutError" })],
    [
      "no connection in time",
      "UNAVAILABLE",
      named("TimeoutError", "Socket timed out without establishing a connection"),
    ],
    ["a certificate of its own", "UNAVAILABLE", connection("DEPTH_ZERO_SELF_SIGNED_CERT")],
    ["a proxy's certificate", "UNAVAILABLE", connection("SELF_SIGNED_CERT_IN_CHAIN")],
    ["a certificate of an unknown authority", "UNAVAILABLE", connection("UNABLE_TO_GET_ISSUER_CERT_LOCALLY")],
    ["an incomplete chain of certificates", "UNAVAILABLE", connection("UNABLE_TO_VERIFY_LEAF_SIGNATURE")],
    ["an expired certificate", "UNAVAILABLE", connection("CERT_HAS_EXPIRED")],
    ["a certificate for another host", "UNAVAILABLE", connection("ERR_TLS_CERT_ALTNAME_INVALID")],
    ["TLS spoken to a server without", "UNAVAILABLE", connection("EPROTO", { syscall: "write" })],
    ["a server that speaks no HTTP", "UNAVAILABLE", connection("HPE_INVALID_CONSTANT", { syscall: undefined })],
    ["an abort", "CANCELLED", named("AbortError", "Request aborted")],
    ["what nobody has heard of", "INTERNAL", answer(418, "Teapot")],
  ])("%s: %s", (_what, code, thrown) => {
    const error = fromAwsError(thrown, operation);
    expect(error).toMatchObject({ code, cause: thrown, hint: expect.stringMatching(/\.$|--profile/) });
    expect(error.message).toMatch(/\.$|Teapot/);
  });

  test("the request id is kept for a support case, and null where no answer came", () => {
    expect(fromAwsError(answer(503, "SlowDown"), operation).toJSON().requestId).toBe("REQ1");
    expect(fromAwsError(connection("ECONNREFUSED"), operation).toJSON().requestId).toBeNull();
  });

  test("a HEAD refused with 400 is ACCESS_DENIED: S3 answers so to expired tokens and wrong regions", () => {
    expect(["ACCESS_DENIED", "INVALID_CONFIG"]).toContain(fromAwsError(head(400), operation).code);
  });

  test.each([
    ["a field of the body", answer(400, "AuthorizationHeaderMalformed", { Region: "eu-west-1" })],
    ["a header of a redirect", answer(301, "PermanentRedirect", {}, { "x-amz-bucket-region": "eu-west-1" })],
    ["a header of a HEAD", head(301, { "x-amz-bucket-region": "eu-west-1" })],
  ])("the right region is named from %s", (_from, thrown) => {
    const { message, hint } = fromAwsError(thrown, operation);
    expect(message).toContain("eu-west-1");
    expect(hint).toContain("--region eu-west-1");
  });

  test.each(["eu-west-1; curl x | sh", "--profile", "$(id)", "EU", "eu west", "a.b", "", "x".repeat(40), "7"])(
    "an invalid region is not suggested: %j",
    (Region) => {
      for (const thrown of [
        answer(400, "AuthorizationHeaderMalformed", { Region }),
        head(301, { "x-amz-bucket-region": Region }),
      ]) {
        const { code, message, hint } = fromAwsError(thrown, operation);
        expect(code).toBe("INVALID_CONFIG");
        expect(message).toBe("The bucket invoices is in another region.");
        expect(hint).toBe("Set the region it was created in with --region.");
      }
    },
  );

  test("a long message of a server is cut", () => {
    const long = "x".repeat(100_000);
    for (const thrown of [
      answer(418, long),
      named("Teapot", long),
      answer(503, long),
      named("CredentialsProviderError", long),
    ]) {
      expect(fromAwsError(thrown, operation).message.length).toBeLessThan(1_300);
    }
  });

  test.each([
    answer(400, "ExpiredToken"),
    answer(403, "InvalidAccessKeyId"),
    named("CredentialsProviderError", "Could not load credentials from any providers"),
    named("CredentialsProviderError", "The SSO session associated with this profile has expired."),
    named("TokenProviderError", "Token is expired. To refresh this SSO session run 'aws sso login'."),
  ])("$name names the profile and the way to sign in: case %#", (thrown) => {
    const error = fromAwsError(thrown, withProfile);
    expect(error.code).toBe("ACCESS_DENIED");
    expect(error.message).toContain("work");
    expect(error.hint).toContain("aws sso login --profile work");
  });

  test.each([
    named("CredentialsProviderError", "The SSO session associated with this profile has expired."),
    named("TokenProviderError", "Token is expired. To refresh this SSO session run 'aws sso login'."),
    answer(400, "ExpiredTokenException"),
  ])("an expired session is called expired: case %#", (thrown) => {
    expect(fromAwsError(thrown, operation).message).toMatch(/expired/);
  });

  test("a refusal names the permission that is missing", () => {
    const { message, hint } = fromAwsError(head(403), withProfile);
    expect(message).toContain("s3:PutObject on the bucket invoices");
    expect(message).toContain("work");
    expect(hint).toContain("s3:PutObject");
  });

  test("a missing bucket is answered with the command that makes it", () => {
    const { message, hint } = fromAwsError(answer(404, "NoSuchBucket"), operation);
    expect(message).toContain("bucket invoices");
    expect(hint).toContain("docproc init");
  });

  test.each(["ECONNREFUSED", "ENOTFOUND", "CERT_HAS_EXPIRED"])("%s names the endpoint that was asked for", (code) => {
    const endpointUrl = "http://localhost:4566";
    const { message } = fromAwsError(connection(code), {
      ...operation,
      settings: { ...settings, endpointUrl, customEndpoint: endpointUrl },
    });
    expect(message).toContain(endpointUrl);
  });

  test("a DocprocError stays unchanged", () => {
    const error = new DocprocError("INTEGRITY", "x");
    expect(fromAwsError(error, operation)).toBe(error);
  });

  test.each([undefined, null, "text", 42, {}])(
    "%j, thrown as an error, is INTERNAL and still makes a sentence",
    (thrown) => {
      const error = fromAwsError(thrown, operation);
      expect(error.code).toBe("INTERNAL");
      expect(error.message).toContain("s3:PutObject");
    },
  );
});

test("status and name of a failure can be asked for", () => {
  expect(httpStatusOf(head(412))).toBe(412);
  expect(httpStatusOf(connection("ECONNREFUSED"))).toBeUndefined();
  expect(errorNameOf(answer(404, "NoSuchUpload"))).toBe("NoSuchUpload");
  expect(errorNameOf("text")).toBe("Error");
});

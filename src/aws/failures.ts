/** Maps AWS SDK errors to ours. It imports nothing of the SDK, so every command may load it. */
import { DocprocError, type ErrorCode } from "../core/errors.ts";
import type { AwsSettings } from "./settings.ts";

/** The operation that failed, for readable messages. */
export interface AwsOperation {
  /** For example `s3:PutObject`, as in IAM policies. */
  readonly action: string;
  /** For example `bucket invoices`. */
  readonly resource: string;
  readonly settings: AwsSettings;
}

/** A response that the SDK accepts but that makes no sense. */
export class UnusableAnswer extends Error {
  override readonly name = "UnusableAnswer";
}

/**
 * Yields pages while they advance: the SDK would request a repeated page forever.
 * @param markerOf the marker that requests the following page
 * @throws UnusableAnswer on a repeated page; stopping there would silently cut the listing
 */
export async function* advancingPages<Page>(
  pages: AsyncIterable<Page>,
  markerOf: (page: Page) => unknown,
): AsyncIterable<Page> {
  let last: string | undefined;
  for await (const page of pages) {
    const marker = JSON.stringify(markerOf(page));
    if (marker !== undefined && marker === last) throw new UnusableAnswer("A page of a listing refers to itself.");
    last = marker;
    yield page;
  }
}

/** Runs some work with a client, and closes it however the work ends. */
export async function* closing<Client extends { destroy(): void }, Step>(
  client: Client,
  work: (client: Client) => AsyncIterable<Step>,
): AsyncIterable<Step> {
  try {
    yield* work(client);
  } finally {
    client.destroy();
  }
}

/**
 * Classifies an SDK error. A response to HEAD has no body, so its error may have only a status: the status decides when
 * the name says nothing.
 */
export function fromAwsError(error: unknown, operation: AwsOperation): DocprocError {
  if (error instanceof DocprocError) return error;
  const facts = factsOf(error);
  for (const meaning of meanings) {
    if (meaning.names.has(facts.name) || meaning.names.has(facts.systemCode) || meaning.matches?.(facts)) {
      const [message, hint] = meaning.explain(operation, facts);
      return new DocprocError(meaning.code, message, { hint, requestId: facts.requestId, cause: error });
    }
  }
  return new DocprocError("INTERNAL", `${operation.action} failed: ${facts.name}: ${beginning(facts.message, 1000)}.`, {
    hint: "Run the command again with -v for details.",
    requestId: facts.requestId,
    cause: error,
  });
}

/** The HTTP status of a failed request, for callers that handle one status. */
export function httpStatusOf(error: unknown): number | undefined {
  return factsOf(error).status;
}

/** The service's name of an error, for callers that handle one name. */
export function errorNameOf(error: unknown): string {
  return factsOf(error).name;
}

interface ErrorFacts {
  readonly name: string;
  readonly message: string;
  readonly status: number | undefined;
  /** Requests that the SDK sent in total. */
  readonly attempts: number;
  /** The errno of a failed connection. */
  readonly systemCode: string;
  readonly requestId: string | undefined;
  /** The actual region of the bucket, if S3 named it. */
  readonly bucketRegion: string | undefined;
}

function factsOf(error: unknown): ErrorFacts {
  const record = asRecord(error);
  const metadata = asRecord(record["$metadata"]);
  const response = asRecord(record["$response"]);
  const headers = asRecord(response["headers"]);
  return {
    name: beginning(text(record["name"]) ?? "Error", 100),
    // Our sentences add their own full stop.
    message: (text(record["message"]) ?? "no message").replace(/\.$/, ""),
    status: typeof metadata["httpStatusCode"] === "number" ? metadata["httpStatusCode"] : undefined,
    attempts: typeof metadata["attempts"] === "number" ? metadata["attempts"] : 0,
    systemCode: text(record["code"]) ?? "",
    requestId: text(metadata["requestId"]),
    bucketRegion: region(record["Region"]) ?? region(headers["x-amz-bucket-region"]),
  };
}

/** Users may paste a region into a shell, so it must look like one; emulators have names of their own. */
function region(value: unknown): string | undefined {
  return typeof value === "string" && /^[a-z][a-z0-9-]{1,31}$/.test(value) ? value : undefined;
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

/** A server's text may be of any length. */
function beginning(said: string, most: number): string {
  return said.length > most ? `${said.slice(0, most)}…` : said;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** The SDK's names for errors without a body. */
const nameless = new Set(["Unknown", "UnknownError", "BadRequest", "400"]);

interface Meaning {
  readonly code: ErrorCode;
  readonly names: ReadonlySet<string>;
  readonly matches?: (facts: ErrorFacts) => boolean;
  readonly explain: (operation: AwsOperation, facts: ErrorFacts) => [message: string, hint: string];
}

/**
 * Tried in order. The names are from the error lists of the two services:
 * https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
 * https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
 */
const meanings: readonly Meaning[] = [
  {
    code: "CANCELLED",
    names: new Set(["AbortError"]),
    explain: () => ["Cancelled before it was finished.", "Run the same command again."],
  },
  {
    code: "NOT_INITIALISED",
    names: new Set(["NoSuchBucket", "ResourceNotFoundException"]),
    explain: ({ resource }) => [`The ${resource} does not exist.`, "Run docproc init to create it."],
  },
  {
    code: "ACCESS_DENIED",
    names: new Set(["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"]),
    // An expired SSO session is a CredentialsProviderError that differs only in its text.
    matches: ({ name, message }) => /Credentials|Token/.test(name) && /expired|SSO session/i.test(message),
    explain: ({ settings }) => [`The AWS credentials${ofProfile(settings)} have expired.`, signInHint(settings)],
  },
  {
    code: "ACCESS_DENIED",
    names: new Set(["CredentialsProviderError", "TokenProviderError"]),
    explain: ({ settings }, { message }) => [
      /^Could not load credentials/.test(message)
        ? `No AWS credentials were found${ofProfile(settings)}.`
        : `The AWS credentials${ofProfile(settings)} could not be loaded: ${beginning(message, 1000)}.`,
      signInHint(settings),
    ],
  },
  {
    code: "ACCESS_DENIED",
    names: new Set(["RequestTimeTooSkewed", "RequestInTheFuture"]),
    explain: () => [
      "This machine's clock differs from the real time by more than AWS accepts.",
      "Set the clock and run the command again.",
    ],
  },
  {
    code: "ACCESS_DENIED",
    names: new Set([
      "InvalidAccessKeyId",
      "SignatureDoesNotMatch",
      "UnrecognizedClientException",
      "InvalidSignatureException",
      "IncompleteSignature",
      "MissingAuthenticationToken",
      "InvalidClientTokenId",
      "InvalidToken",
    ]),
    explain: ({ settings }) => [`AWS does not accept the credentials${ofProfile(settings)}.`, signInHint(settings)],
  },
  {
    code: "INVALID_CONFIG",
    names: new Set([
      "PermanentRedirect",
      "AuthorizationHeaderMalformed",
      "IllegalLocationConstraintException",
      "InvalidLocationConstraint",
    ]),
    // HEAD has no body to name the error, but S3 sends the bucket's region in a header.
    matches: ({ name, status, bucketRegion }) =>
      status === 301 || (status === 400 && bucketRegion !== undefined && nameless.has(name)),
    explain: ({ resource }, { bucketRegion }) =>
      bucketRegion
        ? [`The ${resource} is in the region ${bucketRegion}.`, `Add --region ${bucketRegion}.`]
        : [`The ${resource} is in another region.`, "Set the region it was created in with --region."],
  },
  {
    code: "INVALID_CONFIG",
    names: new Set(["InvalidBucketName"]),
    explain: ({ resource }) => [`The name of the ${resource} is invalid.`, "Choose another name with --bucket."],
  },
  {
    code: "ACCESS_DENIED",
    names: new Set(),
    matches: ({ name, status }) => status === 400 && nameless.has(name),
    explain: ({ resource, settings }) => [
      `S3 denied access to the ${resource} without giving a reason.`,
      `The credentials may have expired, or the region may be wrong. ${signInHint(settings)}`,
    ],
  },
  {
    code: "INTEGRITY",
    names: new Set([
      "BadDigest",
      "InvalidDigest",
      "InvalidPart",
      "XAmzContentSHA256Mismatch",
      "XAmzContentChecksumMismatch",
    ]),
    explain: ({ resource }) => [
      `The ${resource} received other bytes than were sent.`,
      "Nothing was stored. Run the command again; if it fails again, check the network and its proxies.",
    ],
  },
  {
    code: "CONFLICT",
    names: new Set(["PreconditionFailed", "BucketAlreadyExists"]),
    matches: ({ status }) => status === 412,
    explain: ({ resource }) => [`The ${resource} already has what was to be created.`, "Nothing was overwritten."],
  },
  {
    code: "UNAVAILABLE",
    // https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
    names: new Set(["NoSuchUpload", "ConditionalRequestConflict"]),
    explain: ({ resource }) => [
      `An unfinished upload to the ${resource} was aborted.`,
      "Run the same command again; it starts over.",
    ],
  },
  {
    code: "UNAVAILABLE",
    names: new Set(["ENOTFOUND", "EAI_AGAIN"]),
    explain: ({ settings, resource }) => [
      `Cannot find the address of ${endpointOf(settings)} for the ${resource}.`,
      "Check the endpoint, the region and the network.",
    ],
  },
  {
    code: "UNAVAILABLE",
    names: new Set(["ECONNREFUSED", "ECONNRESET", "EPIPE", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "TimeoutError"]),
    explain: ({ settings, resource }, { systemCode, name }) => [
      `Cannot reach ${endpointOf(settings)} for the ${resource} (${systemCode || name}).`,
      "Check the endpoint and the network, then run the same command again.",
    ],
  },
  {
    code: "UNAVAILABLE",
    names: new Set([
      "SELF_SIGNED_CERT_IN_CHAIN",
      "DEPTH_ZERO_SELF_SIGNED_CERT",
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
    ]),
    matches: ({ systemCode }) => systemCode.startsWith("CERT_") || systemCode.startsWith("ERR_TLS_"),
    explain: ({ settings }, { systemCode }) => [
      `The certificate of ${endpointOf(settings)} is not trusted (${systemCode}).`,
      "Set NODE_EXTRA_CA_CERTS to the certificate of the authority that signed it.",
    ],
  },
  {
    code: "INVALID_CONFIG",
    names: new Set(["NotImplemented", "UnknownOperationException"]),
    explain: ({ action, settings }) => [
      `${endpointOf(settings)} does not support ${action}.`,
      "Choose another endpoint, or another kind of storage or metadata.",
    ],
  },
  {
    code: "UNAVAILABLE",
    names: new Set([
      "SlowDown",
      "ThrottlingException",
      "Throttling",
      "ProvisionedThroughputExceededException",
      "RequestLimitExceeded",
      "TransactionConflictException",
      "TransactionInProgressException",
      "OperationAborted",
      "RequestTimeout",
    ]),
    matches: ({ status }) => status === 429 || (status !== undefined && status >= 500),
    explain: ({ resource, action }, { status, name }) => [
      `AWS cannot process ${action} for the ${resource} now (${status ?? "no status"} ${name}).`,
      "Wait a moment and run the same command again.",
    ],
  },
  {
    code: "UNAVAILABLE",
    // Parser errors: a captive portal, or a web server that is not AWS. Redirects, too.
    names: new Set(["SyntaxError", "UnusableAnswer"]),
    matches: ({ message, status }) =>
      message.includes("Deserialization error:") || (status !== undefined && status >= 300 && status < 400),
    explain: ({ settings }) => [
      `The response of ${endpointOf(settings)} is not a response of AWS.`,
      "Check the endpoint.",
    ],
  },
  {
    code: "UNAVAILABLE",
    names: new Set(),
    // Sent and never answered, for a reason that this table does not list.
    matches: ({ status, attempts }) => status === undefined && attempts > 0,
    explain: ({ resource, settings }, { name, message }) => [
      `No response from ${endpointOf(settings)} for the ${resource} (${name}: ${beginning(message, 1000)}).`,
      "Check the endpoint and the network, then run the same command again.",
    ],
  },
  {
    code: "ACCESS_DENIED",
    names: new Set(["AccessDenied", "AccessDeniedException", "AllAccessDisabled"]),
    matches: ({ status }) => status === 401 || status === 403,
    explain: ({ action, resource, settings }) => [
      `The credentials${ofProfile(settings)} do not allow ${action} on the ${resource}.`,
      `Ask for the permission ${action}, or choose other credentials with --profile.`,
    ],
  },
  {
    code: "NOT_FOUND",
    names: new Set(["NoSuchKey", "NotFound"]),
    matches: ({ status }) => status === 404,
    explain: ({ resource }) => [`The object does not exist in the ${resource}.`, "Check its name with docproc list."],
  },
];

function endpointOf(settings: AwsSettings): string {
  return settings.customEndpoint ?? "AWS";
}

function ofProfile(settings: AwsSettings): string {
  return settings.profile === undefined ? "" : ` of the profile ${settings.profile}`;
}

function signInHint(settings: AwsSettings): string {
  return settings.profile === undefined
    ? "Sign in (aws sso login), set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or choose a --profile."
    : `Sign in with: aws sso login --profile ${settings.profile}`;
}

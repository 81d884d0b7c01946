/** The S3 client: its endpoint, and the bucket owners it accepts. Loaded late because it loads the SDK. */
import { S3Client } from "@aws-sdk/client-s3";
import type { HttpRequest } from "@smithy/core/protocols";
import { openClient } from "../../aws/client.ts";
import type { S3Settings } from "./settings.ts";

export async function connect(settings: S3Settings): Promise<S3Client> {
  // Emulators have no wildcard DNS for `bucket.host`.
  const forcePathStyle = settings.customEndpoint !== undefined;
  // Our reader checks the SHA-256 of the record. The SDK's own check would report a damaged object as a broken
  // connection.
  const responseChecksumValidation = "WHEN_REQUIRED";
  // In this SDK, `Expect: 100-continue` would cost a new connection each time.
  const expectContinueHeader = false;
  const fixed = { forcePathStyle, responseChecksumValidation, expectContinueHeader } as const;
  const client = await openClient(settings, (options) => new S3Client({ ...options, ...fixed }));
  skipPayloadHash(client);
  if (settings.bucketOwner !== undefined) expectOwner(client, settings.bucketOwner);
  return client;
}

/**
 * Adds the expected owner to every request that names a bucket, so that S3 refuses a bucket that was deleted and
 * re-created by another account. https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html
 */
function expectOwner(client: S3Client, account: string): void {
  client.middlewareStack.add(
    (next) => (args) => {
      const names = "Bucket" in args.input;
      return next(names ? { ...args, input: { ...args.input, ExpectedBucketOwner: account } } : args);
    },
    { step: "initialize", name: "docprocExpectedBucketOwner" },
  );
}

/**
 * Leaves the SHA-256 of the body out of the signature where TLS protects it, as the AWS CLI does: it would read every
 * byte once more. S3 checks the body against its CRC-32, which is signed.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
 */
function skipPayloadHash(client: S3Client): void {
  client.middlewareStack.add(
    (next) => (args) => {
      const { protocol, body, headers } = args.request as HttpRequest;
      if (protocol === "https:" && body instanceof Uint8Array) headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD";
      return next(args);
    },
    { step: "build", priority: "low", name: "docprocUnsignedPayload" },
  );
}

/** The S3 client: its endpoint, and the bucket owners it accepts. Loaded late because it loads the SDK. */
import { S3Client } from "@aws-sdk/client-s3";
import type { HttpRequest } from "@smithy/core/protocols";
import { openClient } from "../../aws/client.ts";
import type { Settings } from "../../core/settings.ts";

export async function connect(settings: Settings): Promise<S3Client> {
  // Emulators have no wildcard DNS for `bucket.host`.
  const forcePathStyle = settings.customEndpoint !== undefined;
  // What is read is held against the SHA-256 of its record. The SDK's own comparison would call a stored document that
  // is damaged a broken connection.
  const responseChecksumValidation = "WHEN_REQUIRED";
  // Asking first whether a body is welcome would, in this SDK, cost a new connection each time.
  const expectContinueHeader = false;
  const fixed = { forcePathStyle, responseChecksumValidation, expectContinueHeader } as const;
  const client = await openClient(settings, (options) => new S3Client({ ...options, ...fixed }));
  leaveHashToTls(client);
  if (settings.bucketOwner !== undefined) expectOwner(client, settings.bucketOwner);
  return client;
}

/**
 * Puts the expected owner into every request that names a bucket, so that a name which was given up and taken by
 * somebody else is refused by S3. https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html
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
 * Signs a request without the SHA-256 of its body where TLS guards that, as the AWS CLI does: it would be one more
 * reading of every byte. What arrives is held against its CRC-32, which is signed.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
 */
function leaveHashToTls(client: S3Client): void {
  client.middlewareStack.add(
    (next) => (args) => {
      const { protocol, body, headers } = args.request as HttpRequest;
      if (protocol === "https:" && body instanceof Uint8Array) headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD";
      return next(args);
    },
    { step: "build", priority: "low", name: "docprocUnsignedPayload" },
  );
}

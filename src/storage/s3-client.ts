/** The client for S3: where it is, and whose buckets it may talk to. Loaded late, it brings the SDK with it. */
import { Readable } from "node:stream";
import { S3Client } from "@aws-sdk/client-s3";
import { HttpRequest } from "@smithy/core/protocols";
import { openClient } from "../aws-client.ts";
import type { Settings } from "../settings.ts";

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
  sendInSlices(client);
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

/** Bytes handed to a connection at a time. */
const sliceSize = 256 * 1024;

/** Hands a part to its connection bit by bit: TLS would encrypt it as a whole, into as much memory again. */
function sendInSlices(client: S3Client): void {
  client.middlewareStack.add(
    (next) => (args) => {
      const { request } = args;
      if (!HttpRequest.isInstance(request) || !Buffer.isBuffer(request.body)) return next(args);
      if (request.body.length <= sliceSize) return next(args);
      // Of this attempt alone: the next one sends the part from its beginning.
      const attempt = HttpRequest.clone(request);
      attempt.body = Readable.from(slicesOf(request.body), { objectMode: false, highWaterMark: sliceSize });
      return next({ ...args, request: attempt });
    },
    { step: "deserialize", priority: "low", name: "docprocSlices" },
  );
}

function* slicesOf(bytes: Buffer): Iterable<Buffer> {
  for (let at = 0; at < bytes.length; at += sliceSize) yield bytes.subarray(at, at + sliceSize);
}

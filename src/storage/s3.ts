/**
 * Bytes in an Amazon S3 bucket, or one that speaks its protocol.
 *
 * This file is loaded by every command, the SDK only by those that use it: s3-objects.ts stores and reads,
 * s3-multipart.ts drives lib-storage, s3-bucket.ts makes and hardens the bucket.
 */
import type { S3Client } from "@aws-sdk/client-s3";
import { openClient } from "../aws.ts";
import { DocprocError } from "../errors.ts";
import type { Settings } from "../settings.ts";
import type { StorageDriver } from "./service.ts";

export const s3Storage: StorageDriver = {
  summary: "an Amazon S3 bucket, or one that speaks its protocol",
  async open(settings) {
    const bucket = bucketName(settings);
    const { S3Client, S3Storage } = await import("./s3-objects.ts");
    return new S3Storage(await connect(S3Client, settings), bucket, settings);
  },
  async *provision(settings, options) {
    const bucket = bucketName(settings);
    const { S3Client, provisionBucket } = await import("./s3-bucket.ts");
    const client = await connect(S3Client, settings);
    try {
      yield* provisionBucket(client, bucket, settings, options);
    } finally {
      client.destroy();
    }
  },
};

function connect(Client: typeof S3Client, settings: Settings): Promise<S3Client> {
  // Emulators have no wildcard DNS for `bucket.host`.
  const forcePathStyle = settings.customEndpoint !== undefined;
  return openClient(settings, (options) => new Client({ ...options, forcePathStyle }));
}

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html */
function bucketName(settings: Settings): string {
  const { bucket } = settings;
  if (bucket === undefined) {
    throw new DocprocError("INVALID_CONFIG", "Storage s3 needs a bucket.", { hint: "Add --bucket NAME." });
  }
  if (!/^(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket) || /^\d+\.\d+\.\d+\.\d+$/.test(bucket)) {
    throw new DocprocError("INVALID_CONFIG", `${JSON.stringify(bucket)} cannot be the name of a bucket.`, {
      hint: "Use 3 to 63 lower-case letters, digits, dots and hyphens.",
    });
  }
  return bucket;
}

/**
 * Bytes in an Amazon S3 bucket, or in one that speaks its protocol.
 *
 * Every command loads this file; the SDK loads on use: storage.ts stores and reads, multipart.ts drives lib-storage,
 * bucket.ts creates and hardens the bucket, removal.ts removes it.
 */
import { closing } from "../../aws/failures.ts";
import { type DerivedAwsSettings, deriveAwsSettings } from "../../aws/settings.ts";
import { defineDriver } from "../../core/driver.ts";
import { DocprocError } from "../../core/errors.ts";
import type { StorageService } from "../service.ts";
import { s3Settings } from "./settings.ts";
import { s3Traits } from "./traits.ts";

export const s3Storage = defineDriver<StorageService, typeof s3Settings, DerivedAwsSettings>({
  summary: "an Amazon S3 bucket or a compatible one",
  title: "Amazon S3",
  traits: s3Traits,
  settings: s3Settings,
  chosenBy: ["bucket"],
  isRemote: true,
  derive: deriveAwsSettings,
  check: (settings) => void bucketName(settings),
  async open(settings) {
    const bucket = bucketName(settings);
    const [{ connect }, { S3Storage }] = await Promise.all([import("./client.ts"), import("./storage.ts")]);
    return new S3Storage(await connect(settings), bucket, settings);
  },
  async *provision(settings, options) {
    const bucket = bucketName(settings);
    const [{ connect }, { provisionBucket }] = await Promise.all([import("./client.ts"), import("./bucket.ts")]);
    yield* closing(await connect(settings), (client) => provisionBucket(client, bucket, settings, options));
  },
  async *dismantle(settings, options) {
    const bucket = bucketName(settings);
    const [{ connect }, { removeBucket }] = await Promise.all([import("./client.ts"), import("./removal.ts")]);
    yield* closing(await connect(settings), (client) => removeBucket(client, bucket, settings, options));
  },
  async clockSkew(settings, signal) {
    const bucket = bucketName(settings);
    const [{ connect }, { clockSkew }] = await Promise.all([import("./client.ts"), import("./bucket.ts")]);
    const client = await connect(settings);
    try {
      return await clockSkew(client, bucket, settings, signal);
    } finally {
      client.destroy();
    }
  },
  nameOf: ({ bucket = "" }) => ({ kind: "bucket", name: bucket, isPath: false }),
  placeOf: async ({ bucket, prefix }) => `s3://${bucket}/${prefix}`,
  async permissions(role, settings) {
    const { s3Permissions } = await import("./permissions.ts");
    return s3Permissions(role, settings);
  },
});

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html */
function bucketName({ bucket }: { readonly bucket: string | undefined }): string {
  if (bucket === undefined) {
    throw new DocprocError("INVALID_CONFIG", "Storage s3 needs a bucket.", { hint: "Add --bucket NAME." });
  }
  if (!/^(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket) || /^\d+\.\d+\.\d+\.\d+$/.test(bucket)) {
    throw new DocprocError("INVALID_CONFIG", `${JSON.stringify(bucket)} is not a valid bucket name.`, {
      hint: "Use 3 to 63 lower-case letters, digits, dots and hyphens.",
    });
  }
  return bucket;
}

// The operations on the configuration of a bucket.
import { readAccessBlock, readEncryption, readLifecycle, readOwnership, readPolicy } from "./bucket-documents.ts";
import { accessDenied, notFound } from "./errors.ts";
import { type Context, type Handler, type Reply, xmlReply } from "./handler.ts";
import { type Bucket, type BucketConfiguration, newBucket } from "./state.ts";

/** The handlers that get, put and delete one part of the configuration of a bucket. */
function configuration<F extends keyof BucketConfiguration>(
  field: F,
  missing: readonly [code: string, message: string],
  show: (value: NonNullable<BucketConfiguration[F]>) => Reply,
  parse: (context: Context, bucket: Bucket) => BucketConfiguration[F],
): { get: Handler; put: Handler; remove: Handler } {
  return {
    get({ bucketName }, bucket) {
      const value = bucket[field];
      if (value === undefined) throw notFound(missing[0], missing[1], { BucketName: bucketName });
      return show(value);
    },
    put(context, bucket) {
      Object.assign(bucket, { [field]: parse(context, bucket) });
      return { status: 200 };
    },
    remove({ options }, bucket) {
      Object.assign(bucket, { [field]: field === "encryption" ? newBucket(options)[field] : undefined });
      return { status: 204 };
    },
  };
}

export const publicAccessBlock = configuration(
  "publicAccessBlock",
  ["NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found"],
  (value) => xmlReply("PublicAccessBlockConfiguration", value),
  ({ body }) => readAccessBlock(body),
);

export const ownershipControls = configuration(
  "ownership",
  ["OwnershipControlsNotFoundError", "The bucket ownership controls were not found"],
  (value) => xmlReply("OwnershipControls", { Rule: { ObjectOwnership: value } }),
  ({ body }) => readOwnership(body),
);

export const encryption = configuration(
  "encryption",
  ["ServerSideEncryptionConfigurationNotFoundError", "The server side encryption configuration was not found"],
  ({ algorithm, kmsKeyId, bucketKey }) => {
    const byDefault = { SSEAlgorithm: algorithm, KMSMasterKeyID: kmsKeyId };
    const rule = { ApplyServerSideEncryptionByDefault: byDefault, BucketKeyEnabled: bucketKey };
    return xmlReply("ServerSideEncryptionConfiguration", { Rule: rule });
  },
  ({ body }) => readEncryption(body),
);

export const policy = configuration(
  "policy",
  ["NoSuchBucketPolicy", "The bucket policy does not exist"],
  (text) => ({ status: 200, headers: { "content-type": "application/json" }, body: text }),
  ({ body, bucketName }, { publicAccessBlock: block }) => {
    const { opensToAnyone } = readPolicy(body, bucketName);
    if (opensToAnyone && block?.BlockPublicPolicy === true) throw accessDenied();
    return body.toString();
  },
);

export const lifecycle = configuration(
  "lifecycle",
  ["NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist"],
  (rules) => xmlReply("LifecycleConfiguration", {}, {}, rules),
  ({ body }) => readLifecycle(body),
);

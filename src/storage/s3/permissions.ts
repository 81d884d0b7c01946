/** The S3 permissions that docproc needs. */
import { type Call, partitionOf, statementsFor } from "../../aws/permissions.ts";
import { admins, everyone, type PolicyStatement, type Role, writers } from "../../core/policy.ts";
import type { S3Settings } from "./settings.ts";

/**
 * - https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
 * - https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
 * - https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html#mpuAndPermissions
 */
export const s3Calls: readonly Call<"account" | "bucket" | "objects">[] = [
  ["ListBuckets", "s3:ListAllMyBuckets", "account", admins],

  // HEAD has no permission of its own. Without s3:ListBucket a missing object gives 403, not 404.
  ["HeadObject", "s3:GetObject", "objects", everyone],
  ["HeadObject", "s3:ListBucket", "bucket", everyone],
  ["GetObject", "s3:GetObject", "objects", everyone],
  ["GetObject", "s3:ListBucket", "bucket", everyone],
  ["PutObject", "s3:PutObject", "objects", writers],
  // A copy reads its source; a write under If-Match looks at what it replaces.
  ["CopyObject", "s3:GetObject", "objects", writers],
  ["CopyObject", "s3:PutObject", "objects", writers],
  ["UploadPartCopy", "s3:GetObject", "objects", writers],
  ["UploadPartCopy", "s3:PutObject", "objects", writers],
  ["CreateMultipartUpload", "s3:PutObject", "objects", writers],
  ["UploadPart", "s3:PutObject", "objects", writers],
  ["CompleteMultipartUpload", "s3:PutObject", "objects", writers],
  ["ListParts", "s3:ListMultipartUploadParts", "objects", writers],
  ["AbortMultipartUpload", "s3:AbortMultipartUpload", "objects", writers],
  ["ListMultipartUploads", "s3:ListBucketMultipartUploads", "bucket", writers],
  // An upload that fails, or loses a race, removes its own object.
  ["DeleteObject", "s3:DeleteObject", "objects", writers],
  ["ListObjectsV2", "s3:ListBucket", "bucket", admins],

  ["HeadBucket", "s3:ListBucket", "bucket", admins],
  ["CreateBucket", "s3:CreateBucket", "bucket", admins],
  ["CreateBucket", "s3:PutBucketOwnershipControls", "bucket", admins],
  ["GetPublicAccessBlock", "s3:GetBucketPublicAccessBlock", "bucket", admins],
  ["PutPublicAccessBlock", "s3:PutBucketPublicAccessBlock", "bucket", admins],
  ["GetBucketOwnershipControls", "s3:GetBucketOwnershipControls", "bucket", admins],
  ["PutBucketOwnershipControls", "s3:PutBucketOwnershipControls", "bucket", admins],
  ["GetBucketEncryption", "s3:GetEncryptionConfiguration", "bucket", admins],
  ["PutBucketEncryption", "s3:PutEncryptionConfiguration", "bucket", admins],
  ["GetBucketPolicy", "s3:GetBucketPolicy", "bucket", admins],
  ["PutBucketPolicy", "s3:PutBucketPolicy", "bucket", admins],
  ["GetBucketLifecycleConfiguration", "s3:GetLifecycleConfiguration", "bucket", admins],
  ["PutBucketLifecycleConfiguration", "s3:PutLifecycleConfiguration", "bucket", admins],
  ["ListObjectVersions", "s3:ListBucketVersions", "bucket", admins],
  ["DeleteBucket", "s3:DeleteBucket", "bucket", admins],
];

/** https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html#amazons3-resources-for-iam-policies */
export function s3Permissions(role: Role, { bucket, prefix, region }: S3Settings): PolicyStatement[] {
  const onBucket = `arn:${partitionOf(region)}:s3:::${bucket}`;
  return statementsFor(s3Calls, role, [
    { kind: "account", sid: "DocprocAccount", arn: "*" },
    { kind: "bucket", sid: "DocprocBucket", arn: onBucket },
    { kind: "objects", sid: "DocprocObjects", arn: `${onBucket}/${prefix}*` },
  ]);
}

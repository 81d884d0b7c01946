/**
 * The AWS permissions that docproc needs, and the IAM policies that grant them. test/aws/permissions.test.ts compares
 * the table with the calls that the commands of each role make.
 */
import { DocprocError } from "../core/errors.ts";
import type { Settings } from "../core/settings.ts";

/** `upload` uploads and tags, `read` lists and reads, `admin` does everything. */
export const roles = ["upload", "read", "admin"] as const;
export type Role = (typeof roles)[number];

/** The resource of a permission: the account, the bucket, the objects under the prefix, or the table. */
export type ResourceKind = "account" | "bucket" | "objects" | "table";

const everyRole: readonly Role[] = roles;
const writers: readonly Role[] = ["upload", "admin"];
const admins: readonly Role[] = ["admin"];

/**
 * Every SDK operation in use, with the permission it needs. The items of a transaction follow a slash, since each needs
 * its own permission. An operation that needs several permissions has several lines.
 *
 * - https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
 * - https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
 * - https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html#mpuAndPermissions
 * - https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html
 * - https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
 */
export const calls: readonly (readonly [
  operation: string,
  action: string,
  on: ResourceKind,
  roles: readonly Role[],
])[] = [
  ["ListBuckets", "s3:ListAllMyBuckets", "account", admins],

  // HEAD has no permission of its own. Without s3:ListBucket a missing object gives 403, not 404.
  ["HeadObject", "s3:GetObject", "objects", everyRole],
  ["HeadObject", "s3:ListBucket", "bucket", everyRole],
  ["GetObject", "s3:GetObject", "objects", everyRole],
  ["GetObject", "s3:ListBucket", "bucket", everyRole],
  ["PutObject", "s3:PutObject", "objects", writers],
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

  ["GetItem", "dynamodb:GetItem", "table", everyRole],
  ["BatchGetItem", "dynamodb:BatchGetItem", "table", everyRole],
  ["Query", "dynamodb:Query", "table", everyRole],
  ["PutItem", "dynamodb:PutItem", "table", writers],
  ["TransactWriteItems/Put", "dynamodb:PutItem", "table", writers],
  ["TransactWriteItems/Delete", "dynamodb:DeleteItem", "table", writers],
  ["TransactWriteItems/ConditionCheck", "dynamodb:ConditionCheckItem", "table", admins],
  ["Scan", "dynamodb:Scan", "table", admins],

  ["DescribeTable", "dynamodb:DescribeTable", "table", admins],
  ["CreateTable", "dynamodb:CreateTable", "table", admins],
  ["UpdateTable", "dynamodb:UpdateTable", "table", admins],
  ["DeleteTable", "dynamodb:DeleteTable", "table", admins],
];

/** https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html */
export interface PolicyDocument {
  readonly Version: "2012-10-17";
  readonly Statement: readonly {
    readonly Sid: string;
    readonly Effect: "Allow";
    readonly Action: readonly string[];
    readonly Resource: string;
  }[];
}

/**
 * The minimal policy of a role on the configured bucket and table.
 * @throws USAGE for a library that is not on AWS
 */
export function policyFor(role: Role, settings: Settings): PolicyDocument {
  const resources = resourcesOf(settings);
  if (resources.length === 0) {
    throw new DocprocError("USAGE", "This library is on this machine alone, where AWS has nothing to permit.", {
      hint: "Name the bucket: docproc policy upload --bucket NAME",
    });
  }
  const statements = resources.map(({ kind, sid, arn }) => {
    const granted = calls.flatMap(([, action, on, to]) => (on === kind && to.includes(role) ? [action] : []));
    return { Sid: sid, Effect: "Allow" as const, Action: [...new Set(granted)].sort(), Resource: arn };
  });
  return { Version: "2012-10-17", Statement: statements.filter(({ Action }) => Action.length > 0) };
}

interface Resource {
  readonly kind: ResourceKind;
  readonly sid: string;
  readonly arn: string;
}

/** https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html#amazons3-resources-for-iam-policies */
function resourcesOf({ storage, metadata, bucket, prefix, table, region, bucketOwner }: Settings): Resource[] {
  const partition = partitionOf(region);
  const onBucket = `arn:${partition}:s3:::${bucket}`;
  const onTable = `arn:${partition}:dynamodb:${region ?? "*"}:${bucketOwner ?? "*"}:table/${table}`;
  const ofStorage: Resource[] = [
    { kind: "account", sid: "DocprocAccount", arn: "*" },
    { kind: "bucket", sid: "DocprocBucket", arn: onBucket },
    { kind: "objects", sid: "DocprocObjects", arn: `${onBucket}/${prefix}*` },
  ];
  const ofMetadata: Resource[] = [{ kind: "table", sid: "DocprocTable", arn: onTable }];
  return [...(storage === "s3" ? ofStorage : []), ...(metadata === "dynamodb" ? ofMetadata : [])];
}

/** https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html */
function partitionOf(region = ""): string {
  if (region.startsWith("cn-")) return "aws-cn";
  if (region.startsWith("us-gov-")) return "aws-us-gov";
  return region.startsWith("eusc-") ? "aws-eusc" : "aws";
}

/**
 * A policy as a Terraform resource, formatted as `terraform fmt` would.
 * https://registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/iam_policy
 */
export function terraformOf(role: Role, policy: PolicyDocument): string {
  const statements = policy.Statement.map(({ Sid, Effect, Action, Resource }) =>
    [
      "      {",
      `        Sid    = ${text(Sid)}`,
      `        Effect = ${text(Effect)}`,
      "        Action = [",
      ...Action.map((action) => `          ${text(action)},`),
      "        ]",
      `        Resource = ${text(Resource)}`,
      "      },",
    ].join("\n"),
  );
  return [
    `resource "aws_iam_policy" "docproc_${role}" {`,
    `  name = "docproc-${role}"`,
    "  policy = jsonencode({",
    `    Version = ${text(policy.Version)}`,
    "    Statement = [",
    ...statements,
    "    ]",
    "  })",
    "}",
  ].join("\n");
}

/**
 * https://developer.hashicorp.com/terraform/language/expressions/strings: JSON strings, with template marks escaped.
 */
function text(value: string): string {
  return JSON.stringify(value).replace(/[$%]\{/g, (mark) => `${mark[0]}${mark}`);
}

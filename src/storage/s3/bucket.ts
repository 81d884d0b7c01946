/**
 * Creates and hardens the bucket. Each setting is read first and written only if it is missing, so a second run changes
 * nothing, and other people's rules and statements stay.
 */

import { setTimeout as sleep } from "node:timers/promises";
import {
  type BucketLocationConstraint,
  CreateBucketCommand,
  GetBucketEncryptionCommand,
  GetBucketLifecycleConfigurationCommand,
  GetBucketOwnershipControlsCommand,
  GetBucketPolicyCommand,
  GetPublicAccessBlockCommand,
  HeadBucketCommand,
  ListBucketsCommand,
  PutBucketEncryptionCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketOwnershipControlsCommand,
  PutBucketPolicyCommand,
  PutPublicAccessBlockCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { skewOf } from "../../aws/client.ts";
import { errorNameOf, fromAwsError, httpStatusOf, UnusableAnswer } from "../../aws/failures.ts";
import { DocprocError } from "../../core/errors.ts";
import type { ProvisionAction, ProvisionedResource, ProvisionOptions } from "../../core/resources.ts";
import { bucketOwner, probeEndpoint } from "./endpoint.ts";
import type { S3Settings } from "./settings.ts";

/** Days after which S3 drops the parts of an unfinished upload. */
const abortIncompleteAfterDays = 7;

export async function* provisionBucket(
  client: S3Client,
  bucket: string,
  settings: S3Settings,
  options: ProvisionOptions,
): AsyncIterable<ProvisionedResource> {
  const failure = (error: unknown, action: string) =>
    fromAwsError(error, { action, resource: `bucket ${bucket}`, settings });
  const made = await createBucket(client, bucket, options, failure);
  const owner = options.plan || settings.bucketOwner ? undefined : await bucketOwner(client, bucket, settings);
  const madeWith = { Region: await client.config.region(), ...ownerEnforced };
  const remember = owner && { remember: { bucketOwner: owner } };
  yield { kind: "bucket", name: bucket, action: made, settings: madeWith, ...remember };
  // With plain HTTP, as to an emulator, a TLS-only policy would lock out the owner too.
  const plainHttp = settings.customEndpoint?.startsWith("http://") ?? false;
  for (const setting of bucketSettings(client, bucket, options.signal)) {
    const resource = { kind: setting.kind, name: bucket, settings: setting.settings };
    if (plainHttp && setting.kind === tlsOnly) yield { ...resource, action: "unsupported" };
    else if (made === "would-create") yield { ...resource, action: "would-create" };
    else yield { ...resource, action: await applySetting(setting, options, settings, failure) };
  }
  if (options.plan) return;
  try {
    yield* probeEndpoint(client, bucket, settings, options.signal);
  } catch (error) {
    throw failure(error, "s3:PutObject");
  }
}

/**
 * Milliseconds by which S3's clock is ahead of ours, from a request about the bucket.
 * @throws NOT_INITIALISED, ACCESS_DENIED and any other problem with the bucket or the connection
 */
export async function clockSkew(
  client: S3Client,
  bucket: string,
  settings: S3Settings,
  abortSignal: AbortSignal,
): Promise<number> {
  try {
    await client.send(new HeadBucketCommand({ Bucket: bucket }), { abortSignal });
  } catch (error) {
    if (httpStatusOf(error) === 404) throw missing(bucket, error);
    throw fromAwsError(error, { action: "s3:ListBucket", resource: `bucket ${bucket}`, settings });
  }
  return skewOf(client) ?? 0;
}

function missing(bucket: string, cause: unknown): DocprocError {
  return new DocprocError("NOT_INITIALISED", `The bucket ${bucket} does not exist.`, {
    hint: "Run docproc init to create it.",
    cause,
  });
}

export type ErrorMapper = (error: unknown, action: string) => DocprocError;

async function createBucket(
  client: S3Client,
  bucket: string,
  { plan, signal }: ProvisionOptions,
  failure: ErrorMapper,
): Promise<ProvisionAction> {
  if (await bucketExists(client, bucket, signal, failure)) return "exists";
  if (plan) return "would-create";
  const region = await client.config.region();
  // us-east-1 alone must not be named: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html
  const place =
    region === "us-east-1"
      ? {}
      : { CreateBucketConfiguration: { LocationConstraint: region as BucketLocationConstraint } };
  const create = new CreateBucketCommand({ Bucket: bucket, ...place, ...ownerEnforced });
  try {
    await client.send(create, { abortSignal: signal });
    return "created";
  } catch (error) {
    // Another init was faster.
    if (errorNameOf(error) === "BucketAlreadyOwnedByYou") return "exists";
    if (errorNameOf(error) === "BucketAlreadyExists") throw ownedBySomeoneElse(bucket, error);
    if (errorNameOf(error) !== "OperationAborted") throw failure(error, "s3:CreateBucket");
  }
  // S3 is still processing another init's request for this name.
  await sleep(500, undefined, { signal });
  return await createBucket(client, bucket, { plan, signal }, failure);
}

/**
 * Whether the bucket exists and belongs to the caller.
 * @throws CONFLICT when it belongs to another account: HEAD gives 403 then, or 200 if that account allows it
 */
export async function bucketExists(
  client: S3Client,
  bucket: string,
  signal: AbortSignal,
  failure: ErrorMapper,
): Promise<boolean> {
  try {
    await client.send(new HeadBucketCommand({ Bucket: bucket }), { abortSignal: signal });
  } catch (error) {
    if (httpStatusOf(error) === 404) return false;
    const denied = failure(error, "s3:ListBucket");
    if (denied.code !== "ACCESS_DENIED") throw denied;
    // Valid credentials that do not own it: the name is taken. Otherwise ListBuckets tells the reason.
    throw (await ownsBucket(client, bucket, signal, failure)) === false ? ownedBySomeoneElse(bucket, error) : denied;
  }
  if ((await ownsBucket(client, bucket, signal, failure)) === false) throw ownedBySomeoneElse(bucket);
  return true;
}

/**
 * ListBuckets lists only the caller's own buckets. Undefined when the caller may not list.
 * @throws what is wrong with the credentials, which HEAD cannot say without a body
 */
async function ownsBucket(
  client: S3Client,
  bucket: string,
  signal: AbortSignal,
  failure: ErrorMapper,
): Promise<boolean | undefined> {
  try {
    const own = await client.send(new ListBucketsCommand({ Prefix: bucket }), { abortSignal: signal });
    return own.Buckets?.some(({ Name }) => Name === bucket) ?? false;
  } catch (error) {
    if (errorNameOf(error) === "AccessDenied" || isUnsupported(error)) return undefined;
    throw failure(error, "s3:ListAllMyBuckets");
  }
}

function ownedBySomeoneElse(bucket: string, cause?: unknown): DocprocError {
  return new DocprocError("CONFLICT", `The bucket ${bucket} belongs to another account.`, {
    hint: "Bucket names are global: choose another one.",
    cause,
  });
}

/** One hardening of a bucket. */
interface BucketSetting {
  readonly kind: string;
  /** The IAM actions, for a message about a missing permission. */
  readonly action: string;
  readonly settings: ProvisionedResource["settings"];
  /** The current state. Rejects with a 404 when there is none. */
  read(): Promise<"as-wanted" | "other">;
  write(): Promise<unknown>;
}

async function applySetting(
  setting: BucketSetting,
  { plan }: ProvisionOptions,
  { customEndpoint, unsupported }: S3Settings,
  failure: ErrorMapper,
): Promise<ProvisionAction> {
  try {
    const before = await readSetting(setting);
    if (before === "as-wanted") return "exists";
    // Only an attempt shows that it is unsupported; init has made one.
    if (plan && unsupported.split(",").includes(setting.kind)) return "unsupported";
    if (plan) return before === "absent" ? "would-create" : "would-update";
    await setting.write();
    return before === "absent" ? "created" : "updated";
  } catch (error) {
    // Amazon accepts this form; another endpoint that refuses it supports only a part of the setting.
    if (isUnsupported(error) || (customEndpoint !== undefined && isRefusedForm(error))) return "unsupported";
    throw failure(error, setting.action);
  }
}

async function readSetting(setting: BucketSetting): Promise<"as-wanted" | "other" | "absent"> {
  try {
    return await setting.read();
  } catch (error) {
    // NoSuchPublicAccessBlockConfiguration, NoSuchBucketPolicy, NoSuchLifecycleConfiguration, …
    if (httpStatusOf(error) === 404) return "absent";
    throw error;
  }
}

/** Responses of emulators and limited stores to operations that they lack. */
export function isUnsupported(error: unknown): boolean {
  const names = ["NotImplemented", "MethodNotAllowed", "UnsupportedOperation", "XNotImplemented"];
  return names.includes(errorNameOf(error)) || httpStatusOf(error) === 501 || httpStatusOf(error) === 405;
}

/** MinIO supports lifecycle rules, but none that only aborts uploads, which it does by itself. */
function isRefusedForm(error: unknown): boolean {
  return ["InvalidArgument", "InvalidRequest", "MalformedXML", "MalformedPolicy"].includes(errorNameOf(error));
}

function bucketSettings(client: S3Client, Bucket: string, abortSignal: AbortSignal): readonly BucketSetting[] {
  const signal = { abortSignal };
  return [
    {
      kind: "public-access-block",
      action: "s3:PutBucketPublicAccessBlock",
      settings: blockAllPublicAccess,
      async read() {
        const reply = await client.send(new GetPublicAccessBlockCommand({ Bucket }), signal);
        const block: Record<string, boolean | undefined> = { ...reply.PublicAccessBlockConfiguration };
        return Object.keys(blockAllPublicAccess).every((key) => block[key] === true) ? "as-wanted" : "other";
      },
      write: () =>
        client.send(
          new PutPublicAccessBlockCommand({ Bucket, PublicAccessBlockConfiguration: blockAllPublicAccess }),
          signal,
        ),
    },
    {
      kind: "owner-enforced",
      action: "s3:PutBucketOwnershipControls",
      settings: ownerEnforced,
      async read() {
        const reply = await client.send(new GetBucketOwnershipControlsCommand({ Bucket }), signal);
        const rules = reply.OwnershipControls?.Rules ?? [];
        return rules.some((rule) => rule.ObjectOwnership === ownerEnforced.ObjectOwnership) ? "as-wanted" : "other";
      },
      write: () =>
        client.send(
          new PutBucketOwnershipControlsCommand({ Bucket, OwnershipControls: { Rules: [ownerEnforced] } }),
          signal,
        ),
    },
    {
      kind: "default-encryption",
      action: "s3:PutEncryptionConfiguration",
      settings: encrypted,
      async read() {
        const reply = await client.send(new GetBucketEncryptionCommand({ Bucket }), signal);
        // Any setting, KMS included, is at least as good as ours.
        return reply.ServerSideEncryptionConfiguration?.Rules?.length ? "as-wanted" : "other";
      },
      write: () =>
        client.send(
          new PutBucketEncryptionCommand({
            Bucket,
            ServerSideEncryptionConfiguration: {
              Rules: [{ ApplyServerSideEncryptionByDefault: encrypted }],
            },
          }),
          signal,
        ),
    },
    tlsOnlyPolicy(client, Bucket, signal),
    abortIncompleteUploads(client, Bucket, signal),
  ];
}

const blockAllPublicAccess = {
  BlockPublicAcls: true,
  IgnorePublicAcls: true,
  BlockPublicPolicy: true,
  RestrictPublicBuckets: true,
};

const ownerEnforced = { ObjectOwnership: "BucketOwnerEnforced" } as const;
const encrypted = { SSEAlgorithm: "AES256" } as const;
const tlsOnly = "tls-only-policy";

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/security-best-practices.html#transit */
function tlsOnlyPolicy(client: S3Client, Bucket: string, signal: { abortSignal: AbortSignal }): BucketSetting {
  const statement = {
    Sid: "DocprocTlsOnly",
    Effect: "Deny",
    Principal: "*",
    Action: "s3:*",
    Resource: [`arn:aws:s3:::${Bucket}`, `arn:aws:s3:::${Bucket}/*`],
    Condition: { Bool: { "aws:SecureTransport": "false" } },
  };
  let present: BucketPolicy = { Version: "2012-10-17", Statement: [] };
  return {
    kind: tlsOnly,
    action: "s3:PutBucketPolicy",
    settings: statement,
    async read() {
      const { Policy } = await client.send(new GetBucketPolicyCommand({ Bucket }), signal);
      if (!Policy) return "other";
      present = policyOf(Policy);
      return present.Statement.some((one) => one?.Sid === statement.Sid) ? "as-wanted" : "other";
    },
    write() {
      const Policy = JSON.stringify({ ...present, Statement: [...present.Statement, statement] });
      return client.send(new PutBucketPolicyCommand({ Bucket, Policy }), signal);
    },
  };
}

interface BucketPolicy {
  readonly Version?: string;
  readonly Statement: readonly ({ readonly Sid?: string } | null)[];
}

/** @throws UnusableAnswer for an invalid policy, or one nested too deeply to be written back */
function policyOf(text: string): BucketPolicy {
  try {
    const policy: unknown = JSON.parse(text);
    if (typeof policy === "object" && policy !== null && JSON.stringify(policy) !== "") {
      // A policy may hold a single statement without a list.
      return { ...policy, Statement: [(policy as { Statement?: never }).Statement ?? []].flat() };
    }
  } catch {
    // Thrown below.
  }
  throw new UnusableAnswer("The policy of the bucket is not a policy.");
}

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpu-abort-incomplete-mpu-lifecycle-config.html */
function abortIncompleteUploads(client: S3Client, Bucket: string, signal: { abortSignal: AbortSignal }): BucketSetting {
  const rule = {
    ID: "docproc-abort-incomplete-uploads",
    Status: "Enabled" as const,
    Filter: { Prefix: "" },
    AbortIncompleteMultipartUpload: { DaysAfterInitiation: abortIncompleteAfterDays },
  };
  type Rules = NonNullable<
    NonNullable<
      ConstructorParameters<typeof PutBucketLifecycleConfigurationCommand>[0]["LifecycleConfiguration"]
    >["Rules"]
  >;
  let present: Rules = [];
  return {
    kind: "abort-incomplete-uploads",
    action: "s3:PutLifecycleConfiguration",
    settings: rule,
    async read() {
      const reply = await client.send(new GetBucketLifecycleConfigurationCommand({ Bucket }), signal);
      present = reply.Rules ?? [];
      return present.some(({ ID }) => ID === rule.ID) ? "as-wanted" : "other";
    },
    write: () =>
      client.send(
        new PutBucketLifecycleConfigurationCommand({ Bucket, LifecycleConfiguration: { Rules: [...present, rule] } }),
        signal,
      ),
  };
}

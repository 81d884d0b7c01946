/** Removes the bucket once it is empty: no objects of docproc or others, and no old versions. */
import { setTimeout as sleep } from "node:timers/promises";
import {
  DeleteBucketCommand,
  HeadBucketCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { errorNameOf, fromAwsError, httpStatusOf } from "../../aws/failures.ts";
import { DocprocError } from "../../core/errors.ts";
import { assertEmpty, maxCounted } from "../../core/not-empty.ts";
import type { DismantledResource, ProvisionOptions } from "../../core/resources.ts";
import { bucketExists, type ErrorMapper, isUnsupported } from "./bucket.ts";
import { bucketOwner } from "./endpoint.ts";
import type { S3Settings } from "./settings.ts";

/** Milliseconds. */
const pollInterval = 500;
const pollDeadline = 180_000;

export async function* removeBucket(
  client: S3Client,
  bucket: string,
  settings: S3Settings,
  { plan, signal }: ProvisionOptions,
): AsyncIterable<DismantledResource> {
  const failure = (error: unknown, action: string) =>
    fromAwsError(error, { action, resource: `bucket ${bucket}`, settings });
  const resource = { kind: "bucket", name: bucket };
  if (!(await bucketExists(client, bucket, signal, failure))) {
    yield { ...resource, action: "gone" };
    return;
  }
  await assertNothingIn(client, bucket, signal, failure);
  if (plan) {
    yield { ...resource, action: "would-remove" };
    return;
  }
  // Without an owner in the settings, the client does not check it, so this request must.
  const owner = settings.bucketOwner ?? (await bucketOwner(client, bucket, settings));
  try {
    const command = new DeleteBucketCommand({ Bucket: bucket, ...(owner && { ExpectedBucketOwner: owner }) });
    await client.send(command, { abortSignal: signal });
  } catch (error) {
    if (errorNameOf(error) === "BucketNotEmpty") {
      // Something was added, or S3 does not list it.
      await assertNothingIn(client, bucket, signal, failure);
      throw hiddenContent(bucket, error);
    }
    // Another command was faster, or the response to an earlier attempt was lost.
    if (httpStatusOf(error) !== 404) throw failure(error, "s3:DeleteBucket");
  }
  await untilGone(client, bucket, signal, failure);
  yield { ...resource, action: "removed" };
}

/**
 * Counts one page of each kind, which is enough.
 * @throws CONFLICT for objects, old versions, delete markers and unfinished uploads: S3 would remove a bucket despite
 *   some of them
 */
async function assertNothingIn(
  client: S3Client,
  bucket: string,
  abortSignal: AbortSignal,
  failure: ErrorMapper,
): Promise<void> {
  const page = { Bucket: bucket };
  const versions = await versionsOf(client, bucket, abortSignal, failure);
  const uploads = await client
    .send(new ListMultipartUploadsCommand({ ...page, MaxUploads: maxCounted }), { abortSignal })
    .catch((error: unknown) => {
      if (isUnsupported(error)) return { Uploads: [], IsTruncated: false };
      throw failure(error, "s3:ListBucketMultipartUploads");
    });
  const { current, older, markers } = versions;
  const counts = {
    object: current,
    "older version": older,
    "delete marker": markers,
    "unfinished upload": uploads.Uploads?.length ?? 0,
  };
  assertEmpty(`bucket ${bucket}`, counts, versions.more || uploads.IsTruncated === true);
}

async function versionsOf(client: S3Client, Bucket: string, abortSignal: AbortSignal, failure: ErrorMapper) {
  try {
    const command = new ListObjectVersionsCommand({ Bucket, MaxKeys: maxCounted });
    const { Versions = [], DeleteMarkers = [], IsTruncated } = await client.send(command, { abortSignal });
    const current = Versions.filter(({ IsLatest }) => IsLatest !== false).length;
    const older = Versions.length - current;
    return { current, older, markers: DeleteMarkers.length, more: IsTruncated === true };
  } catch (error) {
    if (!isUnsupported(error)) throw failure(error, "s3:ListBucketVersions");
  }
  // An endpoint without versions.
  try {
    const command = new ListObjectsV2Command({ Bucket, MaxKeys: maxCounted });
    const { Contents = [], IsTruncated } = await client.send(command, { abortSignal });
    return { current: Contents.length, older: 0, markers: 0, more: IsTruncated === true };
  } catch (error) {
    throw failure(error, "s3:ListBucket");
  }
}

async function untilGone(client: S3Client, Bucket: string, signal: AbortSignal, failure: ErrorMapper): Promise<void> {
  const deadline = Date.now() + pollDeadline;
  for (;;) {
    try {
      await client.send(new HeadBucketCommand({ Bucket }), { abortSignal: signal });
    } catch (error) {
      // 403: another account owns the name by now.
      if (httpStatusOf(error) === 404 || httpStatusOf(error) === 403) return;
      throw failure(error, "s3:ListBucket");
    }
    if (Date.now() > deadline) {
      throw new DocprocError("UNAVAILABLE", `The bucket ${Bucket} is still being removed.`, {
        hint: "Run docproc destroy again in a minute.",
      });
    }
    await sleep(pollInterval, undefined, { signal });
  }
}

function hiddenContent(bucket: string, cause: unknown): DocprocError {
  return new DocprocError("CONFLICT", `S3 reports that the bucket ${bucket} is not empty, but lists nothing in it.`, {
    hint: "Run docproc destroy again in a minute. Nothing was removed.",
    cause,
  });
}

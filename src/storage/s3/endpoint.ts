/**
 * Probes with one small object whether an endpoint keeps the promises that docproc relies on, and looks up the account
 * of the credentials. Used by init only.
 */
import { randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import { DeleteObjectCommand, HeadBucketCommand, PutObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { openClient } from "../../aws/client.ts";
import { httpStatusOf } from "../../aws/failures.ts";
import type { ProvisionedResource } from "../../core/resources.ts";
import { newDocumentId, storageKey } from "../../document/record.ts";
import { probeCatalog } from "../service.ts";
import { catalogHeader, checksumText, fullObjectCrc32 } from "./parts.ts";
import type { S3Settings } from "./settings.ts";

/** Milliseconds for an optional request. */
const shortTimeout = 3_000;

/**
 * Puts an object twice, then one with a wrong checksum, and removes it. If the endpoint ignores checksums, an upload is
 * verified by size alone; if it overwrites, unique keys are the only protection.
 * @returns nothing when these credentials may not write, since nothing can be tested then
 */
export async function* probeEndpoint(
  client: S3Client,
  bucket: string,
  settings: S3Settings,
  abortSignal: AbortSignal,
): AsyncIterable<ProvisionedResource> {
  // Named and marked like an uploaded object, so that doctor recognises a left-over probe as garbage.
  const key = storageKey(settings.prefix, newDocumentId(), "probe");
  const body = randomBytes(64);
  const put = async (checksum: number) =>
    await client.send(
      new PutObjectCommand({
        Bucket: bucket,
        Key: key,
        Body: body,
        Metadata: { [catalogHeader]: probeCatalog },
        IfNoneMatch: "*",
        ChecksumCRC32: checksumText(checksum),
      }),
      { abortSignal },
    );
  const isRefused = async (checksum: number, status: number) =>
    await put(checksum).then(
      () => false,
      (error) => httpStatusOf(error) === status,
    );
  const remove = async () => await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key }), { abortSignal });
  try {
    const right = crc32(body);
    const first = await put(right).catch(async (error) => {
      // The response to an earlier attempt was lost; the key is ours, so the object can be removed.
      if (httpStatusOf(error) !== 412) throw error;
      await remove();
      return await put(right);
    });
    const returned = fullObjectCrc32(first) === right;
    const overwriteRefused = await isRefused(right, 412);
    await remove();
    const checksums = returned && (await isRefused((right ^ 1) >>> 0, 400));
    const seen = (kind: string, kept: boolean): ProvisionedResource => {
      return { kind, name: bucket, action: kept ? "exists" : "unsupported", settings: {} };
    };
    yield seen("checksums", checksums);
    yield seen("no-overwrite", overwriteRefused);
  } catch (error) {
    if (httpStatusOf(error) !== 403) throw error;
  } finally {
    await remove().catch(() => {});
  }
}

/**
 * The account of the credentials, if S3 confirms that it owns the bucket.
 * https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html needs no permission
 */
export async function bucketOwner(client: S3Client, bucket: string, settings: S3Settings): Promise<string | undefined> {
  const abortSignal = AbortSignal.timeout(shortTimeout);
  let sts: STSClient | undefined;
  try {
    sts = await openClient({ ...settings, retries: 0, timeout: shortTimeout }, (options) => new STSClient(options));
    const { Account } = await sts.send(new GetCallerIdentityCommand(), { abortSignal });
    if (Account === undefined) return undefined;
    await client.send(new HeadBucketCommand({ Bucket: bucket, ExpectedBucketOwner: Account }), { abortSignal });
    return Account;
  } catch {
    // An endpoint without STS, or with invented accounts: the owner stays unknown.
    return undefined;
  } finally {
    sts?.destroy();
  }
}

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
import type { ProvisionedResource, Settings } from "../../core/settings.ts";
import { newDocumentId, storageKey } from "../../document/record.ts";
import { probeCatalog } from "../service.ts";
import { catalogHeader, checksumText, fullObjectCrc32 } from "./parts.ts";

/** Milliseconds for a question that init can do without an answer to. */
const shortTimeout = 3_000;

/**
 * Puts an object, puts it again, puts one with a wrong checksum, and removes what is there then. Without the first
 * promise of the two an upload is believed on its size; without the second, on keys that nobody else would make up.
 * @returns nothing where these credentials may not write: nobody can tell then
 */
export async function* probeEndpoint(
  client: S3Client,
  bucket: string,
  settings: Settings,
  abortSignal: AbortSignal,
): AsyncIterable<ProvisionedResource> {
  // Named and marked like an object of an upload, so that a doctor knows it for garbage if it stays behind.
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
      // The answer to an earlier attempt was lost: nobody else would put this key, so it can be removed.
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
 * The account of the credentials, if S3 confirms that the bucket is its own.
 * https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html needs no permission
 */
export async function bucketOwner(client: S3Client, bucket: string, settings: Settings): Promise<string | undefined> {
  const abortSignal = AbortSignal.timeout(shortTimeout);
  let sts: STSClient | undefined;
  try {
    sts = await openClient({ ...settings, retries: 0, timeout: shortTimeout }, (options) => new STSClient(options));
    const { Account } = await sts.send(new GetCallerIdentityCommand(), { abortSignal });
    if (Account === undefined) return undefined;
    await client.send(new HeadBucketCommand({ Bucket: bucket, ExpectedBucketOwner: Account }), { abortSignal });
    return Account;
  } catch {
    // An endpoint without STS, or whose accounts are made up: the owner stays unknown.
    return undefined;
  } finally {
    sts?.destroy();
  }
}

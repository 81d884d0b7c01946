import { createHash } from "node:crypto";
import {
  CopyObjectCommand,
  type CopyObjectCommandInput,
  CreateBucketCommand,
  HeadObjectCommand,
  UploadPartCopyCommand,
  type UploadPartCopyCommandInput,
} from "@aws-sdk/client-s3";
import { describe, expect, it } from "vitest";
import { checksumOf } from "./checksums.ts";
import {
  Bucket,
  begin,
  bytes,
  client,
  complete,
  failure,
  Key,
  MiB,
  put,
  rawFailure,
  serveEachTest,
  server,
  start,
  stored,
} from "./harness.ts";

serveEachTest();

const source = "räum/a b+c%41.txt";
const CopySource = `${Bucket}/${source.split("/").map(encodeURIComponent).join("/")}`;
const copy = (more: Partial<CopyObjectCommandInput> = {}) =>
  client.send(new CopyObjectCommand({ Bucket, Key, CopySource, ...more }));
const crc32 = (content: string) => checksumOf("CRC32", Buffer.from(content));

describe("copies of objects", () => {
  it("have the bytes, a checksum of the whole object, and what is said of them", async () => {
    const { ETag } = await put({ Key: source, ContentType: "text/plain", Metadata: { a: "b" } });
    const described = { ContentType: "text/html", Metadata: { c: "d" } };
    const reply = await copy({ MetadataDirective: "REPLACE", ...described, ChecksumAlgorithm: "CRC32" });
    expect(reply.CopyObjectResult).toMatchObject({
      ETag,
      ChecksumCRC32: crc32("content"),
      ChecksumType: "FULL_OBJECT",
      LastModified: expect.any(Date),
    });
    expect(await client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: "ENABLED" }))).toMatchObject({
      ContentLength: 7,
      ContentType: "text/html",
      Metadata: { c: "d" },
      ChecksumCRC32: crc32("content"),
    });
    expect(server.requests.at(-2)).toMatchObject({ operation: "CopyObject", status: 200 });
  });

  it("keep what is said of the source, and its kind of checksum, unless asked otherwise", async () => {
    await put({ Key: source, ContentType: "text/plain", Metadata: { a: "b" }, ChecksumAlgorithm: "SHA256" });
    const { CopyObjectResult } = await copy({ ContentType: "text/html" });
    expect(stored()).toMatchObject({ contentType: "text/plain", metadata: { a: "b" } });
    expect(CopyObjectResult?.ChecksumSHA256).toBe(createHash("sha256").update("content").digest("base64"));
  });

  it("have a checksum of their own where the source has one of its parts", async () => {
    const part = bytes(5 * MiB);
    await put({ Key: source, Body: part });
    const object = stored(source);
    if (object !== undefined) object.checksum = { algorithm: "CRC32", type: "COMPOSITE", value: "AAAAAA==-2" };
    const { CopyObjectResult } = await copy();
    expect(CopyObjectResult).toMatchObject({ ChecksumCRC32: checksumOf("CRC32", part), ChecksumType: "FULL_OBJECT" });
  });

  it("have a source that is there, and is named as a part of an address", async () => {
    await put({ Key: source });
    expect(await failure(copy({ CopySource: `/${CopySource}` }))).toBe("no failure");
    expect(await failure(copy({ CopySource: `${Bucket}/other` }))).toBe("404 NoSuchKey");
    expect(await failure(copy({ CopySource: "elsewhere/other" }))).toBe("404 NoSuchBucket");
    expect(await failure(copy({ CopySource: Bucket }))).toBe("400 InvalidArgument");
    expect(await failure(copy({ CopySource: `${Bucket}/%` }))).toBe("400 InvalidArgument");
    // A plus is a space.
    expect(await failure(copy({ CopySource: CopySource.replace("%2B", "+") }))).toBe("404 NoSuchKey");
    expect(await failure(copy({ CopySource: `${CopySource}?versionId=1` }))).toBe("501 NotImplemented");
    await client.send(new CreateBucketCommand({ Bucket: "another" }));
    expect(await failure(copy({ Bucket: "another" }))).toBe("no failure");
    expect(await failure(copy({ ExpectedSourceBucketOwner: "123456789012" }))).toBe("no failure");
    expect(await failure(copy({ ExpectedSourceBucketOwner: "999999999999" }))).toBe("403 AccessDenied");
  });

  it("are made under conditions on the source and on what is there", async () => {
    const { ETag } = await put({ Key: source });
    expect(await failure(copy({ CopySourceIfMatch: '"other"' }))).toBe("412 PreconditionFailed");
    expect(await failure(copy({ IfMatch: ETag }))).toBe("404 NoSuchKey");
    expect(await failure(copy({ CopySourceIfMatch: ETag, IfNoneMatch: "*" }))).toBe("no failure");
    expect(await failure(copy({ IfNoneMatch: "*" }))).toBe("412 PreconditionFailed");
    expect(await failure(copy({ IfMatch: '"other"' }))).toBe("412 PreconditionFailed");
    expect(await failure(copy({ IfMatch: ETag }))).toBe("no failure");
    expect(await failure(copy({ CopySourceIfNoneMatch: ETag }))).toBe("501 NotImplemented");
  });

  it("are refused where they would change nothing, or are too large", async () => {
    await put({ Key: source });
    expect(await failure(copy({ Key: source }))).toBe("400 InvalidRequest");
    expect(await failure(copy({ Key: source, MetadataDirective: "REPLACE" }))).toBe("no failure");
    expect(await rawFailure({ headers: { "x-amz-copy-source": CopySource, "x-amz-metadata-directive": "MOVE" } })).toBe(
      "400 InvalidArgument",
    );
    const other = await start({ largestCopy: 6 });
    await other.client.send(new CreateBucketCommand({ Bucket }));
    other.server.buckets.get(Bucket)?.objects.set(source, stored(source) ?? expect.fail());
    const tooLarge = new CopyObjectCommand({ Bucket, Key, CopySource });
    expect(await failure(other.client.send(tooLarge))).toBe("400 InvalidRequest");
  });

  it("may fail with status 200, and have stored nothing", async () => {
    const copyFailures = ["InternalError", "SlowDown"];
    const other = await start({ copyFailures });
    await other.client.send(new CreateBucketCommand({ Bucket }));
    await put({ Key: source });
    other.server.buckets.get(Bucket)?.objects.set(source, stored(source) ?? expect.fail());
    const send = () => other.client.send(new CopyObjectCommand({ Bucket, Key, CopySource }));
    await expect(send()).rejects.toMatchObject({ name: "InternalError" });
    expect(other.server.requests.at(-1)).toMatchObject({ operation: "CopyObject", status: 200 });
    await expect(send()).rejects.toMatchObject({ name: "SlowDown" });
    expect(other.server.buckets.get(Bucket)?.objects.has(Key)).toBe(false);
    await send();
  });
});

describe("parts that are copied", () => {
  const whole = bytes(6 * MiB);
  const fullObject = { ChecksumAlgorithm: "CRC32", ChecksumType: "FULL_OBJECT" } as const;
  const copyPart = (UploadId: string, PartNumber: number, more: Partial<UploadPartCopyCommandInput> = {}) =>
    client.send(new UploadPartCopyCommand({ Bucket, Key, UploadId, PartNumber, CopySource, ...more }));

  it("make an object with a checksum of all its bytes", async () => {
    await put({ Key: source, Body: whole });
    const id = await begin(fullObject);
    const ranges = [`bytes=0-${5 * MiB - 1}`, `bytes=${5 * MiB}-${6 * MiB - 1}`];
    const parts = await Promise.all(
      ranges.map(async (CopySourceRange, index) => {
        const { CopyPartResult } = await copyPart(id, index + 1, { CopySourceRange });
        return { PartNumber: index + 1, ETag: CopyPartResult?.ETag, ChecksumCRC32: CopyPartResult?.ChecksumCRC32 };
      }),
    );
    expect(parts[1]?.ChecksumCRC32).toBe(checksumOf("CRC32", whole.subarray(5 * MiB)));
    const reply = await complete(id, parts, { ChecksumType: "FULL_OBJECT", ChecksumCRC32: checksumOf("CRC32", whole) });
    expect(reply.ChecksumCRC32).toBe(checksumOf("CRC32", whole));
    expect(stored()?.body.equals(whole)).toBe(true);
  });

  it("are of a source that is there, of a range within it, and of an upload", async () => {
    const { ETag } = await put({ Key: source });
    const id = await begin(fullObject);
    const ofRange = (CopySourceRange: string) => failure(copyPart(id, 1, { CopySourceRange }));
    expect(await ofRange("bytes=0-6")).toBe("no failure");
    for (const range of ["bytes=0-7", "bytes=3-", "bytes=-3", "bytes=5-3", "0-6"]) {
      expect(await ofRange(range), range).toBe("400 InvalidArgument");
    }
    expect(await failure(copyPart(id, 1))).toBe("no failure");
    expect(await failure(copyPart(id, 1, { CopySourceIfMatch: ETag }))).toBe("no failure");
    expect(await failure(copyPart(id, 1, { CopySourceIfMatch: '"other"' }))).toBe("412 PreconditionFailed");
    expect(await failure(copyPart(id, 1, { CopySource: `${Bucket}/gone` }))).toBe("404 NoSuchKey");
    expect(await failure(copyPart(id, 10_001))).toBe("400 InvalidArgument");
    expect(await failure(copyPart("none", 1))).toBe("404 NoSuchUpload");
  });
});

import { createHash } from "node:crypto";
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from "@aws-sdk/client-s3";
import { describe, expect, it } from "vitest";
import { checksumOf } from "./checksums.ts";
import {
  Bucket,
  client,
  connectTo,
  failure,
  Key,
  overSocket,
  put,
  raw,
  rawFailure,
  serveEachTest,
  server,
  stored,
} from "./harness.ts";

serveEachTest();

describe("objects", () => {
  it("make round trips", async () => {
    const reply = await put({
      Key: "räum/a b+c/../d?e#f%",
      ContentType: "text/plain",
      CacheControl: "no-store",
      StorageClass: "STANDARD_IA",
      Metadata: { Name: "value" },
    });
    expect(reply.ETag).toBe(`"${createHash("md5").update("content").digest("hex")}"`);
    const get = await client.send(new GetObjectCommand({ Bucket, Key: "räum/a b+c/../d?e#f%" }));
    expect(await get.Body?.transformToString()).toBe("content");
    expect(get).toMatchObject({
      ContentLength: 7,
      ContentType: "text/plain",
      CacheControl: "no-store",
      StorageClass: "STANDARD_IA",
      Metadata: { name: "value" },
      ETag: reply.ETag,
      LastModified: expect.any(Date),
      ChecksumCRC32: reply.ChecksumCRC32,
      ChecksumType: "FULL_OBJECT",
    });
    const operations = server.requests.map(({ operation, status }) => `${operation} ${status}`);
    expect(operations).toEqual(["CreateBucket 200", "PutObject 200", "GetObject 200"]);
    expect(server.requests[1]).toMatchObject({ method: "PUT", bodyBytes: 7, query: { "x-id": "PutObject" } });
  });

  it("have a CRC64NVME when they come without a checksum", async () => {
    const bare = connectTo(server.endpoint, { requestChecksumCalculation: "WHEN_REQUIRED" });
    await bare.send(new PutObjectCommand({ Bucket, Key, Body: "123456789" }));
    const head = await client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: "ENABLED" }));
    expect(head).toMatchObject({ ChecksumCRC64NVME: "rosUhgp5mIg=", ChecksumType: "FULL_OBJECT" });
  });

  it("show their checksum only when asked", async () => {
    await put();
    expect(await client.send(new HeadObjectCommand({ Bucket, Key }))).not.toHaveProperty("ChecksumCRC32");
    const head = await client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: "ENABLED" }));
    expect(head.ChecksumCRC32).toBe(checksumOf("CRC32", Buffer.from("content")));
    expect(await rawFailure({ method: "GET", headers: { "x-amz-checksum-mode": "YES" } })).toBe("400 InvalidRequest");
  });

  it("that a test damages are noticed by the SDK", async () => {
    await put();
    const object = stored();
    if (object !== undefined) object.body = Buffer.from("CONTENT");
    const get = await client.send(new GetObjectCommand({ Bucket, Key }));
    await expect(get.Body?.transformToString()).rejects.toThrow(/checksum mismatch/i);
  });

  it("are missing with an error that has a body only for GET", async () => {
    expect(await failure(client.send(new GetObjectCommand({ Bucket, Key })))).toBe("404 NoSuchKey");
    expect(await failure(client.send(new HeadObjectCommand({ Bucket, Key })))).toBe("404 NotFound");
    const get = await raw({ method: "GET" });
    expect(get).toMatchObject({ status: 404, code: "NoSuchKey", headers: { "x-amz-request-id": expect.any(String) } });
    expect(get.text).toMatch(/^<\?xml .*\?>\n<Error><Code>.*<Message>.*<RequestId>.*<\/Error>$/);
    expect(await overSocket("HEAD")).toMatch(/^HTTP\/1.1 404 [^<]*\r\n\r\n$/);
    expect(await failure(client.send(new DeleteObjectCommand({ Bucket, Key })))).toBe("no failure");
  });

  it.each([
    ["bytes=0-3", 206, "cont", "bytes 0-3/7"],
    ["bytes=3-", 206, "tent", "bytes 3-6/7"],
    ["bytes=-2", 206, "nt", "bytes 5-6/7"],
    ["bytes=-20", 206, "content", "bytes 0-6/7"],
    ["bytes=6-100", 206, "t", "bytes 6-6/7"],
    ["bytes=3-1", 200, "content", undefined],
    ["lines=1-2", 200, "content", undefined],
  ])("are read in the range %s", async (Range, status, content, range) => {
    await put();
    const get = await client.send(new GetObjectCommand({ Bucket, Key, Range }));
    expect(await get.Body?.transformToString()).toBe(content);
    expect(get).toMatchObject({ $metadata: { httpStatusCode: status }, ContentLength: content.length });
    expect(get.ContentRange).toBe(range);
    expect(get.ChecksumCRC32 !== undefined).toBe(content === "content");
  });

  it("have no range beyond their end", async () => {
    await put();
    const get = (Range: string) => failure(client.send(new GetObjectCommand({ Bucket, Key, Range })));
    expect(await get("bytes=7-")).toBe("416 InvalidRange");
    expect(await get("bytes=-0")).toBe("416 InvalidRange");
    expect(await failure(client.send(new HeadObjectCommand({ Bucket, Key, Range: "bytes=9-" })))).toMatch(/^416 /);
    await put({ Body: "" });
    expect(await get("bytes=0-")).toBe("416 InvalidRange");
  });

  it("are read under conditions", async () => {
    const { ETag } = await put();
    const get = (condition: object) => failure(client.send(new GetObjectCommand({ Bucket, Key, ...condition })));
    expect(await get({ IfMatch: ETag })).toBe("no failure");
    expect(await get({ IfMatch: '"other"' })).toBe("412 PreconditionFailed");
    expect(await get({ IfNoneMatch: ETag })).toMatch(/^304 /);
  });

  it("have limits", async () => {
    expect(await failure(put({ Key: "ä".repeat(512) }))).toBe("no failure");
    expect(await failure(put({ Key: `${"ä".repeat(512)}x` }))).toBe("400 KeyTooLongError");
    expect(await failure(put({ Metadata: { name: "x".repeat(2044) } }))).toBe("no failure");
    expect(await failure(put({ Metadata: { name: "x".repeat(2045) } }))).toBe("400 MetadataTooLarge");
    expect(await failure(put({ Metadata: { name: "ü" } }))).toBe("403 SignatureDoesNotMatch");
    expect(await rawFailure({ headers: { "x-amz-storage-class": "CHEAP" } })).toBe("400 InvalidStorageClass");
    expect(await rawFailure({ headers: { "x-amz-server-side-encryption": "ROT13" } })).toBe("400 InvalidArgument");
  });

  it("are written once under If-None-Match: *", async () => {
    const attempts = Array.from({ length: 8 }, () => failure(put({ IfNoneMatch: "*" })));
    const outcomes = (await Promise.all(attempts)).sort();
    expect(outcomes).toEqual([...Array(7).fill("412 PreconditionFailed"), "no failure"]);
    expect(await failure(put({ IfNoneMatch: '"etag"' }))).toBe("501 NotImplemented");
    expect(await failure(put())).toBe("no failure");
  });

  it("are replaced under If-Match, by one of several, and only while they are there as they were", async () => {
    const { ETag } = await put();
    expect(await failure(put({ Key: "other", IfMatch: ETag }))).toBe("404 NoSuchKey");
    expect(await failure(put({ IfMatch: '"other"' }))).toBe("412 PreconditionFailed");
    for (const IfMatch of ["*", "other", '""']) expect(await failure(put({ IfMatch }))).toBe("501 NotImplemented");
    expect(await failure(put({ IfMatch: ETag, IfNoneMatch: "*" }))).toBe("501 NotImplemented");
    const attempts = Array.from({ length: 4 }, (_, n) => failure(put({ IfMatch: ETag, Body: `new ${n}` })));
    const outcomes = (await Promise.all(attempts)).sort();
    expect(outcomes).toEqual([...Array(3).fill("412 PreconditionFailed"), "no failure"]);
  });

  it("are listed in the order of their bytes", async () => {
    // In UTF-16 the last two would come the other way around.
    const keys = ["B", "a b", "a/1", "a/2", "é", "\uffee", "\u{1f600}"];
    for (const key of [...keys].reverse()) await put({ Key: key });
    const list = async (more: object) => {
      const reply = await client.send(new ListObjectsV2Command({ Bucket, ...more }));
      return { ...reply, keys: reply.Contents?.map((item) => item.Key) ?? [] };
    };
    expect(await list({})).toMatchObject({ keys, KeyCount: 7, IsTruncated: false, MaxKeys: 1000 });
    expect((await list({})).Contents?.[0]).toMatchObject({
      Size: 7,
      ChecksumType: "FULL_OBJECT",
      StorageClass: "STANDARD",
    });
    expect((await list({ Prefix: "a" })).keys).toEqual(["a b", "a/1", "a/2"]);
    expect((await list({ StartAfter: "a/1", MaxKeys: 2 })).keys).toEqual(["a/2", "é"]);
    expect((await list({ EncodingType: "url" })).keys.slice(1, 5)).toEqual(["a+b", "a/1", "a/2", "%C3%A9"]);
    const seen: unknown[] = [];
    let ContinuationToken: string | undefined;
    do {
      const page = await list({ MaxKeys: 3, ContinuationToken });
      seen.push(...page.keys);
      ContinuationToken = page.NextContinuationToken;
    } while (ContinuationToken !== undefined);
    expect(seen).toEqual(keys);
    expect(await list({ MaxKeys: 0 })).toMatchObject({ keys: [], IsTruncated: false });
    expect(await failure(list({ ContinuationToken: "made up" }))).toBe("400 InvalidArgument");
    expect(await failure(list({ MaxKeys: -1 }))).toBe("400 InvalidArgument");
    expect(await failure(list({ EncodingType: "base64" }))).toBe("400 InvalidArgument");
    expect(await rawFailure({ method: "GET", path: `/${Bucket}?list-type=1` })).toBe("400 InvalidArgument");
  });
});

import { connect } from "node:net";
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutBucketPolicyCommand,
  PutObjectCommand,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { describe, expect, it } from "vitest";
import { checksumOf } from "./s3/checksums.ts";
import {
  Bucket,
  bytes,
  client,
  failure,
  Key,
  MiB,
  put,
  rawFailure,
  serveEachTest,
  server,
  start,
} from "./s3/harness.ts";

serveEachTest();

describe("the server", () => {
  it("answers what it does not know, or is told not to know, with 501", async () => {
    const lesser = await start({ without: ["PutBucketPolicy"] });
    await lesser.client.send(new CreateBucketCommand({ Bucket }));
    const policy = new PutBucketPolicyCommand({ Bucket, Policy: "{}" });
    expect(await failure(lesser.client.send(policy))).toBe("501 NotImplemented");
    expect(lesser.server.requests.at(-1)).toMatchObject({ operation: "PutBucketPolicy", status: 501 });
    expect(await failure(client.send(new GetObjectTaggingCommand({ Bucket, Key })))).toBe("501 NotImplemented");
    const listing = { path: `/${Bucket}?list-type=2`, headers: { "x-amz-copy-source": "a/b" } };
    expect(await rawFailure({ method: "GET", ...listing })).toBe("501 NotImplemented");
    expect(await failure(put({ Tagging: "a=b" }))).toBe("501 NotImplemented");
    const conditional = new DeleteObjectCommand({ Bucket, Key, IfMatch: '"etag"' });
    expect(await failure(client.send(conditional))).toBe("501 NotImplemented");
    expect(await failure(client.send(new ListObjectsV2Command({ Bucket, Delimiter: "/" })))).toBe("501 NotImplemented");
    expect(await rawFailure({ method: "PATCH" })).toBe("501 NotImplemented");
    expect(server.requests.at(-1)).toMatchObject({ operation: "PATCH", status: 501 });
  });

  it("may keep no checksums", async () => {
    const lesser = await start({ checksums: false });
    await lesser.client.send(new CreateBucketCommand({ Bucket }));
    const Body = bytes(6 * MiB);
    const params = { Bucket, Key, Body, ChecksumAlgorithm: "CRC32", ChecksumType: "FULL_OBJECT" } as const;
    const reply = await new Upload({ client: lesser.client, params }).done();
    expect(reply).not.toHaveProperty("ChecksumCRC32");
    const small = await lesser.client.send(new PutObjectCommand({ Bucket, Key: "small", Body: "b" }));
    expect(small).not.toHaveProperty("ChecksumCRC32");
    const head = await lesser.client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: "ENABLED" }));
    expect(head).not.toHaveProperty("ChecksumCRC32");
    const wrong = new PutObjectCommand({ Bucket, Key, Body: "b", ChecksumCRC32: checksumOf("CRC32", Body) });
    expect(await failure(lesser.client.send(wrong))).toBe("400 BadDigest");
  });

  it("forgets on reset", async () => {
    await put();
    server.reset();
    expect(server.requests).toEqual([]);
    expect(await failure(put())).toBe("404 NoSuchBucket");
  });

  it("closes at once, and twice", async () => {
    const socket = connect(Number(new URL(server.endpoint).port), "127.0.0.1");
    const ended = new Promise((resolve) => socket.on("close", resolve));
    await new Promise((resolve) => socket.on("connect", resolve));
    await put();
    await Promise.all([server.close(), server.close()]);
    await ended;
    await expect(put()).rejects.toThrow(/ECONNREFUSED/);
  });
});

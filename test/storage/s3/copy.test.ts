/** Copies inside a bucket: the requests, their conditions, lost answers, and the proof. */
import { createHash, randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import { S3Client } from "@aws-sdk/client-s3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { DocprocError } from "../../../src/core/errors.ts";
import { storageDrivers } from "../../../src/storage/registry.ts";
import { copyObject } from "../../../src/storage/s3/copy.ts";
import type { CopyOptions, StorageService } from "../../../src/storage/service.ts";
import { awsSettings } from "../../support/aws.ts";
import { bodyOf } from "../../support/body.ts";
import { type Fault, type FaultProxy, startFaultProxy } from "../../support/fault-proxy.ts";
import { type S3Server, type S3ServerOptions, startS3Server } from "../../support/s3-server.ts";

const never = new AbortController().signal;
const mebibyte = 1024 * 1024;
const from = "d1/old/a+b%41 c.bin";
const to = "d2/new/a.bin";
const bytes = randomBytes(12 * mebibyte);
const lost: Fault = { kind: "lose-reply" };
/** Of one request each, so that the object takes one, or three. */
const ways = [
  ["at once", "CopyObject", "CopyObject", 12 * mebibyte],
  ["in parts", "UploadPartCopy", "CompleteMultipartUpload", 5 * mebibyte],
] as const;

let server: S3Server;
let proxy: FaultProxy;
let storage: StorageService;
let client: S3Client;
let settings: ReturnType<typeof awsSettings>;

beforeEach(() => open());
afterEach(close);

async function open(options: S3ServerOptions = {}) {
  server = await startS3Server({ largestCopy: 12 * mebibyte, ...options });
  proxy = await startFaultProxy(server.endpoint);
  settings = awsSettings(proxy.endpoint, { retries: 1, bucketOwner: "123456789012" });
  for await (const _ of storageDrivers.s3.provision(settings, { plan: false, signal: never }));
  storage = await storageDrivers.s3.open(settings);
  client = new S3Client({ endpoint: proxy.endpoint, forcePathStyle: true, maxAttempts: 2 });
  await storage.put(from, bodyOf(bytes), { ...described, size: bytes.length, signal: never });
  proxy.log.length = 0;
}
async function close() {
  client.destroy();
  await storage.close();
  await proxy.close();
  await server.close();
}

const described = { contentType: "text/html", catalog: "test" };
const expected: CopyOptions = {
  ...described,
  size: bytes.length,
  crc32: crc32(bytes),
  sha256: createHash("sha256").update(bytes).digest("hex"),
  signal: never,
};
const held = () => server.buckets.get(settings.bucket ?? "") ?? expect.fail("there is no bucket");
const sent = (operation: string) => proxy.log.filter((request) => request.operation === operation);
const operations = () => proxy.log.map(({ operation }) => operation);
const copy = (atOnce: number, more: Partial<CopyOptions> = {}) =>
  copyObject(from, { client, bucket: settings.bucket ?? "", key: to }, { ...expected, ...more }, settings, atOnce);

/** Does something when a request arrives, before it is forwarded. */
function upon(operation: string, act: () => void): void {
  const matches = (request: { operation: string }) => {
    if (request.operation === operation) act();
    return false;
  };
  proxy.inject({ operation: matches, action: { kind: "reset" } });
}

function overwrite(key: string, body: Buffer): void {
  const object = held().objects.get(from) ?? expect.fail("nothing is stored");
  const value = Buffer.alloc(4);
  value.writeUInt32BE(crc32(body));
  const checksum = { algorithm: "CRC32", type: "FULL_OBJECT", value: value.toString("base64") } as const;
  held().objects.set(key, { ...object, body, checksum, etag: createHash("md5").update(body).digest("hex") });
}

function expectNothingMade() {
  expect(held().objects.has(to)).toBe(false);
  expect(held().uploads.size).toBe(0);
}

test("a copy of the driver is one request beside two looks, and its answer proves it", async () => {
  expect(await storage.copy(from, to, expected)).toEqual({ size: bytes.length, crc32: crc32(bytes), bytesSent: 0 });
  expect(operations()).toEqual(["HeadObject", "HeadObject", "CopyObject"]);
  const [request] = sent("CopyObject");
  expect(request?.headers).toMatchObject({
    "if-none-match": "*",
    "x-amz-copy-source-if-match": `"${held().objects.get(from)?.etag}"`,
    "x-amz-source-expected-bucket-owner": "123456789012",
    "x-amz-metadata-directive": "REPLACE",
    "x-amz-checksum-algorithm": "CRC32",
  });
  expect(held().objects.get(to)).toMatchObject({ contentType: "text/html", metadata: { "docproc-catalog": "test" } });
});

test("a copy in parts has them one after the other, each from the object that was looked at", async () => {
  expect(await copy(5 * mebibyte)).toEqual({ size: bytes.length, crc32: crc32(bytes), bytesSent: 0 });
  const parts = sent("UploadPartCopy");
  expect(parts.map(({ headers }) => headers["x-amz-copy-source-range"]).toSorted()).toEqual(
    [
      `bytes=${10 * mebibyte}-${12 * mebibyte - 1}`,
      `bytes=0-${5 * mebibyte - 1}`,
      `bytes=${5 * mebibyte}-${10 * mebibyte - 1}`,
    ].toSorted(),
  );
  for (const { headers } of parts) expect(headers["x-amz-copy-source-if-match"]).toMatch(/^"/);
  expect(sent("CompleteMultipartUpload")[0]?.headers["if-none-match"]).toBe("*");
  expect(held().objects.get(to)).toMatchObject({ contentType: "text/html", metadata: { "docproc-catalog": "test" } });
  expect(held().objects.get(to)?.body.equals(bytes)).toBe(true);
});

describe.each(ways)("a copy %s", (_how, work, completion, atOnce) => {
  test("meets its own success when the answer is lost", async () => {
    proxy.inject({ operation: completion, nth: 1, action: lost });
    expect(await copy(atOnce)).toMatchObject({ size: bytes.length, bytesSent: 0 });
    expect(sent(completion)).toHaveLength(2);
    expect(held().objects.get(to)?.body.equals(bytes)).toBe(true);
    expect(held().uploads.size).toBe(0);
  });

  test("meets its own success when the answer to a replacement is lost", async () => {
    overwrite(to, Buffer.from("damaged"));
    const replaces = await storage.stat(to, never);
    proxy.inject({ operation: completion, nth: 1, action: lost });
    expect(await copy(atOnce, { replaces })).toMatchObject({ size: bytes.length });
    expect(sent(completion)[0]?.headers["if-match"]).toBe(replaces?.version);
    expect(held().objects.get(to)?.body.equals(bytes)).toBe(true);
  });

  test("leaves nothing when no answer comes", async () => {
    proxy.inject({ operation: completion, action: lost });
    // Nor one to the look that follows a refusal.
    proxy.inject({ operation: "HeadObject", nth: 3, times: 9, action: { kind: "reset" } });
    await expect(copy(atOnce)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expectNothingMade();
  });

  test("never removes what was there to be replaced", async () => {
    overwrite(to, Buffer.from("damaged"));
    const replaces = await storage.stat(to, never);
    proxy.inject({ operation: completion, action: { kind: "status", status: 500 } });
    await expect(copy(atOnce, { replaces })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(copy(atOnce, { replaces })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(held().objects.get(to)?.body.toString()).toBe("damaged");
    expect(sent("DeleteObject")).toEqual([]);
  });

  test.each([
    ["has changed", () => overwrite(from, randomBytes(bytes.length))],
    ["has gone", () => void held().objects.delete(from)],
  ])("is not made when the source %s since it was looked at", async (_what, change) => {
    upon(work, change);
    expect(await copy(atOnce)).toBeUndefined();
    expectNothingMade();
  });

  test("leaves what came to its key in between", async () => {
    upon(completion, () => overwrite(to, Buffer.from("theirs")));
    await expect(copy(atOnce)).rejects.toMatchObject({ code: "CONFLICT" });
    expect(held().objects.get(to)?.body.toString()).toBe("theirs");
    expect(held().uploads.size).toBe(0);
  });

  test("is proved by the checksum of what was stored", async () => {
    upon(work, () => {
      const object = held().objects.get(from) ?? expect.fail("nothing is stored");
      object.body = randomBytes(bytes.length);
    });
    await copy(atOnce).then(
      (made) => expect(made).toBeUndefined(),
      (error) => expect(error).toMatchObject({ code: "INTEGRITY" }),
    );
    expectNothingMade();
  });

  test("is left to a put where the endpoint refuses it", async () => {
    proxy.inject({ operation: work, action: { kind: "status", status: 403, code: "InvalidObjectState" } });
    expect(await copy(atOnce)).toBeUndefined();
    expectNothingMade();
    proxy.clear();
    await close();
    await open({ without: [work] });
    expect(await copy(atOnce)).toBeUndefined();
    expectNothingMade();
  });

  test("leaves nothing when it fails for good, or is stopped", async () => {
    proxy.inject({ operation: work, action: { kind: "status", status: 503, code: "SlowDown" } });
    await expect(copy(atOnce)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    proxy.clear();
    const abort = new AbortController();
    proxy.inject({ operation: work, action: { kind: "delay", ms: 200 } });
    upon(work, () => setTimeout(() => abort.abort(new DocprocError("CANCELLED", "stop")), 50));
    await expect(copy(atOnce, { signal: abort.signal })).rejects.toMatchObject({ code: "CANCELLED" });
    expectNothingMade();
  });

  test("is tried again after an error that comes with status 200", async () => {
    await close();
    const copyFailures = ["InternalError"];
    await open({ copyFailures });
    expect(await copy(atOnce)).toMatchObject({ size: bytes.length });
    expect(held().objects.get(to)?.body.equals(bytes)).toBe(true);
    held().objects.delete(to);
    copyFailures.push(...Array(12).fill("InternalError"));
    await expect(copy(atOnce)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expectNothingMade();
  });
});

test("a copy is not even tried where nothing can prove it", async () => {
  expect(await copy(12 * mebibyte, { crc32: null })).toBeUndefined();
  await close();
  await open({ checksums: false });
  expect(await copy(12 * mebibyte)).toBeUndefined();
  expect(operations()).toEqual(["HeadObject", "HeadObject"]);
});

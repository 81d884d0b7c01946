/** How one object travels to S3: in which parts, proved by what, and what stays behind when it does not arrive. */
import { randomBytes } from "node:crypto";
import { S3Client } from "@aws-sdk/client-s3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { storageDrivers } from "../../../src/storage/registry.ts";
import { type PartPlan, planParts } from "../../../src/storage/s3/parts.ts";
import { sendObject } from "../../../src/storage/s3/put.ts";
import { PartMemory } from "../../../src/storage/s3/windows.ts";
import type { StorageService } from "../../../src/storage/service.ts";
import { awsSettings } from "../../support/aws.ts";
import { bodyOf } from "../../support/body.ts";
import { type FaultProxy, startFaultProxy } from "../../support/fault-proxy.ts";
import { type S3Server, startS3Server } from "../../support/s3-server.ts";

const never = new AbortController().signal;
const mebibyte = 1024 * 1024;
const options = { contentType: "text/plain", catalog: "test", signal: never };

describe("planning parts", () => {
  const gibibyte = 1024 * mebibyte;
  const memory = 64 * mebibyte;

  test("makes larger parts of a large file, as far as some of them fit into the memory", () => {
    expect(planParts(512 * mebibyte, undefined, memory).partSize).toBe(8 * mebibyte);
    expect(planParts(513 * mebibyte, undefined, memory).partSize).toBe(16 * mebibyte);
    expect(planParts(8 * gibibyte, undefined, memory).partSize).toBe(16 * mebibyte);
    expect(planParts(8 * gibibyte, undefined, 4 * memory).partSize).toBe(64 * mebibyte);
    expect(planParts(8 * gibibyte, undefined, memory / 4).partSize).toBe(8 * mebibyte);
  });

  test.each([
    ["an empty object", 0],
    ["300 MiB", 300 * mebibyte],
    ["what 8 MiB parts just reach", 10_000 * 8 * mebibyte],
    ["a byte more than that", 10_000 * 8 * mebibyte + 1],
    ["1 TiB", 1024 * gibibyte],
    ["5 TiB", 5 * 1024 * gibibyte],
    ["48 TiB", 48 * 1024 * gibibyte],
  ])("needs at most 10,000 parts of at most 5 GiB for %s", (_what, size) => {
    const { partSize } = planParts(size, undefined, memory);
    expect(Math.ceil(size / partSize)).toBeLessThanOrEqual(10_000);
    expect(partSize).toBeLessThanOrEqual(5 * gibibyte);
    expect(partSize).toBeGreaterThanOrEqual(5 * mebibyte);
  });

  test("keeps the part size that was asked for until it would not do", () => {
    expect(planParts(100 * mebibyte, 16 * mebibyte, memory).partSize).toBe(16 * mebibyte);
    expect(planParts(1024 * gibibyte, 16 * mebibyte, memory).partSize).toBeGreaterThan(100 * mebibyte);
  });

  test("lets a stream of unknown length grow beyond 2 TiB in 10,000 parts", () => {
    const { partSize, partsPerSize } = planParts(null, undefined, memory);
    let [reach, parts] = [0, 0];
    for (let size = partSize; parts + partsPerSize <= 10_000; size *= 2) {
      reach += size * partsPerSize;
      parts += partsPerSize;
    }
    expect(parts).toBe(10_000);
    expect(reach).toBeGreaterThan(2 * 1024 * gibibyte);
  });
});

describe("sending an object", () => {
  let server: S3Server;
  let proxy: FaultProxy;
  let client: S3Client;
  let storage: StorageService;
  let bucket: string;

  beforeEach(async () => {
    server = await startS3Server();
    proxy = await startFaultProxy(server.endpoint);
    await openBucket();
  });
  afterEach(async () => {
    client.destroy();
    await storage.close();
    await proxy.close();
    await server.close();
  });

  async function openBucket() {
    const settings = awsSettings(proxy.endpoint, { partSize: 5 * mebibyte, memory: 20 * mebibyte });
    for await (const _ of storageDrivers.s3.provision(settings, { plan: false, signal: never }));
    bucket = settings.bucket ?? "";
    client = new S3Client({ endpoint: proxy.endpoint, forcePathStyle: true });
    storage = await storageDrivers.s3.open(settings);
    proxy.log.length = 0;
  }

  const objects = () => server.buckets.get(bucket)?.objects ?? new Map();
  const uploads = () => server.buckets.get(bucket)?.uploads ?? new Map();
  const sent = (operation: string) => proxy.log.filter((request) => request.operation === operation);
  const put = (key: string, bytes: Buffer) => storage.put(key, bodyOf(bytes), { ...options, size: bytes.length });

  const stream = (bytes: Buffer) =>
    bodyOf(async function* () {
      for (let at = 0; at < bytes.length; at += 1_000_003) yield bytes.subarray(at, at + 1_000_003);
    });

  test("takes one request for a small object, and the answer proves it", async () => {
    await put("small", randomBytes(1000));
    expect(proxy.log.map(({ operation }) => operation)).toEqual(["PutObject"]);
  });

  test("knows an object that is larger than any answer may be", async () => {
    const bytes = Buffer.alloc(33 * mebibyte);
    await put("large", bytes);
    expect(await storage.stat("large", never)).toMatchObject({ size: bytes.length });
  });

  test("never overwrites, whatever the size", async () => {
    await put("small", randomBytes(1000));
    await put("large", randomBytes(11 * mebibyte));
    for (const request of [...sent("PutObject"), ...sent("CompleteMultipartUpload")]) {
      expect(request.headers["if-none-match"]).toBe("*");
    }
    expect(sent("CompleteMultipartUpload")).toHaveLength(1);
  });

  const growing: PartPlan = { partSize: 5 * mebibyte, partsPerSize: 2 };
  test.each([
    ["ends within the first parts", 7, [5, 2]],
    ["ends with the first parts", 10, [5, 5]],
    ["goes on by a byte that makes a part of its own", 10 + 1 / mebibyte, [5, 5, 1 / mebibyte]],
    ["grows once", 25, [5, 5, 10, 5]],
    ["grows twice", 35, [5, 5, 10, 10, 5]],
  ])("doubles the parts of a stream that %s", async (_what, mebibytes, parts) => {
    const bytes = randomBytes(mebibytes * mebibyte);
    const target = { client, bucket, key: "streamed" };
    const settings = awsSettings(proxy.endpoint);
    await sendObject(target, stream(bytes), growing, {
      ...options,
      size: null,
      settings,
      memory: new PartMemory(mebibyte),
    });
    const lengths = server.requests
      .filter(({ operation }) => operation === "UploadPart")
      .map(({ bodyBytes }) => bodyBytes);
    expect(lengths.toSorted((a, b) => a - b)).toEqual(parts.map((part) => part * mebibyte).toSorted((a, b) => a - b));
    expect(objects().get("streamed")?.body.equals(bytes)).toBe(true);
    expect(sent("CreateMultipartUpload")).toHaveLength(1);
    expect(sent("PutObject")).toHaveLength(0);
  });

  test("meets its own success when the answer to a small object is lost", async () => {
    const bytes = randomBytes(1000);
    proxy.inject({ operation: "PutObject", nth: 1, action: { kind: "lose-reply" } });
    await put("small", bytes);
    expect(sent("PutObject").map(({ status }) => status)).toEqual([200, 412]);
    expect(objects().get("small")?.body.equals(bytes)).toBe(true);
  });

  test("meets its own success when the answer to a completion is lost", async () => {
    const bytes = randomBytes(11 * mebibyte);
    proxy.inject({ operation: "CompleteMultipartUpload", nth: 1, action: { kind: "lose-reply" } });
    await put("large", bytes);
    expect(sent("CompleteMultipartUpload")).toHaveLength(2);
    expect(objects().get("large")?.body.equals(bytes)).toBe(true);
    expect(uploads().size).toBe(0);
  });

  test("does not take an object of another program for its own, and leaves it alone", async () => {
    await put("taken", Buffer.from("theirs"));
    await expect(put("taken", Buffer.from("ours!!"))).rejects.toMatchObject({ code: "CONFLICT" });
    expect(objects().get("taken")?.body.toString()).toBe("theirs");
  });

  test("repeats what was damaged on its way, and stores what was sent", async () => {
    const bytes = randomBytes(1000);
    proxy.inject({ operation: "PutObject", nth: 1, action: { kind: "flip-byte", offset: 500, in: "request" } });
    await put("small", bytes).catch(() => undefined);
    const stored = objects().get("small")?.body;
    expect(stored === undefined || stored.equals(bytes)).toBe(true);
  });

  test.each([
    ["a part", "UploadPart", { kind: "flip-byte", offset: 5000, in: "request" }, "INTEGRITY"],
    ["a part", "UploadPart", { kind: "status", status: 403, code: "AccessDenied" }, "ACCESS_DENIED"],
    ["a part", "UploadPart", { kind: "status", status: 500 }, "UNAVAILABLE"],
    ["the completion", "CompleteMultipartUpload", { kind: "status", status: 503, code: "SlowDown" }, "UNAVAILABLE"],
    ["the beginning", "CreateMultipartUpload", { kind: "status", status: 403, code: "AccessDenied" }, "ACCESS_DENIED"],
  ] as const)("leaves nothing when %s fails for good (%s, %o)", async (_what, operation, action, code) => {
    proxy.inject({ operation, action });
    await expect(put("large", randomBytes(16 * mebibyte))).rejects.toMatchObject({ code });
    expect(objects().size).toBe(0);
    expect(uploads().size).toBe(0);
  });

  test("names the failure of the upload, not that of the cleaning up after it", async () => {
    proxy.inject({ operation: "UploadPart", action: { kind: "status", status: 503, code: "SlowDown" } });
    proxy.inject({ operation: "AbortMultipartUpload", action: { kind: "status", status: 403, code: "AccessDenied" } });
    await expect(put("large", randomBytes(11 * mebibyte))).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  test("sends no further part once one has failed for good", async () => {
    proxy.inject({ operation: "UploadPart", nth: 1, action: { kind: "status", status: 403, code: "AccessDenied" } });
    proxy.inject({ operation: "UploadPart", action: { kind: "delay", ms: 200 } });
    await expect(put("large", randomBytes(100 * mebibyte))).rejects.toMatchObject({ code: "ACCESS_DENIED" });
    expect(sent("UploadPart").length).toBeLessThanOrEqual(4);
    expect(uploads().size).toBe(0);
  });

  test("aborts again when a part landed after the upload was aborted", async () => {
    proxy.inject({ operation: "UploadPart", action: { kind: "status", status: 403, code: "AccessDenied" } });
    // Answered, but not done: what S3 does while a part is still on its way.
    proxy.inject({ operation: "AbortMultipartUpload", nth: 1, action: { kind: "status", status: 204 } });
    await expect(put("large", randomBytes(11 * mebibyte))).rejects.toMatchObject({ code: "ACCESS_DENIED" });
    expect(sent("AbortMultipartUpload")).toHaveLength(2);
    expect(uploads().size).toBe(0);
  });

  test("refuses what the server stored otherwise, and removes it", async () => {
    const bytes = randomBytes(11 * mebibyte);
    await server.close();
    server = await startS3Server({ checksums: false });
    await proxy.close();
    proxy = await startFaultProxy(server.endpoint);
    await openBucket();
    // The object is damaged behind our back, between the completion and the look at it.
    proxy.inject({
      operation: (request) => {
        const stored = objects().get("large");
        if (request.operation === "HeadObject" && stored) stored.body = stored.body.subarray(1);
        return false;
      },
      action: { kind: "reset" },
    });
    await expect(put("large", bytes)).rejects.toMatchObject({ code: "INTEGRITY" });
    expect(objects().has("large")).toBe(false);
  });
});

describe("an endpoint that returns no checksums", () => {
  test("is believed on the size", async () => {
    const server = await startS3Server({ checksums: false });
    const settings = awsSettings(server.endpoint);
    for await (const _ of storageDrivers.s3.provision(settings, { plan: false, signal: never }));
    const storage = await storageDrivers.s3.open(settings);
    const stored = await storage.put("k", bodyOf(Buffer.from("12345")), { ...options, size: 5 });
    expect(stored).toEqual({ size: 5, crc32: null, bytesSent: 5 });
    expect(server.requests.map(({ operation }) => operation).slice(-2)).toEqual(["PutObject", "HeadObject"]);
    await storage.close();
    await server.close();
  });
});

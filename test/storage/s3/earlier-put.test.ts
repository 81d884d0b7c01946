/** What S3 still has of a put that was cut short: what is looked for, what is believed, and what is sent again. */
import { randomBytes } from "node:crypto";
import {
  AbortMultipartUploadCommand,
  CreateMultipartUploadCommand,
  S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import pMap from "p-map";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { storageDrivers } from "../../../src/storage/registry.ts";
import { EarlierPut } from "../../../src/storage/s3/earlier-put.ts";
import { storedParts } from "../../../src/storage/s3/parts.ts";
import type { BegunUpload, Checkpoint, SavedPart, StorageService } from "../../../src/storage/service.ts";
import { MemoryBody } from "../../../src/transfer/body.ts";
import { awsSettings } from "../../support/aws.ts";
import { bodyOf } from "../../support/body.ts";
import { type Fault, type FaultProxy, type ProxiedRequest, startFaultProxy } from "../../support/fault-proxy.ts";
import { partOf, partsStored } from "../../support/resumable.ts";
import { type S3Server, startS3Server } from "../../support/s3-server.ts";

const never = new AbortController().signal;
const mebibyte = 1024 * 1024;
const key = "d1/id/a.bin";

let server: S3Server;
let proxy: FaultProxy;
let client: S3Client;
/** Past the proxy. */
let direct: S3Client;
let storage: StorageService;
let bucket: string;

beforeEach(async () => {
  server = await startS3Server();
  proxy = await startFaultProxy(server.endpoint);
  const settings = awsSettings(proxy.endpoint, { partSize: 5 * mebibyte, retries: 1 });
  for await (const _ of storageDrivers.s3.provision(settings, { plan: false, signal: never }));
  bucket = settings.bucket ?? "";
  client = new S3Client({ endpoint: proxy.endpoint, forcePathStyle: true, maxAttempts: 1 });
  direct = new S3Client({ endpoint: server.endpoint, forcePathStyle: true });
  storage = await storageDrivers.s3.open(settings);
  proxy.log.length = 0;
});
afterEach(async () => {
  client.destroy();
  direct.destroy();
  await storage.close();
  await proxy.close();
  await server.close();
});

class Memory implements Checkpoint {
  begun: BegunUpload | undefined;
  readonly saved = new Map<number, SavedPart>();

  part(number: number): SavedPart | undefined {
    return this.saved.get(number);
  }
  begin(upload: BegunUpload): void {
    this.begun = upload;
    this.saved.clear();
  }
  save(number: number, part: SavedPart): void {
    this.saved.set(number, part);
  }
}

const target = () => ({ client, bucket, key });
const content = (checkpoint: Checkpoint, size: number) => {
  const options = { contentType: "text/plain", catalog: "test", signal: never };
  return { ...options, size, checkpoint };
};
const operations = () => proxy.log.splice(0).map(({ operation }) => operation);

/** An upload with parts of these contents. */
async function begin(contents: readonly Buffer[]): Promise<string> {
  const { UploadId = "" } = await direct.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: key }));
  const send = async (Body: Buffer, index: number) =>
    await direct.send(new UploadPartCommand({ Bucket: bucket, Key: key, UploadId, PartNumber: index + 1, Body }));
  await pMap(contents, send, { concurrency: 16 });
  return UploadId;
}

describe("the parts that are stored", () => {
  test("are all of them, over more than one page", async () => {
    const contents = Array.from({ length: 1_050 }, (_, index) => Buffer.alloc((index % 7) + 1, index));
    const uploadId = await begin(contents);
    const stored = await storedParts(target(), uploadId, never);
    expect(operations()).toEqual(["ListParts", "ListParts"]);
    const etags = server.buckets.get(bucket)?.uploads.get(uploadId)?.parts;
    expect([...stored.keys()].sort((a, b) => a - b)).toEqual(contents.map((_, index) => index + 1));
    for (const [number, part] of stored) {
      expect(part).toMatchObject({
        PartNumber: number,
        size: ((number - 1) % 7) + 1,
        ETag: `"${etags?.get(number)?.etag}"`,
      });
    }
  });

  test("are asked for once when they fit into a page, and when there are none", async () => {
    expect((await storedParts(target(), await begin([Buffer.from("a")]), never)).size).toBe(1);
    expect(operations()).toEqual(["ListParts"]);
    expect((await storedParts(target(), await begin([]), never)).size).toBe(0);
    expect(operations()).toEqual(["ListParts"]);
  });

  test("of an upload that is gone are a failure", async () => {
    const uploadId = await begin([]);
    await direct.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId: uploadId }));
    await expect(storedParts(target(), uploadId, never)).rejects.toMatchObject({ name: "NoSuchUpload" });
  });
});

describe("looking for an earlier put", () => {
  const saved: SavedPart = { size: 4, sha256: "digest", etag: '"etag"' };

  async function lookFor(uploadId: string, size = 4): Promise<EarlierPut> {
    const memory = new Memory();
    memory.begin({ uploadId, partSize: 4 });
    memory.save(1, saved);
    return await EarlierPut.find(target(), content(memory, size), never);
  }

  test("sends no request if no upload was begun", async () => {
    const earlier = await EarlierPut.find(target(), content(new Memory(), 4), never);
    expect(earlier).toMatchObject({ begun: undefined, completed: undefined, storedBytes: 0 });
    expect(operations()).toEqual([]);
  });

  test("finds the upload that was begun", async () => {
    const uploadId = await begin([Buffer.from("1234")]);
    const earlier = await lookFor(uploadId);
    expect(earlier).toMatchObject({ begun: { uploadId, partSize: 4 }, completed: undefined, storedBytes: 4 });
  });

  test("finds the object where the upload was completed", async () => {
    await storage.put(key, bodyOf(Buffer.from("1234")), { ...content(new Memory(), 4) });
    const earlier = await lookFor("completed");
    expect(earlier).toMatchObject({ completed: { size: 4, catalog: "test" }, storedBytes: 4 });
    expect(earlier.has(1, 4, "digest")).toEqual({ PartNumber: 1, ETag: '"etag"', size: 4 });
    expect(() => earlier.has(1, 4, "other digest")).toThrow(expect.objectContaining({ code: "INTEGRITY" }));
    expect(() => earlier.has(2, 4, "digest")).toThrow(expect.objectContaining({ code: "INTEGRITY" }));
  });

  test("finds nothing where upload and object are gone, or the object has another size", async () => {
    expect(await lookFor("gone")).toMatchObject({ begun: undefined, completed: undefined });
    await storage.put(key, bodyOf(Buffer.from("1234")), { ...content(new Memory(), 4) });
    expect(await lookFor("gone", 5)).toMatchObject({ begun: undefined, completed: undefined });
  });

  test.each([
    ["the list of parts", "ListParts", 403],
    ["the list of parts", "ListParts", 500],
    ["the look at the object", "HeadObject", 403],
    ["the look at the object", "HeadObject", 500],
  ])("concludes nothing from a failure of %s (%s, %i)", async (_what, operation, status) => {
    proxy.inject({ operation, action: { kind: "status", status } });
    await expect(lookFor("gone")).rejects.toMatchObject({ $metadata: { httpStatusCode: status } });
  });
});

describe("a part that is stored", () => {
  const bytes = Buffer.from("1234");
  let etag: string;
  let uploadId: string;
  beforeEach(async () => {
    uploadId = await begin([bytes]);
    etag = server.buckets.get(bucket)?.uploads.get(uploadId)?.parts.get(1)?.etag ?? "";
  });

  async function has(saved: Partial<SavedPart>, number = 1, size = 4, sha256 = "digest") {
    const memory = new Memory();
    memory.begin({ uploadId, partSize: 4 });
    memory.save(1, { size: 4, sha256: "digest", etag: `"${etag}"`, ...saved });
    return (await EarlierPut.find(target(), content(memory, 8), never)).has(number, size, sha256);
  }

  test("is left out when it was acknowledged with just these bytes", async () => {
    expect(await has({})).toMatchObject({ PartNumber: 1, size: 4, ETag: `"${etag}"` });
  });

  test("is the same one whether its tag has quotes or not", async () => {
    expect(await has({ etag })).toBeDefined();
  });

  test.each<[string, Partial<SavedPart>, number?, number?, string?]>([
    ["the bytes up to its end were others", { sha256: "other" }],
    ["the bytes up to its end are others now", {}, 1, 4, "other"],
    ["it had another size", { size: 3 }],
    ["it has another size now", {}, 1, 3],
    ["it was acknowledged as another", { etag: '"other"' }],
    ["nothing was remembered of it", {}, 2],
  ])("is sent again when %s", async (_what, saved, number, size, sha256) => {
    expect(await has(saved, number, size, sha256)).toBeUndefined();
  });

  test("is sent again if another program has replaced it", async () => {
    await direct.send(
      new UploadPartCommand({ Bucket: bucket, Key: key, UploadId: uploadId, PartNumber: 1, Body: "5678" }),
    );
    expect(await has({})).toBeUndefined();
  });
});

describe("a put with a checkpoint", () => {
  const size = 16 * mebibyte;
  const bytes = randomBytes(size);

  /** Puts once, and says how many bytes were sent and skipped according to whom. */
  async function put(memory: Memory, body = bytes) {
    const told = { sent: 0, skipped: 0 };
    const result = await storage
      .put(key, new MemoryBody(body), {
        ...content(memory, size),
        onProgress: (count) => {
          told.sent += count;
        },
        onSkipped: (count) => {
          told.skipped += count;
        },
      })
      .catch((error: unknown) => error);
    return { ...told, result };
  }
  const stored = () => server.buckets.get(bucket)?.objects.get(key)?.body;
  const sentParts = () =>
    proxy.log
      .splice(0)
      .map(partOf)
      .filter((part) => part > 0)
      .toSorted((a, b) => a - b);

  test("tells of every byte once, as sent or as skipped", async () => {
    const memory = new Memory();
    proxy.inject({ operation: "CompleteMultipartUpload", action: { kind: "status", status: 500 } });
    const first = await put(memory);
    expect(first).toMatchObject({ sent: size, skipped: 0, result: { code: "UNAVAILABLE" } });
    memory.saved.delete(2);
    memory.saved.delete(4);
    proxy.clear();
    sentParts();
    const second = await put(memory);
    expect(second).toMatchObject({ sent: 6 * mebibyte, skipped: 10 * mebibyte, result: { bytesSent: 6 * mebibyte } });
    expect(sentParts()).toEqual([2, 4]);
    expect(stored()?.equals(bytes)).toBe(true);
  });

  test.each([
    ["met another one for its key", "CompleteMultipartUpload", 409, "ConditionalRequestConflict"],
    ["was dropped while its parts were sent", "UploadPart", 404, "NoSuchUpload"],
  ])("reports every byte once, also when it starts over because it %s", async (_what, operation, status, code) => {
    const last = (request: ProxiedRequest) => request.operation === operation && [0, 4].includes(partOf(request));
    const fault: Fault = { kind: "status", status, code };
    proxy.inject({ operation: last, nth: 1, action: { kind: "hold", until: partsStored(3), fault } });
    const { sent, skipped, result } = await put(new Memory());
    expect(result).toMatchObject({ size, bytesSent: size });
    expect({ sent, skipped }).toEqual({ sent: size, skipped: 0 });
    expect(sentParts()).toEqual([1, 1, 2, 2, 3, 3, 4, 4]);
    expect(stored()?.equals(bytes)).toBe(true);
  });

  test("believes an endpoint without checksums on the tags of its parts", async () => {
    await storage.close();
    await proxy.close();
    await server.close();
    server = await startS3Server({ checksums: false });
    proxy = await startFaultProxy(server.endpoint);
    const settings = awsSettings(proxy.endpoint, { partSize: 5 * mebibyte, retries: 0, bucket });
    for await (const _ of storageDrivers.s3.provision(settings, { plan: false, signal: never }));
    storage = await storageDrivers.s3.open(settings);
    const memory = new Memory();
    proxy.inject({ operation: "CompleteMultipartUpload", nth: 1, action: { kind: "status", status: 500 } });
    await put(memory);
    sentParts();
    expect(await put(memory)).toMatchObject({ sent: 0, skipped: size, result: { size, bytesSent: 0, crc32: null } });
    expect(sentParts()).toEqual([]);
    expect(stored()?.equals(bytes)).toBe(true);
  });
});

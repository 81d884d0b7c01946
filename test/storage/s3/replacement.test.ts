/** Replacing a damaged object in S3: the conditions that are sent, lost answers, and what a failure leaves. */
import { createHash, randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { storageDrivers } from "../../../src/storage/registry.ts";
import type { BegunUpload, PutOptions, SavedPart, StorageService, StoredObject } from "../../../src/storage/service.ts";
import { awsSettings } from "../../support/aws.ts";
import { bodyOf } from "../../support/body.ts";
import { type Fault, type FaultProxy, startFaultProxy } from "../../support/fault-proxy.ts";
import { type S3Server, startS3Server } from "../../support/s3-server.ts";

const never = new AbortController().signal;
const mebibyte = 1024 * 1024;
const key = "d1/id/a.bin";
const small = randomBytes(1000);
const large = randomBytes(11 * mebibyte);
const writes = [
  ["a small object", "PutObject", small],
  ["a multipart object", "CompleteMultipartUpload", large],
] as const;
const options = { contentType: "text/plain", catalog: "test", signal: never };
const lost: Fault = { kind: "lose-reply" };

let server: S3Server;
let proxy: FaultProxy;
let storage: StorageService;
let bucket: string;

beforeEach(async () => {
  server = await startS3Server();
  await open();
});
afterEach(async () => {
  await storage.close();
  await proxy.close();
  await server.close();
});

async function open() {
  proxy = await startFaultProxy(server.endpoint);
  const settings = awsSettings(proxy.endpoint, { partSize: 5 * mebibyte, retries: 1 });
  for await (const _ of storageDrivers.s3.provision(settings, { plan: false, signal: never }));
  bucket = settings.bucket ?? "";
  storage = await storageDrivers.s3.open(settings);
  proxy.log.length = 0;
}

const held = () => server.buckets.get(bucket) ?? expect.fail("there is no bucket");
const stored = () => held().objects.get(key)?.body;
const sent = (operation: string) => proxy.log.filter((request) => request.operation === operation);
const put = (bytes: Buffer, more: Partial<PutOptions> = {}) =>
  storage.put(key, bodyOf(bytes), { ...options, size: bytes.length, ...more });
async function damaged(bytes: Buffer): Promise<StoredObject> {
  await put(bytes);
  const found = await storage.stat(key, never);
  proxy.log.length = 0;
  return found ?? expect.fail("nothing is stored");
}

/** Does something when a request arrives, before it is forwarded. */
function upon(operation: string, act: () => void): void {
  const matches = (request: { operation: string }) => {
    if (request.operation === operation) act();
    return false;
  };
  proxy.inject({ operation: matches, action: { kind: "reset" } });
}

/** What another program, or another process, puts under the key. */
function overwrite(body: Buffer): void {
  const object = held().objects.get(key) ?? expect.fail("nothing is stored");
  held().objects.set(key, { ...object, body, etag: createHash("md5").update(body).digest("hex"), checksum: undefined });
}

describe.each(writes)("replacing by %s", (_what, write, bytes) => {
  test("is one request, only for the object that was looked at", async () => {
    const replaces = await damaged(Buffer.from("damaged"));
    await put(bytes, { replaces });
    const [request] = sent(write);
    expect(request?.headers).toMatchObject({ "if-match": replaces.version });
    expect(request?.headers["if-none-match"]).toBeUndefined();
    expect(stored()?.equals(bytes)).toBe(true);
    expect(sent("DeleteObject")).toEqual([]);
  });

  test("leaves what came in between", async () => {
    const replaces = await damaged(Buffer.from("damaged"));
    upon(write, () => overwrite(Buffer.from("restored")));
    await expect(put(bytes, { replaces })).rejects.toMatchObject({ code: "CONFLICT" });
    expect(sent(write)).toHaveLength(1);
    expect(stored()?.toString()).toBe("restored");
    expect(held().uploads.size).toBe(0);
  });

  test("is not even tried where the object is another one, since the endpoint may ignore the condition", async () => {
    const replaces = await damaged(Buffer.from("damaged"));
    overwrite(Buffer.from("restored"));
    await expect(put(bytes, { replaces })).rejects.toMatchObject({ code: "CONFLICT" });
    expect(sent(write)).toEqual([]);
    const unnamed = { ...replaces, version: null };
    await expect(put(bytes, { replaces: unnamed })).rejects.toMatchObject({ code: "CONFLICT" });
    expect(stored()?.toString()).toBe("restored");
  });

  test("meets its own success when the answer is lost", async () => {
    const replaces = await damaged(Buffer.from("damaged"));
    proxy.inject({ operation: write, nth: 1, action: lost });
    expect(await put(bytes, { replaces })).toMatchObject({ size: bytes.length });
    expect(sent(write)).toHaveLength(2);
    expect(stored()?.equals(bytes)).toBe(true);
    expect(held().uploads.size).toBe(0);
  });

  test("does not take the damaged object for its own success", async () => {
    // Of the same size and mark, as seen by an endpoint without checksums.
    await storage.close();
    await proxy.close();
    await server.close();
    server = await startS3Server({ checksums: false });
    await open();
    const replaces = await damaged(randomBytes(bytes.length));
    proxy.inject({ operation: write, action: { kind: "status", status: 412, code: "PreconditionFailed" } });
    await expect(put(bytes, { replaces })).rejects.toMatchObject({ code: "CONFLICT" });
  });

  test.each([
    ["the damaged object", (): PutOptions["replaces"] => undefined],
    ["an object that was lost", (): PutOptions["replaces"] => null],
  ])("never removes anything when no answer comes, be it for %s", async (_of, lostOne) => {
    const replaces = lostOne() === null ? null : await damaged(Buffer.from("damaged"));
    proxy.inject({ operation: write, action: lost });
    upon("HeadObject", () => {});
    await put(bytes, { replaces }).catch((error) => expect(error).toMatchObject({ code: "UNAVAILABLE" }));
    proxy.clear();
    expect(stored()?.equals(bytes)).toBe(true);
    expect(sent("DeleteObject")).toEqual([]);
  });

  test("leaves the object of another process when it fails for good", async () => {
    const replaces = await damaged(Buffer.from("damaged"));
    upon(write, () => overwrite(Buffer.from("restored")));
    proxy.inject({ operation: write, action: { kind: "status", status: 500 } });
    await expect(put(bytes, { replaces })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(stored()?.toString()).toBe("restored");
    expect(held().uploads.size).toBe(0);
  });
});

test("a replacement is not resumed as if the damaged object were its result", async () => {
  const replaces = await damaged(randomBytes(large.length));
  const saved = new Map<number, SavedPart>();
  const checkpoint = {
    begun: { uploadId: "gone", partSize: 5 * mebibyte } as BegunUpload | undefined,
    part: (number: number) => saved.get(number),
    begin(upload: BegunUpload) {
      this.begun = upload;
      saved.clear();
    },
    save: (number: number, part: SavedPart) => void saved.set(number, part),
  };
  await put(large, { replaces, checkpoint });
  expect(stored()?.equals(large)).toBe(true);
});

test("a replacement leaves the unfinished uploads of other processes", async () => {
  const replaces = await damaged(Buffer.from("damaged"));
  const description = { contentType: "", metadata: {}, headers: {}, checksum: undefined, deletedSince: false };
  held().uploads.set("theirs", { ...description, key, parts: new Map(), initiated: new Date() });
  proxy.inject({ operation: "CreateMultipartUpload", nth: 1, action: lost });
  await put(large, { replaces });
  expect(held().uploads.has("theirs")).toBe(true);
});

/** The two ends of a multipart upload, its beginning and its completion, when their answers are lost or refuse. */
import { crc32 } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checksumText } from "../../src/storage/s3/parts.ts";
import { type InRepoAws, startInRepoAws } from "../support/aws.ts";
import type { Fault, FaultRule, ProxiedRequest } from "../support/fault-proxy.ts";
import { failure, finished, mebibyte, nothing, openResumable, partOf, sha256 } from "../support/resumable.ts";
import type { Checksum } from "../support/s3-server.ts";

let aws: InRepoAws;
beforeAll(async () => {
  aws = await startInRepoAws();
});
afterAll(() => aws.close());

const lost: Fault = { kind: "lose-reply" };
const on = (operation: string, action: Fault, nth?: number): FaultRule => ({
  operation,
  action,
  ...(nth !== undefined && { nth }),
});

async function openWith16MiB() {
  const library = await openResumable(aws.endpoint);
  return { ...library, bytes: await library.write(16) };
}

describe("a completion", () => {
  test("of which every answer is lost was done all the same: the next run sends nothing", async () => {
    const { proxy, upload, sentParts, left, bytes } = await openWith16MiB();
    proxy.inject(on("CompleteMultipartUpload", lost));
    proxy.inject(on("HeadObject", failure));
    const all = "Run the same command again; 16.8 MB of 16.8 MB are stored and will not be sent again.";
    const failed = await upload();
    expect(failed.status).toBe(8);
    expect(failed.json().failures).toMatchObject([{ code: "UNAVAILABLE", hint: all }]);
    const { objects, ...rest } = await left();
    expect(rest).toEqual({ documents: [], uploads: [], journals: 1 });
    const [id = ""] = Object.keys(objects);
    // As long as nobody can look, nothing is concluded.
    expect(await upload()).toMatchObject({ status: 8 });
    expect(await left()).toEqual({ ...rest, objects });
    proxy.clear();
    sentParts();
    expect((await upload()).json().documents).toMatchObject([{ action: "resumed", id, bytesSent: 0 }]);
    expect(sentParts()).toEqual([]);
    expect(await left()).toEqual(finished(id, bytes));
  });

  test("that is answered with an error in a 200 is repeated", async () => {
    const { proxy, upload, sentParts, left, bytes } = await openWith16MiB();
    proxy.inject(on("CompleteMultipartUpload", { kind: "status", status: 200, code: "InternalError" }, 1));
    const [document] = (await upload()).json().documents;
    expect(document).toMatchObject({ action: "uploaded", bytesSent: 16 * mebibyte });
    expect(sentParts()).toEqual([1, 2, 3, 4]);
    expect(await left()).toEqual(finished(document.id, bytes));
  });

  const conflict: Fault = { kind: "status", status: 409, code: "ConditionalRequestConflict" };

  test("that met another request for its key once starts over in the same run", async () => {
    const { proxy, upload, sentParts, left, bytes } = await openWith16MiB();
    proxy.inject(on("CompleteMultipartUpload", conflict, 1));
    const [document] = (await upload()).json().documents;
    expect(document).toMatchObject({ action: "uploaded", bytesSent: 16 * mebibyte });
    expect(sentParts()).toEqual([1, 1, 2, 2, 3, 3, 4, 4]);
    expect(await left()).toEqual(finished(document.id, bytes));
  });

  test("that meets one every time is given up after three, and leaves no parts", async () => {
    const { proxy, upload, left, bytes } = await openWith16MiB();
    proxy.inject(on("CompleteMultipartUpload", conflict));
    expect(await upload()).toMatchObject({ status: 8, stdout: expect.stringContaining("it starts over") });
    expect(proxy.log.filter(({ operation }) => operation === "CreateMultipartUpload")).toHaveLength(3);
    expect(await left()).toEqual({ ...nothing, journals: 1 });
    proxy.clear();
    const [document] = (await upload()).json().documents;
    expect(document).toMatchObject({ action: "uploaded", bytesSent: 16 * mebibyte });
    expect(await left()).toEqual(finished(document.id, bytes));
  });

  test("that meets its own success is a success", async () => {
    const { proxy, upload, sentParts, left, bytes } = await openWith16MiB();
    proxy.inject(on("CompleteMultipartUpload", lost, 1));
    proxy.inject(on("CompleteMultipartUpload", { kind: "status", status: 412, code: "PreconditionFailed" }, 2));
    const [document] = (await upload()).json().documents;
    expect(document).toMatchObject({ action: "uploaded", bytesSent: 16 * mebibyte });
    expect(sentParts()).toEqual([1, 2, 3, 4]);
    expect(await left()).toEqual(finished(document.id, bytes));
  });

  test.each([
    ["of another size", Buffer.from("theirs")],
    ["of the same size", Buffer.alloc(16 * mebibyte, "theirs")],
  ])("that meets another program's object, %s, leaves it alone", async (_what, body) => {
    const { proxy, bucket, upload, left, bytes } = await openWith16MiB();
    const checksum: Checksum = { algorithm: "CRC32", type: "FULL_OBJECT", value: checksumText(crc32(body)) };
    const overtake = ({ operation }: { operation: string }) => {
      const { uploads, objects } = aws.s3.buckets.get(bucket) ?? {};
      for (const { key, parts: _, ...description } of uploads?.values() ?? []) {
        const object = { ...description, body, etag: "theirs", checksum, lastModified: new Date() };
        if (operation === "CompleteMultipartUpload") objects?.set(key, object);
      }
      return false;
    };
    proxy.inject({ operation: overtake, action: failure });
    expect(await upload()).toMatchObject({ status: 5, stdout: expect.stringContaining("Nothing was overwritten.") });
    const { objects, ...rest } = await left();
    expect(Object.values(objects)).toEqual([sha256(body)]);
    expect(rest).toEqual({ documents: [], uploads: [], journals: 0 });
    proxy.clear();
    const [document] = (await upload()).json().documents;
    expect(await left()).toMatchObject({ documents: [document.id], objects: { [document.id]: sha256(bytes) } });
  });

  test("that is refused for good leaves what is stored for other credentials", async () => {
    const { proxy, upload, sentParts, left, bytes } = await openWith16MiB();
    proxy.inject(on("CompleteMultipartUpload", { kind: "status", status: 403, code: "AccessDenied" }));
    expect(await upload()).toMatchObject({ status: 4, stdout: expect.stringContaining("16.8 MB of 16.8 MB are") });
    const [id = ""] = (await left()).uploads;
    proxy.clear();
    sentParts();
    expect((await upload()).json().documents).toMatchObject([{ action: "resumed", id, bytesSent: 0 }]);
    expect(sentParts()).toEqual([]);
    expect(await left()).toEqual(finished(id, bytes));
  });
});

describe("a commit behind a completion", () => {
  test.each([
    ["nobody knows whether it was done", 500, "InternalServerError", 8],
    ["it is not allowed", 400, "AccessDeniedException", 4],
  ])("fails because %s: the next run sends nothing", async (_why, code, name, status) => {
    const { proxy, upload, sentParts, left, bytes } = await openWith16MiB();
    proxy.inject(on("TransactWriteItems", { kind: "status", status: code, code: name }));
    expect(await upload()).toMatchObject({ status });
    const { objects, ...rest } = await left();
    expect(rest).toEqual({ documents: [], uploads: [], journals: 1 });
    const [id = ""] = Object.keys(objects);
    proxy.clear();
    sentParts();
    expect((await upload()).json().documents).toMatchObject([{ action: "resumed", id, bytesSent: 0 }]);
    expect(sentParts()).toEqual([]);
    expect(await left()).toEqual(finished(id, bytes));
  });

  test("that is refused for good leaves nothing", async () => {
    const { proxy, upload, left } = await openWith16MiB();
    proxy.inject(on("TransactWriteItems", { kind: "status", status: 400, code: "ValidationException" }));
    expect(await upload()).toMatchObject({ status: 1 });
    expect(await left()).toEqual(nothing);
  });
});

describe("a beginning", () => {
  test("of which the first answer is lost leaves one upload, and in the end none", async () => {
    const { proxy, bucket, upload, left, bytes } = await openWith16MiB();
    const begun: (number | undefined)[] = [];
    const count = (request: ProxiedRequest) => {
      if (partOf(request) > 0) begun.push(aws.s3.buckets.get(bucket)?.uploads.size);
      return false;
    };
    proxy.inject({ operation: count, action: failure });
    proxy.inject(on("CreateMultipartUpload", lost, 1));
    const [document] = (await upload()).json().documents;
    expect(proxy.log.filter(({ operation }) => operation === "CreateMultipartUpload")).toHaveLength(2);
    expect(begun).toEqual([1, 1, 1, 1]);
    expect(await left()).toEqual(finished(document.id, bytes));
  });

  test("of which every answer is lost leaves no upload", async () => {
    const { proxy, upload, left, bytes } = await openWith16MiB();
    proxy.inject(on("CreateMultipartUpload", lost));
    expect(await upload()).toMatchObject({ status: 8 });
    expect(await left()).toEqual({ ...nothing, journals: 1 });
    proxy.clear();
    const [document] = (await upload()).json().documents;
    expect(await left()).toEqual(finished(document.id, bytes));
  });
});

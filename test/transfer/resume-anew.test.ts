/** What an interrupted upload left and cannot be gone on with: parts that are gone, or a file that is another by now. */
import { appendFile, open, readFile, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { AbortMultipartUploadCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type InRepoAws, startInRepoAws } from "../support/aws.ts";
import type { Fault, ProxiedRequest } from "../support/fault-proxy.ts";
import {
  failure,
  finished,
  mebibyte,
  nothing,
  openInterrupted,
  openResumable,
  partOf,
  sha256,
} from "../support/resumable.ts";

let aws: InRepoAws;
beforeAll(async () => {
  aws = await startInRepoAws();
});
afterAll(() => aws.close());

describe("an upload that S3 has dropped starts over in the same run,", () => {
  test("when that shows as its parts are listed", async () => {
    const { client, bucket, upload, sentParts, left, id, bytes } = await openInterrupted(aws.endpoint);
    const [[UploadId, { key: Key = "" } = {}] = []] = aws.s3.buckets.get(bucket)?.uploads ?? [];
    await client.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key, UploadId }));
    expect((await upload()).json().documents).toMatchObject([{ action: "uploaded", id, bytesSent: 16 * mebibyte }]);
    expect(sentParts()).toEqual([1, 2, 3, 4]);
    expect(await left()).toEqual(finished(id, bytes));
  });

  test.each<[string, (request: ProxiedRequest) => boolean]>([
    ["when that shows as a part is sent", (request) => partOf(request) > 0],
    ["when that shows as it is completed", ({ operation }) => operation === "CompleteMultipartUpload"],
  ])("%s", async (_when, isMoment) => {
    const { proxy, bucket, upload, sentParts, left, id, bytes } = await openInterrupted(aws.endpoint);
    let dropped = false;
    const drop = (request: ProxiedRequest) => {
      if (!dropped && isMoment(request)) {
        aws.s3.buckets.get(bucket)?.uploads.clear();
        dropped = true;
      }
      return false;
    };
    proxy.inject({ operation: drop, action: failure });
    expect((await upload()).json().documents).toMatchObject([{ action: "uploaded", id, bytesSent: 16 * mebibyte }]);
    const parts = sentParts();
    expect(parts.length).toBeGreaterThan(4);
    expect([...new Set(parts)]).toEqual([1, 2, 3, 4]);
    expect(await left()).toEqual(finished(id, bytes));
  });

  test("unless another program's object has its key by now", async () => {
    const { client, bucket, upload, left, id } = await openInterrupted(aws.endpoint);
    const there = aws.s3.buckets.get(bucket);
    for (const [UploadId, { key: Key, parts: _, ...description }] of there?.uploads ?? []) {
      await client.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key, UploadId }));
      const body = Buffer.from("theirs");
      there?.objects.set(Key, { ...description, body, etag: "e", checksum: undefined, lastModified: new Date() });
    }
    expect(await upload()).toMatchObject({ status: 5 });
    expect(await left()).toEqual({ ...nothing, objects: { [id]: sha256(Buffer.from("theirs")) } });
  });
});

describe("a file that was edited after an interruption", () => {
  const lost: Fault = { kind: "lose-reply" };
  /** Whole seconds: what utimes() takes has not the precision of what a file system keeps. */
  const before = new Date("2026-01-01T00:00:00Z");

  /** An upload of which all parts are stored, by a run that failed when it was to be completed. */
  async function openUncompleted(completion: Fault) {
    const library = await openResumable(aws.endpoint);
    await library.write(16);
    await utimes(library.path, before, before);
    library.proxy.inject({ operation: "CompleteMultipartUpload", action: completion });
    library.proxy.inject({ operation: "HeadObject", action: failure });
    expect(await library.upload()).toMatchObject({
      status: 8,
      stdout: expect.stringContaining("16.8 MB of 16.8 MB are stored and will not be sent again."),
    });
    library.proxy.clear();
    library.sentParts();
    return library;
  }

  /** Inverts a byte, and sets the time back to what it was. */
  async function editUnseen(path: string, position: number): Promise<Buffer> {
    const bytes = await readFile(path);
    bytes.writeUInt8(bytes.readUInt8(position) ^ 0xff, position);
    const file = await open(path, "r+");
    await file.write(bytes.subarray(position, position + 1), 0, 1, position);
    await file.close();
    await utimes(path, before, before);
    return bytes;
  }

  test.each([
    ["first", 0, "uploaded", [1, 2, 3, 4]],
    ["second", 7 * mebibyte, "resumed", [2, 3, 4]],
    ["last", 16 * mebibyte - 1, "resumed", [4]],
  ])("in its %s part, with the size and time that it had, is stored as it is now", async (_part, at, action, parts) => {
    const { path, upload, sentParts, left } = await openUncompleted(failure);
    const [id = ""] = (await left()).uploads;
    const bytes = await editUnseen(path, at);
    expect((await upload()).json().documents).toMatchObject([{ action, id, sha256: sha256(bytes) }]);
    expect(sentParts()).toEqual(parts);
    expect(await left()).toEqual(finished(id, bytes));
  });

  test.each<[string, (path: string) => Promise<void>]>([
    ["has another size", (path) => appendFile(path, "more")],
    ["has another time", (path) => utimes(path, before, new Date(before.getTime() + 1000))],
  ])("and %s is stored as it is now, as a document of its own", async (_what, edit) => {
    const { path, upload, sentParts, left } = await openUncompleted(failure);
    const [abandoned] = (await left()).uploads;
    await edit(path);
    const [document] = (await upload()).json().documents;
    expect(document.action).toBe("uploaded");
    expect(document.id).not.toBe(abandoned);
    expect(sentParts()).toEqual([1, 2, 3, 4]);
    expect(await left()).toEqual(finished(document.id, await readFile(path)));
  });

  test("although all of it was stored and only the response was lost, is refused, and then starts over", async () => {
    const { path, upload, left } = await openUncompleted(lost);
    expect(await left()).toMatchObject({ documents: [], uploads: [], journals: 1 });
    const bytes = await editUnseen(path, 16 * mebibyte - 1);
    expect(await upload()).toMatchObject({ status: 6, stdout: expect.stringContaining('"code": "INTEGRITY"') });
    expect(await left()).toEqual(nothing);
    const [document] = (await upload()).json().documents;
    expect(document).toMatchObject({ action: "uploaded", sha256: sha256(bytes) });
    expect(await left()).toEqual(finished(document.id, bytes));
  });
});

test("an upload with another content type starts over", async () => {
  const { upload, left, id, bytes } = await openInterrupted(aws.endpoint);
  const [document] = (await upload(["--content-type", "text/plain"])).json().documents;
  expect(document).toMatchObject({ action: "uploaded", contentType: "text/plain", bytesSent: 16 * mebibyte });
  expect(document.id).not.toBe(id);
  expect(await left()).toEqual(finished(document.id, bytes));
});

test("an upload does not go on as an older version than one that another machine has stored meanwhile", async () => {
  const { upload, run, left, sandbox, id, bytes } = await openInterrupted(aws.endpoint);
  const other = join(sandbox.cwd, "other.bin");
  await writeFile(other, "of another machine");
  const stored = await run(["upload", other, "--name", "a.bin", "--state-directory", join(sandbox.root, "elsewhere")]);
  const [newer] = stored.json().documents;
  expect(newer.id > id).toBe(true);
  const [document] = (await upload()).json().documents;
  expect(document).toMatchObject({ action: "uploaded", bytesSent: bytes.length });
  expect(document.id > newer.id).toBe(true);
  expect(await left()).toMatchObject({ documents: [document.id, newer.id], uploads: [], journals: 0 });
  expect((await run(["show", "a.bin"])).json()).toMatchObject({ id: document.id });
});

/** An interrupted upload of a large file: the same command again goes on with it, and sends only what is missing. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { awsEndpoints, type InRepoAws, startInRepoAws } from "../support/aws.ts";
import type { Fault } from "../support/fault-proxy.ts";
import {
  failure,
  finished,
  mebibyte,
  openInterrupted,
  openResumable,
  partOf,
  partsStored,
  sha256,
} from "../support/resumable.ts";
import { runDocproc } from "../support/run.ts";

let aws: InRepoAws;
beforeAll(async () => {
  aws = await startInRepoAws();
});
afterAll(() => aws.close());

describe("what is stored of an upload is not sent again", () => {
  const expired: Fault = { kind: "status", status: 403, code: "ExpiredToken" };
  const signIn = "Sign in (aws sso login), set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or choose a --profile.";
  const stored = "un the same command again; 10.5 MB of 16.8 MB are stored and will not be sent again.";

  test.each<[string, Fault, string[], number, string, string]>([
    ["is answered with an error", failure, [], 8, "UNAVAILABLE", `R${stored}`],
    ["is reset", { kind: "reset" }, [], 8, "UNAVAILABLE", `R${stored}`],
    // More time than the first two parts take on a busy machine.
    ["leads nowhere", { kind: "black-hole" }, ["--timeout", "8s"], 8, "UNAVAILABLE", `R${stored}`],
    ["is refused, the credentials having expired", expired, [], 4, "ACCESS_DENIED", `${signIn} Then r${stored}`],
  ])("after every part behind the second %s", async (_what, fault, flags, status, code, hint) => {
    const { write, upload, failBehindPart2, proxy, sentParts, left } = await openResumable(aws.endpoint);
    const bytes = await write(16);
    failBehindPart2(fault);
    const failed = await upload(flags);
    expect(failed.status).toBe(status);
    expect(failed.json()).toMatchObject({ documents: [], failures: [{ path: "a.bin", code, hint }] });
    const { uploads, ...rest } = await left();
    expect(rest).toEqual({ documents: [], objects: {}, journals: 1 });
    expect(uploads).toHaveLength(1);
    const [id = ""] = uploads;
    proxy.clear();
    sentParts();
    const { documents, summary } = (await upload()).json();
    expect(documents).toMatchObject([{ action: "resumed", id, bytesSent: 6 * mebibyte, sha256: sha256(bytes) }]);
    expect(summary).toMatchObject({ uploaded: 1, resumed: 1, bytes: 16 * mebibyte, bytesSent: 6 * mebibyte });
    expect(sentParts()).toEqual([3, 4]);
    expect(await left()).toEqual(finished(id, bytes));
  });

  test("over any number of interruptions", async () => {
    const { upload, proxy, sentParts, left, id, bytes } = await openInterrupted(aws.endpoint);
    const until = partsStored(1);
    proxy.inject({ operation: (request) => partOf(request) > 3, action: { kind: "hold", until, fault: failure } });
    expect(await upload()).toMatchObject({ status: 8, stdout: expect.stringContaining("15.7 MB of 16.8 MB are") });
    proxy.clear();
    // Interrupted before anything is sent, it has still lost nothing.
    proxy.inject({ operation: "UploadPart", action: failure });
    expect(await upload()).toMatchObject({ status: 8, stdout: expect.stringContaining("15.7 MB of 16.8 MB are") });
    proxy.clear();
    sentParts();
    expect((await upload()).json().documents).toMatchObject([{ action: "resumed", id, bytesSent: mebibyte }]);
    expect(sentParts()).toEqual([4]);
    expect(await left()).toEqual(finished(id, bytes));
  });

  test("although the catalog could not be asked in between", async () => {
    const { upload, proxy, sentParts, left, id, bytes } = await openInterrupted(aws.endpoint);
    // The first question is for the catalog's id, the second one for a document of this upload.
    proxy.inject({ operation: "GetItem", nth: 2, times: Number.POSITIVE_INFINITY, action: failure });
    expect(await upload()).toMatchObject({ status: 8 });
    proxy.clear();
    sentParts();
    expect((await upload()).json().documents).toMatchObject([{ action: "resumed", id, bytesSent: 6 * mebibyte }]);
    expect(sentParts()).toEqual([3, 4]);
    expect(await left()).toEqual(finished(id, bytes));
  });

  test.each(["8MiB", "100MiB"])("although the next run has parts of %s", async (partSize) => {
    const { upload, sentParts, left, id, bytes } = await openInterrupted(aws.endpoint);
    const { documents } = (await upload(["--part-size", partSize])).json();
    expect(documents).toMatchObject([{ action: "resumed", id, bytesSent: 6 * mebibyte }]);
    expect(sentParts()).toEqual([3, 4]);
    expect(await left()).toEqual(finished(id, bytes));
  });

  test("half a day later, and its bytes are looked for once more behind the commit", async () => {
    const { upload, proxy, left, id, bytes } = await openInterrupted(aws.endpoint);
    proxy.log.length = 0;
    const halfADayLater = { now: () => Date.now() + 12 * 3_600_000 + 1_000 };
    expect((await upload([], halfADayLater)).json().documents).toMatchObject([{ action: "resumed", id }]);
    const operations = proxy.log.map(({ operation }) => operation);
    expect(operations.slice(-2)).toEqual(["TransactWriteItems", "HeadObject"]);
    expect(await left()).toEqual(finished(id, bytes));
  });

  test("unless another program has replaced a part of it", async () => {
    const { bucket, upload, sentParts, left, id, bytes } = await openInterrupted(aws.endpoint);
    for (const { parts } of aws.s3.buckets.get(bucket)?.uploads.values() ?? []) {
      parts.set(1, { body: Buffer.alloc(5 * mebibyte), etag: "other", lastModified: new Date() });
    }
    expect((await upload()).json().documents).toMatchObject([{ id, bytesSent: 11 * mebibyte }]);
    expect(sentParts()).toEqual([1, 3, 4]);
    expect(await left()).toEqual(finished(id, bytes));
  });

  test.each(Object.entries(awsEndpoints()))(
    "by %s",
    async (_place, start) => {
      const place = await start();
      onTestFinished(() => place.close());
      const { upload, sentParts, left, id, bytes } = await openInterrupted(place.endpoint);
      expect((await upload()).json().documents).toMatchObject([{ action: "resumed", id, bytesSent: 6 * mebibyte }]);
      expect(sentParts()).toEqual([3, 4]);
      expect(await left()).toEqual(finished(id, bytes));
    },
    120_000,
  );

  test("and a person is told so", async () => {
    const { sandbox, uploading, id } = await openInterrupted(aws.endpoint);
    const { status, stdout, stderr } = await runDocproc(sandbox, ["upload", "a.bin", ...uploading]);
    expect({ status, stdout }).toEqual({ status: 0, stdout: `resumed   ${id}  a.bin  16777216\n` });
    expect(stderr).toMatch(/^1 uploaded \(1 resumed\); 6\.29 MB sent in /);
  });

  test("and a doctor leaves it alone while it is young", async () => {
    const { run, upload, id } = await openInterrupted(aws.endpoint);
    expect((await run(["doctor", "--repair"])).json()).toMatchObject({ findings: [], summary: { young: 1 } });
    expect((await upload()).json().documents).toMatchObject([{ action: "resumed", id }]);
  });
});

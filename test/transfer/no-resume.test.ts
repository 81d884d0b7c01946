/** Uploads that are not gone on with: because nobody wants it, of standard input, and where no journal can be kept. */
import { existsSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { failure, finished, mebibyte, nothing, openInterrupted, openResumable } from "../support/resumable.ts";
import { runDocproc } from "../support/run.ts";

let aws: InRepoAws;
beforeAll(async () => {
  aws = await startInRepoAws();
});
afterAll(() => aws.close());

describe("an upload with --no-resume", () => {
  const ways: [string, string[], Record<string, string>][] = [
    ["--no-resume", ["--no-resume"], {}],
    ["DOCPROC_RESUME=false", [], { DOCPROC_RESUME: "false" }],
  ];

  test.each(ways)("leaves nothing when it is interrupted (%s)", async (_how, flags, env) => {
    const { write, failBehindPart2, upload, left } = await openResumable(aws.endpoint);
    await write(16);
    failBehindPart2(failure);
    const failed = await upload(flags, { env });
    expect(failed.json().failures).toMatchObject([{ hint: "Wait a moment and run the same command again." }]);
    expect(await left()).toEqual(nothing);
  });

  test.each(ways)("starts from nothing beside one that was interrupted (%s)", async (_how, flags, env) => {
    const { upload, sentParts, left, id, bytes } = await openInterrupted(aws.endpoint);
    const [document] = (await upload(flags, { env })).json().documents;
    expect(document).toMatchObject({ action: "uploaded", bytesSent: 16 * mebibyte });
    expect(sentParts()).toEqual([1, 2, 3, 4]);
    expect(await left()).toEqual({ ...finished(document.id, bytes), uploads: [id], journals: 1 });
    expect((await upload()).json().documents).toMatchObject([{ action: "unchanged", id: document.id }]);
    expect(await left()).toEqual(finished(document.id, bytes));
  });

  test("of standard input is never remembered", async () => {
    const { sandbox, uploading, proxy, failBehindPart2, left } = await openResumable(aws.endpoint);
    const remembered: boolean[] = [];
    const look = () => {
      remembered.push(existsSync(sandbox.state));
      return false;
    };
    proxy.inject({ operation: look, action: failure });
    failBehindPart2(failure);
    const stdin = Readable.from([Buffer.alloc(16 * mebibyte)]);
    const argv = ["upload", "-", "--name", "a.bin", ...uploading];
    expect(await runDocproc(sandbox, argv, { stdin })).toMatchObject({ status: 8 });
    expect(new Set(remembered)).toEqual(new Set([false]));
    expect(await left()).toEqual(nothing);
  });
});

describe("an upload without its journal", () => {
  test("an upload starts over, and a doctor finds its leftovers", async () => {
    const { journals, bucket, upload, run, left, id, bytes } = await openInterrupted(aws.endpoint);
    for (const journal of await journals()) await rm(journal);
    const [document] = (await upload()).json().documents;
    expect(document).toMatchObject({ action: "uploaded", bytesSent: 16 * mebibyte });
    expect(await left()).toEqual({ ...finished(document.id, bytes), uploads: [id] });
    const aDayAgo = new Date(Date.now() - 25 * 3_600_000);
    for (const one of aws.s3.buckets.get(bucket)?.uploads.values() ?? []) {
      one.initiated = aDayAgo;
      for (const part of one.parts.values()) part.lastModified = aDayAgo;
    }
    expect((await run(["doctor", "--repair"])).json().summary).toMatchObject({ found: 1, repaired: 1 });
    expect(await left()).toEqual(finished(document.id, bytes));
  });

  test("because it cannot be written, an upload succeeds, and leaves nothing when it is interrupted", async () => {
    const { sandbox, write, failBehindPart2, upload, proxy, left } = await openResumable(aws.endpoint);
    const bytes = await write(16);
    await writeFile(sandbox.state, "a file");
    failBehindPart2(failure);
    expect(await upload()).toMatchObject({ status: 8 });
    expect(await left()).toEqual(nothing);
    proxy.clear();
    const [document] = (await upload()).json().documents;
    expect(document).toMatchObject({ action: "uploaded" });
    expect(await left()).toEqual(finished(document.id, bytes));
  });
});

/** An upload that was interrupted, beside others of the same document: in the end there is one, and nothing else. */
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { type ProxiedRequest, startFaultProxy } from "../support/fault-proxy.ts";
import { event, finished, mebibyte, openInterrupted, partOf } from "../support/resumable.ts";
import { makeSandbox, type Outcome, runDocproc } from "../support/run.ts";

let aws: InRepoAws;
beforeAll(async () => {
  aws = await startInRepoAws();
});
afterAll(() => aws.close());

test("an interrupted upload is dropped when the document is there by another way", async () => {
  const { path, library, upload, left, bytes } = await openInterrupted(aws.endpoint);
  const other = await makeSandbox();
  await copyFile(path, join(other.cwd, "a.bin"));
  const elsewhere = await runDocproc(other, ["upload", "a.bin", "--json", ...library(aws.endpoint)]);
  const [{ id }] = elsewhere.json().documents;
  expect((await upload()).json().documents).toMatchObject([{ action: "unchanged", id, bytesSent: 0 }]);
  expect(await left()).toEqual(finished(id, bytes));
});

test("an upload that goes on gives way to another that was faster", async () => {
  const { proxy, upload, library, left, bytes } = await openInterrupted(aws.endpoint);
  const done = event();
  let second: Promise<Outcome> | undefined;
  const meanwhile = (request: ProxiedRequest) => {
    if (partOf(request) < 3) return false;
    second ??= upload(library(aws.endpoint)).finally(done.happen);
    return true;
  };
  proxy.inject({ operation: meanwhile, action: { kind: "hold", until: done.happened } });
  const first = await upload();
  const [faster] = (await second)?.json().documents ?? [];
  expect(faster).toMatchObject({ action: "uploaded", bytesSent: 16 * mebibyte });
  expect(first.json().documents).toMatchObject([{ action: "unchanged", id: faster.id, bytesSent: 6 * mebibyte }]);
  expect(await left()).toEqual(finished(faster.id, bytes));
});

test("another one gives way to that which goes on and was faster", async () => {
  const { proxy, upload, library, left, id, bytes } = await openInterrupted(aws.endpoint);
  const [sent, done] = [event(), event()];
  const slow = await startFaultProxy(aws.endpoint);
  onTestFinished(() => slow.close());
  const atTheEnd = ({ operation }: { operation: string }) => {
    if (operation !== "CompleteMultipartUpload") return false;
    sent.happen();
    return true;
  };
  slow.inject({ operation: atTheEnd, action: { kind: "hold", until: done.happened } });
  let second: Promise<Outcome> | undefined;
  const meanwhile = (request: ProxiedRequest) => {
    if (partOf(request) < 3) return false;
    second ??= upload(library(slow.endpoint));
    return true;
  };
  proxy.inject({ operation: meanwhile, action: { kind: "hold", until: sent.happened } });
  const first = await upload();
  done.happen();
  expect(first.json().documents).toMatchObject([{ action: "resumed", id, bytesSent: 6 * mebibyte }]);
  const slower = (await second)?.json().documents;
  expect(slower).toMatchObject([{ action: "unchanged", id, bytesSent: 16 * mebibyte }]);
  expect(await left()).toEqual(finished(id, bytes));
});

test("the same file twice in one command is one document", async () => {
  const { upload, left, bytes } = await openInterrupted(aws.endpoint);
  const both = (await upload(["a.bin"])).json();
  expect(both).toMatchObject({ failures: [], summary: { total: 2, uploaded: 1, unchanged: 1 } });
  expect(await left()).toEqual(finished(both.documents[0].id, bytes));
});

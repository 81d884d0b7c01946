/** `docproc upload` to AWS when something fails on the way: nothing half done is left, and a second run succeeds. */
import { createHash, randomBytes } from "node:crypto";
import { appendFileSync, renameSync, truncateSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { awsSettings, type InRepoAws, startInRepoAws } from "../../support/aws.ts";
import { type FaultRule, startFaultProxy } from "../../support/fault-proxy.ts";
import { makeSandbox, runDocproc } from "../../support/run.ts";

const mebibyte = 1024 * 1024;
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
let aws: InRepoAws;
beforeAll(async () => {
  aws = await startInRepoAws();
});
afterAll(() => aws.close());

/** Uploads go through a proxy that fails as told. What became of them is asked without the proxy. */
async function openBehindProxy() {
  const sandbox = await makeSandbox();
  const bucket = awsSettings("").bucket ?? "";
  const run = (endpoint: string, ...argv: string[]) =>
    runDocproc(sandbox, [...argv, "--json", "--endpoint-url", endpoint, "--bucket", bucket]);
  expect(await run(aws.endpoint, "init")).toMatchObject({ status: 0 });
  const proxy = await startFaultProxy(aws.endpoint);
  onTestFinished(() => proxy.close());
  return {
    proxy,
    cwd: sandbox.cwd,
    write: async (name: string, content: string | Buffer) => await writeFile(join(sandbox.cwd, name), content),
    upload: (file: string, ...flags: string[]) =>
      run(proxy.endpoint, "upload", file, "--part-size", "5MiB", "--retries", "2", ...flags),
    uploadDirectly: (file: string) => run(aws.endpoint, "upload", file),
    async left() {
      const { objects, uploads } = aws.s3.buckets.get(bucket) ?? {};
      const { documents } = (await run(aws.endpoint, "list")).json();
      const digests = [...(objects?.values() ?? [])].map(({ body }) => sha256(body));
      return { documents, digests, multipart: uploads?.size };
    },
  };
}
const nothing = { documents: [], digests: [], multipart: 0 };

const always = (operation: FaultRule["operation"] & {}, status: number, code?: string): FaultRule => ({
  operation,
  action: { kind: "status", status, ...(code !== undefined && { code }) },
});
const flipped: FaultRule = {
  operation: "PutObject",
  nth: 1,
  action: { kind: "flip-byte", offset: 9, in: "request" },
};

test.each<[string, number, FaultRule, number]>([
  ["the object is refused", 1, always("PutObject", 403, "AccessDenied"), 4],
  ["a byte of it is not the one that was sent", 1, flipped, 6],
  ["its third part always fails", 16, always(({ path }) => path.includes("partNumber=3"), 500), 8],
  ["it cannot be completed", 16, always("CompleteMultipartUpload", 403, "AccessDenied"), 4],
  ["its record is refused", 1, always("TransactWriteItems", 400, "AccessDeniedException"), 4],
  ["its record is not understood", 1, always("TransactWriteItems", 400, "ValidationException"), 1],
])("an upload leaves nothing behind when %s, and succeeds when run again", async (_what, size, rule, status) => {
  const { proxy, upload, write, left } = await openBehindProxy();
  await write("a.bin", randomBytes(size * mebibyte));
  proxy.inject(rule);
  const failed = await upload("a.bin", "--no-resume");
  expect(failed).toMatchObject({ status });
  expect(failed.json()).toMatchObject({ documents: [], failures: [{ path: "a.bin" }], summary: { failed: 1 } });
  expect(await left()).toEqual(nothing);
  proxy.clear();
  expect((await upload("a.bin")).json().summary).toMatchObject({ uploaded: 1 });
  expect(await left()).toMatchObject({ documents: { length: 1 }, digests: { length: 1 }, multipart: 0 });
});

test("an upload keeps the bytes of a record whose commit got no response", async () => {
  const { proxy, upload, write, left } = await openBehindProxy();
  await write("a.bin", "a");
  proxy.inject({ operation: "TransactWriteItems", action: { kind: "lose-reply" } });
  // The first ones look for a document that is there already, and for the catalog's id.
  proxy.inject({ ...always("GetItem", 500), nth: 3, times: Number.POSITIVE_INFINITY });
  expect(await upload("a.bin")).toMatchObject({ status: 8 });
  expect(await left()).toMatchObject({ documents: [{ name: "a.bin" }], digests: [sha256(Buffer.from("a"))] });
  proxy.clear();
  expect((await upload("a.bin")).json().documents).toMatchObject([{ action: "unchanged" }]);
});

test("an upload finds its record in the catalog when every response to the commit is lost", async () => {
  const { proxy, upload, write, left } = await openBehindProxy();
  await write("a.bin", "a");
  proxy.inject({ operation: "TransactWriteItems", action: { kind: "lose-reply" } });
  const outcome = await upload("a.bin");
  expect(outcome).toMatchObject({ status: 0 });
  const [{ id }] = outcome.json().documents;
  expect(await left()).toMatchObject({ documents: [{ id }], digests: [sha256(Buffer.from("a"))] });
});

test("an upload calls a commit that is never done a temporary failure, and succeeds when run again", async () => {
  const { proxy, upload, write, left } = await openBehindProxy();
  await write("a.bin", "a");
  proxy.inject(always("TransactWriteItems", 500));
  expect(await upload("a.bin")).toMatchObject({ status: 8, stderr: expect.stringContaining('"retryable":true') });
  expect((await left()).documents).toEqual([]);
  proxy.clear();
  const { documents } = (await upload("a.bin")).json();
  expect(documents).toMatchObject([{ action: "uploaded" }]);
  expect((await left()).documents).toMatchObject([{ id: documents[0].id }]);
});

test.each([
  ["PutObject", 1],
  ["UploadPart", 16],
  ["CompleteMultipartUpload", 16],
  ["TransactWriteItems", 1],
])("an upload ends in one record when the response to %s is lost", async (operation, size) => {
  const { proxy, upload, write, left } = await openBehindProxy();
  const content = randomBytes(size * mebibyte);
  await write("a.bin", content);
  proxy.inject({ operation, nth: 1, action: { kind: "lose-reply" } });
  const outcome = await upload("a.bin");
  expect(outcome).toMatchObject({ status: 0 });
  expect(proxy.log.filter((request) => request.operation === operation).length).toBeGreaterThan(1);
  const { documents, digests, multipart } = await left();
  expect(documents).toMatchObject([{ id: outcome.json().documents[0].id }]);
  expect(digests).toEqual([sha256(content)]);
  expect(multipart).toBe(0);
});

test.each([
  ["grows", (path: string) => appendFileSync(path, "more")],
  ["is truncated", (path: string) => truncateSync(path, 1000)],
  ["is replaced", (path: string) => renameSync(`${path}.new`, path)],
  ["is written to", (path: string) => writeFileSync(path, "x", { flag: "r+" })],
])("an upload stores nothing of a file that %s while it is read", async (_what, change) => {
  const { proxy, upload, write, cwd, left } = await openBehindProxy();
  for (const file of ["a.bin", "a.bin.new"]) await write(file, Buffer.alloc(32 * mebibyte));
  let changed = false;
  const atTheFirstPart = ({ operation }: { operation: string }) => {
    if (operation === "UploadPart" && !changed) change(join(cwd, "a.bin"));
    changed ||= operation === "UploadPart";
    return false;
  };
  proxy.inject({ operation: atTheFirstPart, action: { kind: "reset" } });
  const outcome = await upload("a.bin");
  expect(outcome).toMatchObject({ status: 6 });
  expect(outcome.json().failures).toMatchObject([{ code: "INTEGRITY" }]);
  expect(await left()).toEqual(nothing);
});

test("an upload sends no bytes of a stored document", async () => {
  const { proxy, upload, write } = await openBehindProxy();
  await write("small.bin", "small");
  await write("large.bin", Buffer.alloc(9 * mebibyte));
  for (const file of ["small.bin", "large.bin"]) await upload(file);
  const before = proxy.log.length;
  for (const file of ["small.bin", "large.bin"]) await upload(file);
  expect(proxy.log.slice(0, before).some(({ operation }) => operation === "UploadPart")).toBe(true);
  const again = proxy.log.slice(before).filter(({ service }) => service === "s3");
  expect(again.map(({ operation }) => operation)).toEqual(["HeadObject", "HeadObject"]);
});

test("an upload removes its own object when another upload of the same document was faster", async () => {
  const { proxy, upload, write, uploadDirectly, left } = await openBehindProxy();
  await write("a.bin", "a");
  let faster: ReturnType<typeof uploadDirectly> | undefined;
  const meanwhile = ({ operation }: { operation: string }) => {
    if (operation === "PutObject") faster ??= uploadDirectly("a.bin");
    return operation === "PutObject";
  };
  proxy.inject({ operation: meanwhile, action: { kind: "delay", ms: 1_500 } });
  const [slower] = (await upload("a.bin")).json().documents;
  expect((await faster)?.json().documents).toMatchObject([{ id: slower.id, action: "uploaded" }]);
  expect(slower).toMatchObject({ action: "unchanged", bytesSent: 1 });
  expect((await left()).digests).toHaveLength(1);
});

/** `docproc download` when something fails on the way: what is at the destination is whole, or what was there before. */
import { randomBytes } from "node:crypto";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { lstatSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { type FileHandle, mkdir, open, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import type { Step } from "../../../src/core/crash-points.ts";
import { type InRepoAws, startInRepoAws } from "../../support/aws.ts";
import { type Fault, type ProxiedRequest, startFaultProxy } from "../../support/fault-proxy.ts";
import { openLibrary } from "../../support/library.ts";
import { type RunOptions, runDocproc } from "../../support/run.ts";

const mebibyte = 1024 * 1024;
let aws: InRepoAws;
beforeAll(async () => {
  aws = await startInRepoAws();
});
afterAll(() => aws.close());

/** Documents come through a proxy that fails as told. */
async function openBehindProxy() {
  const library = await openLibrary(aws.endpoint);
  const proxy = await startFaultProxy(aws.endpoint);
  onTestFinished(() => proxy.close());
  const { cwd } = library.sandbox;
  return {
    ...library,
    proxy,
    cwd,
    download: (argv: readonly string[], options?: RunOptions) =>
      runDocproc(library.sandbox, ["download", ...argv, "--endpoint-url", proxy.endpoint, "--retries", "2"], options),
    content: async (name: string) => await readFile(join(cwd, name)),
    files: async () => (await readdir(cwd)).filter((name) => name !== ".docprocrc.json").sort(),
    ranges: () => proxy.log.filter(isRead).map(({ headers }) => headers.range),
  };
}

const isRead = ({ operation }: ProxiedRequest) => operation === "GetObject";

/** Does something the moment the program has passed a step. */
function atStep(step: Step, act: () => void): void {
  const listener = (passed: unknown) => void (passed === step && act());
  subscribe("docproc:step", listener);
  onTestFinished(() => void unsubscribe("docproc:step", listener));
}

describe("a connection that breaks off", () => {
  test("is made again, and the download goes on where it stopped", async () => {
    const { proxy, download, upload, content, files, ranges } = await openBehindProxy();
    const bytes = randomBytes(2 * mebibyte);
    await upload("a.bin", bytes);
    proxy.inject({ operation: "GetObject", nth: 1, action: { kind: "truncate", bytes: mebibyte } });
    expect(await download(["a.bin"])).toMatchObject({ status: 0, stderr: "" });
    expect((await content("a.bin")).equals(bytes)).toBe(true);
    const [first, second, ...others] = ranges();
    expect([first, others]).toEqual([undefined, []]);
    expect(second).toMatch(new RegExp(`^bytes=[1-9]\\d*-${bytes.length - 1}$`));
    expect(await files()).toEqual(["a.bin"]);
  });

  test("is made again as often as it brings something, beyond any number of retries", async () => {
    const { proxy, download, upload, content, ranges } = await openBehindProxy();
    const bytes = randomBytes(mebibyte);
    await upload("a.bin", bytes);
    proxy.inject({ operation: "GetObject", times: 7, action: { kind: "truncate", bytes: 100_000 } });
    expect(await download(["a.bin"])).toMatchObject({ status: 0 });
    expect((await content("a.bin")).equals(bytes)).toBe(true);
    expect(ranges().length).toBeGreaterThan(7);
  });

  test("is made again for each of several ranges", async () => {
    const { proxy, download, upload, content, ranges } = await openBehindProxy();
    const bytes = randomBytes(20 * mebibyte);
    await upload("a.bin", bytes);
    // Three ranges, and all of them are asked for before any of them is broken off.
    proxy.inject({ operation: "GetObject", times: 3, action: { kind: "truncate", bytes: mebibyte } });
    expect(await download(["a.bin"])).toMatchObject({ status: 0 });
    expect((await content("a.bin")).equals(bytes)).toBe(true);
    expect(ranges()).toHaveLength(6);
    const ends = ranges().map((range) => range?.replace(/.*-/, ""));
    for (const end of [8, 16, 20]) expect(ends.filter((one) => one === String(end * mebibyte - 1))).toHaveLength(2);
  });
});

test("a service that stays down is asked only as often as --retries says", async () => {
  const { proxy, download, upload, ranges } = await openBehindProxy();
  await upload("a.bin", randomBytes(1000));
  proxy.inject({ operation: "GetObject", action: { kind: "status", status: 500 } });
  expect(await download(["a.bin"])).toMatchObject({ status: 8 });
  expect(ranges()).toHaveLength(3);
});

test.each<[string, Fault, number]>([
  ["every connection is reset", { kind: "reset" }, 8],
  ["every reply breaks off before its first byte", { kind: "truncate", bytes: 0 }, 8],
  ["the service is down", { kind: "status", status: 503, code: "SlowDown" }, 8],
  ["nobody answers", { kind: "black-hole" }, 8],
  ["it is refused", { kind: "status", status: 403, code: "AccessDenied" }, 4],
  ["the bucket is gone", { kind: "status", status: 404, code: "NoSuchBucket" }, 9],
  ["the object is gone", { kind: "status", status: 404, code: "NoSuchKey" }, 3],
  ["a byte is not the one that was stored", { kind: "flip-byte", offset: 5000, in: "reply" }, 6],
])("a failed download leaves the destination as it was when %s", async (_what, action, status) => {
  const { proxy, cwd, download, upload, files, content } = await openBehindProxy();
  await upload("small.bin", randomBytes(10_000));
  await upload("large.bin", randomBytes(9 * mebibyte));
  await mkdir(join(cwd, "out"));
  writeFileSync(join(cwd, "out", "small.bin"), "mine");
  proxy.inject({ operation: "GetObject", action });
  for (const name of ["small.bin", "large.bin"]) {
    const outcome = await download([name, "--force", "-o", "out", "--timeout", "1s", "--json"]);
    expect(outcome).toMatchObject({ status });
    expect(outcome.json()).toMatchObject({ documents: [], failures: [{ ref: name }], summary: { failed: 1 } });
    expect(JSON.parse(outcome.stderr).retryable).toBe(status === 8);
  }
  expect(await readdir(join(cwd, "out"))).toEqual(["small.bin"]);
  expect((await content("out/small.bin")).toString()).toBe("mine");
  expect(await files()).toEqual(["out"]);
});

describe("a download that is interrupted", () => {
  test("ends while no response comes, and leaves nothing", async () => {
    const { proxy, download, upload, files } = await openBehindProxy();
    await upload("a.bin", randomBytes(20 * mebibyte));
    const abort = new AbortController();
    proxy.inject({ operation: "GetObject", action: { kind: "black-hole" } });
    const ended = download(["a.bin", "--json"], { signal: abort.signal });
    await expect.poll(() => proxy.log.some(isRead)).toBe(true);
    abort.abort();
    const outcome = await ended;
    expect(outcome).toMatchObject({ status: 130, stderr: expect.stringContaining('"code":"CANCELLED"') });
    expect(await files()).toEqual([]);
  });

  test("before it began is no success", async () => {
    const { download, upload, files } = await openBehindProxy();
    await upload("a.bin", "a");
    expect(await download(["a.bin"], { signal: AbortSignal.abort() })).toMatchObject({ status: 130, stdout: "" });
    expect(await files()).toEqual([]);
  });

  test.each<Step>(["download-begun", "download-checked"])("at the step %s leaves nothing", async (step) => {
    const { download, upload, files } = await openBehindProxy();
    await upload("a.bin", randomBytes(10_000));
    const abort = new AbortController();
    atStep(step, () => abort.abort());
    expect(await download(["a.bin"], { signal: abort.signal })).toMatchObject({ status: 130, stdout: "" });
    expect(await files()).toEqual([]);
  });

  test("among others says how many are done", async () => {
    const { download, upload, files } = await openBehindProxy();
    for (const name of ["a", "b", "c"]) await upload(name, name);
    const abort = new AbortController();
    atStep("download-published", () => abort.abort());
    const outcome = await download(["a", "b", "c", "--json"], {
      signal: abort.signal,
      env: { DOCPROC_CONCURRENCY: "1" },
    });
    expect(outcome).toMatchObject({ status: 130 });
    expect(outcome.json()).toMatchObject({ documents: [{ name: "a" }], summary: { total: 3, downloaded: 1 } });
    expect(await files()).toEqual(["a"]);
  });
});

describe("while a document is downloaded", () => {
  test("a file that another program creates in its place is kept", async () => {
    const { cwd, download, upload, files, content } = await openBehindProxy();
    await upload("a.txt", "theirs");
    atStep("download-checked", () => writeFileSync(join(cwd, "a.txt"), "mine"));
    expect(await download(["a.txt"])).toMatchObject({ status: 5, stdout: "" });
    expect((await content("a.txt")).toString()).toBe("mine");
    expect(await files()).toEqual(["a.txt"]);
  });

  test.each([[[]], [["--force"]]])(
    "a link that another program creates in its place is not followed, with %j",
    async (flags) => {
      const { cwd, sandbox, download, upload } = await openBehindProxy();
      await upload("a.txt", "theirs");
      const target = join(sandbox.root, "target");
      writeFileSync(target, "mine");
      atStep("download-checked", () => symlinkSync(target, join(cwd, "a.txt")));
      expect(await download(["a.txt", ...flags])).toMatchObject({ status: flags.length === 0 ? 5 : 0 });
      expect(await readFile(target, "utf8")).toBe("mine");
      expect(lstatSync(join(cwd, "a.txt")).isSymbolicLink()).toBe(flags.length === 0);
    },
  );

  test.each<Step>(["download-begun", "download-checked"])("its directory may be removed (%s)", async (step) => {
    const { cwd, download, upload, files } = await openBehindProxy();
    await upload("a.txt", "a");
    atStep(step, () => rmSync(join(cwd, "out"), { recursive: true }));
    const outcome = await download(["a.txt", "-o", "out/"]);
    expect(outcome).toMatchObject({ status: 3, stdout: "", stderr: expect.stringContaining("a.txt does not exist") });
    expect(await files()).toEqual([]);
  });

  test.each([
    ["ENOSPC", "disk is full"],
    ["EDQUOT", "quota is used up"],
    ["EIO", "disk reported an error"],
  ])("its disk may fail with %s, and nothing is left on it", async (code, says) => {
    const { cwd, download, upload, files } = await openBehindProxy();
    await upload("a.txt", "a");
    const handle = await open(join(cwd, ".docprocrc.json"));
    const prototype: FileHandle = Object.getPrototypeOf(handle);
    await handle.close();
    const failed = Object.assign(new Error(`${code}: no`), { code, syscall: "write" });
    atStep("download-begun", () => vi.spyOn(prototype, "write").mockRejectedValueOnce(failed));
    onTestFinished(() => void vi.restoreAllMocks());
    expect(await download(["a.txt"])).toMatchObject({ status: 8, stdout: "", stderr: expect.stringContaining(says) });
    expect(await files()).toEqual([]);
  });

  test("it may be deleted: then it is not found, and never half of it is there", async () => {
    const { proxy, download, upload, files, settings } = await openBehindProxy();
    await upload("a.bin", randomBytes(20 * mebibyte));
    const objects = aws.s3.buckets.get(settings.bucket ?? "")?.objects;
    let reads = 0;
    const deletedAfterTheFirst = (request: ProxiedRequest) => {
      if (isRead(request) && ++reads === 2) objects?.clear();
      return false;
    };
    proxy.inject({ operation: deletedAfterTheFirst, action: { kind: "reset" } });
    expect(await download(["a.bin"])).toMatchObject({ status: 3, stdout: "" });
    expect(await files()).toEqual([]);
  });

  test("it is in a private file of the same directory", async () => {
    const { cwd, download, upload } = await openBehindProxy();
    await upload("a.txt", "a");
    const seen: { name: string; mode: number }[] = [];
    atStep("download-begun", () => {
      const names = readdirSync(cwd).filter((name) => name !== ".docprocrc.json");
      for (const name of names) seen.push({ name, mode: statSync(join(cwd, name)).mode & 0o777 });
    });
    expect(await download(["a.txt"])).toMatchObject({ status: 0 });
    expect(seen).toEqual([{ name: expect.stringMatching(/^\.docproc-.+\.part$/), mode: 0o600 }]);
  });
});

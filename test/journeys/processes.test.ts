/** The program as a process: whole journeys, exit statuses, signals, pipes, and what is loaded. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { closeSync, existsSync, openSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type AwsEndpoint, awsEndpoints, awsSettings, type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { type FaultRule, startFaultProxy } from "../support/fault-proxy.ts";
import { docproc, finish, type SpawnOptions, start } from "../support/process.ts";
import { makeSandbox } from "../support/run.ts";

/** What a script gets of a failure under --json. */
function expectJsonFailure({ stdout, stderr }: { stdout: string; stderr: string }, code: string) {
  expect(JSON.parse(stdout).schema).toMatch(/^docproc\.(error|upload)\/1$/);
  const error = JSON.parse(stderr.trimEnd().split("\n").at(-1) ?? "");
  expect(error).toMatchObject({ schema: "docproc.error/1", code, message: expect.stringMatching(/./) });
  expect(Object.keys(error)).toEqual(["schema", "code", "message", "hint", "retryable", "requestId"]);
  return error;
}

const places: Record<string, (() => Promise<AwsEndpoint>) | undefined> = {
  "the embedded library": undefined,
  ...awsEndpoints(),
};

test.each(Object.entries(places))("documents go into %s and are found there", async (_place, startAws) => {
  const sandbox = await makeSandbox();
  const aws = await startAws?.();
  onTestFinished(() => aws?.close());
  const flags = aws ? ["--endpoint-url", aws.endpoint, "--bucket", awsSettings("").bucket ?? ""] : [];
  if (aws) expect(await docproc(sandbox, ["init", ...flags])).toMatchObject({ status: 0 });
  await writeFile(join(sandbox.cwd, "a.txt"), "hello\n");
  const uploaded = await docproc(sandbox, ["upload", "a.txt", "--tag", "build=42"]);
  expect(uploaded).toMatchObject({ status: 0, stderr: "" });
  const id = uploaded.stdout.split(/ +/)[1] ?? "";
  expect(await docproc(sandbox, ["upload", "a.txt", "--tag", "build=42", "-q"])).toMatchObject({ stdout: `${id}\n` });
  const piped = await docproc(sandbox, ["upload", "-", "--name", "b.txt", "-q"], { input: "from a pipe\n" });
  expect(piped).toMatchObject({ status: 0, stderr: "" });
  expect(await docproc(sandbox, ["list", "-q"])).toMatchObject({ status: 0, stdout: `${piped.stdout}${id}\n` });
  const shown = await docproc(sandbox, ["show", "a.txt", "--json"]);
  expect(JSON.parse(shown.stdout)).toMatchObject({ schema: "docproc.record/1", id, tags: { build: "42" } });
  const config = JSON.parse((await docproc(sandbox, ["config", "--json"])).stdout);
  expect(config.configFile).toBe(aws ? join(sandbox.cwd, ".docprocrc.json") : null);
});

test("thirty files in flight are no leak to Node, which would say so under -v", async () => {
  const sandbox = await makeSandbox();
  const aws = await startInRepoAws();
  onTestFinished(() => aws.close());
  const files = Array.from({ length: 30 }, (_, index) => `${index}.bin`);
  for (const file of files) await writeFile(join(sandbox.cwd, file), randomBytes(100));
  await writeFile(join(sandbox.cwd, "large.bin"), randomBytes(60 * 1024 * 1024));
  const flags = ["--endpoint-url", aws.endpoint, "--bucket", awsSettings("").bucket ?? "", "--concurrency", "40", "-v"];
  for (const argv of [["init"], ["upload", ...files, "large.bin"], ["verify", "--all", "--deep"]]) {
    const outcome = await docproc(sandbox, [...argv, ...flags]);
    expect(outcome.status).toBe(0);
    expect(outcome.stderr).not.toContain("MaxListeners");
  }
});

describe("the exit status", () => {
  const foreign = "somebody-elses-bucket";
  let aws: InRepoAws;
  beforeAll(async () => {
    aws = await startInRepoAws({ foreignBuckets: [foreign] });
  });
  afterAll(() => aws.close());

  /** A sandbox with a file, a bucket and a table, and a proxy between that fails as told. */
  async function arrange(rule?: FaultRule) {
    const sandbox = await makeSandbox();
    await writeFile(join(sandbox.cwd, "a.txt"), "hello\n");
    const proxy = await startFaultProxy(aws.endpoint);
    onTestFinished(() => proxy.close());
    const bucket = awsSettings("").bucket ?? "";
    const flags = ["--endpoint-url", proxy.endpoint, "--bucket", bucket];
    expect(await docproc(sandbox, ["init", ...flags])).toMatchObject({ status: 0 });
    if (rule) proxy.inject(rule);
    proxy.log.length = 0;
    return { sandbox, proxy, bucket };
  }
  const answer = (status: number, code: string): FaultRule => ({
    operation: "PutObject",
    action: { kind: "status", status, code },
  });
  const flip: FaultRule = { operation: "PutObject", action: { kind: "flip-byte", offset: 2, in: "request" } };
  const noCredentials = { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined };
  const missingBucket = ["upload", "a.txt", "--bucket", "no-such-bucket"];

  test.each<[number, string, string, string[], string, (FaultRule | undefined)?, Record<string, string | undefined>?]>([
    [1, "INTERNAL", "an answer that docproc does not know", ["upload", "a.txt"], "-v", answer(418, "ImATeapot")],
    [2, "USAGE", "a command line that means nothing", ["upload"], "No files to upload"],
    [2, "INVALID_CONFIG", "a setting that cannot be", ["list"], "tape", undefined, { DOCPROC_STORAGE: "tape" }],
    [3, "NOT_FOUND", "a document that is not there", ["show", "missing"], "docproc list"],
    [4, "ACCESS_DENIED", "missing credentials", ["list"], "AWS_ACCESS_KEY_ID", undefined, noCredentials],
    [4, "ACCESS_DENIED", "a refusal", ["upload", "a.txt"], "s3:PutObject", answer(403, "AccessDenied")],
    [5, "CONFLICT", "a bucket of somebody else", ["init", "--bucket", foreign], "another account"],
    [6, "INTEGRITY", "bytes that changed on the way", ["upload", "a.txt"], "Nothing was stored", flip],
    [7, "PARTIAL", "a file of several that failed", ["upload", "a.txt", "missing"], "1 of 2 files failed"],
    [8, "UNAVAILABLE", "a service that is not there", ["list", "--endpoint-url", "http://127.0.0.1:1"], "127.0.0.1:1"],
    [9, "NOT_INITIALISED", "a missing table", ["list", "--table", "missing"], "docproc init"],
    [9, "NOT_INITIALISED", "a missing bucket", missingBucket, "docproc init"],
  ])("is %i, %s, for %s", async (status, code, _what, argv, says, rule, env = {}) => {
    const { sandbox, bucket } = await arrange(rule);
    // The table is the one that was made, unless a flag names another.
    const outcome = await docproc(sandbox, [...argv, "--json"], { env: { DOCPROC_TABLE: bucket, ...env } });
    expect(outcome.status).toBe(status);
    const error = expectJsonFailure(outcome, code);
    expect(error.retryable).toBe(code === "UNAVAILABLE");
    expect(`${error.message}\n${error.hint}`).toContain(says);
    expect(outcome.stderr).not.toMatch(/^\s+at /m);
  });

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("of %s is %i when it interrupts an upload that hangs", async (signal, status) => {
    const { sandbox, proxy, bucket } = await arrange({ operation: "PutObject", action: { kind: "black-hole" } });
    const child = start(sandbox, ["upload", "a.txt", "--json"]);
    const ended = finish(child);
    await expect.poll(() => proxy.log.map(({ operation }) => operation)).toContain("PutObject");
    child.kill(signal);
    const outcome = await ended;
    expect(outcome.status).toBe(status);
    expect(expectJsonFailure(outcome, "CANCELLED").retryable).toBe(true);
    proxy.clear();
    expect(JSON.parse((await docproc(sandbox, ["list", "--json"])).stdout).count).toBe(0);
    expect(aws.s3.buckets.get(bucket)?.objects.size).toBe(0);
    expect((await docproc(sandbox, ["upload", "a.txt"])).status).toBe(0);
  });

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("of %s is %i when it interrupts an upload whose input has stalled", async (signal, status) => {
    const sandbox = await makeSandbox();
    const child = start(sandbox, ["upload", "-", "--name", "a.bin"]);
    const ended = finish(child);
    child.stdin?.write(randomBytes(9 * 1024 * 1024));
    const incoming = join(sandbox.root, "data", "docproc", "incoming");
    await expect.poll(() => readdir(incoming)).toHaveLength(1);
    child.kill(signal);
    const outcome = await ended;
    expect(outcome).toMatchObject({
      status,
      stdout: "",
      stderr: expect.stringMatching(/^error: Interrupted.+\nhint: /),
    });
    expect(await readdir(incoming)).toEqual([]);
    expect(await docproc(sandbox, ["list", "-q"])).toMatchObject({ status: 0, stdout: "" });
  });
});

describe("standard output", () => {
  /** Documents with so much metadata that a listing does not fit into a pipe. */
  async function withLargeListing() {
    const sandbox = await makeSandbox();
    const files = Array.from({ length: 50 }, (_, n) => `${n}.txt`);
    for (const file of files) await writeFile(join(sandbox.cwd, file), file);
    const meta = ["--meta", `k=${"x".repeat(16_000)}`];
    expect(await docproc(sandbox, ["upload", ...files, ...meta])).toMatchObject({ status: 0 });
    return sandbox;
  }

  test.each(["--json", "--ndjson"])("may be closed by its reader, with %s: no stack trace follows", async (flag) => {
    const child = start(await withLargeListing(), ["list", flag]);
    child.stdout?.once("data", () => child.stdout?.destroy());
    const [stderr, [status]] = await Promise.all([child.stderr ? text(child.stderr) : "", once(child, "exit")]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });

  test.skipIf(!existsSync("/dev/full"))("that cannot be written to is a failure", async () => {
    const sandbox = await withLargeListing();
    const full = openSync("/dev/full", "w");
    onTestFinished(() => closeSync(full));
    const outcome = await docproc(sandbox, ["list", "--json"], { stdout: full });
    expect(outcome.status).not.toBe(0);
    expect(outcome.stderr).not.toBe("");
    expect(JSON.parse(outcome.stderr)).toMatchObject({ schema: "docproc.error/1", code: "UNAVAILABLE" });
  });

  test("has colours on a terminal that has them, and none in a pipe, with NO_COLOR or with --no-color", async () => {
    const sandbox = await makeSandbox();
    for (const name of ["a.txt", "b\u001b[31m.txt"]) await writeFile(join(sandbox.cwd, name), name);
    expect((await docproc(sandbox, ["upload", "a.txt", "--tag", "k=a\u001b[31m"])).status).toBe(0);
    // No path has such a character, and what is said of it has none either.
    const refused = await docproc(sandbox, ["upload", "b\u001b[31m.txt"]);
    expect(refused.status).toBe(2);
    expect(refused.stderr).toContain("b\\u001b[31m.txt");
    expect(refused.stdout + refused.stderr).not.toContain("\u001b");
    const terminal = `data:text/javascript,import { WriteStream } from "node:tty";
      const getColorDepth = WriteStream.prototype.getColorDepth;
      Object.assign(process.stdout, { isTTY: true, columns: 80, getColorDepth });`;
    const node = ["--import", terminal.replaceAll("\n", " ")];
    const env = { TERM: "xterm-256color" };
    const list = async (argv: string[], options: SpawnOptions) =>
      (await docproc(sandbox, ["list", ...argv], options)).stdout;
    expect(await list([], { node, env })).toContain("\u001b[");
    expect(await list([], { node, env: { ...env, NO_COLOR: "1" } })).not.toContain("\u001b");
    expect(await list(["--no-color"], { node, env })).not.toContain("\u001b");
    expect(await list([], { env })).not.toContain("\u001b");
    expect(await list([], { env })).toContain("k=a\\e[31m");
  });
});

describe("a first look", () => {
  test("at the version and the help prints them and succeeds", async () => {
    const sandbox = await makeSandbox();
    const { version } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
    expect(await docproc(sandbox, ["--version"])).toEqual({ status: 0, stdout: `${version}\n`, stderr: "" });
    const help = await docproc(sandbox, ["--help"]);
    expect(help).toMatchObject({ status: 0, stderr: "" });
    for (const command of ["init", "upload", "list", "show", "config"]) {
      expect(help.stdout).toMatch(new RegExp(`^ {2}${command}\\b`, "m"));
      const own = await docproc(sandbox, [command, "--help"]);
      expect(own).toMatchObject({ status: 0, stderr: "" });
      expect(own.stdout).toContain(`  docproc ${command}`);
    }
    // Newer Nodes keep compiled code.
    expect((await readdir(sandbox.root)).filter((name) => name !== "cache")).toEqual(["cwd", "home"]);
  });

  test("with a word that is no command suggests one", async () => {
    const sandbox = await makeSandbox();
    const outcome = await docproc(sandbox, ["uplaod", "a.txt"]);
    expect(outcome).toMatchObject({ status: 2, stdout: "", stderr: expect.stringContaining("Did you mean upload?") });
    expectJsonFailure(await docproc(sandbox, ["uplaod", "--json"]), "USAGE");
  });

  test("at the help of a word that is no command says so", async () => {
    const outcome = await docproc(await makeSandbox(), ["help", "uplaod"]);
    expect(outcome).toMatchObject({ status: 2, stdout: "", stderr: expect.stringContaining("uplaod") });
  });
});

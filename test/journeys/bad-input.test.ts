/**
 * Input that cannot be meant: it has an exit status, a message and a next step, prints nothing on stdout, and leaves
 * no trace. Not here, since docproc has no such thing: collections, nested metadata, `--expect-sha256`,
 * `--expect-size`, `--no-follow`, lists separated by NUL, and a limit to the size of a document.
 */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join, relative } from "node:path";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { awsSettings, type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import { makeSandbox, type RunOptions, runDocproc, type Sandbox } from "../support/run.ts";

interface BadInput {
  readonly argv: readonly string[];
  readonly status: number;
  /** What the message or the hint says. */
  readonly says: string | RegExp;
  readonly arrange?: (sandbox: Sandbox) => Promise<unknown>;
  readonly options?: RunOptions;
}

const write = (name: string, content: string | Buffer) => (sandbox: Sandbox) =>
  writeFile(join(sandbox.cwd, name), content);

async function listen(path: string): Promise<void> {
  const server = createServer().listen(path);
  onTestFinished(() => void server.close());
  await once(server, "listening");
}

const terminal = Object.assign(Readable.from([]), { isTTY: true });
const file = "a.txt";
const tags = (count: number) => Array.from({ length: count }, (_, index) => ["--tag", `k${index}=v`]).flat();
const alias = (depth: number) =>
  Array.from({ length: depth }, (_, n) => `l${n + 1}: &l${n + 1} [${`*l${n},`.repeat(9)}*l${n}]`);
const bomb = ["l0: &l0 [x]", ...alias(12), "bucket: *l12"].join("\n");
const config = (content: string | object, says: string | RegExp, name = ".docprocrc.json"): BadInput => ({
  argv: ["list"],
  status: 2,
  says,
  arrange: write(name, typeof content === "string" ? content : JSON.stringify(content)),
});

const table: Record<string, BadInput> = {
  "a file that is not there": { argv: ["upload", "missing"], status: 3, says: "missing does not exist" },
  "a file below a file": { argv: ["upload", "a.txt/b"], status: 3, says: "not a directory" },
  "an empty path": { argv: ["upload", ""], status: 2, says: "variable of the script" },
  "a directory without -r": { argv: ["upload", "folder"], status: 2, says: "Add -r" },
  "a directory without files": { argv: ["upload", "-r", "folder"], status: 3, says: "no files" },
  "a pattern that the shell left as it is": { argv: ["upload", "*.pdf"], status: 3, says: "*.pdf does not exist" },
  "a device": { argv: ["upload", "/dev/zero"], status: 2, says: "not a regular file" },
  "a named pipe": {
    argv: ["upload", "pipe"],
    status: 2,
    says: "not a regular file",
    arrange: async ({ cwd }) => spawnSync("mkfifo", [join(cwd, "pipe")]),
  },
  "a socket": {
    argv: ["upload", "socket"],
    status: 2,
    says: "not a regular file",
    arrange: ({ cwd }) => listen(relative(process.cwd(), join(cwd, "socket"))),
  },
  "a link to nowhere": {
    argv: ["upload", "link"],
    status: 3,
    says: "does not exist",
    arrange: ({ cwd }) => symlink("nowhere", join(cwd, "link")),
  },
  "a link to itself": {
    argv: ["upload", "link"],
    status: 3,
    says: "is a symbolic link to itself",
    arrange: ({ cwd }) => symlink("link", join(cwd, "link")),
  },
  "a list of paths that is not there": { argv: ["upload", "--files-from", "list"], status: 3, says: "list" },
  "a list of paths with NUL between them": {
    argv: ["upload", "--files-from", "-"],
    status: 2,
    says: "one path per line",
    options: { stdin: "a.txt\0b.txt" },
  },
  "a terminal for a document": {
    argv: ["upload", "-", "--name", "x"],
    status: 2,
    says: "Pipe data into it",
    options: { stdin: terminal },
  },
  "a document from stdin without a name": { argv: ["upload", "-"], status: 2, says: "--name" },
  "stdin for two things": { argv: ["upload", "-", "--files-from", "-", "--name", "x"], status: 2, says: "only once" },
  "one name for two files": { argv: ["upload", file, file, "--name", "x"], status: 2, says: "one document" },
  "a name that is empty": { argv: ["upload", file, "--name", ""], status: 2, says: "is empty" },
  "the name .": { argv: ["upload", file, "--name", "."], status: 2, says: "segment" },
  "the name ..": { argv: ["upload", file, "--name", ".."], status: 2, says: "segment" },
  "a name that leads upwards": { argv: ["upload", file, "--name", "a/../b"], status: 2, says: "segment" },
  "a name at the root": { argv: ["upload", file, "--name", "/a"], status: 2, says: "slash" },
  "a folder with a dot": { argv: ["upload", file, "--into", "./a"], status: 2, says: "--into" },
  "a name with NUL": { argv: ["upload", file, "--name", "a\0b"], status: 2, says: "control" },
  "a name with half a character": { argv: ["upload", file, "--name", "a\ud800"], status: 2, says: "Unicode" },
  "a name of 1025 bytes": { argv: ["upload", file, "--name", "x".repeat(1025)], status: 2, says: "1024" },
  "a tag without =": { argv: ["upload", file, "--tag", "build"], status: 2, says: "key=value" },
  "a tag without a key": { argv: ["upload", file, "--tag", "=42"], status: 2, says: "key=value" },
  "a tag twice": { argv: ["upload", file, "--tag", "a=1", "--tag", "a=2"], status: 2, says: "twice" },
  "a tag with half a character": { argv: ["upload", file, "--tag", "a=\udc00"], status: 2, says: "--tag" },
  "41 tags": { argv: ["upload", file, ...tags(41)], status: 2, says: "at most 40" },
  "a long key of a tag": { argv: ["upload", file, "--tag", `${"k".repeat(129)}=v`], status: 2, says: "128" },
  "a long value of a tag": { argv: ["upload", file, "--tag", `k=${"v".repeat(257)}`], status: 2, says: "256" },
  "a tag of a listing without a key": { argv: ["list", "--tag", "=42"], status: 2, says: "--tag" },
  "a tag of a listing that is not to be, without a key": {
    argv: ["list", "--not-tag", "=42"],
    status: 2,
    says: "--not-tag",
  },
  "17 KB of metadata": { argv: ["upload", file, "--meta", `k=${"v".repeat(17_000)}`], status: 2, says: "16384" },
  "metadata twice": { argv: ["upload", file, "--meta", "a=1", "--meta", "a=1"], status: 2, says: "twice" },
  "a content type that is none": {
    argv: ["upload", file, "--content-type", "pdf"],
    status: 2,
    says: "application/pdf",
  },
  "a content type with a second header": {
    argv: ["upload", file, "--content-type", "a/b\r\nX-Amz-Acl: public-read"],
    status: 2,
    says: "content type",
  },
  "a part of a byte": { argv: ["upload", file, "--part-size", "1"], status: 2, says: "5MiB" },
  "no file in flight": { argv: ["upload", file, "--concurrency", "0"], status: 2, says: "1 to 256" },
  "an empty exclusion": { argv: ["upload", file, "--exclude", ""], status: 2, says: "glob" },
  "everything excluded": { argv: ["upload", file, "--exclude", "*"], status: 3, says: "1 excluded" },
  "no path at all": { argv: ["upload"], status: 2, says: "Name files" },
  "a cursor that is none": { argv: ["list", "--cursor", "garbage"], status: 2, says: "nextCursor" },
  "half a cursor": { argv: ["list", "--cursor", "0198aaaa-bbbb-7ccc"], status: 2, says: "nextCursor" },
  "a cursor of a megabyte": { argv: ["list", "--cursor", "0".repeat(2 ** 20)], status: 2, says: "nextCursor" },
  "an id of another version": {
    argv: ["list", "--cursor", "3f2b8a4e-9d1c-4c3a-8f6e-2b1a0c9d8e7f"],
    status: 2,
    says: "nextCursor",
  },
  "a listing of 0": { argv: ["list", "--limit", "0"], status: 2, says: "--all" },
  "a listing of -1": { argv: ["list", "--limit", "-1"], status: 2, says: "--all" },
  "a listing of 1.5": { argv: ["list", "--limit", "1.5"], status: 2, says: "--all" },
  "a listing of abc": { argv: ["list", "--limit", "abc"], status: 2, says: "--all" },
  "a listing of nothing": { argv: ["list", "--limit", ""], status: 2, says: "--all" },
  "a limit and none": { argv: ["list", "--all", "--limit", "3"], status: 2, says: "contradict" },
  "a time that has passed before it began": {
    argv: ["list", "--since", "1d", "--until", "2d"],
    status: 2,
    says: "Swap",
  },
  "a time in words": { argv: ["list", "--since", "yesterday"], status: 2, says: "7d" },
  "a year behind the last one": { argv: ["list", "--until", "275761-01-01"], status: 2, says: "7d" },
  "a glob that is empty": { argv: ["list", "--name", ""], status: 2, says: "glob" },
  "a type that is empty": { argv: ["list", "--type", ""], status: 2, says: "glob" },
  "a glob of 10,000 alternatives": { argv: ["list", "--name", "{a,b}".repeat(10_000)], status: 2, says: "1024" },
  "a glob that only shells know": { argv: ["list", "--name", "page-{1..3}.pdf"], status: 2, says: "{1,2,3}" },
  "a document that is not there": { argv: ["show", "nothing"], status: 3, says: "docproc list" },
  "a reference that is empty": { argv: ["show", ""], status: 3, says: "No document" },
  "a reference with NUL": { argv: ["show", "a\0b"], status: 3, says: "No document" },
  "a reference of a megabyte": { argv: ["show", "x".repeat(2 ** 20)], status: 3, says: "No document" },
  "nothing to verify": { argv: ["verify"], status: 2, says: "--all" },
  "a sample of 0": { argv: ["verify", "--all", "--sample", "0"], status: 2, says: "percentage" },
  "a deletion that nobody confirms": { argv: ["delete", "kept.txt"], status: 2, says: "--yes" },
  "two documents for stdout": { argv: ["download", "a", "b", "-o", "-"], status: 2, says: "Name a directory" },
  "a binary for a terminal": {
    argv: ["download", "kept.bin", "-o", "-"],
    status: 2,
    says: "-o FILE",
    options: { terminal: 80 },
  },
  "a command that is none": { argv: ["uplaod", file], status: 2, says: "upload" },
  "a flag that is none": { argv: ["list", "--limt", "3"], status: 2, says: "--limit" },
  "a flag without its value": { argv: ["list", "--limit"], status: 2, says: "--limit" },
  "an argument too many": { argv: ["list", "kept.txt", "kept.bin"], status: 2, says: "Too many arguments" },
  "a name no bucket can have": { argv: ["upload", file, "--bucket", "Invoices"], status: 2, says: "lower-case" },
  "a bucket like an address": { argv: ["init", "--bucket", "192.168.0.1"], status: 2, says: "valid bucket name" },
  "a bucket with two dots": { argv: ["init", "--bucket", "a..b"], status: 2, says: "valid bucket name" },
  "a name no table can have": { argv: ["list", "--table", "my documents"], status: 2, says: "valid table name" },
  "an endpoint without TLS": {
    argv: ["list", "--bucket", "documents", "--endpoint-url", "http://192.0.2.1:1"],
    status: 2,
    says: "TLS",
  },
  "an endpoint of another protocol": { argv: ["list", "--endpoint-url", "ftp://127.0.0.1"], status: 2, says: "https" },
  "an endpoint that is a file": { argv: ["list", "--endpoint-url", "file:///etc"], status: 2, says: "https" },
  "an endpoint with a password": { argv: ["list", "--endpoint-url", "http://u:p@localhost"], status: 2, says: "***@" },
  "a region that is none": { argv: ["list", "--region", "eu west"], status: 2, says: "eu-west-1" },
  "a prefix that leads out": { argv: ["list", "--prefix", "../x"], status: 2, says: "single slashes" },
  "retries below none": { argv: ["list", "--retries", "-1"], status: 2, says: "0 to 100" },
  "no time at all": { argv: ["list", "--timeout", "0"], status: 2, says: "30s" },
  "an account that is none": { argv: ["list", "--bucket-owner", "me"], status: 2, says: "12 digits" },
  "JSON that is none": config("{", "docprocrc.json"),
  "YAML that is none": config("a: b: c", "docprocrc.yaml", ".docprocrc.yaml"),
  "two megabytes of settings": config(" ".repeat(2 ** 21), "2097152"),
  "a list that holds itself a billion times over": config(bomb, "bucket", ".docprocrc.yaml"),
  "a setting that does not exist": config({ buckt: "b" }, "Did you mean bucket?"),
  "a setting that is a list": config({ bucket: ["b"] }, "bucket"),
  "a setting of the wrong type": config({ concurrency: "many" }, "1 to 256"),
  "settings that are a list": config("[]", "has no settings"),
  "a config file that is not there": { argv: ["list", "--config", "none.json"], status: 2, says: "none.json" },
  "a config file that is a directory": { argv: ["list", "--config", "folder"], status: 2, says: "regular file" },
};

async function keepTwo(sandbox: Sandbox, env: RunOptions["env"] & {}): Promise<void> {
  const binary = ["--name", "kept.bin", "--content-type", "application/pdf"];
  for (const flags of [["--name", "kept.txt"], binary]) {
    expect(await runDocproc(sandbox, ["upload", file, ...flags], { env })).toMatchObject({ status: 0 });
  }
}

/** Every file and directory with its size and time. */
async function snapshot(root: string) {
  const entries = await readdir(root, { recursive: true });
  return await Promise.all(
    entries.sort().map(async (name) => {
      const seen = await stat(join(root, name)).catch(() => undefined);
      return [name, seen?.isFile() ? seen.size : null, seen?.mtimeMs];
    }),
  );
}

const readOnly = /^(Get|Head|List|Query|Scan|Describe)/;

describe.each(["the embedded library", "AWS"])("refused on %s", (place) => {
  let aws: InRepoAws | undefined;
  beforeAll(async () => {
    if (place === "AWS") aws = await startInRepoAws();
  });
  afterAll(() => aws?.close());

  /** A library with two documents in it, which are all that there is afterwards too. */
  async function open() {
    const sandbox = await makeSandbox();
    await mkdir(join(sandbox.cwd, "folder"));
    await writeFile(join(sandbox.cwd, file), "hello\n");
    if (aws === undefined) {
      await keepTwo(sandbox, {});
      return { sandbox, env: {}, log: [] };
    }
    const proxy = await startFaultProxy(aws.endpoint);
    onTestFinished(() => proxy.close());
    const env = { DOCPROC_BUCKET: awsSettings("").bucket, DOCPROC_ENDPOINT_URL: proxy.endpoint };
    expect(await runDocproc(sandbox, ["init"], { env })).toMatchObject({ status: 0 });
    await rm(join(sandbox.cwd, ".docprocrc.json"));
    await keepTwo(sandbox, env);
    proxy.log.length = 0;
    return { sandbox, env, log: proxy.log };
  }

  test.each(Object.entries(table))("%s", async (_what, { argv, status, says, arrange, options }) => {
    const { sandbox, env, log } = await open();
    await arrange?.(sandbox);
    const before = await snapshot(sandbox.root);
    const outcome = await runDocproc(sandbox, argv, { env, ...options });
    expect(outcome).toMatchObject({ status, stdout: "" });
    expect(outcome.stderr).toMatch(/^error: .+\nhint: {2}.+\n$/);
    expect(outcome.stderr.replaceAll("\n", " ")).toMatch(says);
    const json = await runDocproc(sandbox, [...argv, "--json"], { env, ...options });
    expect(json.status).toBe(status);
    expect(JSON.parse(json.stderr)).toMatchObject({ schema: "docproc.error/1", retryable: false });
    expect(json.json().schema).toMatch(/^docproc\.(error|upload)\/1$/);
    expect(await snapshot(sandbox.root)).toEqual(before);
    expect(log.map(({ operation }) => operation).filter((operation) => !readOnly.test(operation))).toEqual([]);
  });
});

/** `docproc upload`: what becomes of files, bytes and records, on every kind of library. */
import { type ExecFileException, execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { GetObjectCommand, ListMultipartUploadsCommand, ListObjectsV2Command, S3Client } from "@aws-sdk/client-s3";
import { describe, expect, onTestFinished, test } from "vitest";
import { awsSettings } from "../../support/aws.ts";
import { places, usePlace } from "../../support/library.ts";
import { makeSandbox, type RunOptions, runDocproc } from "../../support/run.ts";

const mebibyte = 1024 * 1024;
const cli = fileURLToPath(new URL("../../../dist/docproc.js", import.meta.url));
const recordFields =
  "id path name size contentType sha256 uploadedAt uri tags metadata source provenance crc32 expiresAt".split(" ");
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

/** An empty library: the embedded one, or a bucket and a table at an endpoint. */
async function openLibrary(endpoint?: string) {
  const sandbox = await makeSandbox();
  const bucket = awsSettings("").bucket ?? "";
  const directory = join(sandbox.root, "library");
  const flags = endpoint === undefined ? ["--directory", directory] : ["--endpoint-url", endpoint, "--bucket", bucket];
  const run = (argv: readonly string[], options?: RunOptions) => runDocproc(sandbox, [...flags, ...argv], options);
  const files = async (name: string) => {
    const entries = await readdir(join(directory, name), { recursive: true, withFileTypes: true }).catch(() => []);
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  };
  const client = new S3Client({ ...(endpoint !== undefined && { endpoint }), forcePathStyle: true });
  onTestFinished(() => client.destroy());
  if (endpoint !== undefined) expect(await run(["init"])).toMatchObject({ status: 0 });
  return {
    sandbox,
    bucket,
    directory,
    flags,
    run,
    write: async (name: string, content: string | Buffer) => await writeFile(join(sandbox.cwd, name), content),
    records: async () => (await run(["list", "--all", "--json"])).json().documents,
    /** Keys of all objects, and what unfinished uploads left behind. */
    async stored(): Promise<{ keys: string[]; leftovers: number }> {
      if (endpoint === undefined) {
        const keys = (await files("objects")).map((path) => path.slice(join(directory, "objects").length + 1));
        return { keys, leftovers: (await files("incoming")).length };
      }
      const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket }));
      const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
      return { keys: Contents.map(({ Key }) => Key ?? ""), leftovers: Uploads.length };
    },
    async bytesAt(uri: string): Promise<Buffer> {
      if (endpoint === undefined) return await readFile(fileURLToPath(uri));
      const [, Bucket, Key] = /^s3:\/\/([^/]+)\/(.*)$/.exec(uri) ?? [];
      const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }));
      return Buffer.from((await Body?.transformToByteArray()) ?? []);
    },
    /** In a process of its own. */
    async spawn(argv: readonly string[]) {
      const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_CONFIG_FILE } = process.env;
      const aws = { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_CONFIG_FILE };
      const env = { ...aws, HOME: sandbox.home, AWS_SHARED_CREDENTIALS_FILE: "does-not-exist" };
      const child = promisify(execFile)(process.execPath, [cli, ...flags, ...argv], { cwd: sandbox.cwd, env });
      return await child.then(
        ({ stdout }) => ({ status: 0, json: () => JSON.parse(stdout) }),
        (error: ExecFileException & { stdout: string }) => ({
          status: error.code,
          json: () => JSON.parse(error.stdout),
        }),
      );
    },
  };
}

describe.each(Object.entries(places))("upload to %s", (_place, start) => {
  const endpoint = usePlace(start);

  test("stores a new document and leaves it alone when it comes again", async () => {
    const library = await openLibrary(endpoint());
    await library.write("a.txt", "hello\n");
    const first = (await library.run(["upload", "a.txt", "--json"])).json();
    const again = await library.run(["upload", "./a.txt", "--json"]);
    expect(first.documents[0]).toMatchObject({ action: "uploaded", bytesSent: 6 });
    expect(again.status).toBe(0);
    expect(again.json().documents).toEqual([{ ...first.documents[0], action: "unchanged", bytesSent: 0 }]);
    expect(again.json().summary).toMatchObject({ total: 1, uploaded: 0, unchanged: 1, bytes: 6, bytesSent: 0 });
    expect(await library.records()).toHaveLength(1);
    expect((await library.stored()).keys).toHaveLength(1);
  });

  test("makes a new record for other tags, another name or other bytes", async () => {
    const library = await openLibrary(endpoint());
    await library.write("a.txt", "hello\n");
    await library.write("c.txt", "other\n");
    const actions = [];
    for (const argv of [["a.txt"], ["a.txt", "--tag", "build=1"], ["a.txt", "--tag", "build=2"]]) {
      actions.push((await library.run(["upload", ...argv, "--json"])).json().documents[0].action);
    }
    for (const [file = "", name = ""] of [
      ["a.txt", "b.txt"],
      ["c.txt", "a.txt"],
    ]) {
      actions.push((await library.run(["upload", file, "--name", name, "--json"])).json().documents[0].action);
    }
    expect(actions).toEqual(Array(5).fill("uploaded"));
    const again = await library.run(["upload", "a.txt", "--tag", "build=1", "--json"]);
    expect(again.json().documents[0]).toMatchObject({ action: "unchanged", tags: { build: "1" } });
    expect(await library.records()).toHaveLength(5);
  });

  test("stores a duplicate every time with --on-duplicate store, and a plain upload then reuses one", async () => {
    const library = await openLibrary(endpoint());
    await library.write("a.txt", "hello\n");
    for (let copies = 1; copies <= 3; copies++) {
      const { documents } = (await library.run(["upload", "a.txt", "--on-duplicate", "store", "--json"])).json();
      expect(documents[0].action).toBe("uploaded");
      expect(await library.records()).toHaveLength(copies);
    }
    expect((await library.run(["upload", "a.txt", "--json"])).json().documents[0].action).toBe("unchanged");
    const { keys } = await library.stored();
    expect(keys).toHaveLength(3);
  });

  test("prints a record with every field, and stores under a key made of the id", async () => {
    const library = await openLibrary(endpoint());
    await library.write("Zoë (1).pdf", "%PDF-1.7\n");
    const argv = ["upload", "Zoë (1).pdf", "--prefix", "team/in", "--tag", "b=2", "--meta", "note=x=y", "--json"];
    const { documents, ...envelope } = (await library.run(argv)).json();
    expect(envelope).toEqual({
      schema: "docproc.upload/1",
      failures: [],
      summary: {
        total: 1,
        uploaded: 1,
        resumed: 0,
        unchanged: 0,
        restored: 0,
        updated: 0,
        planned: 0,
        failed: 0,
        bytes: 9,
        bytesSent: 9,
        durationMs: expect.any(Number),
        skipped: { hidden: 0, symlinks: 0, excluded: 0, special: 0 },
      },
    });
    const [document] = documents;
    expect(Object.keys(document)).toEqual([...recordFields, "action", "bytesSent"]);
    const { id, uploadedAt, uri } = document;
    expect(document).toMatchObject({
      id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
      path: "Zoë (1).pdf",
      name: "Zoë (1).pdf",
      size: 9,
      contentType: "application/pdf",
      sha256: sha256(Buffer.from("%PDF-1.7\n")),
      tags: { b: "2" },
      metadata: { note: "x=y" },
      source: { kind: "file", path: "Zoë (1).pdf", modifiedAt: expect.stringMatching(/^\d{4}-.*\.\d{3}Z$/) },
      provenance: null,
      expiresAt: null,
    });
    expect(Date.parse(uploadedAt)).toBe(Number.parseInt(id.replace("-", "").slice(0, 12), 16));
    const key = `team/in/${id.slice(-2)}/${id}/Zoe_1.pdf`;
    expect((await library.stored()).keys).toEqual([key]);
    expect(uri.endsWith(`/${key}`)).toBe(true);
    expect((await library.bytesAt(uri)).toString()).toBe("%PDF-1.7\n");
  });

  test("keeps every byte of an empty file, a large file and a long stream, and knows them again", async () => {
    const library = await openLibrary(endpoint());
    const [large, streamed] = [randomBytes(20 * mebibyte), randomBytes(9 * mebibyte)];
    await library.write("empty.bin", "");
    await library.write("large.bin", large);
    const files = (await library.run(["upload", "empty.bin", "large.bin", "--json"])).json();
    const stdin = () => Readable.from([streamed.subarray(0, 5), streamed.subarray(5)], { objectMode: false });
    const fromStdin = await library.run(["upload", "-", "--name", "s.bin", "--json"], { stdin: stdin() });
    const documents = [...files.documents, ...fromStdin.json().documents];
    for (const [index, bytes] of [Buffer.alloc(0), large, streamed].entries()) {
      const document = documents[index];
      expect(document).toMatchObject({ action: "uploaded", size: bytes.length, sha256: sha256(bytes) });
      expect((await library.bytesAt(document.uri)).equals(bytes)).toBe(true);
    }
    expect(documents[2].source).toEqual({ kind: "stdin", path: null, modifiedAt: null });
    const again = (await library.run(["upload", "empty.bin", "large.bin", "--json"])).json();
    expect(again.summary).toMatchObject({ unchanged: 2, bytesSent: 0 });
    const streamedAgain = await library.run(["upload", "-", "--name", "s.bin", "--json"], { stdin: stdin() });
    expect(streamedAgain.json().documents[0]).toMatchObject({ action: "unchanged", id: documents[2].id });
    expect(await library.records()).toHaveLength(3);
    expect(await library.stored()).toMatchObject({ keys: { length: 3 }, leftovers: 0 });
  });

  test("plans with --dry-run what it would do, and does nothing", async () => {
    const library = await openLibrary(endpoint());
    await library.write("new.txt", "new\n");
    await library.write("large.bin", Buffer.alloc(9 * mebibyte));
    const argv = ["upload", "new.txt", "large.bin", "--dry-run", "--json"];
    const planned = await library.run(argv);
    expect(planned.status).toBe(0);
    expect(planned.json().summary).toMatchObject({ total: 2, uploaded: 0, planned: 2, failed: 0, bytesSent: 0 });
    const human = await library.run(argv.slice(0, -1));
    expect(human.stderr).toMatch(/^2 planned; 0 B sent in /);
    const [small, large] = planned.json().documents;
    expect(Object.keys(small).toSorted()).toEqual([...recordFields, "action", "bytesSent"].toSorted());
    const unknown = { id: null, uploadedAt: null, uri: null, provenance: null, action: "planned", bytesSent: 0 };
    expect(small).toMatchObject({
      ...unknown,
      path: "new.txt",
      name: "new.txt",
      size: 4,
      sha256: sha256(Buffer.from("new\n")),
    });
    expect(large).toMatchObject({ ...unknown, name: "large.bin", size: 9 * mebibyte, sha256: null });
    expect(await library.records()).toEqual([]);
    expect(await library.stored()).toEqual({ keys: [], leftovers: 0 });
  });

  test("shows a hostile name escaped, and keeps name, tags and metadata to the letter", async () => {
    const library = await openLibrary(endpoint());
    const name = "a\u2028\u202egnp.txt";
    await library.write(name, "x");
    const argv = ["upload", name, "--tag", "__proto__=p", "--tag", "é=\u001b]0;", "--meta", "constructor=c"];
    const human = await library.run(argv);
    expect(human.stdout).toMatch(/^uploaded {2}[0-9a-f-]{36} {2}a\\u\{2028\}\\u\{202e\}gnp\.txt {2}1\n$/);
    const [record] = (await library.run(["list", "--json"])).json().documents;
    expect(record.name).toBe(name);
    expect(Object.entries(record.tags)).toEqual([
      ["__proto__", "p"],
      ["é", "\u001b]0;"],
    ]);
    expect(Object.entries(record.metadata)).toEqual([["constructor", "c"]]);
  });

  test("ends in one record and one object when several processes upload the same file at once", async () => {
    const library = await openLibrary(endpoint());
    await library.write("a.bin", randomBytes(mebibyte));
    const argv = ["upload", "a.bin", "--json"];
    const outcomes = await Promise.all([library.spawn(argv), library.spawn(argv), library.run(argv)]);
    expect(outcomes.map(({ status }) => status)).toEqual([0, 0, 0]);
    const documents = outcomes.map((outcome) => outcome.json().documents[0]);
    expect(new Set(documents.map(({ id }) => id)).size).toBe(1);
    expect(documents.filter(({ action }) => action === "uploaded")).toHaveLength(1);
    expect(await library.records()).toHaveLength(1);
    expect(await library.stored()).toMatchObject({ keys: { length: 1 }, leftovers: 0 });
  });

  test("goes on after a file that fails, and says which", async () => {
    const library = await openLibrary(endpoint());
    await mkdir(join(library.sandbox.cwd, "folder"));
    await library.write("a.txt", "a");
    await library.write("b.txt", "b");
    const outcome = await library.run(["upload", "missing", "a.txt", "folder", "b.txt", "a.txt", "--json"]);
    expect(outcome.status).toBe(7);
    const { documents, failures, summary } = outcome.json();
    expect(documents.map(({ name }: { name: string }) => name)).toEqual(["a.txt", "b.txt", "a.txt"]);
    const text = expect.stringMatching(/\.$/);
    expect(failures).toEqual([
      { path: "missing", code: "NOT_FOUND", message: text, hint: text },
      { path: "folder", code: "USAGE", message: text, hint: expect.stringContaining("-r") },
    ]);
    expect(summary).toMatchObject({ total: 5, uploaded: 2, unchanged: 1, failed: 2 });
    expect(await library.records()).toHaveLength(2);
    expect((await library.stored()).keys).toHaveLength(2);
  });
});

describe("the inputs of an upload", () => {
  test("come from directories with -r, without hidden, linked and excluded files, which are counted", async () => {
    const library = await openLibrary();
    for (const folder of ["d/sub", "d/.git"]) await mkdir(join(library.sandbox.cwd, folder), { recursive: true });
    for (const file of ["d/b.js", "d/a.js", "d/a.map", "d/sub/c.js", "d/sub/skip.txt", "d/.env", "d/.git/HEAD"]) {
      await library.write(file, file);
    }
    await symlink("b.js", join(library.sandbox.cwd, "d/link.js"));
    const argv = ["upload", "-r", "d", "--exclude", "*.map", "--exclude", "sub/skip.*", "--json"];
    const { documents, summary } = (await library.run(argv)).json();
    expect(documents.map(({ source }: { source: { path: string } }) => source.path)).toEqual([
      "d/a.js",
      "d/b.js",
      "d/sub/c.js",
    ]);
    expect(summary.skipped).toEqual({ hidden: 2, symlinks: 1, excluded: 2, special: 0 });
    const human = await library.run(["upload", "-r", "d", "--exclude", "*.map"]);
    expect(human.stderr).toMatch(/skipped: 2 hidden, 1 symlink, 1 excluded/i);
  });

  test("come from a list with --files-from, in a file or on stdin, with either line end", async () => {
    const library = await openLibrary();
    for (const file of ["a.txt", "#b.txt", " c .txt"]) await library.write(file, file);
    await library.write("list", "a.txt\r\n#b.txt\r\n\r\n");
    const fromFile = await library.run(["upload", "--files-from", "list", "--json"]);
    const fromStdin = await library.run(["upload", "#b.txt", "--files-from", "-", "--json"], { stdin: " c .txt\n" });
    const names = (outcome: typeof fromFile) => outcome.json().documents.map(({ name }: { name: string }) => name);
    expect([names(fromFile), names(fromStdin)]).toEqual([
      ["a.txt", "#b.txt"],
      ["#b.txt", " c .txt"],
    ]);
  });

  test.each([
    ["no path", [], 2, "USAGE"],
    ["stdin without a name", ["-"], 2, "USAGE"],
    ["stdin twice", ["-", "--name", "n", "--files-from", "-"], 2, "USAGE"],
    ["one name for two paths", ["a.txt", "a.txt", "--name", "n"], 2, "USAGE"],
    ["a name that leads upwards", ["a.txt", "--name", "a/../b"], 2, "USAGE"],
    ["a folder that leads upwards", ["a.txt", "--into", "../b"], 2, "USAGE"],
    ["an empty folder", ["a.txt", "--into", ""], 2, "USAGE"],
    ["a name with a line end", ["a.txt", "--name", "a\nb"], 2, "USAGE"],
    ["a tag without a value", ["a.txt", "--tag", "build"], 2, "USAGE"],
    ["a tag given twice", ["a.txt", "--tag", "k=1", "--tag", "k=2"], 2, "USAGE"],
    ["too many tags", ["a.txt", ...Array.from({ length: 41 }, (_, n) => ["--tag", `t${n}=`]).flat()], 2, "USAGE"],
    ["too much metadata", ["a.txt", "--meta", `k=${"x".repeat(16 * 1024)}`], 2, "USAGE"],
    ["a content type that is none", ["a.txt", "--content-type", "text"], 2, "USAGE"],
    ["a content type with a line end", ["a.txt", "--content-type", "a/b\r\nc: d"], 2, "USAGE"],
    ["an empty glob", ["-r", ".", "--exclude", ""], 2, "USAGE"],
    ["a part size that S3 refuses", ["a.txt", "--part-size", "1MiB"], 2, "INVALID_CONFIG"],
    ["a directory without -r", ["."], 2, "USAGE"],
    ["a file that is missing", ["missing"], 3, "NOT_FOUND"],
    ["a list of files that is missing", ["--files-from", "missing"], 3, "NOT_FOUND"],
    ["an empty list of files", ["--files-from", "-"], 3, "NOT_FOUND"],
    ["a directory without files", ["-r", "empty"], 3, "NOT_FOUND"],
  ])("are refused with nothing stored: %s", async (_what, argv, status, code) => {
    const library = await openLibrary();
    await mkdir(join(library.sandbox.cwd, "empty"));
    await library.write("a.txt", "a");
    const human = await library.run(["upload", ...argv]);
    expect(human).toMatchObject({ status, stdout: "", stderr: expect.stringMatching(/^error: .+\.\nhint: {2}.+\n$/) });
    const machine = await library.run(["upload", ...argv, "--json"]);
    expect(JSON.parse(machine.stderr)).toMatchObject({ schema: "docproc.error/1", code, retryable: false });
    expect(machine.json()).toMatchObject({ schema: expect.stringMatching(/^docproc\.(error|upload)\/1$/) });
    expect(await library.stored()).toEqual({ keys: [], leftovers: 0 });
  });

  test("are refused when a list of files separates them with NUL", async () => {
    const library = await openLibrary();
    const outcome = await library.run(["upload", "--files-from", "-", "--json"], { stdin: "a.txt\0b.txt\0" });
    expect(outcome.status).toBe(2);
    expect(JSON.parse(outcome.stderr).code).toBe("USAGE");
  });

  test("that were not begun are left alone after a failure with --fail-fast", async () => {
    const library = await openLibrary();
    await library.write("a.txt", "a");
    const argv = ["upload", "missing", "a.txt", "--concurrency", "1", "--json"];
    const stopped = await library.run([...argv, "--fail-fast"]);
    expect(stopped).toMatchObject({ status: 3 });
    expect(stopped.json().summary).toMatchObject({ total: 2, uploaded: 0, failed: 1 });
    expect((await library.run(argv)).json().summary).toMatchObject({ total: 2, uploaded: 1, failed: 1 });
  });

  test("have the content type of their name and bytes, or the one that is given", async () => {
    const library = await openLibrary();
    const png = Buffer.from("89504e470d0a1a0a0000000d49484452", "hex");
    const contents: Record<string, [string | Buffer, string]> = {
      "a.json": ["{}", "application/json"],
      "photo.jpg": [png, "image/png"],
      "module.ts": ["export {};\n", "text/plain"],
      README: ["text\n", "text/plain"],
      blob: [Buffer.from([0, 1, 2, 3]), "application/octet-stream"],
    };
    for (const [name, [content]] of Object.entries(contents)) await library.write(name, content);
    const { documents } = (await library.run(["upload", ...Object.keys(contents), "--json"])).json();
    const types = documents.map((document: { contentType: string }) => document.contentType);
    expect(types).toEqual(Object.values(contents).map(([, type]) => type));
    const given = await library.run(["upload", "blob", "--tag", "t=1", "--content-type", "x/y", "--json"]);
    expect(given.json().documents[0].contentType).toBe("x/y");
  });

  test("are stored so that only the owner can read them", async () => {
    const library = await openLibrary();
    const mask = process.umask(0o022);
    onTestFinished(() => void process.umask(mask));
    await library.write("a.txt", "a");
    expect(await library.run(["upload", "a.txt"])).toMatchObject({ status: 0 });
    const modes: Record<string, Set<string>> = { file: new Set(), directory: new Set() };
    for (const name of [".", ...(await readdir(library.directory, { recursive: true }))]) {
      const seen = await stat(join(library.directory, name));
      modes[seen.isFile() ? "file" : "directory"]?.add((seen.mode & 0o777).toString(8));
    }
    expect(modes).toEqual({ file: new Set(["600"]), directory: new Set(["700"]) });
  });

  test("are answered with ids only under -q, and with a record a line under --ndjson", async () => {
    const library = await openLibrary();
    await library.write("a.txt", "a");
    await library.write("b\u2028.txt", "b");
    const files = ["a.txt", "missing", "b\u2028.txt"];
    const lines = await library.run(["upload", ...files, "--ndjson", "--concurrency", "1"]);
    const records = lines.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(records).toMatchObject([
      { name: "a.txt", action: "uploaded" },
      { name: "b\u2028.txt", action: "uploaded" },
    ]);
    expect(lines.stdout).not.toContain("\u2028");
    const problems = lines.stderr
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(problems).toMatchObject([{ code: "NOT_FOUND", path: "missing" }, { code: "PARTIAL" }]);
    const quiet = await library.run(["upload", ...files, "-q", "--concurrency", "1"]);
    expect(quiet.stdout).toBe(records.map(({ id }) => `${id}\n`).join(""));
  });
});

import { execFileSync } from "node:child_process";
import { appendFile, lstat, mkdir, rename, rm, symlink, truncate, unlink, utimes, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { describe, expect, onTestFinished, test } from "vitest";
import { DocprocError } from "../../src/core/errors.ts";
import { openFile, openStdin, type Source } from "../../src/transfer/source.ts";
import { makeSandbox } from "../support/run.ts";

const signal = new AbortController().signal;
const code = (expected: string) => expect.objectContaining({ code: expected });

async function contentOf(source: Source, until: AbortSignal = signal): Promise<Buffer> {
  const reader = source.read(until);
  const chunks: Buffer[] = [];
  for (;;) {
    const into = Buffer.alloc(100_000);
    const length = await reader.read(into);
    chunks.push(into.subarray(0, length));
    if (length < into.length) return Buffer.concat(chunks);
  }
}

test("a file that says it is empty and is not is refused, and not stored as nothing", async () => {
  // Those of /proc are such files; elsewhere there are none to try.
  if (process.platform !== "linux") return;
  const source = await openFile("/proc/version");
  onTestFinished(() => source.close());
  expect(source.size).toBe(0);
  await expect(contentOf(source)).rejects.toEqual(code("USAGE"));
});

/** A file and its open source; the source is closed when the test ends. */
async function openSample(content: string | Buffer = "the content") {
  const { cwd } = await makeSandbox();
  const path = join(cwd, "sample.txt");
  await writeFile(path, content);
  await utimes(path, 1_700_000_000, 1_700_000_000);
  const source = await openFile(path, "./sample.txt");
  onTestFinished(() => source.close());
  return { cwd, path, source };
}

describe("a file", () => {
  test("knows its name, its label, its size and its time", async () => {
    const { path } = await openSample();
    await utimes(path, 1_700_000_000, 1_700_000_000.25);
    const source = await openFile(path, "./sample.txt");
    onTestFinished(() => source.close());
    expect(source).toMatchObject({
      kind: "file",
      path: "./sample.txt",
      label: "./sample.txt",
      name: "sample.txt",
      size: 11,
      modifiedAt: "2023-11-14T22:13:20.250Z",
    });
  });

  test.each([0, 1, 256 * 1024, 256 * 1024 + 1, 1_000_000])("of %i bytes is read whole, and again", async (size) => {
    const content = Buffer.alloc(size, "0123456789abcdef-");
    const { source } = await openSample(content);
    expect((await contentOf(source)).equals(content)).toBe(true);
    expect((await contentOf(source)).equals(content)).toBe(true);
    await expect(source.assertUnchanged()).resolves.toBeUndefined();
  });

  test("a file that was only read or linked is unchanged", async () => {
    const { cwd, path, source } = await openSample();
    await symlink(path, join(cwd, "link"));
    await contentOf(source);
    await expect(source.assertUnchanged()).resolves.toBeUndefined();
  });

  test.each<[string, (path: string) => Promise<void>]>([
    ["appended to", (path) => appendFile(path, "more")],
    ["truncated", (path) => truncate(path, 3)],
    [
      "appended to and given back its time",
      async (path) => {
        const { atime, mtime } = await lstat(path);
        await appendFile(path, "more");
        await utimes(path, atime, mtime);
      },
    ],
    [
      "overwritten in the same size",
      async (path) => {
        await writeFile(path, "The Content");
        // A clock tick later, whatever the file system's resolution.
        await utimes(path, new Date(), new Date(Date.now() + 5_000));
      },
    ],
    [
      "replaced by another file of the same size",
      async (path) => {
        await writeFile(`${path}.new`, "the content");
        const { mtime } = await lstat(path);
        await utimes(`${path}.new`, mtime, mtime);
        await rename(`${path}.new`, path);
      },
    ],
    ["deleted", (path) => unlink(path)],
    [
      "replaced by a directory",
      async (path) => {
        await rm(path);
        await mkdir(path);
      },
    ],
  ])("a file that was %s since it was opened is not taken for the same", async (_what, change) => {
    const { path, source } = await openSample();
    await change(path);
    await expect(source.assertUnchanged()).rejects.toEqual(code("INTEGRITY"));
  });

  test("a link that leads elsewhere since it was opened is not taken for the same", async () => {
    const { cwd, path } = await openSample();
    await symlink(path, join(cwd, "link"));
    await writeFile(join(cwd, "other"), "the content");
    const source = await openFile(join(cwd, "link"));
    onTestFinished(() => source.close());
    await expect(source.assertUnchanged()).resolves.toBeUndefined();
    await unlink(join(cwd, "link"));
    await symlink(join(cwd, "other"), join(cwd, "link"));
    await expect(source.assertUnchanged()).rejects.toEqual(code("INTEGRITY"));
  });

  test("what is read is the file that was opened, even when its path is replaced", async () => {
    const { path, source } = await openSample();
    await writeFile(`${path}.new`, "other bytes");
    await rename(`${path}.new`, path);
    expect((await contentOf(source)).toString()).toBe("the content");
  });

  test("reading a file that shrank ends instead of waiting for the rest", async () => {
    const { path, source } = await openSample();
    await truncate(path, 3);
    expect((await contentOf(source)).toString()).toBe("the");
  });

  test("an abort ends the reading between two chunks", async () => {
    const { source } = await openSample(Buffer.alloc(1_000_000));
    const abort = new AbortController();
    const reader = source.read(abort.signal);
    await reader.read(Buffer.alloc(1000));
    abort.abort();
    await expect(reader.read(Buffer.alloc(1000))).rejects.toEqual(code("CANCELLED"));
  });

  test("a symbolic link is followed and keeps its own name", async () => {
    const { cwd, path } = await openSample();
    await symlink(path, join(cwd, "link.pdf"));
    const source = await openFile(join(cwd, "link.pdf"));
    onTestFinished(() => source.close());
    expect(source).toMatchObject({ name: "link.pdf", size: 11 });
  });

  test.each<[string, string, (path: string) => Promise<unknown>]>([
    ["a directory", "USAGE", (path) => mkdir(path)],
    ["a named pipe that nobody writes to", "USAGE", async (path) => execFileSync("mkfifo", [path])],
    ["a link to a named pipe", "USAGE", (path) => fifoAndLink(path)],
    ["a socket", "USAGE", (path) => listen(path)],
    ["nothing", "NOT_FOUND", async () => {}],
    ["a link to nothing", "NOT_FOUND", (path) => symlink("nowhere", path)],
    ["a link to itself", "NOT_FOUND", (path) => symlink(path, path)],
  ])("opening %s fails at once: %s", async (_what, expected, make) => {
    const { cwd } = await makeSandbox();
    await make(join(cwd, "it"));
    const failure = await openFile(join(cwd, "it"), "./it").catch((error: unknown) => error);
    expect(failure).toEqual(code(expected));
    expect(failure).toMatchObject({ message: expect.stringContaining("./it"), hint: expect.stringMatching(/\S/) });
  });

  test("a path below a file does not exist", async () => {
    const { path } = await openSample();
    await expect(openFile(join(path, "below"))).rejects.toEqual(code("NOT_FOUND"));
  });
});

async function fifoAndLink(path: string): Promise<void> {
  execFileSync("mkfifo", [`${path}.pipe`]);
  await symlink(`${path}.pipe`, path);
}

async function listen(path: string): Promise<void> {
  const server = createServer().listen(path);
  onTestFinished(async () => void server.close());
  await new Promise((resolve) => server.once("listening", resolve));
}

describe("standard input", () => {
  test("is read to its end, as bytes", async () => {
    const source = openStdin(Readable.from([Buffer.from("ab"), "ç"]));
    expect((await contentOf(source)).toString()).toBe("abç");
    expect(source).toMatchObject({ kind: "stdin", path: null, modifiedAt: null, name: "", label: "-", size: null });
  });

  test("an abort ends a read that waits for a stalled producer", async () => {
    const abort = new AbortController();
    const stream = new PassThrough();
    stream.write("first");
    const reader = openStdin(stream).read(abort.signal);
    expect(await reader.read(Buffer.alloc(5))).toBe(5);
    const stalled = reader.read(Buffer.alloc(5));
    const reason = new DocprocError("CANCELLED", "Interrupted by SIGTERM.");
    abort.abort(reason);
    await expect(stalled).rejects.toBe(reason);
    expect(stream.destroyed).toBe(true);
  });

  test("an abort before the first read reads nothing", async () => {
    const stream = Readable.from(["x"]);
    await expect(contentOf(openStdin(stream), AbortSignal.abort())).rejects.toEqual(code("CANCELLED"));
  });

  test("an abort after the end is no failure", async () => {
    const abort = new AbortController();
    const source = openStdin(Readable.from(["x"], { objectMode: false }));
    expect((await contentOf(source, abort.signal)).toString()).toBe("x");
    abort.abort();
    await expect(source.assertUnchanged()).resolves.toBeUndefined();
  });
});

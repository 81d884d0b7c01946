/** Where documents are written: below the directory that was named and nowhere else, each in a file of its own. */
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import {
  link,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Destination, type DestinationOptions, type ReceiveOptions } from "../../src/transfer/destination.ts";

let place: string;
let cwd: string;
let outside: string;
beforeEach(async () => {
  place = await mkdtemp(join(tmpdir(), "docproc-destination-"));
  [cwd, outside] = [join(place, "cwd"), join(place, "outside")];
  await Promise.all([mkdir(cwd), mkdir(outside)]);
});
afterEach(() => rm(place, { recursive: true }));

const open = (options: Partial<DestinationOptions> = {}) =>
  Destination.open({ cwd, output: undefined, several: true, umask: 0o022, ...options });

const documentOf = (path: string, bytes: Buffer | string) => ({
  id: "019aae5c-1f2e-7000-8000-000000000000",
  path,
  size: Buffer.byteLength(bytes),
  sha256: createHash("sha256").update(bytes).digest("hex"),
});

/** Receives a document; its bytes are asked for only when they are needed. */
async function receive(
  destination: Destination,
  path: string,
  bytes: Buffer | string = path,
  options: Partial<ReceiveOptions> & { readonly meanwhile?: () => Promise<unknown> } = {},
) {
  const { meanwhile, ...rest } = options;
  let read = false;
  const chunks = async function* () {
    read = true;
    await meanwhile?.();
    yield Buffer.from(bytes);
  };
  const signal = new AbortController().signal;
  const fixed = { force: false, hidden: false, umask: 0o022, signal, onProgress: () => {} };
  const received = await destination.receive(documentOf(path, bytes), chunks, { ...fixed, ...rest });
  expect(read).toBe(received.action === "downloaded");
  return received;
}

const filesIn = async (directory: string) =>
  (await readdir(directory, { recursive: true, withFileTypes: true }))
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort();
const text = (path: string) => readFile(join(cwd, path), "utf8");
const conflict = (message: string) => ({ code: "CONFLICT", message: expect.stringContaining(message) });

describe("the path of a document", () => {
  test.each<[string, Partial<DestinationOptions>, string]>([
    ["is kept below a directory", { output: "out" }, "out/dist/js/app.js"],
    ["is kept below this directory", {}, "dist/js/app.js"],
    ["is kept for a single one as well, below a directory", { output: "out/", several: false }, "out/dist/js/app.js"],
    ["is left out for a single one without a directory", { several: false }, "app.js"],
    ["is left out for a named file", { output: "x.js", several: false }, "x.js"],
    ["is left out where that is asked for", { output: "out", flat: true }, "out/app.js"],
  ])("%s", async (_what, options, file) => {
    const received = await receive(await open(options), "dist/js/app.js");
    expect(received).toEqual({ action: "downloaded", file: join(cwd, file) });
    expect(await filesIn(cwd)).toEqual([file]);
    expect(await text(file)).toBe("dist/js/app.js");
  });

  test.each([
    ...["../evil", "a/../../evil", "a/..", "..", ".", "/etc/evil", "a//b", "a/./b", "a/", "", "a\0b", "a\nb/c"],
    `a/${"x".repeat(300)}`,
  ])("refuses a path that leads out of the folder or is not valid: %j", async (path) => {
    for (const options of [{ output: "out" }, { output: "out", flat: true }]) {
      await expect(receive(await open(options), path, "x")).rejects.toMatchObject({ code: "USAGE" });
    }
    expect(await filesIn(place)).toEqual([]);
    expect(await readdir(cwd)).toEqual([]);
  });

  test.each(["con/a.txt", "a/nul.txt", "a\\..\\b", "c:/a", "a/b:c", "a./b", "a /b", "a/b."])(
    "is refused where Windows would take it for another: %j",
    async (path) => {
      await expect(receive(await open({ windows: true }), path)).rejects.toMatchObject({ code: "USAGE" });
      expect(await receive(await open({ windows: false }), path)).toMatchObject({ action: "downloaded" });
    },
  );

  test.each([".git/config", "a/.ssh/id", ".bashrc", "a/\u200c.git/hooks"])(
    "makes nothing hidden unasked: %j",
    async (path) => {
      const destination = await open();
      await expect(receive(destination, path)).rejects.toMatchObject({ code: "USAGE" });
      expect(await readdir(cwd)).toEqual([]);
      expect(await receive(destination, path, path, { hidden: true })).toMatchObject({ action: "downloaded" });
    },
  );
});

describe("a link that is there", () => {
  test.each([0, 1, 2])("in place of a folder is not written through: level %i", async (level) => {
    const names = ["a", "b", "c"];
    const at = join(cwd, ...names.slice(0, level + 1));
    await mkdir(join(at, ".."), { recursive: true });
    await mkdir(join(outside, ...names.slice(level + 1)), { recursive: true });
    await symlink(outside, at);
    for (const handles of [true, false]) {
      for (const force of [true, false]) {
        const destination = await open({ handles });
        const refused = conflict(`${at} is a link`);
        await expect(receive(destination, "a/b/c/file", "x", { force })).rejects.toMatchObject(refused);
        expect(await receive(destination, "d/file", "x")).toMatchObject({ file: join(cwd, "d/file") });
      }
    }
    expect(await filesIn(outside)).toEqual([]);
  });

  test("in place of the file is no file that is present, and is replaced with --force alone", async () => {
    await writeFile(join(outside, "target"), "x");
    await symlink(join(outside, "target"), join(cwd, "file"));
    await expect(receive(await open(), "file", "x")).rejects.toMatchObject(conflict("already exists"));
    expect(await receive(await open(), "file", "x", { force: true })).toMatchObject({ action: "downloaded" });
    expect((await lstat(join(cwd, "file"))).isFile()).toBe(true);
  });

  test.runIf(existsSync("/proc/self/fd"))("and comes and goes all the time is never written through", async () => {
    const [folder, aside] = [join(cwd, "a", "b"), join(cwd, "aside")];
    await mkdir(folder, { recursive: true });
    let going = true;
    let swaps = 0;
    const swapping = (async () => {
      for (; going; swaps++) {
        // The download may make the folder anew at any moment.
        await rename(folder, aside).catch(() => {});
        await symlink(outside, folder).catch(() => {});
        await rm(folder, { recursive: true }).catch(() => {});
        await rename(aside, folder).catch(() => {});
      }
    })();
    const destination = await open();
    let failed = 0;
    for (let turn = 0; turn < 300; turn++) {
      await receive(destination, `a/b/${turn}`).catch(() => {
        failed += 1;
      });
    }
    going = false;
    await swapping;
    expect(swaps).toBeGreaterThan(100);
    expect(failed).toBeGreaterThan(0);
    expect(await filesIn(outside)).toEqual([]);
  });

  test.each([true, false])(
    "and comes while a document is read is not written through (handles: %s)",
    async (handles) => {
      const folder = join(cwd, "a", "b");
      const meanwhile = async () => {
        await rename(folder, join(cwd, "aside"));
        await symlink(outside, folder);
      };
      const outcome = await receive(await open({ handles }), "a/b/file", "x", { meanwhile, force: true }).catch(
        (error) => error,
      );
      expect(await filesIn(outside)).toEqual([]);
      if (handles && existsSync("/proc/self/fd")) expect(await text("aside/file")).toBe("x");
      else expect(outcome).toMatchObject(conflict("is a link"));
    },
  );
});

describe("two documents", () => {
  test.each([false, true])("of one path are not written over each other (force: %s)", async (force) => {
    const destination = await open();
    const both = ["1", "2"].map((bytes) => receive(destination, "a/b", bytes, { force }));
    const [one, two] = await Promise.allSettled(both);
    expect([one?.status, two?.status].sort()).toEqual(["fulfilled", "rejected"]);
    expect(await text("a/b")).toBe(one?.status === "fulfilled" ? "1" : "2");
    const refused = conflict("Two documents would be written to");
    for (const bytes of ["1", "2", "3"]) {
      await expect(receive(destination, "a/b", bytes, { force })).rejects.toMatchObject(refused);
    }
  });

  test.each([false, true])("whose names mean one file are told from each other (force: %s)", async (force) => {
    const destination = await open();
    await receive(destination, "Case.txt", "1");
    // As on a file system that folds case: the other name finds the same file.
    await rename(join(cwd, "Case.txt"), join(cwd, "case.TXT"));
    for (const bytes of ["1", "2"]) {
      const refused = conflict("Two documents would be written to");
      await expect(receive(destination, "case.TXT", bytes, { force })).rejects.toMatchObject(refused);
    }
    expect(await text("case.TXT")).toBe("1");
  });

  test("that were one file before, by hard links, are both present or both replaced", async () => {
    await writeFile(join(cwd, "a"), "same");
    await link(join(cwd, "a"), join(cwd, "b"));
    const destination = await open();
    for (const name of ["a", "b"])
      expect(await receive(destination, name, "same")).toMatchObject({ action: "present" });
    await expect(receive(destination, "a", "same")).rejects.toMatchObject({ code: "CONFLICT" });
    const other = await open();
    for (const name of ["a", "b"]) await receive(other, name, name, { force: true });
    expect([await text("a"), await text("b")]).toEqual(["a", "b"]);
  });

  test("of which one is where the other needs a folder do not hurt each other", async () => {
    const destination = await open();
    await receive(destination, "a");
    await expect(receive(destination, "a/b", "x", { force: true })).rejects.toMatchObject(conflict("a is a file"));
    await receive(destination, "c/d");
    await expect(receive(destination, "c", "x", { force: true })).rejects.toMatchObject(conflict("c is a directory"));
    expect(await filesIn(cwd)).toEqual(["a", "c/d"]);
  });
});

describe("a file that is there", () => {
  test.each([0, 10, 3_000_000])("with the same %i bytes is left alone", async (size) => {
    const bytes = randomBytes(size);
    await mkdir(join(cwd, "a"));
    await writeFile(join(cwd, "a/b"), bytes, { mode: 0o640 });
    await utimes(join(cwd, "a/b"), 1, 1);
    const before = await stat(join(cwd, "a/b"), { bigint: true });
    for (const force of [false, true]) {
      const received = await receive(await open(), "a/b", bytes, { force });
      expect(received).toEqual({ action: "present", file: join(cwd, "a/b") });
    }
    const { atimeMs: _, atimeNs: __, atime: ___, ...facts } = before;
    expect(await stat(join(cwd, "a/b"), { bigint: true })).toMatchObject(facts);
  });

  test.each(["longer than that", "as long."])(
    "with other bytes is kept, or replaced with --force: %s",
    async (mine) => {
      await writeFile(join(cwd, "a"), mine);
      await expect(receive(await open(), "a", "their 8.")).rejects.toMatchObject(conflict("already exists"));
      expect(await text("a")).toBe(mine);
      expect(await receive(await open(), "a", "their 8.", { force: true })).toMatchObject({ action: "downloaded" });
      expect(await text("a")).toBe("their 8.");
    },
  );

  test("is no other document's that was written meanwhile", async () => {
    const destination = await open();
    const meanwhile = () => writeFile(join(cwd, "a"), "mine");
    await expect(receive(destination, "a", "theirs", { meanwhile })).rejects.toMatchObject(conflict("already exists"));
    expect(await filesIn(cwd)).toEqual(["a"]);
  });
});

test("a download that is broken off leaves nothing but the folder", async () => {
  const destination = await open();
  const abort = new AbortController();
  const meanwhile = async () => abort.abort();
  const broken = receive(destination, "a/b", "x", { meanwhile, signal: abort.signal });
  await expect(broken).rejects.toMatchObject({ code: "CANCELLED" });
  expect(await readdir(cwd, { recursive: true })).toEqual(["a"]);
});

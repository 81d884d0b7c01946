/** Replacing and copying objects in a directory: what is replaced, what is never followed, and how a later write shows. */
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { readFileSync } from "node:fs";
import {
  appendFile,
  cp,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { firstIdAt, newDocumentId, storageKey, timeOfId } from "../../../src/document/record.ts";
import { storageDrivers } from "../../../src/storage/registry.ts";
import type { CopyOptions, PutOptions, StorageService } from "../../../src/storage/service.ts";
import { localSettings } from "../../support/aws.ts";
import { bodyOf } from "../../support/body.ts";
import { breakFileSystem } from "../../support/fs-faults.ts";

const never = new AbortController().signal;
const hour = 3_600_000;

let directory: string;
let storage: StorageService;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "docproc-replacement-"));
  storage = await storageDrivers.local.open(localSettings(directory));
});
afterEach(async () => {
  await storage.close();
  await rm(directory, { recursive: true });
});

/** A key of a document that was uploaded at a time. */
function keyOf(time = Date.now()): string {
  const id = newDocumentId();
  return storageKey("", firstIdAt(time) + id.slice(13), "a.txt");
}
const pathOf = (key: string) => join(directory, "objects", key);
const text = async (key: string) => await readFile(pathOf(key), "utf8");
const put = (key: string, content: string | Buffer, more: Partial<PutOptions> = {}) => {
  const bytes = Buffer.from(content);
  const options = { size: bytes.length, contentType: "text/plain", catalog: "test", signal: never, ...more };
  return storage.put(key, bodyOf(bytes), options);
};
const seen = async (key: string) => (await storage.stat(key, never)) ?? expect.fail("nothing is stored");
const expected = (content: string): CopyOptions => ({
  size: Buffer.byteLength(content),
  crc32: null,
  sha256: createHash("sha256").update(content).digest("hex"),
  contentType: "text/plain",
  catalog: "test",
  signal: never,
});
const copy = (from: string, to: string, content: string, more: Partial<CopyOptions> = {}) =>
  storage.copy(from, to, { ...expected(content), ...more });
const leftovers = () => readdir(join(directory, "incoming"));
async function ageOf(key: string): Promise<number> {
  for await (const object of storage.list(key, never)) return object.age;
  return expect.fail("nothing is listed");
}

describe("an object", () => {
  test("has the time of its document, whenever it was stored", async () => {
    const [key, other] = [keyOf(Date.now() - 365 * 24 * hour), keyOf(1_700_000_000_123)];
    await put(key, "content");
    await copy(key, other, "content");
    for (const one of [key, other]) {
      const id = one.split("/")[1] ?? "";
      expect(Math.round((await lstat(pathOf(one))).mtimeMs)).toBe(timeOfId(id));
      expect(await seen(one)).toMatchObject({ touched: false });
      // By which doctor decides what is garbage.
      expect(await ageOf(one)).toBeLessThan(hour);
    }
  });

  test.each<[string, (path: string) => Promise<unknown>]>([
    ["written to", (path) => writeFile(path, "CONTENT")],
    ["appended to", (path) => appendFile(path, "x")],
    ["cut", (path) => truncate(path, 3)],
    ["copied over without its time", (path) => cp(path, `${path}.new`).then(() => rename(`${path}.new`, path))],
    ["given another time", (path) => utimes(path, new Date(), new Date(Date.now() - 48 * hour))],
  ])("is touched once it was %s", async (_what, touch) => {
    const key = keyOf(Date.now() - 24 * hour);
    await put(key, "content");
    await touch(pathOf(key));
    expect(await seen(key)).toMatchObject({ touched: true });
  });

  test.each([10, 1000, 2000])("is not touched where times have steps of %i ms", async (step) => {
    const key = keyOf(1_700_000_001_987);
    await put(key, "content");
    const time = new Date(Math.floor(1_700_000_001_987 / step) * step);
    await utimes(pathOf(key), time, time);
    expect(await seen(key)).toMatchObject({ touched: false });
    await utimes(pathOf(key), time, new Date(time.getTime() + 1));
    expect(await seen(key)).toMatchObject({ touched: true });
  });

  test("is neither under a key that has no time", async () => {
    await put("folder/a.txt", "content");
    expect(await seen("folder/a.txt")).toMatchObject({ touched: null });
  });
});

describe("a replacement", () => {
  test.each<[string, (path: string) => Promise<unknown>]>([
    ["another file", (path) => writeFile(`${path}.new`, "damaged").then(() => rename(`${path}.new`, path))],
    [
      "a write that keeps size and time",
      async (path) => {
        const { atime, mtime } = await lstat(path);
        await writeFile(path, "DAMAGED");
        await utimes(path, atime, mtime);
      },
    ],
    ["a link to the same file", (path) => rename(path, `${path}.old`).then(() => symlink(`${path}.old`, path))],
    ["a directory", (path) => rm(path).then(() => mkdir(path))],
    [
      "a pipe",
      async (path) => {
        await rm(path);
        execFileSync("mkfifo", [path]);
      },
    ],
  ])("leaves %s that came in between", async (_what, change) => {
    const key = keyOf();
    await put(key, "damaged");
    const replaces = await seen(key);
    await change(pathOf(key));
    const before = await lstat(pathOf(key));
    await expect(put(key, "whole", { replaces })).rejects.toMatchObject({ code: "CONFLICT" });
    expect(await lstat(pathOf(key))).toMatchObject({ ino: before.ino, mtimeMs: before.mtimeMs, size: before.size });
    expect(await leftovers()).toEqual([]);
  });

  test("never goes through a link in place of a directory", async () => {
    const key = keyOf();
    await put(key, "damaged");
    const replaces = await seen(key);
    const aside = join(directory, "aside");
    await rename(dirname(pathOf(key)), aside);
    await symlink(aside, dirname(pathOf(key)));
    await expect(put(key, "whole", { replaces })).rejects.toMatchObject({ code: "CONFLICT" });
    expect(await readFile(join(aside, "a.txt"), "utf8")).toBe("damaged");
  });

  test("has its key filled at every step", async () => {
    const [key, from] = [keyOf(), keyOf()];
    const whole = randomBytes(3_000_000).toString("latin1");
    await put(from, whole);
    for (const replace of ["put", "copy"]) {
      await rm(dirname(pathOf(key)), { recursive: true, force: true });
      await put(key, "damaged");
      const found: string[] = [];
      const look = (step: unknown) => {
        const content = readFileSync(pathOf(key), "utf8");
        found.push(`${step} ${content === "damaged" ? "old" : content === whole ? "new" : "broken"}`);
      };
      const replaces = await seen(key);
      subscribe("docproc:step", look);
      try {
        if (replace === "put") await put(key, whole, { replaces });
        else expect(await copy(from, key, whole, { replaces })).toMatchObject({ bytesSent: 0 });
      } finally {
        unsubscribe("docproc:step", look);
      }
      expect(found, replace).toEqual(["local-file-begun old", "local-file-flushed old", "local-file-published new"]);
    }
  });

  test("keeps the old object, or has the whole new one, whatever the file system does", async () => {
    const key = keyOf();
    await put(key, "damaged");
    const files = breakFileSystem();
    files.include(directory);
    let n = 0;
    for (let failed = 1; failed > 0; ) {
      n += 1;
      const replaces = await seen(key);
      const before = await text(key);
      files.arm({ kind: "error", code: "EIO" }, n);
      const done = await put(key, `whole ${n}`, { replaces }).then(
        () => true,
        () => false,
      );
      failed = files.disarm().length;
      expect(done ? [`whole ${n}`] : [before, `whole ${n}`], `failure ${n}`).toContain(await text(key));
      expect(files.openFiles()).toEqual([]);
    }
    expect(n).toBeGreaterThan(10);
  });
});

describe("a copy", () => {
  test("is for its owner alone, whatever the mode of the source", async () => {
    const [from, to] = [keyOf(), keyOf()];
    await put(from, "content");
    execFileSync("chmod", ["644", pathOf(from)]);
    expect(await copy(from, to, "content")).toEqual({ size: 7, crc32: null, bytesSent: 0 });
    expect((await lstat(pathOf(to))).mode & 0o777).toBe(0o600);
  });

  test("is not made through a link, of a file or of a directory", async () => {
    const outside = join(directory, "outside");
    await mkdir(outside);
    await writeFile(join(outside, "a.txt"), "content");
    const [file, folder] = [keyOf(), keyOf()];
    await mkdir(dirname(pathOf(file)), { recursive: true });
    await symlink(join(outside, "a.txt"), pathOf(file));
    await mkdir(dirname(dirname(pathOf(folder))), { recursive: true });
    await symlink(outside, dirname(pathOf(folder)));
    for (const from of [file, folder]) {
      const to = keyOf();
      expect(await copy(from, to, "content")).toBeUndefined();
      expect(await storage.stat(to, never)).toBeUndefined();
    }
    await expect(copy("../outside/a.txt", keyOf(), "content")).rejects.toMatchObject({ code: "USAGE" });
    expect(await leftovers()).toEqual([]);
  });

  test("is proved by its own bytes", async () => {
    const [from, to] = [keyOf(), keyOf()];
    await put(from, "content");
    await writeFile(pathOf(from), "CONTENT");
    expect(await copy(from, to, "content")).toBeUndefined();
    expect(await storage.stat(to, never)).toBeUndefined();
    expect(await leftovers()).toEqual([]);
  });
});

/** The one place that removes, renames and re-modes: what it refuses, and that nothing else in the program does so. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import {
  link,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  changeTime,
  copyToNew,
  fileIdentityOf,
  fileVersionOf,
  isReplaceable,
  isTemporaryName,
  lookAtFile,
  madeFile,
  makeEmptyFile,
  removeDirectory,
  removeFile,
  removeLink,
  replaceFile,
  temporaryFile,
  temporaryIn,
} from "../../src/files/removal.ts";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "docproc-removal-"));
});
afterEach(() => rm(root, { recursive: true }));

const form = /^folder\/mine-\d\.txt$/;
const own = (path: string) => ({ root, path, form });
const text = (path: string) => readFile(join(root, path), "utf8");
async function write(path: string, content = "content"): Promise<string> {
  await mkdir(join(root, path, ".."), { recursive: true });
  await writeFile(join(root, path), content);
  return join(root, path);
}

describe("a file", () => {
  test("of a form of ours is removed, and is gone then", async () => {
    await write("folder/mine-1.txt");
    expect(await removeFile(own("folder/mine-1.txt"))).toBe("removed");
    expect(await removeFile(own("folder/mine-1.txt"))).toBe("gone");
    expect(await removeFile(own("nowhere/mine-1.txt"))).toBe("foreign");
    expect(await readdir(join(root, "folder"))).toEqual([]);
  });

  test.each([
    "folder/yours.txt",
    "folder/mine-1.txt.bak",
    "other/mine-1.txt",
    "folder/folder/mine-1.txt",
    "../folder/mine-1.txt",
    "folder/../folder/mine-1.txt",
    "folder//mine-1.txt",
    "./folder/mine-1.txt",
  ])("of another form stays: %s", async (path) => {
    await write(path);
    expect(await removeFile(own(path))).toBe("foreign");
    expect(await text(path)).toBe("content");
  });

  test("is not removed for a link, which goes alone", async () => {
    await write("folder/victim");
    await write("folder/mine-2.txt");
    await symlink("victim", join(root, "folder", "mine-1.txt"));
    expect(await removeLink(own("folder/mine-2.txt"))).toBe("foreign");
    expect(await removeLink(own("folder/victim"))).toBe("foreign");
    expect(await removeLink(own("folder/mine-1.txt"))).toBe("removed");
    expect(await removeLink(own("folder/mine-1.txt"))).toBe("gone");
    expect((await readdir(join(root, "folder"))).sort()).toEqual(["mine-2.txt", "victim"]);
  });

  test("behind a form that matches only a part of it, or has segments that lead up, stays", async () => {
    await write("mine.txt");
    expect(await removeFile({ root: join(root, "folder"), path: "../mine.txt", form: /.*/ })).toBe("foreign");
    expect(await removeFile({ root, path: "mine.txt", form: /^mine/ })).toBe("foreign");
    expect(await removeFile({ root, path: "mine.txt", form: "mine.tx" })).toBe("foreign");
    expect(await text("mine.txt")).toBe("content");
  });

  test("that is a link, a pipe or a directory stays", async () => {
    await write("victim");
    await mkdir(join(root, "folder"));
    await symlink("../victim", join(root, "folder", "mine-1.txt"));
    execFileSync("mkfifo", [join(root, "folder", "mine-2.txt")]);
    await mkdir(join(root, "folder", "mine-3.txt"));
    for (const n of [1, 2, 3]) expect(await removeFile(own(`folder/mine-${n}.txt`))).toBe("foreign");
    expect((await readdir(join(root, "folder"))).sort()).toEqual(["mine-1.txt", "mine-2.txt", "mine-3.txt"]);
    expect(await text("victim")).toBe("content");
  });

  test.each(["a link to a directory", "a link that leads nowhere", "a file"])("behind %s stays", async (what) => {
    await write("elsewhere/mine-1.txt");
    if (what === "a file") await write("folder");
    else await symlink(what === "a link to a directory" ? "elsewhere" : "nowhere", join(root, "folder"));
    expect(await removeFile(own("folder/mine-1.txt"))).toBe("foreign");
    expect(await text("elsewhere/mine-1.txt")).toBe("content");
  });

  test("below a directory that was given through a link is removed", async () => {
    await write("elsewhere/folder/mine-1.txt");
    await symlink("elsewhere", join(root, "given"));
    expect(await removeFile({ root: join(root, "given"), path: "folder/mine-1.txt", form })).toBe("removed");
  });

  test("of any name is removed if this process made it, and stays once another one has the name", async () => {
    const path = join(root, "report.pdf");
    const made = await makeEmptyFile(path, 0o600);
    expect((await lstat(path)).mode & 0o777).toBe(0o600);
    await expect(makeEmptyFile(path, 0o600)).rejects.toMatchObject({ code: "EEXIST" });
    await rename(path, join(root, "aside"));
    await write("report.pdf", "another");
    expect(await removeFile(madeFile(path, made))).toBe("foreign");
    expect(await text("report.pdf")).toBe("another");
    await rename(join(root, "aside"), path);
    expect(await removeFile(madeFile(path, made))).toBe("removed");
  });
});

describe("a directory", () => {
  test("is removed when it is empty, and never with what is in it, or through a link", async () => {
    const directory = (path: string) => removeDirectory({ root, path, form: /^[a-z]+$/ });
    await write("full/file");
    await mkdir(join(root, "empty"));
    await symlink("empty", join(root, "link"));
    expect(await directory("full")).toBe("kept");
    expect(await directory("link")).toBe("foreign");
    expect(await directory("UPPER")).toBe("foreign");
    expect(await directory("empty")).toBe("removed");
    expect(await directory("empty")).toBe("gone");
    expect((await readdir(root)).sort()).toEqual(["full", "link"]);
  });
});

describe("a replacement", () => {
  const part = async (content = "new") => {
    const path = temporaryIn(root);
    await writeFile(path, content);
    return path;
  };

  test("takes the place of nothing, of a file, and of a link to one or to a directory, which is not followed", async () => {
    await write("victim");
    await write("old");
    await symlink("victim", join(root, "link"));
    await mkdir(join(root, "folder"));
    await symlink("folder", join(root, "other"));
    for (const name of ["none", "old", "link", "other"]) {
      expect(await replaceFile(temporaryFile(await part()), join(root, name))).toBe(true);
      expect(await text(name)).toBe("new");
    }
    expect(await text("victim")).toBe("content");
    expect(await readdir(join(root, "folder"))).toEqual([]);
  });

  test.each([
    ["a pipe", (path: string) => execFileSync("mkfifo", [path])],
    ["a directory", (path: string) => mkdir(path)],
    ["a link to a device", (path: string) => symlink("/dev/null", path)],
  ])("never takes that of %s", async (_what, make) => {
    const target = join(root, "target");
    await make(target);
    const { ino } = await lstat(target);
    expect(await isReplaceable(target)).toBe(false);
    expect(await replaceFile(temporaryFile(await part()), target)).toBe(false);
    expect((await lstat(target)).ino).toBe(ino);
  });

  test("is one of a temporary file of ours, and over a claim only while it is that claim", async () => {
    const target = join(root, "target");
    const mine = await write("mine.txt");
    expect(await replaceFile({ root, path: "mine.txt", form: temporaryFile(mine).form }, target)).toBe(false);
    const claim = await makeEmptyFile(target, 0o600);
    const path = await part();
    await rename(target, join(root, "aside"));
    await write("target", "another");
    expect(await replaceFile(temporaryFile(path), target, claim)).toBe(false);
    expect(await text("target")).toBe("another");
    await rename(join(root, "aside"), target);
    expect(await replaceFile(temporaryFile(path), target, claim)).toBe(true);
    expect(await text("target")).toBe("new");
  });
});

test("two names of one file have one identity, and a temporary name is like no other", async () => {
  const path = await write("one");
  await link(path, join(root, "other"));
  const identities = [];
  for (const name of ["one", "other"]) {
    const handle = await open(join(root, name));
    identities.push(await fileIdentityOf(handle));
    await handle.close();
  }
  expect(identities[0]).toEqual(identities[1]);
  expect(isTemporaryName(basename(temporaryIn(root)))).toBe(true);
  for (const name of [".docproc-1.part", "a.part", `x${basename(temporaryIn(root))}`, `${basename(path)}.part`]) {
    expect(isTemporaryName(name), name).toBe(false);
  }
});

describe("a version of a file", () => {
  const versionOf = async (path: string) => fileVersionOf(await lstat(path, { bigint: true }));

  test("is replaced, and no other one", async () => {
    const target = await write("target.txt", "damaged");
    const seen = await versionOf(target);
    const part = async () => await write(basename(temporaryIn(root)), "whole");
    await write("target.txt", "changed");
    expect(await replaceFile(temporaryFile(await part()), target, seen)).toBe(false);
    expect(await text("target.txt")).toBe("changed");
    expect(await replaceFile(temporaryFile(await part()), target, await versionOf(target))).toBe(true);
    expect(await text("target.txt")).toBe("whole");
    expect(await replaceFile(temporaryFile(await part()), join(root, "gone"), seen)).toBe(false);
  });

  test("is another one after a write that keeps size and time", async () => {
    const target = await write("target.txt", "damaged");
    const seen = await versionOf(target);
    const { atime, mtime } = await lstat(target);
    await write("target.txt", "DAMAGED");
    await utimes(target, atime, mtime);
    expect(await versionOf(target)).not.toBe(seen);
  });

  test("is no link, and nothing behind one", async () => {
    const target = await write("folder/target.txt");
    await symlink(target, join(root, "link"));
    await symlink(join(root, "folder"), join(root, "other"));
    expect(await lookAtFile({ root, path: "folder/target.txt", form: "folder/target.txt" })).toMatchObject({
      size: 7n,
    });
    for (const path of ["link", "other/target.txt", "folder", "gone"]) {
      expect(await lookAtFile({ root, path, form: path }), path).toBeUndefined();
    }
  });
});

test("the time of a file is changed only if this process made it, and never through a link", async () => {
  const path = await write("a.txt");
  const other = await write("b.txt");
  const handle = await open(path);
  const made = await fileIdentityOf(handle);
  await handle.close();
  await changeTime(path, made, 1_700_000_000_123);
  expect(Math.round((await lstat(path)).mtimeMs)).toBe(1_700_000_000_123);
  await changeTime(other, made, 1_700_000_000_123);
  expect((await lstat(other)).mtimeMs).toBeGreaterThan(1_700_000_001_000);
  await rm(path);
  await symlink(other, path);
  await expect(changeTime(path, made, 1_700_000_000_123)).rejects.toMatchObject({ code: "ELOOP" });
});

test("a copy is made under a name that is free", async () => {
  const source = await write("a.txt");
  await copyToNew(source, join(root, "b.txt"));
  expect(await text("b.txt")).toBe("content");
  await symlink(join(root, "c.txt"), join(root, "link"));
  for (const name of ["b.txt", "link"]) {
    await expect(copyToNew(source, join(root, name)), name).rejects.toMatchObject({ code: "EEXIST" });
  }
});

describe("the rest of the program", () => {
  const sources = ["src", "bin"].flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => join(folder, name).replaceAll("\\", "/")),
  );
  const codeOf = (file: string) => readFileSync(file, "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
  const others = sources.filter((file) => file !== "src/files/removal.ts");
  /** Names of functions of node:fs and node:fs/promises, and of methods of their file handles. */
  const removes = /^l?f?(rm|rmdir|unlink|rename|cp|copyFile|chmod|chown|truncate)(Sync)?$/;
  const imported = (file: string) =>
    [...codeOf(file).matchAll(/import\s+([^;]*?)\s+from\s+"(?:node:)?fs(?:\/promises)?"/g)].map(
      ([, what = ""]) => what,
    );

  test("imports functions of node:fs by their names, and none that removes, renames or re-modes", () => {
    const names = (file: string) => imported(file).flatMap((what) => what.match(/\w+/g) ?? []);
    const used = names("src/files/removal.ts").filter((name) => removes.test(name));
    expect(used).toEqual(["copyFile", "rename", "rmdir", "unlink"]);
    expect(others.filter((file) => names(file).some((name) => removes.test(name)))).toEqual([]);
    // A namespace would hide which ones are used.
    expect(sources.filter((file) => imported(file).some((what) => !/^(type\s+)?\{/.test(what)))).toEqual([]);
    const otherWays = /(require|import)\s*\(\s*"(node:)?(fs|child_process)|getBuiltinModule|process\.binding/;
    expect(sources.filter((file) => otherWays.test(codeOf(file)))).toEqual([]);
  });

  test("calls no method that does so", () => {
    const calls = (file: string) => [...codeOf(file).matchAll(/\.\s*(\w+)\s*\(/g)].map(([, name = ""]) => name);
    expect(calls("src/files/removal.ts")).toContain("chmod");
    expect(others.filter((file) => calls(file).some((name) => removes.test(name)))).toEqual([]);
  });

  test("writes to no file that was there, but to the summary of a job", () => {
    const writes = (file: string) =>
      codeOf(file).match(/(?<!handle\.)\b(writeFile|appendFile|createWriteStream)(Sync)?\s*\([^;]*;/g);
    const found = others.flatMap((file) => (writes(file) ?? []).map((call) => `${file}: ${call}`));
    // The GIT_DIR is a new directory that nothing else knows of.
    const expected = /flag: "wx"|^src\/cli\/output\/github\.ts: appendFile|^src\/provenance\/git\/directory\.ts: /;
    expect(found.filter((call) => !expected.test(call))).toEqual([]);
    expect(found.length).toBeGreaterThan(1);
  });
});

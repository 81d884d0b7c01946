import { mkdir, open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { breakFileSystem } from "./fs-faults.ts";
import { makeSandbox } from "./run.ts";

/** A directory whose operations can fail, and one beside it. */
async function arrange() {
  const { cwd, home } = await makeSandbox();
  const broken = breakFileSystem();
  broken.include(cwd);
  return { inside: join(cwd, "file"), outside: join(home, "file"), broken };
}

test("the n-th operation fails, below the directory only, and no other", async () => {
  const { inside, outside, broken } = await arrange();
  await writeFile(inside, "1");
  await writeFile(outside, "1");
  broken.arm({ kind: "error", code: "EIO" }, 2);
  await readFile(outside);
  await readFile(inside);
  await readFile(outside);
  await expect(readFile(inside)).rejects.toMatchObject({ code: "EIO", errno: -5, syscall: "readFile", path: inside });
  await readFile(inside);
  expect(broken.disarm()).toEqual([`readFile ${inside}`]);
  broken.arm({ kind: "error", code: "EIO" }, 1);
  expect(broken.disarm()).toEqual([]);
  await readFile(inside);
});

test("operations of an open file fail too, and one that fails to be closed is closed", async () => {
  const { inside, broken } = await arrange();
  const handle = await open(inside, "w");
  expect(broken.openFiles()).toEqual([inside]);
  broken.arm({ kind: "error", code: "EIO" }, 2);
  await handle.write(Buffer.from("1"));
  await expect(handle.sync()).rejects.toMatchObject({ code: "EIO", syscall: "sync" });
  broken.arm({ kind: "error", code: "EIO" }, 1);
  await expect(handle.close()).rejects.toMatchObject({ code: "EIO", syscall: "close" });
  expect(broken.openFiles()).toEqual([]);
  expect(handle.fd).toBe(-1);
});

test("a full disk refuses what needs space from then on, and nothing else", async () => {
  const { inside, broken } = await arrange();
  broken.arm({ kind: "error", code: "ENOSPC", lasting: true }, 2);
  await mkdir(`${inside}.d`);
  await expect(mkdir(`${inside}.e`)).rejects.toMatchObject({ code: "ENOSPC" });
  await expect(writeFile(inside, "12")).rejects.toMatchObject({ code: "ENOSPC" });
  // As on a real one, the part for which there was space is there.
  expect(await readFile(inside, "utf8")).toBe("1");
  const handle = await open(inside, "r");
  await handle.close();
  expect(broken.disarm()).toHaveLength(2);
  await mkdir(`${inside}.e`);
});

test("a read and a write that are cut short move half of the bytes", async () => {
  const { inside, broken } = await arrange();
  const handle = await open(inside, "w+");
  broken.arm({ kind: "short" }, 1);
  expect((await handle.write(Buffer.from("123456"), 0, 6)).bytesWritten).toBe(3);
  expect((await handle.write(Buffer.from("456"), 0, 3)).bytesWritten).toBe(3);
  broken.arm({ kind: "short" }, 1);
  expect((await handle.read(Buffer.alloc(6), 0, 6, 0)).bytesRead).toBe(3);
  expect(broken.disarm()).toEqual([`read ${inside}`]);
  await handle.close();
});

test("nothing gets a second name on a disk without hard links", async () => {
  const { inside, broken } = await arrange();
  await writeFile(inside, "1");
  broken.withoutHardLinks();
  const { link } = await import("node:fs/promises");
  await expect(link(inside, `${inside}.2`)).rejects.toMatchObject({ code: "EPERM" });
});

const whole = open;

test("the file system is broken until the test ends", () => {
  breakFileSystem();
  expect(open).not.toBe(whole);
});

test("the file system works again after the test", () => {
  expect(open).toBe(whole);
});

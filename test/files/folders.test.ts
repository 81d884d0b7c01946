/** Folders below a directory: they are made on the way down, and no link is followed, however late it comes. */
import { lstat, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { flushDirectories } from "../../src/files/atomic.ts";
import { Folders } from "../../src/files/folders.ts";

let place: string;
let root: string;
let outside: string;
beforeEach(async () => {
  place = await mkdtemp(join(tmpdir(), "docproc-folders-"));
  [root, outside] = [join(place, "root"), join(place, "outside")];
  await Promise.all([mkdir(root), mkdir(outside)]);
});
afterEach(() => rm(place, { recursive: true }));

const names = ["a", "b", "c"];

describe.each([true, false])("with handles: %s", (handles) => {
  const folders = (umask = 0o022) => new Folders(root, { umask, handles });

  test("folders are made as they are needed, with the modes of the umask, and are used together", async () => {
    const below = folders(0o077);
    const uses = [names, names, ["a"], ["a", "b"], []].map((path, index) =>
      below.use(path, async (folder) => {
        expect(folder.shown).toBe(join(root, ...path));
        await folder.assertSame();
        await writeFile(join(folder.path, `${index}`), "x");
      }),
    );
    await Promise.all(uses);
    expect((await readdir(root, { recursive: true })).sort()).toEqual(
      ["4", "a", "a/2", "a/b", "a/b/3", "a/b/c", "a/b/c/0", "a/b/c/1"].sort(),
    );
    for (const path of ["a", "a/b", "a/b/c"]) expect((await stat(join(root, path))).mode & 0o777).toBe(0o700);
  });

  test("the root may be a link, and nothing below it may", async () => {
    await symlink("root", join(place, "link"));
    await new Folders(join(place, "link"), { umask: 0, handles }).use(["a"], async (folder) => {
      await writeFile(join(folder.path, "x"), "x");
    });
    expect(await readdir(join(root, "a"))).toEqual(["x"]);
  });

  test.each([0, 1, 2])("a link %i levels down is refused, wherever it leads", async (level) => {
    const link = join(root, ...names.slice(0, level + 1));
    await mkdir(join(link, ".."), { recursive: true });
    for (const target of [outside, root, ".", "nowhere", "/"]) {
      await symlink(target, link);
      let used = false;
      const using = folders().use(names, async () => {
        used = true;
      });
      await expect(using).rejects.toMatchObject({
        code: "CONFLICT",
        message: `${link} is a link, and docproc does not write through links.`,
      });
      expect(used).toBe(false);
      await rm(link);
    }
    expect(await readdir(outside)).toEqual([]);
  });

  test.each([0, 1, 2])("a file %i levels down is in the way, and stays", async (level) => {
    const file = join(root, ...names.slice(0, level + 1));
    await mkdir(join(file, ".."), { recursive: true });
    await writeFile(file, "mine");
    await expect(folders().use(names, async () => {})).rejects.toMatchObject({
      code: "CONFLICT",
      message: `${file} is a file, and a folder is needed there.`,
    });
    expect(await readFile(file, "utf8")).toBe("mine");
  });

  test("what is used may fail, and the next use is not hurt", async () => {
    const below = folders();
    await expect(below.use(names, async () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(await below.use(names, async () => 7)).toBe(7);
  });

  test("a root that is gone is not found", async () => {
    await rm(root, { recursive: true });
    await expect(folders().use(names, async () => {})).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});

test("a folder that is held is used wherever its name leads meanwhile", async () => {
  await new Folders(root, { umask: 0 }).use(names, async (folder) => {
    await rename(join(root, "a", "b"), join(root, "moved"));
    await symlink(outside, join(root, "a", "b"));
    await mkdir(join(outside, "c"));
    await writeFile(join(folder.path, "x"), "x");
  });
  expect(await readdir(join(outside, "c"))).toEqual([]);
  expect(await readdir(join(root, "moved", "c"))).toEqual(["x"]);
});

test("without handles, a link that takes the place of a folder is seen", async () => {
  await new Folders(root, { umask: 0, handles: false }).use(names, async (folder) => {
    await folder.assertSame();
    await rename(join(root, "a", "b"), join(root, "moved"));
    await expect(folder.assertSame()).rejects.toMatchObject({ code: "NOT_FOUND" });
    await symlink(outside, join(root, "a", "b"));
    await expect(folder.assertSame()).rejects.toMatchObject({ code: "CONFLICT" });
  });
  expect((await lstat(join(root, "a", "b"))).isSymbolicLink()).toBe(true);
});

test("the root directory can be flushed, although there is none above it", async () => {
  await flushDirectories("/", "/");
});

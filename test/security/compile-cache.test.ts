/** Where Node keeps the code that it has compiled: nowhere that somebody else may write to. */
import { chmod, lchown, lstat, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { docproc, preload } from "../support/process.ts";
import { makeSandbox, type Sandbox } from "../support/run.ts";

/** The directory that Node is given, or nothing. In place of the function that Node has since 22.8. */
async function givenTo(sandbox: Sandbox, more = ""): Promise<string> {
  const file = join(sandbox.root, "given");
  await writeFile(file, "");
  const node = preload(`import module from "node:module";
    import { writeFileSync } from "node:fs";
    process.umask(0);
    ${more}
    module.enableCompileCache = (directory) => writeFileSync(${JSON.stringify(file)}, String(directory));`);
  expect(await docproc(sandbox, ["list"], { node })).toMatchObject({ status: 0, stderr: "No documents.\n" });
  return await readFile(file, "utf8");
}

test("the compile cache is in the user's own cache directory, whatever the umask", async () => {
  const sandbox = await makeSandbox();
  const directory = join(sandbox.root, "cache", "docproc");
  expect(await givenTo(sandbox)).toBe(directory);
  expect((await lstat(directory)).mode & 0o777).toBe(0o700);
  expect(await givenTo(sandbox)).toBe(directory);
});

test("there is no compile cache when others may write to it", async () => {
  const sandbox = await makeSandbox();
  const directory = join(sandbox.root, "cache", "docproc");
  await mkdir(directory, { recursive: true });
  await chmod(directory, 0o777);
  expect(await givenTo(sandbox)).toBe("");
});

test("there is no compile cache when it belongs to another user", async () => {
  const sandbox = await makeSandbox();
  await mkdir(join(sandbox.root, "cache", "docproc"), { recursive: true, mode: 0o700 });
  expect(await givenTo(sandbox, "const uid = process.getuid(); process.getuid = () => uid + 1;")).toBe("");
});

test("there is no compile cache when it is a link", async () => {
  const sandbox = await makeSandbox();
  await mkdir(join(sandbox.root, "cache"));
  await mkdir(join(sandbox.root, "elsewhere"), { mode: 0o700 });
  await symlink(join(sandbox.root, "elsewhere"), join(sandbox.root, "cache", "docproc"));
  expect(await givenTo(sandbox)).toBe("");
});

const others: [what: string, make: (path: string) => Promise<unknown>][] = [
  ["a link", (path) => symlink("elsewhere", path)],
];
// Only root can make what is another user's.
if (userInfo().uid === 0) {
  others.push(["a directory of another user", (path) => mkdir(path).then(() => lchown(path, 54_321, 54_321))]);
}
test.each(others)(
  "there is no compile cache when it holds %s, from a time when it was open to others",
  async (_what, make) => {
    const sandbox = await makeSandbox();
    const directory = join(sandbox.root, "cache", "docproc");
    await mkdir(join(directory, "v24.0.0-x64"), { recursive: true, mode: 0o700 });
    await chmod(directory, 0o700);
    expect(await givenTo(sandbox)).toBe(directory);
    await make(join(directory, "v26.0.0-x64"));
    expect(await givenTo(sandbox)).toBe("");
  },
);

test("there is no compile cache when it has no place", async () => {
  const sandbox = await makeSandbox();
  await writeFile(join(sandbox.root, "cache"), "a file");
  expect(await givenTo(sandbox)).toBe("");
});

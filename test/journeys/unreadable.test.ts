/** Files and libraries that this user may not read. Root may read everything, so root runs the program as nobody. */
import { chmod, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { docproc } from "../support/process.ts";
import { makeSandbox } from "../support/run.ts";

/** https://wiki.debian.org/SystemGroups: nobody has this number nearly everywhere; whose it is does not matter here. */
const user = process.getuid?.() === 0 ? 65_534 : undefined;

test.each<[what: string, argv: string[], status: number, says: string]>([
  ["a file", ["upload", "secret.txt"], 4, "secret.txt cannot be accessed"],
  ["a directory of files", ["upload", "-r", "locked"], 4, "locked cannot be accessed"],
  ["a file in a directory", ["upload", "locked/a.txt"], 4, "locked/a.txt cannot be accessed"],
  ["one file of two", ["upload", "secret.txt", "open.txt", "--dry-run"], 7, "1 of 2 files failed"],
  ["a list of files", ["upload", "--files-from", "secret.txt"], 4, "secret.txt cannot be accessed"],
  ["a config file", ["list", "--config", "secret.txt"], 2, "EACCES"],
  ["a library to list", ["list", "--directory", "locked"], 4, "locked"],
  ["a library to upload to", ["upload", "open.txt", "--directory", "locked"], 4, "locked"],
  ["a library to make", ["init", "--directory", "locked/library"], 4, "locked"],
  ["a document in it", ["show", "a.txt", "--directory", "locked"], 4, "locked"],
  ["a directory to download to", ["download", "open.txt", "-o", "locked/a"], 4, "locked"],
])("a path that cannot be read is named with a next step: %s", async (_what, argv, status, says) => {
  const sandbox = await makeSandbox();
  const path = (name: string) => join(sandbox.cwd, name);
  for (const directory of [sandbox.root, sandbox.cwd]) await chmod(directory, 0o777);
  await writeFile(path("open.txt"), "open");
  expect((await docproc(sandbox, ["upload", "open.txt"], { user })).status).toBe(0);
  await writeFile(path("secret.txt"), "secret", { mode: 0o600 });
  await mkdir(path("locked"), { mode: 0o700 });
  await writeFile(join(path("locked"), "a.txt"), "a");
  if (user === undefined) for (const name of ["secret.txt", "locked"]) await chmod(path(name), 0);
  const outcome = await docproc(sandbox, argv, { user });
  if (user === undefined) await chmod(path("locked"), 0o700);
  expect(outcome.stderr).toMatch(/^error: .+\nhint: {2}.+\n$/m);
  expect(outcome.stderr).toContain(says);
  expect(outcome.status).toBe(status);
  expect(await readdir(path("locked"))).toEqual(["a.txt"]);
});

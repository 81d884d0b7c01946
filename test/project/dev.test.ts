/** The scripts of package.json that only contributors use. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { makeSandbox } from "../support/run.ts";

const { version } = JSON.parse(readFileSync("package.json", "utf8"));

test("npm run dev runs the program from its sources", async () => {
  const { cwd, home } = await makeSandbox();
  const run = (...argv: string[]) =>
    promisify(execFile)(process.execPath, [resolve("dev.mjs"), ...argv], { cwd, env: { HOME: home, INIT_CWD: cwd } });
  expect((await run("--version")).stdout).toBe(`${version}-dev\n`);
  for (const name of ["a", "b", "c"]) await writeFile(join(cwd, name), name.repeat(100_000));
  const uploaded = JSON.parse((await run("upload", "a", "b", "c", "--json")).stdout);
  expect(uploaded.summary).toMatchObject({ uploaded: 3, failed: 0 });
  const failed = await run("show", "missing", "-v").catch((error) => error);
  expect(failed.code).toBe(3);
  expect(failed.stderr).toMatch(/ \(\S*src\/library\/find\.ts:\d+:\d+\)$/m);
});

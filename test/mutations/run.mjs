/**
 * Tries the deliberate bugs of list.mjs, or only those with some words in their titles. `--part=1/3` tries every third
 * one: several parts run beside each other. Works on a copy; nothing here is changed.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { parseAst } from "rolldown/parseAst";
import { mutations } from "./list.mjs";

const root = resolve(import.meta.dirname, "../..");
const { values, positionals: words } = parseArgs({ options: { part: { type: "string" } }, allowPositionals: true });
const [part = 1, parts = 1] = values.part?.split("/").map(Number) ?? [];
const chosen = mutations
  .filter(([title]) => words.every((word) => title.includes(word)))
  .filter((_, index) => index % parts === part - 1);
if (chosen.length === 0) throw new Error("no title has these words");
const copy = mkdtempSync(join(tmpdir(), "docproc-mutations-"));
let survived = 0;
try {
  const files = execFileSync("git", ["ls-files", "-z"], { cwd: root, encoding: "utf8" }).split("\0").filter(Boolean);
  for (const file of files) {
    mkdirSync(dirname(join(copy, file)), { recursive: true });
    cpSync(join(root, file), join(copy, file));
  }
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  // A bug may leave something unused, which is nothing that a test could catch.
  const types = join(copy, "tsconfig.types.json");
  const { compilerOptions, ...others } = JSON.parse(readFileSync(types, "utf8"));
  writeFileSync(types, JSON.stringify({ ...others, compilerOptions: { ...compilerOptions, noCheck: true } }));
  const node = (...argv) => spawnSync(process.execPath, argv, { cwd: copy, stdio: "ignore" }).status;
  const vitest = (...argv) => node("node_modules/vitest/vitest.mjs", "run", "--bail=1", "--passWithNoTests", ...argv);
  const passes = (tests, project) => vitest(`--project=${project}`, ...tests) === 0;
  for (const [title, file, from, , tests] of chosen) {
    const places = readFileSync(join(copy, file), "utf8").split(from).length - 1;
    if (places !== 1) throw new Error(`${file} has ${places} places for: ${title}`);
    const missing = tests.filter((test) => !files.includes(test));
    if (missing.length > 0) throw new Error(`no such test: ${missing.join(", ")}`);
  }
  const all = new Set(chosen.flatMap(([, , , , tests]) => tests));
  // A test that fails anyway notices nothing.
  if (!["unit", "system"].every((project) => passes([...all], project))) {
    throw new Error("the tests do not pass as they are");
  }
  for (const [title, file, from, to, tests] of chosen) {
    const path = join(copy, file);
    const original = readFileSync(path, "utf8");
    writeFileSync(path, original.split(from).join(to));
    // What does not even parse, or build, is no bug that a test could catch.
    if (path.endsWith(".ts")) parseAst(readFileSync(path, "utf8"), { lang: "ts" });
    let caught = !passes(tests, "unit");
    if (!caught) {
      if (node("build.mjs") !== 0) throw new Error(`does not build: ${title}`);
      caught = !passes(tests, "system");
    }
    writeFileSync(path, original);
    if (!caught) survived += 1;
    process.stdout.write(`${caught ? "caught  " : "SURVIVED"}  ${title}\n`);
  }
} finally {
  rmSync(copy, { recursive: true, force: true });
}
process.stdout.write(`${chosen.length - survived} of ${chosen.length} deliberate bugs were caught\n`);
process.exitCode = survived === 0 ? 0 : 1;

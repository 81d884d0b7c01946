/** Builds dist/ before the tests that run the program as a process, if it is older than what it is made from. */
import { execFileSync } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

const sources = [
  "src",
  "bin",
  "build.mjs",
  "package.json",
  "package-lock.json",
  "tsconfig.json",
  "tsconfig.types.json",
];

export default function build(): void {
  // Written last by a build, with the time at which it began.
  const built = statSync("dist/package.json", { throwIfNoEntry: false })?.mtimeMs;
  if (built !== undefined && sources.every((source) => newestIn(source) < built)) return;
  execFileSync(process.execPath, ["build.mjs"], { stdio: "inherit" });
}

/** Of a folder, also its own time and those of folders in it: a file that is gone has none. */
function newestIn(path: string): number {
  const within = statSync(path).isDirectory() ? readdirSync(path, { recursive: true, encoding: "utf8" }) : [];
  return Math.max(...[path, ...within.map((name) => join(path, name))].map((one) => statSync(one).mtimeMs));
}

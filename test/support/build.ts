/** Builds dist/ before the tests that run the program as a process, if it is older than what it is made from. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { isUpToDate } from "./up-to-date.ts";

const sources = [
  "src",
  "bin",
  "build.mjs",
  "bundle.mjs",
  "package.json",
  "package-lock.json",
  "tsconfig.json",
  "tsconfig.types.json",
];

const programs = ["dist/docproc.js", "dist/library.js", "dist/digest-thread.js"];

export default function build(): void {
  // Written last by a build, with the time at which it began.
  if (programs.every((file) => existsSync(file)) && isUpToDate("dist/package.json", sources)) return;
  execFileSync(process.execPath, ["build.mjs"], { stdio: "inherit" });
}

/** Builds dist/ before the suite, for the tests that run the program as a process. */
import { execFileSync } from "node:child_process";

export default function build(): void {
  execFileSync(process.execPath, ["build.mjs"], { stdio: "inherit" });
}

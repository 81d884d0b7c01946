/** Runs the program from its sources, bundled for this run alone: `npm run dev -- ARGS`. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { bundle, version } from "./bundle.mjs";

const cache = join(import.meta.dirname, "node_modules/.cache");
mkdirSync(cache, { recursive: true });
const dir = mkdtempSync(join(cache, "docproc-dev-"));
try {
  await bundle({ dir, shownVersion: `${version}-dev`, minify: false });
  // The sources are ES modules.
  writeFileSync(join(dir, "package.json"), JSON.stringify({ type: "commonjs" }));
  // npm runs scripts in the root of the package; paths on the command line are relative to where it was called.
  const cwd = process.env.INIT_CWD ?? process.cwd();
  // Ctrl-C reaches the program too, which ends by itself.
  const { status, signal } = spawnSync(process.execPath, [join(dir, "docproc.js"), ...process.argv.slice(2)], {
    cwd,
    stdio: "inherit",
  });
  process.exitCode = status ?? 128 + constants.signals[signal];
} finally {
  rmSync(dir, { recursive: true, force: true });
}

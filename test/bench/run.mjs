/** Builds docproc as it is published, and the benchmark, and runs that. Node 20 cannot run TypeScript by itself. */
import { spawnSync } from "node:child_process";
import { build } from "rolldown";

const outdir = "node_modules/.cache/docproc-bench";
const built = spawnSync(process.execPath, ["build.mjs"], { stdio: "inherit" });
if (built.status !== 0) process.exit(built.status ?? 1);
await build({
  input: ["./test/bench/bench.ts", "./test/bench/null-endpoint.ts"],
  platform: "node",
  // Packages.
  external: /^[@a-z]/,
  transform: { target: "node20.19" },
  output: { dir: outdir },
});
await import(new URL(`../../${outdir}/bench.js`, import.meta.url));

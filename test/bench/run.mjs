/** Builds docproc as it is published, and the benchmark, and runs that. Node 20 cannot run TypeScript by itself. */
import { spawnSync } from "node:child_process";
import { build } from "esbuild";

const outdir = "node_modules/.cache/docproc-bench";
const built = spawnSync(process.execPath, ["build.mjs"], { stdio: "inherit" });
if (built.status !== 0) process.exit(built.status ?? 1);
await build({
  entryPoints: ["test/bench/bench.ts", "test/bench/null-endpoint.ts"],
  outdir,
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node20.19",
  packages: "external",
});
await import(new URL(`../../${outdir}/bench.js`, import.meta.url));

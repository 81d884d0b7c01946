/** Runs the program from its sources: `npm run dev -- ARGS`. Node 20 needs help to read TypeScript. */
import "jiti/register";
import { readFileSync } from "node:fs";
import { chdir, env } from "node:process";

const { version } = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8"));
// A build puts the text in its place.
globalThis.DOCPROC_VERSION = `${version}-dev`;
// npm runs scripts in the root of the package; paths on the command line are relative to where it was called.
if (env.INIT_CWD) chdir(env.INIT_CWD);
await import("./bin/docproc.ts");

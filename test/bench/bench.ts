/**
 * `npm run bench`: docproc beside the programs that people would use instead, in one run, round after round in turn,
 * so that a slow moment of the machine is one of all. What counts is the ratio of each round, never a time alone.
 */
import { rmSync } from "node:fs";
import { mkdtemp, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { certificate } from "../support/tls-proxy.ts";
import { type Bench, cases } from "./cases.ts";
import { Endpoint } from "./endpoint.ts";
import { findPeers } from "./peers.ts";
import { machine, print, type Report, reportOf } from "./report.ts";
import { runCase } from "./rounds.ts";

const usage = `npm run bench -- [CASE...] [--rounds N] [--scale X] [--json]
  CASE       ${Object.keys(cases).join(", ")} (default: all)
  --rounds   of each case (default: 5; cases that take long have 3)
  --scale    of sizes and numbers of files: 0.01 for a quick look (default: 1)
  --json     print one JSON document
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "5" },
    scale: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});
const [rounds, scale] = [Number(values.rounds), Number(values.scale)];
const unknown = positionals.filter((name) => !Object.hasOwn(cases, name));
if (values.help || unknown.length > 0 || !Number.isInteger(rounds) || rounds < 1 || !(scale > 0)) {
  process.stderr.write(usage);
  process.exit(values.help ? 0 : 2);
}

const scratch = await mkdtemp(join(tmpdir(), "docproc-bench-"));
const authority = join(scratch, "authority.pem");
await writeFile(authority, certificate);
const endpoint = await Endpoint.start();
const bench: Bench = { scratch, endpoint, authority, peers: findPeers(), scale };
process.once("SIGINT", () => process.exit(130));
// However it ends: what is in there may be many gigabytes.
process.once("exit", () => rmSync(scratch, { recursive: true, force: true }));
const say = (line: string) => process.stderr.write(`${line}\n`);
try {
  say(machine(cpus()));
  const missing = Object.entries(bench.peers).flatMap(([name, program]) => (program === undefined ? [name] : []));
  if (missing.length > 0) say(`Not on PATH, so not compared with: ${missing.join(", ")}.`);
  const reports: Report[] = [];
  for (const name of positionals.length > 0 ? positionals : Object.keys(cases)) {
    const made = await cases[name]?.(bench);
    if (made === undefined) continue;
    const runs = await runCase(made, endpoint, Math.min(rounds, made.rounds ?? rounds), say);
    const report = reportOf(name, made, runs);
    reports.push(report);
    if (!values.json) print(report, (text) => process.stdout.write(text));
  }
  if (values.json) {
    const document = { schema: "docproc.bench/1", machine: machine(cpus()), missing, scale, cases: reports };
    process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
  }
} finally {
  endpoint.stop();
}

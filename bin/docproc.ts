#!/usr/bin/env node
/** The only file that touches the process: it builds the Host, runs the program and sets the exit status. */

import { fstatSync, lstatSync, mkdirSync, readdirSync } from "node:fs";
import * as module from "node:module";
import { homedir, totalmem } from "node:os";
import { join } from "node:path";
import envPaths from "env-paths";
import type { Host } from "../src/cli/context.ts";
import { DocprocError, exitStatuses } from "../src/core/errors.ts";

declare const DOCPROC_VERSION: string;

// Hides Node's warning that its SQLite is experimental. -v shows all warnings.
process.removeAllListeners("warning");
if (process.argv.includes("-v") || process.argv.includes("--verbose")) {
  process.on("warning", (warning) => process.stderr.write(`${warning.name}: ${warning.message}\n`));
}

const interruption = new AbortController();
const ending = new AbortController();
/** 128 + signal number: https://tldp.org/LDP/abs/html/exitcodes.html */
const signalStatuses = { SIGINT: 130, SIGTERM: 143 } as const;
let interruptedBy: keyof typeof signalStatuses | undefined;
for (const name of Object.keys(signalStatuses) as (keyof typeof signalStatuses)[]) {
  process.on(name, () => {
    const reason = new DocprocError("CANCELLED", `Interrupted by ${name}.`, { hint: "Run the same command again." });
    if (interruptedBy) endNow(name, reason);
    interruptedBy ??= name;
    interruption.abort(reason);
  });
}

/** Milliseconds for a reader to take the end of the output. */
const readingTimeout = 500;

/** Ends the output, then the process. A reader that is merely slower than docproc gets all of it. */
function endNow(name: keyof typeof signalStatuses, reason: DocprocError): void {
  if (ending.signal.aborted) endBy(name);
  ending.abort(reason);
  if (process.stdout.writableLength === 0) endBy(name);
  process.stdout.write("", () => endBy(name));
  setTimeout(() => endBy(name), readingTimeout);
}

/**
 * Ends the process by the signal itself, so that shells see the usual status. process.exit() would wait for Node's
 * threads, one of which may hang in a system call, such as open() of a FIFO.
 */
function endBy(name: keyof typeof signalStatuses): never {
  process.removeAllListeners(name);
  if (process.platform !== "win32") process.kill(process.pid, name);
  // Windows has no signals, and the first process of a container ignores them.
  process.exit(signalStatuses[name]);
}

// A closed reader (`| head`) must neither stop an upload nor print a stack trace. run() reports other errors; the
// stream itself forgets them.
let stdoutError: Error | undefined;
process.stdout.on("error", (error) => {
  stdoutError ??= error;
});
process.stderr.on("error", () => {});

const platformPaths = envPaths("docproc", { suffix: "" });
const host: Host = {
  argv: process.argv.slice(2),
  env: process.env,
  cwd: process.cwd(),
  home: homedir(),
  uid: process.getuid?.(),
  umask: process.umask(),
  paths: {
    data: platformPaths.data,
    config: platformPaths.config,
    // On Linux env-paths calls XDG_STATE_HOME "log"; elsewhere its "log" is for log files.
    state: /^(darwin|win32)$/.test(process.platform) ? join(platformPaths.data, "state") : platformPaths.log,
  },
  // Without a limit Node reports 0, or too much.
  memory: Math.min(process.constrainedMemory?.() || Number.POSITIVE_INFINITY, totalmem()),
  stdin: openStdin,
  stdout: process.stdout,
  stderr: process.stderr,
  stdoutError: () => stdoutError,
  now: Date.now,
  signal: interruption.signal,
  ending: ending.signal,
  version: DOCPROC_VERSION,
};

/** The oldest supported Node; see `engines` in package.json. */
const oldestNode = [20, 19] as const;

void main();

/** A function, because the bundle is CommonJS, which has no top-level await. */
async function main(): Promise<void> {
  const status = isTooOld(process.versions.node) ? refuseNode() : await runProgram(host);
  process.exitCode = interruptedBy && status === exitStatuses.CANCELLED ? signalStatuses[interruptedBy] : status;
  endSoon();
}

/** Milliseconds for connections that are still open at the end. */
const closingTimeout = 1_000;

/** Ends the process although something is still open, but not before all output is written. */
function endSoon(): void {
  setTimeout(() => {
    if (process.stdout.writableLength + process.stderr.writableLength > 0) endSoon();
    else if (interruptedBy && process.exitCode === signalStatuses[interruptedBy]) endBy(interruptedBy);
    else process.exit();
  }, closingTimeout).unref();
}

/**
 * Enables the compile cache of Node 22.8 and later for everything imported afterwards. Not in Node's default place, the
 * temporary directory: a user who can write to it could plant code. So directory and content must belong to this user
 * alone, since the directory may have been open to others before.
 */
function keepCompiledCode(directory: string): void {
  const { enableCompileCache } = module as { enableCompileCache?: (directory: string) => void };
  if (enableCompileCache === undefined) return;
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    // Node's subdirectories get their modes from the umask; ours protects them.
    const isOurs =
      isOwnDirectory(directory, 0o022) &&
      readdirSync(directory).every((name) => isOwnDirectory(join(directory, name), 0));
    if (isOurs) enableCompileCache(directory);
  } catch {
    // Without a cache every start takes a little longer.
  }
}

/** @param never mode bits that must not be set */
function isOwnDirectory(path: string, never: number): boolean {
  const seen = lstatSync(path);
  // Windows has no such ids, and protects the directories of users by itself.
  const isOwn = process.getuid === undefined || (seen.uid === process.getuid() && (seen.mode & never) === 0);
  return isOwn && seen.isDirectory();
}

/** Node reads a directory as empty input, and an empty document would be a mistake. */
function openStdin() {
  if (fstatSync(0).isDirectory()) {
    throw new DocprocError("USAGE", "Standard input is a directory.", { hint: "Redirect a file instead." });
  }
  return process.stdin;
}

/** `--version` needs no command tree; scripts use it to see if docproc is installed. */
async function runProgram(host: Host): Promise<number> {
  if (host.argv.length === 1 && host.argv[0] === "--version") {
    process.stdout.write(`${host.version}\n`);
    return 0;
  }
  keepCompiledCode(platformPaths.cache);
  // The default of ten frames does not reach from deep in the library to the program.
  Error.stackTraceLimit = 30;
  const { isCompletion, run } = await import("../src/cli/program.ts");
  const status = await run(host);
  // The shell waits for the end of the process, which an abandoned request would delay.
  if (isCompletion(host.argv)) process.stdout.write("", () => process.exit(status));
  return status;
}

function isTooOld(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major < oldestNode[0] || (major === oldestNode[0] && minor < oldestNode[1]);
}

/** Runs before any module loads that an old Node could not parse. */
function refuseNode(): number {
  const error = new DocprocError("INVALID_CONFIG", `docproc needs Node ${oldestNode.join(".")} or later.`, {
    hint: `This is Node ${process.versions.node}. Install a newer one from https://nodejs.org.`,
  });
  process.stderr.write(`error: ${error.message}\nhint:  ${error.hint}\n`);
  return exitStatuses[error.code];
}

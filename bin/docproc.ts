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

// Node says of its own SQLite that it is experimental. Other warnings are shown with -v.
process.removeAllListeners("warning");
if (process.argv.includes("-v") || process.argv.includes("--verbose")) {
  process.on("warning", (warning) => process.stderr.write(`${warning.name}: ${warning.message}\n`));
}

const interruption = new AbortController();
/** https://tldp.org/LDP/abs/html/exitcodes.html: 128 and the number of the signal. */
const signalStatuses = { SIGINT: 130, SIGTERM: 143 } as const;
let interruptedBy: keyof typeof signalStatuses | undefined;
for (const name of Object.keys(signalStatuses) as (keyof typeof signalStatuses)[]) {
  process.on(name, () => {
    if (interruptedBy) endBy(name);
    interruptedBy = name;
    interruption.abort(
      new DocprocError("CANCELLED", `Interrupted by ${name}.`, { hint: "Run the same command again." }),
    );
  });
}

/**
 * Ends the process as the signal does to one that does not handle it, which shells see as the same status. process.exit()
 * waits for Node's threads, and one of them may be in a system call that never ends, such as open() of a FIFO.
 */
function endBy(name: keyof typeof signalStatuses): never {
  process.removeAllListeners(name);
  if (process.platform !== "win32") process.kill(process.pid, name);
  // Windows has no signals, and they do nothing to the first process of a container.
  process.exit(signalStatuses[name]);
}

// A reader that went away (| head) is no reason to drop what is being uploaded, nor to print a stack trace.
// What else can be wrong is for run() to say. It has to be kept: the stream itself forgets.
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
    // What the package calls log is XDG_STATE_HOME there; elsewhere it is where programs that log write.
    state: /^(darwin|win32)$/.test(process.platform) ? join(platformPaths.data, "state") : platformPaths.log,
  },
  // Without a limit Node says 0, or more than there is.
  memory: Math.min(process.constrainedMemory?.() || Number.POSITIVE_INFINITY, totalmem()),
  stdin: openStdin,
  stdout: process.stdout,
  stderr: process.stderr,
  stdoutError: () => stdoutError,
  now: Date.now,
  signal: interruption.signal,
  version: DOCPROC_VERSION,
};

/** The oldest Node that has what the program is built from; see `engines` in package.json. */
const oldestNode = [20, 19] as const;

void main();

/** Not at the top level: what is built from this is CommonJS, where nothing can wait there. */
async function main(): Promise<void> {
  const status = isTooOld(process.versions.node) ? refuseNode() : await runProgram(host);
  process.exitCode = interruptedBy && status === exitStatuses.CANCELLED ? signalStatuses[interruptedBy] : status;
  endSoon();
}

/** Milliseconds for what is still open when all is said and done: a connection that nothing waits for any more. */
const patience = 1_000;

/** What nothing waits for does not keep the process; what is still to be printed does. */
function endSoon(): void {
  setTimeout(() => {
    if (process.stdout.writableLength + process.stderr.writableLength > 0) endSoon();
    else if (interruptedBy && process.exitCode === signalStatuses[interruptedBy]) endBy(interruptedBy);
    else process.exit();
  }, patience).unref();
}

/**
 * Lets Node 22.8 and later keep compiled code between two runs, of what is imported after the call. Not where Node
 * would, in the directory for temporary files: a user who may write to the place of this code could put other code
 * there. So the directory has to be this user's alone, and so has what is in it: it may have been open to others before.
 */
function keepCompiledCode(directory: string): void {
  const { enableCompileCache } = module as { enableCompileCache?: (directory: string) => void };
  if (enableCompileCache === undefined) return;
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    // Node's own directories in it have the modes that the umask leaves; they are behind this one.
    const isOurs =
      isOwnDirectory(directory, 0o022) &&
      readdirSync(directory).every((name) => isOwnDirectory(join(directory, name), 0));
    if (isOurs) enableCompileCache(directory);
  } catch {
    // Without such a place every start takes a little longer.
  }
}

/** @param never bits that its mode may not have */
function isOwnDirectory(path: string, never: number): boolean {
  const seen = lstatSync(path);
  // Windows has no such numbers, and keeps other users out of one's own directories.
  const isOwn = process.getuid === undefined || (seen.uid === process.getuid() && (seen.mode & never) === 0);
  return isOwn && seen.isDirectory();
}

/** Node takes a directory for an input that is empty, and an empty document is not what anybody meant. */
function openStdin() {
  if (fstatSync(0).isDirectory()) {
    throw new DocprocError("USAGE", "Standard input is a directory.", { hint: "Add -r to upload the files in one." });
  }
  return process.stdin;
}

/** Scripts ask for the version to see whether docproc is there: that need not wait for the command tree. */
async function runProgram(host: Host): Promise<number> {
  if (host.argv.length === 1 && host.argv[0] === "--version") {
    process.stdout.write(`${host.version}\n`);
    return 0;
  }
  keepCompiledCode(platformPaths.cache);
  const { isCompletion, run } = await import("../src/cli/program.ts");
  const status = await run(host);
  // The shell waits for the end of the process, which a request that nobody waits for any more would put off.
  if (isCompletion(host.argv)) process.stdout.write("", () => process.exit(status));
  return status;
}

function isTooOld(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major < oldestNode[0] || (major === oldestNode[0] && minor < oldestNode[1]);
}

/** Before anything is loaded that such a Node could not even parse. */
function refuseNode(): number {
  const error = new DocprocError("INVALID_CONFIG", `docproc needs Node ${oldestNode.join(".")} or later.`, {
    hint: `This is Node ${process.versions.node}. Install a newer one from https://nodejs.org.`,
  });
  process.stderr.write(`error: ${error.message}\nhint:  ${error.hint}\n`);
  return exitStatuses[error.code];
}

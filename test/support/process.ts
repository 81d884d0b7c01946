/** Runs the built program as a process, in a sandbox: what signals, descriptors and Node's own flags are needed for. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { assertContract } from "./contract.ts";
import type { Sandbox } from "./run.ts";

export const cli = fileURLToPath(new URL("../../dist/docproc.js", import.meta.url));

/** Flags for Node: with them, KILL_AT_STEP and KILL_AT_NTH name a step of src/core/crash-points.ts at which the process is killed. */
export const killer = ["--import", new URL("kill-at-step.mjs", import.meta.url).href];

export interface SpawnOptions {
  readonly env?: Record<string, string | undefined>;
  readonly input?: string;
  /** Flags for Node itself. */
  readonly node?: readonly string[];
  /** A file descriptor in place of the pipe. */
  readonly stdin?: number;
  readonly stdout?: number;
  /** The number of another user, and of their group, for root to run it as. */
  readonly user?: number | undefined;
}

/** Nothing of the machine comes in: an empty home, and credentials that only test servers accept. */
export function start({ root, home, cwd }: Sandbox, argv: readonly string[], options: SpawnOptions = {}): ChildProcess {
  const env = {
    HOME: home,
    XDG_DATA_HOME: join(root, "data"),
    XDG_CONFIG_HOME: join(root, "config"),
    XDG_STATE_HOME: join(root, "state"),
    XDG_CACHE_HOME: join(root, "cache"),
    AWS_ACCESS_KEY_ID: "test",
    AWS_SECRET_ACCESS_KEY: "test",
    AWS_REGION: "us-east-1",
    AWS_EC2_METADATA_DISABLED: "true",
    ...options.env,
  };
  const stdio = [options.stdin ?? ("pipe" as const), options.stdout ?? ("pipe" as const), "pipe" as const];
  const identity = options.user === undefined ? {} : { uid: options.user, gid: options.user };
  const child = spawn(process.execPath, [...(options.node ?? []), cli, ...argv], { cwd, env, stdio, ...identity });
  onTestFinished(() => void child.kill("SIGKILL"));
  // A program that was interrupted does not read its input to the end.
  child.stdin?.on("error", () => {});
  return child;
}

export async function finish(child: ChildProcess) {
  const [stdout, stderr, [status, signal]] = await Promise.all([
    child.stdout ? text(child.stdout) : "",
    child.stderr ? text(child.stderr) : "",
    once(child, "close"),
  ]);
  return { status: (status ?? signal) as number | string, stdout, stderr };
}

export async function docproc(sandbox: Sandbox, argv: readonly string[], options: SpawnOptions = {}) {
  const child = start(sandbox, argv, options);
  child.stdin?.end(options.input ?? "");
  const printed = await finish(child);
  assertContract(argv, printed);
  return printed;
}

/** Flags for Node that run this code before the program. */
export function preload(code: string): string[] {
  return ["--import", `data:text/javascript,${encodeURIComponent(code)}`];
}

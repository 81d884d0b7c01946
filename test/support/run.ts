/** Runs the program inside the test: same code as the command, with streams, clock and directories of the test. */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { onTestFinished } from "vitest";
import type { Host } from "../../src/cli/context.ts";
import type { OutputStream } from "../../src/cli/output/reporter.ts";
import { run } from "../../src/cli/program.ts";
import { assertContract } from "./contract.ts";
import { capture } from "./streams.ts";

/** An empty home and an empty working directory, removed when the test ends. */
export interface Sandbox {
  readonly root: string;
  readonly home: string;
  readonly cwd: string;
  /** Where the embedded library is without any configuration. */
  readonly data: string;
  /** Where the user's own config file is looked for. */
  readonly config: string;
  /** Where the journals of uploads are. */
  readonly state: string;
}

export interface RunOptions {
  readonly env?: Record<string, string | undefined>;
  readonly cwd?: string;
  readonly stdin?: Readable | string;
  /** Columns of the terminal that stdout and stderr are; without it they are pipes. */
  readonly terminal?: number;
  readonly umask?: number;
  /** In place of one that keeps what is written. */
  readonly stdout?: OutputStream;
  readonly now?: () => number;
  readonly signal?: AbortSignal;
}

export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  /** stdout as JSON. Throws where it is none. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever shape a command prints.
  json(): any;
}

export async function makeSandbox(): Promise<Sandbox> {
  const root = await mkdtemp(join(tmpdir(), "docproc-test-"));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  const sandbox = {
    root,
    home: join(root, "home"),
    cwd: join(root, "cwd"),
    data: join(root, "data"),
    config: join(root, "config"),
    state: join(root, "state"),
  };
  await Promise.all([mkdir(sandbox.home), mkdir(sandbox.cwd)]);
  return sandbox;
}

/** Runs one command line and waits for its end. */
export async function runDocproc(
  sandbox: Sandbox,
  argv: readonly string[],
  options: RunOptions = {},
): Promise<Outcome> {
  const stdout = capture(options.terminal);
  const stderr = capture(options.terminal);
  const stdin =
    options.stdin instanceof Readable ? options.stdin : Readable.from(options.stdin ?? "", { objectMode: false });
  const host: Host = {
    argv,
    env: options.env ?? {},
    cwd: options.cwd ?? sandbox.cwd,
    home: sandbox.home,
    uid: process.getuid?.(),
    umask: options.umask ?? 0o022,
    paths: { data: sandbox.data, config: sandbox.config, state: sandbox.state },
    memory: 8 * 1024 ** 3,
    stdin: () => stdin,
    stdout: options.stdout ?? stdout.stream,
    stderr: stderr.stream,
    now: options.now ?? Date.now,
    signal: options.signal ?? new AbortController().signal,
    version: "0.0.0-test",
  };
  const status = await run(host);
  assertContract(argv, { stdout: stdout.text(), stderr: stderr.text() });
  return {
    status,
    stdout: stdout.text(),
    stderr: stderr.text(),
    json: () => JSON.parse(stdout.text()),
  };
}

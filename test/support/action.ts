/** The GitHub Action, run as a job would run it: its step with inputs, in a workspace of its own. */
import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { load } from "js-yaml";
import { cli } from "./process.ts";
import { makeSandbox, type Sandbox } from "./run.ts";

const folder = resolve(".github/actions/upload");

export interface Action {
  readonly inputs: Record<string, { readonly default?: string; readonly required?: boolean }>;
  readonly outputs: Record<string, { readonly value: string }>;
  readonly runs: {
    readonly steps: [{ readonly id: string; readonly run: string; readonly env: Record<string, string> }];
  };
}

export async function readAction(): Promise<Action> {
  return load(await readFile(join(folder, "action.yml"), "utf8")) as Action;
}

/** The sandbox's working directory is the workspace; what the step made there is not removed by it. */
export interface Job extends Sandbox {
  readonly env: Record<string, string>;
}

/** A job with these files, each with its path as content, and docproc in place of what would be fetched. */
export async function makeJob(files: readonly string[] = []): Promise<Job> {
  const sandbox = await makeSandbox();
  const temp = join(sandbox.root, "temp");
  await mkdir(temp);
  for (const file of files) await plant(join(sandbox.cwd, file), file);
  const command = join(sandbox.root, "docproc");
  await plant(command, `#!/bin/sh\nexec "${process.execPath}" "${cli}" "$@"\n`);
  const env = {
    PATH: process.env["PATH"] ?? "",
    HOME: sandbox.home,
    XDG_STATE_HOME: join(sandbox.root, "state-home"),
    CI: "true",
    GITHUB_ACTIONS: "true",
    GITHUB_RUN_ID: "42",
    GITHUB_WORKSPACE: sandbox.cwd,
    GITHUB_ACTION_PATH: folder,
    GITHUB_OUTPUT: join(sandbox.root, "output"),
    GITHUB_STEP_SUMMARY: join(sandbox.root, "summary"),
    RUNNER_TEMP: temp,
    DOCPROC_COMMAND: command,
    DOCPROC_DIRECTORY: join(sandbox.root, "library"),
  };
  return { ...sandbox, env };
}

/** Writes a file that can be run, and the directories that it is in. */
export async function plant(path: string, content: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content, { mode: 0o755 });
}

/** Puts a program in place of docproc that keeps its arguments and its input, and returns what these were. */
export async function recordCalls(job: Job): Promise<() => Promise<{ argv: string[]; list: Buffer[] }>> {
  const at = (name: string) => join(job.root, name);
  await plant(at("docproc"), `#!/bin/sh\nprintf '%s\\0' "$@" > "${at("argv")}"\nexec cat > "${at("stdin")}"\n`);
  return async () => {
    const argv = (await readFile(at("argv"), "utf8")).split("\0").slice(0, -1);
    return { argv, list: splitAtNul(await readFile(at("stdin"))) };
  };
}

function splitAtNul(bytes: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let from = 0, to: number; from < bytes.length; from = to + 1) {
    to = bytes.indexOf(0, from);
    parts.push(bytes.subarray(from, to));
  }
  return parts;
}

export interface Step {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs the step with inputs, those that are not given being what action.yml says.
 * @param before what the shell is told before the step, in place of another version of it
 * @param bash where the runner finds it
 */
export async function runStep(job: Job, inputs: Record<string, string>, before = "", bash = "bash"): Promise<Step> {
  const action = await readAction();
  const [{ run, env: passed }] = action.runs.steps;
  const env: Record<string, string> = { ...job.env };
  for (const [variable, expression] of Object.entries(passed)) {
    const name = /^\$\{\{ inputs\.([\w-]+) \}\}$/.exec(expression)?.[1] ?? "";
    env[variable] = inputs[name] ?? action.inputs[name]?.default ?? "";
  }
  // The runner takes it relative to the workspace.
  const cwd = resolve(job.cwd, inputs["working-directory"] ?? ".");
  return await new Promise((done) => {
    const argv = ["--noprofile", "--norc", "-eo", "pipefail", "-c", `${before}\n${run}`];
    execFile(bash, argv, { cwd, env, maxBuffer: 64 * 1024 ** 2 }, (error, stdout, stderr) => {
      done({ status: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

export interface Uploaded {
  readonly path: string;
  readonly name: string;
  readonly tags: Record<string, string>;
  readonly uri: string;
  readonly source: { readonly path: string };
}

export async function uploaded(job: Job): Promise<Uploaded[]> {
  return await new Promise((done, fail) => {
    const argv = [cli, "list", "--all", "--asc", "--json"];
    execFile(process.execPath, argv, { cwd: job.home, env: job.env, maxBuffer: 64 * 1024 ** 2 }, (error, stdout) => {
      if (error) fail(error);
      else done(JSON.parse(stdout).documents);
    });
  });
}

/** What the uploaded documents hold, sorted. */
export async function uploadedContents(job: Job): Promise<string[]> {
  const documents = await uploaded(job);
  return (await Promise.all(documents.map(({ uri }) => readFile(new URL(uri), "utf8")))).sort();
}

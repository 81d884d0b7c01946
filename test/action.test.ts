/** The GitHub Action: its one script, run as a job would run it. */
import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join, resolve } from "node:path";
import { load } from "js-yaml";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { cli } from "./support/process.ts";
import { makeSandbox, type Sandbox } from "./support/run.ts";

const folder = resolve(".github/actions/upload");
const files = ["dist/a.tgz", "dist/b.tgz", "dist/c d.map", "dist/deep/e.tgz"];

interface Action {
  readonly inputs: Record<string, { readonly default?: string; readonly required?: boolean }>;
  readonly outputs: Record<string, { readonly value: string }>;
  readonly runs: {
    readonly steps: [{ readonly id: string; readonly run: string; readonly env: Record<string, string> }];
  };
}
let action: Action;
beforeAll(async () => {
  action = load(await readFile(join(folder, "action.yml"), "utf8")) as Action;
});

/** A job with the files above, and docproc in place of what npx would fetch. */
async function makeJob(): Promise<Sandbox & { readonly env: Record<string, string> }> {
  const sandbox = await makeSandbox();
  await mkdir(join(sandbox.cwd, "dist/deep"), { recursive: true });
  for (const file of files) await writeFile(join(sandbox.cwd, file), file);
  const command = join(sandbox.root, "docproc");
  await writeFile(command, `#!/bin/sh\nexec "${process.execPath}" "${cli}" "$@"\n`, { mode: 0o755 });
  const env = {
    PATH: process.env["PATH"] ?? "",
    HOME: sandbox.home,
    XDG_STATE_HOME: join(sandbox.root, "state-home"),
    CI: "true",
    GITHUB_ACTIONS: "true",
    GITHUB_RUN_ID: "42",
    GITHUB_ACTION_PATH: folder,
    GITHUB_OUTPUT: join(sandbox.root, "output"),
    GITHUB_STEP_SUMMARY: join(sandbox.root, "summary"),
    DOCPROC_COMMAND: command,
    DOCPROC_DIRECTORY: join(sandbox.root, "library"),
  };
  return { ...sandbox, env };
}

interface Step {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the step with inputs, those that are not given being what action.yml says, and what it uploaded. */
async function runStep(job: Awaited<ReturnType<typeof makeJob>>, inputs: Record<string, string>): Promise<Step> {
  const [{ run, env: passed }] = action.runs.steps;
  const env: Record<string, string> = { ...job.env };
  for (const [variable, expression] of Object.entries(passed)) {
    const name = /^\$\{\{ inputs\.([\w-]+) \}\}$/.exec(expression)?.[1] ?? "";
    env[variable] = inputs[name] ?? action.inputs[name]?.default ?? "";
  }
  return await new Promise((done) => {
    const argv = ["--noprofile", "--norc", "-eo", "pipefail", "-c", run];
    execFile("bash", argv, { cwd: job.cwd, env }, (error, stdout, stderr) => {
      done({ status: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

async function uploaded(job: Awaited<ReturnType<typeof makeJob>>): Promise<{ name: string; tags: object }[]> {
  return await new Promise((done, fail) => {
    const argv = [cli, "list", "--all", "--asc", "--json"];
    execFile(process.execPath, argv, { cwd: job.cwd, env: job.env }, (error, stdout) => {
      if (error) fail(error);
      else done(JSON.parse(stdout).documents);
    });
  });
}

describe("the action", () => {
  test("hands inputs to its script as variables, and outputs of its step on", () => {
    const [{ id, run, env }] = action.runs.steps;
    expect(run).not.toContain("${{");
    const handed = Object.values(env).map((value) => /^\$\{\{ inputs\.([\w-]+) \}\}$/.exec(value)?.[1]);
    expect([...handed, "working-directory"].sort()).toEqual(Object.keys(action.inputs).sort());
    for (const [name, { value }] of Object.entries(action.outputs)) {
      expect(value).toBe(`\${{ steps.${id}.outputs.${name} }}`);
    }
    for (const { required, default: fallback } of Object.values(action.inputs)) {
      expect(required === true).toBe(fallback === undefined);
    }
  });

  test("uploads what patterns match, with tags, and tells the job", async () => {
    const job = await makeJob();
    const step = await runStep(job, { files: "  dist/*.tgz\r\n\ndist/c d.map\n", tags: "build=42\nteam=a b\n" });
    expect(step).toMatchObject({ status: 0 });
    const documents = await uploaded(job);
    expect(documents.map(({ name }) => name).sort()).toEqual(["a.tgz", "b.tgz", "c d.map"]);
    expect(documents.map(({ tags }) => tags)).toEqual(Array(3).fill({ build: "42", team: "a b" }));
    expect(await readFile(job.env["GITHUB_OUTPUT"] ?? "", "utf8")).toMatch(/^id<<.*\nuri<</s);
    expect(await readFile(job.env["GITHUB_STEP_SUMMARY"] ?? "", "utf8")).toContain("| a.tgz | 10 B | uploaded |");
    // The next attempt of the job.
    await runStep(job, { files: "dist/*.tgz\ndist/c d.map", tags: "build=42\nteam=a b" });
    expect(await uploaded(job)).toHaveLength(3);
  });

  test("uploads directories, or one file by another name", async () => {
    const job = await makeJob();
    expect(await runStep(job, { files: "dist", recursive: "true" })).toMatchObject({ status: 0 });
    expect(await uploaded(job)).toHaveLength(4);
    expect(await runStep(job, { files: "dist/a.tgz", name: "release.tgz" })).toMatchObject({ status: 0 });
    expect((await uploaded(job)).at(-1)).toMatchObject({ name: "release.tgz" });
  });

  test.each([
    ["a pattern that matches nothing", { files: "dist/*.zip" }, 3, "NOT_FOUND"],
    ["no files", { files: "\n" }, 2, "USAGE"],
    ["a tag that is none", { files: "dist/a.tgz", tags: "build" }, 2, "USAGE"],
  ])("fails for %s, and says so beside the step", async (_what, inputs, status, code) => {
    const step = await runStep(await makeJob(), inputs);
    expect(step.status).toBe(status);
    expect(step.stderr).toContain(`::error title=docproc ${code}::`);
  });

  test("runs nothing that an input holds", async () => {
    const job = await makeJob();
    const hostile = ["$(touch ran)", "`touch ran`", "a;touch ran", "--config=x", "~/x", "$HOME", "{a,b}", "x\u0007'\""];
    for (const files of hostile) expect((await runStep(job, { files })).status).toBe(3);
    for (const value of hostile) {
      const inputs = { files: "dist/a.tgz", tags: `t=${value}`, name: `n ${value.replaceAll("/", "")}`, prefix: "" };
      expect(await runStep(job, inputs)).toMatchObject({ status: 0 });
    }
    expect(await readdir(job.cwd)).toEqual(["dist"]);
    const found = new Set((await uploaded(job)).map(({ tags }) => (tags as Record<string, string>)["t"]));
    expect(found).toEqual(new Set(hostile));
  });

  test("takes a file named - for one", async () => {
    const job = await makeJob();
    await writeFile(join(job.cwd, "dist/-"), "x");
    const inputs = { files: "-\n?", "working-directory": "dist" };
    expect(await runStep({ ...job, cwd: join(job.cwd, "dist") }, inputs)).toMatchObject({ status: 0 });
    expect((await uploaded(job)).map(({ name }) => name)).toEqual(["-"]);
  });

  test("fetches what it runs, and takes neither a package nor a registry out of what was checked out", async () => {
    const job = await makeJob();
    const asked: string[] = [];
    const registry = createServer(({ url = "" }, response) => {
      asked.push(url);
      response.writeHead(404).end("{}");
    });
    await new Promise<void>((done) => registry.listen(0, "127.0.0.1", done));
    onTestFinished(() => void registry.close());
    const { port } = registry.address() as AddressInfo;

    const planted = join(job.cwd, "node_modules/docproc-cli");
    await mkdir(join(job.cwd, "node_modules/.bin"), { recursive: true });
    await mkdir(planted);
    const { version, name } = JSON.parse(await readFile("package.json", "utf8"));
    await writeFile(join(planted, "package.json"), JSON.stringify({ name, version, bin: { docproc: "run.sh" } }));
    await writeFile(join(planted, "run.sh"), `#!/bin/sh\ntouch "${job.root}/ran"\n`, { mode: 0o755 });
    await symlink("../docproc-cli/run.sh", join(job.cwd, "node_modules/.bin/docproc"));
    await writeFile(join(job.cwd, ".npmrc"), "registry=http://127.0.0.1:1/\n");
    await writeFile(join(job.cwd, "package.json"), JSON.stringify({ dependencies: { [name]: version } }));

    const { DOCPROC_COMMAND: _, ...env } = job.env;
    const variables = { npm_config_userconfig: join(job.home, ".npmrc"), npm_config_fetch_retries: "0" };
    await writeFile(variables.npm_config_userconfig, `registry=http://127.0.0.1:${port}/\n`);
    const step = await runStep({ ...job, env: { ...env, ...variables } as never }, { files: "dist/a.tgz" });
    expect(step.status).not.toBe(0);
    expect(new Set(asked)).toEqual(new Set(["/docproc-cli"]));
    expect(await readdir(job.root)).not.toContain("ran");

    const refused = await runStep({ ...job, env: env as never }, { files: "dist/a.tgz", version: "file:../evil" });
    expect(refused).toMatchObject({ status: 2, stdout: expect.stringContaining("::error") });
  });

  test("lets the job's own variables stand where an input was not given", async () => {
    const job = await makeJob();
    const variables = { DOCPROC_PREFIX: "mine", DOCPROC_REGION: "eu-west-1" };
    Object.assign(job.env, variables);
    await runStep(job, { files: "dist/a.tgz" });
    await runStep(job, { files: "dist/b.tgz", prefix: "given" });
    const uris = (await uploaded(job)).map((document) => (document as unknown as { uri: string }).uri);
    expect(uris).toEqual([expect.stringContaining("/mine/"), expect.stringContaining("/given/")]);
  });
});

describe("docs/ci.md", () => {
  test("shows files that are YAML, and commands that work", async () => {
    const page = await readFile("docs/ci.md", "utf8");
    const blocks = [...page.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, text = ""]) => load(text));
    const groovy = /^```groovy\n(.*?)^```$/ms.exec(page)?.[1] ?? "";
    const texts = [...blocks.flatMap(textsIn), ...[...groovy.matchAll(/sh '(.*)'/g)].map(([, text = ""]) => text)];
    const commands = texts.filter((text) => text.startsWith("npx --yes docproc-cli@"));
    expect(commands).toHaveLength(4);
    const { version } = JSON.parse(await readFile("package.json", "utf8"));
    expect(action.inputs["version"]?.default).toBe(version);
    for (const command of commands) {
      const job = await makeJob();
      const script = command.replace(`npx --yes docproc-cli@${version}`, '"$DOCPROC_COMMAND"').replaceAll("$$", "$");
      const env = { ...job.env, ...Object.fromEntries(numbers.map((name) => [name, "42"])) };
      const status = await new Promise((done) => {
        execFile("bash", ["-euc", script], { cwd: job.cwd, env }, (error) => done(error?.code ?? 0));
      });
      expect({ command, status }).toEqual({ command, status: 0 });
      const documents = await uploaded(job);
      expect(documents).toHaveLength(2);
      expect(Object.values(documents[0]?.tags ?? {})).toEqual(["42"]);
    }
  });

  test("gives the action inputs that it has", async () => {
    const page = await readFile("docs/ci.md", "utf8");
    const [workflow] = [...page.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, text = ""]) => load(text));
    const { steps } = (workflow as { jobs: { build: { steps: { uses?: string; with?: object }[] } } }).jobs.build;
    const step = steps.find(({ uses }) => uses?.includes(".github/actions/upload"));
    expect(Object.keys(action.inputs)).toEqual(expect.arrayContaining(Object.keys(step?.with ?? { none: 1 })));
  });
});

/** Variables that the page's commands tag with. */
const numbers = ["GITHUB_RUN_NUMBER", "CI_PIPELINE_IID", "BUILDKITE_BUILD_NUMBER", "BUILD_NUMBER"];

/** Every text in a document, wherever it stands. */
function textsIn(value: unknown): string[] {
  if (typeof value === "string") return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(textsIn) : [];
}

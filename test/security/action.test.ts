/**
 * The GitHub Action on a checkout that a stranger made: it gives files, and no program, no setting and no PATH; and only
 * files that are in the workspace are uploaded.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { type Job, makeJob, plant, recordCalls, runStep, uploaded, uploadedContents } from "../support/action.ts";
import { startRegistry } from "../support/registry.ts";

/** Beside the workspace a key; in it what leads there. */
async function makeHostileJob(): Promise<Job> {
  const job = await makeJob(["dist/a.tgz", `dist/x\n/file`]);
  await plant(join(job.root, "secret/key"), "secret");
  // Split at its line end, the path of the file in it is the absolute path of the key.
  await plant(join(job.cwd, `x\n${job.root}/secret/key`), "harmless");
  await symlink("../../secret/key", join(job.cwd, "dist/out.tgz"));
  await symlink("../secret", join(job.cwd, "out"));
  await symlink("dist", join(job.cwd, "in"));
  return job;
}

describe("what is uploaded", () => {
  test.each([
    ["a link to a file", { files: "dist/out.tgz" }],
    ["a pattern that matches one", { files: "dist/out*" }],
    ["a link to a directory", { files: "out", recursive: "true" }],
    ["a pattern through one", { files: "out/*" }],
    ["a pattern that goes through any", { files: "*/key" }],
    ["the path of the key", { files: "JOB/secret/key" }],
    ["a pattern for it", { files: "JOB/*/key" }],
    ["a way up", { files: "../secret/key" }],
    ["a pattern with a way up", { files: "dist/../../*/key" }],
    ["a way up behind the workspace", { files: "JOB/cwd/../secret/key" }],
    ["a working directory above", { files: "secret/key", "working-directory": ".." }],
    ["a working directory elsewhere", { files: "key", "working-directory": "JOB/secret" }],
    ["a working directory behind a link", { files: "key", "working-directory": "out" }],
  ])("is not outside of the workspace: %s", async (_what, inputs) => {
    const job = await makeHostileJob();
    const given = Object.entries(inputs).map(([name, value]) => [name, value.replace("JOB", job.root)]);
    const step = await runStep(job, Object.fromEntries(given));
    expect(step).toMatchObject({ status: 2, stderr: expect.stringMatching(/^::error title=docproc( USAGE)?::./m) });
    expect(await uploadedContents(job)).toEqual([]);
  });

  test("is what patterns match, beside what they must not", async () => {
    const job = await makeHostileJob();
    // The link fails, and so do names with a line end; the others are uploaded.
    expect((await runStep(job, { files: "**" })).status).toBe(7);
    expect(await uploadedContents(job)).toEqual(["dist/a.tgz"]);
  });

  test("is not looked for outside of the workspace, and no name from there is told", async () => {
    const job = await makeHostileJob();
    const handed = await recordCalls(job);
    for (const files of [
      `${job.root}/s*/*`,
      "../s*/*",
      "dist/../../s*/*",
      "out/*",
      "*/*",
      "o*/[k]ey",
      `${job.root}/no*`,
    ]) {
      expect(await runStep(job, { files })).toMatchObject({ status: 2, stderr: expect.not.stringContaining("key") });
    }
    await expect(handed()).rejects.toThrow("ENOENT");
  });

  test.each([
    ["an absolute path in the workspace", { files: "JOB/cwd/dist/a.t*" }],
    ["the workspace", { files: "JOB/cwd", recursive: "true" }, ["dist/a.tgz"]],
    ["a link that stays in it", { files: "in/a.tgz" }],
    ["a working directory in it", { files: "a.tgz", "working-directory": "dist" }],
    ["a working directory behind a link that stays in it", { files: "a.tgz", "working-directory": "in" }],
    ["an absolute working directory", { files: "a.t*", "working-directory": "JOB/cwd/dist" }],
  ])("may be %s", async (_what, inputs, contents = ["dist/a.tgz"]) => {
    const job = await makeHostileJob();
    const given = Object.entries(inputs).map(([name, value]) => [name, value.replace("JOB", job.root)]);
    await runStep(job, Object.fromEntries(given));
    expect(await uploadedContents(job)).toEqual(contents);
  });

  test("is in the working directory where there is no workspace", async () => {
    const job = await makeHostileJob();
    const { GITHUB_WORKSPACE: _, ...env } = job.env;
    expect((await runStep({ ...job, env }, { files: "a.tgz\nout.tgz", "working-directory": "dist" })).status).toBe(7);
    expect(await uploadedContents(job)).toEqual(["dist/a.tgz"]);
  });
});

/** Programs of the checkout, for each name that anything here is started by; each tells that it ran. */
async function plantPrograms(job: Job, folder: string): Promise<string> {
  const names = [
    "bash",
    "sh",
    "env",
    "node",
    "npm",
    "npx",
    "git",
    "mktemp",
    "sed",
    "cat",
    "docproc",
    "readlink",
    "xdg-open",
  ];
  for (const name of names) {
    await plant(join(folder, name), `#!/bin/sh\necho "${name} $*" >> "${job.root}/ran"\nexit 1\n`);
  }
  return folder;
}

/** A job whose PATH leads into the checkout before it leads anywhere else. */
async function makeTrappedJob(): Promise<Job> {
  const job = await makeJob(["dist/a.tgz"]);
  const bin = await plantPrograms(job, join(job.cwd, "node_modules/.bin"));
  const beside = await plantPrograms(job, join(job.root, "other/node_modules/.bin"));
  await plantPrograms(job, job.cwd);
  await symlink(bin, join(job.root, "by-link"));
  await mkdir(join(job.root, "link"));
  await symlink("../cwd/node_modules/.bin/docproc", join(job.root, "link/docproc"));
  const trapped = [bin, "node_modules/.bin", ".", "", "./node_modules/.bin", `${job.cwd}/dist/..`, beside];
  Object.assign(job.env, { PATH: [...trapped, join(job.root, "by-link"), `${bin}/`, job.env["PATH"], ""].join(":") });
  execFileSync("git", ["init", "-q"], { cwd: job.cwd });
  const identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
  execFileSync("git", [...identity, "commit", "-q", "--allow-empty", "-m", "x"], { cwd: job.cwd });
  await writeFile(join(job.cwd, ".docprocrc.json"), JSON.stringify({ prefix: "planted", tags: { planted: "yes" } }));
  return job;
}

/** The step by a bash that the runner would find before it looks into PATH. */
const bash = execFileSync("bash", ["-c", "printf %s $BASH"], { encoding: "utf8" });

describe("what runs", () => {
  test("is no program of the checkout, and no setting of it counts", async () => {
    const job = await makeTrappedJob();
    expect(await runStep(job, { files: "dist/*" }, "", bash)).toMatchObject({ status: 0 });
    expect(await readdir(job.root)).not.toContain("ran");
    expect(await uploaded(job)).toMatchObject([{ tags: {}, uri: expect.not.stringContaining("planted") }]);
  });

  test("is the package, fetched and started outside of the checkout", async () => {
    const job = await makeTrappedJob();
    const registry = await startRegistry();
    const { version, name } = JSON.parse(await readFile("package.json", "utf8"));
    const planted = join(job.cwd, "node_modules/docproc-cli");
    await plant(join(planted, "package.json"), JSON.stringify({ name, version, bin: { docproc: "run.sh" } }));
    await plant(join(planted, "run.sh"), `#!/bin/sh\ntouch "${job.root}/ran"\n`);
    await plant(join(planted, "dist/docproc.js"), `require("fs").writeFileSync("${job.root}/ran", "")`);
    await writeFile(join(job.cwd, ".npmrc"), "registry=http://127.0.0.1:1/\nprefix=planted\nscript-shell=./sh\n");
    await writeFile(
      join(job.cwd, "package.json"),
      JSON.stringify({ name: "x", dependencies: { [name]: "file:planted" } }),
    );
    const { DOCPROC_COMMAND: _, ...env } = job.env;
    const npmrc = join(job.home, "user.npmrc");
    await writeFile(npmrc, `registry=${registry.url}\n`);
    const step = await runStep(
      { ...job, env: { ...env, npm_config_userconfig: npmrc } },
      { files: "dist/*" },
      "",
      bash,
    );
    expect(step).toMatchObject({ status: 0, stdout: expect.stringContaining("uploaded ") });
    expect(await uploadedContents(job)).toEqual(["dist/a.tgz"]);
    expect(registry.asked).toContain("/docproc-cli");
    expect(await readdir(job.root)).not.toContain("ran");
    expect((await readdir(job.cwd)).filter((one) => one.startsWith("package-lock"))).toEqual([]);
  }, 120_000);

  test("is not fetched for a version that is something else", async () => {
    const job = await makeJob();
    const { DOCPROC_COMMAND: _, ...env } = job.env;
    for (const version of ["", "file:../evil", "x y", "$(touch ran)", "npm:evil@1"]) {
      const step = await runStep({ ...job, env }, { files: "a", version });
      expect(step).toMatchObject({ status: 2, stderr: expect.stringMatching(/^::error .*version/) });
    }
  });

  test.each([
    ["a path in the workspace", "JOB/cwd/node_modules/.bin/docproc"],
    ["one through a link", "JOB/by-link/docproc"],
    ["a link to one", "JOB/link/docproc"],
    ["a relative path", "./docproc"],
    ["a relative path of two parts", "node_modules/.bin/docproc"],
    ["a name that only the checkout has", "docproc"],
  ])("is no docproc of the checkout: %s", async (_what, command) => {
    const job = await makeTrappedJob();
    Object.assign(job.env, { DOCPROC_COMMAND: command.replace("JOB", job.root) });
    const step = await runStep(job, { files: "dist/*" }, "", bash);
    expect(step).toMatchObject({ status: 2, stderr: expect.stringMatching(/^::error title=docproc::/) });
    expect(await readdir(job.root)).not.toContain("ran");
  });

  test("gets a PATH that leads nowhere into the checkout", async () => {
    const job = await makeTrappedJob();
    await plant(job.env["DOCPROC_COMMAND"] ?? "", `#!/bin/sh\nprintf %s "$PATH" > "${job.root}/path"\n`);
    const usual = process.env["PATH"]?.split(":").filter((one) => one.startsWith("/") && existsSync(one));
    expect(await runStep(job, { files: "dist/*" }, "", bash)).toMatchObject({ status: 0 });
    const path = (await readFile(join(job.root, "path"), "utf8")).split(":");
    expect(path).toEqual(usual?.filter((one) => !one.endsWith("node_modules/.bin")));
  });

  test("may be a docproc that the job has installed, by its name", async () => {
    const job = await makeTrappedJob();
    const own = join(job.root, "bin");
    await plant(join(own, "docproc"), await readFile(job.env["DOCPROC_COMMAND"] ?? "", "utf8"));
    Object.assign(job.env, { DOCPROC_COMMAND: "docproc", PATH: `${job.env["PATH"]}:${own}` });
    expect(await runStep(job, { files: "dist/*" }, "", bash)).toMatchObject({ status: 0 });
    expect(await readdir(job.root)).not.toContain("ran");
  });

  test("says what is missing where only the checkout has it", async () => {
    const job = await makeJob(["a"]);
    Object.assign(job.env, { PATH: await plantPrograms(job, join(job.cwd, "bin")) });
    const step = await runStep(job, { files: "a" }, "", bash);
    expect(step).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/^::error title=docproc::There is no mktemp /),
    });
    expect(await readdir(job.root)).not.toContain("ran");
  });
});

describe("what configures it", () => {
  test("a file of the checkout sends nothing to a server of its own", async () => {
    const job = await makeJob(["a"]);
    const asked: string[] = [];
    const server = createServer(({ url = "" }, response) => {
      asked.push(url);
      response.writeHead(403).end();
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    onTestFinished(() => void server.close());
    const endpointUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await writeFile(join(job.cwd, ".docprocrc.json"), JSON.stringify({ endpointUrl }));
    const { DOCPROC_DIRECTORY: _, ...env } = job.env;
    const credentials = { AWS_ACCESS_KEY_ID: "AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY: "s", AWS_SESSION_TOKEN: "t" };
    const own = { AWS_REGION: "eu-west-1", AWS_ENDPOINT_URL: "http://127.0.0.1:9", DOCPROC_RETRIES: "0" };
    const step = await runStep({ ...job, env: { ...env, ...credentials, ...own } }, { files: "a", bucket: "team" });
    expect(step).toMatchObject({ status: 8, stderr: expect.stringContaining("http://127.0.0.1:9") });
    expect(asked).toEqual([]);
    // That it would be asked, were the file read, is what makes this a test.
    await runStep(
      { ...job, env: { ...env, ...credentials, ...own, DOCPROC_CONFIG: ".docprocrc.json" } },
      { files: "a", bucket: "team" },
    );
    expect(asked).not.toEqual([]);
  });

  test("a file that the workflow names is read, from the working directory on", async () => {
    const job = await makeJob(["sub/a"]);
    await writeFile(join(job.cwd, "sub/ci.json"), JSON.stringify({ tags: { from: "file" } }));
    await writeFile(join(job.cwd, "sub/.docprocrc.json"), JSON.stringify({ tags: { from: "checkout" } }));
    const tags = async (inputs: Record<string, string>, env: Record<string, string> = {}) => {
      const step = await runStep(
        { ...job, env: { ...job.env, ...env } },
        { files: "a", "working-directory": "sub", ...inputs },
      );
      expect(step).toMatchObject({ status: 0 });
      return (await uploaded(job)).at(-1)?.tags;
    };
    expect(await tags({})).toEqual({});
    expect(await tags({ config: "ci.json" })).toEqual({ from: "file" });
    expect(await tags({ tags: "n=2" }, { DOCPROC_CONFIG: "ci.json" })).toEqual({ from: "file", n: "2" });
    expect(await tags({ tags: "n=3", config: ".docprocrc.json" }, { DOCPROC_CONFIG: "ci.json" })).toEqual({
      from: "checkout",
      n: "3",
    });
    expect(await tags({ tags: "n=4" }, { DOCPROC_CONFIG: "" })).toEqual({ n: "4" });
  });

  test("the runner's own file is read, and what is made for a step is not readable for others", async () => {
    const job = await makeJob(["a"]);
    await mkdir(join(job.home, ".config/docproc"), { recursive: true });
    await writeFile(join(job.home, ".config/docproc/config.json"), JSON.stringify({ tags: { from: "home" } }));
    expect(await runStep(job, { files: "a" })).toMatchObject({ status: 0 });
    expect((await uploaded(job)).at(-1)?.tags).toEqual({ from: "home" });
    const temp = job.env["RUNNER_TEMP"] ?? "";
    const [made = ""] = await readdir(temp);
    expect(await readdir(join(temp, made))).toEqual(["config.json"]);
    expect((await stat(join(temp, made))).mode & 0o077).toBe(0);
  });
});

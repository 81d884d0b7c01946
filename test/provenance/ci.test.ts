/** What a CI job is told, and what a configuration tags its uploads with. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are what is tested.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseOutputs } from "../support/github-outputs.ts";
import { makeSandbox, runDocproc, type Sandbox } from "../support/run.ts";

interface Job {
  readonly sandbox: Sandbox;
  readonly env: Record<string, string>;
  readonly run: (...argv: string[]) => ReturnType<typeof runDocproc>;
  /** What the next step would see. */
  readonly outputs: () => Promise<Record<string, string>>;
  readonly summary: () => Promise<string>;
}

async function makeJob(files: Record<string, string> = {}): Promise<Job> {
  const sandbox = await makeSandbox();
  for (const [name, text] of Object.entries(files)) await writeFile(join(sandbox.cwd, name), text);
  const [output, summary] = [join(sandbox.root, "output"), join(sandbox.root, "summary")];
  const env = { CI: "true", GITHUB_ACTIONS: "true", GITHUB_OUTPUT: output, GITHUB_STEP_SUMMARY: summary };
  return {
    sandbox,
    env,
    run: (...argv) => runDocproc(sandbox, argv, { env }),
    outputs: async () => parseOutputs(await readFile(output, "utf8")),
    summary: async () => await readFile(summary, "utf8"),
  };
}

describe("a step of GitHub Actions", () => {
  test.each([["for people"], ["--json"], ["--ndjson"], ["-q"]])(
    "gets ids and uris, in order, and a table: %s",
    async (how) => {
      const job = await makeJob({ "a.txt": "aaa", "b.txt": "bb" });
      const { status } = await job.run(
        "upload",
        "a.txt",
        "b.txt",
        "--concurrency",
        "1",
        ...(how.startsWith("-") ? [how] : []),
      );
      expect(status).toBe(0);
      const { documents } = (await job.run("list", "--asc", "--json")).json();
      const [ids, uris] = ["id", "uri"].map((field) => documents.map((one: Record<string, string>) => one[field]));
      expect(await job.outputs()).toEqual({ id: ids[0], uri: uris[0], ids: ids.join("\n"), uris: uris.join("\n") });
      const rows = (await job.summary()).split("\n").filter((line) => line.startsWith("| "));
      expect(rows).toEqual([
        "| document | size | | id |",
        `| a.txt | 3 B | uploaded | ${ids[0]} |`,
        `| b.txt | 2 B | uploaded | ${ids[1]} |`,
      ]);
    },
  );

  test("adds to what the step has written already, and nothing for commands that make no documents", async () => {
    const job = await makeJob({ "a.txt": "a" });
    await writeFile(job.env["GITHUB_OUTPUT"] ?? "", "mine=1\n");
    await job.run("upload", "a.txt");
    const written = await readFile(job.env["GITHUB_OUTPUT"] ?? "", "utf8");
    expect(written).toMatch(/^mine=1\nid<</);
    await job.run("list");
    await job.run("show", "a.txt");
    expect(await readFile(job.env["GITHUB_OUTPUT"] ?? "", "utf8")).toBe(written);
  });

  test("sees names as text, whatever is in them", async () => {
    const name = "a|b`<img src=x>*[l](http:e)\u2028::error::x\u202e.txt";
    const job = await makeJob({ [name]: "a" });
    expect((await job.run("upload", name)).status).toBe(0);
    const row = (await job.summary()).split("\n").filter((line) => line.includes("img"));
    expect(row).toHaveLength(1);
    expect(row[0]).toContain(
      "| a\\|b\\`&lt;img src=x>\\*\\[l\\]\\(http\\:e\\)\\\\u\\{2028\\}\\:\\:error\\:\\:x\\\\u\\{202e\\}.txt |",
    );
    expect(Object.keys(await job.outputs())).toEqual(["id", "uri", "ids", "uris"]);
  });

  test.each([[[]], [["--json"]]])("has an annotation for each file that failed %s", async (flags) => {
    const job = await makeJob({ "a.txt": "a" });
    await mkdir(join(job.sandbox.cwd, "50%\n::set-env name=x::y"));
    const outcome = await job.run("upload", "a.txt", "50%\n::set-env name=x::y", ...flags);
    expect(outcome.status).toBe(7);
    const lines = outcome.stderr.split("\n").filter((line) => line.startsWith("::"));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^::error title=docproc USAGE::50%25%0A::set-env name=x::y: .*directory/);
    // The error itself stays the last line.
    expect(outcome.stderr.trimEnd().split("\n").at(-1)).not.toMatch(/^::/);
    const summary = await job.summary();
    expect(summary).toMatch(/\| a\.txt \| 1 B \| uploaded \| \S+ \|\n\n\| failed \| \| why \|\n\|---\|---\|---\|\n/);
    expect(summary).toMatch(/\n\| 50%\S*set-env name=x\S+ \| USAGE \| .*directory.* \|\n\n\*\*PARTIAL\*\*/);
    expect((await job.outputs())["ids"]?.split("\n")).toHaveLength(1);
  });

  test.each([
    [["upload", "missing.txt"], "NOT_FOUND"],
    [["lits"], "USAGE"],
    [["show", "missing"], "NOT_FOUND"],
  ])("has an annotation for a command that failed as a whole: %s", async (argv, code) => {
    const { run } = await makeJob();
    const { stderr } = await run(...argv);
    expect(stderr).toMatch(new RegExp(`^::error title=docproc ${code}::`));
  });

  test("keeps its documents where it cannot be told of them", async () => {
    const job = await makeJob({ "a.txt": "a" });
    await mkdir(job.env["GITHUB_OUTPUT"] ?? "");
    const { status, stderr } = await job.run("upload", "a.txt", "--json");
    expect({ status, stderr }).toEqual({
      status: 0,
      stderr: expect.stringMatching(/^::warning title=docproc::.*output/),
    });
    expect(await job.summary()).toContain("a.txt");
  });

  test.each([[[]], [["--json"]], [["--ndjson"]]])("obeys no name that a command prints %s", async (flags) => {
    const name = "a ##[set-output name=id]x ##vso[task.complete]y";
    const job = await makeJob({ [name]: "a" });
    const outcomes = [await job.run("upload", name, ...flags), await job.run("list", ...flags)];
    outcomes.push(await job.run("show", `${name}!`, ...flags), await job.run("upload", `${name}!`, ...flags));
    for (const { stdout, stderr } of outcomes) expect(`${stdout}${stderr}`).not.toMatch(/##(vso)?\[/i);
    if (flags.length > 0)
      expect(JSON.parse(outcomes[1]?.stdout ?? "")).toMatchObject(
        flags[0] === "--json" ? { documents: [{ name }] } : { name },
      );
  });

  test("is told nothing elsewhere", async () => {
    const job = await makeJob({ "a.txt": "a" });
    const env = { ...job.env, GITHUB_ACTIONS: "false" };
    await runDocproc(job.sandbox, ["upload", "a.txt"], { env });
    await expect(job.outputs()).rejects.toThrow("ENOENT");
  });
});

describe("tags of the configuration", () => {
  async function upload(tags: unknown, argv: string[] = [], env: Record<string, string> = {}) {
    const sandbox = await makeSandbox();
    await writeFile(join(sandbox.cwd, "a.txt"), "a");
    if (tags !== undefined) await writeFile(join(sandbox.cwd, ".docprocrc.json"), JSON.stringify({ tags }));
    return await runDocproc(sandbox, ["upload", "a.txt", "--json", ...argv], { env });
  }

  test.each<[string, unknown, string[], Record<string, string>, object]>([
    ["as they stand", { team: "a", build: 7, ok: true }, [], {}, { team: "a", build: "7", ok: "true" }],
    ["with variables", { b: "x-${CI_N}-${GITHUB_M}" }, [], { CI_N: "1", GITHUB_M: "2" }, { b: "x-1-2" }],
    ["with what stands in", { b: "${CI_N:-none}", c: "${CI_N:-}" }, [], { CI_N: "" }, { b: "none", c: "" }],
    ["with a dollar", { b: "$$ $N ${} $${N}" }, [], { N: "1" }, { b: "$ $N ${} ${N}" }],
    ["but those of the command line", { a: "1", b: "${UNSET}" }, ["--tag", "b=2"], {}, { a: "1", b: "2" }],
    [
      "of a variable, as they stand",
      undefined,
      [],
      { DOCPROC_TAGS: "a=x${N},b=c=d$$", N: "1" },
      { a: "x${N}", b: "c=d$$" },
    ],
    ["of a variable, before those of a file", { a: "1", b: "2" }, [], { DOCPROC_TAGS: "c=3" }, { c: "3" }],
    ["with a value that is expanded once", { a: "${CI_N}" }, [], { CI_N: "${CI_M}$$", CI_M: "1" }, { a: "${CI_M}$$" }],
    ["with commas and equals signs", { a: "${CI_N}" }, [], { CI_N: "x,b=c,=" }, { a: "x,b=c,=" }],
    [
      "with a variable that the environment allows",
      { a: "${TEAM}" },
      [],
      { TEAM: "t", DOCPROC_TAG_VARIABLES: "X,TEAM" },
      { a: "t" },
    ],
  ])("are given to every upload, %s", async (_what, tags, argv, env, expected) => {
    const outcome = await upload(tags, argv, env);
    expect(outcome).toMatchObject({ status: 0 });
    expect(outcome.json().documents[0].tags).toEqual(expected);
  });

  test.each<[string, unknown, Record<string, string>, string, RegExp]>([
    [
      "of a variable that is not set",
      { a: "${CI_N}" },
      {},
      "INVALID_CONFIG",
      /^The tag "a" uses \$\{CI_N\}, which is not set/,
    ],
    ...[
      ...["AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "NPM_TOKEN", "CI_JOB_TOKEN", "CI_DEPLOY_PASSWORD", "GIT_SSH_KEY"],
      ...["GIT_CONFIG_VALUE_0", "GIT_CONFIG_PARAMETERS", "CI_JOB_JWT_V2", "GITHUB_PAT", "CI_DB_PWD", "ci_token"],
    ].map((name): [string, unknown, Record<string, string>, string, RegExp] => [
      `of ${name}, whatever is allowed`,
      { a: `\${${name}:-none}` },
      { [name]: "x", DOCPROC_TAG_VARIABLES: name },
      "INVALID_CONFIG",
      /whose name looks like a secret/,
    ]),
    [
      "of a variable that is not about a job",
      { a: "${DATABASE_URL}" },
      { DATABASE_URL: "postgres://host/db" },
      "INVALID_CONFIG",
      /does not describe a CI job/,
    ],
    ...[
      "ghp_0123456789abcdef",
      "eyJhbGciOiJIUzI1NiJ9.e30.x",
      "AUTHORIZATION: basic eDp5",
      "deploy:hunter2@db.corp",
    ].map((value): [string, unknown, Record<string, string>, string, RegExp] => [
      `of what looks like a secret: ${value}`,
      { a: "${CI_X}" },
      { CI_X: value },
      "INVALID_CONFIG",
      /may contain a secret/,
    ]),
    [
      "of an address with a password",
      { a: "${CI_REPOSITORY_URL}" },
      { CI_REPOSITORY_URL: "https://user:word@host/a.git" },
      "INVALID_CONFIG",
      /may contain a secret/,
    ],
    ["of a map", { a: { b: 1 } }, {}, "INVALID_CONFIG", /"a" must be text/],
    ["that are a list", ["a=b"], {}, "INVALID_CONFIG", /must map keys to values/],
    ["with an equals sign in the key", { "a=b": "c" }, {}, "INVALID_CONFIG", /not a valid tag key/],
    ["without a value", undefined, { DOCPROC_TAGS: "a" }, "INVALID_CONFIG", /key=value,key=value/],
    ["that is too long", { a: "${CI_N}" }, { CI_N: "x".repeat(300) }, "USAGE", /too long/],
  ])("are refused, before anything is stored: %s", async (_what, tags, env, code, message) => {
    const outcome = await upload(tags, [], env);
    expect(outcome.json()).toMatchObject({ code, message: expect.stringMatching(message) });
    expect(outcome.status).toBe(2);
  });

  test("do not stand in the way of other commands", async () => {
    const sandbox = await makeSandbox();
    const env = { DOCPROC_TAGS: "a=${UNSET}" };
    expect(await runDocproc(sandbox, ["list"], { env })).toMatchObject({ status: 0 });
    const config = await runDocproc(sandbox, ["config", "--json"], { env });
    const setting = { name: "tags", value: '{"a":"${UNSET}"}', origin: "DOCPROC_TAGS" };
    expect(config.json().settings).toContainEqual(setting);
  });
});

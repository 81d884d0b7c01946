/**
 * Runners of CI jobs read what is printed for commands. No name, tag, path or answer of a server is one, in whatever
 * form a command prints it; in a job that holds for --format, too, which elsewhere prints data as it is.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { joinWithoutCommands, linesWithoutCommands, withoutCommands } from "../../src/cli/output/runner-commands.ts";
import { awsSettings, type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { cpuMs } from "../support/cpu-time.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import { randomNumbers } from "../support/random.ts";
import { makeSandbox, type Outcome, runDocproc, type Sandbox } from "../support/run.ts";

const runs = process.env["DOCPROC_SOAK"] === "1" ? 60 : 5;
const job = { GITHUB_ACTIONS: "true", CI: "true" };

/** What .NET takes for white space: https://learn.microsoft.com/en-us/dotnet/api/system.char.iswhitespace */
const space = "\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000";
/** Written after the runner's own code, of any command and not only of those that it knows. */
function commandIn(line: string): string | undefined {
  const start = line.replace(new RegExp(`^[${space}]+`), "");
  const end = start.indexOf("::", 2);
  if (start.startsWith("::") && end > 2) return start;
  return /##(vso|teamcity)?\[[^\]]*\]/i.test(line) ? line : undefined;
}

/** The lines that a runner obeys; the annotations of docproc are among them, and what it says of the output file. */
function obeyed(...texts: string[]): string[] {
  const lines = texts.flatMap((text) => text.split(/\r\n|\r|\n/));
  return lines.filter((line) => commandIn(line) && !/^::(error|warning) title=docproc[ A-Z_]*::/.test(line));
}

const pieces = [
  ...[":", "::", "::set-output name=id::x", "::add-mask::", "::error::x", "##[add-path]/tmp", "##[set-env name=a]b"],
  ...[
    "##vso[task.complete]x",
    "##TeamCity[x 'y']",
    "#",
    "##",
    "[",
    "]",
    "vso",
    "teamcity",
    "x",
    "%0A",
    "\\n",
    "{name}",
  ],
  ...["\n", "\r", "\r\n", "\t", "\v", "\f", " ", "\u0085", "\u00a0", "\u1680", "\u2028", "\u2029", "\u3000", "\ufeff"],
];
function hostileTexts(seed: number): () => string {
  const next = randomNumbers(seed);
  const pick = () => pieces[Math.floor(next() * pieces.length)] ?? "";
  return () => Array.from({ length: 1 + Math.floor(next() * 6) }, pick).join("");
}
const seeds = Array.from({ length: runs }, (_, n) => n + 1);

const templates = [
  ...[
    "{name}",
    "{tags.k}{name}",
    "{metadata.m}\\n{name}",
    ":{name}",
    " : {name}",
    "#{name}",
    "##{name}",
    "#{tags.k}[x]y",
  ],
  ...["::{name}", "::no{name}", "::x{tags.k}::y", "##[{name}", "##vso[{name}]", "{tags}", "x\\r{metadata}{name}"],
];

/** Runs a command line in a job, and complains of what a runner would obey. */
async function look(sandbox: Sandbox, argv: string[], env: Record<string, string> = job): Promise<Outcome> {
  const outcome = await runDocproc(sandbox, argv, { env });
  expect({ argv, obeyed: obeyed(outcome.stdout, outcome.stderr) }).toEqual({ argv, obeyed: [] });
  return outcome;
}

test.each(seeds)(
  "no text of a document is obeyed, whatever prints it (seed %i)",
  async (seed) => {
    const hostile = hostileTexts(seed);
    const sandbox = await makeSandbox();
    await writeFile(join(sandbox.cwd, "file"), "content");
    for (let n = 0; n < 4; n++) {
      const [name, tag, meta] = [hostile(), hostile(), hostile()];
      const described = [`--name=x${n}${name}`, "--tag", `k=${tag}`, "--meta", `m=${meta}`, "--tag", `${tag}a=${name}`];
      const { status } = await look(sandbox, ["upload", "file", ...described]);
      if (status !== 0) continue;
      const reference = (await runDocproc(sandbox, ["list", "-q", "--limit", "1"])).stdout.trim();
      for (const form of [[], ["-v"], ["--json"], ["--ndjson"], ["-q"], ...templates.map((one) => ["--format", one])]) {
        for (const command of ["list", "show", "verify"]) {
          await look(sandbox, [command, ...form, ...(command === "list" ? [] : [reference])]);
        }
      }
      await look(sandbox, ["list", "--null", "--format", "{name}"]);
      await look(sandbox, ["export"]);
      await look(sandbox, ["stats"]);
      await look(sandbox, ["download", "-v", "--", `x${n}${name}`]);
      for (const command of ["show", "upload", "delete"]) await look(sandbox, [command, "-v", "--", hostile()]);
      await look(sandbox, ["delete", "--yes", "--format", "{name}", reference]);
      await look(sandbox, ["policy", "read", "--bucket", `b${name}`, "--prefix", tag]);
      for (const form of [[], ["--format", "{value}"]]) {
        await look(sandbox, ["config", `--profile=${hostile()}`, "--table", hostile(), ...form]);
      }
    }
  },
  60_000,
);

test("a document's own name begins no line", async () => {
  const sandbox = await makeSandbox();
  await writeFile(join(sandbox.cwd, "file"), "content");
  const names = [
    "::set-output name=id::x",
    "\u2029\u3000::add-mask::x",
    "a\u2029::error::b",
    "a\u2028\u2029\u3000::error::b",
    "##[x]y",
  ];
  for (const name of names) {
    const uploaded = await look(sandbox, ["upload", "file", `--name=${name}`, "--format", "{name}"]);
    // Nothing but the first character of a command is another.
    expect(uploaded.stdout.replace("\\u{3a}", ":").replace("\\u{23}", "#")).toBe(`${name}\n`);
    for (const env of [{ GITHUB_ACTIONS: "true" }, { TF_BUILD: "True" }, { TEAMCITY_VERSION: "2026.1" }]) {
      await look(sandbox, ["list", "--format", "{name}"], env);
    }
    // Elsewhere it is data.
    for (const env of [{}, { CI: "true" }, { GITHUB_ACTIONS: "false" }]) {
      const outcome = await runDocproc(sandbox, ["list", "--limit", "1", "--format", "{name}"], { env });
      expect(outcome.stdout).toBe(`${name}\n`);
    }
    const { documents } = (await look(sandbox, ["list", "--limit", "1", "--json"])).json();
    expect(documents[0].name).toBe(name);
  }
});

test("a command that the template itself holds is one", async () => {
  const sandbox = await makeSandbox();
  await writeFile(join(sandbox.cwd, "a"), "content");
  await runDocproc(sandbox, ["upload", "a", "--tag", "k=::error::b"]);
  const printed = async (template: string) =>
    (await runDocproc(sandbox, ["list", "--format", template], { env: job })).stdout;
  expect(await printed("::notice title=stored::{name}")).toBe("::notice title=stored::a\n");
  expect(await printed("##[group]{name}\\n{tags.k}\\n##[endgroup]")).toBe(
    "##[group]a\n\\u{3a}:error::b\n##[endgroup]\n",
  );
  expect(await printed("{tags}{tags.none}")).toBe('{"k":"::error::b"}\n');
  expect(await printed("C::{name}")).toBe("C::a\n");
});

test("a document does not complete the name of a command, also with a colon", async () => {
  const sandbox = await makeSandbox();
  await writeFile(join(sandbox.cwd, "a"), "content");
  await runDocproc(sandbox, ["upload", "a", "--tag", "k=:vso"]);
  const { stdout } = await runDocproc(sandbox, ["list", "--format", "::x{tags.k}::y"], { env: job });
  expect(stdout).toBe("\\u{3a}:x:vso::y\n");
});

test("JSON in a line stays JSON", async () => {
  const sandbox = await makeSandbox();
  await writeFile(join(sandbox.cwd, "a"), "content");
  await runDocproc(sandbox, ["upload", "a", "--tag", "k=##[x]##vso[y]"]);
  const { stdout } = await look(sandbox, ["list", "--format", "{tags}"]);
  expect(JSON.parse(stdout)).toEqual({ k: "##[x]##vso[y]" });
});

test.each([
  ["line ends", "\n"],
  ["spaces", " "],
  ["number signs", "#"],
  ["colons", ":"],
  ["beginnings", "##["],
  ["lines that begin a command", "::\n"],
])("a long run of %s takes no time", (_what, one) => {
  const text = `${one.repeat(300_000)}::x::`;
  const spent = cpuMs(() => {
    linesWithoutCommands(text);
    withoutCommands(text, "#");
    joinWithoutCommands([{ text, own: false }]);
  });
  expect(spent).toBeLessThan(5_000);
});

describe("what a server says", () => {
  let aws: InRepoAws;
  beforeAll(async () => {
    aws = await startInRepoAws();
  });
  afterAll(() => aws.close());

  test("is obeyed neither as the name of an error nor as its text", async () => {
    const sandbox = await makeSandbox();
    await writeFile(join(sandbox.cwd, "a"), "content");
    const flags = ["--bucket", awsSettings("").bucket ?? ""];
    const env = { ...job, AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test" };
    expect(await runDocproc(sandbox, ["init", ...flags, "--endpoint-url", aws.endpoint], { env })).toMatchObject({
      status: 0,
    });
    const proxy = await startFaultProxy(aws.endpoint);
    onTestFinished(() => proxy.close());
    for (const said of ["::set-output name=id::x", " ::error::y", "##[add-mask]z", "a\n::error::y"]) {
      const reply = `<Error><Code>${said}</Code><Message>${said}</Message></Error>`;
      proxy.clear();
      proxy.inject({
        operation: "PutObject",
        action: { kind: "answer", reply: (response) => void response.writeHead(418).end(reply) },
      });
      for (const form of [[], ["-v"], ["--json", "-v"], ["--ndjson"], ["--format", "{name}"]]) {
        const argv = ["upload", "a", ...flags, "--endpoint-url", proxy.endpoint, ...form];
        expect((await look(sandbox, argv, env)).status).toBe(1);
      }
    }
  });
});

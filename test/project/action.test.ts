/** The GitHub Action: its one script, run as a job would run it. What of a checkout it may use: security/action.test.ts. */
import { isUtf8 } from "node:buffer";
import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { load } from "js-yaml";
import { beforeAll, describe, expect, test } from "vitest";
import {
  type Action,
  type Job,
  makeJob,
  plant,
  readAction,
  recordCalls,
  runStep,
  uploaded,
  uploadedContents,
} from "../support/action.ts";
import { randomNumbers } from "../support/random.ts";

const runs = process.env["DOCPROC_SOAK"] === "1" ? 60 : 4;
const files = ["dist/a.tgz", "dist/b.tgz", "dist/c d.map", "dist/deep/e.tgz"];

let action: Action;
beforeAll(async () => {
  action = await readAction();
});

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
    const job = await makeJob(files);
    const step = await runStep(job, { files: "  dist/*.tgz\r\n\ndist/c d.map\n", tags: "build=42\nteam=a b\n" });
    expect(step).toMatchObject({ status: 0 });
    const documents = await uploaded(job);
    expect(documents.map(({ name }) => name).sort()).toEqual(["a.tgz", "b.tgz", "c d.map"]);
    expect(documents.map(({ tags }) => tags)).toEqual(Array(3).fill({ build: "42", team: "a b" }));
    expect(await readFile(job.env["GITHUB_OUTPUT"] ?? "", "utf8")).toMatch(/^id<<.*\nuri<</s);
    expect(await readFile(job.env["GITHUB_STEP_SUMMARY"] ?? "", "utf8")).toContain("| dist/a.tgz | 10 B | uploaded |");
    // The next attempt of the job.
    await runStep(job, { files: "dist/*.tgz\ndist/c d.map", tags: "build=42\nteam=a b" });
    expect(await uploaded(job)).toHaveLength(3);
  });

  test("uploads directories, or one file by another name", async () => {
    const job = await makeJob(files);
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
    const step = await runStep(await makeJob(files), inputs);
    expect(step.status).toBe(status);
    expect(step.stderr).toContain(`::error title=docproc ${code}::`);
  });

  test("runs nothing that an input holds", async () => {
    const job = await makeJob(files);
    const hostile = ["$(touch ran)", "`touch ran`", "a;touch ran", "--config=x", "~/x", "$HOME", "{a,b}", "x\u0007'\""];
    for (const files of hostile) expect((await runStep(job, { files })).status).toBe(3);
    for (const value of hostile) {
      const inputs = {
        files: "dist/a.tgz",
        tags: `t=${value}`,
        name: `n ${value.replaceAll("/", "").replaceAll("\u0007", "")}`,
        prefix: "",
      };
      expect(await runStep(job, inputs)).toMatchObject({ status: 0 });
    }
    expect(await readdir(job.cwd)).toEqual(["dist"]);
    const found = new Set((await uploaded(job)).map(({ tags }) => tags["t"]));
    expect(found).toEqual(new Set(hostile));
  });

  test("takes a file named - for one", async () => {
    const job = await makeJob(files);
    await writeFile(join(job.cwd, "dist/-"), "x");
    for (const inputs of [{ files: "-" }, { files: "?" }, { files: "-", name: "dash" }, { files: "?", name: "dash" }]) {
      expect(await runStep(job, { ...inputs, "working-directory": "dist" })).toMatchObject({ status: 0 });
    }
    expect((await uploaded(job)).map(({ name }) => name)).toEqual(["-", "dash"]);
  });

  test("lets the job's own variables stand where an input was not given", async () => {
    const job = await makeJob(files);
    const variables = { DOCPROC_PREFIX: "mine", DOCPROC_REGION: "eu-west-1" };
    Object.assign(job.env, variables);
    await runStep(job, { files: "dist/a.tgz" });
    await runStep(job, { files: "dist/b.tgz", prefix: "given" });
    const uris = (await uploaded(job)).map(({ uri }) => uri);
    expect(uris).toEqual([expect.stringContaining("/mine/"), expect.stringContaining("/given/")]);
  });
});

/** Bytes, each as the character of its number: not every name is text. */
const bytesOf = (path: string) => Buffer.from(path, "latin1");
const inBytes = (text: string) => Buffer.from(text).toString("latin1");

const namePieces = [
  ...["\n", "\r\n", "\t", " ", "  ", "-", "--", "--help", "=", ".", "..", "~", "!", "#", "##[add-path]", "::error::"],
  ...["*", "?", "[", "]", "[a-z]", "[!x]", "{a,b}", "@(a)", "'", '"', "`touch ran`", "$(touch ran)", "$HOME", "$IFS"],
  ...["\\", "\\n", ";", "&", "|", ">", "(", ")", "%", "%s", "\u007f", "\u001b[2J", "\xff", "\xc3", "\xed\xa0\x80"],
  ...["é", "e\u0301", "日本", "📦", "\u202e", "\u3000", "\ufeff"].map(inBytes),
  ...["a", "b", ".txt", "key", "x".repeat(60)],
];

/** Paths of files, of one to three names each. */
function hostilePaths(seed: number, count: number): string[] {
  const next = randomNumbers(seed);
  const pick = () => namePieces[Math.floor(next() * namePieces.length)] ?? "";
  const name = (): string => {
    const made = Array.from({ length: 1 + Math.floor(next() * 6) }, pick)
      .join("")
      .slice(0, 255);
    return made === "." || made === ".." ? name() : made;
  };
  const folders = ["dist", name(), `x\n`, name()];
  const folder = () => folders[Math.floor(next() * folders.length)] ?? "";
  return Array.from({ length: count }, () =>
    Array.from({ length: Math.floor(next() * 3) }, folder)
      .concat(name())
      .join("/"),
  );
}

/** Writes the files, each with its path as content, and returns the paths of those that could be made, and of their directories. */
async function makeTree(job: Job, paths: readonly string[]) {
  const at = (path: string) => Buffer.concat([Buffer.from(`${job.cwd}/`), bytesOf(path)]);
  const [made, directories] = [new Set<string>(), new Set<string>()];
  for (const path of paths) {
    const folders = path
      .split("/")
      .slice(0, -1)
      .map((_, index, all) => all.slice(0, index + 1).join("/"));
    try {
      await mkdir(at(folders.at(-1) ?? ""), { recursive: true });
      for (const folder of folders) directories.add(folder);
      await writeFile(at(path), bytesOf(path));
      made.add(path);
    } catch {
      // Not every file system has every name, and a file may have the name of a directory.
    }
  }
  return { made, directories };
}

/** What patterns stand for, by what is said of them and not by a matcher of globs: each name of a path has to do. */
const patterns: readonly (readonly [pattern: string, names: readonly ((name: string) => boolean)[]])[] = (() => {
  const visible = (name: string) => !name.startsWith(".");
  const holds = (text: string) => (name: string) => visible(name) && name.includes(text);
  const begins = (text: string) => (name: string) => name.startsWith(text);
  const is = (text: string) => (name: string) => name === text;
  return [
    ["*", [visible]],
    ["./dist/*", [is("dist"), visible]],
    ["*/*", [visible, visible]],
    ["*/*/*", [visible, visible, visible]],
    [".*", [begins(".")]],
    ["dist/.*", [is("dist"), begins(".")]],
    ["*/.*", [visible, begins(".")]],
    ["-*", [begins("-")]],
    ["*[*]*", [holds("*")]],
    ["*\\**", [holds("*")]],
    ["*$*", [holds("$")]],
    ["*'*", [holds("'")]],
    ["[[]*", [begins("[")]],
    ["*.txt", [(name) => visible(name) && name.endsWith(".txt")]],
    ["$(touch ran)*", [begins("$(touch ran)")]],
    ["--help", [is("--help")]],
  ];
})();

describe("names", () => {
  const seeds = Array.from({ length: runs }, (_, n) => n + 1);

  test.each(seeds)(
    "each file that a pattern matches is handed over, whatever it is called (seed %i)",
    async (seed) => {
      const job = await makeJob();
      const handed = await recordCalls(job);
      const { made, directories } = await makeTree(job, hostilePaths(seed, 120));
      expect(made.size).toBeGreaterThan(60);
      const there = [...made, ...directories];
      const bare = (path: string) => path.replace(/^\.\//, "");
      const found = (pattern: string, names: (typeof patterns)[number][1]) => {
        const paths = there.filter((path) => {
          const parts = path.split("/");
          return parts.length === names.length && parts.every((part, index) => names[index]?.(part));
        });
        return paths.length === 0 ? [bare(pattern)] : paths;
      };
      const expectHanded = async (files: string, paths: readonly string[]) => {
        const step = await runStep(job, { files });
        expect(step).toMatchObject({ status: 0, stderr: "" });
        const { list } = await handed();
        expect({ files, list: list.map((path) => bare(path.toString("latin1"))).sort() }).toEqual({
          files,
          list: [...paths].sort(),
        });
      };
      for (const LC_ALL of ["C", "C.UTF-8"]) {
        Object.assign(job.env, { LC_ALL });
        for (const [pattern, names] of patterns) await expectHanded(pattern, found(pattern, names));
        const deep = [...made].filter((path) => !path.split("/").some((name) => name.startsWith(".")));
        await expectHanded("**", deep);
        await expectHanded(
          "dist/**",
          deep.filter((path) => path.startsWith("dist/")),
        );
        const all = patterns.flatMap(([pattern, names]) => found(pattern, names));
        await expectHanded(patterns.map(([pattern]) => `\t${pattern} \r`).join("\n"), all);
      }
      expect(await readdir(job.root)).not.toContain("ran");
    },
    120_000,
  );

  test.each(seeds)(
    "each of them is uploaded, and one that is no path fails by its name (seed %i)",
    async (seed) => {
      const job = await makeJob();
      await plant(join(job.root, "key"), "secret");
      const { made } = await makeTree(job, [
        ...hostilePaths(seed + 1_000, 80),
        `x\n${job.root}/key`.replaceAll("//", "/"),
      ]);
      const wanted = [...made].filter((path) => !path.split("/").some((name) => name.startsWith(".")));
      const texts = wanted.filter((path) => isUtf8(bytesOf(path)) && !/\p{Cc}/u.test(bytesOf(path).toString()));
      expect(texts.length).toBeGreaterThan(20);
      const step = await runStep(job, { files: "**" });
      expect(step.status).toBe(texts.length < wanted.length ? 7 : 0);
      expect(await uploadedContents(job)).toEqual(texts.map((path) => bytesOf(path).toString()).sort());
      expect(step.stderr.match(/^failed /gm) ?? []).toHaveLength(wanted.length - texts.length);
    },
    60_000,
  );

  test("there may be more of them than a command line holds", async () => {
    const job = await makeJob();
    const handed = await recordCalls(job);
    const names = Array.from({ length: 14_000 }, (_, n) => `${n}${"x".repeat(240)}`);
    await mkdir(join(job.cwd, "dist"));
    for (const name of names) await writeFile(join(job.cwd, "dist", name), "");
    expect(await runStep(job, { files: "dist/**" })).toMatchObject({ status: 0 });
    expect((await handed()).list).toHaveLength(names.length);
  }, 120_000);

  test("** finds files, and goes through no link", async () => {
    const job = await makeJob(files);
    const handed = await recordCalls(job);
    await symlink("deep", join(job.cwd, "dist/link"));
    await symlink("../a.tgz", join(job.cwd, "dist/deep/file-link"));
    await runStep(job, { files: "dist/**\n**/*.map" });
    const list = (await handed()).list.map(String);
    expect(list.sort()).toEqual([
      "dist/a.tgz",
      "dist/b.tgz",
      "dist/c d.map",
      "dist/c d.map",
      "dist/deep/e.tgz",
      "dist/deep/file-link",
    ]);
  });

  test("where bash has no ** it is refused, as it would leave files out", async () => {
    const job = await makeJob(files);
    const old = 'shopt() { [ "$2" != globstar ] && builtin shopt "$@"; }';
    const step = await runStep(job, { files: "dist/**" }, old);
    expect(step).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/^::error title=docproc::\*\* needs bash 4\..*: dist\/\*\*$/m),
    });
    expect(await runStep(job, { files: "dist/*.tgz" }, old)).toMatchObject({ status: 0 });
  });

  test("a pattern for hidden names is for no directory above, whatever bash says", async () => {
    const job = await makeJob([".hidden/file", ".config", "a"]);
    const handed = await recordCalls(job);
    // Before 5.2 there is no such option, and it is off.
    const step = await runStep(job, { files: ".*\n.*/*\n./.*" }, "shopt -u globskipdots 2>/dev/null || true");
    expect(step).toMatchObject({ status: 0 });
    expect((await handed()).list.map(String)).toEqual([".config", ".hidden", ".hidden/file", "./.config", "./.hidden"]);
    expect(await runStep(job, { files: ".", recursive: "true" })).toMatchObject({ status: 0 });
    expect((await handed()).list.map(String)).toEqual(["."]);
  });

  test("one document can have another name, several cannot", async () => {
    const job = await makeJob(["-n.tgz", "b.tgz"]);
    expect(await runStep(job, { files: "-*", name: "--help" })).toMatchObject({ status: 0 });
    expect(await runStep(job, { files: "*.tgz", name: "x" })).toMatchObject({ status: 2 });
    expect((await uploaded(job)).map(({ name }) => name)).toEqual(["--help"]);
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
    for (const command of commands) {
      const job = await makeJob(files);
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

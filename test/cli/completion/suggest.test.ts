/** What is suggested for a command line that is being typed, and how long a shell waits for it. */
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { Command } from "commander";
import { describe, expect, onTestFinished, test } from "vitest";
import { commands } from "../../../src/cli/commands/registry.ts";
import { openDatabase } from "../../../src/files/sqlite.ts";
import { openEmptyLibrary, openLibrary, places, usePlace } from "../../support/library.ts";
import { docproc } from "../../support/process.ts";
import { makeSandbox, type RunOptions, runDocproc, type Sandbox } from "../../support/run.ts";

/** fish's form is the plainest: a suggestion a line, a tab, what it is. */
async function suggested(sandbox: Sandbox, words: readonly string[], options?: RunOptions): Promise<string[]> {
  const outcome = await runDocproc(sandbox, ["complete", "fish", "--", ...words], options);
  expect(outcome).toMatchObject({ status: 0, stderr: "" });
  return outcome.stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.split("\t")[0] ?? "");
}

const allNames = commands.flatMap(({ name, aliases = [] }) => [name, ...aliases]);

describe("a command line", () => {
  test("begins with any command, by any of its names", async () => {
    const sandbox = await makeSandbox();
    expect((await suggested(sandbox, [""])).sort()).toEqual([...allNames, "help"].sort());
    expect(await suggested(sandbox, ["--json", "sho"])).toEqual(["show"]);
    expect(await suggested(sandbox, ["--directory", "show", "do"])).toEqual(["download", "doctor"]);
    expect(await suggested(sandbox, ["help", "ver"])).toEqual(["verify"]);
    expect(await suggested(sandbox, ["nothing", ""])).toEqual([]);
  });

  test.each(commands.map(({ name, aliases = [], load }) => ({ names: [name, ...aliases], load })))(
    "of $names has every flag of the command, and the global ones",
    async ({ names, load }) => {
      const described = new Command();
      (await load()).configure(described);
      const own = described.options.map(({ long }) => long);
      for (const name of names) {
        const flags = await suggested(await makeSandbox(), [name, "--"]);
        expect(flags).toEqual(expect.arrayContaining([...own, "--help", "--json", "--bucket", "--no-color"]));
        expect(new Set(flags).size).toBe(flags.length);
      }
    },
  );

  test("has the flags that begin like this, short ones too, and none behind two dashes", async () => {
    const sandbox = await makeSandbox();
    expect(await suggested(sandbox, ["upload", "--dr"])).toEqual(["--dry-run"]);
    expect(await suggested(sandbox, ["upload", "-"])).toEqual(expect.arrayContaining(["-r", "--recursive", "-v"]));
    expect(await suggested(sandbox, ["list", "--cursor"])).toEqual(["--cursor"]);
    expect(await suggested(sandbox, ["show", "--cursor"])).toEqual([]);
    expect(await suggested(sandbox, ["show", "--", "-"])).toEqual([]);
  });

  test.each([
    [
      ["list", "--storage", ""],
      ["local", "s3"],
    ],
    [["list", "--storage", "l"], ["local"]],
    [
      ["--metadata", ""],
      ["local", "dynamodb"],
    ],
    [["list", "--metadata=d"], ["--metadata=dynamodb"]],
    [
      ["upload", "--on-duplicate", ""],
      ["reuse", "store"],
    ],
    [
      ["completion", ""],
      ["bash", "zsh", "fish", "powershell"],
    ],
    [["completion", "bash", ""], []],
    [["list", "--region", ""], []],
    [["upload", "a", "--meta", ""], []],
    [["list", "--json=", ""], []],
    [["list", "--limit="], []],
  ])("%j goes on with %j", async (words, expected) => {
    expect(await suggested(await makeSandbox(), words)).toEqual(expected);
  });

  test.each([
    [["upload", ""], "any"],
    [["put", "a.pdf", "b"], "any"],
    [["upload", "--files-from", ""], "any"],
    [["download", "a", "-o", ""], "any"],
    [["list", "--config", "x"], "any"],
    [["list", "--directory", "x"], "directory"],
    [["list", "--state-directory", "x"], "directory"],
  ])("%j goes on with the paths that the shell finds", async (words, type) => {
    expect(await suggested(await makeSandbox(), words)).toEqual([`__FILE__:${type}:::0`]);
  });

  test("with a flag and a path in one word leaves the path to the shell", async () => {
    expect(await suggested(await makeSandbox(), ["list", "--config=x"])).toEqual([
      "__FILE__:any::--config=x:0:--config=",
    ]);
  });
});

describe.each(Object.entries(places))("a reference to a document of %s", (_place, start) => {
  const endpoint = usePlace(start);

  test("is its path, and its id where that is what was begun", async () => {
    const { sandbox, upload, settings } = await openLibrary(endpoint());
    const first = await upload("my file.pdf", "1", "--tag", "build=41");
    const path = "dist/js/été.txt";
    const second = await upload(path, "2", "--tag", "build=42", "--tag", "job=a b");
    const place =
      endpoint() === undefined ? [] : ["--endpoint-url", endpoint() ?? "", "--bucket", settings.bucket ?? ""];
    const words = (...more: string[]) => suggested(sandbox, [...place, ...more]);
    // On a busy machine a catalog may not answer within the time that a suggestion has.
    for (const command of ["show", "cat", "download", "get", "verify", "delete", "rm"]) {
      await expect.poll(() => words(command, "")).toEqual(["dist/", "my file.pdf"]);
    }
    await expect.poll(() => words("show", "my")).toEqual(["my file.pdf"]);
    await expect.poll(() => words("show", first.id.slice(0, -1))).toEqual([first.id]);
    expect(await words("show", "my file.pdf", "")).toEqual([]);
    await expect.poll(() => words("download", "my file.pdf", "d")).toEqual([path]);
    await expect.poll(() => words("show", "--", "d")).toEqual([path]);
    await expect.poll(() => words("download", "--under", "")).toEqual(["dist/js/"]);
    await expect.poll(() => words("list", "--tag", "")).toEqual(["build=42", "job=a b", "build=41"]);
    await expect.poll(() => words("list", "--not-tag", "job")).toEqual(["job=a b"]);
    await expect.poll(() => words("list", "dist/js/é")).toEqual([path]);
    await expect.poll(() => words("upload", "x", "--tag=build=")).toEqual(["--tag=build=42", "--tag=build=41"]);
    await expect.poll(() => words("download", "--not-tag", "job")).toEqual(["job=a b"]);
    expect(second.path).toBe(path);
  });
});

test("paths are completed folder by folder", async () => {
  const { sandbox, upload } = await openLibrary();
  for (const path of ["a.txt", "dist/js/app.js", "dist/js/lib/x.js", "dist/js/lib/y.js", "dist.zip"])
    await upload(path, path);
  const words = async (...line: string[]) => (await suggested(sandbox, line)).sort();
  expect(await words("show", "")).toEqual(["a.txt", "dist.zip", "dist/"]);
  // Nothing else is below it.
  expect(await words("show", "dist/")).toEqual(["dist/js/app.js", "dist/js/lib/"]);
  expect(await words("list", "--path", "dist/js/lib/")).toEqual(["dist/js/lib/x.js", "dist/js/lib/y.js"]);
  expect(await words("show", "dist/js/a")).toEqual(["dist/js/app.js"]);
  expect(await words("list", "--under", "d")).toEqual(["dist/js/", "dist/js/lib/"]);
});

describe("names", () => {
  test("that a terminal would not show as they are, or that would be flags, are left out", async () => {
    const { sandbox, upload } = await openLibrary();
    const names = ["bidi\u202e", "line\u2028", "-rf", "--yes", "plain"];
    for (const name of names) await upload(name, name);
    expect(await suggested(sandbox, ["show", ""])).toEqual(["plain"]);
  });

  test("are the newest fifty, each once", async () => {
    const { sandbox, upload } = await openLibrary();
    for (let number = 10; number < 65; number++) await upload(`n${number}`, String(number));
    await upload("n64", "another");
    const names = await suggested(sandbox, ["show", ""]);
    expect(names).toHaveLength(50);
    expect([names[0], names.at(-1)]).toEqual(["n64", "n15"]);
  });

  test("come from the library that the line, the environment or a config file names", async () => {
    const { sandbox, upload } = await openLibrary();
    await upload("here", "1");
    const other = await makeSandbox();
    expect(await suggested(other, ["show", ""])).toEqual([]);
    expect(await suggested(other, ["show", "--directory", sandbox.data, ""])).toEqual(["here"]);
    expect(await suggested(other, [`--directory=${sandbox.data}`, "show", ""])).toEqual(["here"]);
    expect(await suggested(other, ["show", ""], { env: { DOCPROC_DIRECTORY: sandbox.data } })).toEqual(["here"]);
    await writeFile(join(other.home, "c.json"), JSON.stringify({ directory: sandbox.data }));
    expect(await suggested(other, ["show", "--config", "~/c.json", ""])).toEqual(["here"]);
  });
});

describe("nothing is suggested, and nothing said, where the catalog", () => {
  test("is damaged, or its settings are wrong", async () => {
    const { sandbox, upload } = await openLibrary();
    await upload("here", "1");
    expect(await suggested(sandbox, ["show", "--timeout", "never", ""])).toEqual([]);
    expect(await suggested(sandbox, ["show", "--config", "missing.json", ""])).toEqual([]);
    await writeFile(join(sandbox.data, "catalog.db"), "this is no database, and never was one".repeat(100));
    expect(await suggested(sandbox, ["show", ""])).toEqual([]);
  });

  test("does not answer, for longer than about a second", async () => {
    const silent = createServer(() => {}).listen(0, "127.0.0.1");
    onTestFinished(() => void silent.close());
    await new Promise((resolve) => silent.once("listening", resolve));
    const { port } = silent.address() as { port: number };
    const aws = ["--bucket", "docs", "--endpoint-url", `http://127.0.0.1:${port}`];
    const begun = Date.now();
    const outcome = await docproc(await makeSandbox(), ["complete", "bash", "--", ...aws, "show", ""]);
    expect(outcome).toEqual({ status: 0, stdout: "", stderr: "" });
    expect(Date.now() - begun).toBeLessThan(60_000);
  });

  test("is locked by another process for longer than that", async () => {
    const { sandbox, upload } = await openLibrary();
    await upload("here", "1");
    const database = await openDatabase(join(sandbox.data, "catalog.db"), 0, (opened) =>
      opened.exec("BEGIN EXCLUSIVE"),
    );
    onTestFinished(() => database.close());
    const begun = Date.now();
    const place = ["--directory", sandbox.data];
    expect(await docproc(sandbox, ["complete", "bash", "--", ...place, "show", ""])).toMatchObject({ stdout: "" });
    expect(Date.now() - begun).toBeLessThan(60_000);
  });
});

test("no catalog is made for the sake of a suggestion", async () => {
  const { sandbox, run } = await openEmptyLibrary();
  expect(await suggested(sandbox, ["show", ""])).toEqual([]);
  expect((await run(["doctor", "--json"])).json().checks).toContainEqual(
    expect.objectContaining({ check: "catalog", detail: expect.stringContaining("nothing stored yet") }),
  );
});

describe("docproc completion", () => {
  test.each(["bash", "zsh", "fish", "powershell"])(
    "prints a script for %s, and on a terminal how to use it",
    async (shell) => {
      const sandbox = await makeSandbox();
      const piped = await runDocproc(sandbox, ["completion", shell]);
      expect(piped).toMatchObject({ status: 0, stderr: "" });
      expect(piped.stdout).toMatch(/'complete',? '\w+',? '--'/);
      const shown = await runDocproc(sandbox, ["completion", shell], { terminal: 80 });
      expect(shown).toMatchObject({ status: 0, stdout: piped.stdout });
      const [, use = "nothing"] = /^(?:note: )?.*?: (.*)$/m.exec(shown.stderr.trim()) ?? [];
      expect(use).toContain(`docproc completion ${shell}`);
      expect(await readFile("docs/completion.md", "utf8")).toContain(`\n${use}\n`);
      expect((await runDocproc(sandbox, ["completion", "--help"])).stdout).toContain(`docproc completion ${shell}`);
    },
  );

  test.each([[[]], [["ksh"]], [["toString"]], [["bash", "zsh"]], [["bash", "--json"]], [["bash", "-q"]]])(
    "%j is a mistake of usage",
    async (args) => {
      const outcome = await runDocproc(await makeSandbox(), ["completion", ...args]);
      expect(outcome).toMatchObject({ status: 2, stderr: expect.stringMatching(/(^error: .+\nhint: |"USAGE")/) });
      expect(outcome.stdout).not.toContain("COMPREPLY");
    },
  );

  test("is not what its scripts call: that is no command", async () => {
    const sandbox = await makeSandbox();
    expect(await runDocproc(sandbox, ["complete", "bash"])).toMatchObject({ status: 2, stdout: "" });
    expect(await runDocproc(sandbox, ["complete", "toString", "--", ""])).toMatchObject({ status: 0, stdout: "" });
    expect((await runDocproc(sandbox, ["--help"])).stdout).not.toMatch(/^ +complete /m);
  });
});

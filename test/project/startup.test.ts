/** What a command loads before it can do anything: scripts wait for that, run after run. */
import { readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { awsSettings, startInRepoAws } from "../support/aws.ts";
import { cli, docproc } from "../support/process.ts";
import { makeSandbox, type Sandbox } from "../support/run.ts";

interface Loaded {
  /** Names of files in dist/, without their hashes. */
  readonly chunks: string[];
  /** Their code. */
  readonly code: string;
  /** Node's own modules, as far as they were not in its snapshot. */
  readonly builtIn: string[];
}

async function loadedBy(sandbox: Sandbox, argv: readonly string[]): Promise<Loaded> {
  const [hook, list] = [join(sandbox.root, "hook.cjs"), join(sandbox.root, "loaded.json")];
  // CommonJS: the loader of ES modules would itself load much of what is looked for.
  await writeFile(
    hook,
    `const before = new Set(process.moduleLoadList);
     process.on("exit", () => require("node:fs").writeFileSync(${JSON.stringify(list)}, JSON.stringify({
       files: Object.keys(require.cache),
       builtIn: process.moduleLoadList.filter((name) => !before.has(name)),
     })));`,
  );
  expect(await docproc(sandbox, argv, { node: ["--require", hook] })).toMatchObject({ status: 0 });
  const { files, builtIn } = JSON.parse(await readFile(list, "utf8")) as { files: string[]; builtIn: string[] };
  const ours = files.filter((file) => dirname(file) === dirname(cli));
  return {
    chunks: ours.map((file) => basename(file, ".js").replace(/-[\w-]{8}$/, "")).sort(),
    code: (await Promise.all(ours.map((file) => readFile(file, "utf8")))).join("\n"),
    builtIn: builtIn.map((name) => name.replace(/^NativeModule /, "")),
  };
}

/** Services whose part of the SDK, and what signs their requests, is in the code. */
function sdksIn({ code }: Loaded): string[] {
  return ["DynamoDB_20120810", "AmazonS3", "aws-chunked"].filter((marker) => code.includes(marker));
}

describe("start-up", () => {
  test("for the version loads next to nothing", async () => {
    const { chunks } = await loadedBy(await makeSandbox(), ["--version"]);
    expect(chunks).toEqual(["docproc", "errors", "rolldown-runtime"]);
  });

  test("of a listing loads no spinner, no globs, no config parsers, no hashes and no loader of ES modules", async () => {
    const sandbox = await makeSandbox();
    await writeFile(join(sandbox.cwd, "a.txt"), "a");
    expect(await docproc(sandbox, ["upload", "a.txt"])).toMatchObject({ status: 0 });
    const { chunks, builtIn } = await loadedBy(sandbox, ["list", "--json"]);
    expect(chunks).toEqual(["docproc", "documents-table", "errors", "list", "program", "rolldown-runtime"]);
    const unwanted = /^(crypto|child_process|readline|zlib|https?|internal\/modules\/esm\/translators)$/;
    expect(builtIn.filter((name) => unwanted.test(name))).toEqual([]);
  });

  test("of a completion loads what tells a shell, and the command that is on the line", async () => {
    const { chunks, builtIn } = await loadedBy(await makeSandbox(), ["complete", "bash", "--", "list", "--"]);
    const expected = [
      "display",
      "docproc",
      "documents-table",
      "errors",
      "list",
      "program",
      "rolldown-runtime",
      "shells",
      "suggest",
    ];
    expect(chunks).toEqual(expected);
    expect(builtIn.filter((name) => /^(child_process|https?|sqlite)$/.test(name))).toEqual([]);
  });

  test("loads globs, config parsers and colours for who asks for them", async () => {
    const sandbox = await makeSandbox();
    await writeFile(join(sandbox.cwd, ".docprocrc.json"), "{}");
    const { chunks } = await loadedBy(sandbox, ["list", "--name", "*.pdf"]);
    expect(chunks).toEqual(expect.arrayContaining(["loaders", "glob", "human", "painter"]));
  });

  test("loads the AWS SDK only for a library on AWS", async () => {
    const sandbox = await makeSandbox();
    await writeFile(join(sandbox.cwd, "a.txt"), "a");
    for (const argv of [["--version"], ["--help"], ["config"], ["upload", "a.txt"], ["list", "--json"]]) {
      expect({ argv, sdks: sdksIn(await loadedBy(sandbox, argv)) }).toEqual({ argv, sdks: [] });
    }
    const aws = await startInRepoAws();
    onTestFinished(() => aws.close());
    const bucket = awsSettings("").bucket ?? "";
    const made = await docproc(sandbox, ["init", "--endpoint-url", aws.endpoint, "--bucket", bucket]);
    expect(made.status).toBe(0);
    expect(sdksIn(await loadedBy(sandbox, ["list"]))).toEqual(["DynamoDB_20120810"]);
    expect(sdksIn(await loadedBy(sandbox, ["upload", "a.txt"]))).toContain("AmazonS3");
  });
});

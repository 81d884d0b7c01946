/** A Node that lacks what docproc is built from: it says so, and does nothing. */
import { randomBytes } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { startInRepoAws } from "../support/aws.ts";
import { cli, docproc, preload } from "../support/process.ts";
import { makeSandbox } from "../support/run.ts";

describe("Node", () => {
  const versionOf = (version: string) =>
    preload(`Object.defineProperty(process.versions, "node", { value: ${JSON.stringify(version)} });`);

  test.each(["18.20.8", "20.18.3", "20.9.0", "16.0.0"])("%s is refused before anything is loaded", async (version) => {
    const sandbox = await makeSandbox();
    await writeFile(join(sandbox.cwd, "a.txt"), "a");
    const outcome = await docproc(sandbox, ["upload", "a.txt"], { node: versionOf(version) });
    expect(outcome).toMatchObject({ status: 2, stdout: "" });
    expect(outcome.stderr).toMatch(/^error: docproc needs Node 20\.19 or later\.\nhint: {2}.+\n$/);
    expect(outcome.stderr).toContain(version);
    expect(await readdir(sandbox.root)).toEqual(["cwd", "home"]);
  });

  test.each(["20.19.0", "22.0.0", "100.0.0"])("%s is not", async (version) => {
    const outcome = await docproc(await makeSandbox(), ["list"], { node: versionOf(version) });
    expect(outcome).toMatchObject({ status: 0 });
  });

  test("of any version can load what refuses it", async () => {
    const seen = new Map<string, string>();
    const follow = async (file: string): Promise<void> => {
      if (seen.has(file)) return;
      const code = await readFile(join(dirname(cli), file), "utf8");
      seen.set(file, code);
      for (const [, next = ""] of code.matchAll(/(?<!=>[^;]*)\brequire\("\.\/([^"]+)"\)/g)) await follow(next);
    };
    await follow("docproc.js");
    // What the program is made of is loaded later, by a Node that was found to be good enough.
    expect([...seen.keys()].filter((file) => file.startsWith("program"))).toEqual([]);
    const code = [...seen.values()].join("\n");
    // Under these names since Node 16, which has what is taken from them.
    const builtIn = [...code.matchAll(/\brequire\("(node:[^"]+)"\)/g)].map(([, name]) => name);
    expect(builtIn.length).toBeGreaterThan(3);
    expect(builtIn.filter((name) => !/^node:(fs|module|os|path|process)$/.test(name ?? ""))).toEqual([]);
    const taken = [...code.matchAll(/\bnode_(?:fs|module|os|path)\$?\d*\.(\w+)/g)].map(([, name = ""]) => name);
    const names =
      /^(default|homedir|totalmem|tmpdir|join|basename|(fstat|lstat|mkdir|readdir)Sync|enableCompileCache)$/;
    expect(taken.filter((name) => !names.test(name))).toEqual([]);
  });
});

describe("a Node without SQLite, where the package that has it is missing too", () => {
  const node = preload(`import Module from "node:module";
    const load = Module._load;
    Module._load = (name, ...more) => {
      if (/^(node:sqlite|@photostructure\\/sqlite)$/.test(name)) throw new Error("no " + name);
      return load(name, ...more);
    };`);

  test.each([["upload", "a.txt"], ["init"], ["doctor"]])("is told what to install by %s", async (...argv) => {
    const sandbox = await makeSandbox();
    await writeFile(join(sandbox.cwd, "a.txt"), "a");
    const outcome = await docproc(sandbox, argv, { node });
    expect(outcome.stderr).toMatch(
      /error: .*needs SQLite.*\nhint: {2}Use Node 22\.13 or later, or install docproc again/,
    );
    expect(outcome.status).toBe(2);
    const library = await readdir(join(sandbox.root, "data"), { recursive: true }).catch(() => []);
    expect(library.filter((name) => name.includes("objects"))).toEqual([]);
    // What there is of a library by then is in nobody's way.
    expect(await docproc(sandbox, ["list", "-q"])).toEqual({ status: 0, stdout: "", stderr: "" });
    expect(await docproc(sandbox, ["upload", "a.txt"])).toMatchObject({ status: 0 });
  });

  test("keeps its documents on AWS all the same", async () => {
    const aws = await startInRepoAws();
    onTestFinished(() => aws.close());
    const sandbox = await makeSandbox();
    await writeFile(join(sandbox.cwd, "a.bin"), randomBytes(9 * 1024 * 1024));
    const flags = ["--endpoint-url", aws.endpoint, "--bucket", "documents"];
    for (const argv of [
      ["init", ...flags],
      ["upload", "a.bin"],
      ["download", "a.bin", "-o", "copy"],
    ]) {
      expect(await docproc(sandbox, argv, { node })).toMatchObject({ status: 0 });
    }
    expect((await readFile(join(sandbox.cwd, "copy"))).equals(await readFile(join(sandbox.cwd, "a.bin")))).toBe(true);
  });
});

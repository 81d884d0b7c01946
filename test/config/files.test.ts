import { spawnSync } from "node:child_process";
import { chmod, chown, mkdir, readdir, truncate } from "node:fs/promises";
import { userInfo } from "node:os";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import type { ConfigInput } from "../../src/config/config.ts";
import { trustedOwners } from "../../src/files/ownership.ts";
import { loadIn, writeConfig } from "../support/config.ts";
import { makeSandbox, runDocproc, type Sandbox } from "../support/run.ts";

const invalid = expect.objectContaining({ code: "INVALID_CONFIG" });

async function load(sandbox: Sandbox, input: Partial<ConfigInput> = {}) {
  const { settings, projectFile } = await loadIn(sandbox, input);
  return { settings, path: projectFile?.path };
}

describe("what a config file looks like", () => {
  test.each([
    [".docprocrc.json", '{"bucket": "b"}'],
    [".docprocrc.yaml", "# ours\nbucket: b\n"],
    [".docprocrc.yml", "bucket: b"],
    [".docprocrc", "bucket: b"],
    [".docprocrc", '{"bucket": "b"}'],
  ])("%s holding %j is read", async (name, content) => {
    const sandbox = await makeSandbox();
    const path = await writeConfig(join(sandbox.cwd, name), content);
    expect(await load(sandbox)).toMatchObject({ path, settings: { bucket: "b" } });
  });

  test.each(["config.json", "config.yaml", "config.yml"])("the user's own file can be %s", async (name) => {
    const sandbox = await makeSandbox();
    await writeConfig(join(sandbox.config, name), '{"bucket": "b"}');
    expect(await load(sandbox)).toMatchObject({ path: undefined, settings: { bucket: "b" } });
  });

  test.each([
    [".docprocrc.json", "{"],
    [".docprocrc.json", '{"bucket": "b",}'],
    [".docprocrc.json", "[]"],
    [".docprocrc.json", '"text"'],
    [".docprocrc.yaml", "a: b: c"],
    [".docprocrc.yaml", "- a"],
    [".docprocrc.yaml", "bucket: !!js/function 'function () {}'"],
  ])("%s holding %j is refused under its path", async (name, content) => {
    const sandbox = await makeSandbox();
    const path = await writeConfig(join(sandbox.cwd, name), content);
    const failure = await load(sandbox).catch((error: unknown) => error);
    expect(failure).toEqual(invalid);
    expect(failure).toMatchObject({ message: expect.stringContaining(path) });
  });

  test.each([
    [
      "a list",
      `unsupported: [&l0 [~,~,~,~,~,~,~,~,~,~]${Array.from({ length: 9 }, (_, n) => `, &l${n + 1} [${`*l${n},`.repeat(10)}]`).join("")}]`,
    ],
    [
      "profiles",
      `profiles: {a0: &a {tags: {${Array.from({ length: 3500 }, (_, n) => `k${n}: v`).join()}}}${Array.from({ length: 1500 }, (_, n) => `, p${n}: *a`).join("")}}`,
    ],
  ])("%s that hold themselves many times over are refused at once", async (_what, content) => {
    const sandbox = await makeSandbox();
    await writeConfig(join(sandbox.cwd, ".docprocrc.yaml"), content);
    await expect(load(sandbox)).rejects.toMatchObject({ message: expect.stringContaining("more than 20000 values") });
  });

  test("an empty file is no file", async () => {
    const sandbox = await makeSandbox();
    await writeConfig(join(sandbox.cwd, ".docprocrc.json"), "\n");
    const path = await writeConfig(join(sandbox.cwd, ".docprocrc.yaml"), "bucket: b");
    expect((await load(sandbox)).path).toBe(path);
  });

  test.each([".docprocrc.json", ".docprocrc.yaml", ".docprocrc"])("$import in %s is refused", async (name) => {
    const sandbox = await makeSandbox();
    await writeConfig(join(sandbox.cwd, "other.json"), { bucket: "b" });
    await writeConfig(join(sandbox.cwd, name), { $import: "./other.json" });
    await expect(load(sandbox)).rejects.toEqual(invalid);
  });
});

describe("a relative directory", () => {
  test("is below the file that names it, wherever one is", async () => {
    const sandbox = await makeSandbox();
    await mkdir(join(sandbox.cwd, ".git"));
    await writeConfig(join(sandbox.cwd, ".docprocrc.json"), { directory: "./library" });
    const below = join(sandbox.cwd, "a/b");
    await mkdir(below, { recursive: true });
    expect((await load(sandbox, { cwd: below })).settings.directory).toBe(join(sandbox.cwd, "library"));
  });

  test("is below the working directory as a flag or a variable, and below the user's file there", async () => {
    const sandbox = await makeSandbox();
    await writeConfig(join(sandbox.config, "config.json"), { directory: "mine" });
    expect((await load(sandbox)).settings.directory).toBe(join(sandbox.config, "mine"));
    const env = { DOCPROC_DIRECTORY: "variable" };
    expect((await load(sandbox, { env })).settings.directory).toBe(resolve(sandbox.cwd, "variable"));
    const flags = { directory: "../flag" };
    expect((await load(sandbox, { env, flags })).settings.directory).toBe(resolve(sandbox.cwd, "../flag"));
  });
});

describe("where a project file is looked for", () => {
  type Place = [title: string, cwd: string, files: string[], found: string | undefined];
  // All below the sandbox; `home` is the home directory, a `.git` makes a repository.
  test.each<Place>([
    ["in the working directory", "home/p", ["home/p/.docprocrc.json"], "home/p/.docprocrc.json"],
    ["above it, below home", "home/p/a/b", ["home/p/.docprocrc.json"], "home/p/.docprocrc.json"],
    ["the nearest one counts", "home/p/a", ["home/p/.docprocrc.json", "home/p/a/.docprocrc"], "home/p/a/.docprocrc"],
    ["in the home directory itself", "home/p", ["home/.docprocrc.json"], "home/.docprocrc.json"],
    ["not above home", "home/p", [".docprocrc.json"], undefined],
    [
      "at the root of a repository",
      "home/p/a",
      ["home/p/.git/HEAD", "home/p/.docprocrc.json"],
      "home/p/.docprocrc.json",
    ],
    ["at the root of a worktree", "home/p/a", ["home/p/.git", "home/p/.docprocrc.json"], "home/p/.docprocrc.json"],
    ["not above a repository", "home/p/a", ["home/p/a/.git/HEAD", "home/p/.docprocrc.json"], undefined],
    [
      "above, in a repository outside home",
      "work/p/a",
      ["work/p/.git/HEAD", "work/p/.docprocrc.json"],
      "work/p/.docprocrc.json",
    ],
    ["in the working directory outside home", "work/p", ["work/p/.docprocrc.json"], "work/p/.docprocrc.json"],
    ["not above it outside home and repositories", "work/p", ["work/.docprocrc.json"], undefined],
  ])("%s", async (_title, cwd, files, found) => {
    const sandbox = await makeSandbox();
    for (const file of files) await writeConfig(join(sandbox.root, file), file.includes("docprocrc") ? "{}\n" : "x");
    for (const file of files.filter((name) => name.includes("docprocrc"))) {
      await writeConfig(join(sandbox.root, file), '{"prefix": "x"}');
    }
    await mkdir(join(sandbox.root, cwd), { recursive: true });
    const { path } = await load(sandbox, { cwd: join(sandbox.root, cwd) });
    expect(path).toBe(found === undefined ? undefined : join(sandbox.root, found));
  });
});

describe("a directory where everybody may write", () => {
  // Root can make a stranger's file; anybody else plays the stranger's victim.
  const root = userInfo().uid === 0;
  const stranger = root ? 54_321 : userInfo().uid;
  const victim = stranger + 1;

  async function planted(mode: number) {
    const sandbox = await makeSandbox();
    await mkdir(join(sandbox.cwd, ".git"));
    const below = join(sandbox.cwd, "below");
    await mkdir(below);
    const file = await writeConfig(join(sandbox.cwd, ".docprocrc.json"), { bucket: "planted" });
    if (root) for (const path of [file, join(sandbox.cwd, ".git")]) await chown(path, stranger, stranger);
    await chmod(sandbox.cwd, mode);
    return { sandbox, below };
  }

  test("has no say through the files of a stranger", async () => {
    const { sandbox, below } = await planted(0o1777);
    expect((await load(sandbox, { cwd: below, uid: victim })).settings.bucket).toBeUndefined();
    expect((await load(sandbox, { uid: victim })).settings.bucket).toBeUndefined();
    expect((await load(sandbox, { uid: stranger })).settings.bucket).toBe("planted");
  });

  test("is not even read for the files of a stranger: what does not parse is no failure", async () => {
    const { sandbox, below } = await planted(0o1777);
    await truncate(join(sandbox.cwd, ".docprocrc.json"), 3);
    expect((await load(sandbox, { cwd: below, uid: victim })).settings.bucket).toBeUndefined();
    await expect(load(sandbox, { uid: stranger })).rejects.toEqual(invalid);
  });

  test("is told from the checkout of another user: its file is refused, until it is named", async () => {
    const { sandbox, below } = await planted(0o755);
    const file = join(sandbox.cwd, ".docprocrc.json");
    const uid = victim;
    for (const cwd of [sandbox.cwd, below]) {
      await expect(load(sandbox, { cwd, uid })).rejects.toMatchObject({
        code: "INVALID_CONFIG",
        message: `The config file ${file} belongs to another user.`,
        hint: expect.stringContaining(`--config ${file}`),
      });
    }
    expect((await load(sandbox, { file, uid })).settings.bucket).toBe("planted");
  });

  test("the user's own file has to be the user's as well", async () => {
    const sandbox = await makeSandbox();
    const file = await writeConfig(join(sandbox.config, "config.json"), { bucket: "planted" });
    if (root) await chown(file, stranger, stranger);
    await expect(load(sandbox, { uid: victim })).rejects.toEqual(invalid);
  });
});

test("root trusts files of the user who called sudo, and other users trust their own and root's", () => {
  expect(trustedOwners(0, { SUDO_UID: "1000" })).toEqual(new Set([0, 1000]));
  expect(trustedOwners(0, { SUDO_UID: "x" })).toEqual(new Set([0]));
  expect(trustedOwners(1000, { SUDO_UID: "1001" })).toEqual(new Set([1000, 0]));
  expect(trustedOwners(undefined, {})).toBeUndefined();
});

describe("--config", () => {
  test("is read in place of the project file and counts more than DOCPROC_CONFIG", async () => {
    const sandbox = await makeSandbox();
    await writeConfig(join(sandbox.cwd, ".docprocrc.json"), { bucket: "project", region: "eu-west-1" });
    await writeConfig(join(sandbox.cwd, "a.json"), { bucket: "a" });
    await writeConfig(join(sandbox.cwd, "b.yaml"), "bucket: b");
    const env = { DOCPROC_CONFIG: "b.yaml" };
    expect(await load(sandbox, { env })).toMatchObject({ settings: { bucket: "b", region: undefined } });
    expect((await load(sandbox, { env, file: "a.json" })).settings.bucket).toBe("a");
    expect((await load(sandbox, { env: { DOCPROC_CONFIG: "" } })).settings.bucket).toBe("project");
  });

  test.each([["missing.json"], ["."], ["x.toml"]])("%s is refused", async (file) => {
    const sandbox = await makeSandbox();
    await writeConfig(join(sandbox.cwd, "x.toml"), "bucket = 1");
    await expect(load(sandbox, { file })).rejects.toEqual(invalid);
  });
});

/** Files that other loaders would run, each of which would leave a mark. */
const traps = [
  ...["docproc.config.js", "docproc.config.cjs", "docproc.config.mjs", ".docprocrc.js", ".docprocrc.cjs"],
  ...[".docprocrc.mjs", ".docprocrc.ts", ".config/docprocrc.js", ".config/config.js", ".config/config.cjs"],
  ...[".config/config.mjs", ".config/config.ts", "config.js", "config.cjs"],
];

describe("code in a directory is never run", () => {
  test.each(["in this process", "by the built program"])("%s", async (how) => {
    const sandbox = await makeSandbox();
    const marks = join(sandbox.root, "marks");
    await mkdir(marks);
    const configHome = join(sandbox.home, ".config");
    const folders = [sandbox.cwd, sandbox.home, sandbox.config, join(configHome, "docproc")];
    for (const folder of folders) {
      for (const [index, file] of traps.entries()) {
        const leaveMark = `writeFileSync(${JSON.stringify(join(marks, `${index}`))}, ${JSON.stringify(file)});`;
        const isModule = /\.(mjs|ts)$/.test(file);
        const load = isModule
          ? 'import { writeFileSync } from "node:fs";'
          : 'const { writeFileSync } = require("node:fs");';
        const result = '{ bucket: "trap", searchPlaces: [".docprocrc.cjs"] };';
        await writeConfig(
          join(folder, file),
          `${load}\n${leaveMark}\n${isModule ? "export default" : "module.exports ="} ${result}`,
        );
      }
      const meta = { name: "x", cosmiconfig: { searchPlaces: [".docprocrc.cjs"] }, docproc: { bucket: "trap" } };
      await writeConfig(join(folder, "package.json"), meta);
      await writeConfig(join(folder, "package.yaml"), meta);
      await writeConfig(join(folder, ".config/config.json"), { cosmiconfig: { searchPlaces: [".docprocrc.cjs"] } });
    }
    // Something real to read, so that the loader does load.
    const file = await writeConfig(join(sandbox.cwd, ".docprocrc.json"), { table: "real" });
    const env = {
      HOME: sandbox.home,
      XDG_CONFIG_HOME: configHome,
      XDG_DATA_HOME: sandbox.data,
      PATH: process.env["PATH"],
    };
    const stdout =
      how === "in this process"
        ? (await runDocproc(sandbox, ["config", "--json"], { env })).stdout
        : spawnSync(process.execPath, [resolve("dist/docproc.js"), "config", "--json"], { cwd: sandbox.cwd, env })
            .stdout;
    const { settings, configFile } = JSON.parse(String(stdout));
    expect(configFile).toBe(file);
    expect(settings).toContainEqual({ name: "table", value: "real", origin: file });
    expect(settings).toContainEqual({ name: "bucket", value: null, origin: "default" });
    expect(await readdir(marks)).toEqual([]);
  });

  test.each(["x.js", "x.cjs", "x.mjs", "x.ts"])("--config %s is refused", async (name) => {
    const sandbox = await makeSandbox();
    const mark = join(sandbox.root, "mark");
    const file = await writeConfig(
      join(sandbox.cwd, name),
      `require("node:fs").writeFileSync(${JSON.stringify(mark)}, "");`,
    );
    await expect(load(sandbox, { file })).rejects.toEqual(invalid);
    expect(await readdir(sandbox.root)).not.toContain("mark");
  });
});

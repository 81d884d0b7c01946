/** Where documents are written and read, and who may see them: names, links, races, permissions. */
import { createHash } from "node:crypto";
import {
  chmod,
  chown,
  lchown,
  lstat,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { userInfo } from "node:os";
import { join, resolve, sep } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type FoundInputs, findInputs } from "../../src/cli/commands/upload/inputs.ts";
import type { Step } from "../../src/core/crash-points.ts";
import { isDocumentPath } from "../../src/document/path.ts";
import { newDocumentId, storageKey } from "../../src/document/record.ts";
import { storageDrivers } from "../../src/storage/registry.ts";
import { awsSettings, type InRepoAws, localSettings, startInRepoAws } from "../support/aws.ts";
import { bodyOf } from "../support/body.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import { docproc, preload } from "../support/process.ts";
import { randomNumbers } from "../support/random.ts";
import { makeSandbox, runDocproc, type Sandbox } from "../support/run.ts";

const never = new AbortController().signal;
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

/** Every file below a directory with what is in it; a link with where it leads. */
async function contents(root: string, below = ""): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const entry of await readdir(join(root, below), { withFileTypes: true })) {
    const name = join(below, entry.name);
    if (entry.isDirectory()) Object.assign(found, await contents(root, name));
    else found[name] = entry.isSymbolicLink() ? "a link" : sha256(await readFile(join(root, name), "latin1"));
  }
  return found;
}

const pieces = [
  ...[
    "..",
    ".",
    "/",
    "\\",
    "//",
    "\0",
    "C:",
    "%2e%2e%2f",
    "~",
    "\u2215",
    "\uff0e\uff0e\uff0f",
    "\u202e",
    "a",
    "passwd",
  ],
  ...["CON", "NUL.txt", ":stream", " ", "\n", "-", ".hidden", "é", "📦", "..\\", "../", "x".repeat(60)],
];
function hostileNames(seed: number, count: number): string[] {
  const next = randomNumbers(seed);
  const pick = () => pieces[Math.floor(next() * pieces.length)] ?? "";
  return Array.from({ length: count }, () => Array.from({ length: 1 + Math.floor(next() * 6) }, pick).join(""));
}

describe("a name", () => {
  test("never leads a key out of the library", () => {
    const library = resolve("/library/objects");
    for (const name of hostileNames(1, 5_000)) {
      for (const prefix of ["", "team/in/"]) {
        const id = newDocumentId();
        const key = storageKey(prefix, id, name);
        expect(key).toMatch(/^(team\/in\/)?[0-9a-f]{2}\/[0-9a-f-]{36}\/[A-Za-z0-9][A-Za-z0-9._-]*$/);
        expect(join(library, key).startsWith(library + sep)).toBe(true);
        expect(key).not.toContain("..");
      }
    }
  });

  test("is downloaded into the directory that was named, or not at all", async () => {
    const sandbox = await makeSandbox();
    await writeFile(join(sandbox.cwd, "file"), "content");
    await mkdir(join(sandbox.root, "target"));
    const names = [...new Set(hostileNames(2, 150))].filter(isDocumentPath);
    expect(names.length).toBeGreaterThan(20);
    for (const name of names) {
      expect(await runDocproc(sandbox, ["upload", "file", `--name=${name}`])).toMatchObject({ status: 0 });
    }
    const outside = async () =>
      Object.entries(await contents(sandbox.root)).filter(([name]) => !name.startsWith("target"));
    const before = await outside();
    const written: string[] = [];
    for (const name of names) {
      const outcome = await runDocproc(sandbox, ["download", "-o", "../target", "--", name]);
      expect([0, 2]).toContain(outcome.status);
      if (outcome.status === 0) written.push(name.normalize("NFC"));
    }
    expect(await outside()).toEqual(before);
    expect(written.length).toBeGreaterThan(10);
    expect(Object.keys(await contents(join(sandbox.root, "target"))).sort()).toEqual(written.sort());
  });
});

describe("a key or an address that leads out of the library", () => {
  test("is refused by the storage, whatever is asked of it", async () => {
    const sandbox = await makeSandbox();
    const storage = await storageDrivers.local.open(localSettings(join(sandbox.root, "library")));
    await writeFile(join(sandbox.root, "secret"), "secret");
    const before = await contents(sandbox.root);
    const keys = ["..", "../secret", "../../secret", "a/../../secret", "/../secret", "", ".", "a/..", "a\0/b"];
    for (const key of [...keys, ...hostileNames(3, 500).map((name) => `../${name}`)]) {
      const options = { size: 1, contentType: "x/y", catalog: "test", signal: never };
      const asked = [
        () => storage.put(key, bodyOf(Buffer.from("x")), options),
        () => storage.open(key, { signal: never }),
        () => storage.stat(key, never),
        () => storage.remove(key, never),
      ];
      // A name that comes back into the library may be answered; what is outside never changes.
      for (const ask of asked)
        await ask().catch(({ code }) => expect(["USAGE", "NOT_FOUND", "CONFLICT"]).toContain(code));
    }
    for (const key of keys) await expect(storage.open(key, { signal: never })).rejects.toMatchObject({ code: "USAGE" });
    const { secret, ...rest } = await contents(sandbox.root);
    expect({ secret }).toEqual(before);
    expect(Object.keys(rest).filter((name) => !name.startsWith("library/"))).toEqual([]);
  });

  test.each(["cat", "download", "verify", "delete"])("is refused where a catalog has it: %s", async (command) => {
    const sandbox = await makeSandbox();
    await writeFile(join(sandbox.cwd, "a.txt"), "12345678");
    await writeFile(join(sandbox.root, "secret"), "a secret");
    const [{ id, uri }] = (await runDocproc(sandbox, ["upload", "a.txt", "--json"])).json().documents;
    const base = uri.slice(0, uri.indexOf("/objects/") + "/objects/".length);
    const catalog = new DatabaseSync(join(sandbox.data, "catalog.db"));
    for (const planted of [
      `${base}../../secret`,
      `file://${join(sandbox.root, "secret")}`,
      `${base}%2e%2e/../../secret`,
    ]) {
      catalog.exec(`UPDATE documents SET uri = '${planted}'`);
      const flags = command === "delete" ? ["--yes"] : command === "download" ? ["-o", "copy"] : [];
      const outcome = await runDocproc(sandbox, [command, id, ...flags]);
      expect(outcome.stdout).not.toContain("a secret");
      // A library that was moved as a whole has its documents where their ids say.
      const copied = await readFile(join(sandbox.cwd, "copy"), "utf8").catch(() => "12345678");
      expect(copied).toBe("12345678");
      await rm(join(sandbox.cwd, "copy"), { force: true });
      expect(await readFile(join(sandbox.root, "secret"), "utf8")).toBe("a secret");
    }
    catalog.close();
  });
});

describe("a link", () => {
  async function withDocument() {
    const sandbox = await makeSandbox();
    await writeFile(join(sandbox.cwd, "a.txt"), "document");
    expect(await runDocproc(sandbox, ["upload", "a.txt"])).toMatchObject({ status: 0 });
    const victim = join(sandbox.root, "victim");
    await writeFile(victim, "mine");
    return { sandbox, victim, copy: join(sandbox.cwd, "copy") };
  }

  test.each([true, false])("where a download goes is not written through (to a file: %s)", async (exists) => {
    const { sandbox, victim, copy } = await withDocument();
    if (!exists) await rm(victim);
    await symlink(victim, copy);
    expect(await runDocproc(sandbox, ["download", "a.txt", "-o", "copy"])).toMatchObject({ status: 5 });
    expect((await lstat(copy)).isSymbolicLink()).toBe(true);
    expect(await runDocproc(sandbox, ["download", "a.txt", "-o", "copy", "--force"])).toMatchObject({ status: 0 });
    expect((await lstat(copy)).isFile()).toBe(true);
    expect(await readFile(victim, "utf8").catch(() => "none")).toBe(exists ? "mine" : "none");
  });

  test("that appears and disappears where a download goes is never written through", async () => {
    const { sandbox, victim, copy } = await withDocument();
    let swapping = true;
    const swap = (async () => {
      for (let n = 0; swapping; n++) {
        await symlink(victim, `${copy}.${n}`);
        await rename(`${copy}.${n}`, copy);
        await rm(copy, { force: true });
        await writeFile(copy, "other");
      }
    })();
    for (let n = 0; n < 60; n++) {
      const outcome = await runDocproc(sandbox, ["download", "a.txt", "-o", "copy", ...(n % 2 ? ["--force"] : [])]);
      expect([0, 5]).toContain(outcome.status);
    }
    swapping = false;
    await swap;
    expect(await readFile(victim, "utf8")).toBe("mine");
    expect((await readdir(sandbox.cwd)).filter((name) => name.endsWith(".part"))).toEqual([]);
  });

  test("in place of a file that a walk has found is not followed", async () => {
    const { sandbox, victim } = await withDocument();
    const folder = join(sandbox.cwd, "folder");
    await mkdir(folder);
    await writeFile(join(folder, "report.txt"), "mine");
    const stdin = () => {
      throw new Error("not asked for");
    };
    const options = {
      paths: ["folder"],
      filesFrom: undefined,
      nul: false,
      cwd: sandbox.cwd,
      stdin,
      exclude: [],
      relative: false,
      own: [],
    };
    const first = async ({ inputs }: FoundInputs) => (await inputs[Symbol.asyncIterator]().next()).value;
    const input = await first(await findInputs({ ...options, recursive: true, signal: never }));
    await rm(join(folder, "report.txt"));
    await symlink(victim, join(folder, "report.txt"));
    await expect(input?.open()).rejects.toMatchObject({ code: "USAGE" });
    // One that somebody named is followed.
    const named = await findInputs({ ...options, paths: ["folder/report.txt"], recursive: true, signal: never });
    const source = await (await first(named))?.open();
    expect(source?.size).toBe(4);
    await source?.close();
  });

  test("to a library as a whole is followed, and everything else in its place stays", async () => {
    const { sandbox } = await withDocument();
    const elsewhere = join(sandbox.root, "elsewhere");
    await rename(sandbox.data, elsewhere);
    await symlink(elsewhere, sandbox.data);
    const others = ["mine", "objects/mine", "objects/aa/mine", "objects/aa/bb/mine", "incoming/mine"];
    for (const name of others) {
      await mkdir(join(elsewhere, name, ".."), { recursive: true });
      await writeFile(join(elsewhere, name), "mine");
    }
    for (const argv of [
      ["verify", "--all", "--deep"],
      ["upload", "a.txt", "--tag", "k=v"],
      ["download", "a.txt", "-o", "x"],
      ["doctor", "--repair", "--yes"],
      ["delete", "a.txt", "--yes"],
    ]) {
      const nextYear = () => Date.now() + 365 * 86_400_000;
      expect(await runDocproc(sandbox, argv, { now: nextYear })).toMatchObject({ status: 0 });
    }
    const left = await contents(elsewhere);
    for (const name of others) expect(left[name]).toBe(sha256("mine"));
  });
});

describe("a library that a stranger prepared", () => {
  const root = userInfo().uid === 0;
  const stranger = 54_321;
  // Root can make a stranger's directory; anybody else takes their own for one.
  const node = root
    ? []
    : preload(`import os from "node:os"; import { syncBuiltinESMExports } from "node:module";
        const real = os.userInfo();
        os.userInfo = () => ({ ...real, uid: real.uid + 1 }); syncBuiltinESMExports();`);

  test.each(["a directory", "a link to one", "a link of theirs to one of ours"])(
    "where everybody may write gets no document: %s",
    async (how) => {
      const sandbox = await makeSandbox();
      const shared = join(sandbox.root, "shared");
      await mkdir(shared);
      await chmod(shared, 0o1777);
      const library = join(shared, "library");
      const real = how === "a directory" ? library : join(sandbox.root, "theirs");
      await mkdir(real);
      if (real !== library) await symlink(real, library);
      if (root) await (how.includes("ours") ? lchown(library, stranger, stranger) : chown(real, stranger, stranger));
      await writeFile(join(sandbox.cwd, "a.txt"), "a");
      for (const argv of [
        ["upload", "a.txt"],
        ["upload", "-", "--name", "b"],
      ]) {
        const outcome = await docproc(sandbox, [...argv, "--directory", library], { node });
        expect(outcome).toMatchObject({ status: 4, stdout: "" });
      }
      expect(await readdir(real)).toEqual([]);
    },
  );
});

describe("with a umask of 000", () => {
  let aws: InRepoAws;
  beforeAll(async () => {
    aws = await startInRepoAws();
  });
  afterAll(() => aws.close());

  /** Code that takes every protection away, and kills the program at a step. */
  const unprotected = (step?: Step) =>
    preload(`import { subscribe } from "node:diagnostics_channel";
      process.umask(0);
      subscribe("docproc:step", (step) => step === ${JSON.stringify(step ?? "")} && process.kill(process.pid, "SIGKILL"));`);

  /** What may be read or written by others, of all that is below. */
  async function exposed(root: string): Promise<string[]> {
    const entries = await readdir(root, { recursive: true }).catch(() => []);
    const modes = await Promise.all(entries.map(async (name) => [name, (await lstat(join(root, name))).mode & 0o077]));
    return modes.filter(([, mode]) => mode !== 0).map(([name, mode]) => `${name}: ${mode?.toString(8)}`);
  }

  async function open() {
    const sandbox = await makeSandbox();
    await writeFile(join(sandbox.cwd, "small.txt"), "the plain text of a small document");
    await writeFile(join(sandbox.cwd, "large.bin"), "the plain text of a large document\n".repeat(400_000));
    await mkdir(join(sandbox.root, "tmp"));
    const run = (argv: string[], step?: Step) =>
      docproc(sandbox, argv, { node: unprotected(step), env: { TMPDIR: join(sandbox.root, "tmp") } });
    const own = ["data", "state", "config", "tmp"].map((name) => join(sandbox.root, name));
    const allExposed = async () => (await Promise.all(own.map(exposed))).flat();
    return { sandbox, run, allExposed };
  }

  const made = async ({ root }: Sandbox) =>
    Object.keys(await contents(root)).filter((name) => !name.startsWith("cwd/"));

  test.each<Step>(["local-file-begun", "local-file-flushed", "local-file-published", "record-committed"])(
    "the embedded library is its owner's alone, also after a crash at %s",
    async (step) => {
      const { sandbox, run, allExposed } = await open();
      for (const file of ["small.txt", "large.bin"]) expect((await run(["upload", file], step)).status).toBe("SIGKILL");
      expect(await made(sandbox)).not.toEqual([]);
      expect(await allExposed()).toEqual([]);
      for (const argv of [["upload", "small.txt", "large.bin"], ["doctor"], ["list"]]) {
        expect(await run(argv)).toMatchObject({ status: 0 });
      }
      expect(await allExposed()).toEqual([]);
      expect(await readdir(join(sandbox.root, "tmp"))).toEqual([]);
    },
  );

  test("a library that is made by init is its owner's alone, and a directory that was there keeps its mode", async () => {
    const { sandbox, run } = await open();
    await mkdir(join(sandbox.cwd, "open"));
    await chmod(join(sandbox.cwd, "open"), 0o777);
    for (const [name, mode] of [
      ["new", 0o700],
      ["open", 0o777],
    ] as const) {
      expect(await run(["init", "--directory", name, "--config", `${name}.json`])).toMatchObject({ status: 2 });
      await writeFile(join(sandbox.cwd, `${name}.json`), "{}");
      expect(await run(["init", "--directory", name, "--config", `${name}.json`])).toMatchObject({ status: 0 });
      expect((await lstat(join(sandbox.cwd, name))).mode & 0o777).toBe(mode);
      expect(await run(["upload", "small.txt", "--directory", name])).toMatchObject({ status: 0 });
      expect(await exposed(join(sandbox.cwd, name))).toEqual([]);
    }
  });

  test.each<Step>(["journal-opened", "s3-upload-begun", "s3-part-stored", "s3-upload-completed", "record-committed"])(
    "the journal of an upload is its owner's alone, also after a crash at %s",
    async (step) => {
      const { sandbox, run, allExposed } = await open();
      const proxy = await startFaultProxy(aws.endpoint);
      onTestFinished(() => proxy.close());
      const flags = ["--endpoint-url", proxy.endpoint, "--bucket", awsSettings("").bucket ?? ""];
      expect(await run(["init", ...flags])).toMatchObject({ status: 0 });
      expect((await run(["upload", "large.bin"], step)).status).toBe("SIGKILL");
      expect((await made(sandbox)).filter((name) => name.startsWith("state/"))).not.toEqual([]);
      expect(await allExposed()).toEqual([]);
      // Nothing of the document is outside of where it came from.
      for (const name of await made(sandbox)) {
        expect(await readFile(join(sandbox.root, name), "latin1")).not.toContain("plain text");
      }
      expect(await run(["upload", "large.bin"])).toMatchObject({ status: 0 });
      expect(await allExposed()).toEqual([]);
    },
  );

  test("a download is its owner's alone until it is whole and checked", async () => {
    const { sandbox, run } = await open();
    expect(await run(["upload", "large.bin"])).toMatchObject({ status: 0 });
    for (const step of ["download-begun", "download-checked"] as const) {
      await mkdir(join(sandbox.cwd, step));
      expect((await run(["download", "large.bin", "-o", `${step}/`], step)).status).toBe("SIGKILL");
      expect(await readdir(join(sandbox.cwd, step))).toHaveLength(1);
      expect(await exposed(join(sandbox.cwd, step))).toEqual([]);
    }
    // Like any file that its user makes, it follows the umask afterwards.
    expect(await run(["download", "large.bin", "-o", "copy.bin"])).toMatchObject({ status: 0 });
    expect((await lstat(join(sandbox.cwd, "copy.bin"))).mode & 0o777).toBe(0o666);
  });
});

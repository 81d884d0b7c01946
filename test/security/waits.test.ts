/** What can be waited for without an end: each of it is not waited for, or ends with the second signal at the latest. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { lstat, mkdir, readdir, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, onTestFinished, test } from "vitest";
import { cli, docproc, finish, start } from "../support/process.ts";
import { makeSandbox, runDocproc, type Sandbox } from "../support/run.ts";

/** Milliseconds. Without an end it would be the time limit of the test. */
const soon = 60_000;

const makeFifo = (path: string) => execFileSync("mkfifo", [path]);

/** A library with one document, and where its bytes are. */
async function open(): Promise<{ sandbox: Sandbox; object: string; mark: string }> {
  const sandbox = await makeSandbox();
  await writeFile(join(sandbox.cwd, "a.txt"), "a");
  const flags = ["--directory", sandbox.data];
  expect(await runDocproc(sandbox, ["upload", "a.txt", ...flags])).toMatchObject({ status: 0 });
  const objects = join(sandbox.data, "objects");
  const found = (await readdir(objects, { recursive: true })).find((name) => name.endsWith("a.txt")) ?? "";
  return { sandbox, object: join(objects, found), mark: join(sandbox.data, "catalog-id") };
}

/** Runs a command as a process, since a thread that waits for ever would keep the test run, too. */
async function expectSoon(sandbox: Sandbox, argv: readonly string[], status: number) {
  const since = performance.now();
  const outcome = await docproc(sandbox, [...argv, "--directory", sandbox.data]);
  expect({ argv, ...outcome }).toMatchObject({ argv, status });
  expect(performance.now() - since).toBeLessThan(soon);
  return outcome;
}

describe.skipIf(process.platform === "win32")("a FIFO", () => {
  test("in place of an object is an object that is gone", async () => {
    const { sandbox, object } = await open();
    await rm(object);
    makeFifo(object);
    const { stderr } = await expectSoon(sandbox, ["cat", "a.txt"], 3);
    expect(stderr).toContain(`are missing: ${object} is not a regular file.`);
    expect(stderr).toContain("Move it away. Put its bytes back");
    await expectSoon(sandbox, ["download", "a.txt", "-o", "copy.txt"], 3);
    await expectSoon(sandbox, ["verify", "--all", "--deep"], 6);
    expect(await readdir(sandbox.cwd)).toEqual(["a.txt"]);
  });

  test.each([
    ["a FIFO", (path: string) => makeFifo(path)],
    ["a directory", (path: string) => mkdir(path)],
    ["a link to a file", (path: string) => symlink(fileURLToPath(import.meta.url), path)],
    ["a link to nothing", (path: string) => symlink("nothing", path)],
  ])("or %s is moved away, as the message says, before the bytes come back", async (_, make) => {
    const { sandbox, object } = await open();
    const before = await stat(object);
    await rm(object);
    await make(object);
    const { ino } = await lstat(object);
    const [, id = ""] = /([0-9a-f-]{36})/.exec(object) ?? [];
    for (const argv of [
      ["upload", "a.txt", "--restore", id],
      ["upload", "a.txt"],
    ]) {
      const { stderr } = await expectSoon(sandbox, argv, 5);
      expect(stderr).toContain(`${object} is not a regular file`);
      expect(stderr).toContain("Move it away, then run the same command again.");
    }
    expect((await lstat(object)).ino).toBe(ino);
    await rename(object, join(sandbox.home, "moved"));
    const { stdout } = await expectSoon(sandbox, ["upload", "a.txt", "--restore", id, "--json"], 0);
    expect(JSON.parse(stdout)).toMatchObject({ documents: [{ id, action: "restored" }] });
    expect((await expectSoon(sandbox, ["cat", "a.txt"], 0)).stdout).toBe("a");
    expect((await stat(object)).mtimeMs).toBe(before.mtimeMs);
  });

  test("or a socket in place of an object is an object that is gone", async () => {
    const { sandbox, object } = await open();
    await rm(object);
    const script = `require("net").createServer().listen(process.argv[1], () => process.exit())`;
    // The name stays when the process is gone without closing it.
    const made = spawn(process.execPath, [
      "-e",
      script.replace("process.exit()", 'process.kill(process.pid, "SIGKILL")'),
      object,
    ]);
    await once(made, "exit");
    await expectSoon(sandbox, ["cat", "a.txt"], 3);
  });

  test("in place of the catalog's mark is refused where it is needed", async () => {
    const { sandbox, mark } = await open();
    await rm(mark);
    makeFifo(mark);
    await writeFile(join(sandbox.cwd, "b.txt"), "b");
    const { stderr } = await expectSoon(sandbox, ["upload", "b.txt"], 5);
    expect(stderr).toContain(mark);
    await expectSoon(sandbox, ["cat", "a.txt"], 0);
  });

  test("in place of the catalog is refused", async () => {
    const { sandbox } = await open();
    await rm(join(sandbox.data, "catalog.db"));
    makeFifo(join(sandbox.data, "catalog.db"));
    await expectSoon(sandbox, ["list"], 5);
  });

  test("with a list of files in it is read, as a shell's <(…) is one", async () => {
    const { sandbox } = await open();
    const list = join(sandbox.cwd, "list");
    makeFifo(list);
    spawn("sh", ["-c", 'echo a.txt > "$0"', list]);
    await expectSoon(sandbox, ["upload", "--files-from", "list"], 0);
  });
});

describe.skipIf(process.platform === "win32")("a second signal", () => {
  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("ends what waits in a system call: %s", async (signal, status) => {
    const sandbox = await makeSandbox();
    makeFifo(join(sandbox.cwd, "list"));
    const child = start(sandbox, ["upload", "--files-from", "list"]);
    const ended = finish(child);
    // Until it waits for somebody to write into the list.
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    child.kill(signal);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const since = performance.now();
    child.kill(signal);
    expect(await ended).toMatchObject({ status: signal });
    expect(performance.now() - since).toBeLessThan(soon);

    // A shell's status of it is that of a command which is interrupted once.
    const script = '"$0" "$1" upload --files-from list & sleep 2; kill -$2 $!; sleep 1; kill -$2 $!; wait $!; echo $?';
    const shell = spawn("bash", ["-c", script, process.execPath, cli, signal.slice(3)], {
      cwd: sandbox.cwd,
      env: { PATH: process.env["PATH"], HOME: sandbox.home },
    });
    onTestFinished(() => void shell.kill("SIGKILL"));
    expect((await finish(shell)).stdout.trim()).toBe(String(status));
  });
});

/** `upload --within DIR`: nothing is sent that is not in the directory, wherever links lead and whenever they are made. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, open, readFile, rename, rm, symlink, unlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { findInputs, type Input } from "../../src/cli/commands/upload/inputs.ts";
import { openBounds } from "../../src/files/bounds.ts";
import { openFile } from "../../src/transfer/source.ts";
import { makeSandbox, runDocproc } from "../support/run.ts";

const refused = expect.objectContaining({ code: "USAGE", message: expect.stringContaining("is outside") });
const never = new AbortController().signal;

/** A workspace in the sandbox's working directory, and beside it what must not get out. */
async function makeWorkspace() {
  const sandbox = await makeSandbox();
  const { root, cwd } = sandbox;
  const files = ["ws/a", "ws/d/b", "ws/d/sub/c", "secret/key", "secret/d/key", "ws2/key"];
  for (const file of files) {
    await mkdir(dirname(join(cwd, file)), { recursive: true });
    await writeFile(join(cwd, file), file);
  }
  const links: [at: string, to: string][] = [
    ["ws/file-out", "../secret/key"],
    ["ws/directory-out", "../secret"],
    ["ws/out-by-two", "d/../file-out"],
    ["ws/beside", "../ws2"],
    ["ws/d/in", "../a"],
    ["ws/d/directory-in", "sub"],
    ["by-link", "ws"],
  ];
  for (const [at, to] of links) await symlink(to, join(cwd, at));
  const upload = (...argv: string[]) => runDocproc(sandbox, ["upload", "--json", ...argv]);
  const contentsOf = async () => {
    const { documents } = (await runDocproc(sandbox, ["list", "--all", "--json"])).json();
    return await Promise.all(documents.map(({ uri }: { uri: string }) => readFile(new URL(uri), "utf8")));
  };
  return { root, cwd, upload, contentsOf };
}

describe("upload --within", () => {
  test.each([
    ["a link to a file", ["ws/file-out"]],
    ["a link to such a link", ["ws/out-by-two"]],
    ["a file behind a link to a directory", ["ws/directory-out/key"]],
    ["a link to a directory that is walked", ["-r", "ws/directory-out"]],
    ["a directory behind a link", ["-r", "ws/directory-out/d"]],
    ["a directory whose name only begins like it", ["-r", "ws/beside"]],
    ["a path that leads out", ["ws/../secret/key"]],
    ["a directory above", ["-r", "ws/.."]],
  ])("refuses %s", async (_what, argv) => {
    const { upload, contentsOf } = await makeWorkspace();
    const outcome = await upload("--within", "ws", ...argv);
    expect({ status: outcome.status, failures: outcome.json().failures }).toEqual({
      status: 2,
      failures: [
        {
          path: argv.at(-1),
          code: "USAGE",
          message: expect.stringMatching(/is outside ws\.$/),
          hint: expect.any(String),
        },
      ],
    });
    expect(await contentsOf()).toEqual([]);
    // Without the flag it is what a user may do.
    expect((await upload(...argv)).status).toBe(0);
  });

  test("refuses them in a list, and sends what is beside them", async () => {
    const { cwd, upload, contentsOf } = await makeWorkspace();
    await writeFile(join(cwd, "list"), ["ws/file-out", join(cwd, "secret/key"), "ws/a"].join("\n"));
    expect((await upload("--within", "ws", "--files-from", "list")).json().summary).toMatchObject({
      failed: 2,
      uploaded: 1,
    });
    expect(await contentsOf()).toEqual(["ws/a"]);
  });

  test.each([["ws"], ["ws/"], ["ws/d/.."], ["by-link"], ["/"]])(
    "sends what is in %s, however it is named",
    async (within) => {
      const { cwd, upload, contentsOf } = await makeWorkspace();
      const paths = ["ws/a", "by-link/d/in", join(cwd, "ws/../ws/d/b"), "ws/d/directory-in"];
      expect(await upload("--within", within, "-r", "--on-duplicate", "store", ...paths)).toMatchObject({ status: 0 });
      expect((await contentsOf()).sort()).toEqual(["ws/a", "ws/a", "ws/d/b", "ws/d/sub/c"]);
    },
  );

  test("leaves standard input alone", async () => {
    const { upload } = await makeWorkspace();
    expect((await upload("--within", "ws", "-", "--name", "x")).status).toBe(0);
  });

  test.each([
    ["missing", "NOT_FOUND"],
    ["ws/a", "USAGE"],
    ["", "USAGE"],
  ])("takes a directory, and %j is none", async (within, code) => {
    const { upload, contentsOf } = await makeWorkspace();
    expect((await upload("--within", within, "ws/a")).json()).toMatchObject({
      code,
      hint: expect.stringMatching(/\S/),
    });
    expect(await contentsOf()).toEqual([]);
  });
});

describe("what changes between two looks", () => {
  test("a directory that was walked is a link when its file is opened", async () => {
    const { cwd } = await makeWorkspace();
    const options = { paths: ["ws/d"], filesFrom: undefined, nul: false, stdin: () => process.stdin, recursive: true };
    const where = { cwd, exclude: [], relative: false, within: "ws", own: [], signal: never };
    const { inputs } = await findInputs({ ...options, ...where });
    const found: Input[] = [];
    for await (const input of inputs) found.push(input);
    const input = found.find(({ label }) => label === "ws/d/sub/c");
    await rm(join(cwd, "ws/d/sub"), { recursive: true });
    await writeFile(join(cwd, "secret/c"), "secret");
    await symlink("../../secret", join(cwd, "ws/d/sub"));
    await expect(input?.open()).rejects.toEqual(refused);
  });

  // A place that says nothing of descriptors is what every system but Linux has.
  test.each([["/proc/self/fd"], ["/nowhere"]])("a link leads back when it is looked at again (%s)", async (says) => {
    const { cwd } = await makeWorkspace();
    const bounds = await openBounds(join(cwd, "ws"), "ws", says);
    const path = join(cwd, "ws/file-out");
    const secret = await open(path);
    onTestFinished(() => secret.close());
    expect(await bounds.holdsFile(secret, path)).toBe(false);
    await unlink(path);
    await symlink("a", path);
    expect(await bounds.holdsFile(secret, path)).toBe(false);
    const harmless = await open(path);
    onTestFinished(() => harmless.close());
    expect(await bounds.holdsFile(harmless, path)).toBe(true);
    // Its name is gone, its bytes are those that were opened.
    await unlink(join(cwd, "ws/a"));
    if (says === "/proc/self/fd" && process.platform === "linux") {
      expect(await bounds.holdsFile(harmless, path)).toBe(true);
    }
  });

  test("a link that is exchanged all the time is never followed out", async () => {
    if (process.platform !== "linux") return;
    const { cwd } = await makeWorkspace();
    const path = join(cwd, "ws/flickering");
    const code = `const { renameSync, symlinkSync } = require("node:fs");
      for (let n = 0; ; n++) {
        symlinkSync(n % 2 ? "a" : "../secret/key", process.argv[1] + ".new");
        renameSync(process.argv[1] + ".new", process.argv[1]);
        if (n === 0) process.stdout.write("ready");
      }`;
    const child = spawn(process.execPath, ["-e", code, path], { stdio: ["ignore", "pipe", "inherit"] });
    onTestFinished(() => void child.kill("SIGKILL"));
    await once(child.stdout, "data");
    const bounds = await openBounds(join(cwd, "ws"), "ws");
    const read = { inside: 0, refused: 0 };
    for (let n = 0; n < 2_000; n++) {
      const source = await openFile(path, "flickering", { bounds }).catch(() => undefined);
      if (source === undefined) {
        read.refused += 1;
        continue;
      }
      const into = Buffer.alloc(100);
      const length = await source.read(never).read(into);
      await source.close();
      expect(into.subarray(0, length).toString()).toBe("ws/a");
      read.inside += 1;
    }
    // Otherwise nothing was tried.
    expect(Math.min(read.inside, read.refused)).toBeGreaterThan(0);
  });

  test("two directories whose names are not text are not taken for one", async () => {
    if (process.platform !== "linux") return;
    const { cwd } = await makeWorkspace();
    const named = (byte: number, rest = "") =>
      Buffer.concat([Buffer.from(`${cwd}/`), Buffer.from([byte]), Buffer.from(rest)]);
    for (const byte of [0xfe, 0xff]) {
      await mkdir(named(byte));
      await writeFile(named(byte, "/file"), "x");
    }
    await symlink(Buffer.from([0xff]), join(cwd, "root"));
    await symlink(named(0xfe, "/file"), named(0xff, "/out"));
    const bounds = await openBounds(join(cwd, "root"), "root");
    await expect(openFile(join(cwd, "root/out"), "out", { bounds })).rejects.toEqual(refused);
    const source = await openFile(join(cwd, "root/file"), "file", { bounds });
    await source.close();
  });

  test("the directory itself may be moved; what was opened in it then is not in it any more", async () => {
    const { cwd } = await makeWorkspace();
    const bounds = await openBounds(join(cwd, "ws"), "ws");
    await rename(join(cwd, "ws"), join(cwd, "moved"));
    await symlink("moved", join(cwd, "ws"));
    await expect(openFile(join(cwd, "ws/a"), "a", { bounds })).rejects.toEqual(refused);
  });
});

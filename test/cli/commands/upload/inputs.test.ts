import { execFileSync } from "node:child_process";
import { mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import {
  describeSkipped,
  findInputs,
  type Input,
  type InputOptions,
} from "../../../../src/cli/commands/upload/inputs.ts";
import { DocprocError } from "../../../../src/core/errors.ts";
import { makeSandbox } from "../../../support/run.ts";

const code = (expected: string) => expect.objectContaining({ code: expected });

/** A directory with these files; a name that ends in a slash is a directory. */
async function makeTree(files: readonly string[]): Promise<string> {
  const { cwd } = await makeSandbox();
  for (const file of files) {
    const path = join(cwd, file);
    await mkdir(file.endsWith("/") ? path : dirname(path), { recursive: true });
    if (!file.endsWith("/")) await writeFile(path, file);
  }
  return cwd;
}

function begin(cwd: string, paths: string[], options: Partial<InputOptions> = {}) {
  return findInputs({
    paths,
    filesFrom: undefined,
    nul: false,
    cwd,
    stdin: () => Readable.from("piped"),
    recursive: true,
    exclude: [],
    own: [],
    signal: new AbortController().signal,
    ...options,
  });
}

/** All of them at once. */
async function find(...how: Parameters<typeof begin>) {
  const found = await begin(...how);
  const inputs: Input[] = [];
  for await (const input of found.inputs) inputs.push(input);
  return { inputs, skipped: found.skipped };
}

const labels = (inputs: readonly Input[]) => inputs.map(({ label }) => label);
const none = { hidden: 0, symlinks: 0, excluded: 0, special: 0 };

describe("walking a directory", () => {
  test("finds every file below it, in byte order, and nothing that is hidden", async () => {
    const cwd = await makeTree([
      "d/b",
      "d/a/z",
      "d/B",
      "d/\u{1f600}",
      "d/\uff21",
      "d/.git/config",
      "d/.env",
      "d/empty/",
    ]);
    const { inputs, skipped } = await find(cwd, ["d"]);
    expect(labels(inputs)).toEqual(["d/B", "d/a/z", "d/b", "d/\uff21", "d/\u{1f600}"]);
    expect(skipped).toEqual({ ...none, hidden: 2 });
  });

  test("leaves out links, so that a link to a directory above is no cycle", async () => {
    const cwd = await makeTree(["d/a", "d/sub/b"]);
    await symlink("..", join(cwd, "d/sub/up"));
    await symlink("a", join(cwd, "d/link"));
    await symlink("nowhere", join(cwd, "d/dangling"));
    const { inputs, skipped } = await find(cwd, ["d"]);
    expect(labels(inputs)).toEqual(["d/a", "d/sub/b"]);
    expect(skipped).toEqual({ ...none, symlinks: 3 });
  });

  test("leaves out what is no file", async () => {
    const cwd = await makeTree(["d/a"]);
    execFileSync("mkfifo", [join(cwd, "d/pipe")]);
    const { inputs, skipped } = await find(cwd, ["d"]);
    expect(labels(inputs)).toEqual(["d/a"]);
    expect(skipped).toEqual({ ...none, special: 1 });
  });

  test.each<[string[], string[], number]>([
    [["*.map"], ["d/a.js", "d/lib/b.js", "d/lib/deep/c.js"], 2],
    [["lib"], ["d/a.js", "d/a.map"], 1],
    [["lib/"], ["d/a.js", "d/a.map"], 1],
    [["lib/*.js"], ["d/a.js", "d/a.map", "d/lib/b.map", "d/lib/deep/c.js"], 1],
    [["**/*.js"], ["d/a.map", "d/lib/b.map"], 3],
    [["d/lib"], ["d/a.js", "d/a.map", "d/lib/b.js", "d/lib/b.map", "d/lib/deep/c.js"], 0],
    [["*.map", "deep"], ["d/a.js", "d/lib/b.js"], 3],
  ])("--exclude %j leaves %j", async (exclude, left, excluded) => {
    const cwd = await makeTree(["d/a.js", "d/a.map", "d/lib/b.js", "d/lib/b.map", "d/lib/deep/c.js"]);
    const { inputs, skipped } = await find(cwd, ["d"], { exclude });
    expect(labels(inputs)).toEqual(left);
    expect(skipped).toEqual({ ...none, excluded });
  });

  test.each([
    ["d/", "d/a"],
    ["d//", "d/a"],
    ["./d", "./d/a"],
    ["d/../d", "d/../d/a"],
  ])("a file below %j is labelled %j", async (path, label) => {
    expect(labels((await find(await makeTree(["d/a"]), [path])).inputs)).toEqual([label]);
  });

  test("the directory one is in can be walked", async () => {
    expect(labels((await find(await makeTree(["a"]), ["."])).inputs)).toEqual(["./a"]);
  });

  test("excluding hidden names does not exclude the directory above", async () => {
    const cwd = await makeTree(["a", "sub/"]);
    expect(labels((await find(join(cwd, "sub"), [".."], { exclude: [".*"] })).inputs)).toEqual(["../a"]);
  });

  test("an empty path is refused, and is not the directory one is in", async () => {
    const cwd = await makeTree(["a"]);
    // A shell makes one of `"$UNSET"`.
    const { inputs } = await find(cwd, [""]).catch((error: unknown) => ({
      inputs: [{ open: () => Promise.reject(error) }],
    }));
    expect(inputs).toHaveLength(1);
    await expect(inputs[0]?.open()).rejects.toBeInstanceOf(DocprocError);
  });
});

describe("named paths", () => {
  test("a hidden file, a hidden directory and links are taken when they are named", async () => {
    const cwd = await makeTree([".env", ".config/a", "real/b"]);
    await symlink(".env", join(cwd, "link"));
    await symlink("real", join(cwd, "dirlink"));
    const { inputs, skipped } = await find(cwd, [".env", "link", ".config", "dirlink"]);
    expect(labels(inputs)).toEqual([".env", "link", ".config/a", "dirlink/b"]);
    expect(skipped).toEqual(none);
  });

  test("they keep their order", async () => {
    const cwd = await makeTree(["b", "a", "d/c"]);
    expect(labels((await find(cwd, ["b", "d", "a"])).inputs)).toEqual(["b", "d/c", "a"]);
  });

  test("a named file is excluded by its name", async () => {
    const cwd = await makeTree(["a.map", "d/b.map", "c.js"]);
    const { inputs, skipped } = await find(cwd, ["a.map", "d/b.map", "c.js"], { exclude: ["*.map"] });
    expect(labels(inputs)).toEqual(["c.js"]);
    expect(skipped.excluded).toBe(2);
  });

  test.each<[string, string, string]>([
    ["a directory without -r", "d", "USAGE"],
    ["what is not there", "missing", "NOT_FOUND"],
  ])("%s is an input that cannot be opened, and the others go on", async (_what, path, expected) => {
    const cwd = await makeTree(["a", "d/b"]);
    const { inputs } = await find(cwd, [path, "a"], { recursive: false });
    expect(labels(inputs)).toEqual([path, "a"]);
    await expect(inputs[0]?.open()).rejects.toEqual(code(expected));
    const source = await inputs[1]?.open();
    await source?.close();
    expect(source?.name).toBe("a");
  });

  test("- is standard input", async () => {
    const { inputs } = await find(await makeTree([]), ["-"]);
    expect(await inputs[0]?.open()).toMatchObject({ kind: "stdin" });
  });

  test("- is refused where standard input is the terminal", async () => {
    const stdin = () => Object.assign(new Readable({ read() {} }), { isTTY: true });
    const { inputs } = await find(await makeTree([]), ["-"], { stdin });
    await expect(inputs[0]?.open()).rejects.toEqual(code("USAGE"));
  });

  test("an abort stops the search", async () => {
    const cwd = await makeTree(["d/a"]);
    await expect(find(cwd, ["d"], { signal: AbortSignal.abort() })).rejects.toEqual(code("CANCELLED"));
  });

  test.each([[""], ["/"]])("the empty glob --exclude %j is USAGE, not INTERNAL", async (glob) => {
    const found = await find(await makeTree(["a"]), ["a"], { exclude: [glob] }).catch((error: unknown) => error);
    // Either it excludes nothing or it is refused.
    expect([{ skipped: none, inputs: [expect.anything()] }, code("USAGE")]).toContainEqual(found);
  });
});

describe("sizes", () => {
  test("sizes in advance add up, and one unknown size makes the sum unknown", async () => {
    const cwd = await makeTree(["d/aa", "d/b"]);
    expect(await counted(await begin(cwd, ["d"]), true)).toEqual([2, 7]);
    expect(await counted(await begin(cwd, ["d"]), false)).toEqual([2, null]);
    expect(await counted(await begin(cwd, ["d", "-"]), true)).toEqual([3, null]);
  });
});

describe("a search", () => {
  test("goes no further than what is taken", async () => {
    const cwd = await makeTree(["1/a", "2/b", "3/c", "4/d"]);
    const { inputs, several } = await begin(cwd, ["."]);
    expect(several).toBe(true);
    const iterator = inputs[Symbol.asyncIterator]();
    await iterator.next();
    // The second is looked for with the first, what comes behind it is not.
    await rm(join(cwd, "4"), { recursive: true });
    await writeFile(join(cwd, "3/later"), "later");
    const rest: Input[] = [];
    for (let one = await iterator.next(); !one.done; one = await iterator.next()) rest.push(one.value);
    expect(labels(rest)).toEqual(["./2/b", "./3/c", "./3/later", "./4"]);
    await expect(rest.at(-1)?.open()).rejects.toEqual(code("NOT_FOUND"));
  });

  test("knows of one input that it is the only one", async () => {
    expect(await begin(await makeTree(["d/a"]), ["d"])).toMatchObject({ several: false });
  });

  test("can be counted before anything is taken, and what was left out is not counted twice", async () => {
    const found = await begin(await makeTree(["d/a", "d/b", "d/.c"]), ["d"]);
    expect(await counted(found, true)).toEqual([2, 6]);
    for await (const _ of found.inputs);
    expect(found.skipped).toEqual({ ...none, hidden: 1 });
  });

  test("that is interrupted ends in the middle", async () => {
    const abort = new AbortController();
    const { inputs } = await begin(await makeTree(["1/a", "2/b", "3/c"]), ["."], { signal: abort.signal });
    const taken: string[] = [];
    const taking = (async () => {
      for await (const { label } of inputs) {
        taken.push(label);
        abort.abort();
      }
    })();
    await expect(taking).rejects.toEqual(code("CANCELLED"));
    expect(taken).toEqual(["./1/a", "./2/b"]);
  });

  test("goes into no directory that is written to meanwhile, and into none below it", async () => {
    const cwd = await makeTree(["d/a", "d/library/objects/b", "d/library-of-mine/c"]);
    const own = [join(cwd, "d/library")];
    const { inputs, skipped } = await find(cwd, ["d", "d/library/objects"], { own });
    expect(labels(inputs)).toEqual(["d/a", "d/library-of-mine/c"]);
    expect(skipped).toEqual({ ...none, excluded: 2 });
  });
});

async function counted(found: Awaited<ReturnType<typeof begin>>, withSizes: boolean) {
  return await new Promise((resolve) => {
    found.count(withSizes, (files, bytes) => resolve([files, bytes]));
  });
}

describe("--files-from", () => {
  test.each([
    ["lines", "a\nb\n", ["a", "b"]],
    ["no end of the last line", "a\nb", ["a", "b"]],
    ["lines of Windows", "a\r\nb c\r\n", ["a", "b c"]],
    ["empty lines", "\n\na\n\n", ["a"]],
    ["what looks like a comment, an option or spaces", "#a\n-b\n c \n", ["#a", "-b", " c "]],
  ])("a list with %s", async (_what, text, paths) => {
    const cwd = await makeTree(["list"]);
    await writeFile(join(cwd, "list"), text);
    expect(labels((await find(cwd, [], { filesFrom: "list" })).inputs)).toEqual(paths);
    const stdin = () => Readable.from(text, { objectMode: false });
    expect(labels((await find(cwd, [], { filesFrom: "-", stdin })).inputs)).toEqual(paths);
  });

  test("its paths come behind the named ones, and are walked and excluded like them", async () => {
    const cwd = await makeTree(["a", "d/b", "d/c.map", "list"]);
    await writeFile(join(cwd, "list"), "d\n");
    const { inputs, skipped } = await find(cwd, ["a"], { filesFrom: "list", exclude: ["*.map"] });
    expect(labels(inputs)).toEqual(["a", "d/b"]);
    expect(skipped).toEqual({ ...none, excluded: 1 });
  });

  test("- in a list is a file of that name", async () => {
    const cwd = await makeTree(["-", "list"]);
    await writeFile(join(cwd, "list"), "-\n");
    const { inputs } = await find(cwd, [], { filesFrom: "list" });
    const source = await inputs[0]?.open();
    await source?.close();
    expect(source).toMatchObject({ kind: "file", name: "-", path: "./-" });
  });

  test("a list that is not there is NOT_FOUND under the name that was given", async () => {
    const failure = await find(await makeTree([]), [], { filesFrom: "list" }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "NOT_FOUND", message: expect.stringMatching(/^list /) });
  });

  test("a list that is divided by NUL is refused, not read as one long path", async () => {
    const cwd = await makeTree(["a", "b", "list"]);
    await writeFile(join(cwd, "list"), "a\0b\0");
    await expect(find(cwd, [], { filesFrom: "list" })).rejects.toEqual(code("USAGE"));
  });

  test("an empty list is not a success", async () => {
    const cwd = await makeTree(["list"]);
    await writeFile(join(cwd, "list"), "\n");
    await expect(find(cwd, [], { filesFrom: "list" })).rejects.toEqual(code("NOT_FOUND"));
  });
});

test("if everything was skipped, the failure says why", async () => {
  const cwd = await makeTree(["d/.env", "d/a.map"]);
  const failure = await find(cwd, ["d"], { exclude: ["*.map"] }).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: "NOT_FOUND", hint: expect.stringMatching(/1 hidden, 1 excluded/) });
});

test("the description of skipped files has only reasons that occurred", () => {
  expect(describeSkipped({ ...none, hidden: 2, excluded: 1 })).toBe("2 hidden, 1 excluded");
  expect(describeSkipped(none)).toBe("");
});

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
    relative: false,
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
    const { inputs } = await begin(cwd, ["."]);
    const iterator = inputs[Symbol.asyncIterator]();
    await iterator.next();
    await rm(join(cwd, "4"), { recursive: true });
    await writeFile(join(cwd, "3/later"), "later");
    const rest: Input[] = [];
    for (let one = await iterator.next(); !one.done; one = await iterator.next()) rest.push(one.value);
    expect(labels(rest)).toEqual(["./2/b", "./3/c", "./3/later", "./4"]);
    await expect(rest.at(-1)?.open()).rejects.toEqual(code("NOT_FOUND"));
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
    expect(taken).toEqual(["./1/a"]);
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

/** Paths of the documents; the code of the error for an input without one. */
async function paths(...how: Parameters<typeof begin>): Promise<string[]> {
  const { inputs } = await find(...how);
  return await Promise.all(
    inputs.map(async ({ path, open }) => {
      const failure = await open().then(
        (source) => source.close(),
        (error: DocprocError) => error,
      );
      return failure instanceof DocprocError ? `${path}${failure.code}` : path;
    }),
  );
}

async function failures(...how: Parameters<typeof begin>): Promise<DocprocError[]> {
  const { inputs } = await find(...how);
  const opened = await Promise.all(
    inputs.map(({ open }) =>
      open().then(
        (source) => source.close(),
        (error: DocprocError) => error,
      ),
    ),
  );
  return opened.filter((failure) => failure instanceof DocprocError);
}

describe("the path of a document", () => {
  test.each<[string[], string[]]>([
    [["x/dist/app.js"], ["app.js"]],
    [["./x/dist/app.js"], ["app.js"]],
    [["x/dist"], ["dist/app.js", "dist/css/a.css"]],
    [["x/dist/"], ["dist/app.js", "dist/css/a.css"]],
    [["./x//dist//"], ["dist/app.js", "dist/css/a.css"]],
    [["../sub/x/dist"], ["dist/app.js", "dist/css/a.css"]],
    [["x/dist/css/../"], ["app.js", "css/a.css"]],
    [["x/dist/."], ["app.js", "css/a.css"]],
    [["x/dist/./"], ["app.js", "css/a.css"]],
    [["link"], ["link/app.js", "link/css/a.css"]],
    [["link/."], ["app.js", "css/a.css"]],
    [["."], ["x/dist/app.js", "x/dist/css/a.css"]],
    [[".."], ["sub/x/dist/app.js", "sub/x/dist/css/a.css"]],
    [
      ["x/dist/css", "x/dist/app.js"],
      ["css/a.css", "app.js"],
    ],
  ])("of %j is %j, as cp -r has it", async (named, expected) => {
    const cwd = join(await makeTree(["sub/x/dist/app.js", "sub/x/dist/css/a.css"]), "sub");
    await symlink("x/dist", join(cwd, "link"));
    expect(await paths(cwd, named)).toEqual(expected);
    const absolute = named.map((path) => `${cwd}/${path}`);
    expect(await paths(cwd, absolute)).toEqual(expected);
    const into = expected.map((path) => `rel/1.2/${path}`);
    expect(await paths(cwd, named, { into: "rel/1.2" })).toEqual(into);
    await writeFile(join(cwd, "../.list"), named.join("\n"));
    expect(await paths(cwd, [], { filesFrom: "../.list", into: "rel/1.2" })).toEqual(into);
  });

  test.each<[string[], string[]]>([
    [["x/dist/app.js"], ["x/dist/app.js"]],
    [["./x/dist/app.js"], ["x/dist/app.js"]],
    [["../sub/x/./dist//app.js"], ["sub/x/dist/app.js"]],
    [["x/dist/css/../app.js"], ["x/dist/app.js"]],
    [["./x/dist/"], ["x/dist/app.js", "x/dist/css/a.css"]],
    [["x/dist/."], ["x/dist/app.js", "x/dist/css/a.css"]],
    [["."], ["x/dist/app.js", "x/dist/css/a.css"]],
    [["../sub"], ["sub/x/dist/app.js", "sub/x/dist/css/a.css"]],
  ])("of %j as typed is %j", async (named, expected) => {
    const cwd = join(await makeTree(["sub/x/dist/app.js", "sub/x/dist/css/a.css"]), "sub");
    expect(await paths(cwd, named, { relative: true })).toEqual(expected);
    await writeFile(join(cwd, "../.list"), named.join("\n"));
    const into = expected.map((path) => `in/${path}`);
    expect(await paths(cwd, [], { filesFrom: "../.list", relative: true, into: "in" })).toEqual(into);
  });

  test("of an absolute path as typed has no slash in front", async () => {
    const cwd = await makeTree(["d/a"]);
    expect(await paths("/", [join(cwd, "d")], { relative: true })).toEqual([`${cwd.slice(1)}/d/a`]);
  });

  test("is the given name, in the given folder", async () => {
    const cwd = await makeTree(["d/a"]);
    expect(await paths(cwd, ["d/a"], { name: "x/y.pdf" })).toEqual(["x/y.pdf"]);
    expect(await paths(cwd, ["-"], { name: "x/y.sql", into: "dumps" })).toEqual(["dumps/x/y.sql"]);
  });

  test("is in NFC, whatever the file system has", async () => {
    const cwd = await makeTree(["Re\u0301/sume\u0301"]);
    expect(await paths(cwd, ["Re\u0301"])).toEqual(["R\u00e9/sum\u00e9"]);
  });

  test("is missing for a name that cannot be one, and the other files go on", async () => {
    const cwd = await makeTree(["d/a", "d/line\nend", "d/b"]);
    expect(await paths(cwd, ["d"])).toEqual(["d/a", "d/b", "USAGE"]);
    expect(await paths(cwd, ["d/line\nend"])).toEqual(["USAGE"]);
    expect(await paths(cwd, ["d/line\nend"], { name: "line-end" })).toEqual(["line-end"]);
    expect(await failures(cwd, ["d"])).toEqual([
      expect.objectContaining({ message: expect.stringContaining("control"), hint: expect.stringContaining("--name") }),
    ]);
  });

  test("is missing for one that is too long with its folder", async () => {
    const cwd = await makeTree(["a", `${"x".repeat(200)}/a`]);
    const into = "y".repeat(900);
    expect(await paths(cwd, ["a", "x".repeat(200)], { into })).toEqual([`${into}/a`, "USAGE"]);
  });

  test("is missing for a name that is not UTF-8, of a file or a directory", async () => {
    const cwd = await makeTree(["d/a"]);
    const latin1 = (path: string) => Buffer.concat([Buffer.from(`${cwd}/`), Buffer.from(path, "latin1")]);
    await writeFile(latin1("d/sum\u00e9"), "");
    await writeFile(latin1("d/sum\u00e8"), "");
    await mkdir(latin1("d/r\u00e9"));
    expect(await paths(cwd, ["d"])).toEqual(["d/a", "USAGE", "d/sum\ufffdUSAGE", "d/sum\ufffdUSAGE"]);
    for (const { message } of await failures(cwd, ["d", "d/sum\ufffd"])) expect(message).toMatch(/not valid UTF-8/);
  });
});

describe("two files with one path", () => {
  const tree = ["a/x", "b/x", "a/dist/1", "a/dist/2", "b/dist/2", "b/dist/3", "c/a/x", "top"];

  test.each<[string[], Partial<InputOptions>, string[]]>([
    [["a/x", "b/x"], {}, ["x", "CONFLICT"]],
    [["a/x", "top", "b/x", "c/a/x"], {}, ["x", "top", "CONFLICT", "CONFLICT"]],
    [["a/x", "b/x"], { relative: true }, ["a/x", "b/x"]],
    [["a/dist", "b/dist"], {}, ["dist/1", "dist/2", "CONFLICT", "dist/3"]],
    [["a/dist/.", "b/dist/."], {}, ["1", "2", "CONFLICT", "3"]],
    [["a/dist/.", "b/dist/."], { into: "in" }, ["in/1", "in/2", "CONFLICT", "in/3"]],
    [["a/dist", "b/dist"], { relative: true }, ["a/dist/1", "a/dist/2", "b/dist/2", "b/dist/3"]],
    [["b/dist/2", "a/dist/."], {}, ["2", "1", "CONFLICT"]],
    [["a/dist/.", "b/dist/2"], {}, ["1", "2", "CONFLICT"]],
    [["c/.", "a"], {}, ["a/x", "a/dist/1", "a/dist/2", "CONFLICT"]],
    [["a", "c/."], {}, ["a/dist/1", "a/dist/2", "a/x", "CONFLICT"]],
  ])("%j with %j gives %j", async (named, options, expected) => {
    const cwd = await makeTree(tree);
    expect(await paths(cwd, named, options)).toEqual(expected);
  });

  test("is a failure that names both and says what helps", async () => {
    const cwd = await makeTree(tree);
    const [failure] = await failures(cwd, ["a/dist", "./b/dist"]);
    expect(failure?.message).toMatch(/^\.\/b\/dist\/2 .*a\/dist\/2.* dist\/2\.$/);
    expect(failure?.hint).toMatch(/--relative.*--into/);
  });

  test("is none where one file is named twice", async () => {
    const cwd = await makeTree(tree);
    expect(await paths(cwd, ["a/x", "./a/../a/x", join(cwd, "a/x")])).toEqual(["x", "x", "x"]);
    expect(await paths(cwd, ["a/dist", "a/dist/1"], { relative: true })).toEqual(["a/dist/1", "a/dist/2", "a/dist/1"]);
  });

  test("is noticed where the paths differ only until they are in NFC", async () => {
    const cwd = await makeTree(["d/e\u0301", "d/\u00e9", "o/\u00e9", "t/E\u0301/1", "t/\u00c9/2"]);
    expect(await paths(cwd, ["d"])).toEqual(["d/\u00e9", "CONFLICT"]);
    expect(await paths(cwd, ["d/e\u0301", "o/\u00e9"])).toEqual(["\u00e9", "CONFLICT"]);
    expect(await paths(cwd, ["t"])).toEqual(["t/\u00c9/1", "CONFLICT"]);
    expect((await failures(cwd, ["d"]))[0]?.message).toMatch(/NFC or NFD/);
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

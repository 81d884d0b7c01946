/** `docproc download` of many documents: what went in as a tree comes out as that tree, below one directory. */
import { execFileSync } from "node:child_process";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { mkdir, readdir, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Step } from "../../../src/core/crash-points.ts";
import type { DocumentRecord } from "../../../src/document/record.ts";
import { openLibrary, places, usePlace } from "../../support/library.ts";
import type { RunOptions } from "../../support/run.ts";

/** Equal names, equal contents, empty files, deep folders, odd letters. */
const tree: Readonly<Record<string, string>> = {
  "index.js": "entry",
  "lib/index.js": "other entry",
  "lib/copy.js": "entry",
  "lib/deep/er/and/deeper/index.js": "",
  "lib/empty": "",
  "docs/r\u00e9sum\u00e9 \u{1f4c4}/a b.txt": "letters",
  "docs/index.js": "entry",
};

async function openTree(endpoint?: string) {
  const library = await openLibrary(endpoint);
  const { cwd, root } = library.sandbox;
  const put = async (path: string, content: string) => {
    await mkdir(dirname(join(cwd, path)), { recursive: true });
    await writeFile(join(cwd, path), content);
  };
  for (const [path, content] of Object.entries(tree)) await put(`dist/${path}`, content);
  const run = async (status: number, argv: readonly string[], options?: RunOptions) => {
    const outcome = await library.run(argv, options);
    expect(outcome, `${argv.join(" ")}: ${outcome.stderr}`).toMatchObject({ status });
    return outcome;
  };
  return {
    ...library,
    cwd,
    root,
    put,
    run,
    download: async (status: number, ...argv: string[]) => await run(status, ["download", ...argv]),
    content: async (path: string) => await readFile(join(cwd, path), "utf8"),
    files: async (path: string) =>
      (await readdir(join(cwd, path), { recursive: true, withFileTypes: true }))
        .filter((entry) => !entry.isDirectory())
        .map((entry) => join(entry.parentPath, entry.name).slice(join(cwd, path).length + 1))
        .sort(),
    /** Nothing, or the differences of two folders. */
    difference: (one: string, other: string) => {
      try {
        return execFileSync("diff", ["-r", one, other], { cwd, encoding: "utf8" });
      } catch (error) {
        return String((error as { stdout?: string }).stdout);
      }
    },
  };
}

const count = Object.keys(tree).length;
const actionsOf = (documents: readonly { path: string; action: string }[]) =>
  Object.fromEntries(documents.map(({ path, action }) => [path, action]));

describe.each(Object.entries(places))("a tree in %s", (_place, start) => {
  const endpoint = usePlace(start);

  test("comes out as it went in, and is left alone when it is downloaded again", async () => {
    const { cwd, run, download, put, content, difference } = await openTree(endpoint());
    await run(0, ["upload", "-r", "dist"]);
    const first = (await download(0, "--all", "-o", "back", "--json")).json();
    expect(first.summary).toMatchObject({ total: count, downloaded: count, present: 0, older: 0, failed: 0 });
    expect(first.documents).toContainEqual(
      expect.objectContaining({ path: "dist/lib/index.js", file: join(cwd, "back/dist/lib/index.js") }),
    );
    expect(difference("dist", "back/dist")).toBe("");

    await utimes(join(cwd, "back/dist/index.js"), 1, 1);
    await rm(join(cwd, "back/dist/lib"), { recursive: true });
    await put("back/dist/docs/index.js", "mine.");
    const second = (await download(7, "--all", "-o", "back", "--json")).json();
    expect(second.summary).toMatchObject({ total: count, downloaded: 4, present: 2, failed: 1, bytes: 16 });
    expect(actionsOf(second.documents)).toMatchObject({ "dist/index.js": "present", "dist/lib/empty": "downloaded" });
    expect(second.failures).toMatchObject([{ ref: "dist/docs/index.js", code: "CONFLICT" }]);
    expect(await content("back/dist/docs/index.js")).toBe("mine.");

    const third = await download(0, "--all", "-o", "back", "--force");
    expect(third.stderr).toMatch(/^1 downloaded, 6 present; 5 B in /);
    expect(difference("dist", "back/dist")).toBe("");
  });

  test("comes out in part, by filters and by names", async () => {
    const { run, download, files, put } = await openTree(endpoint());
    await run(0, ["upload", "-r", "dist", "--tag", "build=42"]);
    await put("other.txt", "other");
    await run(0, ["upload", "other.txt"]);
    await download(0, "--under", "dist/lib/deep", "-o", "one");
    expect(await files("one")).toEqual(["dist/lib/deep/er/and/deeper/index.js"]);
    await download(0, "--tag", "build=42", "-o", "two");
    expect(await files("two")).toHaveLength(count);
    await download(0, "dist/lib/copy.js", "other.txt", "-o", "three");
    expect(await files("three")).toEqual(["dist/lib/copy.js", "other.txt"]);
    await download(0, "dist/lib/copy.js", "-o", "four/");
    expect(await files("four")).toEqual(["dist/lib/copy.js"]);
    await download(0, "dist/lib/copy.js");
    await download(0, "dist/lib/copy.js", "-o", "five.js");
    expect(await files(".")).toEqual(expect.arrayContaining(["copy.js", "five.js"]));
    expect((await run(0, ["cat", "dist/lib/copy.js"])).stdout).toBe("entry");
  });

  test("comes out with the newest version of each path, and the others are named", async () => {
    const { run, upload, download, content } = await openTree(endpoint());
    const [one, two] = [await upload("a/b", "1"), await upload("a/b", "2")];
    const three = await upload("a/b", "3", "--tag", "build=43");
    await upload("a/c", "c");
    const all = (await download(0, "--under", "a", "-o", "all", "--json")).json();
    expect(all.older.toSorted()).toEqual([one.id, two.id].toSorted());
    expect(all.summary).toMatchObject({ total: 2, downloaded: 2, older: 2 });
    expect(all.documents).toContainEqual(expect.objectContaining({ id: three.id }));
    // Of those that match, and not of all.
    const some = await run(0, ["download", "--not-tag", "build", "--path", "a/b", "-o", "some"]);
    expect(some.stderr).toMatch(/^1 downloaded; 1 B in .+; 1 older version left out\.\n$/);
    expect([await content("all/a/b"), await content("some/a/b")]).toEqual(["3", "2"]);
  });
});

describe("names and filters", () => {
  test.each([
    ["nothing", [], "Name documents"],
    ["both", ["a", "--all"], "Remove the names"],
    ["both", ["a", "--tag", "b=c"], "Remove the names"],
    ["a filter for standard output", ["--all", "-o", "-"], "Name a directory"],
    ["a template without an end", ["a", "-o", "{name"], "Write {{ for a brace"],
    ["a template with an unknown field", ["a", "-o", "x/{nmae}"], "Did you mean {name}?"],
    ["a template without folders", ["a", "-o", "x/{name}", "--flat"], "Remove one of them"],
  ])("are an error with %s", async (_what, argv, hint) => {
    const { download } = await openTree();
    expect((await download(2, ...argv)).stderr).toContain(hint);
  });

  test("that match nothing say what was looked for", async () => {
    const { download, upload } = await openTree();
    expect((await download(3, "--all")).stderr).toContain("The library has no documents.");
    await upload("a", "a");
    const outcome = await download(3, "--tag", "build=43", "--tag", "x=y", "--not-tag", "os", "--under", "a", "--json");
    const says = "No document matches --tag build=43 --tag x=y --not-tag os --under a.";
    expect(JSON.parse(outcome.stderr)).toMatchObject({ code: "NOT_FOUND", message: says });
  });
});

describe("a template", () => {
  test("makes folders of tags, below the directory that its beginning names", async () => {
    const { root, upload, download, files } = await openTree();
    await upload("a/app", "1", "--tag", "os=linux");
    await upload("b/app", "2", "--tag", "os=mac/arm64");
    await download(0, "--all", "-o", "art/{tags.os}/{name}");
    expect(await files("art")).toEqual(["linux/app", "mac/arm64/app"]);
    await download(0, "--all", "-o", "{{x}}-{tags.os}-\\n{name}");
    expect(await files(".")).toEqual(expect.arrayContaining(["{x}-linux-\\napp", "{x}-mac/arm64-\\napp"]));
    await download(0, "a/app", "-o", `${root}/far/{path}.{size}`);
    await download(0, "a/app", "-o", "../near/{id}");
    expect(await readFile(join(root, "far/a/app.1"), "utf8")).toBe("1");
    expect(await readdir(join(root, "near"))).toHaveLength(1);
    await download(0, "a/app", "-o", "literal{{}}");
    expect(await files(".")).toContain("literal{}");
  });

  test("gets the newest document of each file that it makes of a path", async () => {
    const { upload, download, content, files } = await openTree();
    const old = await upload("app.tgz", "1", "--tag", "os=linux");
    await upload("app.tgz", "2", "--tag", "os=mac");
    await upload("app.tgz", "3", "--tag", "os=windows");
    await upload("app.tgz", "4", "--tag", "os=linux", "--tag", "build=2");
    const { summary, older } = (await download(0, "--path", "app.tgz", "-o", "art/{tags.os}/{name}", "--json")).json();
    expect(summary).toMatchObject({ total: 3, downloaded: 3, older: 1 });
    expect(older).toEqual([old.id]);
    expect(await files("art")).toEqual(["linux/app.tgz", "mac/app.tgz", "windows/app.tgz"]);
    expect(await content("art/linux/app.tgz")).toBe("4");
  });

  test("fails for a document without its field, and for no other", async () => {
    const { upload, download, files } = await openTree();
    await upload("app.tgz", "1");
    await upload("app.tgz", "2", "--tag", "os=mac");
    const { summary, failures } = (await download(7, "--all", "-o", "art/{tags.os}/{name}", "--json")).json();
    expect(summary).toMatchObject({ total: 2, downloaded: 1, older: 0, failed: 1 });
    expect(failures).toMatchObject([{ ref: "app.tgz", code: "USAGE" }]);
    expect(await files("art")).toEqual(["mac/app.tgz"]);
  });

  test("leaves out no document of another path that would get the same file: it fails", async () => {
    const { upload, download, content } = await openTree();
    await upload("a/app", "1");
    await upload("b/app", "2");
    const { older, failures } = (await download(7, "--all", "-o", "art/{name}", "--concurrency", "1", "--json")).json();
    expect(older).toEqual([]);
    expect(failures).toMatchObject([{ ref: "a/app", code: "CONFLICT" }]);
    expect(await content("art/app")).toBe("2");
  });

  test.each([
    ["../evil", "{tags.to}"],
    ["../../evil", "art/x/{tags.to}"],
    ["..", "art/{tags.to}/evil"],
    [".", "art/.{tags.to}/evil"],
    ["/evil", "{tags.to}"],
    ["/evil", "art/{tags.to}"],
    ["x/../../evil", "art/{tags.to}"],
    ["", "art/{tags.to}/{name}"],
    ["", "art/{tags.none}/{name}"],
    [".git", "{tags.to}/config"],
    ["x/.ssh", "{tags.to}/key"],
  ])("lets no field lead anywhere else: %j in %s", async (to, template) => {
    const { root, cwd, upload, download, files } = await openTree();
    await rm(join(cwd, "dist"), { recursive: true });
    await upload("a", "1", "--tag", `to=${to}`);
    const before = await readdir(root, { recursive: true });
    const outcome = await download(2, "--all", "-o", template, "--json");
    expect(outcome.json().failures).toMatchObject([{ ref: "a", code: "USAGE" }]);
    expect((await readdir(root, { recursive: true })).filter((name) => !before.includes(name))).toEqual([]);
    expect(await files(".")).not.toContain("evil");
  });
});

describe("base names", () => {
  test("are written with --flat, each once", async () => {
    const { run, download, files } = await openTree();
    await run(0, ["upload", "-r", "dist"]);
    const { documents, failures } = (await download(7, "--all", "--flat", "-o", "flat", "--json")).json();
    const names = documents.map(({ name }: DocumentRecord) => name).sort();
    expect(names).toEqual(["a b.txt", "copy.js", "empty", "index.js"]);
    expect(failures).toHaveLength(3);
    for (const failure of failures) expect(failure).toMatchObject({ code: "CONFLICT" });
    expect(await files("flat")).toEqual(names);
  });
});

describe("what is in the way", () => {
  test.each([[[]], [["--force"]]])("is no way out: a link in place of a folder, with %j", async (flags) => {
    const { cwd, root, run, download, files } = await openTree();
    await run(0, ["upload", "-r", "dist"]);
    await mkdir(join(root, "outside"));
    await mkdir(join(cwd, "back/dist"), { recursive: true });
    await symlink(join(root, "outside"), join(cwd, "back/dist/lib"));
    const { summary, failures } = (await download(7, "--all", "-o", "back", ...flags, "--json")).json();
    expect(summary).toMatchObject({ downloaded: 3, failed: 4 });
    for (const { message } of failures) expect(message).toContain("back/dist/lib is a link");
    expect(await readdir(join(root, "outside"))).toEqual([]);
    expect(await files("back")).toContain("dist/docs/index.js");
  });

  test("hurts only those that it is in the way of", async () => {
    const { upload, download, put, files } = await openTree();
    await upload("a", "file");
    await upload("a/b", "in a folder");
    await upload("c/d", "d");
    await put("back/c", "mine");
    const { summary, failures } = (await download(7, "--all", "-o", "back", "--force", "--json")).json();
    expect(summary).toMatchObject({ downloaded: 1, failed: 2 });
    for (const failure of failures) expect(failure).toMatchObject({ code: "CONFLICT" });
    expect(await files("back")).toHaveLength(2);
  });

  test("hidden files and folders are written where that was asked for", async () => {
    const { upload, download, files } = await openTree();
    await upload(".git/config", "1");
    await upload("a/.env", "2");
    expect((await download(2, "--all", "-o", "back")).stderr).toContain("add --hidden");
    await expect(files("back")).rejects.toMatchObject({ code: "ENOENT" });
    await download(0, "a/.env", ".git/config", "-o", "named");
    await download(0, "--all", "--hidden", "-o", "all");
    for (const folder of ["named", "all"]) expect(await files(folder)).toEqual([".git/config", "a/.env"]);
  });
});

describe("a download that is interrupted", () => {
  test.each<Step>(["download-begun", "download-published"])("at %s leaves no half, and goes on", async (step) => {
    const { run, download, files, difference } = await openTree();
    await run(0, ["upload", "-r", "dist"]);
    const abort = new AbortController();
    let passed = 0;
    const listener = (one: unknown) => void (one === step && ++passed === 3 && abort.abort());
    subscribe("docproc:step", listener);
    onTestFinished(() => void unsubscribe("docproc:step", listener));
    const options = { signal: abort.signal, env: { DOCPROC_CONCURRENCY: "1" } };
    const { documents } = (await run(130, ["download", "--all", "-o", "back", "--json"], options)).json();
    expect(documents).toHaveLength(step === "download-begun" ? 2 : 3);
    const there = await files("back");
    expect(there).toEqual(documents.map(({ path }: DocumentRecord) => path).sort());
    const again = (await download(0, "--all", "-o", "back", "--json")).json();
    expect(again.summary).toMatchObject({ present: there.length, downloaded: count - there.length });
    expect(difference("dist", "back/dist")).toBe("");
  });
});

/** `docproc upload` of trees: under which paths the documents are, on every kind of library. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { openEmptyLibrary, places, usePlace } from "../../../support/library.ts";

/** A library, and a working directory with a tree of files, whose content is their path. */
async function openTree(endpoint?: string) {
  const { sandbox, run } = await openEmptyLibrary(endpoint);
  const write = async (file: string, content = file) => {
    await mkdir(dirname(join(sandbox.cwd, file)), { recursive: true });
    await writeFile(join(sandbox.cwd, file), content);
  };
  for (const file of ["pkg/a/init.py", "pkg/b/init.py", "pkg/b/main.py", "pkg/c/d/main.py"]) await write(file);
  return {
    run,
    write,
    /** Paths of all documents, sorted, with the file that each came from. */
    async sources(): Promise<[path: string, source: string][]> {
      const { documents } = (await run(["list", "--all", "--json"])).json();
      const all = documents.map(({ path, source }: Listed): [string, string] => [path, source.path]);
      return all.sort(([a]: [string], [b]: [string]) => (a < b ? -1 : 1));
    },
  };
}

interface Listed {
  readonly path: string;
  readonly source: { readonly path: string };
}

for (const [place, start] of Object.entries(places)) {
  describe(`on ${place}`, () => {
    const endpoint = usePlace(start);

    test("a tree is one document for every file, whatever their names and bytes", async () => {
      const { run, write, sources } = await openTree(endpoint());
      await write("pkg/a/empty", "");
      await write("pkg/b/empty", "");
      expect((await run(["upload", "-r", "pkg", "--json"])).json().summary).toMatchObject({
        uploaded: 6,
        unchanged: 0,
      });
      const files = ["a/empty", "a/init.py", "b/empty", "b/init.py", "b/main.py", "c/d/main.py"];
      expect(await sources()).toEqual(files.map((file) => [`pkg/${file}`, `pkg/${file}`]));
      expect((await run(["upload", "-r", "./pkg/", "--json"])).json().summary).toMatchObject({
        uploaded: 0,
        unchanged: 6,
        bytesSent: 0,
      });
    });

    test("--into puts it in a folder, -r DIR/. leaves the directory's own name out", async () => {
      const { run, sources } = await openTree(endpoint());
      expect(await run(["upload", "-r", "pkg/b/.", "--into", "rel/1.2/"])).toMatchObject({ status: 0 });
      expect(await run(["upload", "-r", "pkg/c", "--into", "rel/1.2"])).toMatchObject({ status: 0 });
      expect(await sources()).toEqual([
        ["rel/1.2/c/d/main.py", "pkg/c/d/main.py"],
        ["rel/1.2/init.py", "pkg/b/./init.py"],
        ["rel/1.2/main.py", "pkg/b/./main.py"],
      ]);
    });

    test("-R keeps paths as typed, also of a list", async () => {
      const { run, sources } = await openTree(endpoint());
      const stdin = "./pkg/a/init.py\npkg/c\n";
      expect(await run(["upload", "-rR", "--files-from", "-", "--into", "in"], { stdin })).toMatchObject({ status: 0 });
      expect(await sources()).toEqual([
        ["in/pkg/a/init.py", "./pkg/a/init.py"],
        ["in/pkg/c/d/main.py", "pkg/c/d/main.py"],
      ]);
    });

    test("of two files that would get one path the first is uploaded, the second fails and says what helps", async () => {
      const { run, sources } = await openTree(endpoint());
      const outcome = await run(["upload", "pkg/a/init.py", "pkg/b/init.py", "pkg/b/main.py", "--json"]);
      expect(outcome.status).toBe(7);
      const message = "pkg/b/init.py would get the same path as pkg/a/init.py: init.py.";
      expect(outcome.json().failures).toMatchObject([
        { path: "pkg/b/init.py", code: "CONFLICT", message, hint: expect.stringContaining("--relative") },
      ]);
      expect(await sources()).toEqual([
        ["init.py", "pkg/a/init.py"],
        ["main.py", "pkg/b/main.py"],
      ]);
    });
  });
}

test("a result line shows the document's path, a failure the file's", async () => {
  const { run, write } = await openTree();
  await write("pkg/a/tab\there");
  const outcome = await run(["upload", "-r", "pkg/a"]);
  expect(outcome.status).toBe(7);
  expect(outcome.stdout).toMatch(/^uploaded {2}[0-9a-f-]{36} {2}a\/init\.py {2}13\n$/);
  expect(outcome.stderr).toMatch(/pkg\/a\/tab\\there/);
});

test("--name says the whole path, of a file or of standard input", async () => {
  const { run } = await openTree();
  expect((await run(["upload", "pkg/a/init.py", "--name", "x/y.txt", "--json"])).json().documents).toMatchObject([
    { path: "x/y.txt", name: "y.txt", contentType: "text/plain" },
  ]);
  const argv = ["upload", "-", "--name", "dump.sql", "--into", "dumps", "--json"];
  expect((await run(argv, { stdin: "select" })).json().documents).toMatchObject([
    { path: "dumps/dump.sql", name: "dump.sql", source: { kind: "stdin", path: null } },
  ]);
});

describe("--expires", () => {
  const year = 365.25 * 86_400_000;

  test("is a term from now or a date, and is recorded", async () => {
    const { run } = await openTree();
    const argv = ["upload", "pkg/a/init.py", "--json", "--expires"];
    const [document] = (await run([...argv, "1y"])).json().documents;
    expect(Math.abs(Date.parse(document.expiresAt) - Date.parse(document.uploadedAt) - year)).toBeLessThan(60_000);
    expect((await run([...argv, "2999-01-31"])).json().documents).toMatchObject([
      { id: document.id, action: "updated", expiresAt: "2999-01-31T00:00:00.000Z" },
    ]);
    expect((await run(["show", document.id, "--json"])).json().expiresAt).toBe("2999-01-31T00:00:00.000Z");
  });

  test("stays as it is where none is given", async () => {
    const { run } = await openTree();
    await run(["upload", "pkg/a/init.py", "--expires", "2999-01-31"]);
    expect((await run(["upload", "pkg/a/init.py", "--json"])).json().documents).toMatchObject([
      { action: "unchanged", expiresAt: "2999-01-31T00:00:00.000Z" },
    ]);
    expect((await run(["upload", "pkg/b/init.py", "--json"])).json().documents).toMatchObject([
      { action: "uploaded", expiresAt: null },
    ]);
  });

  test.each(["2020-01-31", "0d", "soon"])("is refused as %j", async (time) => {
    const { run } = await openTree();
    const outcome = await run(["upload", "pkg/a/init.py", "--expires", time]);
    expect(outcome).toMatchObject({ status: 2, stdout: "", stderr: expect.stringContaining("--expires") });
  });
});

describe("--refuse-empty", () => {
  test("fails for an empty file, and the others go on", async () => {
    const { run, write, sources } = await openTree();
    await write("pkg/a/empty", "");
    const outcome = await run(["upload", "-r", "pkg/a", "--refuse-empty", "--json"]);
    expect(outcome.status).toBe(7);
    expect(outcome.json().failures).toMatchObject([
      { path: "pkg/a/empty", code: "USAGE", message: "pkg/a/empty is empty." },
    ]);
    expect(await sources()).toEqual([["a/init.py", "pkg/a/init.py"]]);
    expect((await run(["upload", "-r", "pkg/a", "--json"])).json().summary).toMatchObject({
      uploaded: 1,
      unchanged: 1,
    });
    // It is in the library by now, and refused all the same.
    expect((await run(["upload", "-r", "pkg/a", "--refuse-empty", "--json"])).status).toBe(7);
    expect((await run(["upload", "-r", "pkg/a", "--refuse-empty", "--dry-run", "--json"])).status).toBe(7);
  });

  test("fails for an empty standard input", async () => {
    const { run, sources } = await openTree();
    const argv = ["upload", "-", "--name", "x", "--refuse-empty"];
    expect(await run(argv, { stdin: "" })).toMatchObject({ status: 2, stderr: expect.stringContaining("is empty") });
    expect(await sources()).toEqual([]);
    expect(await run(argv, { stdin: "x" })).toMatchObject({ status: 0 });
  });
});

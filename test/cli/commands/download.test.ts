/** `docproc download`: where documents are written, what is never written over, and what is refused. */
import { randomBytes } from "node:crypto";
import { lstat, mkdir, readdir, readFile, readlink, rename, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { newDocumentId } from "../../../src/document/record.ts";
import { openLibrary, places, usePlace } from "../../support/library.ts";
import { flipBit, tamper } from "../../support/stored.ts";

async function openDownloads(endpoint?: string) {
  const library = await openLibrary(endpoint);
  const { cwd } = library.sandbox;
  return {
    ...library,
    cwd,
    download: (...argv: string[]) => library.run(["download", ...argv]),
    content: async (name: string) => await readFile(join(cwd, name), "utf8"),
    /** Names in the working directory, but for the config file that init writes. */
    files: async () => (await readdir(cwd)).filter((name) => name !== ".docprocrc.json").sort(),
  };
}

describe("a download", () => {
  test("makes no directory for nothing, and one with a first document", async () => {
    const { cwd, download, upload, files } = await openDownloads();
    await upload("a.txt", "a");
    expect(await download("--tag", "no=1", "-o", "out")).toMatchObject({ status: 3 });
    expect(await download("no.txt", "other.txt", "-o", "out/deep")).toMatchObject({ status: 3 });
    expect(await files()).toEqual([]);
    expect(await download("--all", "-o", "out/deep")).toMatchObject({ status: 0 });
    expect(await readdir(join(cwd, "out/deep"))).toEqual(["a.txt"]);
  });

  test.each(["file", "file/below", "link"])("into %s is refused once, before any document", async (output) => {
    const { cwd, download, upload } = await openDownloads();
    for (const name of ["a.txt", "b.txt"]) await upload(name, name);
    await writeFile(join(cwd, "file"), "mine");
    await symlink("nothing", join(cwd, "link"));
    const outcome = await download("--all", "-o", output);
    expect(outcome).toMatchObject({ stdout: "", stderr: expect.stringMatching(/^error: .*\nhint: .*\n$/) });
    expect(outcome.status).toBe(output === "file/below" ? 3 : 5);
    expect((await readdir(cwd)).sort()).toEqual(["file", "link"]);
  });

  test("of the only document that a filter finds prints its error once", async () => {
    const { download, upload } = await openDownloads();
    await tamper(await upload("a.txt", "a", "--tag", "x=1"), undefined, () => null);
    const one = await download("--tag", "x=1");
    expect(one.status).toBe(3);
    expect(one.stderr.match(/missing|no object/gi)).toHaveLength(1);
    expect(one.stderr).not.toContain("failed a.txt");
    await tamper(await upload("b.txt", "b", "--tag", "x=1"), undefined, () => null);
    const two = await download("--tag", "x=1");
    for (const name of ["a.txt", "b.txt"]) expect(two.stderr).toContain(`failed ${name}: `);
    expect(two.stderr).toContain("error: 2 of 2 documents failed; 0 finished.\nhint:  Do what the hint of each");
  });
});

describe.each(Object.entries(places))("a document of %s", (_place, start) => {
  const endpoint = usePlace(start);

  // The largest is read in ranges where that is faster.
  test.each([0, 1000, 8 * 1024 * 1024 + 1])("of %i bytes is written under its name as it was", async (size) => {
    const { cwd, download, upload, files } = await openDownloads(endpoint());
    const bytes = randomBytes(size);
    const record = await upload("r\u00e9sum\u00e9 \u{1f4c4}.bin", bytes, "--tag", "a=1");
    const outcome = await download(record.id, "--json");
    expect(outcome).toMatchObject({ status: 0, stderr: "" });
    const file = join(cwd, record.name);
    expect(outcome.json()).toEqual({
      schema: "docproc.download/1",
      documents: [{ ...record, action: "downloaded", file }],
      failures: [],
      older: [],
      summary: {
        total: 1,
        downloaded: 1,
        present: 0,
        older: 0,
        failed: 0,
        bytes: size,
        durationMs: expect.any(Number),
      },
    });
    expect((await readFile(file)).equals(bytes)).toBe(true);
    expect(await files()).toEqual([record.name]);
  });

  test("goes into the file, or the directory, that -o names", async () => {
    const { cwd, run, download, upload, content, files } = await openDownloads(endpoint());
    await upload("a.txt", "a");
    await upload("b.txt", "b");
    await mkdir(join(cwd, "old"));
    expect(await download("a.txt", "-o", "copy.txt")).toMatchObject({ status: 0 });
    expect(await download("a.txt", "-o", "old")).toMatchObject({ status: 0 });
    expect(await download("a.txt", "-o", "new/deep/")).toMatchObject({ status: 0 });
    expect(await run(["get", "a.txt", "b.txt", "-o", "several"])).toMatchObject({ status: 0 });
    for (const name of ["copy.txt", "old/a.txt", "new/deep/a.txt", "several/a.txt"]) {
      expect(await content(name)).toBe("a");
    }
    expect(await content("several/b.txt")).toBe("b");
    expect(await files()).toEqual(["copy.txt", "new", "old", "several"]);
  });

  test("is not written over anything without --force", async () => {
    const { cwd, download, upload, content, files } = await openDownloads(endpoint());
    await upload("a.txt", "theirs");
    await writeFile(join(cwd, "a.txt"), "mine");
    const refused = await download("a.txt", "--json");
    expect(refused).toMatchObject({ status: 5 });
    expect(refused.json().failures).toMatchObject([{ ref: "a.txt", code: "CONFLICT" }]);
    expect(await content("a.txt")).toBe("mine");
    expect(await download("a.txt", "--force")).toMatchObject({ status: 0 });
    expect(await content("a.txt")).toBe("theirs");
    expect(await files()).toEqual(["a.txt"]);
  });

  test("that is damaged, or has no bytes, is not written", async () => {
    const { cwd, download, upload, content, files } = await openDownloads(endpoint());
    await writeFile(join(cwd, "flipped"), "mine");
    await tamper(await upload("flipped", randomBytes(1000)), endpoint(), flipBit);
    await tamper(await upload("shorter", "12345"), endpoint(), (bytes) => bytes.subarray(1));
    await tamper(await upload("longer", "12345"), endpoint(), (bytes) => Buffer.concat([bytes, bytes]));
    await tamper(await upload("gone", "12345"), endpoint(), () => null);
    for (const name of ["flipped", "shorter", "longer"]) {
      const outcome = await download(name, "--force", "--json");
      expect(outcome).toMatchObject({ status: 6, stderr: expect.stringContaining('"code":"INTEGRITY"') });
    }
    expect(await download("gone")).toMatchObject({ status: 3 });
    expect(await files()).toEqual(["flipped"]);
    expect(await content("flipped")).toBe("mine");
  });

  test.each(["..", "../evil", "/evil", "a/../../evil", ""])(
    "never leaves the directory under the path %j of a manipulated catalog",
    async (path) => {
      const { cwd, sandbox, download, upload, plant, files } = await openDownloads(endpoint());
      const planted = { ...(await upload("a.txt", "a")), id: newDocumentId(), path };
      await plant(planted);
      await mkdir(join(cwd, "target"));
      for (const argv of [[], ["-o", "target"], ["-o", "target/"]]) {
        expect(await download(planted.id, "--force", ...argv)).toMatchObject({ status: 6, stdout: "" });
      }
      expect(await files()).toEqual(["target"]);
      expect(await readdir(join(cwd, "target"))).toEqual([]);
      expect(await readdir(sandbox.root)).not.toContain("evil");
    },
  );

  test("needs another name where its own is longer than that of a file can be", async () => {
    const { download, upload, files } = await openDownloads(endpoint());
    const name = "\u00fc".repeat(200);
    await upload(name, "a");
    const refused = await download(name, "--json");
    expect(refused).toMatchObject({ status: 2 });
    expect(refused.json().failures).toMatchObject([{ code: "USAGE", hint: expect.stringContaining("-o FILE") }]);
    expect(await files()).toEqual([]);
    expect(await download(name, "-o", "short")).toMatchObject({ status: 0 });
    expect(await files()).toEqual(["short"]);
  });

  test("that is called like a hidden file is written where that was asked for", async () => {
    const { cwd, download, upload, content, files } = await openDownloads(endpoint());
    const names = [".bashrc", ".git", ".docprocrc.yaml"];
    const records = [];
    for (const name of names) records.push(await upload(name, name));
    const ids = records.map(({ id }) => id);
    for (const argv of [[ids[0] ?? ""], ["-o", "out/", ...ids]]) {
      const outcome = await download(...argv);
      expect(outcome).toMatchObject({ status: 2, stdout: "", stderr: expect.stringContaining("add --hidden") });
    }
    expect(await download(ids[0] ?? "", "-o", ".")).toMatchObject({ status: 2 });
    expect(await files()).toEqual([]);
    // Its name, a file for it, or the flag say that it is meant.
    expect(await download(".bashrc")).toMatchObject({ status: 0 });
    expect(await download(ids[1] ?? "", "-o", join(cwd, ".git"))).toMatchObject({ status: 0 });
    expect(await download(...ids, "-o", "all", "--hidden")).toMatchObject({ status: 0 });
    expect(await download(".git", ids[0] ?? "", "-o", "named")).toMatchObject({ status: 7 });
    expect(await files()).toEqual([".bashrc", ".git", "all", "named"]);
    for (const name of names) expect(await content(`all/${name}`)).toBe(name);
    expect(await readdir(join(cwd, "named"))).toEqual([".git"]);
  });

  test("whose bytes are said to be somewhere else is not found, and not guessed", async () => {
    const { download, upload, plant, files } = await openDownloads(endpoint());
    const record = await upload("a.txt", "a");
    for (const uri of ["s3://somebody-elses-bucket/k", `file:///elsewhere/${record.id}`, `${record.uri}-not`]) {
      const planted = { ...record, id: newDocumentId(), name: uri.slice(-9).replace("/", "_"), uri };
      await plant(planted);
      expect(await download(planted.id)).toMatchObject({ status: 3, stdout: "" });
    }
    expect(await files()).toEqual([]);
  });
});

describe("downloading several", () => {
  test("writes those that can be, and accounts for the others", async () => {
    const { run, download, upload, files } = await openDownloads();
    const [a, b] = [await upload("a.txt", "a"), await upload("b.txt", "bb")];
    const outcome = await download("a.txt", "missing", b.id, "--json");
    expect(outcome).toMatchObject({ status: 7 });
    expect(outcome.json()).toMatchObject({
      documents: [{ id: a.id }, { id: b.id }],
      failures: [{ ref: "missing", code: "NOT_FOUND" }],
      summary: { total: 3, downloaded: 2, failed: 1, bytes: 3 },
    });
    expect(await files()).toEqual(["a.txt", "b.txt"]);
    expect(await download("missing", "not there either")).toMatchObject({ status: 3 });
    const ids = await run(["download", "a.txt", "b.txt", "--force", "-q"]);
    expect(ids.stdout.trimEnd().split("\n").sort()).toEqual([a.id, b.id].sort());
    const lines = (await run(["download", "a.txt", "--force", "--ndjson"])).stdout.trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([{ id: a.id, action: "present" }]);
  });

  test.each([[[]], [["--force"]]])("never writes one over another of the same name, with %j", async (flags) => {
    const { download, upload, content, files } = await openDownloads();
    const [one, two] = [await upload("a.txt", "1"), await upload("a.txt", "2")];
    const outcome = await download(one.id, two.id, ...flags, "--json");
    expect(outcome).toMatchObject({ status: 7 });
    const { documents, failures } = outcome.json();
    expect(documents).toHaveLength(1);
    expect(failures).toMatchObject([{ code: "CONFLICT" }]);
    expect(await content("a.txt")).toBe(documents[0].id === one.id ? "1" : "2");
    expect(await files()).toEqual(["a.txt"]);
  });

  test("wants a directory, and not a file", async () => {
    const { cwd, download, upload, content } = await openDownloads();
    for (const name of ["a.txt", "b.txt"]) await upload(name, name);
    await writeFile(join(cwd, "file"), "mine");
    expect(await download("a.txt", "b.txt", "-o", "file", "--force")).toMatchObject({ status: 5, stdout: "" });
    expect(await download("a.txt", "-o", "file/", "--force")).toMatchObject({ status: 5, stdout: "" });
    expect(await content("file")).toBe("mine");
  });
});

describe("the file that is written", () => {
  test.each([0, 0o022, 0o077])("has the permissions that a umask of %i leaves", async (umask) => {
    const { run, cwd, upload } = await openDownloads();
    await upload("a.txt", "a");
    expect(await run(["download", "a.txt"], { umask })).toMatchObject({ status: 0 });
    expect((await stat(join(cwd, "a.txt"))).mode & 0o777).toBe(0o666 & ~umask);
  });

  test.each(["a file", "a directory", "nothing"])(
    "replaces a link to %s under --force, and not its target",
    async (to) => {
      const { cwd, sandbox, download, upload, content } = await openDownloads();
      await upload("a.txt", "theirs");
      const target = join(sandbox.root, "target");
      if (to === "a file") await writeFile(target, "mine");
      if (to === "a directory") await mkdir(target);
      await symlink(target, join(cwd, "a.txt"));
      expect(await download("a.txt")).toMatchObject({ status: 5 });
      expect(await readlink(join(cwd, "a.txt"))).toBe(target);
      expect(await download("a.txt", "--force")).toMatchObject({ status: 0 });
      expect((await lstat(join(cwd, "a.txt"))).isFile()).toBe(true);
      expect(await content("a.txt")).toBe("theirs");
      if (to === "a file") expect(await readFile(target, "utf8")).toBe("mine");
      else if (to === "a directory") expect(await readdir(target)).toEqual([]);
      else await expect(lstat(target)).rejects.toMatchObject({ code: "ENOENT" });
    },
  );

  test("goes through a link to a directory that -o names", async () => {
    const { cwd, sandbox, download, upload } = await openDownloads();
    await upload("a.txt", "a");
    const target = join(sandbox.root, "target");
    await mkdir(target);
    await symlink(target, join(cwd, "link"));
    expect(await download("a.txt", "-o", "link")).toMatchObject({ status: 0 });
    expect(await readdir(target)).toEqual(["a.txt"]);
  });

  test("never replaces a directory", async () => {
    const { cwd, download, upload, files } = await openDownloads();
    await upload("a.txt", "a");
    await mkdir(join(cwd, "a.txt"));
    for (const flags of [[], ["--force"]]) {
      expect(await download("a.txt", ...flags)).toMatchObject({ status: 5, stderr: expect.stringContaining("slash") });
    }
    expect(await readdir(join(cwd, "a.txt"))).toEqual([]);
    expect(await files()).toEqual(["a.txt"]);
  });

  test("is not made in a directory that is not there", async () => {
    const { download, upload, files } = await openDownloads();
    await upload("a.txt", "a");
    expect(await download("a.txt", "-o", "missing/a.txt")).toMatchObject({ status: 3, stdout: "" });
    expect(await files()).toEqual([]);
  });
});

test("a library that was moved as a whole still has its documents", async () => {
  const { sandbox, run, upload, content } = await openDownloads();
  const bytes = "these were moved";
  const record = await upload("a.txt", bytes);
  const moved = join(sandbox.root, "moved");
  await rename(sandbox.data, moved);
  expect(await run(["download", record.id, "--directory", moved])).toMatchObject({ status: 0 });
  expect(await content("a.txt")).toBe(bytes);
  expect(await run(["verify", "--all", "--deep", "--directory", moved])).toMatchObject({ status: 0 });
  expect(await run(["doctor", "--directory", moved])).toMatchObject({ status: 0 });
  expect(await run(["delete", record.id, "--yes", "--directory", moved])).toMatchObject({ status: 0 });
  expect(await readdir(join(moved, "objects"), { recursive: true })).not.toContainEqual(
    expect.stringMatching(/a\.txt/),
  );
});

describe("standard output", () => {
  test("takes one document as it is", async () => {
    const { download, upload, files } = await openDownloads();
    const bytes = randomBytes(100_000);
    await upload("a.bin", bytes);
    const outcome = await download("a.bin", "-o", "-");
    expect(outcome).toMatchObject({ status: 0, stderr: "" });
    expect(Buffer.from(outcome.stdout, "latin1").equals(bytes)).toBe(true);
    expect(await files()).toEqual([]);
  });

  test.each([
    ["several documents", ["a.txt", "b.txt"]],
    ["a JSON document as well", ["a.txt", "--json"]],
    ["lines of JSON as well", ["a.txt", "--ndjson"]],
    ["ids as well", ["a.txt", "-q"]],
  ])("does not take %s", async (_what, argv) => {
    const { download, upload } = await openDownloads();
    for (const name of ["a.txt", "b.txt"]) await upload(name, name);
    const outcome = await download("-o", "-", ...argv);
    expect(outcome).toMatchObject({ status: 2, stderr: expect.stringMatching(/standard output/i) });
    expect(outcome.stdout).not.toContain("a.txt");
  });

  test("is no terminal for what would garble it", async () => {
    const { run, upload } = await openDownloads();
    await upload("a.bin", randomBytes(100));
    const outcome = await run(["download", "a.bin", "-o", "-"], { terminal: 80 });
    expect(outcome).toMatchObject({ status: 2, stdout: "", stderr: expect.stringContaining("-o FILE") });
  });
});

test.each([[["download"]], [["download", "-o", "x"]], [["download", "a", "--output"]]])(
  "%j is a mistake of usage",
  async (argv) => {
    const { run } = await openDownloads();
    expect(await run(argv)).toMatchObject({
      status: 2,
      stdout: "",
      stderr: expect.stringMatching(/^error: .+\nhint: /),
    });
  },
);

/** `--format`, `-q` and `--null`: lines for other programs. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { commands } from "../../../src/cli/commands/registry.ts";
import { parseTemplate } from "../../../src/cli/output/template.ts";
import { itemFields } from "../../../src/schemas/items.ts";
import { openEmptyLibrary, openLibrary } from "../../support/library.ts";

describe("a template", () => {
  const fields = ["id", "name", "tags", "source", "size"];
  const value = {
    id: "1",
    name: "a b",
    size: 0,
    tags: { build: "42", "a.b": "dot", a: "plain", "": "empty" },
    source: { kind: "file", path: null },
  };

  test.each([
    ["{id}", "1"],
    ["{id}\\t{name}\\n", "1\ta b\n"],
    ["{size}", "0"],
    ["{tags.build}-{tags.none}-", "42--"],
    ["{tags.a.b} {tags.a} {tags.a.c}", "dot plain "],
    ["{source.path}{source.kind.length}", ""],
    ["{source}", '{"kind":"file","path":null}'],
    ["{{{id}}} {{id}}", "{1} {id}"],
    ["\\\\ \\0 \\r", "\\ \0 \r"],
    ["plain", "plain"],
    ["", ""],
    ["{tags.constructor} {tags.__proto__} {name.length}", "  "],
    ["$(touch x) `y` %s", "$(touch x) `y` %s"],
  ])("%s", (template, expected) => {
    expect(parseTemplate(template, fields)(value)).toBe(expected);
  });

  test.each([
    ["{nmae}", "Did you mean {name}?"],
    ["{}", "Fields: id, name, tags, source, size. Of tags: {tags.KEY}."],
    ["{constructor}", "Fields: id, name, tags, source, size. Of tags: {tags.KEY}."],
    ["{id", "Write {{ for a brace."],
    ["id}", "Write }} for a brace."],
    ["\\x", "Use \\n, \\t, \\r, \\0 or \\\\."],
    ["\\", "Use \\n, \\t, \\r, \\0 or \\\\."],
  ])("%s is none", (template, hint) => {
    expect(() => parseTemplate(template, fields)).toThrow(expect.objectContaining({ code: "USAGE", hint }));
  });
});

describe("--format", () => {
  test("prints a line for each, of every command that reports something", async () => {
    const { run, upload } = await openLibrary();
    const a = await upload("a.txt", "a", "--tag", "build=1");
    const b = await upload("b.txt", "b", "--tag", "line=1\n2");
    expect((await run(["list", "--asc", "--format", "{name}:{tags.build}"])).stdout).toBe("a.txt:1\nb.txt:\n");
    expect((await run(["show", "a.txt", "--format", "{id} {uri}"])).stdout).toBe(`${a.id} ${a.uri}\n`);
    expect((await run(["tag", "a.txt", "x=1", "--format", "{action} {tags}"])).stdout).toBe(
      'tagged {"build":"1","x":"1"}\n',
    );
    expect((await run(["download", "a.txt", "--format", "{path} {file}"])).stdout).toMatch(/^a\.txt \/.*\/a\.txt\n$/);
    expect((await run(["stats", "--format", "{count} {bytes}"])).stdout).toBe("2 2\n");
    expect((await run(["config", "--format", "{name}={value}"])).stdout).toContain("retries=5\n");
    expect((await run(["doctor", "--format", "{check}{code}"])).stdout).toContain("config\n");
    expect((await run(["delete", b.id, "--yes", "--format", "{tags.line}", "--null"])).stdout).toBe("1\n2\0");
  });

  test("prints an upload's lines as they come, and failures beside them", async () => {
    const { run, sandbox } = await openEmptyLibrary();
    await writeFile(join(sandbox.cwd, "a.txt"), "a");
    const outcome = await run(["upload", "a.txt", "missing.txt", "--format", "{action} {name} {bytesSent}"]);
    expect(outcome).toMatchObject({ status: 7, stdout: "uploaded a.txt 1\n" });
    expect(outcome.stderr).toContain("missing.txt");
    expect((await run(["upload", "a.txt", "--dry-run", "--format", "[{id}]"])).stdout).toMatch(/^\[[0-9a-f-]{36}\]\n$/);
    await writeFile(join(sandbox.cwd, "b.txt"), "b");
    expect((await run(["upload", "b.txt", "--dry-run", "--format", "[{id}]"])).stdout).toBe("[]\n");
  });

  test("shows what would move the cursor on a terminal, and gives it to a pipe as it is", async () => {
    const { run, upload } = await openLibrary();
    await upload("a.txt", "a", "--tag", "k=\u001b[31m");
    expect((await run(["list", "--format", "{tags.k}"])).stdout).toBe("\u001b[31m\n");
    const onTerminal = await run(["list", "--format", "{tags.k}\\t{size}"], { terminal: 80 });
    expect(onTerminal.stdout).toBe("\\e[31m\t1\n");
  });

  test.each([
    [["list", "--format", "{nmae}"], /no field "nmae"/],
    [["upload", "missing", "--format", "{"], /not a template/],
    [["cat", "a", "--format", "{id}"], /has nothing for --format/],
    [["list", "--format", "{id}", "--json"], /cannot be used with/],
    [["list", "--format", "{id}", "--ndjson"], /cannot be used with/],
    [["list", "--format", "{id}", "-q"], /cannot be used with/],
    [["list", "--null"], /--null needs/],
    [["list", "--null", "--json"], /cannot be used with/],
  ])("%j is refused before anything is done", async (argv, message) => {
    const { run } = await openEmptyLibrary();
    const outcome = await run(argv);
    expect({ status: outcome.status, stderr: outcome.stderr }).toEqual({
      status: 2,
      stderr: expect.stringMatching(message),
    });
  });

  test("knows the fields of every command that prints a document", () => {
    for (const { name } of commands) {
      if (["cat", "completion"].includes(name)) expect(itemFields(name)).toBeUndefined();
      else expect({ name, fields: itemFields(name)?.length }).toEqual({ name, fields: expect.any(Number) });
    }
    expect(itemFields("list")).toEqual(itemFields("show"));
    expect(itemFields("upload")).toEqual([...(itemFields("list") ?? []), "action", "bytesSent"]);
    expect(itemFields("doctor")).toEqual(expect.arrayContaining(["check", "code", "fix"]));
  });
});

test("-q prints ids, and nothing where there are none", async () => {
  const { run, upload, sandbox } = await openLibrary();
  const { id } = await upload("a.txt", "a");
  await writeFile(join(sandbox.cwd, "a.txt"), "a");
  const printed: Record<string, readonly [argv: string[], stdout: string]> = {
    init: [[], ""],
    upload: [["a.txt"], `${id}\n`],
    list: [[], `${id}\n`],
    show: [["a.txt"], `${id}\n`],
    tag: [["a.txt", "a=1"], `${id}\n`],
    stats: [[], ""],
    url: [["a.txt"], ""],
    policy: [["read"], ""],
    download: [["a.txt", "-o", "copy.txt"], `${id}\n`],
    verify: [["a.txt"], ""],
    config: [[], ""],
    doctor: [[], ""],
    destroy: [["--plan"], ""],
    copy: [["--to", "none"], ""],
    export: [["-o", "records.ndjson"], ""],
    import: [["records.ndjson"], `${id}\n`],
    delete: [["a.txt", "--yes"], `${id}\n`],
  };
  for (const [name, [argv, stdout]] of Object.entries(printed)) {
    expect({ name, stdout: (await run([name, ...argv, "-q"])).stdout }).toEqual({ name, stdout });
  }
});

describe("--null", () => {
  test("ends lines with NUL, whatever is in them", async () => {
    const { run, upload } = await openLibrary();
    const a = await upload("a.txt", "a", "--tag", "line=1\n2");
    const b = await upload("b.txt", "b");
    expect((await run(["list", "--asc", "-q", "-0"])).stdout).toBe(`${a.id}\0${b.id}\0`);
    expect((await run(["list", "--asc", "--null", "--format", "{name}:{tags.line}"])).stdout).toBe(
      "a.txt:1\n2\0b.txt:\0",
    );
  });

  test("reads lists of paths that end with it, as find -print0 makes them", async () => {
    const { run, sandbox } = await openEmptyLibrary();
    const names = ["plain.txt", "two\nlines/a.txt", " space "];
    await mkdir(join(sandbox.cwd, "two\nlines"));
    for (const name of names) await writeFile(join(sandbox.cwd, name), name);
    const stdin = names.map((name) => `${name}\0`).join("");
    const outcome = await run(["upload", "--files-from", "-", "--null"], { stdin });
    expect(outcome.status).toBe(0);
    expect((await run(["list", "--asc", "--null", "--format", "{name}"])).stdout.split("\0").sort()).toEqual(
      ["", "plain.txt", "a.txt", " space "].sort(),
    );
    const without = await run(["upload", "--files-from", "-", "--json"], { stdin });
    expect(without.json()).toMatchObject({ code: "USAGE", hint: expect.stringContaining("--null") });
  });
});

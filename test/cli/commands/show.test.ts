/** `docproc show`: which document a reference means, and how it is shown. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openEmptyLibrary, places, usePlace } from "../../support/library.ts";

interface Shown {
  readonly id: string;
  readonly name: string;
}

async function openLibrary(endpoint?: string) {
  const { sandbox, run } = await openEmptyLibrary(endpoint);
  return {
    run,
    show: async (reference: string): Promise<Shown> => (await run(["show", reference, "--json"])).json(),
    async upload(content: string, name: string, ...argv: string[]): Promise<Shown> {
      await writeFile(join(sandbox.cwd, "file"), content);
      const { documents } = (await run(["upload", "file", "--name", name, ...argv, "--json"])).json();
      const { action: _action, bytesSent: _bytesSent, ...record } = documents[0];
      return record;
    },
  };
}

/** The longest text that both start with. */
function commonStart(a: string, b: string): string {
  let length = 0;
  while (a[length] === b[length]) length += 1;
  return a.slice(0, length);
}

describe.each(Object.entries(places))("a document of %s", (_place, start) => {
  const endpoint = usePlace(start);

  test("is found by its id in either case, and shown with every field", async () => {
    const { run, show, upload } = await openLibrary(endpoint());
    const record = await upload("1", "a.txt", "--tag", "__proto__=x", "--meta", "k=v");
    const shown = await run(["show", record.id, "--json"]);
    expect(Object.keys(shown.json())).toEqual(["schema", ...Object.keys(record)]);
    expect(shown.json()).toEqual({ schema: "docproc.record/1", ...record });
    expect(Object.entries(shown.json().tags)).toEqual([["__proto__", "x"]]);
    expect(await show(record.id.toUpperCase())).toMatchObject({ id: record.id });
    expect((await run(["show", record.id, "-q"])).stdout).toBe(`${record.id}\n`);
    const lines = (await run(["show", record.id, "--ndjson"])).stdout.split("\n");
    expect(lines.map((line) => line && JSON.parse(line))).toEqual([shown.json(), ""]);
  });

  test("is the newest version of its path, and the others are listed with it", async () => {
    const { run, show, upload } = await openLibrary(endpoint());
    const versions = [
      await upload("1", "a/b.txt"),
      await upload("2", "a/b.txt", "--tag", "k=v"),
      await upload("3", "a/b.txt"),
    ];
    await upload("4", "b.txt");
    const newestFirst = versions.map(({ id }) => id).reverse();
    expect(await show("a/b.txt")).toMatchObject({ id: newestFirst[0] });
    const person = { terminal: 200 };
    expect((await run(["show", "a/b.txt"], person)).stderr).toContain("a/b.txt has 2 other versions");
    expect((await run(["show", "b.txt"], person)).stderr).not.toContain("version");
    const listed = await run(["show", newestFirst[2] ?? "", "--versions", "--json"]);
    expect(listed.json()).toMatchObject({ schema: "docproc.list/1", count: 3, nextCursor: null });
    expect(listed.json().documents.map(({ id }: Shown) => id)).toEqual(newestFirst);
    expect((await run(["show", "a/b.txt", "--versions", "-q"])).stdout).toBe(`${newestFirst.join("\n")}\n`);
    const table = (await run(["show", "a/b.txt", "--versions"])).stdout;
    expect(table.split("\n").map((line) => line.split("\t").at(-1))).toEqual([...newestFirst, ""]);
  });

  test("is found by the beginning of its id that no other document has", async () => {
    const { show, upload } = await openLibrary(endpoint());
    const [a, b] = [await upload("1", "a.txt"), await upload("2", "b.txt")];
    const unique = commonStart(a.id, b.id).length + 1;
    expect(await show(a.id.slice(0, unique))).toMatchObject({ id: a.id });
    expect(await show(b.id.slice(0, unique))).toMatchObject({ id: b.id });
    expect(await show(b.id.slice(0, 35))).toMatchObject({ id: b.id });
  });

  test("is not guessed from a beginning that several ids have: the candidates are named", async () => {
    const { run, upload } = await openLibrary(endpoint());
    const [a, b] = [await upload("1", "a.txt"), await upload("2", "b.txt")];
    const prefix = commonStart(a.id, b.id);
    const human = await run(["show", prefix]);
    expect(human).toMatchObject({ status: 5, stdout: "" });
    expect(human.stderr).toContain(prefix);
    for (const { id } of [a, b]) expect(human.stderr).toContain(id);
    expect((await run(["show", prefix, "--json"])).json()).toMatchObject({ code: "CONFLICT" });
  });

  test("is found by name in either Unicode form, and is the newest of that name", async () => {
    const { show, upload } = await openLibrary(endpoint());
    await upload("1", "Zoë.txt");
    const newest = await upload("2", "Zoe\u0308.txt");
    await upload("3", "zoë.txt");
    expect(newest.name).toBe("Zo\u00eb.txt");
    for (const name of ["Zo\u00eb.txt", "Zoe\u0308.txt"]) expect(await show(name)).toMatchObject({ id: newest.id });
    const again = await upload("1", "Zoë.txt", "--on-duplicate", "store");
    expect(await show("Zoë.txt")).toMatchObject({ id: again.id });
  });

  test("is found by a name that looks like the beginning of ids", async () => {
    const { show, upload } = await openLibrary(endpoint());
    const other = await upload("1", "a.txt");
    const named = await upload("2", other.id.slice(0, 4));
    expect(await show(other.id.slice(0, 4))).toMatchObject({ id: named.id });
  });

  test.each([
    ["a name that none has", "missing.txt"],
    ["an id that none has", "01234567-89ab-7def-8123-456789abcdef"],
    ["the beginning of no id", "0000"],
    ["a property of every object", "__proto__"],
    ["a wildcard", "%"],
    ["empty text", ""],
    ["more text than a name can have", "x".repeat(5_000)],
  ])("is not found by %s", async (_what, reference) => {
    const { run, upload } = await openLibrary(endpoint());
    await upload("1", "a.txt");
    const human = await run(["show", reference]);
    expect(human).toMatchObject({ status: 3, stdout: "" });
    expect(human.stderr).toMatch(/^error: .+\nhint: {2}.+\n$/);
    const machine = await run(["show", reference, "--json"]);
    expect(machine.json()).toMatchObject({ schema: "docproc.error/1", code: "NOT_FOUND", retryable: false });
  });
});

test("a person sees a line for every fact, with what could move the cursor escaped", async () => {
  const { run, upload } = await openLibrary();
  const record = await upload("1", "a\u202e.txt", "--tag", "build=\u001b[2J", "--meta", "note=x");
  const { stdout } = await run(["show", record.id], { terminal: 80 });
  const facts = Object.fromEntries(
    stdout
      .trimEnd()
      .split("\n")
      .map((line) => [line.slice(0, 9).trim(), line.slice(10)]),
  );
  expect(facts).toMatchObject({
    id: record.id,
    path: "a\\u{202e}.txt",
    size: "1 B",
    type: "text/plain",
    sha256: "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b",
    uri: expect.stringMatching(/^file:\/\/\/.+\.txt$/),
    source: "file",
    tag: "build=\\e[2J",
    meta: "note=x",
  });
});

test("a person sees when a document expires, if it does", async () => {
  const { run, upload } = await openLibrary();
  await upload("1", "a.txt");
  await upload("2", "b.txt", "--expires", "2030-01-31");
  expect((await run(["show", "a.txt"])).stdout).not.toContain("expires");
  expect((await run(["show", "b.txt"])).stdout).toMatch(/^expires {3}2030-01-31T00:00:00\.000Z$/m);
});

test.each([[["show"]], [["show", "a", "b"]]])("%j is a mistake of usage", async (argv) => {
  const { run } = await openLibrary();
  expect(await run(argv)).toMatchObject({ status: 2, stdout: "", stderr: expect.stringMatching(/^error: .+\nhint: /) });
});

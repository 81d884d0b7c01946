/** `docproc list`: what it lists, in which order, page by page, and in which form. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import stringWidth from "string-width";
import { describe, expect, test } from "vitest";
import { openEmptyLibrary, places, usePlace } from "../../support/library.ts";
import { makeSandbox, runDocproc } from "../../support/run.ts";

interface Listed {
  readonly id: string;
  readonly name: string;
}
const names = (documents: readonly Listed[]) => documents.map(({ name }) => name);

async function openLibrary(endpoint?: string) {
  const { sandbox, run } = await openEmptyLibrary(endpoint);
  return {
    run,
    list: async (...argv: string[]): Promise<Listed[]> => (await run(["list", ...argv, "--json"])).json().documents,
    async upload(name: string, ...argv: string[]): Promise<Listed> {
      await writeFile(join(sandbox.cwd, name), name);
      const outcome = await run(["upload", name, ...argv, "--json"]);
      expect(outcome.status).toBe(0);
      return outcome.json().documents[0];
    },
  };
}

describe.each(Object.entries(places))("a listing of %s", (_place, start) => {
  const endpoint = usePlace(start);

  test("has the newest document first, or with --asc the oldest", async () => {
    const { run, list, upload } = await openLibrary(endpoint());
    for (const name of ["b", "a", "d", "c"]) await upload(name);
    expect(names(await list())).toEqual(["c", "d", "a", "b"]);
    expect(names(await list("--asc"))).toEqual(["b", "a", "d", "c"]);
    expect((await run(["ls", "--json"])).json()).toMatchObject({ schema: "docproc.list/1", count: 4 });
  });

  test("has what a few letters, a folder, a glob and the absence of a tag say", async () => {
    const { run } = await openLibrary(endpoint());
    const upload = async (path: string, ...argv: string[]) => {
      const outcome = await run(["upload", "-", "--name", path, "-q", ...argv], { stdin: path });
      expect(outcome.status).toBe(0);
    };
    await upload("Scans/Invoice.pdf", "--tag", "seen=yes");
    await upload("Scans/2026/e\u0301te.txt");
    await upload("Scans.old/invoice.txt", "--tag", "seen=no", "--tag", "job=1");
    await upload("invoice.pdf");
    await upload("Scans/Invoice.pdf", "--tag", "job=2");
    const paths = async (...argv: string[]) => {
      const { documents } = (await run(["list", ...argv, "--json"])).json();
      return documents.map(({ path }: { path: string }) => path);
    };
    const [invoice, ete, old, top] = [
      "Scans/Invoice.pdf",
      "Scans/2026/éte.txt",
      "Scans.old/invoice.txt",
      "invoice.pdf",
    ];
    expect(await paths("invoice")).toEqual([invoice, top, old, invoice]);
    expect(await paths("Invoice")).toEqual([invoice, invoice]);
    expect(await paths("E\u0301")).toEqual([]);
    expect(await paths("e\u0301")).toEqual([ete]);
    expect(await paths("scans/", "--latest")).toEqual([invoice, ete]);
    expect(await paths("*.PDF")).toEqual([]);
    expect(await paths("*.pdf", "-n", "2")).toEqual([invoice, top]);
    expect(await paths("scans/**/*.txt")).toEqual([ete]);
    expect(await paths("--under", "Scans/")).toEqual([invoice, ete, invoice]);
    expect(await paths("--under", "Scan")).toEqual([]);
    expect(await paths("--under", "Scans/2026", "--name", "e\u0301*")).toEqual([ete]);
    expect(await paths("--path", "*.pdf")).toEqual([top]);
    expect(await paths("--path", "Scans/Invoice.pdf")).toEqual([invoice, invoice]);
    expect(await paths("--not-tag", "seen=yes", "--not-tag", "job=1")).toEqual([invoice, top, ete]);
    expect(await paths("--tag", "seen")).toEqual([old, invoice]);
    expect(await paths("--not-tag", "seen", "--not-tag", "job")).toEqual([top, ete]);
    // The newest of each path that matches, not those of the newest that match.
    expect(await paths("--latest", "--tag", "seen")).toEqual([old, invoice]);
    expect(await paths("--latest", "--asc")).toEqual([ete, old, top, invoice]);
  });

  test.each([
    ["", "What to list"],
    ["/", "What to list"],
  ])("is refused for %j, which may be an unset variable", async (what, message) => {
    const { run } = await openLibrary(endpoint());
    expect(await run(["list", what])).toMatchObject({ status: 2, stderr: expect.stringContaining(message) });
    expect(await run(["list", "--under", what])).toMatchObject({ status: 2 });
    for (const flag of ["--tag", "--not-tag"])
      expect(await run(["list", flag, what && "=x"])).toMatchObject({ status: 2 });
    expect(await run(["list", "--sha256", "abcdef"])).toMatchObject({ status: 2 });
  });

  test.each(["--asc", "--json"])("comes in pages that leave nothing out and repeat nothing, with %s", async (order) => {
    const { run, list, upload } = await openLibrary(endpoint());
    for (const name of ["a", "b", "c", "d", "e"]) await upload(name, "--tag", `x=${name === "c" ? 2 : 1}`);
    const seen: Listed[] = [];
    let cursor: string[] = [];
    for (const expected of [2, 2, 1]) {
      const page = (await run(["list", "--limit", "2", ...cursor, order, "--json"])).json();
      expect(Object.keys(page)).toEqual(["schema", "documents", "count", "nextCursor"]);
      expect(page.documents).toHaveLength(expected);
      expect(page.count).toBe(expected);
      expect(page.nextCursor).toBe(expected === 2 ? page.documents[1].id : null);
      seen.push(...page.documents);
      cursor = ["--cursor", page.nextCursor];
    }
    expect(seen).toEqual(await list("--all", order));
    const filtered = (await run(["list", "--limit", "3", "--tag", "x=1", order, "--json"])).json();
    const rest = (await run(["list", "--tag", "x=1", "--cursor", filtered.nextCursor, order, "--json"])).json();
    expect(names([...filtered.documents, ...rest.documents]).sort()).toEqual(["a", "b", "d", "e"]);
    const exact = (await run(["list", "--limit", "5", order, "--json"])).json();
    expect(exact).toMatchObject({ count: 5, nextCursor: null });
  });

  test("holds only what has the tags, the name, the type and the time asked for", async () => {
    const { run, list, upload } = await openLibrary(endpoint());
    await upload("Invoice (1).pdf", "--tag", "team=a", "--tag", "build=1", "--content-type", "application/pdf");
    await upload(".hidden.pdf", "--tag", "team=b", "--tag", "__proto__=x", "--content-type", "application/pdf");
    await upload("photo.png", "--tag", "team=a", "--content-type", "image/png");
    expect(names(await list("--tag", "team=a"))).toEqual(["photo.png", "Invoice (1).pdf"]);
    expect(names(await list("--tag", "team=a", "--tag", "build=1"))).toEqual(["Invoice (1).pdf"]);
    expect(names(await list("--tag", "__proto__=x"))).toEqual([".hidden.pdf"]);
    expect(names(await list("--tag", "constructor=x"))).toEqual([]);
    expect(names(await list("--name", "*.pdf"))).toEqual([".hidden.pdf", "Invoice (1).pdf"]);
    expect(names(await list("--name", "Invoice (1).pdf"))).toEqual(["Invoice (1).pdf"]);
    expect(names(await list("--type", "image"))).toEqual(["photo.png"]);
    expect(names(await list("--type", "image/*", "--tag", "team=b"))).toEqual([]);
    const [newest] = await list();
    const hour = 3_600_000;
    const inTwoHours = { now: () => Date.now() + 2 * hour };
    const within = async (...argv: string[]) => (await run(["list", ...argv, "--json"], inTwoHours)).json().count;
    expect(await within("--since", "1h")).toBe(0);
    expect(await within("--since", "3h")).toBe(3);
    expect(await within("--until", "1h")).toBe(3);
    expect(await within("--since", "3h", "--until", "150m")).toBe(0);
    const day = (newest as unknown as { uploadedAt: string }).uploadedAt.slice(0, 10);
    expect(await within("--since", "2020-01-01", "--until", `${day}T00:00:00Z`)).toBe(0);
    expect(await within("--since", "2020-01-01T00:00+02:00")).toBe(3);
  });

  test("of nothing is empty and no failure", async () => {
    const { run } = await openLibrary(endpoint());
    expect(await run(["list"])).toEqual({
      status: 0,
      stdout: "",
      stderr: "No documents.\n",
      json: expect.any(Function),
    });
    const empty = await run(["list", "--json"]);
    expect(empty).toMatchObject({ status: 0, stderr: "" });
    expect(empty.json()).toEqual({ schema: "docproc.list/1", count: 0, documents: [], nextCursor: null });
    expect(await run(["list", "--ndjson"])).toMatchObject({ status: 0, stdout: "", stderr: "" });
    expect(await run(["list", "-q"])).toMatchObject({ status: 0, stdout: "", stderr: "" });
  });

  test("is ids only under -q, and a record a line under --ndjson", async () => {
    const { run, list, upload } = await openLibrary(endpoint());
    for (const name of ["a", "b"]) await upload(name, "--tag", "t=\u2028");
    const records = await list();
    expect((await run(["list", "-q"])).stdout).toBe(records.map(({ id }) => `${id}\n`).join(""));
    const { stdout } = await run(["list", "--ndjson"]);
    expect(stdout.split(/[\n\u2028]/).filter((line) => line !== "")).toHaveLength(2);
    expect(
      stdout
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line)),
    ).toEqual(records);
  });
});

describe("a listing for a person", () => {
  test("ends after fifty documents and says how to go on", async () => {
    const sandbox = await makeSandbox();
    const files = Array.from({ length: 51 }, (_, n) => `${n}.txt`);
    for (const name of files) await writeFile(join(sandbox.cwd, name), name);
    await runDocproc(sandbox, ["upload", ...files]);
    const first = await runDocproc(sandbox, ["list"]);
    const rows = first.stdout.trimEnd().split("\n");
    expect(rows).toHaveLength(50);
    const last = rows[49]?.split("\t").at(-1) ?? "";
    expect(first.stderr).toContain(`--cursor ${last}`);
    expect((await runDocproc(sandbox, ["list", "--cursor", last])).stdout.trimEnd().split("\n")).toHaveLength(1);
    const all = await runDocproc(sandbox, ["list", "--all"]);
    expect(all.stdout.trimEnd().split("\n")).toHaveLength(51);
    expect(all.stderr).toBe("");
  });

  test.each(["-q", "--ndjson"])("is not cut short in silence with %s", async (form) => {
    const { run, upload } = await openLibrary();
    await upload("a.txt");
    const newest = await upload("b.txt");
    const { stdout, stderr } = await run(["list", "--limit", "1", form]);
    expect(stdout.trimEnd().split("\n")).toHaveLength(1);
    expect(stderr).toContain(newest.id);
    expect((await run(["list", "--limit", "2", form])).stderr).toBe("");
  });

  test("is tab-separated in a pipe, with nothing cut", async () => {
    const { run, upload } = await openLibrary();
    const name = `${"long ".repeat(30)}\u202e.txt`;
    const document = await upload(name, "--tag", "b=2\t\u001b[31m", "--tag", "a=1");
    const [shown, ...rest] = (await run(["list"])).stdout.split("\t");
    expect(shown).toBe(`${"long ".repeat(30)}\\u{202e}.txt`);
    const uploadedAt = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z$/);
    const size = String(Buffer.byteLength(name));
    expect(rest).toEqual([size, uploadedAt, "a=1 b=2\\t\\e[31m", "text/plain", `${document.id}\n`]);
  });

  test.each([60, 80, 120, 400])("is a table no wider than a terminal of %i columns", async (terminal) => {
    const { run, upload } = await openLibrary();
    await upload(`${"報告書".repeat(20)}.txt`, "--tag", `team=${"x".repeat(100)}`);
    await upload("b.txt");
    const { stdout } = await run(["list"], { terminal });
    const lines = stdout.trimEnd().split("\n");
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/^PATH +SIZE .*\bID$/);
    for (const line of lines) expect(stringWidth(line)).toBeLessThanOrEqual(terminal);
    expect(stdout.includes("報告書".repeat(20))).toBe(terminal === 400);
    expect(lines[1]).toMatch(/^b\.txt +5 B .*[0-9a-f-]{36}$/);
  });

  test("shortens a long name on a terminal before it leaves out when documents came", async () => {
    const { run, upload } = await openLibrary();
    await upload("a long name ".repeat(10));
    const { stdout } = await run(["list"], { terminal: 100, now: () => Date.now() + 3 * 86_400_000 });
    expect(stdout).toMatch(/^a long name .*… .* 3 days ago .*[0-9a-f-]{36}$/m);
  });

  test.each([
    ["a limit of nothing", ["--limit", "0"]],
    ["a limit that is no number", ["--limit", "many"]],
    ["an empty limit", ["--limit", ""]],
    ["a limit and no limit", ["--limit", "1", "--all"]],
    ["a time that is none", ["--since", "yesterday-ish"]],
    ["a day that is none", ["--since", "2026-02-30"]],
    ["an end before the start", ["--since", "1d", "--until", "2d"]],
    ["a cursor that is none", ["--cursor", "page2"]],
    ["a tag without a key", ["--tag", "=build"]],
    ["an empty name", ["--name", ""]],
    ["a flag that does not exist", ["--limt", "1"]],
    ["two arguments", ["*.pdf", "*.txt"]],
  ])("is refused for %s", async (_what, argv) => {
    const { run } = await openLibrary();
    const human = await run(["list", ...argv]);
    expect(human).toMatchObject({ status: 2, stdout: "", stderr: expect.stringMatching(/^error: .+\nhint: {2}.+\n$/) });
    const machine = await run(["list", ...argv, "--json"]);
    expect(machine.json()).toMatchObject({ schema: "docproc.error/1", code: "USAGE" });
    expect(JSON.parse(machine.stderr)).toEqual(machine.json());
  });
});

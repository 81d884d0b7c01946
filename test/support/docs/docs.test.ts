/** That the runner of the documentation's examples notices what it is there to notice. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test as base, describe, expect, onTestFinished } from "vitest";
import { Ids, sameOutput } from "./compare.ts";
import { brokenLinks } from "./links.ts";
import { parsePage } from "./page.ts";
import { runPage } from "./run.ts";
import { startMachine } from "./shell.ts";

const fence = (language: string, text: string) => `\`\`\`${language}\n${text}\n\`\`\`\n`;
const test = base.extend<{ problemsOf: (text: string) => Promise<string> }>({
  // biome-ignore lint/correctness/noEmptyPattern: vitest wants to see what a fixture uses.
  problemsOf: async ({}, use) => {
    const machine = await startMachine();
    onTestFinished(() => machine.close());
    await use(async (text) => (await runPage(parsePage("page.md", text), text, machine)).problems.join("\n"));
  },
});

describe("a page", () => {
  test("that shows what happens is right, whatever differs from run to run", async ({ problemsOf }) => {
    const session = [
      "$ docproc upload invoice.pdf",
      "uploaded  01a21000-0000-7000-8000-000000000001  invoice.pdf  48.2 kB",
      "$ docproc show 01a21000-0000-7000 --json | jq -r .id | sed s/0/0/",
      "01a21000-0000-7000-8000-000000000001",
      "$ docproc upload \\",
      ">   invoice.pdf -q",
      "01a21000-0000-7000-8000-000000000001",
      "$ docproc show nothing",
      "…",
      "$ echo $?",
      "3",
    ].join("\n");
    expect(await problemsOf(fence("console", session))).toBe("");
  });

  test.for([
    ["other output", "$ echo a\nb", "page.md:2: shows something else than what was printed: echo a\n    a"],
    ["a line too few", "$ printf 'a\\nb\\n'\na", "page.md:2: shows"],
    ["a line too many", "$ echo a\na\nb", "page.md:2: shows"],
    ["a failure without its status", "$ false", 'page.md:2: status 1, and no "$ echo $?" below'],
    ["another status", "$ false\n$ echo $?\n2", "page.md:3: shows"],
    [
      "another size",
      "$ docproc upload notes.txt\nuploaded  01a21000-0000-7000-8000-000000000001  notes.txt  32 B",
      "page.md:2: shows",
    ],
    [
      "one id for two documents",
      "$ docproc upload -q notes.txt\n01a21000-0000-7000-8000-000000000001\n$ docproc upload -q invoice.pdf\n01a21000-0000-7000-8000-000000000001",
      "page.md:4: shows",
    ],
    ["what follows the end of the shell", "$ exit 3\n$ echo $?\n3", "page.md:2: ended the shell"],
  ] as const)("that shows %s is wrong", async ([, session, problem], { problemsOf }) => {
    expect(await problemsOf(fence("console", session))).toContain(problem);
  });

  test("with a script fails where one of its commands does", async ({ problemsOf }) => {
    expect(await problemsOf(fence("sh", "docproc show nothing | cat\necho done"))).toMatch(
      /page.md:1: failed with status/,
    );
    expect(await problemsOf(fence("sh", "echo done"))).toMatch(/page.md:1: failed with status/);
  });

  test("keeps what a block exports, writes and changes into", async ({ problemsOf }) => {
    const page = [
      "<!-- run: export A=1 -->",
      "<!-- file: sub/data.json -->",
      fence("json", "{}"),
      fence("sh", "cd sub\nB=2"),
      fence("console", "$ echo $A $B; cat data.json; pwd\n1 2\n{}\n/home/ada/project/sub"),
    ].join("\n");
    expect(await problemsOf(page)).toBe("");
  });

  test("can make the service fail, and work again", async ({ problemsOf }) => {
    const fault = { operation: "PutObject", action: { kind: "status", status: 403, code: "AccessDenied" } };
    const page = [
      fence("sh", "docproc init --bucket documents"),
      `<!-- fault: ${JSON.stringify(fault)} -->`,
      fence("console", "$ docproc upload notes.txt 2>/dev/null\n$ echo $?\n4"),
      "<!-- fault: none -->",
      fence("sh", "docproc upload notes.txt"),
    ].join("\n");
    expect(await problemsOf(page)).toBe("");
  });

  test("can interrupt a command that waits, and only one that does", async ({ problemsOf }) => {
    const page = [
      fence("sh", "docproc init --bucket documents"),
      '<!-- fault: {"operation": "PutObject", "action": {"kind": "black-hole"}} -->',
      fence("console", "$ docproc upload notes.txt\n^C\n…\n$ echo $?\n130\n$ docproc upload notes.txt\n…"),
    ].join("\n");
    expect(await problemsOf(page)).toBe("");
    await expect(problemsOf(fence("console", "$ true\n^C"))).rejects.toThrow("can be interrupted");
  });

  test("can be brought up to date", async () => {
    const machine = await startMachine();
    onTestFinished(() => machine.close());
    const page = (first: string, last: string) =>
      `- In a list:\n\n${fence("console", `$ echo a\n${first}\n$ echo b\n${last}`).replaceAll(/^(?=.)/gm, "  ")}\nEnd.\n`;
    const { text } = await runPage(parsePage("page.md", page("x\n  y", "z")), page("x\n  y", "z"), machine);
    expect(text).toBe(page("a", "b"));
  });
});

describe("the convention", () => {
  test("knows what is not run, and why", () => {
    const page = parsePage(
      "page.md",
      `<!-- not run: needs root -->\n${fence("sh", "sudo rm -r /")}\n${fence("sh", "true")}`,
    );
    expect(page.notRun).toEqual([{ line: 2, reason: "needs root" }]);
    expect(page.steps).toMatchObject([{ kind: "script", text: "true" }]);
  });

  test.for([
    ["a block without a reason", `<!-- not run: -->\n${fence("sh", "true")}`],
    ["a session without a command", fence("console", "output")],
    ["a language that is not run", fence("bash", "true")],
    ["a fault that is none", "<!-- fault: {what} -->\n"],
  ] as const)("refuses %s", ([, text]) => {
    expect(() => parsePage("page.md", text)).toThrow(/^page\.md:[12]: /);
  });

  test("compares lines in any order where the page says so, and elides", () => {
    const same = (shown: string[], printed: string[], anyOrder = false) =>
      sameOutput(shown, printed, anyOrder, new Ids());
    expect(same(["a", "b"], ["b", "a"])).toBe(false);
    expect(same(["a", "b"], ["b", "a"], true)).toBe(true);
    expect(same(["a", "…", "d"], ["a", "b", "c", "d"])).toBe(true);
    expect(same(["a", "…", "d"], ["a", "b", "c"])).toBe(false);
    expect(
      same(
        ["2026-01-01T00:00:00.000Z  12 seconds ago", "3 sent in 118ms."],
        ["2026-11-25T04:01:32Z  just now", "3 sent in 2s."],
      ),
    ).toBe(true);
  });
});

describe("links", () => {
  test("are followed to files and headings, not to other sites", async () => {
    const folder = await mkdtemp(join(tmpdir(), "docproc-links-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const page = join(folder, "page.md");
    await writeFile(join(folder, "other.md"), "# `THE_CODE`\n\n# Twice\n\n# Twice\n");
    await writeFile(
      page,
      "# Here\n[a](other.md) [b](other.md#the_code) [c](#here) [d](https://example.com/x) [e](other.md#twice-1)\n" +
        "[f](gone.md) [g](other.md#gone) ![h](gone.svg) [i](#gone)\n\n[j]: gone.txt\n",
    );
    const broken = brokenLinks(page).map((link) => link.slice(page.length));
    expect(broken).toEqual([":3: gone.md", ":3: other.md#gone", ":3: gone.svg", ":3: #gone", ":5: gone.txt"]);
  });
});

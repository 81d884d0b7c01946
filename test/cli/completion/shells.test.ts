/** Completion in real shells: what Tab inserts there is one word, and nothing of it is ever run. */
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openLibrary } from "../../support/library.ts";
import { makeSandbox } from "../../support/run.ts";
import { shells, typed } from "../../support/typist.ts";

/** How each begins on a line, as it is typed in any shell, and its name. */
const hostile: readonly (readonly [typed: string, name: string])[] = [
  ["my", "my file.pdf"],
  ['"my', "my file.pdf"],
  ["'my", "my file.pdf"],
  ["'$(t", "$(touch run).pdf"],
  ["'`t", "`touch run`.txt"],
  ["x", "x;touch run"],
  ["y", "y|touch run&"],
  ["it", `it's "q".txt`],
  ["a", "a:b=c@d.txt"],
  ["back", "back\\slash"],
  ["q", "q*?[a]{b,c}"],
  ["é", "été.pdf"],
  ["__", "__FILE__:any:::0"],
  ["'(e", "(e:touch run:)"],
  ["h", "h!touch #%n"],
  ["z", "z~root=$HOME"],
];

async function libraryOf(names: readonly string[]) {
  const { sandbox, upload } = await openLibrary();
  for (const name of new Set(names)) await upload(name, name);
  return sandbox;
}

describe.each(shells)("in %s", (shell) => {
  test("Tab inserts a name whole and as it is, whatever it would do there", async () => {
    const sandbox = await libraryOf(hostile.map(([, name]) => name));
    const lines = hostile.map(([begun]) => `docproc show ${begun}\t`);
    expect(await typed(sandbox, shell, lines)).toEqual(hostile.map(([, name]) => `<show><${name}>`));
    expect(await readdir(sandbox.cwd)).toEqual([]);
  });

  test.each(["$(touch run)", "`touch run`", "it's", "~root", "-rf", "line\u2028end"])(
    "Tab behind nothing inserts the only name %j as it is, or nothing where it cannot",
    async (name) => {
      const sandbox = await libraryOf([name]);
      // fish would take the tilde for a home directory.
      const left = name.startsWith("-") || name.includes("\u2028") || (shell === "fish" && name.startsWith("~"));
      const expected = left ? "<show><end>" : `<show><${name}><end>`;
      expect(await typed(sandbox, shell, ["docproc show \t end"])).toEqual([expected]);
      expect(await readdir(sandbox.cwd)).toEqual([]);
    },
  );

  test("Tab does not run what stands on the line", async () => {
    const sandbox = await libraryOf(["a"]);
    const commands = ["$(touch run)", '"$(touch run)"', "`touch run`", "(touch run)", "--name=$(touch run)"];
    const lines = commands.map((command) => `docproc show ${command} \t\u0015docproc done`);
    expect(await typed(sandbox, shell, lines)).toEqual(lines.map(() => "<done>"));
    expect(await readdir(sandbox.cwd)).toEqual([]);
  });

  test("Tab completes commands, flags, their values, and paths", async () => {
    const { cwd, ...sandbox } = await makeSandbox();
    await writeFile(join(cwd, "a file.json"), "{}");
    const expected = {
      "doct\t": "<doctor>",
      "verify --sam\t": "<verify><--sample>",
      "list --storage l\t": "<list><--storage><local>",
      "list --storage=l\t": "<list><--storage=local>",
      "upload --on-duplicate s\t": "<upload><--on-duplicate><store>",
      "upload a\t": "<upload><a file.json>",
      "list --config a\t": "<list><--config><a file.json>",
      "help verif\t": "<help><verify>",
    };
    const lines = Object.keys(expected).map((line) => `docproc ${line}`);
    expect(await typed({ ...sandbox, cwd }, shell, lines)).toEqual(Object.values(expected));
  });
});

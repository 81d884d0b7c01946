/** The examples of the help. */
import { expect, test } from "vitest";
import { commands } from "../../../src/cli/commands/registry.ts";
import { commandTree } from "../../../src/cli/program.ts";

test("hand on a whole listing, and not its first page", async () => {
  const loaded = await Promise.all(commands.map(({ load }) => load()));
  const listings = loaded
    .flatMap(({ examples }) => examples.map(([, args]) => args))
    .flatMap((args) => args.match(/\$\(docproc list .*?\)/g) ?? []);
  expect(listings.length).toBeGreaterThan(0);
  expect(listings.filter((listing) => !/ --(all|limit) /.test(listing))).toEqual([]);
});

/** The words of each `docproc` command of a shell line, without what follows it in a pipe or a redirection. */
function commandsIn(line: string): string[][] {
  const inner = [...line.matchAll(/\$\((.*?)\)/g)].map(([, command = ""]) => command);
  return [...line.replace(/\$\(.*?\)/g, "ID").split(/[|;&]/), ...inner]
    .map((part) => [...part.replace(/ [<>].*/, "").matchAll(/'[^']*'|"[^"]*"|[^\s'"]+/g)].map(([word]) => word))
    .filter(([program]) => program === "docproc")
    .map(([, ...words]) => words.map((word) => word.replace(/^(['"])(.*)\1$/, "$2")));
}

test.each(commands)("are lines that a shell can run: $name", async ({ name, load }) => {
  const { examples } = await load();
  expect(examples.length).toBeGreaterThan(0);
  for (const [, args] of examples) {
    const lines = commandsIn(`docproc ${args}`);
    expect(lines[0]?.[0], args).toBe(name);
    for (const words of lines) {
      let parsed: string | undefined;
      const program = await commandTree(
        { stdout: { write: () => true, once() {} }, version: "0" },
        async (command, rest, flags, named) => {
          command.parse(rest as never, flags as never, Date.now() as never);
          parsed = named.name;
        },
        new Set(commands),
      );
      await program.parseAsync(words, { from: "user" });
      expect(parsed, args).toBe(words[0]);
    }
  }
});

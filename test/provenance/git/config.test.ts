/** A configuration file of git, read as git reads it. */
import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { parseGitConfig } from "../../../src/provenance/git/config.ts";
import { cpuMs } from "../../support/cpu-time.ts";
import { findOnPath } from "../../support/on-path.ts";
import { randomNumbers } from "../../support/random.ts";

/** As `git config --list -z` prints it, in the order of the names. */
function parsed(text: string): string[] | null {
  try {
    const names = [...parseGitConfig(text)];
    return names.flatMap(([name, values]) => values.map((value) => (value === true ? name : `${name}\n${value}`)));
  } catch {
    return null;
  }
}

describe("a configuration", () => {
  test.each([
    ['[filter "x"] clean = a', ["filter.x.clean\na"]],
    ['[core] [filter "x"]clean=a', ["filter.x.clean\na"]],
    ['[core] ; [\n[filter "x"] # ]\nclean = a', ["filter.x.clean\na"]],
    ['[Core]\nFileMode\n[Remote "Up.Stream"]\nURL = b', ["core.filemode", "remote.Up.Stream.url\nb"]],
    ["[remote.Origin]\nurl = a\nurl = b", ["remote.origin.url\na", "remote.origin.url\nb"]],
    ['[a "b\\"c\\d"]\nkey = " x ; y " z # comment', ['a.b"cd.key\n x ; y  z']],
    ["[a]\nb = one \\\n two \\\n[c]\nd", ["a.b\none  two [c]", "a.d"]],
    ['\uFEFF[a]\r\nb = \\t\\\\\\"\r\n', ['a.b\n\t\\"']],
    ["[a]\nb = x\u2028c = y", ["a.b\nx\u2028c = y"]],
    ["# \u2028[a]\rb\n", []],
    ["[a]\nb = \\", ["a.b\n"]],
    ["", []],
  ])("%j", (text, values) => {
    expect(parsed(text)).toEqual(values);
  });

  test.each(['[a]\nb = "c\nd"', "[a]\nb = \\x", "[a\nb]", '[a "b\n"]', "[a]\n1 = 2", "[a]\nb c", "[é]", "[a]\u00a0b"])(
    "that git refuses is refused: %j",
    (text) => {
      expect(() => parseGitConfig(text)).toThrow(/^line \d of its config is invalid$/);
    },
  );

  test("of a megabyte takes no longer than others", () => {
    const one = 1024 * 1024;
    const lengths: (number | undefined)[] = [];
    const spent = cpuMs(() => {
      for (const piece of ["\n", "#\n", "x=1\n", "a", '[a "', '[a "b', "\\\n", "[a]x=\\\n", '"'])
        lengths.push(parsed(`[a]\n${piece.repeat(one / piece.length)}`)?.length);
    });
    expect(lengths).toContain(one / 4);
    expect(spent).toBeLessThan(10_000);
  });

  test.skipIf(findOnPath("git") === undefined)("is to git what it is to docproc, whatever stands in it", () => {
    const pieces = [
      ...["[core]", '[filter "x"]', "[a.B]", '[A "q\\"r"]', '[b "\\x"] ', "[", "]", "[ ]"],
      ...["\n", "\n", "\r\n", "\r", "\\\n", " ", "\t", "\v", "\u00a0", "\u2028", "\ufeff", "#c", "; d", "é", "0"],
      ...[
        "key",
        "-k",
        "a b",
        "=",
        " = ",
        " = 1",
        "url = x",
        "url=https://h/p;x",
        "clean = a",
        '"',
        '"q q"',
        "\\\\",
        "\\n",
      ],
    ];
    const random = randomNumbers(7);
    const pick = () => pieces[Math.floor(random() * pieces.length)];
    const env = { PATH: process.env["PATH"], HOME: "/nowhere", GIT_CONFIG_NOSYSTEM: "1" };
    let read = 0;
    for (let round = 0; round < 500; round += 1) {
      const text = `${random() < 0.8 ? pieces[Math.floor(random() * 5)] : ""}${Array.from({ length: 1 + random() * 9 }, pick).join("")}`;
      const { status, stdout } = spawnSync("git", ["config", "-z", "-f", "-", "--list"], { input: text, env });
      const told = status === 0 ? stdout.toString().split("\0").slice(0, -1) : null;
      if (told !== null) read += 1;
      // Before 2.45, git made one space of any within a value.
      const sorted = (values: string[] | null) =>
        values?.map((value) => value.replace(/[\t\r]/g, " ")).toSorted() ?? null;
      expect({ text, values: sorted(parsed(text)) }).toEqual({ text, values: sorted(told) });
    }
    expect(read).toBeGreaterThan(50);
  });
});

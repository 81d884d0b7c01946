/** Which names of documents may be written to: none that a hostile catalog could choose to reach another place. */
import { posix, win32 } from "node:path";
import { describe, expect, test } from "vitest";
import { fileNameOf } from "../../src/files/names.ts";

const refused = expect.objectContaining({ code: "USAGE", hint: expect.stringContaining("-o FILE") });
const attempt = (name: string, windows: boolean, hidden = true) => {
  try {
    return fileNameOf(name, windows, hidden);
  } catch (error) {
    return error;
  }
};

const everywhere = [
  "",
  ".",
  "..",
  "/",
  "/etc/passwd",
  "//server/share",
  "../up",
  "a/b",
  "a/../../b",
  "down/",
  "..//",
  "nul\0byte",
  "\0",
  "x".repeat(256),
  "\u00fc".repeat(128),
  "\u{1f600}".repeat(64),
];

const onWindows = [
  // Separators, drives, shares, and paths to devices.
  "..\\up",
  "a\\b",
  "\\",
  "\\\\server\\share",
  "\\\\?\\C:\\x",
  "C:",
  "C:\\x",
  "C:x",
  "c:x.txt",
  // Streams of a file.
  "a:b",
  "a.txt:hidden",
  "a.txt::$DATA",
  // Devices, whatever follows the first dot or space.
  ...["CON", "con", "PRN", "AUX", "NUL", "nul", "COM1", "com9", "LPT1", "lpt9", "COM\u00b9", "LPT\u00b3"],
  ...["nul.txt", "CON.tar.gz", "aux.", "con .txt", "COM1 ", "LPT1.a.b", "CONIN$", "conout$.log"],
  // Ends that Windows drops, so that another name is written.
  "a.",
  "a ",
  "a. .",
  "...",
  " ",
  ".. ",
  ".. .",
  // Characters that it does not allow.
  ...["<", ">", '"', "|", "?", "*"].map((character) => `a${character}b`),
  ...["\n", "\r", "\t", "\u0001", "\u001b[2J", "\u007f", "\u0085"].map((character) => `a${character}b`),
];

const harmless = [
  "a",
  "report.pdf",
  ".hidden",
  "..a",
  "a..b",
  "a b",
  " a",
  "-rf",
  "--force",
  "~",
  "$HOME",
  "%2e%2e%2fup",
  "console.log",
  "nulls.txt",
  "company",
  "com",
  "com10",
  "a.con",
  "r\u00e9sum\u00e9 \u{1f4c4}.pdf",
  "x".repeat(255),
  "\u00fc".repeat(127),
];

describe.each([
  ["POSIX", false, posix],
  ["Windows", true, win32],
] as const)("under the rules of %s", (_system, windows, path) => {
  test.each(everywhere)("%j is refused", (name) => {
    expect(attempt(name, windows)).toEqual(refused);
  });

  test.each(harmless)("%j is taken as it is", (name) => {
    expect(attempt(name, windows)).toBe(name);
  });

  test("what is taken is one segment, directly inside the directory", () => {
    const directory = path.resolve("/target");
    const taken = [...everywhere, ...onWindows, ...harmless].filter((name) => attempt(name, windows) === name);
    expect(taken.length).toBeGreaterThanOrEqual(harmless.length);
    for (const name of taken) {
      expect(path.dirname(path.join(directory, name))).toBe(directory);
      expect(path.basename(path.resolve(directory, name))).toBe(name);
    }
  });
});

test.each(onWindows)("%j is refused on Windows only", (name) => {
  expect(attempt(name, true)).toEqual(refused);
  expect(attempt(name, false)).toBe(name);
});

/** What shells, git, editors and docproc read without being asked, and what a file system takes for the same. */
const hidden = [
  ...[
    ".docprocrc.json",
    ".docprocrc.yaml",
    ".docprocrc.yml",
    ".docprocrc",
    ".git",
    ".GIT",
    ".gitconfig",
    ".gitmodules",
  ],
  ...[".gitattributes", ".bashrc", ".profile", ".npmrc", ".env", ".hidden", "..a", ".\u00e9"],
  ...["\u200c.git", "\u200d\ufeff.git", "\u00ad.bashrc"],
];

describe("a hidden file", () => {
  test.each(hidden)("%j is written where it was asked for, and not because the catalog says so", (name) => {
    for (const windows of [false, true]) {
      const refused = expect.objectContaining({
        code: "USAGE",
        hint: expect.stringMatching(/name.*--hidden.*-o FILE/),
      });
      expect(attempt(name, windows, false)).toEqual(refused);
      expect(attempt(name, windows, true)).toBe(name);
    }
  });

  test.each(harmless.filter((name) => !hidden.includes(name)))("is none that is called %j", (name) => {
    expect(attempt(name, false, false)).toBe(name);
  });
});

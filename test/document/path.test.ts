/** The path of a document: which texts are one, and how a file's path becomes one. */
import { describe, expect, test } from "vitest";
import {
  documentPath,
  folderOfPath,
  isDocumentPath,
  joinPath,
  nameOfPath,
  relativePath,
  typedName,
} from "../../src/document/path.ts";

const good = [
  "a",
  "a.pdf",
  "a/b/c.pdf",
  ".hidden",
  "a/.b",
  "...",
  "..a/b..",
  " ",
  "a b/ c",
  "a\\b",
  "C:/x",
  "CON",
  "nul.txt",
  "end.",
  "-rf",
  "R\u00e9sum\u00e9.pdf",
  "\u65e5\u672c/\u8a9e",
  "\u{1f600}/\u{1f600}",
  "a\u202eb",
  "x".repeat(1024),
  `${"\u00e9".repeat(511)}/a`,
];

const bad: [string, string][] = [
  ["", "is empty"],
  ["/", "begins with a slash"],
  ["/a", "begins with a slash"],
  ["a/", "ends with a slash"],
  ["a//b", "segment"],
  [".", "segment"],
  ["..", "segment"],
  ["./a", "segment"],
  ["../a", "segment"],
  ["a/.", "segment"],
  ["a/..", "segment"],
  ["a/./b", "segment"],
  ["a/../b", "segment"],
  ["a\0b", "control"],
  ["a\nb", "control"],
  ["a\tb", "control"],
  ["a\u001b[31m", "control"],
  ["a\u007f", "control"],
  ["a\u0085b/c", "control"],
  ["\u009b", "control"],
  ["a\ud83d", "Unicode"],
  ["\ude00/a", "Unicode"],
  ["x".repeat(1025), "1024 bytes"],
  ["\u00e9".repeat(513), "1024 bytes"],
  [`${"a/".repeat(512)}a`, "1024 bytes"],
];

describe("a document's path", () => {
  test.each(good)("may be %j", (path) => {
    expect(documentPath(path)).toBe(path);
    expect(isDocumentPath(path)).toBe(true);
  });

  test.each(bad)("may not be %j: %s", (path, why) => {
    expect(() => documentPath(path)).toThrow(
      expect.objectContaining({ code: "USAGE", message: expect.stringContaining(why) }),
    );
    expect(isDocumentPath(path)).toBe(false);
  });

  test("is kept in NFC, and its length counts so", () => {
    expect(documentPath("Re\u0301sume\u0301/a")).toBe("R\u00e9sum\u00e9/a");
    expect(isDocumentPath("Re\u0301sume\u0301/a")).toBe(false);
    expect(documentPath("e\u0301".repeat(512))).toBe("\u00e9".repeat(512));
  });

  test("that is refused names the flag that chooses another, and does not fill the terminal", () => {
    expect(() => documentPath("a//b", "--into")).toThrow(
      expect.objectContaining({ hint: expect.stringContaining("--into") }),
    );
    expect(() => documentPath("x".repeat(5000))).toThrow(
      expect.objectContaining({
        message: expect.stringMatching(/^.{1,200}$/),
        hint: expect.stringContaining("--name"),
      }),
    );
  });

  test.each([
    ["a", "", "a"],
    ["a/b", "a", "b"],
    ["a/b/c.pdf", "a/b", "c.pdf"],
  ])("%j is in the folder %j under the name %j", (path, folder, name) => {
    expect(folderOfPath(path)).toBe(folder);
    expect(nameOfPath(path)).toBe(name);
    expect(joinPath(folder, name)).toBe(path);
  });

  test("without a folder is at the top", () => {
    expect(joinPath(undefined, "a/b")).toBe("a/b");
  });
});

describe("a file's path as typed", () => {
  test.each([
    ["a/b.txt", "a/b.txt"],
    ["./a/b", "a/b"],
    ["././a", "a"],
    ["/etc/hosts", "etc/hosts"],
    ["//a", "a"],
    ["../a", "a"],
    ["../../x/a", "x/a"],
    ["/../a", "a"],
    ["a/./b", "a/b"],
    ["a//b", "a/b"],
    ["a/../b", "b"],
    ["a/b/../c", "a/c"],
    ["a/../../b", "b"],
    ["a/b/", "a/b"],
    ["...", "..."],
    ["", ""],
    [".", ""],
    ["..", ""],
    ["/", ""],
    ["a/..", ""],
    ["a\\b", "a\\b"],
    ["C:/a", "C:/a"],
  ])("%j becomes %j", (typed, path) => {
    expect(relativePath(typed, "/")).toBe(path);
  });

  test.each([
    ["a\\b.txt", "a/b.txt"],
    ["a/b\\c", "a/b/c"],
    [".\\a", "a"],
    ["..\\a", "a"],
    ["a\\..\\..\\b", "b"],
    ["C:\\a\\b", "a/b"],
    ["c:/a", "a"],
    ["C:a", "a"],
    ["C:..\\a", "a"],
    ["\\a", "a"],
    ["\\\\server\\share\\a\\b", "a/b"],
    ["\\\\?\\C:\\a", "a"],
    ["C:\\", ""],
    ["C:", ""],
  ])("%j becomes %j on Windows", (typed, path) => {
    expect(relativePath(typed, "\\")).toBe(path);
  });

  test.each([
    ["a.txt", "/", "a.txt"],
    ["../x/dist", "/", "dist"],
    ["/abs/dist/", "/", "dist"],
    ["a/b/../c//", "/", "c"],
    ["dist/.", "/", ""],
    ["dist/..", "/", ""],
    [".", "/", ""],
    ["..", "/", ""],
    ["./", "/", ""],
    ["/", "/", ""],
    ["a\\b", "/", "a\\b"],
    ["a\\b", "\\", "b"],
    ["a/b\\", "\\", "b"],
    ["a\\.", "\\", ""],
    ["C:a", "\\", "a"],
    ["C:", "\\", ""],
    ["\\\\server\\share\\", "\\", ""],
  ] as const)("%j with the separator %j has the name %j", (typed, separator, name) => {
    expect(typedName(typed, separator)).toBe(name);
  });
});

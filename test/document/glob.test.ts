/** What globs match, held against a matcher that is too simple to be wrong, and how long the worst of them take. */
import { describe, expect, test } from "vitest";
import { DocprocError } from "../../src/core/errors.ts";
import { compileGlob, globEnds, globMatcher } from "../../src/document/glob.ts";
import { randomNumbers } from "../support/random.ts";

describe("a glob", () => {
  test.each([
    ["*", ".hidden", true],
    ["*", "a/b", false],
    ["*.tgz", "a.b.tgz", true],
    ["a*", "a", true],
    ["a?c", "abc", true],
    ["a?c", "ac", false],
    ["a?c", "a/c", false],
    ["[a-c]x", "bx", true],
    ["[a-c]x", "dx", false],
    ["[!a-c]x", "dx", true],
    ["[^a-c]x", "bx", false],
    ["[!a]", "/", false],
    ["a[+-9]b", "a0b", true],
    ["a[+-9]b", "a/b", false],
    ["[]a]x", "]x", true],
    ["[!]a]x", "]x", false],
    ["[a-]x", "-x", true],
    ["[\\]]x", "]x", true],
    ["[a\\-c]x", "bx", false],
    ["[z-a]", "m", false],
    ["[é-ü]x", "öx", true],
    ["*.{png,jpg}", "x.jpg", true],
    ["*.{png,jpg}", "x.gif", false],
    ["{a,{b,c}d}e", "cde", true],
    ["{a,{b,c}d}e", "ce", false],
    ["x{,y}", "x", true],
    ["{a\\,b,c}x", "a,bx", true],
    ["{a,b}{c,d}", "bc", true],
    ["a.c", "abc", false],
    ["A", "a", false],
  ])("%j on %j: %s", (glob, text, matches) => {
    expect(globMatcher(glob)(text)).toBe(matches);
  });

  test.each([
    ["!a", "!a", "b"],
    ["#a*", "#ab", "ab"],
    ["a+b*", "a+b.txt", "aab.txt"],
    ["$x^*", "$x^y", "xy"],
    ["copy (1)*", "copy (1).pdf", "copy 1.pdf"],
    ["(a|b)*", "(a|b)c", "a"],
    ["@(a|b)", "@(a|b)", "a"],
    ["+(a)", "+(a)", "aa"],
    ['"a"*', '"a".txt', "a.txt"],
    ["~a,b;c*", "~a,b;c", "a"],
    ["\\*", "*", "a"],
    ["a\\", "a\\", "a"],
    ["\\a\\{b,c}", "a{b,c}", "ab"],
  ])("gives no meaning to other characters: %j is %j and not %j", (glob, text, other) => {
    expect([globMatcher(glob)(text), globMatcher(glob)(other)]).toEqual([true, false]);
  });

  test.each(["[", "[a", "[!]", "[]", "{a", "{a,b", "a}", "{a}", "{}", "}{", "(", "{a,{b}", "[a-"])(
    "matches unclosed brackets and braces without a choice literally: %j",
    (glob) => {
      expect(globMatcher(`${glob}*`)(`${glob}x`)).toBe(true);
      expect(globMatcher(glob)("a")).toBe(false);
    },
  );

  test.each(["copy [1].pdf", "{a,b}", "what?", "[!a]"])("matches the text that is the same: %j", (glob) => {
    expect(globMatcher(glob)(glob)).toBe(true);
    expect(globMatcher(glob)(`${glob}x`)).toBe(false);
  });

  test.each([
    ["?", "😀", true],
    ["??", "😀", false],
    ["[😀-😎]", "😃", true],
    ["[!a]", "日", true],
    ["Résumé.*", "Re\u0301sume\u0301.pdf", true],
    ["Re\u0301sume\u0301.*", "Résumé.pdf", true],
    ["R?sum[e\u0301].pdf", "Résumé.pdf", true],
    ["Re*", "Résumé.pdf", false],
    ["{e\u0301,x}", "é", true],
  ])("knows characters, however they are written: %j on %j: %s", (glob, text, matches) => {
    expect(globMatcher(glob)(text)).toBe(matches);
  });
});

describe("a glob for paths", () => {
  test.each([
    ["**", "a/b/c", true],
    ["**/a", "a", true],
    ["**/a", "x/y/a", true],
    ["**/a", "x/ba", false],
    ["a/**", "a/b/c", true],
    ["a/**", "a", false],
    ["a/**", "ab/c", false],
    ["a/**/b", "a/b", true],
    ["a/**/b", "a/x/y/b", true],
    ["a/**/b", "a/xb", false],
    ["a/**/b", "ab", false],
    ["a/***/b", "a/x/y/b", true],
    ["**/*.map", "dist/js/app.map", true],
    ["{dist,build}/**", "build/a/b", true],
    ["{**/a,b}", "x/a", true],
    ["{**/a,b}/c", "a/c", true],
    // Elsewhere two stars are one.
    ["a**", "a/b", false],
    ["a**", "ab", true],
    ["a/**b", "a/x/b", false],
    ["a/b**/c", "a/bx/c", true],
    ["a/b**/c", "a/bx/y/c", false],
    ["x{**,b}", "x/y", false],
    ["{**,b}x", "a/x", false],
    ["./a*", "ab", true],
    ["././a/*", "a/b", true],
    ["./", "./", true],
  ])("%j on %j: %s", (glob, path, matches) => {
    expect(globMatcher(glob)(path)).toBe(matches);
  });
});

describe("what is no glob", () => {
  test.each([
    ["nothing", "", "1 to 1024"],
    ["more than any name", "x".repeat(1025), "1 to 1024"],
    ["the numbers of a shell", "page-{1..30}.pdf", "{1..3}"],
    ["the letters of a shell", "{a..c}", "{1..3}"],
    ["the numbers of a shell in steps", "{01..10..2}", "{1..3}"],
    ["a class with a name", "[[:digit:]]*", "[:alpha:]"],
  ])("is refused: %s", (_what, glob, says) => {
    const failure = (() => {
      try {
        globMatcher(glob);
      } catch (error) {
        return error;
      }
    })();
    expect(failure).toBeInstanceOf(DocprocError);
    expect(failure).toMatchObject({ code: "USAGE", hint: expect.any(String), message: expect.stringContaining(says) });
  });

  test("is not what only looks like it", () => {
    expect(globMatcher("\\{1..3}")("{1..3}")).toBe(true);
    expect(globMatcher("{a..}x")("{a..}x")).toBe(true);
    expect(globMatcher("{1..3,b}")("1..3")).toBe(true);
    expect(globMatcher("[:a]")(":")).toBe(true);
  });
});

/** All texts that braces stand for, one after the other; of what is not closed none. */
function alternatives(glob: string): string[] {
  const found = /\{([^{}]*)\}/.exec(glob);
  if (!found) return [glob];
  const [whole, inside = ""] = found;
  const [before, behind] = [glob.slice(0, found.index), glob.slice(found.index + whole.length)];
  // Without a choice they are characters, which stand for themselves here.
  const choices = inside.includes(",") ? inside.split(",") : [`\u0001${inside}\u0002`];
  return choices.flatMap((choice) => alternatives(before + choice + behind));
}

/** One alternative on one text, by trying everything. */
function simpleMatch(glob: string, text: string): boolean {
  if (glob === "") return text === "";
  const [first = "", rest] = [glob[0], glob.slice(1)];
  if (first === "*")
    return simpleMatch(rest, text) || (text !== "" && text[0] !== "/" && simpleMatch(glob, text.slice(1)));
  if (text === "") return false;
  const brackets = /^\[(!?)(.[^\]]*)\]/.exec(glob);
  if (brackets) {
    const [whole, negated = "", inside = ""] = brackets;
    const inRange = /^.-.$/.test(inside)
      ? inside.charAt(0) <= text.charAt(0) && text.charAt(0) <= inside.charAt(2)
      : inside.includes(text.charAt(0));
    return text[0] !== "/" && inRange !== (negated === "!") && simpleMatch(glob.slice(whole.length), text.slice(1));
  }
  const literal = first.replace("\u0001", "{").replace("\u0002", "}");
  return (first === "?" ? text[0] !== "/" : text[0] === literal) && simpleMatch(rest, text.slice(1));
}

/** A path against a glob whose `**` stand for whole parts, part by part. */
function simplePathMatch(parts: readonly string[], path: readonly string[]): boolean {
  const [first, ...rest] = parts;
  if (first === undefined) return path.length === 0;
  if (!/^\*\*+$/.test(first)) {
    return path.length > 0 && simpleMatch(first, path[0] ?? "") && simplePathMatch(rest, path.slice(1));
  }
  // At the end it is what is below, elsewhere any number of parts.
  if (rest.length === 0 && parts.length === 1) return path.length > 0;
  return simplePathMatch(rest, path) || (path.length > 0 && simplePathMatch(parts, path.slice(1)));
}

describe("ten thousand random globs", () => {
  const rounds = 10_000;

  /** Some of these, one behind the other. */
  function writer(seed: number) {
    const next = randomNumbers(seed);
    const upTo = (most: number) => Math.floor(next() * most);
    return {
      upTo,
      some: (from: readonly string[], most: number) =>
        Array.from({ length: 1 + upTo(most) }, () => from[upTo(from.length)] ?? "").join(""),
    };
  }

  test("match what a simple matcher says", () => {
    const { some } = writer(1301);
    const pieces = ["*", "**", "?", "[ab]", "[!a]", "[a-c]", "{a,b}", "{a,b*}", "{,c}", "{a}", ..."{}},,,abcabc."];
    const [yes, no] = [[], []] as [string[], string[]];
    // A hundred thousand calls of expect would take longer than what they look at.
    const wrong: unknown[] = [];
    for (let round = 0; round < rounds; round++) {
      const glob = some(pieces, 9);
      const matches = globMatcher(glob);
      const all = alternatives(glob);
      for (let other = 0; other < 10; other++) {
        const text = some([..."abcabc.{},"], 7);
        if (text === glob) continue;
        const expected = all.some((one) => simpleMatch(one, text));
        if (matches(text) !== expected) wrong.push({ glob, text, expected });
        (expected ? yes : no).push(glob);
      }
    }
    expect(wrong).toEqual([]);
    expect(Math.min(yes.length, no.length)).toBeGreaterThan(2000);
  });

  test("match the paths that a simple matcher says", () => {
    const { some, upTo } = writer(1302);
    const wrong: unknown[] = [];
    let matched = 0;
    for (let round = 0; round < rounds; round++) {
      const parts = Array.from({ length: 1 + upTo(4) }, () => (upTo(3) === 0 ? "**" : some([..."ab*?ab", "[!a]"], 3)));
      const glob = parts.join("/");
      const matches = globMatcher(glob);
      for (let other = 0; other < 10; other++) {
        const path = Array.from({ length: 1 + upTo(4) }, () => some([..."ab"], 3));
        const expected = simplePathMatch(parts, path);
        if (matches(path.join("/")) !== expected) wrong.push({ glob, path, expected });
        if (expected) matched += 1;
      }
    }
    expect(wrong).toEqual([]);
    expect(matched).toBeGreaterThan(rounds);
  });

  test("begin and end as is said of them", () => {
    const { some } = writer(8);
    const pieces = ["*", "*", "**", "?", "[ab]", "[!a]", "{a,b*}", "{a}", "{,b}", ..."[]{}\\,.-!^+//()'\"éababab"];
    const wrong: unknown[] = [];
    let [matched, long] = [0, 0];
    for (let round = 0; round < rounds; round++) {
      const glob = some(pieces, 6);
      const matches = globMatcher(glob);
      const [prefix, suffix] = globEnds(glob);
      for (let other = 0; other < 20; other++) {
        const random = some([..."abab.-/é[{*"], 4);
        // Or what the glob itself says, with something in place of what has a meaning.
        const text = other % 2 === 0 ? random : glob.replace(/\*+|\?|\\/g, () => random.slice(0, 1));
        if (!matches(text)) continue;
        matched += 1;
        if (prefix.length + suffix.length > 1) long += 1;
        const ends = text.startsWith(prefix) && text.endsWith(suffix) && text.length >= prefix.length + suffix.length;
        if (!ends) wrong.push({ glob, text, prefix, suffix });
      }
    }
    expect(wrong).toEqual([]);
    expect(matched).toBeGreaterThan(1000);
    expect(long).toBeGreaterThan(100);
  });
});

describe("the worst globs", () => {
  const name = (length: number) => "a".repeat(length);

  test.each([
    ["alternatives that are alike", "{a,a}".repeat(30), `${name(30)}c`],
    ["two hundred of them", "{a,a}".repeat(200), name(5000)],
    ["alternatives of different lengths", "{a,aa}".repeat(100), name(200)],
    ["what may be there or not", "{,a}".repeat(255), name(5000)],
    ["stars", "*a*a*a*a*b", name(500)],
    ["stars for a long text", "*a*a*a*a*b", name(5000)],
    ["hundreds of stars", `${"*a".repeat(400)}b`, name(5000)],
    ["stars in alternatives", `{${"*a,".repeat(300)}b}`, `${name(5000)}c`],
    ["stars around alternatives", "*{a,b}*{a,b}*{a,b}*{a,b}*c", "ab".repeat(1000)],
    ["braces in braces", `${"{a,".repeat(250)}b${"}".repeat(250)}c`, name(500)],
    ["braces in braces, with stars", `${"{*a,b".repeat(100)}${"}*".repeat(100)}c`, name(500)],
    ["parts of a path", "**/a/".repeat(200), "a/".repeat(1000)],
    ["classes", "[a-z]*".repeat(170), `${name(5000)}9`],
    ["a class of many", `[${"a-b".repeat(300)}]*c`, name(1000)],
    ["as many sets of states as there are texts", `*a${"?".repeat(1000)}b`, "abbabaab".repeat(300)],
    ["stars without letters", "*?".repeat(500), name(300)],
    ["opening braces", "{".repeat(1000), name(100)],
    ["opening brackets", "[".repeat(1000), name(100)],
  ])("take no more steps than states times characters: %s", (_what, glob, text) => {
    const compiled = compileGlob(glob);
    for (const one of [text, text.slice(1), `${text}b`]) compiled.matches(one);
    expect(compiled.steps).toBeLessThan(3 * 8 * glob.length * (text.length + 2));
  });

  test("take a step a character for names that are like those before", () => {
    const compiled = compileGlob("{inv,report}-*-[0-9]?.{pdf,png}");
    const names = Array.from({ length: 1000 }, (_, number) => `inv-${number % 10}-${number % 7}x.pdf`);
    for (const one of names) compiled.matches(one);
    const before = compiled.steps;
    for (const one of names) expect(compiled.matches(one)).toBe(true);
    expect(compiled.steps - before).toBe(names.join("").length);
  });

  test("keep no more than some megabytes of what they met", () => {
    const compiled = compileGlob(`*a${"?".repeat(60)}b*`);
    const next = randomNumbers(5);
    const before = process.memoryUsage().heapUsed;
    for (let round = 0; round < 300; round++) {
      compiled.matches(Array.from({ length: 500 }, () => (next() < 0.5 ? "a" : "c")).join(""));
    }
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(200e6);
  });
});

describe("what every match of a glob begins and ends with", () => {
  test.each([
    ["inv*.pdf", "inv", ".pdf"],
    ["*", "", ""],
    ["a", "a", ""],
    ["a?b[cd]e{f,g}h", "a", "h"],
    ["image/*", "image/", ""],
    ["image/**", "image/", ""],
    ["**/a/b", "", "a/b"],
    ["image/{gif,png}", "image/", ""],
    ["é*ü", "é", "ü"],
    ["e\u0301*u\u0308", "é", "ü"],
    ["\\*a", "", "a"],
    ["a\\[1]*", "a", ""],
    ["\\(a\\)*", "(a)", ""],
    ["*/gif", "", "/gif"],
    ["./a*", "a", ""],
    ["a{b*c", "a{b", "c"],
  ])("of %j is %j and %j", (glob, prefix, suffix) => {
    expect(globEnds(glob)).toEqual([prefix, suffix]);
  });
});

import { spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type DocumentRecord, firstIdAt } from "../src/document.ts";
import { DocprocError } from "../src/errors.ts";
import { globMatcher } from "../src/glob.ts";
import { globEnds, idRange, type ListQuery, literalName, literalType, matcher, parseTime } from "../src/query.ts";
import { randomNumbers } from "./support/random.ts";
import { makeSandbox, runDocproc } from "./support/run.ts";

const record: DocumentRecord = {
  id: "0198aaaa-bbbb-7ccc-8ddd-eeeeeeeeee42",
  name: "Report.pdf",
  size: 1,
  contentType: "application/pdf",
  sha256: "00",
  uploadedAt: "2025-08-15T00:00:00.000Z",
  uri: "file:///x",
  tags: { build: "42", empty: "" },
  metadata: {},
  source: { kind: "stdin", path: null, modifiedAt: null },
  provenance: null,
  crc32: null,
};

/** An id at a time: the digits behind the clock are free. */
const idAt = (time: number, rest = "-7000-8000-000000000000") => `${firstIdAt(time)}${rest}`;

/** Which of the ids a range lets through. */
function within(query: Partial<ListQuery>, ids: readonly string[]): string[] {
  const { from, to } = idRange({ ascending: true, ...query });
  return ids.filter((id) => (from === undefined || id >= from) && (to === undefined || id < to));
}

describe("id ranges", () => {
  const [one, two, three, four] = [1_000, 2_000, 3_000, 4_000].map((time) => idAt(time)) as [
    string,
    string,
    string,
    string,
  ];
  const all = [one, two, three, four];

  test.each<[string, Partial<ListQuery>, string[]]>([
    ["nothing asked for is everything", {}, all],
    ["since is included", { since: 2_000 }, [two, three, four]],
    ["until is excluded", { until: 3_000 }, [one, two]],
    ["since and until together", { since: 2_000, until: 4_000 }, [two, three]],
    ["an empty span of time has nothing", { since: 3_000, until: 3_000 }, []],
    ["a span that ends before it starts has nothing", { since: 4_000, until: 2_000 }, []],
    ["ascending goes on behind the cursor", { after: two }, [three, four]],
    ["descending goes on before the cursor", { ascending: false, after: three }, [one, two]],
    ["the later of since and the cursor counts, ascending", { since: 1_000, after: three }, [four]],
    ["the later of the cursor and since counts, ascending", { since: 4_000, after: one }, [four]],
    ["the earlier of until and the cursor counts, descending", { ascending: false, until: 4_000, after: two }, [one]],
    ["the earlier of the cursor and until counts, descending", { ascending: false, until: 2_000, after: four }, [one]],
    ["a whole id as a prefix is that id", { idPrefix: three }, [three]],
    ["a prefix and a time that exclude each other have nothing", { idPrefix: one, since: 2_000 }, []],
    ["a prefix and a cursor", { idPrefix: three.slice(0, 13), after: two }, [three]],
  ])("%s", (_title, query, ids) => {
    expect(within(query, all)).toEqual(ids);
  });

  test("a prefix takes every id that starts with it and no other", () => {
    const ids = [
      "0197ffff-ffff-7fff-bfff-ffffffffffff",
      idAt(0x0198_0000_0000),
      idAt(0x0198_ffff_ffff, "-7fff-bfff-ffffffffffff"),
      idAt(0x0199_0000_0000),
    ];
    expect(within({ idPrefix: "0198" }, ids)).toEqual(ids.slice(1, 3));
  });

  test("two ids of one millisecond are told apart by the cursor", () => {
    const [low, high] = [idAt(5_000, "-7000-8000-000000000001"), idAt(5_000, "-7000-8000-000000000002")];
    expect(within({ after: low }, [low, high])).toEqual([high]);
    expect(within({ ascending: false, after: high }, [low, high])).toEqual([low]);
  });
});

describe("the filter", () => {
  test.each<[string, Parameters<typeof matcher>[0], boolean]>([
    ["none", undefined, true],
    ["an empty one", {}, true],
    ["a tag it has", { tags: { build: "42" } }, true],
    ["a tag with an empty value", { tags: { empty: "" } }, true],
    ["all of its tags", { tags: { build: "42", empty: "" } }, true],
    ["one tag of two", { tags: { build: "42", other: "x" } }, false],
    ["another value", { tags: { build: "43" } }, false],
    ["a tag that every object seems to have", { tags: { constructor: "x" } }, false],
    ["its name", { name: "Report.pdf" }, true],
    ["its name in another case", { name: "report.pdf" }, false],
    ["a glob for its name", { name: "*.pdf" }, true],
    ["its type", { type: "application/pdf" }, true],
    ["the first half of its type", { type: "application" }, true],
    ["a glob for its type", { type: "*/pdf" }, true],
    ["the first half of another type", { type: "image" }, false],
    ["a beginning that is not the first half", { type: "app" }, false],
    ["a name and a type that do not go together", { name: "*.pdf", type: "image" }, false],
  ])("%s", async (_what, filter, matches) => {
    expect((await matcher(filter))(record)).toBe(matches);
  });

  test("a __proto__ tag is found only where it is written", async () => {
    const tags = JSON.parse('{"__proto__":"x"}');
    expect((await matcher({ tags }))(record)).toBe(false);
    expect((await matcher({ tags }))({ ...record, tags: JSON.parse('{"__proto__":"x"}') })).toBe(true);
  });

  test("a type with a suffix is matched as it is written", async () => {
    expect((await matcher({ type: "image/svg+xml" }))({ ...record, contentType: "image/svg+xml" })).toBe(true);
  });
});

describe("globs", () => {
  test.each([
    ["*", ".hidden", true],
    ["*.tgz", "a.b.tgz", true],
    ["a?c", "abc", true],
    ["a?c", "ac", false],
    ["[a-c]x", "bx", true],
    ["[a-c]x", "dx", false],
    ["*.{png,jpg}", "x.jpg", true],
    ["*.{png,jpg}", "x.gif", false],
    ["a.c", "abc", false],
    ["!a", "b", false],
    ["!a", "!a", true],
    ["#a*", "#ab", true],
    ["a+b*", "a+b.txt", true],
    ["$x^*", "$x^y", true],
    // Nothing of a regular expression means anything: names like `copy (1).pdf` are common.
    ["copy (1)*", "copy (1).pdf", true],
    ["(a|b)*", "a", false],
    ["a|b*", "a", false],
    ["copy \\(1\\)*", "copy (1).pdf", true],
    ["\\(a\\|b\\)*", "a", false],
    ["[(|)]x*", "(x.pdf", true],
    ["@(a|b)", "a", false],
    ["+(a)", "aa", false],
    // What is not closed stands for itself.
    ["[", "[", true],
    ["{a", "{a", true],
    ["(", "(", true],
  ])("%j on %j: %s", (glob, name, matches) => {
    expect(globMatcher(glob)(name)).toBe(matches);
  });

  test.each([
    ["ten thousand opening braces", "{".repeat(10_000)],
    ["five thousand nested pairs of braces", "{a,".repeat(5_000) + "}".repeat(5_000)],
    ["a thousand stars", "*".repeat(1_000)],
  ])("%s come to an end", (_what, glob) => {
    // Refusing such a pattern is as good as an answer.
    expect(["boolean", "USAGE"]).toContain(outcome(() => typeof globMatcher(glob)("a".repeat(60))));
  });

  // In a process that can be stopped: without a bound, these would keep the test run for ever.
  test.each([
    ["a group that repeats itself", "((a+)+)+b"],
    ["nested extended globs", `${"+(".repeat(20)}a${")".repeat(20)}b`],
    ["many stars", `${"*a".repeat(20)}b`],
    ["many stars around braces", `${"*a".repeat(6)}{a,b}${"*a".repeat(6)}b`],
  ])("%s against a name of one letter come to an end", async (_what, glob) => {
    const sandbox = await makeSandbox();
    await writeFile(join(sandbox.cwd, "a".repeat(60)), "");
    await runDocproc(sandbox, ["upload", "a".repeat(60)]);
    const script = ["dist/docproc.js", "list", "--directory", sandbox.data, "--name", glob];
    const { status } = spawnSync(process.execPath, script, {
      timeout: 10_000,
      killSignal: "SIGKILL",
      env: { HOME: sandbox.home },
    });
    // Nothing listed, or refused; null is a process that had to be killed.
    expect([0, 2]).toContain(status);
  });

  test.each([
    ["empty", ""],
    ["longer than any name", "x".repeat(70_000)],
  ])("a glob that is %s is a mistake of the caller, not a bug of ours", (_what, glob) => {
    expect(["no match", "USAGE"]).toContain(outcome(() => (globMatcher(glob)("a") ? "match" : "no match")));
  });
});

describe("what every match of a glob begins and ends with", () => {
  test.each([
    ["inv*.pdf", "inv", ".pdf"],
    ["*", "", ""],
    ["a", "a", ""],
    ["a?b[cd]e{f,g}h", "a", "h"],
    ["image/*", "image/", ""],
    ["image/**", "", ""],
    ["image/{gif,png}", "image/", ""],
    ["é*ü", "é", "ü"],
    ["\\*a", "", ""],
    ["*/gif", "", ""],
    ["./a*", "", ""],
    ["a{b*c", "", ""],
  ])("of %j is %j and %j", (glob, prefix, suffix) => {
    expect(globEnds(glob)).toEqual([prefix, suffix]);
  });

  test("is there in whatever matches", () => {
    const next = randomNumbers(8);
    const pieces = ["*", "*", "**", "?", "[ab]", "[!a]", "{a,b*}", "{a}", "{,b}", ..."[]{}\\,.-!^+//a()'\"éab"];
    const text = (from: readonly string[], most: number) =>
      Array.from({ length: 1 + Math.floor(next() * most) }, () => from[Math.floor(next() * from.length)]).join("");
    let matched = 0;
    for (let round = 0; round < 10_000; round++) {
      const glob = text(pieces, 6);
      const matches = tryTo(() => globMatcher(glob));
      const [prefix, suffix] = globEnds(glob);
      for (let other = 0; matches && other < 20; other++) {
        const found = text([..."ab.-/é"], 4);
        // No name and no type ends with a slash.
        if (found.endsWith("/") || !matches(found)) continue;
        matched += 1;
        const ends = found.startsWith(prefix) && found.endsWith(suffix);
        expect(ends && found.length >= prefix.length + suffix.length, `${glob} matches ${found}`).toBe(true);
      }
    }
    expect(matched).toBeGreaterThan(1000);
  });
});

/** The glob has too many stars, perhaps. */
function tryTo<T>(what: () => T): T | undefined {
  try {
    return what();
  } catch {
    return undefined;
  }
}

describe("the one type that a filter asks for", () => {
  test.each(["image/png", "image/svg+xml", "application/vnd.ms-excel"])("is %j", async (type) => {
    expect(literalType({ type })).toBe(type);
    expect((await matcher({ type }))({ ...record, contentType: type })).toBe(true);
  });

  test.each([undefined, "", "image", "image/*", "image/{png,gif}", "text/plain; charset=utf-8", "a/b/c"])(
    "is not known from %j",
    (type) => {
      expect(literalType({ type })).toBeUndefined();
    },
  );
});

describe("the one name that a filter asks for", () => {
  test.each(["a.tgz", "copy (1).pdf", "Résumé.pdf", ".hidden", "a..b", "~x,y=z'&%#@", "日本.txt"])("is %j", (name) => {
    expect(literalName({ name })).toBe(name);
  });

  test.each([
    "inv*",
    "a?",
    "[ab]",
    "{a,b}",
    "a\\*",
    'a"b',
    "a!b",
    "a|b",
    "a+b",
    "$",
    "^",
    "",
    ".",
    "a/b",
    "a\nb",
    "e\u0301",
  ])("is not known from %j", (name) => {
    expect(literalName({ name })).toBeUndefined();
  });

  test("is none without a name, and none for what can be no name", () => {
    expect(literalName()).toBeUndefined();
    expect(literalName({ tags: { a: "b" } })).toBeUndefined();
    expect(literalName({ name: "x".repeat(513) })).toBeUndefined();
  });

  test("is what the glob matches, and nothing else", () => {
    const next = randomNumbers(7);
    const characters = [..." ()._~@#%&=,'-abAB1é"];
    const text = () =>
      Array.from({ length: 1 + Math.floor(next() * 4) }, () => characters[Math.floor(next() * 20)]).join("");
    for (let round = 0; round < 500; round++) {
      const name = text();
      const matches = globMatcher(name);
      if (literalName({ name }) === undefined) continue;
      expect(matches(name)).toBe(true);
      for (let other = 0; other < 20; other++) {
        const found = text();
        expect([name, found, matches(found)]).toEqual([name, found, found === name]);
      }
    }
  });
});

describe("times", () => {
  const now = Date.UTC(2026, 0, 31, 12);
  const hour = 3_600_000;

  test.each([
    ["7d", now - 7 * 24 * hour],
    ["24h", now - 24 * hour],
    ["1.5h", now - 1.5 * hour],
    ["30 minutes", now - hour / 2],
    ["0s", now],
    ["2026-01-30", Date.UTC(2026, 0, 30)],
    ["2026-01-30T06:00", Date.UTC(2026, 0, 30, 6)],
    ["2026-01-30T06:00:30.250", Date.UTC(2026, 0, 30, 6, 0, 30, 250)],
    ["2026-01-30T06:00:00Z", Date.UTC(2026, 0, 30, 6)],
    ["2026-01-30T06:00:00+02:00", Date.UTC(2026, 0, 30, 4)],
    ["2024-02-29", Date.UTC(2024, 1, 29)],
  ])("%s", (text, time) => {
    expect(parseTime("--since", text, now)).toBe(time);
  });

  test("a part of a millisecond is left out, as no id has one", () => {
    expect(parseTime("--since", "1.5ms", now)).toSatisfy(Number.isInteger);
  });

  test.each([
    "",
    "yesterday",
    "7",
    "-7d",
    "7 parsecs",
    "2026-02-30",
    "2026-13-01",
    "2026-01-30T25:00",
    "2026-1-3",
    "7d\n",
  ])("%j is refused under the flag's name", (text) => {
    expect(() => parseTime("--until", text, now)).toThrow(/^--until /);
  });
});

/** What a function returns, or the code of what it throws. */
function outcome(run: () => string): string {
  try {
    return run();
  } catch (error) {
    return error instanceof DocprocError ? error.code : String(error);
  }
}

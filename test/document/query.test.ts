import { describe, expect, test } from "vitest";
import { globMatcher } from "../../src/document/glob.ts";
import { idRange, type ListQuery, literalName, literalType, matcher, parseTime } from "../../src/document/query.ts";
import { firstIdAt } from "../../src/document/record.ts";
import { randomNumbers } from "../support/random.ts";
import { recordWith } from "../support/record.ts";

const record = recordWith({
  id: "0198aaaa-bbbb-7ccc-8ddd-eeeeeeeeee42",
  path: "Docs/2026/Report.pdf",
  contentType: "application/pdf",
  tags: { build: "42", empty: "" },
});

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
    ["any tag of a key", { tagKeys: ["build", "empty"] }, true],
    ["any tag of a key that it has not", { tagKeys: ["build", "other"] }, false],
    ["not a tag it has", { notTags: [{ key: "build", value: "42" }] }, false],
    ["not a tag it has with another value", { notTags: [{ key: "build", value: "43" }] }, true],
    ["no tag of a key", { notTags: [{ key: "empty" }] }, false],
    ["no tag of a key that it has not", { notTags: [{ key: "toString" }] }, true],
    ["its folder", { under: "Docs" }, true],
    ["a folder of its folder", { under: "Docs/2026" }, true],
    ["a folder that only begins like its own", { under: "Doc" }, false],
    ["its own path as a folder", { under: "Docs/2026/Report.pdf" }, false],
    ["its path", { path: "Docs/2026/Report.pdf" }, true],
    ["a glob for its path", { path: "Docs/**/*.pdf" }, true],
    ["a star for several folders", { path: "*.pdf" }, false],
    ["small letters of its path", { what: "cs/2026/rep" }, true],
    ["a capital letter elsewhere", { what: "REport" }, false],
    ["capital letters as they are", { what: "Report" }, true],
    ["a folder in small letters", { what: "docs/" }, true],
    ["a part of a folder", { what: "ocs/" }, false],
    ["a glob for its name in small letters", { what: "rep*.pdf" }, true],
    ["a glob for its path in small letters", { what: "docs/*/rep*" }, true],
    ["digits of its hash", { sha256: "00" }, true],
    ["digits of another hash", { sha256: "01" }, false],
    ["a branch, where it has none", { branch: "main" }, false],
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
  test.each([
    ...["a.tgz", "copy (1).pdf", "Résumé.pdf", ".hidden", "a..b", "~x,y=z'&%#@", "日本.txt"],
    ...['a"b', "a!b", "a|b", "a+b", "a]b", "a}b", "$", "^", "a\u2028b"],
  ])("is %j", (name) => {
    expect(literalName({ name })).toBe(name);
  });

  test("is the one in the form that names are kept in", () => {
    expect(literalName({ name: "e\u0301" })).toBe("é");
  });

  test.each(["inv*", "a?", "[ab]", "{a,b}", "a\\*", "", ".", "a/b", "./a"])("is not known from %j", (name) => {
    expect(literalName({ name })).toBeUndefined();
  });

  test("is none without a name, and none for what can be no name", () => {
    expect(literalName()).toBeUndefined();
    expect(literalName({ tags: { a: "b" } })).toBeUndefined();
    expect(literalName({ name: "x".repeat(1025) })).toBeUndefined();
  });

  test("is what the glob matches, and nothing else", () => {
    const next = randomNumbers(7);
    const characters = [..." ()._~@#%&=,'-abAB1é\"!|+$^]}"];
    const text = () =>
      Array.from({ length: 1 + Math.floor(next() * 4) }, () => characters[Math.floor(next() * 28)]).join("");
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

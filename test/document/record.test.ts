import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { DocprocError } from "../../src/core/errors.ts";
import { hashOfTags } from "../../src/document/identity.ts";
import {
  canonicalJson,
  compareBytes,
  contentType,
  documentMetadata,
  documentTags,
  firstIdAt,
  idOfKey,
  isDocumentId,
  newDocumentId,
  storageKey,
  type TextMap,
  timeOfId,
  uploadTimeOfId,
} from "../../src/document/record.ts";
import { randomNumbers } from "../support/random.ts";

const usage = expect.objectContaining({ code: "USAGE" });
const id = "0198aaaa-bbbb-7ccc-8ddd-eeeeeeeeee42";

/** A map in which `__proto__` is a key. */
function mapOf(...entries: [string, string][]): TextMap {
  const map: Record<string, string> = Object.create(null);
  for (const [key, value] of entries) map[key] = value;
  return map;
}

describe("ids", () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: Date.UTC(2030, 5, 15, 12, 0, 0, 123) });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test("ids made in one millisecond sort in the order they were made", () => {
    const made = Array.from({ length: 5_000 }, () => newDocumentId());
    expect(made.toSorted()).toEqual(made);
    expect(new Set(made).size).toBe(made.length);
  });

  test("a new id sorts after any given one, even one of a clock that was ahead", () => {
    const ahead = `${firstIdAt(Date.now() + 3_600_000)}-7fff-bfff-ffffffffffff`;
    const made = newDocumentId(ahead);
    expect(isDocumentId(made)).toBe(true);
    expect(made > ahead).toBe(true);
    expect(timeOfId(made)).toBe(timeOfId(ahead) + 1);
    expect(timeOfId(newDocumentId(made.replace(/^.{8}/, "00000000")))).toBe(Date.now());
  });

  test("an id is a lower-case UUIDv7 that holds the time it was made", () => {
    const made = newDocumentId();
    expect(made).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(timeOfId(made)).toBe(Date.now());
    expect(uploadTimeOfId(made)).toBe("2030-06-15T12:00:00.123Z");
  });

  test.each([
    [id, true],
    [id.toUpperCase(), false],
    ["0198aaaa-bbbb-4ccc-8ddd-eeeeeeeeee42", false],
    ["0198aaaa-bbbb-7ccc-8ddd-eeeeeeeeee4", false],
    [`${id} `, false],
    ["", false],
  ])("%j as a document id: %s", (text, valid) => {
    expect(isDocumentId(text)).toBe(valid);
  });

  test("the bound of a time lies between the ids before it and the ids at it", () => {
    const at = Date.now();
    const during = newDocumentId();
    vi.setSystemTime(at + 1);
    const after = newDocumentId();
    expect(firstIdAt(at) <= during).toBe(true);
    expect(during < firstIdAt(at + 1)).toBe(true);
    expect(firstIdAt(at + 1) <= after).toBe(true);
  });

  test.each([
    ["a time before 1970 is before every id", -1, "00000000-0000"],
    ["a time that no id can hold is clamped to the last one that can", 2 ** 60, "ffffffff-ffff"],
    // `--since 1.5ms` and the like.
    ["a part of a millisecond is still a bound of the right form", 1_500_000_000_000.5, "015d3ef7-980"],
  ])("%s", (_title, time, start) => {
    expect(firstIdAt(time)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}$/);
    expect(firstIdAt(time).startsWith(start)).toBe(true);
  });
});

describe("storage keys", () => {
  test("a key is the prefix, the last two hex digits, the id and the name", () => {
    expect(storageKey("team/in/", id, "Report-1_final.pdf")).toBe(`team/in/42/${id}/Report-1_final.pdf`);
  });

  test.each([
    ["Ünïcödé.PDF", "Unicode.PDF"],
    ["a 💩 b.txt", "a_b.txt"],
    ["💩", "document"],
    ["日本語.txt", "document.txt"],
    ["..", "document"],
    ["../../etc/passwd", "document.etc_passwd"],
    ["a..b", "a.b"],
    ["a\n\u001b[31mb.txt", "a_31mb.txt"],
    ["archive.tar.gz", "archive.tar.gz"],
  ])("the name %j becomes %s", (name, safe) => {
    expect(storageKey("", id, name)).toBe(`42/${id}/${safe}`);
  });

  const awkward = [
    ".hidden",
    ".a.b",
    "...",
    "..x",
    "-rf",
    `${"x".repeat(95)}.${"y".repeat(50)}.pdf`,
    `x.${"é".repeat(200)}`,
    "a".repeat(512),
    "\u202e\0/\\",
  ];
  test.each(awkward)("a key never ends in a hidden, long or non-ASCII part, nor in a way up: case %#", (name) => {
    const last = storageKey("p/", id, name).slice(`p/42/${id}/`.length);
    expect(last).toMatch(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/);
    expect(last).not.toContain("..");
  });

  test("a long name keeps its extension", () => {
    expect(storageKey("", id, `${"a".repeat(300)}.tar.gz`)).toMatch(/\/a{90,97}\.gz$/);
  });
});

describe("the id of a document", () => {
  test("is found in every key that is made for it, under its prefix alone", () => {
    const next = randomNumbers(11);
    const characters = [..."abcZ09._- /\\:%~\u00e9\u0301\ufb01\u00df\u4e2d\u{1f4c4}\n"];
    const lengths = [1, 2, 3, 8, 30, 120, 300];
    for (let round = 0; round < 5_000; round++) {
      const length = lengths[round % lengths.length] ?? 1;
      const name = Array.from({ length }, () => characters[Math.floor(next() * characters.length)]).join("");
      for (const prefix of ["", "p/", "team/in/"]) {
        const key = storageKey(prefix, id, name);
        expect({ key, id: idOfKey(key, prefix) }).toEqual({ key, id });
        expect(idOfKey(key, undefined)).toBe(id);
        expect(idOfKey(key, `${prefix}other/`)).toBeUndefined();
        if (prefix !== "") expect(idOfKey(key, "")).toBeUndefined();
      }
    }
  });

  const own = `42/${id}/a.pdf`;
  test.each([
    ...[
      "",
      "a.pdf",
      id,
      `${id}/a.pdf`,
      `43/${id}/a.pdf`,
      `42/${id}`,
      `42/${id}/`,
      `42/${id}/a/b`,
      `/${own}`,
      `x${own}`,
    ],
    ...["..", ".", ".a", "-a", "a\\b", "a\n", "\u00e9", "a b", "x".repeat(101)].map((name) => `42/${id}/${name}`),
    ...[`42/${id}/../${id}/a`, `42/${id.toUpperCase()}/a`, `42/${id.replace("7ccc", "4ccc")}/a`, `P/${own}`, ` ${own}`],
  ])("is not in %j", (key) => {
    expect(idOfKey(key, "")).toBeUndefined();
    expect(idOfKey(`p/${key}`, "p/")).toBeUndefined();
  });
});

describe("the series of a document", () => {
  test("the order of the tags does not matter", () => {
    const one = hashOfTags(mapOf(["a", "1"], ["b", "2"]));
    expect(hashOfTags(mapOf(["b", "2"], ["a", "1"]))).toBe(one);
    expect(one).toMatch(/^[0-9a-f]{64}$/);
  });

  test.each<[string, TextMap]>([
    ["another value", mapOf(["a", "2"])],
    ["another key", mapOf(["b", "1"])],
    ["no tag", mapOf()],
    ["a __proto__ tag more", mapOf(["a", "1"], ["__proto__", "x"])],
  ])("%s make another series", (_what, tags) => {
    expect(hashOfTags(tags)).not.toBe(hashOfTags(mapOf(["a", "1"])));
  });

  test("canonical JSON keeps __proto__ and orders keys by their UTF-8 bytes", () => {
    // U+FF21 sorts before U+1F600 in UTF-8 and behind it in UTF-16.
    const map = mapOf(["\u{1f600}", "3"], ["\uff21", "2"], ["__proto__", "1"], ["10", "0"], ["9", "0"]);
    expect(canonicalJson(map)).toBe('{"10":"0","9":"0","__proto__":"1","\uff21":"2","\u{1f600}":"3"}');
    expect(compareBytes("\uff21", "\u{1f600}")).toBeLessThan(0);
  });
});

describe("content types", () => {
  test.each([
    "application/pdf",
    "text/plain; charset=utf-8",
    "image/svg+xml",
    "application/vnd.ms-excel",
    "Text/Plain",
  ])("%s is one", (type) => {
    expect(contentType(type)).toBe(type);
  });

  test.each([
    "",
    "pdf",
    "/pdf",
    "text/",
    "text/plain\r\nX-Evil: 1",
    "text/plain; a=\n",
    "text/pläin",
    "a/b/c",
    " text/plain",
  ])("%j is none", (type) => {
    expect(() => contentType(type)).toThrow(usage);
  });
});

describe("tags and metadata", () => {
  const pairs = (count: number) => Array.from({ length: count }, (_, index) => `k${index}=v`);

  test.each<[string, string[], [string, string][]]>([
    ["only the first = divides", ["a=b=c"], [["a", "b=c"]]],
    ["a value may be empty", ["a="], [["a", ""]]],
    [
      "__proto__ and constructor are keys like any other",
      ["__proto__=1", "constructor=2"],
      [
        ["__proto__", "1"],
        ["constructor", "2"],
      ],
    ],
    ["spaces are kept", [" a = b "], [[" a ", " b "]]],
  ])("%s", (_title, given, entries) => {
    expect(Object.entries(documentTags(given))).toEqual(entries);
    expect(Object.entries(documentMetadata(given))).toEqual(entries);
  });

  test.each([["=x"], [""], ["key"], ["a=\ud800"], ["\udc00=a"]])("%j is refused as a pair", (pair) => {
    expect(() => documentTags([pair])).toThrow(usage);
    expect(() => documentMetadata([pair])).toThrow(usage);
  });

  test.each(["a", "__proto__"])("the key %s may be given once", (key) => {
    expect(() => documentTags([`${key}=1`, `${key}=1`])).toThrow(/twice/);
    expect(() => documentMetadata([`${key}=1`, `${key}=2`])).toThrow(usage);
  });

  test("a document has at most 40 tags", () => {
    expect(Object.keys(documentTags(pairs(40)))).toHaveLength(40);
    expect(() => documentTags(pairs(41))).toThrow(usage);
  });

  test.each([
    ["a key of 128 characters", true, `${"k".repeat(128)}=v`],
    ["a key of 129 characters", false, `${"k".repeat(129)}=v`],
    ["a value of 256 characters", true, `k=${"v".repeat(256)}`],
    ["a value of 257 characters", false, `k=${"v".repeat(257)}`],
  ])("a tag with %s is accepted: %s", (_what, accepted, pair) => {
    const check = () => documentTags([pair]);
    if (accepted) expect(Object.keys(check())).toHaveLength(1);
    else expect(check).toThrow(usage);
  });

  test("metadata has at most 16 KiB of JSON, counted in bytes", () => {
    const frame = '{"k":""}'.length;
    expect(documentMetadata([`k=${"v".repeat(16_384 - frame)}`])["k"]).toHaveLength(16_384 - frame);
    expect(() => documentMetadata([`k=${"v".repeat(16_384 - frame + 1)}`])).toThrow(usage);
    expect(() => documentMetadata([`k=${"é".repeat(8_192)}`])).toThrow(usage);
  });

  test("a refusal says what to do instead", () => {
    const refusal = (() => {
      try {
        return documentTags(pairs(41));
      } catch (error) {
        return error;
      }
    })();
    expect(refusal).toBeInstanceOf(DocprocError);
    expect(refusal).toMatchObject({ hint: expect.stringContaining("--meta") });
  });
});

/** The versions of a path as text: pure functions, tried against plain lists. */
import { createHash } from "node:crypto";
import { v7 } from "uuid";
import { describe, expect, test } from "vitest";
import {
  fromText,
  has,
  inserted,
  maxInHead,
  merged,
  movedAtOnce,
  ofSeries,
  seriesOf,
  toText,
  type Version,
  type Versions,
  versionOf,
  without,
} from "../../../src/metadata/dynamodb/versions.ts";
import { randomNumbers } from "../../support/random.ts";

const at = Date.UTC(2026, 0, 1);
const digest = (text: string) => createHash("sha256").update(text).digest("hex");
const versionAt = (time: number, tags = {}, bytes = "a") => versionOf(v7({ msecs: at + time }), tags, digest(bytes));
const versionsAt = (...times: number[]) => times.map((time) => versionAt(time));
const idsOf = (versions: Versions) => versions.map(({ id }) => id);

test("a version is 52 digits: its id, 12 of its tags and 8 of its bytes", () => {
  const version = versionAt(0, { build: "42" }, "text");
  const text = toText([version]);
  expect(text).toBe(
    version.id.replaceAll("-", "") + digest('{"build":"42"}').slice(0, 12) + digest("text").slice(0, 8),
  );
  expect(text).toHaveLength(52);
  expect(fromText(text)).toEqual([version]);
});

test("the text of any number of versions gives them back", () => {
  for (const count of [0, 1, 2, 16, 300]) {
    const versions = versionsAt(...Array.from({ length: count }, (_, index) => index));
    expect(fromText(toText(versions))).toEqual(versions);
  }
});

test("any other text is no versions", () => {
  const [first, second] = versionsAt(1, 2);
  const text = toText([first, second] as Versions);
  const others = [
    text.slice(1),
    `${text}0`,
    text.toUpperCase().replaceAll("0", "A"),
    text.replace(/^./, "g"),
    "-",
    " ",
  ];
  // Ids out of order, twice, and of another kind: they may reach a command line.
  others.push(toText([second, first] as Versions), toText([first, first] as Versions), "0".repeat(52));
  for (const other of others) expect(fromText(other), other).toBeUndefined();
});

test("tags have no order in the name of a series, and other tags have another", () => {
  expect(seriesOf({ b: "2", a: "1" })).toBe(seriesOf({ a: "1", b: "2" }));
  const names = [{}, { a: "1" }, { a: "2" }, { a: "1", b: "" }].map(seriesOf);
  expect(new Set(names).size).toBe(names.length);
});

test("the versions of a series come newest first", () => {
  const tagged = [versionAt(1, { a: "1" }), versionAt(3, { a: "1" })];
  const all = merged(versionsAt(0, 2, 4), tagged);
  expect(ofSeries(all, seriesOf({ a: "1" }))).toEqual(tagged.toReversed());
});

describe("a version that is added", () => {
  const full = versionsAt(...Array.from({ length: maxInHead }, (_, index) => 10 * index + 10));

  test("stands where its id says", () => {
    const [one, two, three] = versionsAt(1, 2, 3) as [Version, Version, Version];
    expect(inserted([], two, undefined)).toEqual({ head: [two], page: undefined });
    expect(inserted([one, three], two, undefined)).toEqual({ head: [one, two, three], page: undefined });
    expect(inserted([one, two], two, undefined)).toEqual({ head: [one, two], page: undefined });
  });

  test("moves the eight oldest to a page when it does not fit, and may be one of them", () => {
    for (const time of [1, 55, 1000]) {
      const version = versionAt(time);
      const all = merged(full, [version]);
      const wanted = { head: all.slice(movedAtOnce), page: all.slice(0, movedAtOnce) };
      expect(inserted(full, version, undefined)).toEqual(wanted);
    }
  });

  test("goes to a page of its own when it is older than the head and there are pages", () => {
    const version = versionAt(5);
    expect(inserted(full, version, full[0]?.id)).toEqual({ head: full, page: [version] });
    expect(inserted([], version, versionAt(6).id)).toEqual({ head: [], page: [version] });
    expect(inserted([], version, versionAt(4).id)).toEqual({ head: [version], page: undefined });
  });

  test("leaves every id in the pages smaller than every id in the head, in any order", () => {
    const next = randomNumbers(3);
    for (let round = 0; round < 50; round++) {
      let head: Versions = [];
      let pages: Versions[] = [];
      const model = new Set<string>();
      for (let step = 0; step < 80; step++) {
        const isRemoval = next() < 0.3 && model.size > 0;
        const id = [...model][Math.floor(next() * model.size)] ?? "";
        if (isRemoval) {
          model.delete(id);
          head = without(head, id);
          pages = pages.map((page) => without(page, id)).filter((page) => page.length > 0);
        } else {
          const version = versionAt(Math.floor(next() * 1000));
          model.add(version.id);
          const oldest = pages.length === 0 ? undefined : (head[0] ?? merged(...pages).at(-1))?.id;
          const { head: after, page } = inserted(head, version, oldest);
          head = after;
          if (page) pages.push(page);
        }
        const older = merged(...pages);
        expect(idsOf(merged(older, head))).toEqual([...model].sort());
        expect(head.length).toBeLessThanOrEqual(maxInHead);
        if (head[0] && older.length > 0) expect(older.at(-1)?.id.localeCompare(head[0].id)).toBe(-1);
      }
    }
  });
});

test("one is taken away, and only that one", () => {
  const versions = versionsAt(1, 2, 3);
  const [, second] = versions as [Version, Version, Version];
  expect(has(versions, second.id)).toBe(true);
  expect(without(versions, second.id)).toEqual(versions.filter((one) => one !== second));
  expect(has(without(versions, second.id), second.id)).toBe(false);
});

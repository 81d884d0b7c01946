/** `docproc stats`: counts and bytes. */
import { describe, expect, test } from "vitest";
import { collectStats } from "../../../src/library/stats.ts";
import { openEmptyLibrary, openLibrary, places, usePlace } from "../../support/library.ts";

const today = () => new Date().toISOString().slice(0, 10);

describe.each(Object.entries(places))("statistics of %s", (_place, start) => {
  const endpoint = usePlace(start);

  test("are of all documents, or of those that flags choose", async () => {
    const { run, upload } = await openLibrary(endpoint());
    await upload("a.txt", "aaaa", "--tag", "build=1", "--tag", "os=x");
    await upload("b.txt", "bb", "--tag", "build=1");
    await upload("c.json", "{}{}{}{}", "--tag", "build=2");
    const outcome = await run(["stats", "--json"]);
    expect(outcome.status).toBe(0);
    expect(outcome.json()).toEqual({
      schema: "docproc.stats/1",
      count: 3,
      bytes: 14,
      types: [
        { key: "application/json", count: 1, bytes: 8 },
        { key: "text/plain", count: 2, bytes: 6 },
      ],
      tags: [
        { key: "build=2", count: 1, bytes: 8 },
        { key: "build=1", count: 2, bytes: 6 },
        { key: "os=x", count: 1, bytes: 4 },
      ],
      days: [{ key: today(), count: 3, bytes: 14 }],
      tagsLeftOut: 0,
    });
    const some = (await run(["stats", "--tag", "build=1", "--name", "a*", "--json"])).json();
    expect(some).toMatchObject({ count: 1, bytes: 4 });
    expect((await run(["stats", "--until", "2020-01-01", "--json"])).json()).toMatchObject({ count: 0, days: [] });
  });
});

test("statistics of an empty catalog are zero", async () => {
  const { run } = await openEmptyLibrary();
  expect(await run(["stats"], { terminal: 80 })).toMatchObject({ status: 0, stdout: "0 documents, 0 B\n" });
});

test("statistics are drawn for a person, the largest bar for the most bytes", async () => {
  const { run, upload } = await openLibrary();
  await upload("a.txt", "a".repeat(1000), "--tag", "x=\u001b[31m");
  await upload("b.json", "b");
  const { stdout } = await run(["stats", "--no-color"], { terminal: 100 });
  expect(stdout).toMatch(/^2 documents, 1 kB\n/);
  expect(stdout).toMatch(/text\/plain +1 +1 kB +█{20}\n/);
  expect(stdout).toMatch(/application\/json +1 +1 B +█\n/);
  expect(stdout).toContain("x=\\e[31m");
  const narrow = (await run(["stats", "--no-color"], { terminal: 40 })).stdout.split("\n");
  expect(Math.max(...narrow.map((line) => line.length))).toBeLessThanOrEqual(40);
});

test("statistics are lines without bars in a pipe, all of them", async () => {
  const { run, upload } = await openLibrary();
  const tags = Array.from({ length: 12 }, (_, index) => ["--tag", `t${index}=1`]).flat();
  await upload("a.txt", "a".repeat(1000), ...tags);
  await upload("b.json", "b", "--tag", "x=\u001b[31m\t");
  const { stdout } = await run(["stats"]);
  const [total, ...rows] = stdout
    .trimEnd()
    .split("\n")
    .map((line) => line.split("\t"));
  expect(total).toEqual(["total", "-", "2", "1001"]);
  expect(rows.slice(0, 2)).toEqual([
    ["type", "text/plain", "1", "1000"],
    ["type", "application/json", "1", "1"],
  ]);
  expect(rows.filter(([kind]) => kind === "tag")).toHaveLength(13);
  expect(rows).toContainEqual(["tag", "x=\\e[31m\\t", "1", "1"]);
  expect(rows.at(-1)).toEqual(["day", today(), "2", "1001"]);
});

test("statistics keep a limited number of tags", async () => {
  async function* records() {
    for (let index = 0; index < 10_010; index++) {
      yield {
        size: 1,
        contentType: "a/b",
        uploadedAt: "2026-01-01T00:00:00.000Z",
        tags: { build: `${index}` },
      } as never;
    }
  }
  const { count, tags, tagsLeftOut } = await collectStats(records());
  expect({ count, tags: tags.length, tagsLeftOut }).toEqual({ count: 10_010, tags: 10_000, tagsLeftOut: 10 });
});

test("statistics refuse invalid filters", async () => {
  const { run } = await openEmptyLibrary();
  expect((await run(["stats", "--since", "yesterday"])).status).toBe(2);
  expect((await run(["stats", "--commit", "abc"])).status).toBe(2);
});

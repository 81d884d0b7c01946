/** `docproc tag`: other tags for a document that is there. */
import { describe, expect, test } from "vitest";
import { openLibrary, places, usePlace } from "../../support/library.ts";

describe.each(Object.entries(places))("tagging in %s", (_place, start) => {
  const endpoint = usePlace(start);

  test("sets, replaces and removes tags in one step, and keeps the others", async () => {
    const { run, upload } = await openLibrary(endpoint());
    const record = await upload("a.txt", "a", "--tag", "keep=1", "--tag", "change=1", "--tag", "drop=1");
    const outcome = await run(["tag", "a.txt", "change=2", "drop-", "missing-", "new=x=y", "--json"]);
    expect(outcome).toMatchObject({ status: 0, stderr: "" });
    const tags = { keep: "1", change: "2", new: "x=y" };
    expect(outcome.json()).toEqual({ schema: "docproc.tag/1", ...record, tags, action: "tagged" });
    expect((await run(["show", record.id, "--json"])).json()).toEqual({ schema: "docproc.record/1", ...record, tags });
    expect((await run(["list", "--tag", "change=1", "-q"])).stdout).toBe("");
    expect((await run(["verify", "a.txt"])).status).toBe(0);
  });

  test("changes nothing where nothing changes", async () => {
    const { run, upload } = await openLibrary(endpoint());
    await upload("a.txt", "a", "--tag", "a=1");
    expect((await run(["tag", "a.txt", "a=1", "b-", "--json"])).json()).toMatchObject({ action: "unchanged" });
  });

  test("makes no upload store a second copy, and none find a document that was uploaded with other tags", async () => {
    const { run, upload } = await openLibrary(endpoint());
    const { id } = await upload("a.txt", "a");
    await run(["tag", "a.txt", "build=1"]);
    expect(await upload("a.txt", "a")).toMatchObject({ id, tags: { build: "1" } });
    expect((await upload("a.txt", "a", "--tag", "build=1")).id).not.toBe(id);
    expect((await run(["list", "--json"])).json().count).toBe(2);
  });

  test("leaves versions apart that it gives the same tags", async () => {
    const { run, upload } = await openLibrary(endpoint());
    const one = await upload("a.txt", "a", "--tag", "build=1");
    const two = await upload("a.txt", "a", "--tag", "build=2");
    expect(await run(["tag", one.id, "build=2"])).toMatchObject({ status: 0 });
    const { documents } = (await run(["list", "--json"])).json();
    expect(documents).toEqual([two, { ...one, tags: { build: "2" } }]);
    // Each is still found by the tags that it was uploaded with.
    for (const [build, { id }] of [["1", one] as const, ["2", two] as const]) {
      expect((await upload("a.txt", "a", "--tag", `build=${build}`)).id).toBe(id);
    }
  });
});

test.each([
  [["a.txt"], /missing required argument/i],
  [["a.txt", "plain"], /not of the form key=value/],
  [["a.txt", "a=1", "a-"], /"a" cannot be both set and removed/],
  [["a.txt", "a=1", "a=2"], /given twice/],
  [["a.txt", "=x"], /not of the form/],
  [["a.txt", `a=${"x".repeat(300)}`], /too long/],
])("tagging refuses %j before it looks for the document", async (argv, message) => {
  const { run } = await openLibrary();
  const outcome = await run(["tag", ...argv, "--json"]);
  expect(outcome.status).toBe(2);
  expect(outcome.json()).toMatchObject({ code: "USAGE", message: expect.stringMatching(message) });
});

test("tagging refuses the 41st tag", async () => {
  const { run, upload } = await openLibrary();
  const tags = Array.from({ length: 40 }, (_, index) => ["--tag", `t${index}=1`]).flat();
  await upload("a.txt", "a", ...tags);
  expect((await run(["tag", "a.txt", "one-more=1"])).status).toBe(2);
  expect((await run(["tag", "a.txt", "one-more=1", "t0-"])).status).toBe(0);
});

test("tagging names a missing document, and prints ids with -q", async () => {
  const { run, upload } = await openLibrary();
  expect((await run(["tag", "a.txt", "a=1"])).status).toBe(3);
  const { id } = await upload("a.txt", "a");
  expect((await run(["tag", "a.txt", "a=1", "-q"])).stdout).toBe(`${id}\n`);
  expect((await run(["tag", "a.txt", "b=2"])).stdout).toBe(`tagged ${id}  a=1 b=2\n`);
});

/** `docproc list --sort`, `--commit` and `--run`. */
import { describe, expect, test } from "vitest";
import { awsSettings, startInRepoAws } from "../../support/aws.ts";
import { startFaultProxy } from "../../support/fault-proxy.ts";
import { openLibrary } from "../../support/library.ts";

async function openSorted() {
  const library = await openLibrary();
  for (const [name, size] of [
    ["b", 1],
    ["a", 3],
    ["d", 2],
    ["c", 3],
    ["a", 2],
  ] as const) {
    await library.upload(name, "x".repeat(size), "--tag", `half=${name < "c" ? 1 : 2}`);
  }
  const listed = async (...argv: string[]): Promise<string[]> => {
    const outcome = await library.run(["list", "--json", ...argv]);
    expect(outcome).toMatchObject({ status: 0 });
    return outcome.json().documents.map(({ name, size }: { name: string; size: number }) => `${name}${size}`);
  };
  return { ...library, listed };
}

describe("sorted", () => {
  test("by size the largest come first, by path the first of the alphabet, and by time the newest", async () => {
    const { listed } = await openSorted();
    expect(await listed("--sort", "size")).toEqual(["c3", "a3", "a2", "d2", "b1"]);
    expect(await listed("--sort", "size", "--asc")).toEqual(["b1", "d2", "a2", "a3", "c3"]);
    expect(await listed("--sort", "path")).toEqual(["a3", "a2", "b1", "c3", "d2"]);
    expect(await listed("--sort", "time")).toEqual(await listed());
  });

  test("filters and time ranges leave out what they leave out", async () => {
    const { listed, run } = await openSorted();
    expect(await listed("--sort", "size", "--tag", "half=1")).toEqual(["a3", "a2", "b1"]);
    expect(await listed("--sort", "path", "--name", "[bc]")).toEqual(["b1", "c3"]);
    expect(await listed("--sort", "size", "--until", "2020-01-01")).toEqual([]);
    expect(await listed("--sort", "size", "--since", "1h", "--type", "text/plain")).toHaveLength(5);
    expect((await run(["list", "--sort", "size", "-q", "--limit", "1"])).stdout).toMatch(/^[0-9a-f-]{36}\n$/);
  });

  test.each(["size", "path"])("pages by %s make up the whole, whatever their size", async (by) => {
    const { run, listed } = await openSorted();
    const whole = await listed("--sort", by);
    for (const limit of ["1", "2", "4"]) {
      const pages: string[] = [];
      for (let cursor: string | null = null; ; ) {
        const argv: string[] = [
          "list",
          "--sort",
          by,
          "--limit",
          limit,
          "--json",
          ...(cursor ? ["--cursor", cursor] : []),
        ];
        const { documents, nextCursor } = (await run(argv)).json();
        for (const { name, size } of documents) pages.push(`${name}${size}`);
        cursor = nextCursor;
        if (cursor === null) break;
      }
      expect(pages).toEqual(whole);
    }
  });

  test("a page cannot go on behind a document that is gone", async () => {
    const { run } = await openSorted();
    const { nextCursor } = (await run(["list", "--sort", "size", "--limit", "2", "--json"])).json();
    await run(["delete", nextCursor, "--yes"]);
    const outcome = await run(["list", "--sort", "size", "--cursor", nextCursor, "--json"]);
    expect(outcome.json()).toMatchObject({ code: "NOT_FOUND", hint: expect.stringContaining("without --cursor") });
  });

  test("more documents than are read at a time come in order", async () => {
    const { run, plant, upload } = await openLibrary();
    const record = await upload("x", "x");
    for (let index = 0; index < 1_100; index++) {
      const id = `${record.id.slice(0, 24)}${index.toString(16).padStart(12, "0")}`;
      await plant({ ...record, id, name: `n${index}`, size: (index * 7_919) % 1_000 });
    }
    const { documents } = (await run(["list", "--all", "--sort", "size", "--json"])).json();
    expect(documents).toHaveLength(1_101);
    const keys = documents.map(({ size, id }: { size: number; id: string }) => `${`${size}`.padStart(4, "0")} ${id}`);
    expect(keys).toEqual(keys.toSorted().toReversed());
  });

  test("is refused in other orders, and where DynamoDB would have to read everything for it, before it is asked", async () => {
    const { run } = await openLibrary();
    expect((await run(["list", "--sort", "color"])).status).toBe(2);
    const aws = await startInRepoAws();
    const proxy = await startFaultProxy(aws.endpoint);
    const argv = ["list", "--sort", "size", "--json", "--bucket", awsSettings("").bucket ?? ""];
    const outcome = await run([...argv, "--endpoint-url", proxy.endpoint]);
    expect(outcome.status).toBe(2);
    expect(outcome.json().hint).toContain("sort_by(.size)");
    expect(proxy.log).toEqual([]);
    await proxy.close();
    await aws.close();
  });
});

describe("of one origin", () => {
  test.each([
    ["--commit", "xyz1234"],
    ["--commit", "abc"],
  ])("%s %s is refused", async (...argv) => {
    const { run } = await openLibrary();
    expect((await run(["list", ...argv])).status).toBe(2);
  });

  test("documents are found by the CI run that uploaded them", async () => {
    const { run, upload } = await openLibrary();
    await upload("a.txt", "a");
    const env = { BUILDKITE: "true", BUILDKITE_BUILD_NUMBER: "7" };
    const uploaded = await run(["upload", "-", "--name", "b.txt", "-q"], { env, stdin: "b" });
    expect((await run(["list", "--run", "7", "-q"])).stdout).toBe(uploaded.stdout);
    expect((await run(["list", "--run", "8", "-q"])).stdout).toBe("");
  });
});

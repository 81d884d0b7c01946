/** Answers of any size: written with little memory, and whole JSON documents also when they are interrupted. */
import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { openDatabase } from "../../src/files/sqlite.ts";
import { fillCatalog } from "../bench/catalog.ts";
import { finish, start } from "../support/process.ts";
import { makeSandbox } from "../support/run.ts";

const count = 200_000;
const versions = 120_000;
/** Megabytes; the records alone are more than twice as many. */
const heap = ["--max-old-space-size=64"];

/** @param path of all documents, if they are versions of one */
async function openLibrary(records: number, path?: string) {
  const sandbox = await makeSandbox();
  const directory = join(sandbox.root, "library");
  await mkdir(directory, { mode: 0o700 });
  await fillCatalog(directory, records);
  if (path !== undefined) {
    const database = await openDatabase(join(directory, "catalog.db"), 0, () => {});
    database.prepare("UPDATE documents SET path = ?, name = ?").run(path, path);
    database.close();
  }
  const env = { DOCPROC_DIRECTORY: directory };
  return {
    sandbox,
    begin: (...argv: string[]) => start(sandbox, argv, { env, node: heap }),
    /** Runs it into a file. */
    async lines(...argv: string[]) {
      const path = join(sandbox.root, "printed");
      const file = await open(path, "w+");
      const outcome = await finish(start(sandbox, argv, { env, node: heap, stdout: file.fd }));
      expect(outcome).toEqual({ status: 0, stdout: "", stderr: "" });
      await file.close();
      return (await open(path)).readLines();
    },
  };
}

describe("a list of everything", () => {
  test("needs no more memory for more records, as JSON and in a pipe", async () => {
    const { lines } = await openLibrary(count);
    let [item, rest, items, last]: [string | undefined, string, number, string] = [undefined, "", 0, "~"];
    for await (const line of await lines("list", "--all", "--json")) {
      if (line === "    {") item = "";
      if (item === undefined) rest += line;
      else item += line;
      if (item === undefined || !line.startsWith("    }")) continue;
      const { id, sha256 } = JSON.parse(item.replace(/,$/, ""));
      expect(id < last && sha256.length === 64).toBe(true);
      [item, items, last] = [undefined, items + 1, id];
    }
    expect(items).toBe(count);
    expect(JSON.parse(rest)).toEqual({ schema: "docproc.list/1", documents: [], count, nextCursor: null });

    let rows = 0;
    for await (const line of await lines("list", "--all")) rows += line.split("\t").length === 6 ? 1 : 0;
    expect(rows).toBe(count);
  });

  test("needs no more memory for more versions of a path", async () => {
    const { lines } = await openLibrary(versions, "a.txt");
    let text = "";
    for await (const line of await lines("show", "a.txt", "--versions", "--json")) text += line;
    const { documents, ...others } = JSON.parse(text);
    expect(others).toEqual({ schema: "docproc.list/1", count: versions, nextCursor: null });
    const ids: string[] = documents.map(({ id }: { id: string }) => id);
    expect(ids).toEqual([...new Set(ids)].sort().reverse());
    expect(ids).toHaveLength(versions);
  });

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("is one document when it is interrupted while its reader waits: %s", async (signal, status) => {
    const { begin } = await openLibrary(20_000);
    const child = begin("list", "--all", "--json");
    // Nothing is read until the pipe is full.
    await new Promise((resolve) => child.stdout?.once("readable", resolve));
    await pause(1_000);
    child.kill(signal);
    await pause(100);
    const { stdout, stderr, ...ended } = await finish(child);
    expect([status, signal]).toContain(ended.status);
    const { documents, error, ...others } = JSON.parse(stdout);
    expect(others).toEqual({ schema: "docproc.list/1" });
    expect(documents.length).toBeGreaterThan(10);
    expect(documents.length).toBeLessThan(20_000);
    expect(error).toMatchObject({ schema: "docproc.error/1", code: "CANCELLED" });
    expect(JSON.parse(stderr)).toEqual(error);
  });

  test("stops when its reader has gone", async () => {
    const { begin } = await openLibrary(20_000);
    const child = begin("list", "--all", "--json");
    await new Promise((resolve) => child.stdout?.once("readable", resolve));
    child.stdout?.destroy();
    const [status] = await new Promise<unknown[]>((resolve) => child.once("close", (...how) => resolve(how)));
    expect(status).toBe(0);
  });
});

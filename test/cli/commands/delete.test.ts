/** `docproc delete`: what is deleted, and what is asked before. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, onTestFinished, test } from "vitest";
import { newDocumentId } from "../../../src/document/record.ts";
import { openLibrary, places, usePlace } from "../../support/library.ts";
import type { RunOptions } from "../../support/run.ts";
import { remark, storedKeys, tamper } from "../../support/stored.ts";
import { keyboard } from "../../support/streams.ts";

const cli = fileURLToPath(new URL("../../../dist/docproc.js", import.meta.url));

async function openDeletable(endpoint?: string) {
  const library = await openLibrary(endpoint);
  return {
    ...library,
    remove: (...argv: string[]) => library.run(["delete", ...argv, "--yes", "--json"]),
    names: async (): Promise<string[]> =>
      (await library.run(["list", "--asc", "--json"])).json().documents.map(({ name }: { name: string }) => name),
    keys: () => storedKeys(library.settings),
  };
}

describe.each(Object.entries(places))("deleting from %s", (_place, start) => {
  const endpoint = usePlace(start);

  test("takes the record, its place and the bytes away, and nothing else", async () => {
    const { remove, upload, names, keys } = await openDeletable(endpoint());
    const record = await upload("a.txt", "a");
    const other = await upload("b.txt", "b");
    const outcome = await remove("a.txt");
    expect(outcome).toMatchObject({ status: 0, stderr: "" });
    expect(outcome.json()).toEqual({
      schema: "docproc.delete/1",
      documents: [{ ...record, action: "deleted", bytes: "removed", reason: null }],
      failures: [],
      summary: { total: 1, deleted: 1, failed: 0, durationMs: expect.any(Number) },
    });
    expect(await names()).toEqual(["b.txt"]);
    expect(await keys()).toEqual([expect.stringContaining(other.id)]);
    // A place that stayed would make it a duplicate of nothing.
    expect((await upload("a.txt", "a")).id).not.toBe(record.id);
  });

  test("twice finds nothing the second time", async () => {
    const { remove, upload } = await openDeletable(endpoint());
    const { id } = await upload("a.txt", "a");
    expect(await remove(id)).toMatchObject({ status: 0 });
    const again = await remove(id);
    expect(again).toMatchObject({ status: 3 });
    expect(again.json().failures).toMatchObject([{ ref: id, code: "NOT_FOUND" }]);
  });

  test("of one of two documents with the same bytes leaves the other whole", async () => {
    const { run, remove, upload } = await openDeletable(endpoint());
    const [one, two] = [await upload("a.txt", "same"), await upload("b.txt", "same")];
    expect(await remove(one.id)).toMatchObject({ status: 0 });
    expect(await run(["cat", two.id])).toMatchObject({ status: 0, stdout: "same" });
  });

  test("takes away a record whose bytes are gone already", async () => {
    const { remove, upload, names } = await openDeletable(endpoint());
    await tamper(await upload("a.txt", "a"), endpoint(), () => null);
    expect(await remove("a.txt")).toMatchObject({ status: 0 });
    expect(await names()).toEqual([]);
  });

  test.each([
    ["other-catalog", "another catalog", "00112233445566778899aabbccddeeff"],
    ["unmarked", "no mark of a catalog", null],
  ])("leaves bytes that are %s where they are, and says so", async (reason, why, mark) => {
    const { run, remove, upload, names, keys, settings } = await openDeletable(endpoint());
    const [one, two] = [await upload("a.txt", "a"), await upload("b.txt", "b")];
    await remark(settings, [one, two], mark);
    const outcome = await remove(one.id);
    expect(outcome).toMatchObject({ status: 0 });
    expect(outcome.json().documents).toEqual([{ ...one, action: "deleted", bytes: "kept", reason }]);
    const human = await run(["delete", two.id, "--yes"]);
    expect(human).toMatchObject({ status: 0, stdout: expect.stringContaining(`bytes kept: ${two.uri} (`) });
    expect(human.stdout).toContain(why);
    expect(human.stderr).toEqual(mark === null ? "" : expect.stringContaining("--adopt"));
    expect(await names()).toEqual([]);
    expect(await keys()).toHaveLength(2);
  });

  test("keeps a document whose bytes are in another storage", async () => {
    const { remove, upload, plant, names } = await openDeletable(endpoint());
    const elsewhere = {
      ...(await upload("a.txt", "a")),
      id: newDocumentId(),
      path: "b.txt",
      name: "b.txt",
      uri: "s3://not-this-one/k",
    };
    await plant(elsewhere);
    expect(await remove(elsewhere.id)).toMatchObject({
      status: 3,
      stderr: expect.stringContaining("s3://not-this-one/k"),
    });
    expect((await names()).sort()).toEqual(["a.txt", "b.txt"]);
  });

  test("by two processes at once is done by one of them", async () => {
    const { sandbox, upload, keys } = await openDeletable(endpoint());
    const { id } = await upload("a.txt", "a");
    const { root, home, cwd, data } = sandbox;
    const flags = endpoint() === undefined ? ["--directory", data] : [];
    const env = { ...process.env, HOME: home, XDG_CONFIG_HOME: root, XDG_DATA_HOME: root, XDG_STATE_HOME: root };
    const remove = () =>
      new Promise<number>((resolve) => {
        const argv = [cli, "delete", id, "--yes", ...flags];
        const child = execFile(process.execPath, argv, { cwd, env }, () => resolve(child.exitCode ?? -1));
        onTestFinished(() => void child.kill("SIGKILL"));
      });
    const statuses = await Promise.all([remove(), remove(), remove()]);
    expect(statuses.sort()).toEqual([0, 3, 3]);
    expect(await keys()).toEqual([]);
  });
});

describe("deleting several", () => {
  test("deletes those that can be, and accounts for the others", async () => {
    const { run, remove, upload, names } = await openDeletable();
    const [a, b, c, d] = [
      await upload("a", "1"),
      await upload("b", "2"),
      await upload("c", "3"),
      await upload("d", "4"),
    ];
    const outcome = await remove("a", "missing", b.id);
    expect(outcome).toMatchObject({ status: 7 });
    expect(outcome.json()).toMatchObject({
      documents: [{ id: a.id }, { id: b.id }],
      failures: [{ ref: "missing", code: "NOT_FOUND" }],
      summary: { total: 3, deleted: 2, failed: 1 },
    });
    expect(await names()).toEqual(["c", "d"]);
    expect(await remove("missing", "gone")).toMatchObject({ status: 3 });
    expect(await run(["rm", "c", "-y", "-q"])).toMatchObject({ status: 0, stdout: `${c.id}\n` });
    const [line = "", ...rest] = (await run(["delete", "d", "--yes", "--ndjson"])).stdout.split("\n");
    expect(JSON.parse(line)).toEqual({ ...d, action: "deleted", bytes: "removed", reason: null });
    expect(rest).toEqual([""]);
  });

  test("takes one that is named twice for one", async () => {
    const { remove, upload } = await openDeletable();
    const { id } = await upload("a", "1");
    const outcome = await remove("a", id, id.toUpperCase());
    expect(outcome).toMatchObject({ status: 0 });
    expect(outcome.json()).toMatchObject({ documents: [{ id }], summary: { total: 1, deleted: 1 } });
  });

  test("of a name takes the newest", async () => {
    const { remove, upload, run } = await openDeletable();
    const [older, newer] = [await upload("a", "1"), await upload("a", "2")];
    expect((await remove("a")).json().documents).toMatchObject([{ id: newer.id }]);
    expect((await run(["list", "-q"])).stdout).toBe(`${older.id}\n`);
  });
});

describe("the question before something is deleted", () => {
  const at = (keys: string): RunOptions => ({ terminal: 80, stdin: keyboard(keys) });

  test.each(["y\r", "yes\r", " Y \r", "YES\n"])("%j confirms", async (keys) => {
    const { run, upload, names } = await openDeletable();
    const { id } = await upload("a\u202e.txt", "a");
    const outcome = await run(["delete", id], at(keys));
    expect(outcome).toMatchObject({ status: 0, stdout: expect.stringMatching(/^deleted +[0-9a-f-]{36} /) });
    expect(outcome.stderr).toContain(`Delete a\\u{202e}.txt (${id})? [y/N] `);
    expect(await names()).toEqual([]);
  });

  test.each([
    ["no", "n\r"],
    ["nothing", "\r"],
    ["something else", "yeah, why not\r"],
    ["Ctrl-D", "\u0004"],
    ["Ctrl-C", "\u0003"],
    ["Ctrl-C after a yes", "y\u0003"],
  ])("%s deletes nothing", async (_what, keys) => {
    const { run, upload, names, keys: stored } = await openDeletable();
    await upload("a.txt", "a");
    const outcome = await run(["delete", "a.txt"], at(keys));
    expect(outcome).toMatchObject({
      status: 130,
      stdout: "",
      stderr: expect.stringMatching(/\nerror: .+\nhint: .+\n$/),
    });
    expect(await names()).toEqual(["a.txt"]);
    expect(await stored()).toHaveLength(1);
  });

  test("ends with the terminal, or with a signal", async () => {
    const { run, upload, names } = await openDeletable();
    await upload("a.txt", "a");
    const hungUp = keyboard("");
    hungUp.push(null);
    expect(await run(["delete", "a.txt"], { terminal: 80, stdin: hungUp })).toMatchObject({ status: 130 });
    const abort = new AbortController();
    const waiting = keyboard("");
    waiting.once("resume", () => setImmediate(() => abort.abort()));
    const outcome = await run(["delete", "a.txt"], { terminal: 80, stdin: waiting, signal: abort.signal });
    expect(outcome).toMatchObject({ status: 130, stdout: "", stderr: expect.stringContaining("[y/N] ") });
    expect(await names()).toEqual(["a.txt"]);
  });

  test("names some of many, and is about those that are there", async () => {
    const { run, upload } = await openDeletable();
    const names = ["1", "2", "3", "4", "5", "6", "7"];
    for (const name of names) await upload(name, name);
    const { stderr } = await run(["delete", ...names, "missing"], at("n\r"));
    expect(stderr).toMatch(/Delete 1 \([0-9a-f-]{36}\), 2 \(.+\), 3 \(.+\), 4 \(.+\), 5 \(.+\) and 2 more\? \[y\/N\] /);
    expect(stderr).toContain("failed missing: ");
  });

  test("says what a path keeps, and tells equal paths apart", async () => {
    const { run, upload } = await openDeletable();
    const [first, second, third] = [await upload("a", "1"), await upload("a", "2"), await upload("a", "3")];
    const asked = await run(["delete", "a"], at("n\r"));
    expect(asked.stderr).toContain(`a keeps 2 other versions.\nDelete a (${third.id})? [y/N] `);
    const both = await run(["delete", first.id, second.id], at("n\r"));
    expect(both.stderr).toContain(`Delete a (${first.id}), a (${second.id})? [y/N] `);
    expect(both.stderr).not.toContain("keeps");
    const done = await run(["delete", "a", first.id, "--yes"]);
    expect(done).toMatchObject({ status: 0, stderr: expect.stringContaining("a keeps 1 other version.\n") });
    expect((await run(["list", "-q"])).stdout).toBe(`${second.id}\n`);
  });

  test("is not asked if there is nothing to delete, and goes to stderr", async () => {
    const { run, upload } = await openDeletable();
    await upload("a.txt", "a");
    expect((await run(["delete", "missing"], at("y\r"))).stderr).not.toContain("[y/N]");
    const outcome = await run(["delete", "a.txt", "--json"], at("y\r"));
    expect(outcome.json()).toMatchObject({ schema: "docproc.delete/1", documents: [{ name: "a.txt" }] });
  });

  test.each<[string, RunOptions]>([
    ["standard input is no terminal", { terminal: 80, stdin: "y\n" }],
    ["standard error is no terminal", { stdin: keyboard("y\r") }],
    ["neither is", {}],
  ])("is refused where %s: --yes is needed", async (_what, options) => {
    const { run, upload, names } = await openDeletable();
    await upload("a.txt", "a");
    const outcome = await run(["delete", "a.txt"], options);
    expect(outcome).toMatchObject({ status: 2, stdout: "", stderr: expect.stringContaining("--yes") });
    expect(await names()).toEqual(["a.txt"]);
    expect(await run(["delete", "a.txt", "--yes"], options)).toMatchObject({ status: 0 });
  });
});

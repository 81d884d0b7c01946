/** `docproc export` and `docproc import`: records out of a catalog, and into one whose storage has their bytes. */
import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, expect, onTestFinished, test } from "vitest";
import type { DocumentRecord } from "../../../src/document/record.ts";
import { awsEndpoints, awsSettings, startInRepoAws } from "../../support/aws.ts";
import { writeConfig } from "../../support/config.ts";
import { startFaultProxy } from "../../support/fault-proxy.ts";
import { openLibrary, places, usePlace } from "../../support/library.ts";
import { makeSandbox, runDocproc } from "../../support/run.ts";
import { flipBit, tamper } from "../../support/stored.ts";

const dayAndMore = () => Date.now() + 25 * 3_600_000;
const lines = (text: string) => text.split("\n").filter((line) => line !== "");

/** Puts some of everything into a library. */
async function fill({ upload, run }: Awaited<ReturnType<typeof openLibrary>>): Promise<void> {
  await upload("a.txt", "a", "--tag", "x=1", "--tag", "__proto__=y", "--meta", "k=v=w");
  await upload("größe\u2028 📦.bin", Buffer.alloc(9 * 1024 * 1024, 7), "--content-type", "x/y; charset=utf-8");
  await upload("empty", "");
  await run(["upload", "-", "--name", "piped"], { stdin: "piped" });
  await upload("a.txt", "a", "--tag", "x=1", "--tag", "__proto__=y", "--on-duplicate", "store");
}

describe.each(Object.entries(places))("the records of %s", (_place, start) => {
  const endpoint = usePlace(start);
  const open = () => openLibrary(endpoint());

  test("come out oldest first, a line each, and are found unchanged when they come back", async () => {
    const library = await open();
    const { run, sandbox } = library;
    await fill(library);
    const listed: DocumentRecord[] = (await run(["list", "--all", "--asc", "--json"])).json().documents;
    const { status, stdout, stderr } = await run(["export"]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(lines(stdout).map((line) => JSON.parse(line))).toEqual(listed);
    expect(stdout).not.toContain("\u2028");
    const written = await run(["export", "-o", "records", "--json"]);
    expect(written.json()).toEqual({ schema: "docproc.export/1", file: join(sandbox.cwd, "records"), count: 5 });
    expect(await readFile(join(sandbox.cwd, "records"), "utf8")).toBe(stdout);
    const again = await run(["import", "records", "--json"]);
    expect(again).toMatchObject({ status: 0 });
    expect(again.json()).toMatchObject({
      schema: "docproc.import/1",
      failures: [],
      summary: { total: 5, imported: 0, unchanged: 5, failed: 0 },
    });
    expect((await run(["export", "--name", "*.txt", "--tag", "x=1"])).stdout.split("\n")).toHaveLength(3);
  });

  test("make a lost catalog what it was", { timeout: 120_000 }, async () => {
    const library = await open();
    const { run, forget } = library;
    await fill(library);
    const { stdout } = await run(["export"]);
    for (const line of lines(stdout)) await forget(JSON.parse(line));
    expect((await run(["list", "--json"])).json().count).toBe(0);
    const imported = await run(["import", "--json"], { stdin: stdout });
    expect(imported).toMatchObject({ status: 0 });
    expect(imported.json().summary).toMatchObject({ total: 5, imported: 5, unchanged: 0, failed: 0 });
    expect((await run(["export"])).stdout).toBe(stdout);
    expect((await run(["doctor", "--json"], { now: dayAndMore })).json()).toMatchObject({ findings: [] });
    expect(await run(["verify", "--all", "--deep"])).toMatchObject({ status: 0 });
    const [first] = lines(stdout).map((line) => JSON.parse(line) as DocumentRecord);
    expect(await run(["delete", first?.id ?? "", "--yes"])).toMatchObject({ status: 0 });
    expect((await run(["import", "--json"], { stdin: stdout })).json().summary).toMatchObject({
      unchanged: 4,
      failed: 1,
    });
  });

  test("are not taken in without their bytes, or with others", async () => {
    const { run, upload, forget } = await open();
    const [gone, changed, longer, sound] = [
      await upload("gone", "gone"),
      await upload("changed", "changed"),
      await upload("longer", "longer"),
      await upload("sound", "sound"),
    ];
    const { stdout } = await run(["export"]);
    for (const record of [gone, changed, longer, sound]) await forget(record);
    await tamper(gone, endpoint(), () => null);
    await tamper(changed, endpoint(), flipBit);
    await tamper(longer, endpoint(), (bytes) => Buffer.concat([bytes, Buffer.from("!")]));
    const elsewhere = { ...sound, id: sound.id.replace(/^./, "1"), uri: "s3://elsewhere/key" };
    const odd = { ...elsewhere, uploadedAt: "2570-01-01T00:00:00.000Z" };
    const outcome = await run(["import", "--json"], { stdin: `${stdout}${JSON.stringify(odd)}\n` });
    expect(outcome).toMatchObject({ status: 7 });
    const { failures } = outcome.json() as { failures: { line: number; code: string }[] };
    const found = new Map(failures.map(({ line, code }) => [line, code]));
    // Other bytes of the right length are found out by the checksum, or because something wrote to the file.
    expect([1, 2, 3, 4, 5].map((line) => found.get(line))).toEqual([
      "NOT_FOUND",
      "INTEGRITY",
      "INTEGRITY",
      undefined,
      "USAGE",
    ]);
    const ids = (await run(["list", "--json"])).json().documents.map(({ id }: DocumentRecord) => id);
    expect(ids).toContain(sound.id);
    for (const { id } of [gone, changed, longer]) expect(ids).not.toContain(id);
  });

  test("of a version that kept tags as they were typed are found by tags in Unicode NFC", async () => {
    const { run, upload, forget } = await open();
    const record = await upload("a", "a", "--tag", "\u00e9=\u00e9", "--meta", "m=\u00e9");
    await forget(record);
    const typed = { "e\u0301": "e\u0301" };
    const old = { ...record, tags: typed, metadata: { m: "e\u0301" }, uploadedTags: typed };
    const stdin = JSON.stringify(old);
    expect((await run(["import", "--deep", "--json"], { stdin })).json()).toMatchObject({ failures: [] });
    const shown = (await run(["list", "--tag", "e\u0301=\u00e9", "--json"])).json().documents;
    expect(shown).toEqual([record]);
    expect((await run(["import", "--json"], { stdin })).json().summary).toMatchObject({ unchanged: 1 });
    for (const field of ["tags", "metadata", "uploadedTags"]) {
      const twins = { ...old, [field]: { "\u00e9": "1", "e\u0301": "2" } };
      const outcome = await run(["import", "--json"], { stdin: JSON.stringify(twins) });
      expect([outcome.status, outcome.json().failures]).toEqual([
        2,
        [expect.objectContaining({ message: `Two keys of the field ${field} are one in Unicode NFC: "\u00e9".` })],
      ]);
    }
  });

  test("never replace what the catalog has", async () => {
    const { run, upload } = await open();
    const record = await upload("a", "a", "--tag", "x=1");
    const { stdout } = await run(["export"]);
    const changed = lines(stdout).map((line) => JSON.stringify({ ...JSON.parse(line), tags: { x: "2" } }));
    const outcome = await run(["import", "--json"], { stdin: `${stdout}${changed.join("\n")}` });
    expect(outcome).toMatchObject({ status: 7 });
    expect(outcome.json().failures).toEqual([expect.objectContaining({ line: 2, code: "CONFLICT" })]);
    expect((await run(["show", record.id, "--json"])).json()).toMatchObject({ tags: { x: "1" } });
  });
});

test.each(Object.entries(awsEndpoints()))(
  "records move from a table to a file and back, over one bucket of %s",
  async (_place, start) => {
    const aws = await start();
    onTestFinished(() => aws.close());
    const sandbox = await makeSandbox();
    const { bucket = "" } = awsSettings("");
    const both = { storage: "s3", bucket, endpointUrl: aws.endpoint };
    const table = { ...both, metadata: "dynamodb", table: bucket };
    const [file, back] = ["file", "back"].map((directory) => ({
      ...both,
      metadata: "local",
      directory: `./${directory}`,
    }));
    await writeConfig(join(sandbox.cwd, ".docprocrc.json"), { profiles: { table, file, back } });
    const run = (...argv: string[]) => runDocproc(sandbox, argv);
    // Catalogs of a bucket in the project.
    expect(await run("trust")).toMatchObject({ status: 0 });
    expect(await run("init", "--use", "table")).toMatchObject({ status: 0 });
    await writeFile(join(sandbox.cwd, "a"), "a");
    for (const tag of ["1", "2", "3"]) await run("upload", "a", "--tag", `n=${tag}`, "--use", "table");
    const { stdout } = await run("export", "--use", "table");
    expect(lines(stdout)).toHaveLength(3);
    for (const to of ["file", "back"]) {
      await run("export", "--use", to === "file" ? "table" : "file", "-o", `${to}.ndjson`);
      expect(await run("import", `${to}.ndjson`, "--use", to)).toMatchObject({ status: 0 });
      expect((await run("export", "--use", to)).stdout).toBe(stdout);
      expect((await run("doctor", "--use", to, "--json")).json()).toMatchObject({ findings: [] });
    }
    expect(await run("copy", "--from", "table", "--to", "file")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("docproc import"),
    });
  },
);

describe("an import", () => {
  test("refuses a library that cannot be used, also where there is nothing to import", async () => {
    const sandbox = await makeSandbox();
    await writeFile(join(sandbox.cwd, "none.ndjson"), "");
    for (const argv of [
      ["--bucket", "B"],
      ["--storage", "s3"],
    ]) {
      const outcome = await runDocproc(sandbox, ["import", "none.ndjson", ...argv, "--json"]);
      expect(outcome.status).toBe(2);
      expect(JSON.parse(outcome.stderr.trim().split("\n").at(-1) ?? "")).toMatchObject({ code: "INVALID_CONFIG" });
    }
  });

  test("says which lines are no records, and goes on, or stops with --fail-fast", async () => {
    const { run, upload, forget } = await openLibrary();
    const records = [await upload("a", "a"), await upload("b", "b")];
    const good = lines((await run(["export"])).stdout);
    for (const record of records) await forget(record);
    const [a = "", b = ""] = good;
    const file = ["nonsense", a, "", "[]", "x".repeat(2 * 1024 * 1024), `${b}\r`, '{"id":1}'].join("\n");
    const stopped = await run(["import", "--fail-fast", "--concurrency", "1", "--json"], { stdin: file });
    expect(stopped).toMatchObject({ status: 2 });
    expect(stopped.json().summary).toMatchObject({ imported: 0, failed: 1 });
    const outcome = await run(["import", "--json"], { stdin: file });
    expect(outcome).toMatchObject({ status: 7 });
    expect(outcome.json().summary).toMatchObject({ total: 6, imported: 2, failed: 4 });
    const failures = outcome.json().failures as { line: number; code: string; message: string }[];
    expect(failures.map(({ line, code }) => [line, code])).toEqual([1, 4, 5, 7].map((line) => [line, "USAGE"]));
    expect(failures.map(({ message }) => message.replace(/^.*: /, ""))).toEqual([
      "it is not JSON.",
      "it is not a JSON object.",
      "it is longer than 393216 bytes.",
      "the field id is invalid.",
    ]);
    // Several at a time end in any order.
    const human = await run(["import", "--concurrency", "1"], { stdin: file });
    expect(human.stdout).toMatch(/^unchanged {1}[0-9a-f-]{36} {2}a\nunchanged {1}[0-9a-f-]{36} {2}b\n$/);
    expect(human.stderr).toContain("failed line 5: The line is not a record");
    expect(human.stderr).toContain("0 imported, 2 unchanged, 4 failed.");
  });

  test("takes nothing for a record that could not be uploaded as one", async () => {
    const { run, upload, settings } = await openLibrary();
    const { id } = await upload("a", "a");
    const record = JSON.parse((await run(["export"])).stdout);
    const { crc32: _crc32, ...incomplete } = record;
    const git = { commit: null, branch: null, dirty: null, remote: null };
    const ci = { provider: "x", run: null, attempt: null, job: null, actor: null, url: null };
    const odd: [unknown, string][] = [
      [incomplete, "the field crc32 is invalid"],
      [{ ...record, extra: 1 }, 'the unknown field "extra"'],
      [{ ...record, schema: "docproc.record/2" }, "its schema is"],
      [{ ...record, id: "1" }, "the field id is invalid"],
      [{ ...record, name: "a/b" }, "the field name is invalid"],
      [{ ...record, name: "e\u0301" }, "the field name is invalid"],
      [{ ...record, size: -1 }, "the field size is invalid"],
      [{ ...record, size: "1" }, "the field size is invalid"],
      [{ ...record, sha256: "A".repeat(64) }, "the field sha256 is invalid"],
      [{ ...record, uploadedAt: "2020-01-01T00:00:00.000Z" }, "the field uploadedAt is invalid"],
      [{ ...record, uri: "http://localhost/" }, "the field uri is invalid"],
      [{ ...record, contentType: "text/plain\r\nx: y" }, "the field contentType is invalid"],
      [{ ...record, tags: { "a=b": "c" } }, "the field tags is invalid"],
      [{ ...record, tags: { "": "c" } }, "the field tags is invalid"],
      [{ ...record, tags: { a: 1 } }, "the field tags is invalid"],
      [{ ...record, tags: undefined }, "the field tags is missing"],
      [{ ...record, metadata: { a: "x".repeat(20_000) } }, "the field metadata is invalid"],
      [{ ...record, source: { ...record.source, kind: "magic" } }, "the field source is invalid"],
      [{ ...record, source: { ...record.source, extra: 1 } }, "the field source is invalid"],
      [{ ...record, source: JSON.parse('{"__proto__":{},"kind":"file","path":null}') }, "the field source is invalid"],
      [{ ...record, source: { ...record.source, path: "\ud800" } }, "the field source is invalid"],
      [{ ...record, uri: `${record.uri}\ud800` }, "the field uri is invalid"],
      [{ ...record, provenance: {} }, "the field provenance is invalid"],
      [{ ...record, provenance: { git: null, ci: null, more: null } }, "the field provenance is invalid"],
      [{ ...record, provenance: { git: { commit: "a" }, ci: null } }, "the field provenance is invalid"],
      [{ ...record, provenance: { git: null, ci: { ...ci, run: true } } }, "the field provenance is invalid"],
      [{ ...record, provenance: { git: { ...git, dirty: "yes" }, ci: null } }, "the field provenance is invalid"],
      [{ ...record, provenance: { git: { ...git, remote: "\udfff" }, ci: null } }, "the field provenance is invalid"],
      [{ ...record, crc32: "xyz" }, "the field crc32 is invalid"],
    ];
    const stdin = odd.map(([value]) => `${JSON.stringify(value)}\n`).join("");
    const outcome = await run(["import", "--json"], { stdin });
    const failures = outcome.json().failures as { code: string; message: string }[];
    expect(failures).toHaveLength(odd.length);
    for (const [index, [, expected]] of odd.entries()) expect(failures[index]?.message).toContain(expected);
    expect(new Set(failures.map(({ code }) => code))).toEqual(new Set(["USAGE"]));
    expect(outcome.status).toBe(2);
    const bytes = Buffer.concat([Buffer.from('{"id":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}\n')]);
    expect(await run(["import"], { stdin: Readable.from([bytes]) })).toMatchObject({ status: 2 });
    // A title that `show` prints is nothing to stumble over.
    const shown = (await run(["show", id, "--ndjson"])).stdout;
    expect(await run(["import"], { stdin: shown })).toMatchObject({ status: 0 });
    expect(settings.storage).toBe("local");
  });

  test("of a library that was moved takes in its records as they are", async () => {
    const { run, upload, sandbox } = await openLibrary();
    await upload("a", "a");
    const { stdout } = await run(["export"]);
    await mkdir(join(sandbox.root, "moved"));
    await rename(join(sandbox.data, "objects"), join(sandbox.root, "moved", "objects"));
    const there = ["--directory", join(sandbox.root, "moved")];
    expect(await run(["import", ...there], { stdin: stdout })).toMatchObject({ status: 0 });
    expect((await run(["export", ...there])).stdout).toBe(stdout);
    expect((await run(["cat", "a", ...there])).stdout).toBe("a");
  });

  test("reads lines however they are cut, and needs a file that can be read", async () => {
    const { run, upload, forget, sandbox } = await openLibrary();
    const record = await upload("größe", "a");
    const { stdout } = await run(["export"]);
    await forget(record);
    const cut = [...Buffer.from(`\n  \n${stdout}`)].map((byte) => Buffer.from([byte]));
    expect(await run(["import"], { stdin: Readable.from(cut) })).toMatchObject({ status: 0 });
    expect(await run(["import", "--json"], { stdin: "" })).toMatchObject({ status: 0 });
    expect(await run(["import", "nothing"])).toMatchObject({ status: 3 });
    expect(await run(["import", "."])).toMatchObject({ status: 2, stderr: expect.not.stringContaining("Add -r") });
    const terminal = Object.assign(Readable.from([]), { isTTY: true });
    expect(await run(["import"], { stdin: terminal })).toMatchObject({ status: 2 });
    const failing = new Readable({ read: () => void failing.destroy(new Error("broken")) });
    expect((await run(["import"], { stdin: failing })).status).not.toBe(0);
    await rm(join(sandbox.data), { recursive: true });
    // Bytes and catalog gone: nothing is recorded, and no file is made for it.
    expect(await run(["import"], { stdin: stdout })).toMatchObject({ status: 3 });
    expect((await run(["list", "--json"])).json().count).toBe(0);
  });

  test("stops at an interruption, and is recorded once where an answer is lost", async () => {
    const aws = await startInRepoAws();
    const proxy = await startFaultProxy(aws.endpoint);
    onTestFinished(async () => {
      await proxy.close();
      await aws.close();
    });
    const { run, upload, forget } = await openLibrary(proxy.endpoint);
    const records = [await upload("a", "a"), await upload("b", "b")];
    const { stdout } = await run(["export"]);
    for (const record of records) await forget(record);
    const interrupted = new AbortController();
    interrupted.abort();
    expect(await run(["import"], { stdin: stdout, signal: interrupted.signal })).toMatchObject({ status: 130 });
    proxy.inject({ operation: "TransactWriteItems", nth: 1, action: { kind: "lose-reply" } });
    expect(await run(["import", "--concurrency", "1"], { stdin: stdout })).toMatchObject({ status: 0 });
    expect((await run(["export"])).stdout).toBe(stdout);
  });
});

describe("an export", () => {
  test("into a file is whole or not there, and replaces nothing unasked", async () => {
    const { run, upload, sandbox } = await openLibrary();
    await upload("a", "a");
    const path = join(sandbox.cwd, "records");
    await writeFile(path, "precious");
    expect(await run(["export", "-o", "records"])).toMatchObject({ status: 5 });
    expect(await readFile(path, "utf8")).toBe("precious");
    const forced = await run(["export", "-o", "records", "--force"]);
    expect(forced).toMatchObject({ status: 0, stdout: "", stderr: "1 record written to records.\n" });
    expect(lines(await readFile(path, "utf8"))).toHaveLength(1);
    const interrupted = new AbortController();
    interrupted.abort();
    expect(await run(["export", "-o", "other"], { signal: interrupted.signal })).toMatchObject({ status: 130 });
    await expect(stat(join(sandbox.cwd, "other"))).rejects.toThrow();
  });

  test.each([["--json"], ["-q"]])("to standard output is refused beside %s", async (flag) => {
    const { run } = await openLibrary();
    expect(await run(["export", flag])).toMatchObject({ status: 2 });
    expect(await run(["export", flag, "-o", "records"])).toMatchObject({ status: 0 });
    expect(await run(["export", "--ndjson"])).toMatchObject({ status: 0, stdout: "" });
  });
});

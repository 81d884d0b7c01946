/** JSON from outside that is nested deeper than a program can follow, or larger than a catalog keeps. */
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { openDatabase } from "../../src/files/sqlite.ts";
import { startInRepoAws } from "../support/aws.ts";
import { openLibrary } from "../support/library.ts";

const line = (record: object) => `${JSON.stringify(record)}\n`;

describe("an import of JSON that is nested deeper than a program can go", () => {
  const depth = 100_000;
  const nested = "[".repeat(depth) + "]".repeat(depth);
  const deepIn = (record: object) => JSON.stringify(record).replace('"DEEP"', nested);

  test("fails as what it is: no record", async () => {
    const { upload, forget, run } = await openLibrary();
    const record = await upload("a.txt", "a");
    await forget(record);
    const git = { commit: "DEEP", branch: null, dirty: null, remote: null };
    const deep = [
      nested,
      "[".repeat(depth),
      '{"a":'.repeat(depth),
      ...["id", "name", "size", "uri", "schema", "tags", "metadata", "source", "provenance", "crc32", "extra"].map(
        (field) => deepIn({ ...record, [field]: "DEEP" }),
      ),
      deepIn({ ...record, tags: { a: "DEEP" } }),
      deepIn({ ...record, metadata: { a: "DEEP" } }),
      deepIn({ ...record, source: { ...record.source, path: "DEEP" } }),
      deepIn({ ...record, provenance: { git, ci: null } }),
      deepIn({ ...record, provenance: { git: null, ci: null, more: "DEEP" } }),
    ];
    const outcome = await run(["import", "--json"], { stdin: `${deep.join("\n")}\n` });
    expect(outcome).toMatchObject({ status: 2 });
    const { failures } = outcome.json() as { failures: { code: string; message: string }[] };
    expect(failures.map(({ code }) => code)).toEqual(deep.map(() => "USAGE"));
    for (const { message } of failures) expect(message).toMatch(/^The line is not a record of docproc: .{1,100}$/);
    expect((await run(["import", "--json"], { stdin: line(record) })).json().summary).toMatchObject({ imported: 1 });
  });

  test.each<[string, string]>([
    ["tags", `{"a":${nested}}`],
    ["source", `{"kind":"file","path":null,"modifiedAt":null,"more":${nested}}`],
    ["provenance", `{"git":null,"ci":null,"more":${nested}}`],
    ["provenance", `{"git":{"commit":${nested}},"ci":null}`],
  ])("has no counterpart in %s of a catalog that was tampered with", async (field, json) => {
    const { upload, run, sandbox } = await openLibrary();
    const { id } = await upload("a.txt", "a");
    const database = await openDatabase(join(sandbox.data, "catalog.db"), 0, () => {});
    // SQLite itself refuses what is nested deeper than 1,000, unless the check is left out.
    database.exec("PRAGMA ignore_check_constraints = ON; DROP TRIGGER document_changed");
    database.exec("DROP INDEX documents_by_commit; DROP INDEX documents_by_run");
    database.prepare(`UPDATE documents SET ${field} = ? WHERE id = ?`).run(json, id);
    database.close();
    for (const command of [["show", id], ["list"], ["export"]]) {
      const outcome = await run([...command, ...(command[0] === "export" ? [] : ["--json"])]);
      expect(outcome).toMatchObject({ status: 6, stderr: expect.stringContaining(`the field ${field} is invalid`) });
    }
  });
});

test("a record that is larger than a catalog allows is refused", async () => {
  const aws = await startInRepoAws();
  onTestFinished(() => aws.close());
  const { upload, forget, run } = await openLibrary(aws.endpoint);
  const record = await upload("a.txt", "a");
  await forget(record);
  const of = (length: number) => {
    const git = { commit: "x".repeat(length), branch: null, dirty: null, remote: null };
    return { ...record, provenance: { git, ci: null } };
  };
  expect(await run(["import"], { stdin: line(of(392_000)) })).toMatchObject({ status: 0 });
  await forget(record);
  const outcome = await run(["import", "--json"], { stdin: line(of(394_000)) });
  expect(outcome).toMatchObject({ status: 2 });
  expect(outcome.json().failures).toMatchObject([{ code: "USAGE", message: expect.stringContaining("longer than") }]);
});

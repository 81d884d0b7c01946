/** A catalog that an earlier docproc wrote. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { v7 } from "uuid";
import { expect, test } from "vitest";
import { asRow, openDatabase } from "../../../src/files/sqlite.ts";
import { makeSandbox, runDocproc, type Sandbox } from "../../support/run.ts";

/** As the second format was released: nothing here follows a change of the program. */
const secondFormat = `
  CREATE TABLE documents (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    identity TEXT NOT NULL,
    size INTEGER NOT NULL CHECK (size >= 0),
    content_type TEXT NOT NULL,
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
    uri TEXT NOT NULL,
    tags TEXT NOT NULL CHECK (json_valid(tags)),
    metadata TEXT NOT NULL CHECK (json_valid(metadata)),
    source TEXT NOT NULL CHECK (json_valid(source)),
    provenance TEXT CHECK (json_valid(provenance)),
    UNIQUE (name, identity)
  ) STRICT, WITHOUT ROWID;
  ALTER TABLE documents ADD COLUMN crc32 TEXT;
  CREATE TABLE catalog (id TEXT NOT NULL) STRICT;
  INSERT INTO catalog VALUES ('00112233445566778899aabbccddeeff');
  PRAGMA application_id = ${0x64706331};
  PRAGMA user_version = 2;`;

const source = '{"kind":"stdin","path":null,"modifiedAt":null}';
const begin = Date.UTC(2026, 0, 1);

/** @returns the ids, oldest first */
async function makeSecondFormat(sandbox: Sandbox, tags: readonly string[]): Promise<string[]> {
  await mkdir(sandbox.data, { recursive: true, mode: 0o700 });
  const database = await openDatabase(join(sandbox.data, "catalog.db"), 0, (made) => made.exec(secondFormat));
  database.exec("BEGIN");
  const insert = database.prepare("INSERT INTO documents VALUES (?, ?, ?, 1, ?, ?, ?, ?, '{}', ?, NULL, NULL)");
  const ids = tags.map((json, index) => {
    const id = v7({ msecs: begin + index });
    const type = index % 2 === 0 ? "image/png" : "text/plain";
    insert.run(id, `name-${index}.txt`, id, type, "0".repeat(64), `file:///${id}`, json, source);
    return id;
  });
  database.exec("COMMIT");
  database.close();
  return ids;
}

async function idsOf(sandbox: Sandbox, ...flags: string[]): Promise<string[]> {
  const { status, stdout } = await runDocproc(sandbox, ["list", "--all", "-q", "--asc", ...flags]);
  expect(status).toBe(0);
  return stdout.split("\n").filter((line) => line !== "");
}

test("a catalog of the second format is found by its tags, names and types, and keeps its id", async () => {
  const sandbox = await makeSandbox();
  const ids = await makeSecondFormat(sandbox, ['{"a":"1"}', '{"a":"1","b":"\\u2028\\"="}', "{}"]);
  expect(await idsOf(sandbox, "--tag", "a=1")).toEqual(ids.slice(0, 2));
  expect(await idsOf(sandbox, "--tag", 'b=\u2028"=')).toEqual([ids[1]]);
  expect(await idsOf(sandbox, "--type", "image/png")).toEqual([ids[0], ids[2]]);
  expect(await idsOf(sandbox, "--name", "name-2*")).toEqual([ids[2]]);
  expect(await idsOf(sandbox)).toEqual(ids);
  const database = await openDatabase(join(sandbox.data, "catalog.db"), 0, () => {});
  expect(asRow(database.prepare("SELECT id FROM catalog").get())["id"]).toBe("00112233445566778899aabbccddeeff");
  database.close();
});

/** What the third format added, as it was released. */
const thirdFormat = `
  CREATE INDEX documents_by_name ON documents (name);
  CREATE INDEX documents_by_beginning ON documents (substr(name, 1, 3), id, name);
  CREATE INDEX documents_by_type ON documents (content_type);
  CREATE TABLE tags (
    key TEXT NOT NULL, value TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (key, value, id)
  ) STRICT, WITHOUT ROWID;
  INSERT OR IGNORE INTO tags
    SELECT tag.key, tag.value, document.id
    FROM documents document, json_each(iif(json_valid(document.tags), document.tags, '{}')) tag
    WHERE tag.type = 'text'
    ORDER BY 1, 2, 3;
  CREATE TRIGGER document_added AFTER INSERT ON documents BEGIN
    INSERT OR IGNORE INTO tags SELECT key, value, new.id FROM json_each(new.tags) WHERE type = 'text';
  END;
  CREATE TRIGGER document_removed AFTER DELETE ON documents BEGIN
    DELETE FROM tags WHERE (key, value, id) IN (
      SELECT key, value, old.id FROM json_each(iif(json_valid(old.tags), old.tags, '{}')) WHERE type = 'text');
  END;
  CREATE TRIGGER document_changed AFTER UPDATE ON documents BEGIN
    DELETE FROM tags WHERE (key, value, id) IN (
      SELECT key, value, old.id FROM json_each(iif(json_valid(old.tags), old.tags, '{}')) WHERE type = 'text');
    INSERT OR IGNORE INTO tags SELECT key, value, new.id FROM json_each(new.tags) WHERE type = 'text';
  END;
  PRAGMA user_version = 3;`;

test.each([2, 3])("a catalog of format %i is sorted, and found by commit and run", async (format) => {
  const sandbox = await makeSandbox();
  const ids = await makeSecondFormat(sandbox, ["{}", "{}", '{"a":"1"}', "{}", "{}"]);
  const commit = `0123abc${"d".repeat(33)}`;
  // None, damage of several kinds, and a commit with a run.
  const provenances = [
    null,
    '{"git":{"commit":7},"ci":"x"}',
    "[1]",
    `{"git":{"commit":"${commit}"},"ci":{"run":"17"}}`,
    "null",
  ];
  const path = join(sandbox.data, "catalog.db");
  const database = await openDatabase(path, 0, () => {});
  if (format === 3) database.exec(thirdFormat);
  const change = database.prepare("UPDATE documents SET provenance = ?, size = ? WHERE id = ?");
  for (const [index, id] of ids.entries()) change.run(provenances[index] ?? null, [3, 1, 2, 5, 4][index] ?? 0, id);
  database.close();
  const whole = [ids[0], ids[3]];
  expect(await idsOf(sandbox, "--commit", commit.slice(0, 7))).toEqual([ids[3]]);
  expect(await idsOf(sandbox, "--run", "17", "--name", "name-*")).toEqual([ids[3]]);
  const upgraded = await openDatabase(path, 0, () => {});
  expect(asRow(upgraded.prepare("PRAGMA user_version").get())["user_version"]).toBe(5);
  expect(upgraded.prepare("SELECT id FROM adopted").all()).toEqual([]);
  expect(asRow(upgraded.prepare("PRAGMA integrity_check").get())["integrity_check"]).toBe("ok");
  for (const id of ids) if (!whole.includes(id)) upgraded.prepare("DELETE FROM documents WHERE id = ?").run(id);
  upgraded.close();
  expect(await idsOf(sandbox, "--sort", "size")).toEqual([ids[0], ids[3]]);
  expect(await idsOf(sandbox, "--tag", "a=1")).toEqual([]);
});

test("damaged tags do not keep a catalog from being opened, and are still damage", async () => {
  const sandbox = await makeSandbox();
  const [, damaged = "", , whole = ""] = await makeSecondFormat(sandbox, [
    "{}",
    '["a",null,1]',
    '{"a":1}',
    '{"a":"1"}',
  ]);
  expect(await idsOf(sandbox, "--tag", "a=1")).toEqual([whole]);
  expect(await runDocproc(sandbox, ["show", whole])).toMatchObject({ status: 0 });
  for (const argv of [["show", damaged], ["list"]]) {
    const { status, stderr } = await runDocproc(sandbox, argv);
    expect(status).toBe(6);
    expect(stderr).toContain("in the catalog is damaged: the field tags is invalid");
  }
});

test("two processes that open an earlier catalog at once bring it up to date once", async () => {
  const sandbox = await makeSandbox();
  const ids = await makeSecondFormat(
    sandbox,
    Array.from({ length: 3000 }, (_, index) => `{"third":"${index % 3}"}`),
  );
  const thirds = [0, 1, 2, 0].map(async (third) => {
    const argv = [join("dist", "docproc.js"), "list", "--all", "-q", "--asc", "--tag", `third=${third}`];
    const child = spawn(process.execPath, [...argv, "--directory", sandbox.data], {
      env: { PATH: process.env["PATH"] ?? "", HOME: sandbox.root },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const printed: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => printed.push(chunk));
    expect(await once(child, "close")).toEqual([0, null]);
    expect(Buffer.concat(printed).toString()).toBe(
      ids.flatMap((id, index) => (index % 3 === third ? [`${id}\n`] : [])).join(""),
    );
  });
  await Promise.all(thirds);
});

test("tags follow a record that was changed or removed by other means", async () => {
  const sandbox = await makeSandbox();
  const [first = "", second = "", third = ""] = await makeSecondFormat(sandbox, [
    '{"a":"1"}',
    '{"a":"1"}',
    '{"a":"1"}',
  ]);
  expect(await idsOf(sandbox)).toHaveLength(3);
  const database = await openDatabase(join(sandbox.data, "catalog.db"), 0, () => {});
  database.prepare(`UPDATE documents SET tags = '{"a":"2"}' WHERE id = ?`).run(first);
  database.prepare("DELETE FROM documents WHERE id = ?").run(second);
  expect(asRow(database.prepare("SELECT count(*) AS n FROM tags").get())["n"]).toBe(2);
  database.close();
  expect(await idsOf(sandbox, "--tag", "a=1")).toEqual([third]);
  expect(await idsOf(sandbox, "--tag", "a=2")).toEqual([first]);
});

/** A catalog that an earlier docproc wrote. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { v7 } from "uuid";
import { expect, test } from "vitest";
import { asRow, type Database, openDatabase } from "../../../src/files/sqlite.ts";
import { finish, start } from "../../support/process.ts";
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
  expect(asRow(upgraded.prepare("PRAGMA user_version").get())["user_version"]).toBe(6);
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

/** What the fourth and the fifth format added, as they were released. */
const fifthFormat = `
  ${thirdFormat}
  CREATE INDEX documents_by_size ON documents (size);
  CREATE INDEX documents_by_commit
    ON documents (substr(iif(json_valid(provenance), provenance, '{}') ->> '$.git.commit', 1, 7))
    WHERE provenance IS NOT NULL;
  CREATE INDEX documents_by_run
    ON documents (iif(json_valid(provenance), provenance, '{}') ->> '$.ci.run')
    WHERE provenance IS NOT NULL;
  CREATE TABLE adopted (id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
  INSERT INTO adopted VALUES ('ffeeddccbbaa99887766554433221100');
  PRAGMA user_version = 5;`;

interface OldRow {
  readonly id: string;
  readonly name: string;
  /** The claim: a hash, and what may follow it. */
  readonly identity: string;
  readonly tags: string;
  readonly provenance: string | null;
}

const pathOf = ({ data }: Sandbox) => join(data, "catalog.db");

async function makeFifthFormat(sandbox: Sandbox, rows: readonly OldRow[], damage = ""): Promise<void> {
  await mkdir(sandbox.data, { recursive: true, mode: 0o700 });
  const database = await openDatabase(pathOf(sandbox), 0, (made) => made.exec(`${secondFormat}${fifthFormat}`));
  database.exec("BEGIN");
  const insert = database.prepare(
    "INSERT INTO documents VALUES (?, ?, ?, 1, 'a/b', ?, ?, ?, '{\"m\":\"1\"}', ?, ?, ?)",
  );
  for (const { id, name, identity, tags, provenance } of rows) {
    insert.run(id, name, identity, "0".repeat(64), `file:///${id}`, tags, source, provenance, "00c0ffee");
  }
  database.exec(`COMMIT; PRAGMA ignore_check_constraints = ON; ${damage}`);
  database.close();
}

function oldRows(count: number): OldRow[] {
  return Array.from({ length: count }, (_, index) => {
    const id = v7({ msecs: begin + index });
    const hash = index.toString(16).padStart(64, "0");
    return {
      id,
      name: index % 10 === 0 ? "same.txt" : `name ${index}.é.txt`,
      // As uploaded, beside another one with these bytes, and imported.
      identity: [hash, `${hash}#${id}`, `${hash}#${id}#unproved`][index % 3] ?? hash,
      tags: index % 2 === 0 ? "{}" : '{"a":"1","build":"42"}',
      provenance:
        index % 4 === 0 ? '{"git":{"commit":"0123abcd","branch":null,"dirty":null,"remote":null},"ci":null}' : null,
    };
  });
}

/** Every row of a table, in the order of its key, and what the sixth format makes of one of the fifth. */
const rowsOf = (database: Database, table: string) =>
  database
    .prepare(`SELECT * FROM ${table}`)
    .all()
    .map((row) => ({ ...asRow(row) }));
const migrated = ({ name, identity, ...row }: Record<string, unknown>) => {
  const path = String(name).replace(/\p{Cc}/gu, "_");
  const proved = String(identity).endsWith("#unproved") ? 0 : 1;
  return { ...row, path, name: path, given: row["tags"], proved, expires_at: null };
};

async function contentOf(sandbox: Sandbox) {
  const database = await openDatabase(pathOf(sandbox), 0, () => {});
  const content = {
    version: asRow(database.prepare("PRAGMA user_version").get())["user_version"],
    documents: rowsOf(database, "documents"),
    others: ["tags", "catalog", "adopted"].map((table) => rowsOf(database, table)),
  };
  database.close();
  return content;
}

test("a catalog of the fifth format gets paths, series and proofs, and loses nothing", async () => {
  const sandbox = await makeSandbox();
  const controls = Array.from({ length: 0xa1 - 1 }, (_, index) => String.fromCodePoint(index + 1)).join("");
  const rows = oldRows(300);
  const odd = [controls.replace("/", ""), "\u0001", "a\tb\n\u{1f680}\u009f", "[\u007f]*?", "\u0080"];
  const named = rows.map((row, index) => ({ ...row, name: odd[index - 100] ?? row.name }));
  await makeFifthFormat(sandbox, named);
  const before = await contentOf(sandbox);
  expect(await idsOf(sandbox)).toEqual(rows.map(({ id }) => id));
  const after = await contentOf(sandbox);
  expect(after).toEqual({ version: 6, documents: before.documents.map(migrated), others: before.others });
  expect(await idsOf(sandbox, "--tag", "build=42", "--commit", "0123abc")).toEqual([]);
  expect(await idsOf(sandbox, "--commit", "0123abc")).toEqual(rows.filter((_, n) => n % 4 === 0).map(({ id }) => id));
  expect(await idsOf(sandbox, "--name", "same.txt", "--sort", "size")).toEqual(
    named.filter(({ name }) => name === "same.txt").map(({ id }) => id),
  );
});

test("what another program damaged is kept through a change of format, and is still damage", async () => {
  const sandbox = await makeSandbox();
  const rows = oldRows(6);
  const [whole, noJson, noSource, badSum] = rows.map(({ id }) => id);
  await makeFifthFormat(
    sandbox,
    rows,
    `DROP TRIGGER document_changed;
     UPDATE documents SET tags = '{"a":' WHERE id = '${noJson}';
     UPDATE documents SET source = 'x', metadata = '' WHERE id = '${noSource}';
     UPDATE documents SET sha256 = 'abc', size = -1 WHERE id = '${badSum}'`,
  );
  const before = await contentOf(sandbox);
  expect(await runDocproc(sandbox, ["show", whole ?? ""])).toMatchObject({ status: 0 });
  expect(await contentOf(sandbox)).toEqual({
    version: 6,
    documents: before.documents.map(migrated),
    others: before.others,
  });
  for (const [id, field] of [
    [noJson, "tags"],
    [noSource, "metadata"],
    [badSum, "size"],
  ]) {
    const { status, stderr } = await runDocproc(sandbox, ["show", id ?? ""]);
    expect([status, stderr]).toEqual([6, expect.stringContaining(`is damaged: the field ${field} is invalid`)]);
  }
  // Checks are in force again.
  const database = await openDatabase(pathOf(sandbox), 0, () => {});
  const wrong = `UPDATE documents SET given = 'x' WHERE id = '${whole}'`;
  expect(() => database.exec(wrong)).toThrow(/CHECK/);
  database.close();
});

test("tags and metadata get the form of Unicode in which they are looked for", async () => {
  const sandbox = await makeSandbox();
  const [open, closed] = ["e\u0301", "\u00e9"];
  const rows = oldRows(5).map((row, index) => ({
    ...row,
    tags:
      [`{"z":"1","${open}":"${open}"}`, `{"${open}":"1","${closed}":"2"}`, `{"${closed}":"x"}`, `{"${open}":1}`][
        index
      ] ?? '{"a":"1"}',
  }));
  const [typed = "", twins = "", fine = "", damaged = "", plain = ""] = rows.map(({ id }) => id);
  await makeFifthFormat(
    sandbox,
    rows,
    `UPDATE documents SET metadata = '{"m":"${open}"}' WHERE id IN ('${typed}', '${twins}', '${plain}');
     UPDATE documents SET size = -1 WHERE id = '${typed}'`,
  );
  expect(await idsOf(sandbox, "--tag", `${closed}=x`)).toEqual([fine]);
  const database = await openDatabase(pathOf(sandbox), 0, () => {});
  const textOf = (id: string) =>
    asRow(database.prepare("SELECT tags, given, metadata FROM documents WHERE id = ?").get(id));
  const found = database.prepare(
    "SELECT key, value, id FROM tags WHERE key NOT IN ('a', 'build', 'z') ORDER BY id, key",
  );
  expect(found.all().map((row) => Object.values(asRow(row)))).toEqual([
    [closed, closed, typed],
    [open, "1", twins],
    [closed, "2", twins],
    [closed, "x", fine],
  ]);
  const text = `{"z":"1","${closed}":"${closed}"}`;
  expect(textOf(typed)).toEqual({ tags: text, given: text, metadata: `{"m":"${closed}"}` });
  expect(textOf(plain)).toMatchObject({ tags: '{"a":"1"}', metadata: `{"m":"${closed}"}` });
  const both = `{"${open}":"1","${closed}":"2"}`;
  expect(textOf(twins)).toEqual({ tags: both, given: both, metadata: `{"m":"${open}"}` });
  expect(textOf(damaged)).toMatchObject({ tags: `{"${open}":1}`, metadata: '{"m":"1"}' });
  database.exec(`UPDATE documents SET size = 1 WHERE id = '${typed}'`);
  database.close();
  expect(await idsOf(sandbox, "--tag", `${open}=${open}`)).toEqual([typed]);
  expect((await runDocproc(sandbox, ["show", typed, "--json"])).json()).toMatchObject({
    tags: { z: "1", [closed]: closed },
    metadata: { m: closed },
  });
});

test("a change of format of many documents with such tags takes seconds", async () => {
  const sandbox = await makeSandbox();
  const rows = oldRows(30_000).map((row, index) => ({ ...row, tags: `{"e\u0301":"${index}","build":"42"}` }));
  await makeFifthFormat(sandbox, rows);
  const begun = performance.now();
  expect(await idsOf(sandbox, "--tag", "\u00e9=27777")).toEqual([rows[27_777]?.id]);
  expect(performance.now() - begun).toBeLessThan(20_000);
}, 120_000);

test("a process that is killed while it changes the format leaves the old one or the new one", async () => {
  const sandbox = await makeSandbox();
  await makeFifthFormat(sandbox, oldRows(20_000));
  const before = await contentOf(sandbox);
  const journal = `${pathOf(sandbox)}-journal`;
  const sizeOf = (path: string) =>
    stat(path).then(
      ({ size }) => size,
      () => 0,
    );
  // At its beginning, and when much of the file was overwritten.
  for (const size of [1, 100_000]) {
    const child = start(sandbox, ["list", "-q", "--directory", sandbox.data]);
    const ended = finish(child);
    await expect.poll(() => sizeOf(journal), { interval: 1 }).toBeGreaterThanOrEqual(size);
    child.kill("SIGKILL");
    expect((await ended).status).toBe("SIGKILL");
    expect(await sizeOf(journal)).toBeGreaterThanOrEqual(size);
    expect(await contentOf(sandbox)).toEqual(before);
  }
  expect(await idsOf(sandbox)).toHaveLength(20_000);
  expect(await contentOf(sandbox)).toEqual({
    version: 6,
    documents: before.documents.map(migrated),
    others: before.others,
  });
});

test("a catalog of a newer format is refused, and not changed", async () => {
  const sandbox = await makeSandbox();
  await makeFifthFormat(sandbox, oldRows(3));
  expect(await idsOf(sandbox)).toHaveLength(3);
  const database = await openDatabase(pathOf(sandbox), 0, () => {});
  database.exec("PRAGMA user_version = 7");
  database.close();
  const before = await readFile(pathOf(sandbox));
  await writeFile(join(sandbox.cwd, "a.txt"), "a");
  for (const argv of [["list"], ["upload", "a.txt"], ["doctor", "--repair"]]) {
    const { status, stderr } = await runDocproc(sandbox, argv);
    expect([status, stderr]).toEqual([2, expect.stringContaining("was written by a newer version of docproc")]);
  }
  expect(await readFile(pathOf(sandbox))).toEqual(before);
});

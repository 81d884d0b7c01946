/** The embedded engine: what its failures mean, whichever way it tells them. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import {
  type Database,
  fromSqliteError,
  openDatabase,
  sqliteBusy,
  sqliteCodeOf,
  sqliteCorrupt,
} from "../../src/files/sqlite.ts";

async function makeDatabase(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "docproc-sqlite-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  const path = join(directory, "a.db");
  const made = await openDatabase(path, 0, (database) => database.exec("CREATE TABLE a (x); INSERT INTO a VALUES (1)"));
  made.close();
  return path;
}

async function opened(path: string): Promise<Database> {
  const database = await openDatabase(path, 0, () => {});
  onTestFinished(() => database.close());
  return database;
}

function errorOf(what: () => unknown): unknown {
  try {
    what();
  } catch (error) {
    return error;
  }
  return expect.unreachable("it succeeded");
}

const ways: Record<string, (database: Database) => unknown> = {
  get: (database) => database.prepare("SELECT * FROM a").get(),
  all: (database) => database.prepare("SELECT * FROM a").all(),
  exec: (database) => database.exec("SELECT * FROM a"),
};

test.each(Object.entries(ways))("a damaged database is damage, when %s() finds it", async (_way, read) => {
  const path = await makeDatabase();
  await writeFile(path, (await readFile(path)).fill(0xee, 4096));
  const database = await opened(path);
  const error = errorOf(() => read(database));
  expect(sqliteCodeOf(error)).toBe(sqliteCorrupt);
  expect(fromSqliteError(error, path)).toMatchObject({ code: "INTEGRITY" });
});

test.each(Object.entries(ways))("a locked database is a temporary failure, when %s() finds it", async (_way, read) => {
  const path = await makeDatabase();
  const owner = await opened(path);
  owner.exec("BEGIN EXCLUSIVE");
  const database = await opened(path);
  const error = errorOf(() => read(database));
  expect(sqliteCodeOf(error)).toBe(sqliteBusy);
  expect(fromSqliteError(error, path)).toMatchObject({ code: "UNAVAILABLE" });
});

test("an error of another origin has no code", () => {
  for (const error of [new Error("database is on fire"), undefined, null, "database is locked"]) {
    expect(sqliteCodeOf(error)).toBe(0);
  }
});

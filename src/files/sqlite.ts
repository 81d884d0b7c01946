/** The embedded database engine: chooses it, opens files with it, and maps its errors. */
import { closeSync, constants, openSync, readSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
// Only the types: which engine is loaded is decided at run time.
import type { DatabaseSyncInstance as Database } from "@photostructure/sqlite";
import { DocprocError, type ErrorCode, fromSystemError, isSystemError } from "../core/errors.ts";
import { createNew, privateDirectory } from "./atomic.ts";

export type { Database };

export type Row = Record<string, unknown>;

/** The engines' own type for a row is wider than what a statement of ours returns. */
export function asRow(value: unknown): Row {
  return value as Row;
}

export type Statement = ReturnType<Database["prepare"]>;

/**
 * A statement that is run many times and gives its rows as lists: naming every value of every row takes as long as
 * reading them.
 */
export function prepareForLists(database: Database, sql: string): Statement {
  const statement: Statement & { setReturnArrays?: (on: boolean) => void } = database.prepare(sql);
  // Node has it since 22.16.
  statement.setReturnArrays?.(true);
  return statement;
}

/** The rows of a statement that {@link prepareForLists} made, each a list of the values of its columns. */
export function listsOf(statement: Statement, ...values: (string | number)[]): unknown[][] {
  const rows: unknown[] = statement.all(...values);
  return rows.map((row) => (Array.isArray(row) ? row : Object.values(asRow(row))));
}

/**
 * Makes an empty file that only its owner may read, where there is none. SQLite would make it readable to everybody;
 * the files it puts beside a database inherit that one's mode.
 */
export async function makeDatabaseFile(path: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: privateDirectory });
    // Never one that is there: closing it would drop the locks that this process has on it (POSIX, fcntl).
    await (await createNew(path)).close();
  } catch (error) {
    if (isSystemError(error) && error.code === "EEXIST" && error.path === path) return;
    throw fromSystemError(error, dirname(path));
  }
}

/**
 * Whose format an SQLite file has, by its first bytes: https://www.sqlite.org/fileformat.html#application_id
 *
 * Closing the file drops the locks that this process has on it (POSIX, fcntl). It is therefore read at once, and only
 * while this process does not have the database open.
 * @returns undefined for an empty file; 0 for what has no such number, or is no SQLite file
 */
export function applicationIdOf(path: string): number | undefined {
  const header = Buffer.alloc(100);
  // Of a link or a pipe nothing is read. Windows has neither flag.
  const file = openSync(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0));
  try {
    const length = readSync(file, header);
    if (length === 0) return undefined;
    return header.toString("latin1", 0, 16) === "SQLite format 3\0" ? header.readUInt32BE(68) : 0;
  } finally {
    closeSync(file);
  }
}

/**
 * Opens a database and prepares it. An empty path is a private temporary database on disk, gone when it is closed.
 * @param busyTimeout milliseconds that a statement waits for another process
 * @param prepare pragmas and migrations; when it throws, the database is closed again
 * @throws what `prepare` threw, or the engine's own error: see {@link fromSqliteError}
 */
export async function openDatabase(
  path: string,
  busyTimeout: number,
  prepare: (database: Database) => void,
): Promise<Database> {
  const { DatabaseSync } = await loadEngine();
  const database = new DatabaseSync(path, { timeout: busyTimeout });
  try {
    prepare(database);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/**
 * Ends a transaction after a failure. Closing is not enough: with a statement that was not collected yet, the database
 * keeps its lock. A full or failing disk has ended it already: https://www.sqlite.org/lang_transaction.html
 */
export function rollBack(database: Database): void {
  try {
    database.exec("ROLLBACK");
  } catch {
    // What led here is what the user needs to hear.
  }
}

/** Node's own engine where it has one (22.13 and later), else the same API as a package. */
async function loadEngine(): Promise<typeof import("@photostructure/sqlite")> {
  // Not a literal: bundlers and type checkers for Node 20 do not know the name.
  const builtIn = "node:sqlite";
  try {
    return await import(builtIn);
  } catch {
    try {
      return await import("@photostructure/sqlite");
    } catch (error) {
      throw new DocprocError("INVALID_CONFIG", "The embedded catalog needs SQLite, which this Node does not have.", {
        hint: "Use Node 22.13 or later, or install docproc again.",
        cause: error,
      });
    }
  }
}

/** Primary result codes that callers act on: https://www.sqlite.org/rescode.html */
export const sqliteError = 1;
export const sqliteBusy = 5;
export const sqliteCorrupt = 11;
export const sqliteNotADatabase = 26;

/** https://www.sqlite.org/rescode.html */
const sqliteErrors: Record<number, [ErrorCode, string, string]> = {
  [sqliteBusy]: ["UNAVAILABLE", "is locked by another process", "Run the same command again."],
  6: ["UNAVAILABLE", "is locked by another process", "Run the same command again."],
  8: ["ACCESS_DENIED", "may not be written by this user", "Check the permissions with ls -l."],
  10: ["UNAVAILABLE", "could not be read or written: the disk reported an error", "Check the disk."],
  [sqliteCorrupt]: [
    "INTEGRITY",
    "is damaged",
    "Restore it from a backup; the stored documents are not touched by this.",
  ],
  13: ["UNAVAILABLE", "could not be written: the disk is full", "Free some space and run the command again."],
  14: ["ACCESS_DENIED", "could not be opened", "Check the permissions with ls -l."],
  [sqliteNotADatabase]: [
    "INTEGRITY",
    "is not a catalog",
    "Restore it from a backup, or choose another place with --directory.",
  ],
};

/** The primary result code of a failure of the engine; 0 for any other error. */
export function sqliteCodeOf(error: unknown): number {
  if (!(error instanceof Error)) return 0;
  // @photostructure/sqlite gives what all() throws no code, only the text.
  return Number("errcode" in error ? error.errcode : (sqliteTexts[error.message] ?? 0)) & 0xff;
}

/** Texts of `sqlite3_errstr` for the codes above and those of {@link sqliteErrors}. */
const sqliteTexts: Record<string, number> = {
  "database is locked": sqliteBusy,
  "database table is locked": 6,
  "attempt to write a readonly database": 8,
  "disk I/O error": 10,
  "database disk image is malformed": sqliteCorrupt,
  "database or disk is full": 13,
  "unable to open database file": 14,
  "file is not a database": sqliteNotADatabase,
};

/** Classifies a failure of the engine by its result code. */
export function fromSqliteError(error: unknown, path: string): DocprocError {
  if (error instanceof DocprocError) return error;
  const [code, sentence, hint] = sqliteErrors[sqliteCodeOf(error)] ?? [
    "INTERNAL",
    `failed: ${String(error)}`,
    undefined,
  ];
  return new DocprocError(code, `The catalog ${path} ${sentence}.`, { hint, cause: error });
}

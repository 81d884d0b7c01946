/** The embedded database engine: chooses it, opens files with it, and maps its errors. */
import { closeSync, constants, openSync, readSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
// Types only: the engine is chosen at run time.
import type { DatabaseSyncInstance as Database } from "@photostructure/sqlite";
import { DocprocError, type ErrorCode, fromSystemError, isSystemError } from "../core/errors.ts";
import { createNew, privateDirectory } from "./atomic.ts";

export type { Database };

export type NamedRow = Record<string, unknown>;

/** Narrows the engines' type for rows. */
export function asRow(value: unknown): NamedRow {
  return value as NamedRow;
}

export type PreparedStatement = ReturnType<Database["prepare"]>;

/** Prepares a hot statement that returns rows as lists: naming every value takes as long as reading it. */
export function prepareForLists(database: Database, sql: string): PreparedStatement {
  const statement: PreparedStatement & { setReturnArrays?: (on: boolean) => void } = database.prepare(sql);
  // Since Node 22.16.
  statement.setReturnArrays?.(true);
  return statement;
}

/** Runs a statement of {@link prepareForLists}; each row is a list of its column values. */
export function listsOf(statement: PreparedStatement, ...values: (string | number | null)[]): unknown[][] {
  const rows: unknown[] = statement.all(...values);
  return rows.map((row) => (Array.isArray(row) ? row : Object.values(asRow(row))));
}

/**
 * Creates an empty private database file if there is none. SQLite would make it world-readable; the files it adds
 * beside a database inherit the mode.
 */
export async function makeDatabaseFile(path: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: privateDirectory });
    // Never open an existing file: closing it would drop this process's locks on it (POSIX, fcntl).
    await (await createNew(path)).close();
  } catch (error) {
    if (isSystemError(error) && error.code === "EEXIST" && error.path === path) return;
    throw fromSystemError(error, dirname(path));
  }
}

/**
 * The application id of an SQLite file: https://www.sqlite.org/fileformat.html#application_id
 *
 * Closing the file drops this process's locks on it (POSIX, fcntl), so the read is synchronous and allowed only while
 * this process does not have the database open.
 * @returns undefined for an empty file; 0 without an id, or when it is no SQLite file
 */
export function applicationIdOf(path: string): number | undefined {
  const header = Buffer.alloc(100);
  // Refuses links and does not block on pipes. Windows has neither flag.
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
 * Opens and prepares a database. An empty path means a private temporary database on disk, deleted on close.
 * @param busyTimeout milliseconds that a statement waits for another process
 * @param prepare pragmas and migrations; when it throws, the database is closed again
 * @throws the error of `prepare`, or the engine's: see {@link fromSqliteError}
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
 * Rolls back after a failure. Closing is not enough: until its statements are garbage-collected, the database keeps its
 * lock. A full or failing disk has rolled back already: https://www.sqlite.org/lang_transaction.html
 */
export function rollBack(database: Database): void {
  try {
    database.exec("ROLLBACK");
  } catch {
    // The user needs the first error, not this one.
  }
}

/** Node's own engine (22.13 and later), else the package with the same API. */
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

/** Primary result codes that callers handle: https://www.sqlite.org/rescode.html */
export const sqliteError = 1;
export const sqliteBusy = 5;
export const sqliteCorrupt = 11;
export const sqliteNotADatabase = 26;

/** https://www.sqlite.org/rescode.html */
const sqliteErrors: Record<number, [ErrorCode, string, string]> = {
  [sqliteBusy]: ["UNAVAILABLE", "is locked by another process", "Run the same command again."],
  6: ["UNAVAILABLE", "is locked by another process", "Run the same command again."],
  8: ["ACCESS_DENIED", "cannot be written by this user", "Check the permissions with ls -l."],
  10: ["UNAVAILABLE", "could not be read or written: the disk reported an error", "Check the disk."],
  [sqliteCorrupt]: ["INTEGRITY", "is damaged", "Restore it from a backup; the stored documents are not affected."],
  13: ["UNAVAILABLE", "could not be written: the disk is full", "Free some space and run the command again."],
  14: ["ACCESS_DENIED", "could not be opened", "Check the permissions with ls -l."],
  [sqliteNotADatabase]: [
    "INTEGRITY",
    "is not a catalog",
    "Restore it from a backup, or choose another place with --directory.",
  ],
};

/** The primary result code of an engine error; 0 for any other error. */
export function sqliteCodeOf(error: unknown): number {
  if (!(error instanceof Error)) return 0;
  // Errors of all() in @photostructure/sqlite have only a text, no code.
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

/** Classifies an engine error by its result code. */
export function fromSqliteError(error: unknown, path: string): DocprocError {
  if (error instanceof DocprocError) return error;
  const [code, sentence, hint] = sqliteErrors[sqliteCodeOf(error)] ?? [
    "INTERNAL",
    `failed: ${String(error)}`,
    undefined,
  ];
  return new DocprocError(code, `The catalog ${path} ${sentence}.`, { hint, cause: error });
}

/** Removes the catalog of the embedded library once it has no documents. */
import { join } from "node:path";
import { DocprocError, throwIfCancelled } from "../../core/errors.ts";
import { assertEmpty, listed } from "../../core/not-empty.ts";
import type { DismantledResource, ProvisionOptions } from "../../core/resources.ts";
import {
  assertOwnParts,
  assertRemovable,
  doomedParts,
  removeDirectory,
  removePart,
} from "../../files/library-directory.ts";
import type { DirectorySettings } from "../../files/settings.ts";
import { asRow, type Database, fromSqliteError, openDatabase, rollBack } from "../../files/sqlite.ts";
import { statIfThere } from "../../files/stat.ts";

/**
 * @param busyTimeout milliseconds to wait for another process
 * @param assertOurs throws for a database of another program; returns whether docproc created it, since an empty one
 *   may be anyone's
 */
export async function* removeCatalog(
  settings: DirectorySettings,
  options: ProvisionOptions,
  busyTimeout: number,
  assertOurs: (database: Database, path: string) => boolean,
): AsyncIterable<DismantledResource> {
  const { directory } = settings;
  throwIfCancelled(options.signal);
  await assertRemovable(settings);
  await assertOwnParts(directory, "metadata");
  const path = join(directory, "catalog.db");
  const doomed = await doomedParts(directory, options.shared ? ["storage", "metadata"] : ["metadata"]);
  const resource = { kind: "catalog", name: path };
  const there = (await statIfThere(path)) !== undefined;
  if (there && !(await openAnd(path, busyTimeout, options.plan ? assertNoDocuments : empty))) {
    yield { ...resource, action: "kept", because: "it is empty, and docproc may not have created it" };
    yield await removeDirectory(
      settings,
      options,
      doomed.filter((name) => !path.endsWith(name)),
    );
    return;
  }
  if (!options.plan)
    for (const name of ["catalog.db", "catalog.db-journal"] as const) await removePart(directory, name);
  yield { ...resource, action: !there ? "gone" : options.plan ? "would-remove" : "removed" };
  yield await removeDirectory(settings, options, doomed);

  /** @returns whether docproc created it */
  function assertNoDocuments(database: Database): boolean {
    const ours = assertOurs(database, path);
    const tables = tablesOf(database);
    const others = tables.filter((name) => !ownTables.includes(name));
    if (others.length > 0) {
      throw new DocprocError("CONFLICT", `The catalog ${path} has tables that are not docproc's: ${listed(others)}.`, {
        hint: "Move them to a database of their own. Nothing was removed.",
      });
    }
    const count = tables.includes("documents")
      ? Number(asRow(database.prepare("SELECT count(*) AS n FROM documents").get())["n"])
      : 0;
    assertEmpty(`catalog ${path}`, { document: count });
    return ours;
  }

  /**
   * Drops the tables, so that a concurrent commit before the file is removed fails instead of being lost. Later commits
   * fail in SQLite, since the open file no longer has that name.
   */
  function empty(database: Database): boolean {
    // Before any change: it may be another program's file.
    if (!assertOurs(database, path)) return false;
    database.exec("PRAGMA synchronous = FULL; PRAGMA journal_mode = TRUNCATE; BEGIN EXCLUSIVE");
    try {
      assertNoDocuments(database);
      for (const table of tablesOf(database)) database.exec(`DROP TABLE "${table.replaceAll('"', '""')}"`);
      database.exec("COMMIT");
      return true;
    } catch (error) {
      rollBack(database);
      throw error;
    }
  }
}

/** From the migrations of format.ts. */
const ownTables = ["documents", "catalog", "tags", "adopted"];

function tablesOf(database: Database): string[] {
  const tables = database.prepare(
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
  );
  return tables.all().map((row) => String(asRow(row)["name"]));
}

async function openAnd<T>(path: string, busyTimeout: number, work: (database: Database) => T): Promise<T> {
  try {
    const database = await openDatabase(path, busyTimeout, (made) => made.exec("PRAGMA trusted_schema = OFF"));
    try {
      return work(database);
    } finally {
      database.close();
    }
  } catch (error) {
    throw fromSqliteError(error, path);
  }
}

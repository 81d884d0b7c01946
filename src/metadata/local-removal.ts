/** Removes the catalog of the embedded library, once it has no documents. */
import { throwIfCancelled } from "../errors.ts";
import { assertRemovable, ownPaths, removeDirectory, removeFiles } from "../library-directory.ts";
import { assertEmpty } from "../not-empty.ts";
import { statIfThere } from "../presence.ts";
import type { DismantledResource, ProvisionOptions, Settings } from "../settings.ts";
import { asRow, type Database, fromSqliteError, openDatabase, rollBack } from "../sqlite.ts";

/**
 * @param busyTimeout milliseconds to wait for another process
 * @param assertOurs throws for a database that docproc did not make
 */
export async function* removeCatalog(
  settings: Settings,
  options: ProvisionOptions,
  busyTimeout: number,
  assertOurs: (database: Database, path: string) => void,
): AsyncIterable<DismantledResource> {
  throwIfCancelled(options.signal);
  await assertRemovable(settings);
  const [path = "", journal = ""] = ownPaths(settings.directory, "metadata");
  const resource = { kind: "catalog", name: path };
  const there = (await statIfThere(path)) !== undefined;
  if (there) await openAnd(path, busyTimeout, options.plan ? assertNoDocuments : empty);
  if (!options.plan) await removeFiles(path, journal);
  yield { ...resource, action: !there ? "gone" : options.plan ? "would-remove" : "removed" };
  yield await removeDirectory(settings, options);

  function assertNoDocuments(database: Database) {
    assertOurs(database, path);
    const tables = tablesOf(database);
    const count = tables.includes("documents")
      ? Number(asRow(database.prepare("SELECT count(*) AS n FROM documents").get())["n"])
      : 0;
    assertEmpty(`catalog ${path}`, { document: count });
  }

  /**
   * Takes its tables away: what another process commits before the file is removed is refused, and not lost with it.
   * After that SQLite itself refuses, as the file that it has open is not the one of that name any more.
   */
  function empty(database: Database) {
    // Before anything that changes the file of another program.
    assertOurs(database, path);
    database.exec("PRAGMA synchronous = FULL; PRAGMA journal_mode = TRUNCATE; BEGIN EXCLUSIVE");
    try {
      assertNoDocuments(database);
      for (const table of tablesOf(database)) database.exec(`DROP TABLE "${table.replaceAll('"', '""')}"`);
      database.exec("COMMIT");
    } catch (error) {
      rollBack(database);
      throw error;
    }
  }
}

function tablesOf(database: Database): string[] {
  const tables = database.prepare(
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
  );
  return tables.all().map((row) => String(asRow(row)["name"]));
}

async function openAnd(path: string, busyTimeout: number, work: (database: Database) => void): Promise<void> {
  try {
    const database = await openDatabase(path, busyTimeout, (made) => made.exec("PRAGMA trusted_schema = OFF"));
    try {
      work(database);
    } finally {
      database.close();
    }
  } catch (error) {
    throw fromSqliteError(error, path);
  }
}

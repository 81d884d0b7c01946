/** The catalog in one SQLite file: `<directory>/catalog.db`. */
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { defineDriver } from "../../core/driver.ts";
import { throwIfCancelled } from "../../core/errors.ts";
import type { ProvisionedResource, ProvisionOptions } from "../../core/resources.ts";
import { type ListQuery, matcher } from "../../document/query.ts";
import { canonicalJson, type DocumentRecord } from "../../document/record.ts";
import { type StoredRecord, toStored } from "../../document/stored-form.ts";
import { modeText, privateFile } from "../../files/atomic.ts";
import { assertOwnParts, placeOfDirectory } from "../../files/library-directory.ts";
import { assertOwnLibrary, type Owners } from "../../files/ownership.ts";
import { type DirectorySettings, directorySettings } from "../../files/settings.ts";
import {
  asRow,
  type Database,
  fromSqliteError,
  listsOf,
  makeDatabaseFile,
  openDatabase,
  type PreparedStatement,
  prepareForLists,
  rollBack,
} from "../../files/sqlite.ts";
import { statIfThere } from "../../files/stat.ts";
import type {
  Changes,
  CommitRequest,
  CommitResult,
  Entry,
  MetadataService,
  MetadataTraits,
  Place,
  Series,
  Standing,
} from "../service.ts";
import type { Select, SqlValue } from "./conditions.ts";
import { assertOurs, migrate } from "./format.ts";
import type { GlobFunction } from "./glob-function.ts";
import { pageSize, pagesOf } from "./listing.ts";
import { entryOf, storedColumns, storedMarks, valuesOf } from "./row.ts";
import { pagesInOrder } from "./sorting.ts";

const traits: MetadataTraits = { sorts: true, readsFree: true };

export const localMetadata = defineDriver<MetadataService, typeof directorySettings>({
  title: "SQLite",
  traits,
  settings: directorySettings,
  chosenBy: ["directory"],
  isRemote: false,
  check() {},
  async open(settings) {
    return new LocalMetadata(settings, Math.min(busyTimeout, settings.timeout));
  },
  provision,
  async *dismantle(settings, options) {
    const { removeCatalog } = await import("./removal.ts");
    yield* removeCatalog(settings, options, Math.min(busyTimeout, settings.timeout), assertOurs);
  },
  clockSkew: async () => 0,
  nameOf: ({ directory }) => ({ kind: "directory", name: directory, isPath: true }),
  placeOf: ({ directory }) => placeOfDirectory(directory),
});

async function* provision(settings: DirectorySettings, options: ProvisionOptions): AsyncIterable<ProvisionedResource> {
  const path = join(settings.directory, "catalog.db");
  await assertOwnParts(settings.directory, "metadata");
  const existed = await exists(path);
  if (!existed && !options.plan) {
    const catalog = new LocalMetadata(settings, busyTimeout);
    await catalog.create();
    await catalog.close();
  }
  const action = existed ? "exists" : options.plan ? "would-create" : "created";
  yield { kind: "catalog", name: path, action, settings: { mode: modeText(privateFile) } };
}

const selectEntry = `SELECT ${storedColumns} FROM documents WHERE id = ?`;
const insertEntry = `INSERT INTO documents (${storedColumns}, name) VALUES (${storedMarks}, ?)`;
/** Of one path and the tags given: read along the versions of the path. */
const series = "documents INDEXED BY documents_by_path WHERE path = ? AND given = ?";
const selectBefore = `SELECT * FROM (SELECT ${storedColumns} FROM ${series} AND id < ? ORDER BY id DESC LIMIT 1)
  WHERE sha256 = ? AND proved = 1`;
const selectAfter = `SELECT * FROM (SELECT ${storedColumns} FROM ${series} AND id > ? ORDER BY id LIMIT 1)
  WHERE sha256 = ? AND proved = 1`;

/** Maximal milliseconds that a writer waits for another process. */
const busyTimeout = 30_000;

class LocalMetadata implements MetadataService {
  readonly traits = traits;
  readonly #directory: string;
  readonly #owners: Owners;
  readonly #path: string;
  readonly #busyTimeout: number;
  /** One connection, also for concurrent callers: prepared statements belong to their connection. */
  #database: Promise<Database> | undefined;
  /** By SQL text. Listing a million records runs one statement two thousand times. */
  readonly #statements = new Map<string, PreparedStatement>();
  #globs: GlobFunction | undefined;

  /** @param busyTimeout milliseconds that a statement waits for another process */
  constructor({ directory, owners }: DirectorySettings, busyTimeout: number) {
    this.#busyTimeout = busyTimeout;
    this.#directory = directory;
    this.#owners = owners;
    this.#path = join(directory, "catalog.db");
  }

  async commit(entry: Entry, { unlessThere }: CommitRequest, signal: AbortSignal): Promise<CommitResult> {
    throwIfCancelled(signal);
    const database = await this.create();
    const stored = toStored(entry);
    return this.#attempt(() =>
      inTransaction(database, () => {
        const there = this.#own(database, stored) ?? (unlessThere ? this.#neighbour(database, stored) : undefined);
        if (there !== undefined) return { committed: false, there };
        this.#prepare(database, insertEntry).run(...valuesOf(stored), entry.record.name);
        return { committed: true };
      }),
    );
  }

  async get(id: string, signal: AbortSignal): Promise<Entry | undefined> {
    const [row] = await this.#select(signal, selectEntry, id);
    return row && entryOf(row);
  }

  async lookUp({ path, given }: Series, sha256: string | undefined, signal: AbortSignal): Promise<Standing> {
    const first = async (sql: string, ...values: SqlValue[]) => (await this.#select(signal, sql, ...values))[0];
    const row = await first(
      `SELECT ${storedColumns} FROM ${series} ORDER BY id DESC LIMIT 1`,
      path,
      canonicalJson(given),
    );
    const newest = row && entryOf(row);
    let twin = newest?.proved && newest.record.sha256 === sha256 ? newest : undefined;
    if (sha256 !== undefined && twin === undefined) {
      const found = await first(
        `SELECT ${storedColumns} FROM documents INDEXED BY documents_by_sha256
         WHERE sha256 = ? AND path = ? AND proved = 1 ORDER BY id DESC LIMIT 1`,
        sha256,
        path,
      );
      twin = found && entryOf(found);
    }
    const last = await first("SELECT id FROM documents WHERE path = ? ORDER BY id DESC LIMIT 1", path);
    return { newest, twin, last: last && String(last[0]) };
  }

  async *versions(path: string, signal: AbortSignal): AsyncIterable<string> {
    const sql = "SELECT id FROM documents WHERE path = ? AND id < ? ORDER BY id DESC LIMIT ?";
    for (let last = "~"; ; ) {
      const rows = await this.#select(signal, sql, path, last, pageSize);
      for (const [id] of rows) yield String(id);
      if (rows.length < pageSize) return;
      last = String(rows.at(-1)?.[0]);
    }
  }

  async *list(query: ListQuery, signal: AbortSignal): AsyncIterable<Entry> {
    const matches = await matcher(query.filter);
    const { path, name, what, type } = query.filter ?? {};
    if ([path, name, what, type].some((text) => text !== undefined)) await this.#defineGlobFunction();
    const select: Select = (sql, ...values) => this.#select(signal, sql, ...values);
    const pages = query.sort === undefined ? pagesOf(select, query) : pagesInOrder(select, query, query.sort);
    for await (const rows of pages) {
      for (const row of rows) {
        const entry = entryOf(row);
        // Indexes only reduce reading; matcher() alone defines what a query means.
        if (matches(entry.record)) yield entry;
      }
      // Reading the file is synchronous: yield to signals and output.
      await turn();
    }
  }

  async remove(id: string, signal: AbortSignal): Promise<DocumentRecord | undefined> {
    const [row] = await this.#select(signal, `DELETE FROM documents WHERE id = ? RETURNING ${storedColumns}`, id);
    return row && entryOf(row).record;
  }

  async update(record: DocumentRecord, changes: Changes, signal: AbortSignal): Promise<boolean> {
    const { tags, metadata, contentType, expiresAt } = { ...record, ...changes };
    const changed = await this.#select(
      signal,
      `UPDATE documents SET tags = ?, metadata = ?, content_type = ?, expires_at = ?
       WHERE id = ? AND tags = ? AND metadata = ? AND content_type = ? AND expires_at IS ? RETURNING id`,
      canonicalJson(tags),
      canonicalJson(metadata),
      contentType,
      expiresAt,
      record.id,
      canonicalJson(record.tags),
      canonicalJson(record.metadata),
      record.contentType,
      record.expiresAt,
    );
    return changed.length === 1;
  }

  async prove(id: string, signal: AbortSignal): Promise<boolean> {
    return (await this.#select(signal, "UPDATE documents SET proved = 1 WHERE id = ? RETURNING id", id)).length === 1;
  }

  /** A place is a part of the document's own row, so it never outlives its document. */
  async *places(signal: AbortSignal): AsyncIterable<Place> {
    const release = async () => {};
    const sql = "SELECT id, path FROM documents WHERE id > ? ORDER BY id LIMIT ?";
    for (let last = ""; ; ) {
      const rows = await this.#select(signal, sql, last, pageSize);
      for (const [id, path] of rows) yield { id: String(id), path: String(path), release };
      if (rows.length < pageSize) return;
      last = String(rows.at(-1)?.[0]);
    }
  }

  async catalog(signal: AbortSignal): Promise<string> {
    throwIfCancelled(signal);
    const database = await this.create();
    return this.#attempt(() => String(asRow(database.prepare("SELECT id FROM catalog").get())["id"]));
  }

  async adopted(signal: AbortSignal): Promise<string[]> {
    return (await this.#select(signal, "SELECT id FROM adopted")).map(([id]) => String(id));
  }

  async adopt(catalog: string, signal: AbortSignal): Promise<void> {
    throwIfCancelled(signal);
    const database = await this.create();
    this.#attempt(() => this.#prepare(database, "INSERT OR IGNORE INTO adopted VALUES (?)").run(catalog));
  }

  async close(): Promise<void> {
    const database = this.#database;
    this.#database = undefined;
    this.#statements.clear();
    this.#globs = undefined;
    // The caller that opened it has got the error.
    (await database?.catch(() => undefined))?.close();
  }

  /** Opens the catalog, and creates a missing one. */
  async create(): Promise<Database> {
    if (this.#database === undefined && !(await exists(this.#path))) {
      await assertOwnLibrary(this.#directory, this.#owners);
      await makeDatabaseFile(this.#path);
    }
    return await this.#open();
  }

  /** Runs a statement. Without a catalog the result is empty; reading does not create one. */
  async #select(signal: AbortSignal, sql: string, ...values: SqlValue[]): Promise<unknown[][]> {
    throwIfCancelled(signal);
    if (this.#database === undefined && !(await exists(this.#path))) return [];
    const database = await this.#open();
    const run = () => listsOf(this.#prepare(database, sql), ...values);
    return this.#attempt(() => (this.#globs ? this.#globs.watch(run) : run()));
  }

  /** Late, because most commands have no glob. Once, because SQLite cannot replace a function in use. */
  async #defineGlobFunction(): Promise<void> {
    if (this.#database === undefined && !(await exists(this.#path))) return;
    const [{ GlobFunction }, database] = await Promise.all([import("./glob-function.ts"), this.#open()]);
    this.#globs ??= new GlobFunction(database);
  }

  async #open(): Promise<Database> {
    this.#database ??= this.#load();
    try {
      return await this.#database;
    } catch (error) {
      this.#database = undefined;
      throw fromSqliteError(error, this.#path);
    }
  }

  async #load(): Promise<Database> {
    // Opening may write: SQLite recovers from a crash, and migrations run.
    await assertOwnParts(this.#directory, "metadata");
    return await openDatabase(this.#path, this.#busyTimeout, (database) => {
      // TRUNCATE, not WAL: network and bind-mounted disks lack the shared memory that WAL needs.
      database.exec("PRAGMA synchronous = FULL; PRAGMA journal_mode = TRUNCATE; PRAGMA trusted_schema = OFF");
      migrate(database, this.#path);
    });
  }

  /** The entry with the same id. */
  #own(database: Database, { id }: StoredRecord): Entry | undefined {
    const [row] = listsOf(this.#prepare(database, selectEntry), id);
    return row && entryOf(row);
  }

  /** The version before it or after it in its series, if that one is proved and has the same bytes. */
  #neighbour(database: Database, { id, path, sha256, given, tags }: StoredRecord): Entry | undefined {
    for (const sql of [selectBefore, selectAfter]) {
      const [row] = listsOf(this.#prepare(database, sql), path, given ?? tags, id, sha256);
      if (row) return entryOf(row);
    }
    return undefined;
  }

  #prepare(database: Database, sql: string): PreparedStatement {
    const statement = this.#statements.get(sql) ?? prepareForLists(database, sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  #attempt<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw fromSqliteError(error, this.#path);
    }
  }
}

/** Runs some statements as one, alone among all writers. */
function inTransaction<T>(database: Database, work: () => T): T {
  try {
    database.exec("BEGIN IMMEDIATE");
    const result = work();
    database.exec("COMMIT");
    return result;
  } catch (error) {
    rollBack(database);
    throw error;
  }
}

/** An unreadable library is an error, not one without a catalog. */
async function exists(path: string): Promise<boolean> {
  return (await statIfThere(path)) !== undefined;
}

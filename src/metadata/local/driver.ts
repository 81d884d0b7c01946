/** The catalog in one SQLite file: `<directory>/catalog.db`. */
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { defineDriver } from "../../core/driver.ts";
import { DocprocError, throwIfCancelled } from "../../core/errors.ts";
import type { ProvisionedResource, ProvisionOptions } from "../../core/resources.ts";
import { type ListQuery, matcher } from "../../document/query.ts";
import { canonicalJson, type DocumentRecord, type TextMap } from "../../document/record.ts";
import { fromStored, toStored } from "../../document/stored-form.ts";
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
import {
  apart,
  type Claim,
  type CommitResult,
  type MetadataService,
  type MetadataTraits,
  type RetagResult,
  unproved,
} from "../service.ts";
import type { Select, SqlValue } from "./conditions.ts";
import type { GlobFunction } from "./glob-function.ts";
import { namedRecord, pagesOf, storedColumns } from "./listing.ts";
import { pagesInOrder } from "./sorting.ts";

const traits: MetadataTraits = { sorts: true, readsFree: true };

export const localMetadata = defineDriver<MetadataService, typeof directorySettings>({
  summary: "an SQLite file on this machine",
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

/** "dpc1": distinguishes our catalog from any other SQLite file. */
const applicationId = 0x64706331;

/**
 * One entry per format, applied in order, never edited after a release. `PRAGMA user_version` counts the applied ones.
 * Text compares by UTF-8 bytes, SQLite's default, as in DynamoDB.
 */
const migrations: readonly string[] = [
  `CREATE TABLE documents (
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
   ) STRICT, WITHOUT ROWID`,
  `ALTER TABLE documents ADD COLUMN crc32 TEXT;
   CREATE TABLE catalog (id TEXT NOT NULL) STRICT;
   INSERT INTO catalog VALUES (lower(hex(randomblob(16))))`,
  // For listings. Triggers maintain the tags for every writer, in the same transaction. Damaged tags are skipped;
  // reading the record reports them.
  `CREATE INDEX documents_by_name ON documents (name);
   CREATE INDEX documents_by_beginning ON documents (substr(name, 1, 3), id, name);
   CREATE INDEX documents_by_type ON documents (content_type);
   CREATE TABLE tags (
     key TEXT NOT NULL,
     value TEXT NOT NULL,
     id TEXT NOT NULL,
     PRIMARY KEY (key, value, id)
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
   END`,
  // For listings by size, commit or CI run. Of a commit only the digits that people type.
  `CREATE INDEX documents_by_size ON documents (size);
   CREATE INDEX documents_by_commit
     ON documents (substr(iif(json_valid(provenance), provenance, '{}') ->> '$.git.commit', 1, 7))
     WHERE provenance IS NOT NULL;
   CREATE INDEX documents_by_run
     ON documents (iif(json_valid(provenance), provenance, '{}') ->> '$.ci.run')
     WHERE provenance IS NOT NULL`,
  // Ids of vanished catalogs whose objects now belong to this one.
  "CREATE TABLE adopted (id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
];

const selectHolder = "SELECT id FROM documents WHERE name = ? AND identity = ?";

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

  async commit(record: DocumentRecord, identity: string, signal: AbortSignal): Promise<CommitResult> {
    throwIfCancelled(signal);
    const database = await this.create();
    return this.#attempt(() => {
      const stored = toStored(record);
      const { changes } = this.#prepare(
        database,
        "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
      ).run(
        stored.id,
        stored.name,
        identity,
        stored.size,
        stored.contentType,
        stored.sha256,
        stored.uri,
        stored.tags,
        stored.metadata,
        stored.source,
        stored.provenance,
        stored.crc32,
      );
      if (Number(changes) === 1) return { committed: true };
      const [held] = listsOf(this.#prepare(database, selectHolder), record.name, identity);
      return { committed: false, holder: held === undefined ? record.id : String(held[0]) };
    });
  }

  async get(id: string, signal: AbortSignal): Promise<DocumentRecord | undefined> {
    const [row] = await this.#select(signal, `SELECT ${storedColumns} FROM documents WHERE id = ?`, id);
    return row && fromStored(namedRecord(row));
  }

  async holder(name: string, identity: string, signal: AbortSignal): Promise<string | undefined> {
    const [held] = await this.#select(signal, selectHolder, name, identity);
    return held && String(held[0]);
  }

  /** A claim is the unique pair (name, identity) in the record's own row, so it never outlives its document. */
  async *claims(name: string | undefined, signal: AbortSignal): AsyncIterable<Claim> {
    const release = async () => {};
    if (name === undefined) {
      for await (const { id, name, size } of this.list({ ascending: true }, signal)) yield { id, name, size, release };
      return;
    }
    for (const [id, size] of await this.#select(signal, "SELECT id, size FROM documents WHERE name = ?", name)) {
      yield { id: String(id), name, size: Number(size), release };
    }
  }

  async *list(query: ListQuery, signal: AbortSignal): AsyncIterable<DocumentRecord> {
    const matches = await matcher(query.filter);
    if (query.filter?.name !== undefined || query.filter?.type !== undefined) await this.#defineGlobFunction();
    const select: Select = (sql, ...values) => this.#select(signal, sql, ...values);
    const pages = query.sort === undefined ? pagesOf(select, query) : pagesInOrder(select, query, query.sort);
    for await (const rows of pages) {
      for (const row of rows) {
        const record = fromStored(namedRecord(row));
        // Indexes only reduce reading; matcher() alone defines what a query means.
        if (matches(record)) yield record;
      }
      // Reading the file is synchronous: yield to signals and output.
      await turn();
    }
  }

  async remove(id: string, signal: AbortSignal): Promise<DocumentRecord | undefined> {
    const [row] = await this.#select(signal, `DELETE FROM documents WHERE id = ? RETURNING ${storedColumns}`, id);
    return row && fromStored(namedRecord(row));
  }

  async retag(record: DocumentRecord, tags: TextMap, identity: string, signal: AbortSignal): Promise<RetagResult> {
    throwIfCancelled(signal);
    const { id, name } = record;
    const database = await this.create();
    return this.#attempt(() => {
      const { changes } = this.#prepare(
        database,
        // The suffix after the identity is the kind of claim: see `ofSameKind`.
        `UPDATE OR IGNORE documents SET tags = ?, identity = ? || substr(identity, instr(identity || '#', '#'))
         WHERE id = ? AND tags = ?`,
      ).run(canonicalJson(tags), identity, id, canonicalJson(record.tags));
      if (Number(changes) === 1) return { retagged: true };
      const [held] = listsOf(this.#prepare(database, selectHolder), name, identity);
      return { retagged: false, holder: held === undefined || held[0] === id ? undefined : String(held[0]) };
    });
  }

  async prove(record: DocumentRecord, identity: string, signal: AbortSignal): Promise<boolean> {
    const { id } = record;
    const tags = canonicalJson(record.tags);
    const change = `UPDATE OR IGNORE documents SET identity = ? WHERE id = ? AND tags = ? AND identity = ? RETURNING id`;
    for (const claim of [identity, apart(identity, id)]) {
      const changed = await this.#select(signal, change, claim, id, tags, unproved(identity, id));
      if (changed.length > 0) return true;
    }
    return (await this.#select(signal, "SELECT id FROM documents WHERE id = ? AND tags = ?", id, tags)).length > 0;
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

/**
 * @returns whether docproc created it: an empty one may be anyone's
 * @throws INVALID_CONFIG, CONFLICT for a database that this version of docproc must not touch
 */
function assertOurs(database: Database, path: string): boolean {
  if (versionOf(database) > migrations.length) {
    throw new DocprocError("INVALID_CONFIG", `${path} was written by a newer version of docproc.`, {
      hint: "Upgrade docproc. Nothing was changed.",
    });
  }
  const owner = Number(asRow(database.prepare("PRAGMA application_id").get())["application_id"]);
  const tables = Number(asRow(database.prepare("SELECT count(*) AS n FROM sqlite_schema").get())["n"]);
  if (owner !== applicationId && tables > 0) {
    throw new DocprocError("CONFLICT", `${path} is a database of another program.`, {
      hint: "Choose another place with --directory. Nothing was changed.",
    });
  }
  return owner === applicationId;
}

function versionOf(database: Database): number {
  return Number(asRow(database.prepare("PRAGMA user_version").get())["user_version"]);
}

function migrate(database: Database, path: string): void {
  if (versionOf(database) === migrations.length) return;
  // Check again under the lock: two concurrent first runs must not both migrate.
  database.exec("BEGIN IMMEDIATE");
  try {
    assertOurs(database, path);
    for (const migration of migrations.slice(versionOf(database))) database.exec(migration);
    database.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${migrations.length}; COMMIT`);
  } catch (error) {
    rollBack(database);
    throw error;
  }
}

/** An unreadable library is an error, not one without a catalog. */
async function exists(path: string): Promise<boolean> {
  return (await statIfThere(path)) !== undefined;
}

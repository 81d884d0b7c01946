/** The catalog in one SQLite file: `<directory>/catalog.db`. */
import { join } from "node:path";
import type { DocumentRecord } from "../document.ts";
import { DocprocError, throwIfCancelled } from "../errors.ts";
import { assertOwnLibrary } from "../ownership.ts";
import { statIfThere } from "../presence.ts";
import { idRange, type ListQuery, matcher } from "../query.ts";
import type { ProvisionedResource, ProvisionOptions, Settings } from "../settings.ts";
import { asRow, type Database, fromSqliteError, makeDatabaseFile, openDatabase, type Row } from "../sqlite.ts";
import { fromStored, toStored } from "../stored-record.ts";
import type { Claim, CommitResult, MetadataDriver, MetadataService } from "./service.ts";

export const localMetadata: MetadataDriver = {
  summary: "an SQLite file on this machine",
  check() {},
  async open(settings) {
    return new LocalMetadata(settings.directory);
  },
  provision,
  clockSkew: async () => 0,
};

async function* provision(settings: Settings, options: ProvisionOptions): AsyncIterable<ProvisionedResource> {
  const path = join(settings.directory, "catalog.db");
  const existed = await exists(path);
  if (!existed && !options.plan) {
    const catalog = new LocalMetadata(settings.directory);
    await catalog.create();
    await catalog.close();
  }
  yield { kind: "catalog", name: path, action: existed ? "exists" : options.plan ? "would-create" : "created" };
}

/** "dpc1": tells a catalog of ours from any other SQLite file. */
const applicationId = 0x64706331;

/**
 * One entry a format, applied in order, never edited once released. `PRAGMA user_version` says how many have
 * been applied. Text is compared by its UTF-8 bytes, SQLite's default, as DynamoDB does.
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
];

/** Milliseconds that a writer waits for another process. */
const busyTimeout = 30_000;
/** Rows read at a time: between two pages no lock is held, so a slow reader never blocks a writer. */
const pageSize = 500;

class LocalMetadata implements MetadataService {
  readonly #directory: string;
  readonly #path: string;
  #database: Database | undefined;

  constructor(directory: string) {
    this.#directory = directory;
    this.#path = join(directory, "catalog.db");
  }

  async commit(record: DocumentRecord, identity: string, signal: AbortSignal): Promise<CommitResult> {
    throwIfCancelled(signal);
    const database = await this.create();
    return this.#attempt(() => {
      const stored = toStored(record);
      const { changes } = database
        .prepare("INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING")
        .run(
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
      const row = database
        .prepare("SELECT id FROM documents WHERE name = ? AND identity = ?")
        .get(record.name, identity);
      return { committed: false, holder: row === undefined ? record.id : String(asRow(row)["id"]) };
    });
  }

  async get(id: string, signal: AbortSignal): Promise<DocumentRecord | undefined> {
    const [row] = await this.#select(signal, "SELECT * FROM documents WHERE id = ?", id);
    return row && toRecord(row);
  }

  async holder(name: string, identity: string, signal: AbortSignal): Promise<string | undefined> {
    const [row] = await this.#select(
      signal,
      "SELECT id FROM documents WHERE name = ? AND identity = ?",
      name,
      identity,
    );
    return row && String(row["id"]);
  }

  /** A claim is the unique pair (name, identity) of a record's own row, so none is ever without its document. */
  async *claims(name: string | undefined, signal: AbortSignal): AsyncIterable<Claim> {
    const rows =
      name === undefined
        ? this.list({ ascending: true }, signal)
        : await this.#select(signal, "SELECT id, name, size FROM documents WHERE name = ?", name);
    for await (const { id, name: of, size } of rows) {
      yield { id: String(id), name: String(of), size: Number(size), release: async () => {} };
    }
  }

  async *list(query: ListQuery, signal: AbortSignal): AsyncIterable<DocumentRecord> {
    const matches = await matcher(query.filter);
    let after = query.after;
    for (;;) {
      const { from = "", to = "~" } = idRange({ ...query, after });
      const rows = await this.#select(
        signal,
        query.ascending
          ? "SELECT * FROM documents WHERE id >= ? AND id < ? ORDER BY id ASC LIMIT ?"
          : "SELECT * FROM documents WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT ?",
        from,
        to,
        pageSize,
      );
      for (const row of rows) {
        const record = toRecord(row);
        after = record.id;
        if (matches(record)) yield record;
      }
      if (rows.length < pageSize) return;
    }
  }

  async remove(id: string, signal: AbortSignal): Promise<DocumentRecord | undefined> {
    const [row] = await this.#select(signal, "DELETE FROM documents WHERE id = ? RETURNING *", id);
    return row && toRecord(row);
  }

  async catalog(signal: AbortSignal): Promise<string> {
    throwIfCancelled(signal);
    const database = await this.create();
    return this.#attempt(() => String(asRow(database.prepare("SELECT id FROM catalog").get())["id"]));
  }

  async close(): Promise<void> {
    this.#database?.close();
    this.#database = undefined;
  }

  /** Opens the catalog, and makes it where there is none yet. */
  async create(): Promise<Database> {
    if (this.#database === undefined && !(await exists(this.#path))) {
      await assertOwnLibrary(this.#directory);
      await makeDatabaseFile(this.#path);
    }
    return await this.#open();
  }

  /** Runs a statement. Without a catalog every answer is empty, and reading does not make one. */
  async #select(signal: AbortSignal, sql: string, ...values: (string | number)[]): Promise<Row[]> {
    throwIfCancelled(signal);
    if (this.#database === undefined && !(await exists(this.#path))) return [];
    const database = await this.#open();
    return this.#attempt(() =>
      database
        .prepare(sql)
        .all(...values)
        .map(asRow),
    );
  }

  async #open(): Promise<Database> {
    if (this.#database) return this.#database;
    try {
      this.#database = await openDatabase(this.#path, busyTimeout, (database) => {
        // TRUNCATE, not WAL: WAL needs shared memory, which network and bind-mounted disks do not have.
        database.exec("PRAGMA synchronous = FULL; PRAGMA journal_mode = TRUNCATE; PRAGMA trusted_schema = OFF");
        migrate(database, this.#path);
      });
      return this.#database;
    } catch (error) {
      throw fromSqliteError(error, this.#path);
    }
  }

  #attempt<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw fromSqliteError(error, this.#path);
    }
  }
}

function migrate(database: Database, path: string): void {
  const version = () => Number(asRow(database.prepare("PRAGMA user_version").get())["user_version"]);
  if (version() === migrations.length) return;
  // The lock first, then another look: two first runs at once must not both migrate.
  database.exec("BEGIN IMMEDIATE");
  try {
    const found = version();
    if (found > migrations.length) {
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
    for (const migration of migrations.slice(found)) database.exec(migration);
    database.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${migrations.length}; COMMIT`);
  } catch (error) {
    rollBack(database);
    throw error;
  }
}

/** A full or failing disk has ended the transaction already: https://www.sqlite.org/lang_transaction.html */
function rollBack(database: Database): void {
  try {
    database.exec("ROLLBACK");
  } catch {
    // What led here is what the user needs to hear.
  }
}

function toRecord(row: Row): DocumentRecord {
  return fromStored({
    id: row["id"],
    name: row["name"],
    size: row["size"],
    contentType: row["content_type"],
    sha256: row["sha256"],
    uri: row["uri"],
    tags: row["tags"],
    metadata: row["metadata"],
    source: row["source"],
    provenance: row["provenance"],
    crc32: row["crc32"],
  });
}

/** A library that may not be looked into is not one without a catalog. */
async function exists(path: string): Promise<boolean> {
  return (await statIfThere(path)) !== undefined;
}

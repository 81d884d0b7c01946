/** The catalog in one SQLite file: `<directory>/catalog.db`. */
import { constants } from "node:fs";
import { access, mkdir, open } from "node:fs/promises";
import { join } from "node:path";
// Only the types: which engine is loaded is decided at run time.
import type { DatabaseSyncInstance as Database } from "@photostructure/sqlite";
import { canonicalJson, type DocumentRecord, uploadTimeOfId } from "../document.ts";
import { DocprocError, type ErrorCode, fromSystemError, throwIfCancelled } from "../errors.ts";
import { idRange, type ListQuery, matcher } from "../query.ts";
import type { ProvisionedResource, ProvisionOptions, Settings } from "../settings.ts";
import type { Claim, CommitResult, MetadataDriver, MetadataService } from "./service.ts";

export const localMetadata: MetadataDriver = {
  summary: "an SQLite file on this machine",
  async open(settings) {
    return new LocalMetadata(settings.directory);
  },
  provision,
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
      const { changes } = database
        .prepare("INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING")
        .run(
          record.id,
          record.name,
          identity,
          record.size,
          record.contentType,
          record.sha256,
          record.uri,
          canonicalJson(record.tags),
          canonicalJson(record.metadata),
          JSON.stringify(record.source),
          record.provenance === null ? null : JSON.stringify(record.provenance),
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

  async *claims(name: string, signal: AbortSignal): AsyncIterable<Claim> {
    for (const row of await this.#select(signal, "SELECT id, size FROM documents WHERE name = ?", name)) {
      yield { id: String(row["id"]), size: Number(row["size"]) };
    }
  }

  async *list(query: ListQuery, signal: AbortSignal): AsyncIterable<DocumentRecord> {
    const matches = matcher(query.filter);
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

  async close(): Promise<void> {
    this.#database?.close();
    this.#database = undefined;
  }

  /** Opens the catalog, and makes it where there is none yet. */
  async create(): Promise<Database> {
    if (this.#database === undefined && !(await exists(this.#path))) {
      try {
        await mkdir(this.#directory, { recursive: true, mode: 0o700 });
        // SQLite would make the file readable to everybody.
        await (await open(this.#path, constants.O_RDWR | constants.O_CREAT, 0o600)).close();
      } catch (error) {
        throw fromSystemError(error, this.#directory);
      }
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
    const { DatabaseSync } = await loadSqlite();
    return this.#attempt(() => {
      const database = new DatabaseSync(this.#path, { timeout: busyTimeout });
      try {
        // TRUNCATE, not WAL: WAL needs shared memory, which network and bind-mounted disks do not have.
        database.exec("PRAGMA synchronous = FULL; PRAGMA journal_mode = TRUNCATE; PRAGMA trusted_schema = OFF");
        migrate(database, this.#path);
      } catch (error) {
        database.close();
        throw error;
      }
      this.#database = database;
      return database;
    });
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
    database.exec("ROLLBACK");
    throw error;
  }
}

type Row = Record<string, unknown>;

function asRow(value: unknown): Row {
  return value as Row;
}

function toRecord(row: Row): DocumentRecord {
  const id = String(row["id"]);
  return {
    id,
    name: String(row["name"]),
    size: Number(row["size"]),
    contentType: String(row["content_type"]),
    sha256: String(row["sha256"]),
    uploadedAt: uploadTimeOfId(id),
    uri: String(row["uri"]),
    tags: JSON.parse(String(row["tags"])),
    metadata: JSON.parse(String(row["metadata"])),
    source: JSON.parse(String(row["source"])),
    provenance: row["provenance"] === null ? null : JSON.parse(String(row["provenance"])),
  };
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

/** Node's own engine where it has one (22.13 and later), else the same API as a package. */
async function loadSqlite(): Promise<typeof import("@photostructure/sqlite")> {
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

/** https://www.sqlite.org/rescode.html */
const sqliteErrors: Record<number, [ErrorCode, string, string]> = {
  5: ["UNAVAILABLE", "is locked by another process", "Run the same command again."],
  6: ["UNAVAILABLE", "is locked by another process", "Run the same command again."],
  8: ["ACCESS_DENIED", "may not be written by this user", "Check the permissions with ls -l."],
  10: ["UNAVAILABLE", "could not be read or written: the disk reported an error", "Check the disk."],
  11: ["INTEGRITY", "is damaged", "Restore it from a backup; the stored documents are not touched by this."],
  13: ["UNAVAILABLE", "could not be written: the disk is full", "Free some space and run the command again."],
  14: ["ACCESS_DENIED", "could not be opened", "Check the permissions with ls -l."],
  26: ["INTEGRITY", "is not a catalog", "Restore it from a backup, or choose another place with --directory."],
};

function fromSqliteError(error: unknown, path: string): DocprocError {
  if (error instanceof DocprocError) return error;
  const resultCode = Number((error as { errcode?: unknown }).errcode ?? 0) & 0xff;
  const [code, sentence, hint] = sqliteErrors[resultCode] ?? ["INTERNAL", `failed: ${String(error)}`, undefined];
  return new DocprocError(code, `The catalog ${path} ${sentence}.`, { hint, cause: error });
}

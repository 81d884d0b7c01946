/**
 * What is remembered of a large upload while it is on its way, so that the same command can go on with it after a
 * crash: its id, its key, and every part that the storage has acknowledged. One small database for each upload, in
 * the state directory.
 *
 * Whoever has the database open owns the upload: SQLite's lock on it ends with the process, however it ends. Nothing
 * in it is secret, and nothing in it is believed: all bytes are read and hashed again before a part is left out.
 */
import { createHash } from "node:crypto";
import { access, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { canonicalJson, type TextMap } from "./document.ts";
import {
  asRow,
  type Database,
  makeDatabaseFile,
  openDatabase,
  sqliteCodeOf,
  sqliteCorrupt,
  sqliteError,
  sqliteNotADatabase,
} from "./sqlite.ts";
import type { BegunUpload, Checkpoint, SavedPart } from "./storage/service.ts";

/** What makes two runs the same upload. */
export interface UploadIdentity {
  /** The storage's address and the catalog's id. */
  readonly target: string;
  /** Absolute path of the file. */
  readonly path: string;
  readonly name: string;
  readonly tags: TextMap;
}

export interface UploadPlan {
  readonly id: string;
  readonly key: string;
  /** Size and modification time of the file. */
  readonly stamp: string;
  readonly contentType: string;
}

/** Bucket lifecycle rules drop the parts of an upload after this; there is nothing to go on with then. */
const journalDays = 7;

/** `PRAGMA user_version`; a journal of another format is started anew. */
const format = 1;

const schema = `
  CREATE TABLE upload (
    id TEXT NOT NULL, key TEXT NOT NULL, stamp TEXT NOT NULL, content_type TEXT NOT NULL,
    upload_id TEXT, part_size INTEGER
  ) STRICT;
  CREATE TABLE part (number INTEGER PRIMARY KEY, size INTEGER NOT NULL, sha256 TEXT NOT NULL, etag TEXT NOT NULL) STRICT;
  PRAGMA user_version = ${format};`;

export class UploadJournals {
  readonly #directory: string;
  readonly #onTrouble: (message: string) => void;

  /** @param onTrouble told why an upload cannot be journaled: it can still be done, only not gone on with */
  constructor(directory: string, onTrouble: (message: string) => void) {
    this.#directory = directory;
    this.#onTrouble = onTrouble;
  }

  /** Whether an earlier run left a journal of this upload. */
  async has(upload: UploadIdentity): Promise<boolean> {
    return await access(this.#path(upload)).then(
      () => true,
      () => false,
    );
  }

  /**
   * Opens the journal of an upload, and keeps every other process out of it. When an earlier run planned the same
   * (same file, size and time), its plan goes on; otherwise this one begins.
   * @returns undefined when another process is uploading just this, or no journal can be kept here
   */
  async open(upload: UploadIdentity, plan: UploadPlan): Promise<UploadJournal | undefined> {
    const path = this.#path(upload);
    try {
      // First, since one of this upload may be among them.
      await this.#prune();
      await makeDatabaseFile(path);
      return await openOrReplace(path, plan);
    } catch (error) {
      this.#onTrouble(`No journal of ${upload.path}: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  }

  #path({ target, path, name, tags }: UploadIdentity): string {
    const identity = JSON.stringify([target, path, name, canonicalJson(tags)]);
    return join(this.#directory, `${createHash("sha256").update(identity).digest("hex").slice(0, 40)}.db`);
  }

  /** Removes journals that nobody touched for so long that they are of no use. */
  async #prune(): Promise<void> {
    const oldest = Date.now() - journalDays * 86_400_000;
    // The first journal makes the directory.
    for (const name of await readdir(this.#directory).catch(() => [])) {
      const path = join(this.#directory, name);
      const seen = await stat(path).catch(() => undefined);
      if (seen?.isFile() && seen.mtimeMs < oldest) await rm(path, { force: true });
    }
  }
}

async function openOrReplace(path: string, plan: UploadPlan): Promise<UploadJournal> {
  try {
    return await openJournal(path, plan);
  } catch (error) {
    if (!unreadable.has(sqliteCodeOf(error))) throw error;
    // There is nothing to go on with.
    for (const suffix of ["", ...companions]) await rm(`${path}${suffix}`, { force: true });
    await makeDatabaseFile(path);
    return await openJournal(path, plan);
  }
}

/** Endings of the files that SQLite puts beside a database: https://www.sqlite.org/tempfiles.html */
const companions = ["-wal", "-shm", "-journal"];

/** What SQLite says of a file that is damaged, is no database, or is one with other tables. */
const unreadable: ReadonlySet<number> = new Set([sqliteCorrupt, sqliteNotADatabase, sqliteError]);

async function openJournal(path: string, plan: UploadPlan): Promise<UploadJournal> {
  const database = await openDatabase(path, 0, (opened) => {
    // EXCLUSIVE holds the lock until the database is closed; with it, the write-ahead log needs no shared memory.
    // FULL flushes every part, a third of a millisecond each: what is remembered survives a power failure.
    opened.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    opened.exec("PRAGMA trusted_schema = OFF");
    opened.exec("BEGIN IMMEDIATE");
    const found = Number(asRow(opened.prepare("PRAGMA user_version").get())["user_version"]);
    if (found !== format) opened.exec(`DROP TABLE IF EXISTS upload; DROP TABLE IF EXISTS part; ${schema}`);
    opened.exec("COMMIT");
  });
  try {
    return new UploadJournal(path, database, plan);
  } catch (error) {
    release(database);
    throw error;
  }
}

/**
 * Closes a database and gives up its lock: an engine that keeps its statements until they are collected keeps both.
 * @returns whether nothing is left beside the file
 */
function release(database: Database): boolean {
  try {
    // Without a log beside it: one that another process makes under the same name must not be taken for ours.
    database.exec("PRAGMA journal_mode = DELETE");
    // The lock goes with the next reading, not before.
    database.exec("PRAGMA locking_mode = NORMAL; SELECT 1 FROM upload");
    return true;
  } catch {
    // The process ends soon, and the lock with it.
    return false;
  } finally {
    database.close();
  }
}

export class UploadJournal implements Checkpoint {
  /** The upload that is under way: of an earlier run where it can be gone on with. */
  readonly plan: UploadPlan;
  /** The upload of an earlier run that is not gone on with, for the caller to clear away. */
  readonly abandoned: Pick<UploadPlan, "id" | "key"> | undefined;
  readonly #path: string;
  readonly #database: Database;
  #begun: BegunUpload | undefined;
  /** By their number. Read whole at the beginning: a page that turns out damaged later would cost the upload. */
  readonly #parts = new Map<number, SavedPart>();
  /** A journal that could not be written is worth nothing, but the upload goes on without it. */
  #broken = false;

  constructor(path: string, database: Database, plan: UploadPlan) {
    this.#path = path;
    this.#database = database;
    const row = database.prepare("SELECT * FROM upload").get();
    const earlier = row === undefined ? undefined : asRow(row);
    const goesOn = earlier?.["stamp"] === plan.stamp && earlier["content_type"] === plan.contentType;
    if (earlier && goesOn) {
      this.plan = { ...plan, id: String(earlier["id"]), key: String(earlier["key"]) };
      const uploadId = earlier["upload_id"];
      if (typeof uploadId === "string") this.#begun = { uploadId, partSize: Number(earlier["part_size"]) };
      for (const row of database.prepare("SELECT * FROM part").all().map(asRow)) {
        const [size, sha256, etag] = [Number(row["size"]), String(row["sha256"]), String(row["etag"])];
        this.#parts.set(Number(row["number"]), { size, sha256, etag });
      }
    } else {
      this.plan = plan;
      this.abandoned = earlier && { id: String(earlier["id"]), key: String(earlier["key"]) };
      this.#rewrite(undefined);
    }
  }

  get begun(): BegunUpload | undefined {
    return this.#begun;
  }

  part(number: number): SavedPart | undefined {
    return this.#parts.get(number);
  }

  begin(upload: BegunUpload): void {
    this.#begun = upload;
    this.#parts.clear();
    this.#attempt(() => this.#rewrite(upload));
  }

  save(number: number, part: SavedPart): void {
    const { size, sha256, etag } = part;
    this.#parts.set(number, part);
    this.#attempt(() =>
      this.#database.prepare("INSERT OR REPLACE INTO part VALUES (?, ?, ?, ?)").run(number, size, sha256, etag),
    );
  }

  /** Keeps what is there for a later run. */
  close(): void {
    release(this.#database);
  }

  /** The upload is over, one way or the other. */
  async remove(): Promise<void> {
    this.#attempt(() => this.#database.exec("DELETE FROM upload; DELETE FROM part"));
    const suffixes = release(this.#database) ? [""] : [...companions, ""];
    for (const suffix of suffixes) await rm(`${this.#path}${suffix}`, { force: true }).catch(() => {});
  }

  #rewrite(begun: BegunUpload | undefined): void {
    const { id, key, stamp, contentType } = this.plan;
    this.#database.exec("BEGIN IMMEDIATE; DELETE FROM upload; DELETE FROM part");
    this.#database
      .prepare("INSERT INTO upload VALUES (?, ?, ?, ?, ?, ?)")
      .run(id, key, stamp, contentType, begun?.uploadId ?? null, begun?.partSize ?? null);
    this.#database.exec("COMMIT");
  }

  #attempt(write: () => void): void {
    if (this.#broken) return;
    try {
      write();
    } catch {
      this.#broken = true;
    }
  }
}

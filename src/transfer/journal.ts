/**
 * The journal of a large upload, so that the same command can resume it after a crash: its id, its key, and every part
 * that the storage has acknowledged. One small database per upload, in the state directory.
 *
 * The process that has the database open owns the upload: SQLite's lock ends with the process, however it ends. The
 * journal holds no secrets and is not trusted: all bytes are read and hashed again before a part is skipped.
 *
 * The state directory may hold other things, too. A journal is a file with our name and format in a directory that is
 * no link and no other user's; nothing else is opened, replaced or removed.
 */
import { createHash } from "node:crypto";
import { lstat, readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { DocprocError, fromSystemError } from "../core/errors.ts";
import { canonicalJson, idOfKey, type TextMap } from "../document/record.ts";
import { assertFile, makeDirectoryBelow } from "../files/no-links.ts";
import { isOurs, type Owners } from "../files/ownership.ts";
import { type Removal, removeFile } from "../files/removal.ts";
import {
  applicationIdOf,
  asRow,
  type Database,
  makeDatabaseFile,
  type NamedRow,
  openDatabase,
  sqliteCodeOf,
  sqliteCorrupt,
  sqliteError,
  sqliteNotADatabase,
} from "../files/sqlite.ts";
import { statIfVisible } from "../files/stat.ts";
import type { BegunUpload, Checkpoint, SavedPart } from "../storage/service.ts";

/** What makes two runs the same upload. */
export interface UploadIdentity {
  /** The storage's address and the catalog's id. */
  readonly target: string;
  /** Absolute path of the file. */
  readonly file: string;
  /** Path of the document. */
  readonly path: string;
  readonly tags: TextMap;
}

export interface UploadPlan {
  readonly id: string;
  readonly key: string;
  /** Size and modification time of the file. */
  readonly stamp: string;
  readonly contentType: string;
}

/** Bucket lifecycle rules drop uploaded parts after this time, so there is nothing left to resume. */
const journalDays = 7;

/** `PRAGMA user_version`; a journal in another format is restarted. */
const format = 1;

/** "dpj1": distinguishes a journal from any other file. */
const applicationId = 0x64706a31;

/** Names of journals, and of the files that SQLite puts beside them: https://www.sqlite.org/tempfiles.html */
const journalName = /^[0-9a-f]{40}\.db$/;
const ownForm = /^[^/]+\/[0-9a-f]{40}\.db(-wal|-shm|-journal)?$/;
/** The log is removed first: the next database of that name would adopt it. */
const companions = ["-wal", "-shm", "-journal"];

/** Journals that this process has open. Their files must not be closed: see {@link applicationIdOf}. */
const openPaths = new Set<string>();

const schema = `
  CREATE TABLE upload (
    id TEXT NOT NULL, key TEXT NOT NULL, stamp TEXT NOT NULL, content_type TEXT NOT NULL,
    upload_id TEXT, part_size INTEGER
  ) STRICT;
  CREATE TABLE part (number INTEGER PRIMARY KEY, size INTEGER NOT NULL, sha256 TEXT NOT NULL, etag TEXT NOT NULL) STRICT;
  PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${format};`;

export class UploadJournals {
  readonly #directory: string;
  readonly #owners: Owners;
  readonly #onProblem: (message: string) => void;

  /**
   * @param owners who may own the directory
   * @param onProblem receives the reason when an upload gets no journal, and so cannot be resumed
   */
  constructor(directory: string, owners: Owners, onProblem: (message: string) => void) {
    this.#directory = directory;
    this.#owners = owners;
    this.#onProblem = onProblem;
  }

  /** Whether an earlier run left a journal of this upload. */
  async has(upload: UploadIdentity): Promise<boolean> {
    return (await statIfVisible(this.#path(upload), lstat))?.isFile() ?? false;
  }

  /**
   * Opens and locks the journal of an upload. If an earlier run planned the same upload (same file, size and time), its
   * plan is resumed; otherwise `plan` begins.
   * @returns undefined when another process has this upload, or when no journal can be written
   */
  async open(upload: UploadIdentity, plan: UploadPlan): Promise<UploadJournal | undefined> {
    const path = this.#path(upload);
    try {
      await this.#makeDirectory();
      // First, since an expired journal of this upload may be among them.
      await this.#prune();
      return await openOrReplace(path, plan);
    } catch (error) {
      this.#onProblem(`No journal of ${upload.file}: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  }

  #path({ target, file, path, tags }: UploadIdentity): string {
    const identity = JSON.stringify([target, file, path, canonicalJson(tags)]);
    return join(this.#directory, `${createHash("sha256").update(identity).digest("hex").slice(0, 40)}.db`);
  }

  /** @throws CONFLICT for a link or a file in its place, ACCESS_DENIED for a directory of another user */
  async #makeDirectory(): Promise<void> {
    const directory = this.#directory;
    await makeDirectoryBelow(dirname(directory), basename(directory));
    if (await isOurs(directory, this.#owners)) return;
    throw new DocprocError("ACCESS_DENIED", `The directory ${directory} belongs to another user.`, {
      hint: "Choose another place with --state-directory.",
    });
  }

  /** Removes journals that are too old to resume. */
  async #prune(): Promise<void> {
    const oldest = Date.now() - journalDays * 86_400_000;
    for (const name of await readdir(this.#directory)) {
      const path = join(this.#directory, name);
      if (!journalName.test(name) || openPaths.has(path) || (await lastWritten(path)) >= oldest) continue;
      if (isJournal(path)) await removeJournal(path);
    }
  }
}

/** Milliseconds since the epoch. While a journal is in use, only its log is written. */
async function lastWritten(path: string): Promise<number> {
  const seen = await Promise.all(["", ...companions].map((suffix) => statIfVisible(`${path}${suffix}`, lstat)));
  return Math.max(...seen.map((one) => one?.mtimeMs ?? 0));
}

/** Whether a file has our format. An empty file counts: a process was killed before it wrote. */
function isJournal(path: string): boolean {
  try {
    return (applicationIdOf(path) ?? applicationId) === applicationId;
  } catch {
    return false;
  }
}

/** Removes a journal of checked format, and the files beside it. */
async function removeJournal(path: string, suffixes: readonly string[] = [...companions, ""]): Promise<Removal> {
  const directory = dirname(path);
  for (const suffix of suffixes) {
    const own = { root: dirname(directory), path: `${basename(directory)}/${basename(path)}${suffix}`, form: ownForm };
    const outcome = await removeFile(own).catch((error: unknown) => {
      throw fromSystemError(error, `${path}${suffix}`);
    });
    if (outcome === "foreign") return outcome;
  }
  return "removed";
}

async function openOrReplace(path: string, plan: UploadPlan): Promise<UploadJournal> {
  await makeDatabaseFile(path);
  await assertFile(path);
  try {
    return await openJournal(path, plan);
  } catch (error) {
    // Ours but damaged: nothing can be resumed.
    if (!unreadable.has(sqliteCodeOf(error)) || (await removeJournal(path)) === "foreign") throw error;
    await makeDatabaseFile(path);
    return await openJournal(path, plan);
  }
}

/** SQLite's codes for a damaged file, another kind of file, and a database with other tables. */
const unreadable: ReadonlySet<number> = new Set([sqliteCorrupt, sqliteNotADatabase, sqliteError]);

async function openJournal(path: string, plan: UploadPlan): Promise<UploadJournal> {
  const database = await openDatabase(path, 0, (opened) => {
    if (!openPaths.has(path)) begin(opened, path);
    // EXCLUSIVE locks the file until it is closed; the write-ahead log then needs no shared memory. FULL flushes every
    // part (a third of a millisecond each), so that the journal survives a power failure.
    opened.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    opened.exec("PRAGMA trusted_schema = OFF");
    opened.exec("BEGIN IMMEDIATE");
    const found = Number(asRow(opened.prepare("PRAGMA user_version").get())["user_version"]);
    if (found !== format) opened.exec(`DROP TABLE IF EXISTS upload; DROP TABLE IF EXISTS part; ${schema}`);
    opened.exec("COMMIT");
    openPaths.add(path);
  });
  try {
    return new UploadJournal(path, database, plan);
  } catch (error) {
    release(database, path);
    throw error;
  }
}

/**
 * Checks the file before SQLite, which would also change the database of another program. A new file is marked before
 * there is a log beside it, because only the file itself is checked.
 */
function begin(opened: Database, path: string): void {
  const found = applicationIdOf(path);
  if (found === undefined) opened.exec(`PRAGMA application_id = ${applicationId}`);
  else if (found !== applicationId) {
    throw new DocprocError("CONFLICT", `${path} is not a journal of docproc, and was left unchanged.`, {
      hint: "Remove it, or choose another place with --state-directory.",
    });
  }
}

/**
 * Closes a database and releases its lock; engines may keep both until statements are garbage-collected.
 * @returns whether no other files are left beside the database
 */
function release(database: Database, path: string): boolean {
  try {
    // Drops the log now: another process's log under the same name must not be mistaken for ours.
    database.exec("PRAGMA journal_mode = DELETE");
    // SQLite releases the lock at the next read.
    database.exec("PRAGMA locking_mode = NORMAL; SELECT 1 FROM upload");
    return true;
  } catch {
    // The lock ends with the process.
    return false;
  } finally {
    database.close();
    openPaths.delete(path);
  }
}

/** The stored plan; undefined when its key is no upload's, since anything could be stored under that key. */
function earlierPlan(row: NamedRow): NamedRow | undefined {
  const [id, key] = [String(row["id"]), String(row["key"])];
  return idOfKey(key, undefined) === id ? row : undefined;
}

export class UploadJournal implements Checkpoint {
  /** The plan of this upload: an earlier run's if it is resumed. */
  readonly plan: UploadPlan;
  /** An earlier upload that is not resumed; the caller removes it. */
  readonly abandoned: Pick<UploadPlan, "id" | "key"> | undefined;
  readonly #path: string;
  readonly #database: Database;
  #begun: BegunUpload | undefined;
  /** By number. Read completely at the start: a damaged page found later would fail the upload. */
  readonly #parts = new Map<number, SavedPart>();
  /** A journal that failed to write is not written again; the upload continues without it. */
  #broken = false;

  constructor(path: string, database: Database, plan: UploadPlan) {
    this.#path = path;
    this.#database = database;
    const row = database.prepare("SELECT * FROM upload").get();
    const earlier = row === undefined ? undefined : earlierPlan(asRow(row));
    const resumes = earlier?.["stamp"] === plan.stamp && earlier["content_type"] === plan.contentType;
    if (earlier && resumes) {
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

  /** Keeps the journal for a later run. */
  close(): void {
    release(this.#database, this.#path);
  }

  /** Removes the journal when the upload has ended. */
  async remove(): Promise<void> {
    this.#attempt(() => this.#database.exec("DELETE FROM upload; DELETE FROM part"));
    const isAlone = release(this.#database, this.#path);
    await removeJournal(this.#path, isAlone ? [""] : undefined).catch(() => {});
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

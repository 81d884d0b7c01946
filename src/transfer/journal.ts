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
  openDatabase,
  type Row,
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

/** "dpj1": tells a journal from any other file. */
const applicationId = 0x64706a31;

/** The name of a journal, and of the files that SQLite puts beside it: https://www.sqlite.org/tempfiles.html */
const journalName = /^[0-9a-f]{40}\.db$/;
const ownForm = /^[^/]+\/[0-9a-f]{40}\.db(-wal|-shm|-journal)?$/;
/** The log first: the next database of the name would take it for its own. */
const companions = ["-wal", "-shm", "-journal"];

/** Paths of the journals that this process has open. Their files must not be closed: see {@link applicationIdOf}. */
const openHere = new Set<string>();

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
  readonly #onTrouble: (message: string) => void;

  /**
   * @param owners whose the directory may be
   * @param onTrouble told why an upload cannot be journaled: it can still be done, only not gone on with
   */
  constructor(directory: string, owners: Owners, onTrouble: (message: string) => void) {
    this.#directory = directory;
    this.#owners = owners;
    this.#onTrouble = onTrouble;
  }

  /** Whether an earlier run left a journal of this upload. */
  async has(upload: UploadIdentity): Promise<boolean> {
    return (await statIfVisible(this.#path(upload), lstat))?.isFile() ?? false;
  }

  /**
   * Opens the journal of an upload, and keeps every other process out of it. When an earlier run planned the same
   * (same file, size and time), its plan goes on; otherwise this one begins.
   * @returns undefined when another process is uploading just this, or no journal can be kept here
   */
  async open(upload: UploadIdentity, plan: UploadPlan): Promise<UploadJournal | undefined> {
    const path = this.#path(upload);
    try {
      await this.#makeDirectory();
      // First, since one of this upload may be among them.
      await this.#prune();
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

  /** @throws CONFLICT for a link or a file in its place, ACCESS_DENIED for a directory of another user */
  async #makeDirectory(): Promise<void> {
    const directory = this.#directory;
    await makeDirectoryBelow(dirname(directory), basename(directory));
    if (await isOurs(directory, this.#owners)) return;
    throw new DocprocError("ACCESS_DENIED", `The directory ${directory} was made by another user.`, {
      hint: "Choose another place with --state-directory.",
    });
  }

  /** Removes journals that were not written to for so long that they are of no use. */
  async #prune(): Promise<void> {
    const oldest = Date.now() - journalDays * 86_400_000;
    for (const name of await readdir(this.#directory)) {
      const path = join(this.#directory, name);
      if (!journalName.test(name) || openHere.has(path) || (await lastWritten(path)) >= oldest) continue;
      if (isJournal(path)) await removeJournal(path);
    }
  }
}

/** Milliseconds since the epoch. Of a journal that is in use, only the log beside it is written to. */
async function lastWritten(path: string): Promise<number> {
  const seen = await Promise.all(["", ...companions].map((suffix) => statIfVisible(`${path}${suffix}`, lstat)));
  return Math.max(...seen.map((one) => one?.mtimeMs ?? 0));
}

/** Whether a file has our format. An empty one of our name, where a process was killed before it wrote, is as good. */
function isJournal(path: string): boolean {
  try {
    return (applicationIdOf(path) ?? applicationId) === applicationId;
  } catch {
    return false;
  }
}

/** Removes a journal that was found to be one, and what lies beside it. */
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
    // Ours, and damaged: there is nothing to go on with.
    if (!unreadable.has(sqliteCodeOf(error)) || (await removeJournal(path)) === "foreign") throw error;
    await makeDatabaseFile(path);
    return await openJournal(path, plan);
  }
}

/** What SQLite says of a file that is damaged, is no database, or is one with other tables. */
const unreadable: ReadonlySet<number> = new Set([sqliteCorrupt, sqliteNotADatabase, sqliteError]);

async function openJournal(path: string, plan: UploadPlan): Promise<UploadJournal> {
  const database = await openDatabase(path, 0, (opened) => {
    if (!openHere.has(path)) begin(opened, path);
    // EXCLUSIVE holds the lock until the database is closed; with it, the write-ahead log needs no shared memory.
    // FULL flushes every part, a third of a millisecond each: what is remembered survives a power failure.
    opened.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    opened.exec("PRAGMA trusted_schema = OFF");
    opened.exec("BEGIN IMMEDIATE");
    const found = Number(asRow(opened.prepare("PRAGMA user_version").get())["user_version"]);
    if (found !== format) opened.exec(`DROP TABLE IF EXISTS upload; DROP TABLE IF EXISTS part; ${schema}`);
    opened.exec("COMMIT");
    openHere.add(path);
  });
  try {
    return new UploadJournal(path, database, plan);
  } catch (error) {
    release(database, path);
    throw error;
  }
}

/**
 * Looks at the file before SQLite does, which would change the database of another program, too. A new one is marked
 * as ours before there is a log beside it: in the file itself, which is all that is looked at.
 */
function begin(opened: Database, path: string): void {
  const found = applicationIdOf(path);
  if (found === undefined) opened.exec(`PRAGMA application_id = ${applicationId}`);
  else if (found !== applicationId) {
    throw new DocprocError("CONFLICT", `${path} is not a journal of docproc, and is left as it is.`, {
      hint: "Remove it, or choose another place with --state-directory.",
    });
  }
}

/**
 * Closes a database and gives up its lock: an engine that keeps its statements until they are collected keeps both.
 * @returns whether nothing is left beside the file
 */
function release(database: Database, path: string): boolean {
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
    openHere.delete(path);
  }
}

/** The row of an upload; undefined where its key is not one that an upload has: what is under it could be anything. */
function earlierPlan(row: Row): Row | undefined {
  const [id, key] = [String(row["id"]), String(row["key"])];
  return idOfKey(key, undefined) === id ? row : undefined;
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
    const earlier = row === undefined ? undefined : earlierPlan(asRow(row));
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
    release(this.#database, this.#path);
  }

  /** The upload is over, one way or the other. */
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

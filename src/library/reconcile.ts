/**
 * Compares catalog and storage in both directions, at any size: both are streamed into a temporary database on disk,
 * which finds the differences.
 */

import { maxNamed } from "../core/not-empty.ts";
import { idOfKey, isDocumentId } from "../document/record.ts";
import { asRow, type Database, type NamedRow, openDatabase } from "../files/sqlite.ts";
import type { Owner } from "../metadata/marks.ts";
import type { Entry, Place } from "../metadata/service.ts";
import type { ListedObject } from "../storage/service.ts";

/** Rows per transaction, and per read. */
const batchSize = 1_000;

export interface ComparedObject extends ListedObject {
  readonly id: string;
}

/** An object without a record, and its owner according to its mark. */
export interface Orphan extends ComparedObject {
  readonly owner: Exclude<Owner, "other">;
}

export class Comparison {
  readonly #database: Database;
  readonly #prefix: string;
  readonly counts = { records: 0, objects: 0, foreign: 0, places: 0 };
  /** The first names passed to {@link addForeign}. */
  readonly foreignNames: string[] = [];

  private constructor(database: Database, prefix: string) {
    this.#database = database;
    this.#prefix = prefix;
  }

  /** @param prefix of the compared storage keys */
  static async open(prefix: string): Promise<Comparison> {
    const database = await openDatabase("", 0, (made) => {
      // Not needed after a crash.
      made.exec(`
        PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; PRAGMA trusted_schema = OFF;
        CREATE TABLE objects (id TEXT, key TEXT, size INTEGER, age INTEGER, PRIMARY KEY (id, key)) WITHOUT ROWID;
        CREATE TABLE records (id TEXT PRIMARY KEY, path TEXT, key TEXT, size INTEGER) WITHOUT ROWID;
        CREATE TABLE orphans (id TEXT, key TEXT, size INTEGER, age INTEGER, owner TEXT, PRIMARY KEY (id, key)) WITHOUT ROWID;
        CREATE TABLE places (id TEXT, path TEXT, PRIMARY KEY (id, path)) WITHOUT ROWID`);
    });
    return new Comparison(database, prefix);
  }

  async addObjects(objects: AsyncIterable<ListedObject>): Promise<void> {
    await this.#insert("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)", objects, ({ key, size, age }) => {
      const id = idOfKey(key, this.#prefix);
      if (id === undefined) return this.addForeign(key);
      this.counts.objects += 1;
      return [id, key, size, Math.round(age)];
    });
  }

  /** Counts an entry of another program, and keeps the first few names. */
  addForeign(name: string): undefined {
    this.counts.foreign += 1;
    if (this.foreignNames.length < maxNamed) this.foreignNames.push(name);
  }

  async addRecords(entries: AsyncIterable<Entry>): Promise<void> {
    await this.#insert(
      "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)",
      entries,
      ({ record: { id, path, uri, size } }) => {
        this.counts.records += 1;
        // The records of a library that was moved have another base.
        return [id, path, `${this.#prefix}${uri.split("/").slice(-3).join("/")}`, size];
      },
    );
  }

  async addPlaces(places: AsyncIterable<Pick<Place, "id" | "path">>): Promise<void> {
    await this.#insert("INSERT OR REPLACE INTO places VALUES (?, ?)", places, ({ id, path }) => {
      // Another program's item in the table.
      if (!isDocumentId(id)) return this.addForeign(path);
      this.counts.places += 1;
      return [id, path];
    });
  }

  /** Ids of records without a listed object of their key and size. */
  *recordsWithoutBytes(): Iterable<string> {
    const rows = this.#rows(
      `SELECT id FROM records WHERE id > ? AND NOT EXISTS (
         SELECT 1 FROM objects WHERE objects.id = records.id AND objects.key = records.key AND objects.size = records.size
       ) ORDER BY id LIMIT ${batchSize}`,
      ["id"],
    );
    for (const row of rows) yield String(row["id"]);
  }

  /** Objects whose document is not in the catalog. */
  *objectsWithoutRecord(): Iterable<ComparedObject> {
    const rows = this.#rows(
      `SELECT id, key, size, age FROM objects WHERE (id, key) > (?, ?) AND NOT EXISTS (
         SELECT 1 FROM records WHERE records.id = objects.id
       ) ORDER BY id, key LIMIT ${batchSize}`,
      ["id", "key"],
    );
    for (const row of rows) yield objectOf(row);
  }

  /** Adds an object that was confirmed to have no record. */
  addOrphan({ id, key, size, age, owner }: Orphan): void {
    this.#database.prepare("INSERT OR REPLACE INTO orphans VALUES (?, ?, ?, ?, ?)").run(id, key, size, age, owner);
  }

  /** The objects added by {@link addOrphan}. */
  *orphans(): Iterable<Orphan> {
    const rows = this.#rows(`SELECT * FROM orphans WHERE (id, key) > (?, ?) ORDER BY id, key LIMIT ${batchSize}`, [
      "id",
      "key",
    ]);
    for (const row of rows) yield { ...objectOf(row), owner: row["owner"] as Orphan["owner"] };
  }

  /** Places whose document is not in the catalog. */
  *placesWithoutRecord(): Iterable<Pick<Place, "id" | "path">> {
    const rows = this.#rows(
      `SELECT id, path FROM places WHERE (id, path) > (?, ?) AND NOT EXISTS (
         SELECT 1 FROM records WHERE records.id = places.id
       ) ORDER BY id, path LIMIT ${batchSize}`,
      ["id", "path"],
    );
    for (const { id, path } of rows) yield { id: String(id), path: String(path) };
  }

  /** Ids of records that are not among the versions of their path. */
  *recordsWithoutPlace(): Iterable<string> {
    const rows = this.#rows(
      `SELECT id FROM records WHERE id > ? AND NOT EXISTS (
         SELECT 1 FROM places WHERE places.id = records.id AND places.path = records.path
       ) ORDER BY id LIMIT ${batchSize}`,
      ["id"],
    );
    for (const row of rows) yield String(row["id"]);
  }

  close(): void {
    this.#database.close();
  }

  async #insert<T>(
    sql: string,
    items: AsyncIterable<T>,
    valuesOf: (item: T) => (string | number)[] | undefined,
  ): Promise<void> {
    const insert = this.#database.prepare(sql);
    let pending = 0;
    this.#database.exec("BEGIN");
    for await (const item of items) {
      const values = valuesOf(item);
      if (values === undefined) continue;
      insert.run(...values);
      pending += 1;
      if (pending % batchSize === 0) this.#database.exec("COMMIT; BEGIN");
    }
    this.#database.exec("COMMIT");
  }

  /** All rows of a statement that pages by its primary key, whose columns are its parameters. */
  *#rows(sql: string, primaryKey: readonly string[]) {
    const statement = this.#database.prepare(sql);
    for (let after = primaryKey.map(() => ""); ; ) {
      const rows = statement.all(...after).map(asRow);
      yield* rows;
      const last = rows.at(-1);
      if (last === undefined || rows.length < batchSize) return;
      after = primaryKey.map((column) => String(last[column]));
    }
  }
}

function objectOf({ id, key, size, age }: NamedRow): ComparedObject {
  return { id: String(id), key: String(key), size: Number(size), age: Number(age) };
}

/** Whether `storageKey` makes such keys; other keys are other programs'. */
export function isDocumentKey(key: string, prefix: string): boolean {
  return idOfKey(key, prefix) !== undefined;
}

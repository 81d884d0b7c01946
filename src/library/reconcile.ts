/**
 * Compares catalog and storage in both directions, at any size: both are streamed into a temporary database on disk,
 * which finds the differences.
 */

import { maxNamed } from "../core/not-empty.ts";
import { type DocumentRecord, idOfKey, isDocumentId } from "../document/record.ts";
import { asRow, type Database, type NamedRow, openDatabase } from "../files/sqlite.ts";
import type { Owner } from "../metadata/marks.ts";
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
  readonly counts = { records: 0, objects: 0, foreign: 0, claims: 0 };
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
        CREATE TABLE records (id TEXT PRIMARY KEY, size INTEGER) WITHOUT ROWID;
        CREATE TABLE orphans (id TEXT, key TEXT, size INTEGER, age INTEGER, owner TEXT, PRIMARY KEY (id, key)) WITHOUT ROWID;
        CREATE TABLE claims (id TEXT, name TEXT, PRIMARY KEY (id, name)) WITHOUT ROWID`);
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

  async addRecords(records: AsyncIterable<DocumentRecord>): Promise<void> {
    await this.#insert("INSERT OR REPLACE INTO records VALUES (?, ?)", records, ({ id, size }) => {
      this.counts.records += 1;
      return [id, size];
    });
  }

  async addClaims(claims: AsyncIterable<{ readonly id: string; readonly name: string }>): Promise<void> {
    await this.#insert("INSERT OR REPLACE INTO claims VALUES (?, ?)", claims, ({ id, name }) => {
      // Another program's item in the table.
      if (!isDocumentId(id)) return this.addForeign(name);
      this.counts.claims += 1;
      return [id, name];
    });
  }

  /** Ids of records without a listed object of their size. */
  *recordsWithoutBytes(): Iterable<string> {
    const rows = this.#rows(
      `SELECT id FROM records WHERE id > ? AND NOT EXISTS (
         SELECT 1 FROM objects WHERE objects.id = records.id AND objects.size = records.size
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

  /** Claims whose document is not in the catalog. */
  *claimsWithoutRecord(): Iterable<{ readonly id: string; readonly name: string }> {
    const rows = this.#rows(
      `SELECT id, name FROM claims WHERE (id, name) > (?, ?) AND NOT EXISTS (
         SELECT 1 FROM records WHERE records.id = claims.id
       ) ORDER BY id, name LIMIT ${batchSize}`,
      ["id", "name"],
    );
    for (const { id, name } of rows) yield { id: String(id), name: String(name) };
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

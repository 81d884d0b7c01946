/** A set of texts of any number: when they become many, they move to a temporary database on disk. */
import { type Database, openDatabase, type PreparedStatement } from "./sqlite.ts";

/** Some megabytes of paths. */
const mostInMemory = 50_000;

export class TextSet {
  readonly #few = new Set<string>();
  readonly #most: number;
  #many:
    | { readonly database: Database; readonly insert: PreparedStatement; readonly find: PreparedStatement }
    | undefined;

  /** @param most texts in memory */
  constructor(most = mostInMemory) {
    this.#most = most;
  }

  /** @returns false when it was there */
  async add(text: string): Promise<boolean> {
    if (this.#many === undefined && this.#few.size >= this.#most) await this.#move();
    if (this.#many) return Number(this.#many.insert.run(text).changes) === 1;
    return this.#few.size < this.#few.add(text).size;
  }

  has(text: string): boolean {
    return this.#many ? this.#many.find.get(text) !== undefined : this.#few.has(text);
  }

  close(): void {
    this.#many?.database.close();
    this.#many = undefined;
    this.#few.clear();
  }

  async #move(): Promise<void> {
    const database = await openDatabase("", 0, (made) => {
      // Not needed after a crash.
      made.exec(`
        PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; PRAGMA trusted_schema = OFF;
        CREATE TABLE texts (text TEXT PRIMARY KEY) WITHOUT ROWID;
        BEGIN`);
    });
    const insert = database.prepare("INSERT OR IGNORE INTO texts VALUES (?)");
    for (const text of this.#few) insert.run(text);
    this.#few.clear();
    this.#many = { database, insert, find: database.prepare("SELECT 1 FROM texts WHERE text = ?") };
  }
}

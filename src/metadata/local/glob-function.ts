/**
 * The SQL function `matches(glob, text)`. No signal is heard while a statement runs, so a statement that calls it too
 * often is aborted and can be repeated in smaller pieces.
 */
import { compileGlob, type Glob } from "../../document/glob.ts";
import type { Database } from "../../files/sqlite.ts";
import { TooManySteps } from "./conditions.ts";

export class GlobFunction {
  readonly #maxSteps: number;
  readonly #globs = new Map<string, Glob>();
  /** Of the current or last statement. */
  steps = 0;
  #isOver = false;

  /** @param maxSteps per statement: some tenths of a second, enough for a million names of twenty letters */
  constructor(database: Database, maxSteps = 20_000_000) {
    this.#maxSteps = maxSteps;
    database.function("matches", { deterministic: true }, (glob: unknown, text: unknown) => {
      const known = this.#globs.get(String(glob)) ?? compileGlob(String(glob));
      this.#globs.set(String(glob), known);
      const before = known.steps;
      const matches = known.matches(String(text));
      this.steps += known.steps - before;
      this.#isOver = this.steps > this.#maxSteps;
      if (this.#isOver) throw new TooManySteps();
      return matches ? 1 : 0;
    });
  }

  /** @throws TooManySteps when the limit was hit, whatever the engine's error is; else the statement's error */
  watch<T>(statement: () => T): T {
    this.steps = 0;
    this.#isOver = false;
    try {
      return statement();
    } catch (error) {
      throw this.#isOver ? new TooManySteps() : error;
    }
  }
}

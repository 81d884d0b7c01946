/**
 * The SQL functions `matches(glob, text)` and `matches_folded(glob, text)`. No signal is heard while a statement runs, so a statement that calls it too
 * often is aborted and can be repeated in smaller pieces.
 */
import { compileGlob, type Glob } from "../../document/glob.ts";
import { fold } from "../../document/what.ts";
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
    const define = (name: string, shown: (text: string) => string) =>
      database.function(name, { deterministic: true }, (glob: unknown, text: unknown) =>
        this.#matches(String(glob), shown(String(text))) ? 1 : 0,
      );
    define("matches", (text) => text);
    define("matches_folded", fold);
  }

  #matches(glob: string, text: string): boolean {
    const known = this.#globs.get(glob) ?? compileGlob(glob);
    this.#globs.set(glob, known);
    const before = known.steps;
    const matches = known.matches(text);
    this.steps += known.steps - before;
    this.#isOver = this.steps > this.#maxSteps;
    if (this.#isOver) throw new TooManySteps();
    return matches;
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

/**
 * Lets the writers of one process change a path one after the other: at once, all but one of them would fail and try
 * again. What one leaves behind saves the next one a read.
 */
import { throwIfCancelled } from "../../core/errors.ts";

export interface Turn<State> {
  /** What the writer before left; it may be old. Undefined: nothing is known. */
  state: State | undefined;
}

interface Line<State> extends Turn<State> {
  writers: number;
  last: Promise<unknown>;
}

export class Turns<State> {
  readonly #lines = new Map<string, Line<State>>();

  /**
   * Runs some work when no other work on the key is running.
   * @throws CANCELLED when the signal fired before its turn
   */
  async take<T>(key: string, signal: AbortSignal, work: (turn: Turn<State>) => Promise<T>): Promise<T> {
    const line = this.#lines.get(key) ?? { writers: 0, last: Promise.resolve(), state: undefined };
    this.#lines.set(key, line);
    line.writers += 1;
    const done = line.last.then(async () => {
      throwIfCancelled(signal);
      return await work(line);
    });
    line.last = done.catch(() => {});
    try {
      return await done;
    } finally {
      line.writers -= 1;
      if (line.writers === 0) this.#lines.delete(key);
    }
  }
}

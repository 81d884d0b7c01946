/**
 * Batches concurrent calls into one request.
 *
 * Calls that arrive while a group is in flight form the next group, so groups grow with the latency of the service, and
 * a single call is sent at once. Not dataloader, which collects by ticks: its cache and its distinct keys would be
 * switched off, it cannot defer a task to a later group, and it supports no signals.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { cancelled, throwIfCancelled } from "../../core/errors.ts";

/** Somebody who waits for an answer. Only the first one counts. */
export interface Member<Task, Answer> {
  readonly task: Task;
  readonly signal: AbortSignal;
  answer(answer: Answer | Promise<Answer>): void;
  fail(error: unknown): void;
}

export interface GroupOptions<Task, Answer> {
  /** Tasks in a group. */
  readonly most: number;
  /** Whether a task may go together with these; if not, it is one of a later group. */
  readonly fits: (task: Task, group: readonly Task[]) => boolean;
  /** Whether somebody whose signal fires gives up what is on its way, too. What is not sent yet is always given up. */
  readonly givesUp: boolean;
  /**
   * Does what a group asks for. Whom it has not answered when it is done with others gets what it throws.
   * @param signal fires when no member is interested any more
   */
  readonly send: (group: readonly Member<Task, Answer>[], signal: AbortSignal) => Promise<void>;
}

export class Groups<Task, Answer> {
  readonly #options: GroupOptions<Task, Answer>;
  readonly #waiting = new Set<Member<Task, Answer>>();
  #working = false;

  constructor(options: GroupOptions<Task, Answer>) {
    this.#options = options;
  }

  /**
   * The answer to a task, whoever else is in its group.
   * @throws CANCELLED at once when the signal fires before the task is sent, or at any time if the options say so
   */
  async add(task: Task, signal: AbortSignal): Promise<Answer> {
    throwIfCancelled(signal);
    let leave = () => {};
    const answered = new Promise<Answer>((answer, fail) => {
      const member = { task, signal, answer, fail };
      leave = () => {
        if (this.#waiting.delete(member) || this.#options.givesUp) fail(cancelled(signal));
      };
      this.#waiting.add(member);
    });
    signal.addEventListener("abort", leave, { once: true });
    void this.#work();
    try {
      return await answered;
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }

  async #work(): Promise<void> {
    if (this.#working) return;
    this.#working = true;
    // Answers that arrive together are acted upon in one turn of the event loop, and go on together.
    await nextTurn();
    for (let group = this.#take(); group.length > 0; group = this.#take()) await this.#send(group);
    this.#working = false;
  }

  #take(): Member<Task, Answer>[] {
    const { most, fits } = this.#options;
    const [group, tasks]: [Member<Task, Answer>[], Task[]] = [[], []];
    for (const member of this.#waiting) {
      if (group.length === most) break;
      if (group.length > 0 && !fits(member.task, tasks)) continue;
      group.push(member);
      tasks.push(member.task);
      this.#waiting.delete(member);
    }
    return group;
  }

  async #send(group: readonly Member<Task, Answer>[]): Promise<void> {
    const last = lastOf(group.map(({ signal }) => signal));
    try {
      await this.#options.send(group, last.signal);
    } catch (error) {
      for (const member of group) member.fail(error);
    } finally {
      last.forget();
    }
  }
}

/** A signal that fires with the last of these. `forget` when the answer is there. */
function lastOf(signals: readonly AbortSignal[]): { readonly signal: AbortSignal; forget(): void } {
  const different = new Set(signals);
  const [first] = different;
  // Of one program there is usually one.
  if (first && different.size === 1) return { signal: first, forget() {} };
  const last = new AbortController();
  let left = different.size;
  const leave = () => {
    left -= 1;
    if (left === 0) last.abort();
  };
  for (const signal of different) signal.addEventListener("abort", leave, { once: true });
  return {
    signal: last.signal,
    forget() {
      for (const signal of different) signal.removeEventListener("abort", leave);
    },
  };
}

/**
 * Batches concurrent calls into one request.
 *
 * Calls that arrive while a group is in flight form the next group, so groups grow with the latency of the service, and
 * a single call is sent at once. Not dataloader, which collects by ticks: its cache and its distinct keys would be
 * switched off, it cannot defer a task to a later group, and it supports no signals.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { cancelled, throwIfCancelled } from "../../core/errors.ts";

/** A caller that waits for an answer. Only the first answer counts. */
export interface Member<Task, Answer> {
  readonly task: Task;
  readonly signal: AbortSignal;
  answer(answer: Answer | Promise<Answer>): void;
  fail(error: unknown): void;
}

export interface BatcherOptions<Task, Answer> {
  /** Tasks per group. */
  readonly maxTasks: number;
  /** Whether a task may join the group; if not, it waits for a later one. */
  readonly fits: (task: Task, group: readonly Task[]) => boolean;
  /** Whether an aborted caller also abandons a request in flight. An unsent task is always dropped. */
  readonly abandonsInFlight: boolean;
  /**
   * Sends one group. Members still unanswered when it throws are rejected with that error.
   * @param signal fires when all members have aborted
   */
  readonly send: (group: readonly Member<Task, Answer>[], signal: AbortSignal) => Promise<void>;
}

export class RequestBatcher<Task, Answer> {
  readonly #options: BatcherOptions<Task, Answer>;
  readonly #waiting = new Set<Member<Task, Answer>>();
  #working = false;

  constructor(options: BatcherOptions<Task, Answer>) {
    this.#options = options;
  }

  /**
   * The answer to a task.
   * @throws CANCELLED at once when the signal fires before the task is sent; with `abandonsInFlight` at any time
   */
  async add(task: Task, signal: AbortSignal): Promise<Answer> {
    throwIfCancelled(signal);
    let leave = () => {};
    const answered = new Promise<Answer>((answer, fail) => {
      const member = { task, signal, answer, fail };
      leave = () => {
        if (this.#waiting.delete(member) || this.#options.abandonsInFlight) fail(cancelled(signal));
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
    // Responses that arrive together are handled in one turn, so that their follow-ups share a group.
    await nextTurn();
    for (let group = this.#take(); group.length > 0; group = this.#take()) await this.#send(group);
    this.#working = false;
  }

  #take(): Member<Task, Answer>[] {
    const { maxTasks, fits } = this.#options;
    const [group, tasks]: [Member<Task, Answer>[], Task[]] = [[], []];
    for (const member of this.#waiting) {
      if (group.length === maxTasks) break;
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

/** Fires with the last of these. Call `forget` after the response. */
function lastOf(signals: readonly AbortSignal[]): { readonly signal: AbortSignal; forget(): void } {
  const different = new Set(signals);
  const [first] = different;
  // Usually there is one.
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

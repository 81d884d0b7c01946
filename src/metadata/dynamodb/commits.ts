/**
 * Commits documents. Concurrent commits share a transaction: it costs the same write units and saves requests, which
 * dominate the time.
 *
 * A transaction succeeds or fails as a whole, so a commit that is refused gets its reason, and the others are sent
 * again without it.
 */
import type { TransactWriteItem } from "@aws-sdk/client-dynamodb";
import { mayHaveSucceeded } from "../commit-outcome.ts";
import { keyText } from "./reads.ts";
import { type Member, RequestBatcher } from "./request-batcher.ts";
import type { TransactionAnswer, TransactionOutcome, Transactions } from "./transactions.ts";

/**
 * Limits of a transaction: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
 */
const maxItems = 100;
const maxBytes = 4_000_000;
/** The fewest items of a commit: the document and the head of its path. */
const itemsAtLeast = 2;

interface CommitTask {
  readonly items: readonly TransactWriteItem[];
  /** Of its items. */
  readonly keys: readonly string[];
  /** Of its items, including their wire format. */
  readonly bytes: number;
}

type PendingCommit = Member<CommitTask, TransactionOutcome>;

export class Commits {
  readonly #transactions: Transactions;
  readonly #groups = new RequestBatcher<CommitTask, TransactionOutcome>({
    maxTasks: maxItems / itemsAtLeast,
    fits,
    // A sent transaction is awaited: its outcome counts.
    abandonsInFlight: false,
    send: async (group, signal) => await this.#send(group, signal),
  });

  constructor(transactions: Transactions) {
    this.#transactions = transactions;
  }

  /**
   * Writes the items of a commit, all or none.
   * @throws UNAVAILABLE when the outcome is unknown; after any other error nothing was written
   */
  async write(items: readonly TransactWriteItem[], signal: AbortSignal): Promise<TransactionOutcome> {
    const keys = items.map(({ Put, Delete, ConditionCheck }) =>
      keyText(Put?.Item ?? Delete?.Key ?? ConditionCheck?.Key ?? {}),
    );
    return await this.#groups.add({ items, keys, bytes: Buffer.byteLength(JSON.stringify(items)) }, signal);
  }

  async #send(group: readonly PendingCommit[], signal: AbortSignal): Promise<void> {
    const items = group.flatMap(({ task }) => task.items);
    let answer: TransactionAnswer;
    try {
      answer = await this.#transactions.attempt(items, signal);
    } catch (error) {
      // An unknown outcome concerns all members. Otherwise one of them may have failed the others.
      if (group.length === 1 || mayHaveSucceeded(error)) throw error;
      return this.#alone(group);
    }
    if (answer.done) {
      for (const one of group) one.answer(answer);
      return;
    }
    const resendable: PendingCommit[] = [];
    let taken = 0;
    for (const one of group) {
      const { length } = one.task.items;
      const reasons = answer.reasons.slice(taken, taken + length);
      taken += length;
      if (group.length > 1 && reasons.every(({ Code }) => Code === "None")) resendable.push(one);
      // May retry after a pause, which the next group does not wait for.
      else one.answer(this.#transactions.retry(one.task.items, { ...answer, reasons }, one.signal));
    }
    if (resendable.length === group.length) return this.#alone(group);
    const left = resendable.filter(({ signal }) => signal.aborted);
    this.#alone(left);
    const others = resendable.filter((one) => !left.includes(one));
    if (others.length > 0) await this.#send(others, signal);
  }

  #alone(group: readonly PendingCommit[]): void {
    for (const { task, signal, answer } of group) answer(this.#transactions.write(task.items, signal));
  }
}

/** A transaction that names an item twice is refused. */
function fits({ items, keys, bytes }: CommitTask, group: readonly CommitTask[]): boolean {
  const count = group.reduce((sum, other) => sum + other.items.length, items.length);
  const size = group.reduce((sum, other) => sum + other.bytes, bytes);
  if (count > maxItems || size > maxBytes) return false;
  return !group.some((other) => other.keys.some((key) => keys.includes(key)));
}

/** Transactions on one table. */
import {
  type CancellationReason,
  type DynamoDBClient,
  TransactionCanceledException,
  type TransactWriteItem,
  TransactWriteItemsCommand,
} from "@aws-sdk/client-dynamodb";
import { UnusableAnswer } from "../../aws/failures.ts";
import { throwIfCancelled } from "../../core/errors.ts";
import { lateSignal, pause } from "../../core/retry.ts";
import { tableFailure, tooBusy, unanswered } from "./failures.ts";
import type { DynamodbSettings } from "./settings.ts";

/** Additional retries for conflicts, which are normal with concurrent transactions. */
const conflictsExpected = 5;

/** https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html */
const temporaryReasons = new Set(["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"]);
const action = "dynamodb:TransactWriteItems";

/** If a condition failed: the reasons in the order of the items, and the SDK's attempts. */
export type TransactionOutcome = { readonly done: true } | FailedTransaction;

export interface FailedTransaction {
  readonly done: false;
  readonly reasons: readonly CancellationReason[];
  readonly attempts: number;
}

/** The response to a transaction that was sent once. */
export type TransactionAnswer =
  | { readonly done: true }
  | {
      readonly done: false;
      /** Reasons of the cancellation, in the order of the items; empty when the response has none. */
      readonly reasons: readonly CancellationReason[];
      readonly error: TransactionCanceledException;
    };

export class Transactions {
  readonly #client: DynamoDBClient;
  readonly #table: string;
  readonly #settings: DynamodbSettings;

  constructor(client: DynamoDBClient, table: string, settings: DynamodbSettings) {
    this.#client = client;
    this.#table = table;
    this.#settings = settings;
  }

  /**
   * Writes all items or none. The SDK never retries a cancelled transaction; this does, after mere conflicts.
   * @throws UNAVAILABLE when the outcome is unknown; after any other error nothing was written
   */
  async write(items: readonly TransactWriteItem[], signal: AbortSignal): Promise<TransactionOutcome> {
    return await this.retry(items, await this.attempt(items, signal), signal);
  }

  /**
   * Sends it once. The signal counts only before: a transaction in flight is awaited, since its outcome counts.
   * @throws like `write`
   */
  async attempt(items: readonly TransactWriteItem[], signal: AbortSignal): Promise<TransactionAnswer> {
    throwIfCancelled(signal);
    const late = lateSignal(signal);
    try {
      const command = new TransactWriteItemsCommand({ TransactItems: [...items] });
      await this.#client.send(command, { abortSignal: late.signal });
      return { done: true };
    } catch (error) {
      if (late.signal.aborted) throw unanswered(this.#table, error);
      if (!(error instanceof TransactionCanceledException)) throw this.#failure(error);
      return { done: false, reasons: usableReasons(error), error };
    } finally {
      late.forget();
    }
  }

  /**
   * The final outcome, after retries where they make sense.
   * @param answer to the first attempt: the reasons for these items
   * @throws like `write`
   */
  async retry(
    items: readonly TransactWriteItem[],
    answer: TransactionAnswer,
    signal: AbortSignal,
  ): Promise<TransactionOutcome> {
    for (let attempt = 1; !answer.done; attempt++) {
      const { reasons, error } = answer;
      if (reasons.length === 0) {
        throw this.#failure(new UnusableAnswer("A transaction was cancelled without a reason."));
      }
      if (reasons.some(isCondition)) return { done: false, reasons, attempts: error.$metadata.attempts ?? 1 };
      const temporary = reasons.some(({ Code }) => Code !== undefined && temporaryReasons.has(Code));
      if (!temporary) throw this.#failure(error);
      if (attempt > this.#settings.retries + conflictsExpected) throw tooBusy(this.#table, "commit", error);
      await pause(attempt, signal);
      answer = await this.attempt(items, signal);
    }
    return { done: true };
  }

  #failure(error: unknown) {
    return tableFailure(error, action, this.#table, this.#settings);
  }
}

/** True when the condition of the item at this index failed. */
export function failedOn({ reasons }: FailedTransaction, index: number): boolean {
  const reason = reasons[index];
  return reason !== undefined && isCondition(reason);
}

function isCondition({ Code }: CancellationReason): boolean {
  return Code === "ConditionalCheckFailed";
}

function usableReasons({ CancellationReasons: reasons }: TransactionCanceledException): readonly CancellationReason[] {
  return Array.isArray(reasons) && reasons.every((reason) => typeof reason?.Code === "string") ? reasons : [];
}

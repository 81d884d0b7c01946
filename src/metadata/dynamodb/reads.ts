/**
 * Reads items by key: one with GetItem, concurrent ones together with BatchGetItem. A batch costs the same read units
 * and saves requests, which dominate the time:
 * https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
 */
import {
  type AttributeValue,
  BatchGetItemCommand,
  type DynamoDBClient,
  GetItemCommand,
} from "@aws-sdk/client-dynamodb";
import { UnusableAnswer } from "../../aws/failures.ts";
import { pause } from "../../core/retry.ts";
import { tableFailure, tooBusy } from "./failures.ts";
import { type Member, RequestBatcher } from "./request-batcher.ts";
import type { DynamodbSettings } from "./settings.ts";

export type Item = Record<string, AttributeValue>;

/** Keys in one request: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html */
export const maxKeys = 100;

/** A unique text for an item's key. */
export function keyText({ pk, sk }: Item): string {
  return JSON.stringify([pk?.S, sk?.S]);
}

/** Validates the items of a response: the SDK passes on anything under this name. */
export function itemsOf({ Items = [] }: { readonly Items?: Item[] | undefined }): Item[] {
  if (Array.isArray(Items) && Items.every((item) => typeof item === "object" && item !== null)) return Items;
  throw new UnusableAnswer("Its items are not a list of items.");
}

/**
 * The items with these keys, in order; undefined for missing ones.
 * @param keys distinct, at most as many as one request may have
 * @param retries for keys that the table was too busy to read
 * @throws UNAVAILABLE when some are still unread, CANCELLED, and the SDK's errors
 */
export async function readItems(
  client: DynamoDBClient,
  table: string,
  keys: readonly Item[],
  retries: number,
  signal: AbortSignal,
): Promise<(Item | undefined)[]> {
  const found = new Map<string, Item>();
  let left = keys;
  for (let attempt = 1; ; attempt++) {
    const RequestItems = { [table]: { Keys: [...left], ConsistentRead: true } };
    const answer = await client.send(new BatchGetItemCommand({ RequestItems }), { abortSignal: signal });
    for (const item of itemsOf({ Items: answer.Responses?.[table] })) found.set(keyText(item), item);
    // The SDK retries failed requests, but not the unprocessed part of a successful one.
    const unprocessed = new Set(itemsOf({ Items: answer.UnprocessedKeys?.[table]?.Keys }).map(keyText));
    left = left.filter((key) => unprocessed.has(keyText(key)));
    if (left.length === 0) return keys.map((key) => found.get(keyText(key)));
    if (attempt > retries) throw tooBusy(table, "be read");
    await pause(attempt, signal);
  }
}

/** Reads single items; concurrent reads share requests. */
export class PointReads {
  readonly #client: DynamoDBClient;
  readonly #table: string;
  readonly #settings: DynamodbSettings;
  readonly #groups = new RequestBatcher<Item, Item | undefined>({
    maxTasks: maxKeys,
    fits: () => true,
    abandonsInFlight: true,
    send: async (group, signal) => await this.#send(group, signal),
  });

  constructor(client: DynamoDBClient, table: string, settings: DynamodbSettings) {
    this.#client = client;
    this.#table = table;
    this.#settings = settings;
  }

  /**
   * The item with this key, as of every write confirmed before; undefined when there is none.
   * @throws CANCELLED as soon as the signal fires; other callers' reads go on
   */
  async read(key: Item, signal: AbortSignal): Promise<Item | undefined> {
    return await this.#groups.add(key, signal);
  }

  async #send(group: readonly Member<Item, Item | undefined>[], signal: AbortSignal): Promise<void> {
    // A request that names a key twice is refused.
    const keys = [...new Map(group.map(({ task }) => [keyText(task), task])).values()];
    const items = await this.#read(keys, signal);
    const found = new Map(keys.map((key, index) => [keyText(key), items[index]]));
    for (const { task, answer } of group) answer(found.get(keyText(task)));
  }

  async #read(keys: readonly Item[], signal: AbortSignal): Promise<(Item | undefined)[]> {
    const [Key] = keys;
    const alone = keys.length === 1;
    try {
      if (!alone) return await readItems(this.#client, this.#table, keys, this.#settings.retries, signal);
      const command = new GetItemCommand({ TableName: this.#table, Key, ConsistentRead: true });
      return [(await this.#client.send(command, { abortSignal: signal })).Item];
    } catch (error) {
      const action = alone ? "dynamodb:GetItem" : "dynamodb:BatchGetItem";
      throw tableFailure(error, action, this.#table, this.#settings);
    }
  }
}

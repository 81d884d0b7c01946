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
import type { Settings } from "../../core/settings.ts";
import { tableFailure, tooBusy } from "./failures.ts";
import { Groups, type Member } from "./request-batcher.ts";

export type Item = Record<string, AttributeValue>;

/** In one request: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html */
export const mostKeys = 100;

/** Tells the key of one item from that of every other. */
export function keyText({ pk, sk }: Item): string {
  return JSON.stringify([pk?.S, sk?.S]);
}

/** What an answer holds under this name is what the SDK passes on, whatever it is. */
export function itemsOf({ Items = [] }: { readonly Items?: Item[] | undefined }): Item[] {
  if (Array.isArray(Items) && Items.every((item) => typeof item === "object" && item !== null)) return Items;
  throw new UnusableAnswer("Its items are no list of items.");
}

/**
 * The items with these keys, in their order; undefined for those that are not there.
 * @param keys different ones, at most as many as one request may have
 * @param retries how often those that the table is too busy to give are asked for again
 * @throws UNAVAILABLE when there are still some left then, CANCELLED, and what the SDK throws
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
    // The SDK repeats what failed as a whole, and leaves what is given in part to us.
    const unprocessed = new Set(itemsOf({ Items: answer.UnprocessedKeys?.[table]?.Keys }).map(keyText));
    left = left.filter((key) => unprocessed.has(keyText(key)));
    if (left.length === 0) return keys.map((key) => found.get(keyText(key)));
    if (attempt > retries) throw tooBusy(table, "be read");
    await pause(attempt, signal);
  }
}

/** Reads of single items, of which those at the same time share requests. */
export class PointReads {
  readonly #client: DynamoDBClient;
  readonly #table: string;
  readonly #settings: Settings;
  readonly #groups = new Groups<Item, Item | undefined>({
    most: mostKeys,
    fits: () => true,
    givesUp: true,
    send: async (group, signal) => await this.#send(group, signal),
  });

  constructor(client: DynamoDBClient, table: string, settings: Settings) {
    this.#client = client;
    this.#table = table;
    this.#settings = settings;
  }

  /**
   * The item with this key as it is after every write that was confirmed before, or undefined.
   * @throws CANCELLED as soon as the signal fires; nobody else's read ends with it
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

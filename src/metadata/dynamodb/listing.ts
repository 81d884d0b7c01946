/**
 * Reads documents in the order of their ids: a descending or ascending Query for each shard, merged.
 *
 * A page costs what it holds, shown or not, and holds 1 MB unless it has a `Limit`:
 * https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.Other.html
 * A caller that takes fifty documents therefore gets small pages. Later pages double, so that a search for rare
 * documents does not take thousands of requests. A caller that takes everything gets whole pages, each requested while
 * the previous one is used.
 */
import { setMaxListeners } from "node:events";
import {
  type DynamoDBClient,
  QueryCommand,
  type QueryCommandInput,
  type QueryCommandOutput,
} from "@aws-sdk/client-dynamodb";
import { advancingPages } from "../../aws/failures.ts";
import { idRange, type ListQuery } from "../../document/query.ts";
import { documentKey, shards } from "./documents.ts";
import { type Item, itemsOf, maxKeys, readItems } from "./reads.ts";

/** Items. Documents are larger than 256 bytes, so this many fill a page of 1 MB without a limit. */
const fullPage = 4096;
/** When one shard must load a page, others with at most this share of theirs left load, too. */
const prefetchBelow = 1 / 4;

/** The documents in the range of a query, without its other filters. Aborts pending requests when it ends. */
export async function* listDocuments(
  client: DynamoDBClient,
  table: string,
  query: ListQuery,
  caller: AbortSignal,
): AsyncIterable<Item> {
  const { from = "0", to = "~" } = idRange(query);
  // DynamoDB refuses a BETWEEN with reversed bounds, which a cursor beyond the range would give.
  if (from >= to) return;
  const stop = new AbortController();
  const abortSignal = AbortSignal.any([caller, stop.signal]);
  // Each request in flight adds a listener; Node warns of a leak after ten.
  setMaxListeners(0, abortSignal);
  const lists = Array.from({ length: shards }, (_, shard) => {
    const input = {
      TableName: table,
      ConsistentRead: true,
      KeyConditionExpression: "pk = :pk AND sk BETWEEN :from AND :to",
      ExpressionAttributeValues: { ":pk": { S: `doc#${shard}` }, ":from": { S: from }, ":to": { S: to } },
      ScanIndexForward: query.ascending,
    };
    return new Pages(growingPages(client, input, firstPage(query.expected), abortSignal));
  });
  const all = query.expected === undefined;
  try {
    for (;;) {
      const exhausted = lists.filter((list) => list.isExhausted);
      if (exhausted.length > 0) {
        for (const list of lists) if (all || list.left <= prefetchBelow) list.prefetch();
        await Promise.all(exhausted.map((list) => list.load()));
        if (all) for (const list of exhausted) list.prefetch();
        continue;
      }
      const list = firstOf(lists, query.ascending);
      if (list === undefined) return;
      const item = list.take();
      // BETWEEN includes its end; a cursor does not.
      if (item["sk"]?.S !== to) yield item;
    }
  } finally {
    stop.abort();
  }
}

/**
 * Items of each shard's first page. Ids spread over the shards at random: two standard deviations above the mean
 * suffice six times out of seven; otherwise one shard needs another request.
 */
function firstPage(expected: number | undefined): number | undefined {
  if (expected === undefined) return undefined;
  const mean = expected / shards;
  return Math.ceil(mean + 2 * Math.sqrt(mean));
}

async function* growingPages(
  client: DynamoDBClient,
  input: QueryCommandInput,
  first: number | undefined,
  abortSignal: AbortSignal,
): AsyncGenerator<QueryCommandOutput> {
  let limit = first;
  let start: Item | undefined;
  do {
    const page: QueryCommandInput = { ...input, ExclusiveStartKey: start };
    if (limit !== undefined && limit < fullPage) page.Limit = limit;
    const answer = await client.send(new QueryCommand(page), { abortSignal });
    yield answer;
    limit = limit === undefined ? undefined : Math.min(2 * limit, fullPage);
    start = answer.LastEvaluatedKey;
  } while (start);
}

/**
 * The documents with these ids, in this order, without missing ones.
 * @param expected how many the caller will take; undefined: all
 * @param retries for keys that the table was too busy to read
 */
export async function* readDocuments(
  client: DynamoDBClient,
  table: string,
  ids: readonly string[],
  { expected = maxKeys, retries }: { readonly expected?: number | undefined; readonly retries: number },
  signal: AbortSignal,
): AsyncIterable<Item> {
  const count = Math.min(expected, maxKeys);
  for (let index = 0; index < ids.length; index += count) {
    const keys = ids.slice(index, index + count).map(documentKey);
    for (const item of await readItems(client, table, keys, retries, signal)) if (item) yield item;
  }
}

/** The pages of one shard: the current one, and perhaps the next one in flight. */
class Pages {
  readonly #pages: AsyncIterator<QueryCommandOutput>;
  #coming: Promise<IteratorResult<QueryCommandOutput>> | undefined;
  #items: readonly Item[] = [];
  #taken = 0;
  #ended = false;

  constructor(pages: AsyncIterable<QueryCommandOutput>) {
    this.#pages = advancingPages(pages, ({ LastEvaluatedKey }) => LastEvaluatedKey)[Symbol.asyncIterator]();
  }

  /** True when the page is exhausted and the next one is not loaded. */
  get isExhausted(): boolean {
    return !this.#ended && this.head === undefined;
  }

  get head(): Item | undefined {
    return this.#items[this.#taken];
  }

  /** The share of the page that is left. */
  get left(): number {
    return this.#items.length === 0 ? 0 : 1 - this.#taken / this.#items.length;
  }

  take(): Item {
    const item = this.head;
    if (item === undefined) throw new RangeError("The page is used.");
    this.#taken += 1;
    return item;
  }

  /** Requests the next page, once. */
  prefetch(): void {
    if (this.#ended || this.#coming) return;
    this.#coming = this.#pages.next();
    // load() reports the failure, if it is called.
    this.#coming.catch(() => {});
  }

  /** Waits for the next page. */
  async load(): Promise<void> {
    this.prefetch();
    const answer = await this.#coming;
    this.#coming = undefined;
    this.#ended = answer?.done !== false;
    this.#items = answer?.done === false ? itemsOf(answer.value) : [];
    this.#taken = 0;
  }
}

/** The list with the first next item; undefined when all have ended. */
function firstOf(lists: readonly Pages[], ascending: boolean): Pages | undefined {
  let first: Pages | undefined;
  for (const list of lists) {
    if (list.head && (!first?.head || comesBefore(list.head, first.head, ascending))) first = list;
  }
  return first;
}

/** Ids are ASCII, so string order is byte order. */
function comesBefore(a: Item, b: Item, ascending: boolean): boolean {
  const [left, right] = [a["sk"]?.S ?? "", b["sk"]?.S ?? ""];
  return ascending ? left < right : left > right;
}

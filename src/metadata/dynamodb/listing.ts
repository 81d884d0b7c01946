/**
 * Reads documents in the order of their ids: a descending or ascending Query for each shard, merged.
 *
 * A page costs what it holds, shown or not, and holds 1 MB unless it has a `Limit`:
 * https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.Other.html
 * A caller that takes fifty documents therefore gets small pages. Later pages double, so that a search for rare
 * documents does not take thousands of requests. A caller that takes everything gets whole pages, each requested
 * while the previous one is used.
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
import { type Item, itemsOf, mostKeys, readItems } from "./reads.ts";

/**
 * Partition keys among which documents are spread: one partition takes 1,000 write units a second, and ids that grow
 * with time would all go to one. Fixed for ever: another number would look for documents where they are not.
 * https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
 */
const shards = 8;
/** Items. A document is larger than 256 bytes, so this many fill a page of 1 MB, and more need no limit. */
const fullPage = 4096;
/** Of a page, when one shard has to be waited for: those with no more than this left are asked, too. */
const nearlyUsed = 1 / 4;

export function documentKey(id: string): Item {
  return { pk: { S: `doc#${Number.parseInt(id.slice(-1), 16) % shards}` }, sk: { S: id } };
}

/**
 * The documents in the range of a query, filtered by nothing else.
 * Ends with what is under way aborted, however it ends.
 */
export async function* listDocuments(
  client: DynamoDBClient,
  table: string,
  query: ListQuery,
  caller: AbortSignal,
): AsyncIterable<Item> {
  const { from = "0", to = "~" } = idRange(query);
  // A cursor beyond the range: DynamoDB refuses a BETWEEN whose bounds are the wrong way round.
  if (from >= to) return;
  const stop = new AbortController();
  const abortSignal = AbortSignal.any([caller, stop.signal]);
  // Every request in flight listens, and Node warns of a leak after ten.
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
      const used = lists.filter((list) => list.isUsed);
      if (used.length > 0) {
        for (const list of lists) if (all || list.left <= nearlyUsed) list.ask();
        await Promise.all(used.map((list) => list.turn()));
        if (all) for (const list of used) list.ask();
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
 * Items of the first page of each shard, of those that a caller takes. Ids spread over the shards at random: two
 * standard deviations above the mean suffice six times of seven; otherwise one shard is asked once more.
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
 * The documents with these ids, in this order, without those that are not there.
 * @param expected how many of them the caller will take; undefined: all
 * @param retries how often those that the table is too busy to give are asked for again
 */
export async function* readDocuments(
  client: DynamoDBClient,
  table: string,
  ids: readonly string[],
  { expected = mostKeys, retries }: { readonly expected?: number | undefined; readonly retries: number },
  signal: AbortSignal,
): AsyncIterable<Item> {
  const count = Math.min(expected, mostKeys);
  for (let index = 0; index < ids.length; index += count) {
    const keys = ids.slice(index, index + count).map(documentKey);
    for (const item of await readItems(client, table, keys, retries, signal)) if (item) yield item;
  }
}

/** The pages of one shard: the one that is used, and perhaps the next, which is on its way. */
class Pages {
  readonly #pages: AsyncIterator<QueryCommandOutput>;
  #coming: Promise<IteratorResult<QueryCommandOutput>> | undefined;
  #items: readonly Item[] = [];
  #taken = 0;
  #ended = false;

  constructor(pages: AsyncIterable<QueryCommandOutput>) {
    this.#pages = advancingPages(pages, ({ LastEvaluatedKey }) => LastEvaluatedKey)[Symbol.asyncIterator]();
  }

  /** True when nobody knows what comes next. */
  get isUsed(): boolean {
    return !this.#ended && this.head === undefined;
  }

  get head(): Item | undefined {
    return this.#items[this.#taken];
  }

  /** The part of the page that was not taken yet. */
  get left(): number {
    return this.#items.length === 0 ? 0 : 1 - this.#taken / this.#items.length;
  }

  take(): Item {
    const item = this.head;
    if (item === undefined) throw new RangeError("The page is used.");
    this.#taken += 1;
    return item;
  }

  /** Asks for the next page, once. */
  ask(): void {
    if (this.#ended || this.#coming) return;
    this.#coming = this.#pages.next();
    // Perhaps nobody waits for it; whoever does hears of its failure.
    this.#coming.catch(() => {});
  }

  /** Waits for the next page. */
  async turn(): Promise<void> {
    this.ask();
    const answer = await this.#coming;
    this.#coming = undefined;
    this.#ended = answer?.done !== false;
    this.#items = answer?.done === false ? itemsOf(answer.value) : [];
    this.#taken = 0;
  }
}

/** The one whose next item comes before those of all others; undefined when there is none any more. */
function firstOf(lists: readonly Pages[], ascending: boolean): Pages | undefined {
  let first: Pages | undefined;
  for (const list of lists) {
    if (list.head && (!first?.head || comesBefore(list.head, first.head, ascending))) first = list;
  }
  return first;
}

/** Ids are ASCII, so the order of strings is the order of bytes. */
function comesBefore(a: Item, b: Item, ascending: boolean): boolean {
  const [left, right] = [a["sk"]?.S ?? "", b["sk"]?.S ?? ""];
  return ascending ? left < right : left > right;
}

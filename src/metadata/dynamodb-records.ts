/**
 * The metadata contract on one DynamoDB table. Loaded only when a command really talks to DynamoDB.
 *
 *   document   pk doc#<shard>   sk <id>        everything of the record; <shard> from the id's last digit
 *   claim      pk name#<name>   sk <identity>  id, size
 *
 * Every read is strongly consistent and there is no index, so a command sees what the one before it wrote.
 * Eight shards: one partition takes 1,000 writes a second, and ids that grow with time would all go to one.
 * https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
 */
import { setTimeout as sleep } from "node:timers/promises";
import {
  type AttributeValue,
  DynamoDBClient,
  GetItemCommand,
  paginateQuery,
  type QueryCommandInput,
  TransactionCanceledException,
  type TransactWriteItem,
  TransactWriteItemsCommand,
} from "@aws-sdk/client-dynamodb";
import { fromAwsError } from "../aws.ts";
import { canonicalJson, type DocumentRecord, uploadTimeOfId } from "../document.ts";
import { DocprocError, throwIfCancelled } from "../errors.ts";
import { idRange, type ListQuery, matcher } from "../query.ts";
import type { Settings } from "../settings.ts";
import type { Claim, CommitResult, MetadataService } from "./service.ts";

export { DynamoDBClient };

const shards = 8;
/** A transaction that met another one is tried again after a random pause that doubles; about 10 s in all. */
const transactionAttempts = 8;
const firstPause = 50;

type Item = Record<string, AttributeValue>;

export class DynamoDbMetadata implements MetadataService {
  readonly #client: DynamoDBClient;
  readonly #table: string;
  readonly #settings: Settings;

  constructor(client: DynamoDBClient, table: string, settings: Settings) {
    this.#client = client;
    this.#table = table;
    this.#settings = settings;
  }

  async commit(record: DocumentRecord, identity: string, signal: AbortSignal): Promise<CommitResult> {
    const claim = { ...claimKey(record.name, identity), id: { S: record.id }, size: { N: String(record.size) } };
    const reasons = await this.#transact(
      [
        { Put: { TableName: this.#table, Item: toItem(record, identity), ConditionExpression: absent } },
        {
          Put: {
            TableName: this.#table,
            Item: claim,
            ConditionExpression: absent,
            ReturnValuesOnConditionCheckFailure: "ALL_OLD",
          },
        },
      ],
      signal,
    );
    if (reasons === undefined) return { committed: true };
    const holder = reasons[1]?.Item?.["id"]?.S ?? (await this.holder(record.name, identity, signal));
    // The SDK repeats a transaction whose answer was lost, and then meets its own success.
    return { committed: false, holder: holder ?? record.id };
  }

  async get(id: string, signal: AbortSignal): Promise<DocumentRecord | undefined> {
    const item = await this.#getItem(documentKey(id), signal);
    return item && toRecord(item);
  }

  async holder(name: string, identity: string, signal: AbortSignal): Promise<string | undefined> {
    return (await this.#getItem(claimKey(name, identity), signal))?.["id"]?.S;
  }

  async *claims(name: string, signal: AbortSignal): AsyncIterable<Claim> {
    const query = {
      KeyConditionExpression: "pk = :pk",
      ExpressionAttributeValues: { ":pk": { S: `name#${name}` } },
    };
    for await (const item of this.#query(query, signal)) {
      yield { id: item["id"]?.S ?? "", size: Number(item["size"]?.N) };
    }
  }

  async *list(query: ListQuery, signal: AbortSignal): AsyncIterable<DocumentRecord> {
    const matches = matcher(query.filter);
    const { from = "0", to = "~" } = idRange(query);
    const listings = Array.from({ length: shards }, (_, shard) => {
      const values = { ":pk": { S: `doc#${shard}` }, ":from": { S: from }, ":to": { S: to } };
      return this.#query(
        {
          KeyConditionExpression: "pk = :pk AND sk BETWEEN :from AND :to",
          ExpressionAttributeValues: values,
          ScanIndexForward: query.ascending,
        },
        signal,
      );
    });
    for await (const item of mergeById(listings, query.ascending)) {
      // BETWEEN includes its end; a cursor does not.
      if (item["sk"]?.S === to) continue;
      const record = toRecord(item);
      if (matches(record)) yield record;
    }
  }

  async remove(id: string, signal: AbortSignal): Promise<DocumentRecord | undefined> {
    const item = await this.#getItem(documentKey(id), signal);
    if (item === undefined) return undefined;
    const record = toRecord(item);
    const present = "attribute_exists(pk)";
    const claim = claimKey(record.name, item["identity"]?.S ?? "");
    const reasons = await this.#transact(
      [
        { Delete: { TableName: this.#table, Key: documentKey(id), ConditionExpression: present } },
        {
          Delete: {
            TableName: this.#table,
            Key: claim,
            ConditionExpression: "id = :id",
            ExpressionAttributeValues: { ":id": { S: id } },
          },
        },
      ],
      signal,
    );
    // Somebody else removed it between the two requests.
    return reasons === undefined ? record : undefined;
  }

  async close(): Promise<void> {
    this.#client.destroy();
  }

  async #getItem(key: Item, signal: AbortSignal): Promise<Item | undefined> {
    const command = new GetItemCommand({ TableName: this.#table, Key: key, ConsistentRead: true });
    try {
      return (await this.#client.send(command, { abortSignal: signal })).Item;
    } catch (error) {
      throw this.#failure(error, "dynamodb:GetItem");
    }
  }

  async *#query(query: Omit<QueryCommandInput, "TableName">, signal: AbortSignal): AsyncIterable<Item> {
    const input = { TableName: this.#table, ConsistentRead: true, ...query };
    try {
      for await (const page of paginateQuery({ client: this.#client }, input, { abortSignal: signal })) {
        yield* page.Items ?? [];
      }
    } catch (error) {
      throw this.#failure(error, "dynamodb:Query");
    }
  }

  /**
   * All of it or nothing. Undefined when it was done, the reasons when a condition did not hold.
   * The SDK does not repeat a cancelled transaction, whatever cancelled it.
   */
  async #transact(items: TransactWriteItem[], signal: AbortSignal) {
    // The signal is looked at between attempts only: a transaction on the wire is awaited, since its outcome counts.
    for (let attempt = 1; ; attempt++) {
      throwIfCancelled(signal);
      try {
        await this.#client.send(new TransactWriteItemsCommand({ TransactItems: items }));
        return undefined;
      } catch (error) {
        if (!(error instanceof TransactionCanceledException)) throw this.#failure(error, "dynamodb:TransactWriteItems");
        const reasons = error.CancellationReasons ?? [];
        if (reasons.some(({ Code }) => Code === "ConditionalCheckFailed")) return reasons;
        const temporary = reasons.some(({ Code }) => Code !== undefined && temporaryReasons.has(Code));
        if (!temporary) throw this.#failure(error, "dynamodb:TransactWriteItems");
        if (attempt === transactionAttempts) throw tooBusy(this.#table, error);
      }
      await sleep(Math.random() * firstPause * 2 ** attempt);
    }
  }

  #failure(error: unknown, action: string): DocprocError {
    return fromAwsError(error, { action, resource: `table ${this.#table}`, settings: this.#settings });
  }
}

const absent = "attribute_not_exists(pk)";

/** https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html */
const temporaryReasons = new Set(["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"]);

function tooBusy(table: string, cause: unknown): DocprocError {
  return new DocprocError("UNAVAILABLE", `The table ${table} is too busy to commit now.`, {
    hint: "Wait a moment and run the same command again.",
    cause,
  });
}

function documentKey(id: string): Item {
  return { pk: { S: `doc#${Number.parseInt(id.slice(-1), 16) % shards}` }, sk: { S: id } };
}

function claimKey(name: string, identity: string): Item {
  return { pk: { S: `name#${name}` }, sk: { S: identity } };
}

/** Maps are JSON text: as a DynamoDB map, the SDK would drop a key named `__proto__`. */
function toItem(record: DocumentRecord, identity: string): Item {
  return {
    ...documentKey(record.id),
    identity: { S: identity },
    name: { S: record.name },
    size: { N: String(record.size) },
    contentType: { S: record.contentType },
    sha256: { S: record.sha256 },
    uri: { S: record.uri },
    tags: { S: canonicalJson(record.tags) },
    metadata: { S: canonicalJson(record.metadata) },
    source: { S: JSON.stringify(record.source) },
    ...(record.provenance === null ? {} : { provenance: { S: JSON.stringify(record.provenance) } }),
  };
}

function toRecord(item: Item): DocumentRecord {
  const text = (name: string) => item[name]?.S ?? "";
  return {
    id: text("sk"),
    name: text("name"),
    size: Number(item["size"]?.N),
    contentType: text("contentType"),
    sha256: text("sha256"),
    uploadedAt: uploadTimeOfId(text("sk")),
    uri: text("uri"),
    tags: JSON.parse(text("tags")),
    metadata: JSON.parse(text("metadata")),
    source: JSON.parse(text("source")),
    provenance: item["provenance"]?.S === undefined ? null : JSON.parse(item["provenance"].S),
  };
}

/** Merges listings that are each in order. The first page of each is asked for at once. */
async function* mergeById(listings: AsyncIterable<Item>[], ascending: boolean): AsyncIterable<Item> {
  const iterators = listings.map((listing) => listing[Symbol.asyncIterator]());
  try {
    const heads = await Promise.all(iterators.map((iterator) => iterator.next()));
    for (;;) {
      let first = -1;
      for (const [index, head] of heads.entries()) {
        if (!head.done && (first < 0 || comesBefore(head.value, heads[first]?.value, ascending))) first = index;
      }
      const head = heads[first];
      const iterator = iterators[first];
      if (!head || !iterator) return;
      yield head.value;
      heads[first] = await iterator.next();
    }
  } finally {
    await Promise.all(iterators.map((iterator) => iterator.return?.()));
  }
}

/** Ids are ASCII, so the order of strings is the order of bytes. */
function comesBefore(a: Item, b: Item | undefined, ascending: boolean): boolean {
  const [left, right] = [a["sk"]?.S ?? "", b?.["sk"]?.S ?? ""];
  return ascending ? left < right : left > right;
}

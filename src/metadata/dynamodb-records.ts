/**
 * The metadata contract on one DynamoDB table. Loaded only when a command really talks to DynamoDB.
 *
 *   document   pk doc#<shard>   sk <id>        everything of the record; <shard> from the id's last digit
 *   claim      pk name#<name>   sk <identity>  id, size
 *   catalog    pk catalog       sk catalog     id and format of the catalog itself
 *
 * Every read is strongly consistent and there is no index, so a command sees what the one before it wrote.
 * dynamodb-listing.ts reads documents in order.
 */
import {
  type AttributeValue,
  type CancellationReason,
  ConditionalCheckFailedException,
  type DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  paginateQuery,
  paginateScan,
  type QueryCommandInput,
  TransactionCanceledException,
  type TransactWriteItem,
  TransactWriteItemsCommand,
} from "@aws-sdk/client-dynamodb";
import { v4 as randomId } from "uuid";
import { fromAwsError, furtherPages, UnusableAnswer } from "../aws.ts";
import { type DocumentRecord, isDocumentId } from "../document.ts";
import { DocprocError, throwIfCancelled } from "../errors.ts";
import { idRange, type ListQuery, literalName, matcher } from "../query.ts";
import { lateSignal, pause } from "../retry.ts";
import type { Settings } from "../settings.ts";
import { fromStored, toStored } from "../stored-record.ts";
import { documentKey, type Item, itemsOf, listDocuments, readDocuments, tooBusy } from "./dynamodb-listing.ts";
import type { Claim, CommitResult, MetadataService } from "./service.ts";

/** Raised when an older docproc would misread what a newer one writes. */
const format = 1;
/** Meetings with other transactions are no failures, so more of them are borne than there are retries. */
const conflictsExpected = 5;

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
    const outcome = await this.#transact(
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
    if (outcome.done) return { committed: true };
    const holder = outcome.reasons[1]?.Item?.["id"]?.S ?? (await this.holder(record.name, identity, signal));
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

  async *claims(name: string | undefined, signal: AbortSignal): AsyncIterable<Claim> {
    for await (const item of name === undefined ? this.#scanClaims(signal) : this.#queryClaims(name, signal)) {
      const claim = { id: item["id"]?.S ?? "", name: (item["pk"]?.S ?? "").slice("name#".length) };
      const release = async (late: AbortSignal) => await this.#release(item, late);
      yield { ...claim, size: Number(item["size"]?.N), release };
    }
  }

  #queryClaims(name: string, signal: AbortSignal): AsyncIterable<Item> {
    const values = { ":pk": { S: `name#${name}` } };
    return this.#query({ KeyConditionExpression: "pk = :pk", ExpressionAttributeValues: values }, signal);
  }

  /** Reads the whole table: there is no index of names. */
  async *#scanClaims(signal: AbortSignal): AsyncIterable<Item> {
    const input = {
      TableName: this.#table,
      ConsistentRead: true,
      FilterExpression: "begins_with(pk, :name)",
      ExpressionAttributeValues: { ":name": { S: "name#" } },
    };
    try {
      const pages = paginateScan({ client: this.#client }, input, { abortSignal: signal });
      for await (const page of furtherPages(pages, ({ LastEvaluatedKey }) => LastEvaluatedKey)) {
        yield* itemsOf(page);
      }
    } catch (error) {
      throw this.#failure(error, "dynamodb:Scan");
    }
  }

  async #release(claim: Item, signal: AbortSignal): Promise<void> {
    const id = claim["id"] ?? { S: "" };
    const TableName = this.#table;
    await this.#transact(
      [
        { ConditionCheck: { TableName, Key: documentKey(id.S ?? ""), ConditionExpression: absent } },
        { Delete: { TableName, Key: keyOf(claim), ...heldBy(id) } },
      ],
      signal,
    );
  }

  async *list(query: ListQuery, signal: AbortSignal): AsyncIterable<DocumentRecord> {
    const matches = matcher(query.filter);
    const name = literalName(query.filter);
    try {
      const items =
        name === undefined
          ? listDocuments(this.#client, this.#table, query, signal)
          : this.#documentsOf(name, query, signal);
      for await (const item of items) {
        const record = toRecord(item);
        if (matches(record)) yield record;
      }
    } catch (error) {
      throw this.#failure(error, name === undefined ? "dynamodb:Query" : "dynamodb:BatchGetItem");
    }
  }

  /** The documents of one name by its claims, which are few where the documents of all names are many. */
  async *#documentsOf(name: string, query: ListQuery, signal: AbortSignal): AsyncIterable<Item> {
    const { from = "0", to = "~" } = idRange(query);
    const ids = new Set<string>();
    for await (const { id } of this.#queryClaims(name, signal)) {
      if (id?.S !== undefined && isDocumentId(id.S) && id.S >= from && id.S < to) ids.add(id.S);
    }
    const ordered = [...ids].sort();
    if (!query.ascending) ordered.reverse();
    const { expected } = query;
    yield* readDocuments(this.#client, this.#table, ordered, { expected, retries: this.#settings.retries }, signal);
  }

  async remove(id: string, signal: AbortSignal): Promise<DocumentRecord | undefined> {
    const item = await this.#getItem(documentKey(id), signal);
    if (item === undefined) return undefined;
    const TableName = this.#table;
    const document = { Delete: { TableName, Key: documentKey(id), ConditionExpression: "attribute_exists(pk)" } };
    const claim = claimKey(item["name"]?.S ?? "", item["identity"]?.S ?? "");
    const outcome = await this.#transact(
      [document, { Delete: { TableName, Key: claim, ...heldBy({ S: id }) } }],
      signal,
    );
    if (outcome.done) return toRecord(item);
    // The claim is another document's or gone: nothing that docproc does, but the record has to go all the same.
    const [ofDocument, ofClaim] = outcome.reasons;
    if (ofDocument?.Code !== "ConditionalCheckFailed" && ofClaim?.Code === "ConditionalCheckFailed") {
      return (await this.#transact([document], signal)).done ? toRecord(item) : undefined;
    }
    // Repeated after its answer was lost, the removal meets its own success. Else somebody else was faster.
    return outcome.attempts > 1 ? toRecord(item) : undefined;
  }

  async catalog(signal: AbortSignal): Promise<string> {
    const found = (await this.#getItem(catalogKey, signal)) ?? (await this.#makeCatalog(signal));
    if (Number(found["format"]?.N) > format) {
      throw new DocprocError("INVALID_CONFIG", `The table ${this.#table} was written by a newer version of docproc.`, {
        hint: "Upgrade docproc. Nothing was changed.",
      });
    }
    return found["id"]?.S ?? "";
  }

  async #makeCatalog(signal: AbortSignal): Promise<Item> {
    const Item = { ...catalogKey, id: { S: randomId() }, format: { N: String(format) } };
    const command = new PutItemCommand({ TableName: this.#table, Item, ConditionExpression: absent });
    try {
      await this.#client.send(command, { abortSignal: signal });
      return Item;
    } catch (error) {
      // Another process was faster, or an answer was lost: what is there counts.
      const made =
        error instanceof ConditionalCheckFailedException ? await this.#getItem(catalogKey, signal) : undefined;
      if (made) return made;
      throw this.#failure(error, "dynamodb:PutItem");
    }
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
      const pages = paginateQuery({ client: this.#client }, input, { abortSignal: signal });
      for await (const page of furtherPages(pages, ({ LastEvaluatedKey }) => LastEvaluatedKey)) {
        yield* itemsOf(page);
      }
    } catch (error) {
      throw this.#failure(error, "dynamodb:Query");
    }
  }

  /**
   * All of it or nothing. When a condition does not hold, the answer says which, and how often it was asked.
   * The SDK does not repeat a cancelled transaction, whatever cancelled it.
   */
  async #transact(items: TransactWriteItem[], signal: AbortSignal): Promise<TransactionOutcome> {
    // The signal is looked at between attempts: a transaction on the wire is awaited, since its outcome counts.
    for (let attempt = 1; ; attempt++) {
      throwIfCancelled(signal);
      const late = lateSignal(signal);
      try {
        await this.#client.send(new TransactWriteItemsCommand({ TransactItems: items }), { abortSignal: late.signal });
        return { done: true };
      } catch (error) {
        if (late.signal.aborted) throw unanswered(this.#table, error);
        if (!(error instanceof TransactionCanceledException)) throw this.#failure(error, "dynamodb:TransactWriteItems");
        const reasons = usableReasons(error);
        if (reasons.length === 0) {
          throw this.#failure(
            new UnusableAnswer("A transaction was cancelled without a reason."),
            "dynamodb:TransactWriteItems",
          );
        }
        if (reasons.some(({ Code }) => Code === "ConditionalCheckFailed")) {
          return { done: false, reasons, attempts: error.$metadata.attempts ?? 1 };
        }
        const temporary = reasons.some(({ Code }) => Code !== undefined && temporaryReasons.has(Code));
        if (!temporary) throw this.#failure(error, "dynamodb:TransactWriteItems");
        if (attempt > this.#settings.retries + conflictsExpected) throw tooBusy(this.#table, "commit", error);
      } finally {
        late.forget();
      }
      await pause(attempt, signal);
    }
  }

  #failure(error: unknown, action: string): DocprocError {
    return fromAwsError(error, { action, resource: `table ${this.#table}`, settings: this.#settings });
  }
}

/** Why a transaction was cancelled, in the order of its items; empty where the answer does not say. */
function usableReasons({ CancellationReasons: reasons }: TransactionCanceledException): readonly CancellationReason[] {
  return Array.isArray(reasons) && reasons.every((reason) => typeof reason?.Code === "string") ? reasons : [];
}

const absent = "attribute_not_exists(pk)";

type TransactionOutcome =
  | { readonly done: true }
  | { readonly done: false; readonly reasons: readonly CancellationReason[]; readonly attempts: number };

/** https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html */
const temporaryReasons = new Set(["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"]);

/** The contract of commit() and remove(): it may be done, or come to be done. */
function unanswered(table: string, cause: unknown): DocprocError {
  return new DocprocError("UNAVAILABLE", `The table ${table} did not answer before the interruption ended the wait.`, {
    hint: "Nobody knows whether it was done. Run the same command again.",
    cause,
  });
}

function claimKey(name: string, identity: string): Item {
  return { pk: { S: `name#${name}` }, sk: { S: identity } };
}

const catalogKey: Item = { pk: { S: "catalog" }, sk: { S: "catalog" } };

function keyOf({ pk, sk }: Item): Item {
  return { ...(pk && { pk }), ...(sk && { sk }) };
}

function heldBy(id: AttributeValue) {
  return { ConditionExpression: "id = :id", ExpressionAttributeValues: { ":id": id } };
}

function toItem(record: DocumentRecord, identity: string): Item {
  const { id: _, size, ...texts } = toStored(record);
  const attributes = Object.entries(texts).flatMap(([name, text]) => (text === null ? [] : [[name, { S: text }]]));
  return {
    ...documentKey(record.id),
    identity: { S: identity },
    size: { N: String(size) },
    ...Object.fromEntries(attributes),
  };
}

function toRecord(item: Item): DocumentRecord {
  const text = (name: string) => item[name]?.S;
  return fromStored({
    id: text("sk"),
    name: text("name"),
    size: Number(item["size"]?.N),
    contentType: text("contentType"),
    sha256: text("sha256"),
    uri: text("uri"),
    tags: text("tags"),
    metadata: text("metadata"),
    source: text("source"),
    provenance: text("provenance"),
    crc32: text("crc32"),
  });
}

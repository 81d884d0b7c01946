/**
 * The metadata contract on one DynamoDB table. Loaded only by commands that talk to DynamoDB.
 *
 *   document   pk doc#<shard>   sk <id>        the record; <shard> from the id's last digit
 *   claim      pk name#<name>   sk <identity>  id, size
 *   catalog    pk catalog       sk catalog     id and format of the catalog itself
 *   adoption   pk catalog       sk adopted#<id>
 *
 * Every read is strongly consistent and there is no index, so a command sees what the one before it wrote. reads.ts and
 * commits.ts batch concurrent requests; listing.ts reads documents in order.
 */
import {
  type AttributeValue,
  type CancellationReason,
  ConditionalCheckFailedException,
  type DynamoDBClient,
  PutItemCommand,
  paginateQuery,
  paginateScan,
  type QueryCommandInput,
} from "@aws-sdk/client-dynamodb";
import { v4 as randomId } from "uuid";
import { advancingPages } from "../../aws/failures.ts";
import { DocprocError } from "../../core/errors.ts";
import { idRange, type ListQuery, literalName, matcher } from "../../document/query.ts";
import { canonicalJson, type DocumentRecord, isDocumentId, type TextMap } from "../../document/record.ts";
import { fromStored, toStored } from "../../document/stored-form.ts";
import {
  apart,
  type Claim,
  type CommitResult,
  type MetadataService,
  ofSameKind,
  type RetagResult,
  unproved,
} from "../service.ts";
import { Commits } from "./commits.ts";
import { tableFailure } from "./failures.ts";
import { documentKey, listDocuments, readDocuments } from "./listing.ts";
import { type Item, itemsOf, PointReads } from "./reads.ts";
import type { DynamodbSettings } from "./settings.ts";
import { dynamodbTraits } from "./traits.ts";
import { Transactions } from "./transactions.ts";

/** Incremented when an older docproc would misread the items of a newer one. */
const format = 1;

export class DynamoDbMetadata implements MetadataService {
  readonly traits = dynamodbTraits;
  readonly #client: DynamoDBClient;
  readonly #table: string;
  readonly #settings: DynamodbSettings;
  readonly #reads: PointReads;
  readonly #transactions: Transactions;
  readonly #commits: Commits;

  constructor(client: DynamoDBClient, table: string, settings: DynamodbSettings) {
    this.#client = client;
    this.#table = table;
    this.#settings = settings;
    this.#reads = new PointReads(client, table, settings);
    this.#transactions = new Transactions(client, table, settings);
    this.#commits = new Commits(this.#transactions);
  }

  async commit(record: DocumentRecord, identity: string, signal: AbortSignal): Promise<CommitResult> {
    const claim = { ...claimKey(record.name, identity), id: { S: record.id }, size: { N: String(record.size) } };
    const conditions = { TableName: this.#table, ConditionExpression: absent };
    const outcome = await this.#commits.put(
      { ...conditions, Item: toItem(record, identity) },
      { ...conditions, Item: claim, ReturnValuesOnConditionCheckFailure: "ALL_OLD" },
      signal,
    );
    if (outcome.done) return { committed: true };
    const holder = holderOf(outcome.reasons[1]?.Item) ?? (await this.holder(record.name, identity, signal));
    // Without a holder, the SDK has repeated a successful commit.
    return { committed: false, holder: holder ?? record.id };
  }

  async get(id: string, signal: AbortSignal): Promise<DocumentRecord | undefined> {
    const item = await this.#reads.read(documentKey(id), signal);
    return item && toRecord(item);
  }

  async holder(name: string, identity: string, signal: AbortSignal): Promise<string | undefined> {
    return holderOf(await this.#reads.read(claimKey(name, identity), signal));
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
      for await (const page of advancingPages(pages, ({ LastEvaluatedKey }) => LastEvaluatedKey)) {
        yield* itemsOf(page);
      }
    } catch (error) {
      throw this.#failure(error, "dynamodb:Scan");
    }
  }

  async #release(claim: Item, signal: AbortSignal): Promise<void> {
    const id = claim["id"] ?? { S: "" };
    const TableName = this.#table;
    await this.#transactions.write(
      [
        { ConditionCheck: { TableName, Key: documentKey(id.S ?? ""), ConditionExpression: absent } },
        { Delete: { TableName, Key: keyOf(claim), ...heldBy(id) } },
      ],
      signal,
    );
  }

  async *list(query: ListQuery, signal: AbortSignal): AsyncIterable<DocumentRecord> {
    const matches = await matcher(query.filter);
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

  /** Finds the documents of one name by its claims, which are few among all documents. */
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
    const item = await this.#reads.read(documentKey(id), signal);
    if (item === undefined) return undefined;
    const TableName = this.#table;
    // With other tags it would have another claim.
    const document = { Delete: { TableName, Key: documentKey(id), ...unchangedSince(item) } };
    const claim = claimKey(item["name"]?.S ?? "", item["identity"]?.S ?? "");
    const outcome = await this.#transactions.write(
      [document, { Delete: { TableName, Key: claim, ...heldBy({ S: id }) } }],
      signal,
    );
    if (outcome.done) return toRecord(item);
    // The claim is gone or another document's. docproc never does that, but the record must go all the same.
    const alone = failedConditions(outcome).join() === "1";
    const last = alone ? await this.#transactions.write([document], signal) : outcome;
    if (last.done) return toRecord(item);
    // Its tags changed: start over.
    if ((await this.#reads.read(documentKey(id), signal)) !== undefined) return await this.remove(id, signal);
    // After a repeated request the record is gone by our own doing; otherwise another process was faster.
    return last.attempts > 1 ? toRecord(item) : undefined;
  }

  async retag(record: DocumentRecord, tags: TextMap, identity: string, signal: AbortSignal): Promise<RetagResult> {
    const found = await this.#unchangedItem(record, signal);
    if (found === undefined) return { retagged: false, holder: undefined };
    return await this.#change(record, found, tags, ofSameKind(found["identity"]?.S ?? "", identity), signal);
  }

  async prove(record: DocumentRecord, identity: string, signal: AbortSignal): Promise<boolean> {
    const { id, tags } = record;
    const found = await this.#unchangedItem(record, signal);
    if (found === undefined) return false;
    if (found["identity"]?.S !== unproved(identity, id)) return true;
    const plain = await this.#change(record, found, tags, identity, signal);
    if (plain.retagged || plain.holder === undefined) return plain.retagged;
    return (await this.#change(record, found, tags, apart(identity, id), signal)).retagged;
  }

  /** The item of a record; undefined when it is gone or was retagged. */
  async #unchangedItem({ id, tags }: DocumentRecord, signal: AbortSignal): Promise<Item | undefined> {
    const found = await this.#reads.read(documentKey(id), signal);
    return found?.["tags"]?.S === canonicalJson(tags) ? found : undefined;
  }

  /** Replaces the tags and the claim of a document: see {@link MetadataService.retag}. */
  async #change(
    { id, name, size }: DocumentRecord,
    found: Item,
    tags: TextMap,
    claimed: string,
    signal: AbortSignal,
  ): Promise<RetagResult> {
    const [before = "", after] = [found["identity"]?.S, canonicalJson(tags)];
    const TableName = this.#table;
    // A transaction must not name an item twice.
    const same = claimed === before;
    const changed = { ...found, tags: { S: after }, identity: { S: claimed } };
    const document = { Put: { TableName, Item: changed, ...unchangedSince(found) } };
    const claim = { ...claimKey(name, claimed), id: { S: id }, size: { N: String(size) } };
    const put = { TableName, Item: claim, ConditionExpression: absent };
    const added = { Put: { ...put, ReturnValuesOnConditionCheckFailure: "ALL_OLD" as const } };
    const removed = { Delete: { TableName, Key: claimKey(name, before), ...heldBy({ S: id }) } };
    let outcome = await this.#transactions.write(same ? [document] : [document, added, removed], signal);
    // Its own claim is gone or another document's. docproc never does that, but the tags can change all the same.
    if (!outcome.done && outcome.reasons.every(({ Code }, index) => (Code === "None") === index < 2)) {
      outcome = await this.#transactions.write([document, added], signal);
    }
    if (outcome.done) return { retagged: true };
    // The SDK may have repeated a successful request.
    const now = await this.#reads.read(documentKey(id), signal);
    if (now?.["tags"]?.S === after && now["identity"]?.S === claimed) return { retagged: true };
    return { retagged: false, holder: holderOf(outcome.reasons[1]?.Item) };
  }

  async catalog(signal: AbortSignal): Promise<string> {
    const found = (await this.#reads.read(catalogKey, signal)) ?? (await this.#makeCatalog(signal));
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
      // Another process was faster, or a response was lost: the existing item counts.
      const made =
        error instanceof ConditionalCheckFailedException ? await this.#reads.read(catalogKey, signal) : undefined;
      if (made) return made;
      throw this.#failure(error, "dynamodb:PutItem");
    }
  }

  async adopted(signal: AbortSignal): Promise<string[]> {
    const values = { ":pk": { S: "catalog" }, ":sk": { S: adoption } };
    const query = { KeyConditionExpression: "pk = :pk AND begins_with(sk, :sk)", ExpressionAttributeValues: values };
    const ids: string[] = [];
    for await (const { sk } of this.#query(query, signal)) ids.push((sk?.S ?? "").slice(adoption.length));
    return ids;
  }

  async adopt(catalog: string, signal: AbortSignal): Promise<void> {
    const Item = { pk: { S: "catalog" }, sk: { S: `${adoption}${catalog}` } };
    try {
      await this.#client.send(new PutItemCommand({ TableName: this.#table, Item }), { abortSignal: signal });
    } catch (error) {
      throw this.#failure(error, "dynamodb:PutItem");
    }
  }

  async close(): Promise<void> {
    this.#client.destroy();
  }

  async *#query(query: Omit<QueryCommandInput, "TableName">, signal: AbortSignal): AsyncIterable<Item> {
    const input = { TableName: this.#table, ConsistentRead: true, ...query };
    try {
      const pages = paginateQuery({ client: this.#client }, input, { abortSignal: signal });
      for await (const page of advancingPages(pages, ({ LastEvaluatedKey }) => LastEvaluatedKey)) {
        yield* itemsOf(page);
      }
    } catch (error) {
      throw this.#failure(error, "dynamodb:Query");
    }
  }

  #failure(error: unknown, action: string): DocprocError {
    return tableFailure(error, action, this.#table, this.#settings);
  }
}

/** The holder of a claim. Users may paste it into a command, so it must be a valid id. */
function holderOf(claim: Item | undefined): string | undefined {
  const id = claim?.["id"]?.S;
  return id !== undefined && isDocumentId(id) ? id : undefined;
}

/** The table has documents in id order only. */
const absent = "attribute_not_exists(pk)";

function claimKey(name: string, identity: string): Item {
  return { pk: { S: `name#${name}` }, sk: { S: identity } };
}

const catalogKey: Item = { pk: { S: "catalog" }, sk: { S: "catalog" } };
/** Prefix of the sort keys of adopted catalogs. */
const adoption = "adopted#";

function keyOf({ pk, sk }: Item): Item {
  return { ...(pk && { pk }), ...(sk && { sk }) };
}

function heldBy(id: AttributeValue) {
  return { ConditionExpression: "id = :id", ExpressionAttributeValues: { ":id": id } };
}

/** The condition that a document has not changed since it was read. Only its tags and its claim can change. */
function unchangedSince({ tags, identity }: Item) {
  // A damaged item has no tags; docproc cannot have changed it.
  if (tags === undefined || identity === undefined) return { ConditionExpression: "attribute_exists(pk)" };
  return {
    ConditionExpression: "#tags = :tags AND #identity = :identity",
    // Words may be or become reserved:
    // https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html
    ExpressionAttributeNames: { "#tags": "tags", "#identity": "identity" },
    ExpressionAttributeValues: { ":tags": tags, ":identity": identity },
  };
}

/** The items of a transaction whose conditions failed. */
function failedConditions({ reasons }: { readonly reasons: readonly CancellationReason[] }): number[] {
  return reasons.flatMap(({ Code }, index) => (Code === "ConditionalCheckFailed" ? [index] : []));
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

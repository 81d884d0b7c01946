/**
 * The metadata contract on one DynamoDB table. Loaded only by commands that talk to DynamoDB.
 *
 *   document   pk doc#<shard>   sk <id>        the stored entry; <shard> from the id's last digit
 *   head       pk path#<path>   sk head        the newest versions of the path, and how many pages there are
 *   page       pk path#<path>   sk page#…      versions that no longer fit into the head
 *   catalog    pk catalog       sk catalog     id and format of the catalog itself
 *   adoption   pk catalog       sk adopted#<id>
 *
 * Every read is strongly consistent and there is no index, so a command sees what the one before it wrote. reads.ts and
 * commits.ts batch concurrent requests; listing.ts reads documents in order; versions.ts has the text of heads and pages.
 */
import type { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { idRange, type ListQuery, literalPath, matcher } from "../../document/query.ts";
import type { DocumentRecord } from "../../document/record.ts";
import type {
  Changes as ChangedFields,
  CommitRequest,
  CommitResult,
  Entry,
  MetadataService,
  Place,
  Series,
  Standing,
} from "../service.ts";
import { CatalogItem } from "./catalog-item.ts";
import { absence, Changes, deletion } from "./changes.ts";
import { Commits } from "./commits.ts";
import { documentKey, isOfOlderLayout, toEntry } from "./documents.ts";
import { tableFailure } from "./failures.ts";
import { Heads, type View } from "./heads.ts";
import { listDocuments, readDocuments } from "./listing.ts";
import { lookUp } from "./lookups.ts";
import { type Item, PointReads } from "./reads.ts";
import type { DynamodbSettings } from "./settings.ts";
import { dynamodbTraits } from "./traits.ts";
import { Transactions } from "./transactions.ts";
import { Updates } from "./updates.ts";

export class DynamoDbMetadata implements MetadataService {
  readonly traits = dynamodbTraits;
  readonly #client: DynamoDBClient;
  readonly #table: string;
  readonly #settings: DynamodbSettings;
  readonly #reads: PointReads;
  readonly #heads: Heads;
  readonly #catalogItem: CatalogItem;
  readonly #changes: Changes;
  readonly #updates: Updates;

  constructor(client: DynamoDBClient, table: string, settings: DynamodbSettings) {
    this.#client = client;
    this.#table = table;
    this.#settings = settings;
    this.#reads = new PointReads(client, table, settings);
    this.#heads = new Heads(client, table, settings, this.#reads);
    this.#catalogItem = new CatalogItem(client, table, settings, this.#reads);
    this.#updates = new Updates(client, table, settings);
    const transactions = new Transactions(client, table, settings);
    this.#changes = new Changes({ ...this.#parts, transactions, commits: new Commits(transactions) });
  }

  get #parts() {
    return {
      table: this.#table,
      heads: this.#heads,
      catalogItem: this.#catalogItem,
      entryOf: (id: string, signal: AbortSignal) => this.get(id, signal),
    };
  }

  async commit(entry: Entry, request: CommitRequest, signal: AbortSignal): Promise<CommitResult> {
    return await this.#changes.commit(entry, request, signal);
  }

  async get(id: string, signal: AbortSignal): Promise<Entry | undefined> {
    const item = await this.#reads.read(documentKey(id), signal);
    if (item === undefined) return undefined;
    const entry = await this.#entryOf(item, signal);
    this.#catalogItem.layoutIsOurs();
    return entry;
  }

  async lookUp(series: Series, sha256: string | undefined, signal: AbortSignal): Promise<Standing> {
    return await lookUp(this.#parts, series, sha256, signal);
  }

  async *versions(path: string, signal: AbortSignal): AsyncIterable<string> {
    const view: View = { head: await this.#heads.read(path, signal), older: undefined };
    if (!view.head.exists) await this.#catalogItem.assertLayout(signal);
    const newest = view.head.versions.map(({ id }) => id).reverse();
    yield* newest;
    const older = await this.#heads.older(view, signal);
    // One that moved to a page after the head was read comes once.
    for (const { id } of older.toReversed()) if (!newest.includes(id)) yield id;
  }

  async *list(query: ListQuery, signal: AbortSignal): AsyncIterable<Entry> {
    const matches = await matcher(query.filter);
    const path = literalPath(query.filter);
    try {
      const items =
        path === undefined
          ? listDocuments(this.#client, this.#table, query, signal)
          : this.#documentsOf(path, query, signal);
      for await (const item of items) {
        const entry = await this.#entryOf(item, signal);
        if (matches(entry.record)) yield entry;
      }
    } catch (error) {
      const action = path === undefined ? "dynamodb:Query" : "dynamodb:BatchGetItem";
      throw tableFailure(error, action, this.#table, this.#settings);
    }
  }

  /** @throws INTEGRITY for a damaged item; INVALID_CONFIG for one that an older docproc wrote */
  async #entryOf(item: Item, signal: AbortSignal): Promise<Entry> {
    if (isOfOlderLayout(item)) throw await this.#catalogItem.olderLayout(signal);
    return toEntry(item);
  }

  /** The versions of a path, which are few among all documents. */
  async *#documentsOf(path: string, query: ListQuery, signal: AbortSignal): AsyncIterable<Item> {
    const { from = "0", to = "~" } = idRange(query);
    const ids: string[] = [];
    for await (const id of this.versions(path, signal)) if (id >= from && id < to) ids.push(id);
    if (query.ascending) ids.reverse();
    const { expected } = query;
    yield* readDocuments(this.#client, this.#table, ids, { expected, retries: this.#settings.retries }, signal);
  }

  async remove(id: string, signal: AbortSignal): Promise<DocumentRecord | undefined> {
    const entry = await this.get(id, signal);
    if (entry === undefined) return undefined;
    const failed = await this.#changes.takeOut(entry.record, deletion(this.#table, id), signal);
    // After a repeated request the document is gone by our own doing; otherwise another process was faster.
    return failed === undefined || failed.attempts > 1 ? entry.record : undefined;
  }

  async update(record: DocumentRecord, changes: ChangedFields, signal: AbortSignal): Promise<boolean> {
    const { tags, metadata, contentType, expiresAt } = changes;
    const after = {
      tags: tags ?? record.tags,
      metadata: metadata ?? record.metadata,
      contentType: contentType ?? record.contentType,
      expiresAt: expiresAt === undefined ? record.expiresAt : expiresAt,
    };
    return await this.#updates.change(record.id, record, after, signal);
  }

  async prove(id: string, signal: AbortSignal): Promise<boolean> {
    return await this.#updates.prove(id, signal);
  }

  async *places(signal: AbortSignal): AsyncIterable<Place> {
    for await (const place of this.#heads.all(signal)) {
      const release = async (late: AbortSignal) => {
        await this.#changes.takeOut(place, absence(this.#table, place.id), late);
      };
      yield { ...place, release };
    }
  }

  async catalog(signal: AbortSignal): Promise<string> {
    return await this.#catalogItem.id(signal);
  }

  async adopted(signal: AbortSignal): Promise<string[]> {
    return await this.#catalogItem.adopted(signal);
  }

  async adopt(catalog: string, signal: AbortSignal): Promise<void> {
    await this.#catalogItem.adopt(catalog, signal);
  }

  async close(): Promise<void> {
    this.#client.destroy();
  }
}

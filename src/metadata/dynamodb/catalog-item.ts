/** The entry of the catalog itself: its id, the format of the table, and the catalogs that it adopted. */
import {
  ConditionalCheckFailedException,
  type DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  paginateQuery,
} from "@aws-sdk/client-dynamodb";
import { v4 as randomId } from "uuid";
import { advancingPages } from "../../aws/failures.ts";
import { DocprocError } from "../../core/errors.ts";
import { isCatalogId } from "../marks.ts";
import { tableFailure } from "./failures.ts";
import { type Item, itemsOf, type PointReads } from "./reads.ts";
import type { DynamodbSettings } from "./settings.ts";

/** Incremented when an older docproc would misread the items of a newer one. */
const format = 2;

const catalogKey: Item = { pk: { S: "catalog" }, sk: { S: "catalog" } };
/** Prefix of the sort keys of adopted catalogs. */
const adoption = "adopted#";

/**
 * Reads the item of the catalog, and makes none.
 * @throws INVALID_CONFIG when another version of docproc wrote the table
 */
export async function assertOwnLayout(
  client: DynamoDBClient,
  table: string,
  settings: DynamodbSettings,
  abortSignal: AbortSignal,
): Promise<void> {
  const input = { TableName: table, Key: catalogKey, ConsistentRead: true };
  const { Item } = await client.send(new GetItemCommand(input), { abortSignal }).catch((error: unknown) => {
    throw tableFailure(error, "dynamodb:GetItem", table, settings);
  });
  checkedItem(Item, table);
}

function checkedItem(item: Item | undefined, table: string): Item | undefined {
  const found = Number(item?.["format"]?.N ?? format);
  if (found < format) throw olderLayout(table, item);
  if (found === format) return item;
  throw new DocprocError("INVALID_CONFIG", `The table ${table} was written by a newer version of docproc.`, {
    hint: "Upgrade docproc. Nothing was changed.",
  });
}

/**
 * Without --deep no upload would find an imported document, and without --adopt a deletion would keep its bytes.
 * @param item of the catalog, which knows its id
 */
function olderLayout(table: string, item: Item | undefined): DocprocError {
  const known = item?.["id"]?.S ?? "";
  // It is printed to be pasted into a shell, and anyone may have written it.
  const id = isCatalogId(known) ? known : "ID";
  return new DocprocError("INVALID_CONFIG", `The table ${table} has the layout of an older docproc.`, {
    hint:
      "With that version, run: docproc export > records.ndjson. Then, with this one: docproc init --table NEW, and " +
      `docproc import records.ndjson --deep --adopt ${id} --table NEW. From then on use only the new table.`,
  });
}

export class CatalogItem {
  readonly #client: DynamoDBClient;
  readonly #table: string;
  readonly #settings: DynamodbSettings;
  readonly #reads: PointReads;
  /** Read once: the item never changes. */
  #known: { readonly item: Item | undefined } | undefined;
  #isOurLayout = false;

  constructor(client: DynamoDBClient, table: string, settings: DynamodbSettings, reads: PointReads) {
    this.#client = client;
    this.#table = table;
    this.#settings = settings;
    this.#reads = reads;
  }

  /** See {@link MetadataService.catalog}. */
  async id(signal: AbortSignal): Promise<string> {
    const found = (await this.#read(signal)) ?? (await this.#make(signal));
    return found["id"]?.S ?? "";
  }

  /**
   * In a table of an older docproc no path has versions. So a path without any asks here before it is believed.
   * @throws INVALID_CONFIG when another version of docproc wrote the table
   */
  async assertLayout(signal: AbortSignal): Promise<void> {
    if (!this.#isOurLayout) await this.#read(signal);
  }

  /** A document with a path says as much of the table. */
  layoutIsOurs(): void {
    this.#isOurLayout = true;
  }

  async #read(signal: AbortSignal): Promise<Item | undefined> {
    // Concurrent callers share the request, and each has its own signal.
    this.#known ??= { item: checkedItem(await this.#reads.read(catalogKey, signal), this.#table) };
    return this.#known.item;
  }

  /** The refusal of a table in which a document of an older docproc is. */
  async olderLayout(signal: AbortSignal): Promise<DocprocError> {
    return olderLayout(this.#table, await this.#reads.read(catalogKey, signal));
  }

  async #make(signal: AbortSignal): Promise<Item> {
    const Item = { ...catalogKey, id: { S: randomId() }, format: { N: String(format) } };
    const input = { TableName: this.#table, Item, ConditionExpression: "attribute_not_exists(pk)" };
    try {
      await this.#client.send(new PutItemCommand(input), { abortSignal: signal });
      this.#known = { item: Item };
      return Item;
    } catch (error) {
      // Another process was faster, or a response was lost: the existing item counts.
      this.#known = undefined;
      const made = error instanceof ConditionalCheckFailedException ? await this.#read(signal) : undefined;
      if (made) return made;
      throw tableFailure(error, "dynamodb:PutItem", this.#table, this.#settings);
    }
  }

  /** See {@link MetadataService.adopted}. */
  async adopted(signal: AbortSignal): Promise<string[]> {
    const input = {
      TableName: this.#table,
      ConsistentRead: true,
      KeyConditionExpression: "pk = :pk AND begins_with(sk, :sk)",
      ExpressionAttributeValues: { ":pk": { S: "catalog" }, ":sk": { S: adoption } },
    };
    const ids: string[] = [];
    try {
      const pages = paginateQuery({ client: this.#client }, input, { abortSignal: signal });
      for await (const page of advancingPages(pages, ({ LastEvaluatedKey }) => LastEvaluatedKey)) {
        for (const { sk } of itemsOf(page)) ids.push((sk?.S ?? "").slice(adoption.length));
      }
    } catch (error) {
      throw tableFailure(error, "dynamodb:Query", this.#table, this.#settings);
    }
    return ids;
  }

  /** See {@link MetadataService.adopt}. */
  async adopt(catalog: string, signal: AbortSignal): Promise<void> {
    const Item = { pk: { S: "catalog" }, sk: { S: `${adoption}${catalog}` } };
    try {
      await this.#client.send(new PutItemCommand({ TableName: this.#table, Item }), { abortSignal: signal });
    } catch (error) {
      throw tableFailure(error, "dynamodb:PutItem", this.#table, this.#settings);
    }
  }
}

/**
 * The versions of a path. One item, its head, has the newest; the others are on pages.
 *
 * Whatever is added changes the head, so a head that is as it was read proves that nothing was added meanwhile: that is
 * the condition of every write. Entries move only from the head to a page: reading first the head and then the pages
 * misses none.
 */
import {
  type DynamoDBClient,
  paginateQuery,
  paginateScan,
  type QueryCommandInput,
  type TransactWriteItem,
} from "@aws-sdk/client-dynamodb";
import { v4 as randomId } from "uuid";
import { advancingPages } from "../../aws/failures.ts";
import { DocprocError } from "../../core/errors.ts";
import { tableFailure } from "./failures.ts";
import { type Item, itemsOf, type PointReads } from "./reads.ts";
import type { DynamodbSettings } from "./settings.ts";
import { fromText, has, merged, ofSeries, toText, type Version, type Versions } from "./versions.ts";

/** The head of a path as it was read. */
export interface Head {
  readonly path: string;
  /** False when the path has no versions. */
  readonly exists: boolean;
  readonly versions: Versions;
  /** How many pages there are. */
  readonly pages: number;
}

/** A head, and the older versions once they were read: they are as true as the head. */
export interface View {
  readonly head: Head;
  older: Versions | undefined;
}

export interface Page {
  readonly key: Item;
  readonly versions: Versions;
}

const prefix = "path#";

export function absentHead(path: string): Head {
  return { path, exists: false, versions: [], pages: 0 };
}

/** True when nothing was added between the two. */
export function isSameHead(one: Head, other: Head): boolean {
  return one.exists === other.exists && one.pages === other.pages && toText(one.versions) === toText(other.versions);
}

export class Heads {
  readonly #client: DynamoDBClient;
  readonly #table: string;
  readonly #settings: DynamodbSettings;
  readonly #reads: PointReads;

  constructor(client: DynamoDBClient, table: string, settings: DynamodbSettings, reads: PointReads) {
    this.#client = client;
    this.#table = table;
    this.#settings = settings;
    this.#reads = reads;
  }

  async read(path: string, signal: AbortSignal): Promise<Head> {
    return headOf(path, await this.#reads.read(keyOf(path), signal));
  }

  /** The versions that are not in the head; reads the pages once. */
  async older(view: View, signal: AbortSignal): Promise<Versions> {
    const { path, pages } = view.head;
    view.older ??= pages === 0 ? [] : merged(...(await this.pages(path, signal)).map(({ versions }) => versions));
    return view.older;
  }

  /** The versions of a series before an id, newest first. Reads the pages only if the caller goes on after the head. */
  async *before(view: View, series: string, id: string, signal: AbortSignal): AsyncIterable<Version> {
    for (const version of ofSeries(view.head.versions, series)) if (version.id < id) yield version;
    for (const version of ofSeries(await this.older(view, signal), series)) {
      // One that moved to a page after the head was read comes twice.
      if (version.id < id && !has(view.head.versions, version.id)) yield version;
    }
  }

  /** The versions of a series after an id, oldest first. Reads the pages only for an id that is older than the head. */
  async *after(view: View, series: string, id: string, signal: AbortSignal): AsyncIterable<Version> {
    const { versions } = view.head;
    const isInHead = (versions[0]?.id ?? "~") < id;
    const all = isInHead ? versions : merged(await this.older(view, signal), versions);
    for (const version of ofSeries(all, series).reverse()) if (version.id > id) yield version;
  }

  async pages(path: string, signal: AbortSignal): Promise<Page[]> {
    const query: QueryCommandInput = {
      TableName: this.#table,
      ConsistentRead: true,
      KeyConditionExpression: "pk = :pk AND begins_with(sk, :sk)",
      ExpressionAttributeValues: { ":pk": { S: `${prefix}${path}` }, ":sk": { S: "page#" } },
    };
    const found: Page[] = [];
    try {
      const answers = paginateQuery({ client: this.#client }, query, { abortSignal: signal });
      for await (const answer of advancingPages(answers, ({ LastEvaluatedKey }) => LastEvaluatedKey)) {
        for (const item of itemsOf(answer)) found.push({ key: keyIn(item), versions: versionsOf(path, item) });
      }
    } catch (error) {
      throw this.#failure(error, "dynamodb:Query");
    }
    return found;
  }

  /**
   * Every version of every path, and items of other programs, which have no id. Reads the whole table: there is no index
   * of paths.
   */
  async *all(signal: AbortSignal): AsyncIterable<{ readonly id: string; readonly path: string }> {
    const input = {
      TableName: this.#table,
      ConsistentRead: true,
      FilterExpression: "begins_with(pk, :path)",
      ExpressionAttributeValues: { ":path": { S: prefix } },
    };
    try {
      const answers = paginateScan({ client: this.#client }, input, { abortSignal: signal });
      for await (const answer of advancingPages(answers, ({ LastEvaluatedKey }) => LastEvaluatedKey)) {
        for (const item of itemsOf(answer)) {
          const path = (item["pk"]?.S ?? "").slice(prefix.length);
          if (!/^(?:head$|page#)/.test(item["sk"]?.S ?? "")) yield { id: "", path };
          else for (const { id } of versionsOf(path, item)) yield { id, path };
        }
      }
    } catch (error) {
      throw this.#failure(error, "dynamodb:Scan");
    }
  }

  /** Replaces a head that is still as it was read; one without versions and pages is deleted. */
  change(head: Head, versions: Versions, pages: number): TransactWriteItem {
    const condition = { TableName: this.#table, ...this.#asRead(head) };
    if (versions.length === 0 && pages === 0) return { Delete: { ...condition, Key: keyOf(head.path) } };
    const Item = { ...keyOf(head.path), entries: { S: toText(versions) }, pages: { N: String(pages) } };
    // When another writer was faster, the answer has the head as it is now.
    return { Put: { ...condition, Item, ReturnValuesOnConditionCheckFailure: "ALL_OLD" } };
  }

  /** Fails when a head is not as it was read. */
  check(head: Head): TransactWriteItem {
    return { ConditionCheck: { TableName: this.#table, Key: keyOf(head.path), ...this.#asRead(head) } };
  }

  /** Adds a page. Its key is random: nothing depends on it, and no other page can have it. */
  newPage(path: string, versions: Versions): TransactWriteItem {
    const key = { pk: { S: `${prefix}${path}` }, sk: { S: `page#${randomId()}` } };
    return { Put: { TableName: this.#table, Item: { ...key, entries: { S: toText(versions) } } } };
  }

  /** Replaces a page that is still as it was read; one without versions is deleted. */
  changePage({ key, versions: before }: Page, versions: Versions): TransactWriteItem {
    const condition = {
      TableName: this.#table,
      ConditionExpression: "#entries = :entries",
      ExpressionAttributeNames: { "#entries": "entries" },
      ExpressionAttributeValues: { ":entries": { S: toText(before) } },
    };
    if (versions.length === 0) return { Delete: { ...condition, Key: key } };
    return { Put: { ...condition, Item: { ...key, entries: { S: toText(versions) } } } };
  }

  #asRead({ exists, versions, pages }: Head) {
    if (!exists) return { ConditionExpression: "attribute_not_exists(pk)" };
    return {
      ConditionExpression: "#entries = :entries AND #pages = :pages",
      // Words may be or become reserved:
      // https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html
      ExpressionAttributeNames: { "#entries": "entries", "#pages": "pages" },
      ExpressionAttributeValues: { ":entries": { S: toText(versions) }, ":pages": { N: String(pages) } },
    };
  }

  #failure(error: unknown, action: string): DocprocError {
    return tableFailure(error, action, this.#table, this.#settings);
  }
}

/** @throws INTEGRITY for a damaged item */
export function headOf(path: string, item: Item | undefined): Head {
  if (item === undefined) return absentHead(path);
  const pages = Number(item["pages"]?.N);
  if (!Number.isSafeInteger(pages) || pages < 0) throw damaged(path);
  return { path, exists: true, versions: versionsOf(path, item), pages };
}

function keyOf(path: string): Item {
  return { pk: { S: `${prefix}${path}` }, sk: { S: "head" } };
}

function keyIn({ pk, sk }: Item): Item {
  return { pk: { S: pk?.S ?? "" }, sk: { S: sk?.S ?? "" } };
}

function versionsOf(path: string, item: Item): Versions {
  const versions = fromText(item["entries"]?.S ?? "-");
  if (versions === undefined) throw damaged(path);
  return versions;
}

function damaged(path: string): DocprocError {
  return new DocprocError("INTEGRITY", `The versions of ${path} in the catalog are damaged.`, {
    hint: "The catalog was changed by another program than docproc. Restore it from a backup.",
  });
}

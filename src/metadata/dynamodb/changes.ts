/**
 * Adds and removes documents, each together with its place among the versions of its path. Every write has the
 * condition that the head of the path is as it was read; when another writer was faster, it is decided again.
 */
import type { TransactWriteItem } from "@aws-sdk/client-dynamodb";
import { cleanUpSignal, pause } from "../../core/retry.ts";
import type { CommitRequest, CommitResult, Entry, Standing } from "../service.ts";
import type { Commits } from "./commits.ts";
import { documentKey, toEntry, toItem } from "./documents.ts";
import { tooBusy, unanswered } from "./failures.ts";
import { type Head, headOf, type View } from "./heads.ts";
import { isSameSeries, type LookUpParts } from "./lookups.ts";
import { type FailedTransaction, failedOn, type Transactions } from "./transactions.ts";
import { Turns } from "./turns.ts";
import { has, inserted, merged, versionOf, without } from "./versions.ts";

/** Of one change: enough for fifty writers of one path, of which one succeeds at a time. */
const attempts = 40;
/** Pauses do not grow after this many. */
const longestPause = 6;

export interface ChangeParts extends LookUpParts {
  readonly transactions: Transactions;
  readonly commits: Commits;
}

export class Changes {
  readonly #parts: ChangeParts;
  readonly #turns = new Turns<View>();

  constructor(parts: ChangeParts) {
    this.#parts = parts;
  }

  /** See {@link MetadataService.commit}. */
  async commit(entry: Entry, { unlessThere, seen }: CommitRequest, signal: AbortSignal): Promise<CommitResult> {
    const { table, heads, catalogItem, entryOf } = this.#parts;
    const { id, path } = entry.record;
    return await this.#turns.take(path, signal, async (turn) => {
      let view = turn.state ?? viewOf(seen, path);
      turn.state = undefined;
      let isOld = true;
      for (let attempt = 1; attempt <= attempts; attempt++) {
        // During a pause, other writers go on.
        if (await pauseBefore(attempt, signal)) view = undefined;
        if (view === undefined) {
          view = { head: await heads.read(path, signal), older: undefined };
          isOld = false;
        }
        if (!view.head.exists) await catalogItem.assertLayout(signal);
        const there = unlessThere ? await this.#neighbour(entry, view, signal) : undefined;
        if (there === undefined) {
          const outcome = await this.#add(entry, view, signal);
          if ("view" in outcome) {
            turn.state = outcome.view;
            return { committed: true };
          }
          const own = failedOn(outcome, 0) ? await this.#own(id, outcome, signal) : undefined;
          if (own) return { committed: false, there: own };
          const now = outcome.reasons[1]?.Item;
          view = now && { head: headOf(path, now), older: undefined };
          isOld = false;
        } else if (isOld) {
          // Newer versions may have been added since.
          view = undefined;
        } else {
          turn.state = view;
          return { committed: false, there: (await entryOf(id, signal)) ?? there };
        }
      }
      throw tooBusy(table, "commit");
    });
  }

  /** The nearest version of the series on either side, if it is proved and has the same bytes. */
  async #neighbour({ record, given }: Entry, view: View, signal: AbortSignal): Promise<Entry | undefined> {
    const { heads, entryOf } = this.#parts;
    const { id, series, bytes } = versionOf(record.id, given, record.sha256);
    for (const side of [heads.before(view, series, id, signal), heads.after(view, series, id, signal)]) {
      for await (const other of side) {
        if (other.bytes !== bytes) break;
        const entry = await entryOf(other.id, signal);
        // Gone, or of tags whose hash begins in the same way.
        if (entry === undefined || !isSameSeries(entry.given, given)) continue;
        if (entry.proved && entry.record.sha256 === record.sha256) return entry;
        break;
      }
    }
    return undefined;
  }

  /** The document with this id. The SDK may have repeated a successful request: then it is the one to commit. */
  async #own(id: string, { reasons }: FailedTransaction, signal: AbortSignal): Promise<Entry | undefined> {
    const { table, entryOf } = this.#parts;
    const item = reasons[0]?.Item;
    if (item) return toEntry(item);
    return await entryOf(id, cleanUpSignal(signal)).catch((error: unknown) => {
      throw unanswered(table, error);
    });
  }

  /**
   * Adds a document and its place.
   * @returns what the path has then, or why nothing was written
   */
  async #add(entry: Entry, view: View, signal: AbortSignal): Promise<{ readonly view: View } | FailedTransaction> {
    const { table, heads, commits } = this.#parts;
    const { record, given } = entry;
    const { head } = view;
    const oldest = head.pages === 0 ? undefined : (head.versions[0] ?? (await heads.older(view, signal)).at(-1))?.id;
    const { head: versions, page } = inserted(head.versions, versionOf(record.id, given, record.sha256), oldest);
    const pages = head.pages + (page ? 1 : 0);
    const document = {
      TableName: table,
      Item: toItem(entry),
      ConditionExpression: "attribute_not_exists(pk)",
      ReturnValuesOnConditionCheckFailure: "ALL_OLD" as const,
    };
    const items = [{ Put: document }, heads.change(head, versions, pages)];
    if (page) items.push(heads.newPage(record.path, page));
    const outcome = await commits.write(items, signal);
    if (!outcome.done) return outcome;
    return {
      view: { head: { ...head, exists: true, versions, pages }, older: view.older && merged(view.older, page ?? []) },
    };
  }

  /**
   * Takes a document's place away, in one transaction with an item that says what becomes of the document.
   * @returns undefined when it is done; otherwise why the condition of `document` failed
   */
  async takeOut(
    { id, path }: { readonly id: string; readonly path: string },
    document: TransactWriteItem,
    signal: AbortSignal,
  ): Promise<FailedTransaction | undefined> {
    const { table, heads, transactions } = this.#parts;
    return await this.#turns.take(path, signal, async (turn) => {
      let head = turn.state?.head;
      turn.state = undefined;
      for (let attempt = 1; attempt <= attempts; attempt++) {
        await pauseBefore(attempt, signal);
        head ??= await heads.read(path, signal);
        const { items, after } = await this.#withoutPlace(head, id, signal);
        const outcome = await transactions.write([document, ...items], signal);
        if (outcome.done) {
          turn.state = { head: after, older: undefined };
          return undefined;
        }
        if (failedOn(outcome, 0)) return outcome;
        head = undefined;
      }
      throw tooBusy(table, "commit");
    });
  }

  /** The items that take a place away, with the head afterwards. */
  async #withoutPlace(
    head: Head,
    id: string,
    signal: AbortSignal,
  ): Promise<{ readonly items: TransactWriteItem[]; readonly after: Head }> {
    const { heads } = this.#parts;
    if (has(head.versions, id)) {
      const versions = without(head.versions, id);
      const exists = versions.length + head.pages > 0;
      return { items: [heads.change(head, versions, head.pages)], after: { ...head, exists, versions } };
    }
    const page = (await heads.pages(head.path, signal)).find(({ versions }) => has(versions, id));
    // It has no place, which must still be so.
    if (page === undefined) return { items: [heads.check(head)], after: head };
    const left = without(page.versions, id);
    const change = heads.changePage(page, left);
    if (left.length > 0 || head.pages === 0) return { items: [change], after: head };
    const pages = head.pages - 1;
    const after = { ...head, exists: head.versions.length + pages > 0, pages };
    return { items: [change, heads.change(head, head.versions, pages)], after };
  }
}

/**
 * Pauses, except before the first two attempts: the first failure is usually an old reading, and no sign of many writers.
 * @returns whether it did
 */
async function pauseBefore(attempt: number, signal: AbortSignal): Promise<boolean> {
  if (attempt > 2) await pause(Math.min(attempt - 2, longestPause), signal);
  return attempt > 2;
}

/** Deletes a document that is there. */
export function deletion(table: string, id: string): TransactWriteItem {
  return { Delete: { TableName: table, Key: documentKey(id), ConditionExpression: "attribute_exists(pk)" } };
}

/** Fails when a document is there. */
export function absence(table: string, id: string): TransactWriteItem {
  return {
    ConditionCheck: { TableName: table, Key: documentKey(id), ConditionExpression: "attribute_not_exists(pk)" },
  };
}

/** What a look-up of the same path read. */
function viewOf(seen: Standing | undefined, path: string): View | undefined {
  const view = seen?.state as View | undefined;
  return view?.head.path === path ? view : undefined;
}

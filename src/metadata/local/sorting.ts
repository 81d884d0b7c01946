/**
 * Reads the records of an SQLite catalog by size or by path.
 *
 * Both have an index. It is walked, and each entry is looked up in the indexes of the other conditions: common matches
 * are found soon. Matches that an index knows to be few are collected and sorted.
 */
import { DocprocError } from "../../core/errors.ts";
import { idRange, type ListQuery } from "../../document/query.ts";
import {
  type BoundSql,
  type Condition,
  conditionsOf,
  type Row,
  type Select,
  type SqlValue,
  TooManySteps,
  testOf,
} from "./conditions.ts";
import { entriesOf, firstWindow, pageSize, type Range, smallestOf, sortLimit, startingWith } from "./listing.ts";
import { storedColumns } from "./row.ts";

type SortColumn = "size" | "path";

/**
 * The rows of a query, page by page, ordered by a column and then by id.
 * @throws NOT_FOUND when the query continues after a document that is gone: its place is unknown
 */
export async function* pagesInOrder(select: Select, query: ListQuery, by: SortColumn): AsyncIterable<Row[]> {
  const { ascending, after, expected = pageSize } = query;
  const [beyond, upTo, direction] = ascending ? [">", "<=", "ASC"] : ["<", ">=", "DESC"];
  let last: SortPosition | undefined;
  if (after !== undefined) last = await placeOf(select, by, after);
  const conditions = await conditionsOf(select, query.filter);
  let entries = await entriesFor(select, query, conditions, by);
  /** Index entries per statement: all, until the globs of the query prove slow. */
  let window = Number.POSITIVE_INFINITY;
  for (let size = Math.min(expected, pageSize); ; ) {
    const edge = Number.isFinite(window) ? await placeAhead(window) : undefined;
    const bounds = [...(last ? [[beyond, last] as const] : []), ...(edge ? [[upTo, edge] as const] : [])];
    const within = bounds.map(([how]) => `(entry.${by}, entry.id) ${how} (?, ?) AND `).join("");
    let rows: Row[];
    try {
      rows = await select(
        // Bounds come first: conditions are tested in this order, and entries outside should cost no glob steps.
        `SELECT ${storedColumns}, ${by} FROM documents entry ${entries.index} WHERE ${within} ${entries.sql}
         ORDER BY entry.${by} ${direction}, entry.id ${direction} LIMIT ?`,
        ...bounds.flatMap(([, place]) => place),
        ...entries.values,
        size,
      );
    } catch (error) {
      if (!(error instanceof TooManySteps) || window === 1) throw error;
      // Another index can only be collected as a whole.
      entries = walkIndex(query, conditions, by);
      window = Math.min(firstWindow, Math.ceil(window / 4));
      yield [];
      continue;
    }
    yield rows;
    const isCut = rows.length === size;
    if (!isCut && edge === undefined) return;
    const end = rows.at(-1) ?? [];
    last = isCut ? [end.at(-1) as SqlValue, String(end[0])] : edge;
    size = Math.min(2 * size, pageSize);
    if (Number.isFinite(window)) window = Math.min(2 * window, sortLimit);
  }

  /** Where the next `count` entries end; undefined when there are no more. */
  async function placeAhead(count: number): Promise<SortPosition | undefined> {
    const [row] = await select(
      `SELECT ${by}, id FROM documents entry INDEXED BY documents_by_${by}
       WHERE ${last ? `(entry.${by}, entry.id) ${beyond} (?, ?)` : "true"}
       ORDER BY entry.${by} ${direction}, entry.id ${direction} LIMIT 1 OFFSET ?`,
      ...(last ?? []),
      count - 1,
    );
    return row && [row[0] as SqlValue, String(row[1])];
  }
}

/** A value of the column, and an id. */
type SortPosition = readonly [SqlValue, string];

/** The documents to read, each as `entry`: the condition, and the index to use. */
interface Entries extends BoundSql {
  readonly index: string;
}

async function entriesFor(
  select: Select,
  query: ListQuery,
  conditions: readonly Condition[],
  by: SortColumn,
): Promise<Entries> {
  const range = rangeOf(query);
  const indexed = conditions.filter(({ isTest }) => !isTest);
  const smallest = await smallestOf(select, query, indexed, range);
  if (smallest === undefined) return walkIndex(query, conditions, by);
  const [, ...others] = startingWith(smallest, conditions);
  const ids = entriesOf(smallest, range, testOf(others, smallest.table));
  return { index: "", sql: `entry.id IN (${ids.sql})`, values: ids.values };
}

/** Walks the whole index of the column and tests each entry. */
function walkIndex(query: ListQuery, conditions: readonly Condition[], by: SortColumn): Entries {
  const { from, to } = rangeOf(query);
  const asked = testOf(conditions, "documents");
  return {
    index: `INDEXED BY documents_by_${by}`,
    sql: `entry.id >= ? AND entry.id < ? AND ${asked.sql}`,
    values: [from, to, ...asked.values],
  };
}

function rangeOf(query: ListQuery): Range {
  const { from = "", to = "~" } = idRange({ ...query, after: undefined });
  return { from, to };
}

async function placeOf(select: Select, by: SortColumn, id: string): Promise<SortPosition> {
  const [row] = await select(`SELECT ${by} FROM documents WHERE id = ?`, id);
  if (row) return [row[0] as SqlValue, id];
  throw new DocprocError("NOT_FOUND", `The document ${id}, after which the listing continues, no longer exists.`, {
    hint: "Start the listing again without --cursor.",
  });
}

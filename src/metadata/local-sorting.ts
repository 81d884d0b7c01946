/**
 * Reads the records of an SQLite catalog by size or by name.
 *
 * There is an index of either. It is walked, and each of its entries is looked up in the indexes of what else is asked:
 * what many documents have is found soon. What only few have, as an index knows, is gathered and sorted.
 */
import { DocprocError } from "../errors.ts";
import { idRange, type ListQuery } from "../query.ts";
import { conditionsOf, type Row, type Select, type Statement, testOf, type Value } from "./local-conditions.ts";
import { entriesOf, pageSize, type Range, smallestOf, startingWith, storedColumns } from "./local-listing.ts";

type SortColumn = "size" | "name";

/**
 * The rows that a query asks for, page by page, in the order of a column and then of their ids.
 * @throws NOT_FOUND when the query continues behind a document that is gone: only that one knew where that is
 */
export async function* pagesInOrder(select: Select, query: ListQuery, by: SortColumn): AsyncIterable<Row[]> {
  const { ascending, after, expected = pageSize } = query;
  const [beyond, direction] = ascending ? [">", "ASC"] : ["<", "DESC"];
  let last: Value[] | undefined;
  if (after !== undefined) last = await placeOf(select, by, after);
  const entries = await entriesFor(select, query, by);
  for (let size = Math.min(expected, pageSize); ; size = Math.min(2 * size, pageSize)) {
    const behind = last === undefined ? "true" : `(entry.${by}, entry.id) ${beyond} (?, ?)`;
    const rows = await select(
      `SELECT ${storedColumns}, ${by} FROM documents entry ${entries.sql} AND ${behind}
       ORDER BY entry.${by} ${direction}, entry.id ${direction} LIMIT ?`,
      ...entries.values,
      ...(last ?? []),
      size,
    );
    yield rows;
    if (rows.length < size) return;
    const end = rows.at(-1) ?? [];
    last = [end.at(-1) as Value, String(end[0])];
  }
}

/** Which documents to read, as an `entry` each, and by which index. */
async function entriesFor(select: Select, query: ListQuery, by: SortColumn): Promise<Statement> {
  const { from = "", to = "~" } = idRange({ ...query, after: undefined });
  const range: Range = { from, to };
  const conditions = await conditionsOf(select, query.filter);
  const smallest = await smallestOf(select, query, conditions, range);
  if (smallest) {
    const [, ...others] = startingWith(smallest, conditions);
    const ids = entriesOf(smallest, range, testOf(others, smallest.table));
    return { sql: `WHERE entry.id IN (${ids.sql})`, values: ids.values };
  }
  const asked = testOf(conditions, "documents");
  return {
    sql: `INDEXED BY documents_by_${by} WHERE entry.id >= ? AND entry.id < ? AND ${asked.sql}`,
    values: [from, to, ...asked.values],
  };
}

async function placeOf(select: Select, by: SortColumn, id: string): Promise<Value[]> {
  const [row] = await select(`SELECT ${by} FROM documents WHERE id = ?`, id);
  if (row) return [row[0] as Value, id];
  throw new DocprocError("NOT_FOUND", `The document ${id}, behind which the listing goes on, is gone.`, {
    hint: "Begin the listing again, without --cursor.",
  });
}

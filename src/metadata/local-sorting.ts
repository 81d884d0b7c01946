/**
 * Reads the records of an SQLite catalog by size or by name. Its index has them in that order, so that a page is read
 * straight from it; what a filter leaves out is read and passed over.
 */
import { DocprocError } from "../errors.ts";
import { idRange, type ListQuery } from "../query.ts";
import { type Select, storedColumns, type Value } from "./local-listing.ts";

/** Rows read at a time: between two pages no lock is held. */
const pageSize = 500;

/**
 * The rows in the range of a query, page by page, in the order of a column and then of their ids.
 * @throws NOT_FOUND when the query continues behind a document that is gone: only that one knew where that is
 */
export async function* pagesInOrder(
  select: Select,
  query: ListQuery,
  by: "size" | "name",
): AsyncIterable<(readonly unknown[])[]> {
  const { ascending, after, expected = pageSize } = query;
  const { from = "", to = "~" } = idRange({ ...query, after: undefined });
  const [beyond, direction] = ascending ? [">", "ASC"] : ["<", "DESC"];
  let last: Value[] | undefined;
  if (after !== undefined) last = await placeOf(select, by, after);
  for (let size = Math.min(expected, pageSize); ; size = Math.min(2 * size, pageSize)) {
    const behind = last === undefined ? "true" : `(${by}, id) ${beyond} (?, ?)`;
    const rows = await select(
      `SELECT ${storedColumns}, ${by} FROM documents INDEXED BY documents_by_${by}
       WHERE ${behind} AND id >= ? AND id < ? ORDER BY ${by} ${direction}, id ${direction} LIMIT ?`,
      ...(last ?? []),
      from,
      to,
      size,
    );
    yield rows;
    if (rows.length < size) return;
    const end = rows.at(-1) ?? [];
    last = [end.at(-1) as Value, String(end[0])];
  }
}

async function placeOf(select: Select, by: "size" | "name", id: string): Promise<Value[]> {
  const [row] = await select(`SELECT ${by} FROM documents WHERE id = ?`, id);
  if (row) return [row[0] as Value, id];
  throw new DocprocError("NOT_FOUND", `The document ${id}, behind which the listing goes on, is gone.`, {
    hint: "Begin the listing again, without --cursor.",
  });
}

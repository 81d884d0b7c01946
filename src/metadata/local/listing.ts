/**
 * Reads the records of an SQLite catalog in the order of their ids, as few of them as an index allows.
 *
 * An index in id order (see conditions.ts) is read directly, a page at a time, however large the catalog. Entries in
 * another order must be sorted; whether that pays depends on their number, which is counted up to {@link sortLimit}.
 */
import { idRange, type ListQuery } from "../../document/query.ts";
import {
  type BoundSql,
  type Condition,
  conditionsOf,
  everything,
  isOrdered,
  type Row,
  type Select,
  TooManySteps,
  testOf,
} from "./conditions.ts";
import { storedColumns } from "./row.ts";

/** Rows per statement. No lock is held between pages, so a slow reader never blocks a writer. */
export const pageSize = 500;
/** Index entries that are read and sorted within a few milliseconds. */
export const sortLimit = 10_000;
/** Ids from `from` (included) to `to` (excluded). */
export interface Range {
  readonly from: string;
  readonly to: string;
}

type MakeStatement = (range: Range, limit: number) => BoundSql;

/**
 * The rows of a query, page by page. Pages may be empty, and are small when few records are expected. An empty page
 * follows an aborted statement, so that others get a turn.
 */
export async function* pagesOf(select: Select, query: ListQuery): AsyncIterable<Row[]> {
  const { from = "", to = "~" } = idRange(query);
  let left: Range = { from, to };
  const conditions = await conditionsOf(select, query.filter);
  try {
    for await (const rows of quickPages(select, query, conditions, left)) {
      yield rows;
      left = remainder(rows, left, query.ascending);
    }
  } catch (error) {
    if (!(error instanceof TooManySteps)) throw error;
    yield [];
    yield* smallPages(select, conditions, left, query.ascending);
  }
}

/** The rest of a range after the last of some rows. */
function remainder(rows: readonly Row[], range: Range, ascending: boolean): Range {
  if (rows.length === 0) return range;
  const last = String(rows.at(-1)?.[0]);
  return ascending ? { ...range, from: `${last}~` } : { ...range, to: last };
}

/** Documents in a statement's first window when globs are slow. */
export const firstWindow = 100;

/** Reads all documents in order with short statements: each takes as many documents as the globs allow. */
async function* smallPages(
  select: Select,
  conditions: readonly Condition[],
  range: Range,
  ascending: boolean,
): AsyncIterable<Row[]> {
  const make = read(startingWith(everything, conditions), ascending);
  let left = range;
  for (let window = firstWindow; ; ) {
    const edge = await edgeOf(select, everything, left, window, ascending);
    const [within, rest] = splitAt(edge, left, ascending);
    try {
      for await (const rows of pagesOfStatement(select, make, within, ascending, pageSize)) {
        yield rows;
        left = remainder(rows, left, ascending);
      }
    } catch (error) {
      if (!(error instanceof TooManySteps) || window === 1) throw error;
      window = Math.ceil(window / 4);
      yield [];
      continue;
    }
    if (rest === undefined) return;
    left = rest;
    window = Math.min(2 * window, sortLimit);
  }
}

/** Splits a range at an id: the near part, and the rest; without an id all is near. */
function splitAt(edge: string | undefined, range: Range, ascending: boolean): [within: Range, rest: Range | undefined] {
  if (edge === undefined) return [range, undefined];
  const [lower, upper] = [
    { ...range, to: edge },
    { ...range, from: edge },
  ];
  return ascending ? [lower, upper] : [upper, lower];
}

async function* quickPages(
  select: Select,
  query: ListQuery,
  conditions: readonly Condition[],
  range: Range,
): AsyncIterable<Row[]> {
  const { ascending, expected = Number.POSITIVE_INFINITY } = query;
  const pages = (make: MakeStatement, within: Range, size: number) =>
    pagesOfStatement(select, make, within, ascending, size);

  if (conditions.length === 0) return yield* pages(readAll(ascending), range, expected);
  const indexed = conditions.filter(({ isTest }) => !isTest);
  const [only] = indexed;
  const alone = only && conditions.length === 1 && isOrdered(only);
  if (alone && !only.narrow) return yield* pages(read([only], ascending), range, expected);

  const smallest = await smallestOf(select, query, indexed, range);
  if (smallest) return yield* pages(read(startingWith(smallest, conditions), ascending), range, expected);

  // Each is large. In order they are merged, in a fifth of the time of looking up each entry.
  const unordered = indexed.find((condition) => !isOrdered(condition));
  const merges = only && !unordered && conditions.every(({ isTest, but }) => !isTest || but);
  if (merges) return yield* pages(merge(conditions, ascending), range, expected);
  yield* walk();

  /**
   * Walks an ordered index, since common matches are found soon. If they are not, reads and sorts the whole range of
   * the glob once, provided that this yields everything expected.
   */
  async function* walk(): AsyncIterable<Row[]> {
    const along = indexed.find(isOrdered) ?? everything;
    const make = read(startingWith(along, conditions), ascending);
    let left: Range = range;
    let found = 0;
    for (let window = sortLimit; ; window *= 2) {
      const edge = await edgeOf(select, along, left, window, ascending);
      const [within, rest] = splitAt(edge, left, ascending);
      for await (const rows of pages(make, within, expected)) {
        found += rows.length;
        yield rows;
      }
      if (rest === undefined) return;
      left = rest;
      if (unordered && expected <= pageSize) {
        return yield* pages(read(startingWith(unordered, conditions), ascending), left, Math.max(1, expected - found));
      }
    }
  }
}

export function startingWith(first: Condition, conditions: readonly Condition[]): Condition[] {
  return [first, ...conditions.filter((condition) => condition !== first && condition.narrow !== first)];
}

function readAll(ascending: boolean): MakeStatement {
  const sql = `SELECT ${storedColumns} FROM documents WHERE id >= ? AND id < ? ${inOrder(ascending)} LIMIT ?`;
  return ({ from, to }, limit) => ({ sql, values: [from, to, limit] });
}

/** Reads the index of the first condition and looks each entry up in the others. */
function read([first = everything, ...others]: readonly Condition[], ascending: boolean): MakeStatement {
  const asked = testOf(others, first.table);
  return (range, limit) => {
    const found = entriesOf(first, range, asked);
    // Names with dates or numbers grow with time. Read backwards, the newest come first and few of the rest need
    // sorting in. (LIMIT -1 means none, but without it SQLite would drop the order.)
    const backwards = `SELECT id FROM (${found.sql} ORDER BY entry.${first.by} DESC, entry.id DESC LIMIT -1)`;
    const ids = `${isOrdered(first) || ascending ? found.sql : backwards} ${inOrder(ascending)} LIMIT ?`;
    return { sql: recordsOf(ids, ascending), values: [...found.values, limit] };
  };
}

/** Intersects the indexes of all conditions, and leaves out those of tests, all of them in id order. */
function merge(conditions: readonly Condition[], ascending: boolean): MakeStatement {
  const tests = conditions.flatMap(({ but }) => (but ? [but] : []));
  const parts = [...conditions.filter(({ isTest }) => !isTest), ...tests];
  return (range, limit) => {
    const all = parts.map((condition) => entriesOf(condition, range));
    const join = (index: number) =>
      index === 0 ? "" : tests.includes(parts[index] as Condition) ? "EXCEPT" : "INTERSECT";
    const ids = `${all.map(({ sql }, index) => `${join(index)} ${sql}`).join(" ")} ${inOrder(ascending)} LIMIT ?`;
    return { sql: recordsOf(ids, ascending), values: [...all.flatMap(({ values }) => values), limit] };
  };
}

function recordsOf(ids: string, ascending: boolean): string {
  return `SELECT ${storedColumns} FROM documents WHERE id IN (${ids}) ${inOrder(ascending)}`;
}

/** @param asked SQL that each `entry` must also meet */
export function entriesOf(condition: Condition, range: Range, asked: BoundSql = { sql: "true", values: [] }): BoundSql {
  const { table, index, bounds, rest, values, each } = condition;
  if (each && each.length > 0) {
    const all = each.map((one) => entriesOf(one, range, asked));
    return { sql: all.map(({ sql }) => sql).join(" UNION ALL "), values: all.flatMap((one) => one.values) };
  }
  const where = `${bounds("entry")} AND ${rest("entry")} AND entry.id >= ? AND entry.id < ? AND ${asked.sql}`;
  return {
    sql: `SELECT entry.id FROM ${table} entry ${index} WHERE ${where}`,
    values: [...values, range.from, range.to, ...asked.values],
  };
}

function inOrder(ascending: boolean): string {
  return `ORDER BY id ${ascending ? "ASC" : "DESC"}`;
}

async function* pagesOfStatement(
  select: Select,
  make: MakeStatement,
  range: Range,
  ascending: boolean,
  expected: number,
): AsyncIterable<Row[]> {
  let { from, to } = range;
  for (let size = Math.min(expected, pageSize); from < to; size = Math.min(2 * size, pageSize)) {
    const { sql, values } = make({ from, to }, size);
    const rows = await select(sql, ...values);
    yield rows;
    if (rows.length < size) return;
    const last = String(rows.at(-1)?.[0]);
    if (ascending) from = `${last}~`;
    else to = last;
  }
}

/** The condition with the fewest index entries (a range of ids is one); undefined when none has few. */
export async function smallestOf(
  select: Select,
  query: ListQuery,
  conditions: readonly Condition[],
  { from, to }: Range,
): Promise<Condition | undefined> {
  const bounded = query.since !== undefined || query.until !== undefined || query.idPrefix !== undefined;
  const candidates = bounded ? [everything, ...conditions] : conditions;
  let smallest: Condition | undefined;
  let least = sortLimit;
  for (const condition of candidates.flatMap((one) => (one.narrow ? [one, one.narrow] : [one]))) {
    const { table, index, bounds, bounding, values } = condition;
    const ordered = isOrdered(condition);
    // Without id order, no entry can be skipped by its id.
    const within = ordered ? "AND entry.id >= ? AND entry.id < ?" : "";
    const [row] = await select(
      `SELECT count(*) FROM (SELECT 1 FROM ${table} entry ${index} WHERE ${bounds("entry")} ${within} LIMIT ?)`,
      ...values.slice(0, bounding),
      ...(ordered ? [from, to] : []),
      least,
    );
    if (Number(row?.[0] ?? 0) >= least) continue;
    least = Number(row?.[0] ?? 0);
    smallest = condition;
  }
  return smallest;
}

/** The id that ends the first `entries` of a range; undefined when there are no more. */
async function edgeOf(
  select: Select,
  along: Condition,
  range: Range,
  entries: number,
  ascending: boolean,
): Promise<string | undefined> {
  const { sql, values } = entriesOf(along, range);
  // The lower end of a range is part of it, the upper end is not.
  const skipped = ascending ? entries : entries - 1;
  const [row] = await select(`${sql} ${inOrder(ascending)} LIMIT 1 OFFSET ?`, ...values, skipped);
  return row && String(row[0]);
}

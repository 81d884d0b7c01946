/**
 * Turns a query into SQL conditions, and picks the index whose entries meet it.
 *
 * Tags, names, types, commits, runs and the first characters of names each have an index sorted by id. A glob with a
 * shorter literal beginning has only the range of names with that beginning, sorted by name, not by id.
 */
import { DocprocError } from "../../core/errors.ts";
import { type DocumentFilter, literalName, literalType, typeGlob } from "../../document/query.ts";

export type SqlValue = string | number;
/** A row is a list of its column values. */
export type Row = readonly unknown[];
export type Select = (sql: string, ...values: SqlValue[]) => Promise<Row[]>;

/** Aborts a statement that takes too many glob steps: it must be repeated for fewer documents. */
export class TooManySteps extends DocprocError {
  constructor() {
    super("UNAVAILABLE", "A glob takes too long for as many documents at a time.");
  }
}

export interface BoundSql {
  readonly sql: string;
  readonly values: readonly SqlValue[];
}

/** Characters of a name in documents_by_beginning; repeated in its expression. */
const beginning = 3;
/** Types to look up one by one. SQLite joins at most 500 queries. */
const maxTypes = 100;

/** One condition of a query, and the index that answers it. */
export interface Condition {
  readonly table: "documents" | "tags";
  /** The index to use; SQLite would choose by guessed sizes. */
  readonly index: string;
  /** SQL that bounds the part of the index to read. */
  readonly bounds: (row: string) => string;
  /** SQL that tests each entry in that part. */
  readonly rest: (row: string) => string;
  readonly values: readonly string[];
  /** How many of the values belong to the bounds. */
  readonly bounding: number;
  /** The order of the entries in that part. */
  readonly by: "id" | "name" | "content_type";
  /** Alternatives, when no part of one index has them all in order. */
  readonly each?: readonly Condition[];
  /** The same condition by another index, which reads less but is not in order. */
  readonly narrow?: Condition;
}

export const everything: Condition = {
  table: "documents",
  index: "",
  bounds: () => "true",
  rest: () => "true",
  values: [],
  bounding: 0,
  by: "id",
};

export const isOrdered = ({ by }: Condition) => by === "id";

export async function conditionsOf(
  select: Select,
  { tags = {}, name, type, commit, run }: DocumentFilter = {},
): Promise<Condition[]> {
  return [
    // The union of types comes first, since SQLite joins queries from left to right.
    ...(type === undefined ? [] : [await withType(select, type)]),
    // @photostructure/sqlite cuts text at NUL, so such tags are tested in JavaScript only.
    ...Object.entries(tags)
      .filter((tag) => !tag.some((text) => text.includes("\0")))
      .map(withTag),
    ...(name === undefined ? [] : [await withName(name)]),
    ...(commit === undefined ? [] : [madeBy("commit", "substr(%, 1, 7)", "$.git.commit", commit.slice(0, 7))]),
    ...(run === undefined ? [] : [madeBy("run", "%", "$.ci.run", run)]),
  ];
}

/** Expands a glob to the existing types, which are few: each is found after the previous one. */
async function withType(select: Select, type: string): Promise<Condition> {
  const literal = literalType({ type });
  if (literal !== undefined) return withText("content_type", literal);
  const rows = await select(
    `WITH RECURSIVE types(type) AS (
       SELECT min(content_type) FROM documents
       UNION ALL SELECT (SELECT min(content_type) FROM documents WHERE content_type > type) FROM types WHERE type >= ''
     )
     SELECT type FROM types WHERE type >= '' LIMIT ?`,
    maxTypes + 1,
  );
  const { globMatcher, globEnds } = await import("../../document/glob.ts");
  const glob = typeGlob(type);
  if (rows.length > maxTypes) return withGlob("content_type", glob, globEnds(glob));
  const matches = globMatcher(glob);
  const each = rows
    .map(([found]) => String(found))
    .filter((found) => matches(found))
    .map((found) => withText("content_type", found));
  const values = each.flatMap((one) => one.values);
  const bounds = (row: string) => `${row}.content_type IN (${values.map(() => "?").join(", ")})`;
  return { ...everything, index: indexedBy.content_type, bounds, values, bounding: values.length, each };
}

async function withName(glob: string): Promise<Condition> {
  const literal = literalName({ name: glob });
  if (literal !== undefined) return withText("name", literal);
  const { globEnds } = await import("../../document/glob.ts");
  const ends = globEnds(glob);
  const narrow = withGlob("name", glob, ends);
  const first = [...ends[0]].slice(0, beginning).join("");
  if ([...first].length < beginning) return narrow;
  const ordered: Condition = {
    ...narrow,
    index: "INDEXED BY documents_by_beginning",
    bounds: (row) => `substr(${row}.name, 1, ${beginning}) = ?`,
    values: [first, ...narrow.values.slice(narrow.bounding)],
    bounding: 1,
    by: "id",
  };
  return glob === `${first}*` ? ordered : { ...ordered, narrow };
}

/** @param of the index expression, `%` being the value at the path. SQLite uses an index only for identical text. */
function madeBy(index: "commit" | "run", of: string, path: string, value: string): Condition {
  const bounds = (row: string) => {
    const provenance = `iif(json_valid(${row}.provenance), ${row}.provenance, '{}') ->> '${path}'`;
    return `${of.replace("%", () => provenance)} = ? AND ${row}.provenance IS NOT NULL`;
  };
  return { ...everything, index: `INDEXED BY documents_by_${index}`, bounds, values: [value], bounding: 1 };
}

function withTag(tag: readonly [key: string, value: string]): Condition {
  const bounds = (row: string) => `${row}.key = ? AND ${row}.value = ?`;
  return { ...everything, table: "tags", bounds, values: tag, bounding: 2 };
}

const indexedBy = { name: "INDEXED BY documents_by_name", content_type: "INDEXED BY documents_by_type" } as const;

function withText(column: keyof typeof indexedBy, text: string): Condition {
  const bounds = (row: string) => `${row}.${column} = ?`;
  return { ...everything, index: indexedBy[column], bounds, values: [text], bounding: 1 };
}

/** @param ends the literal beginning and end of every match */
function withGlob(column: keyof typeof indexedBy, glob: string, ends: readonly [string, string]): Condition {
  const [prefix, suffix] = ends;
  // SQLite's own GLOB is fast and knows less than ours: it prefilters, and often decides alone.
  const quick = `${prefix}*${suffix}`;
  const known = glob === quick;
  return {
    ...everything,
    index: indexedBy[column],
    bounds: (row) => `${row}.${column} >= ? AND ${row}.${column} < ?`,
    rest: (row) => `${row}.${column} GLOB ?${known ? "" : ` AND matches(?, ${row}.${column})`}`,
    // Longer than any name, in the last character there is.
    values: [prefix, prefix + "\u{10ffff}".repeat(129), quick, ...(known ? [] : [glob])],
    bounding: 2,
    by: column,
  };
}

/** SQL that tests whether an `entry` of a table meets all conditions. */
export function testOf(conditions: readonly Condition[], entries: Condition["table"]): BoundSql {
  const tests = conditions.map(({ table, bounds, rest }) =>
    table === "documents" && entries === "documents"
      ? `${bounds("entry")} AND ${rest("entry")}`
      : `EXISTS (SELECT 1 FROM ${table} other WHERE ${bounds("other")} AND ${rest("other")} AND other.id = entry.id)`,
  );
  return { sql: tests.join(" AND ") || "true", values: conditions.flatMap(({ values }) => values) };
}

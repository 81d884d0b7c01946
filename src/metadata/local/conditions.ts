/**
 * Turns a query into SQL conditions, and picks the index whose entries meet it.
 *
 * Tags, names, paths, types, branches, commits, runs and the first characters of names each have an index sorted by id.
 * A glob with a shorter literal beginning, a folder, a tag of any value and the beginning of a hash have only a range of
 * an index in another order, and a part of a path only a whole index. What a document must not have is in none.
 */
import { DocprocError } from "../../core/errors.ts";
import {
  type DocumentFilter,
  literalName,
  literalPath,
  literalType,
  type TagTest,
  typeGlob,
} from "../../document/query.ts";
import { whatOf } from "../../document/what.ts";

export type SqlValue = string | number | null;
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
/** Values of a tag's key to look up one by one. */
const maxValues = 20;

/** One condition of a query, and the index that answers it. */
export interface Condition extends Entries {
  /** The index to use; SQLite would choose by guessed sizes. */
  readonly index: string;
  /** How many of the values belong to the bounds. */
  readonly bounding: number;
  /** The order of the entries in that part. */
  readonly by: "id" | "name" | "path" | "content_type" | "sha256" | "value";
  /** Alternatives, when no part of one index has them all in order. */
  readonly each?: readonly Condition[];
  /** The same condition by another index, which reads less but is not in order. */
  readonly narrow?: Condition;
  /** The same condition for a single document, when the index cannot be asked for one. */
  readonly single?: Entries;
  /** True when no index has it: entries of other indexes are tested. */
  readonly isTest?: boolean;
  /** For a test: the entries that do not meet it. */
  readonly but?: Condition;
}

/** Entries of an index. */
interface Entries {
  readonly table: "documents" | "tags";
  /** SQL that bounds the part of the index to read. */
  readonly bounds: (row: string) => string;
  /** SQL that tests each entry in that part. */
  readonly rest: (row: string) => string;
  readonly values: readonly string[];
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

export async function conditionsOf(select: Select, filter: DocumentFilter = {}): Promise<Condition[]> {
  const { tags = {}, tagKeys = [], notTags = [], path, under, name, what, type, sha256, branch, commit, run } = filter;
  // @photostructure/sqlite cuts text at NUL, so such tags are tested in JavaScript only.
  const isWhole = (...texts: (string | undefined)[]) => !texts.some((text) => text?.includes("\0"));
  return [
    // The union of types comes first, since SQLite joins queries from left to right.
    ...(type === undefined ? [] : [await withType(select, type)]),
    ...Object.entries(tags)
      .filter((tag) => isWhole(...tag))
      .map(withTag),
    ...(await Promise.all(tagKeys.filter((key) => isWhole(key)).map((key) => withKey(select, key)))),
    ...(path === undefined ? [] : [await withPath(path)]),
    ...(under === undefined ? [] : [withFolder(under)]),
    ...(name === undefined ? [] : [await withName(name)]),
    ...(what === undefined ? [] : [await withWhat(what)]),
    ...(sha256 === undefined ? [] : [withHash(sha256)]),
    ...(branch === undefined ? [] : [madeBy("branch", "%", "$.git.branch", branch)]),
    ...(commit === undefined ? [] : [madeBy("commit", "substr(%, 1, 7)", "$.git.commit", commit.slice(0, 7))]),
    ...(run === undefined ? [] : [madeBy("run", "%", "$.ci.run", run)]),
    ...(
      await Promise.all(notTags.filter(({ key, value }) => isWhole(key, value)).map((tag) => without(select, tag)))
    ).flat(),
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
function madeBy(index: "branch" | "commit" | "run", of: string, path: string, value: string): Condition {
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

/** The index has the values of a key behind one another, and the documents of each behind that. */
async function withKey(select: Select, key: string): Promise<Condition> {
  const each = (await valuesOfKey(select, key))?.map((value) => withTag([key, value]));
  if (each === undefined) {
    const bounds = (row: string) => `${row}.key = ?`;
    return { ...everything, table: "tags", bounds, values: [key], bounding: 1, by: "value", single: hasKey(key, true) };
  }
  const bounds = (row: string) => `${row}.key = ? AND ${row}.value IN (${each.map(() => "?").join(", ")})`;
  const values = [key, ...each.map((one) => one.values[1] ?? "")];
  return { ...everything, table: "tags", bounds, values, bounding: values.length, each };
}

/** The values of a key that documents have; undefined when they are many, or cannot be asked for. Each is found after the previous one. */
async function valuesOfKey(select: Select, key: string): Promise<string[] | undefined> {
  const rows = await select(
    `WITH RECURSIVE found(value) AS (
       SELECT min(value) FROM tags WHERE key = ?1
       UNION ALL SELECT (SELECT min(value) FROM tags WHERE key = ?1 AND value > found.value) FROM found WHERE value >= ''
     )
     SELECT value, instr(CAST(value AS BLOB), x'00') FROM found WHERE value >= '' LIMIT ${maxValues + 1}`,
    key,
  );
  // See conditionsOf() for NUL.
  const isListed = rows.length <= maxValues && rows.every(([, nul]) => Number(nul) === 0);
  return isListed ? rows.map(([value]) => String(value)) : undefined;
}

/** Tests the tags of one document, which the index of tags cannot find without a value. */
function hasKey(key: string, wanted: boolean): Entries {
  const rest = (row: string) =>
    `${wanted ? "" : "NOT "}EXISTS (
       SELECT 1 FROM json_each(iif(json_valid(${row}.tags), ${row}.tags, '{}')) tag WHERE tag.key = ?)`;
  return { table: "documents", bounds: () => "true", rest, values: [key] };
}

/** A key with few values is left out value by value, since the documents of each are in order. */
async function without(select: Select, { key, value }: TagTest): Promise<Condition[]> {
  const values = value === undefined ? await valuesOfKey(select, key) : [value];
  if (values === undefined) return [{ ...everything, ...hasKey(key, false), isTest: true }];
  return values.map((one): Condition => {
    const but = withTag([key, one]);
    const rest = (row: string) =>
      `NOT EXISTS (SELECT 1 FROM tags unwanted WHERE ${but.bounds("unwanted")} AND unwanted.id = ${row}.id)`;
    return { ...everything, rest, values: but.values, isTest: true, but };
  });
}

const indexedBy = {
  name: "INDEXED BY documents_by_name",
  path: "INDEXED BY documents_by_path",
  content_type: "INDEXED BY documents_by_type",
} as const;

async function withPath(glob: string): Promise<Condition> {
  const literal = literalPath({ path: glob });
  if (literal !== undefined) return withText("path", literal);
  const { globEnds } = await import("../../document/glob.ts");
  return withGlob("path", glob, globEnds(glob));
}

/** `0` is the character behind the slash. */
function withFolder(folder: string): Condition {
  const bounds = (row: string) => `${row}.path >= ? AND ${row}.path < ?`;
  return {
    ...everything,
    index: indexedBy.path,
    bounds,
    values: [`${folder}/`, `${folder}0`],
    bounding: 2,
    by: "path",
  };
}

function withHash(digits: string): Condition {
  const bounds = (row: string) => `${row}.sha256 >= ? AND ${row}.sha256 < ?`;
  const index = "INDEXED BY documents_by_sha256";
  return { ...everything, index, bounds, values: [digits, `${digits}~`], bounding: 2, by: "sha256" };
}

async function withWhat(given: string): Promise<Condition> {
  const { kind, text, folds } = whatOf(given);
  const column = kind === "name" ? "name" : "path";
  const scan = (rest: Condition["rest"], ...values: string[]): Condition => {
    return { ...everything, index: indexedBy[column], rest, values, by: column };
  };
  if (kind === "part")
    return folds ? scan(...like(column, "", text, "")) : scan((row) => `instr(${row}.path, ?) > 0`, text);
  if (kind === "folder") return folds ? scan(...like(column, `${text}/`, "")) : withFolder(text);
  if (!folds) return kind === "name" ? await withName(text) : await withPath(text);
  const { globEnds } = await import("../../document/glob.ts");
  const [quick, pattern] = like(column, ...globEnds(text));
  return scan((row) => `${quick(row)} AND matches_folded(?, ${row}.${column})`, pattern, text);
}

/**
 * SQL for text of which the folded form has all these parts, and perhaps for more: SQLite folds ASCII letters only, and
 * of the others İ alone becomes one (an i, and a dot above it).
 */
function like(column: "name" | "path", ...parts: readonly string[]): [rest: Condition["rest"], pattern: string] {
  const pattern = parts.map((part) => part.replace(/[%_\\]/g, "\\$&").replace(/[^\0-\x7f]/gu, "_")).join("%");
  const dotted = /i|\u0307/.test(parts.join("")) ? ` OR instr(%, 'İ')` : "";
  return [(row) => `(% LIKE ? ESCAPE '\\'${dotted})`.replaceAll("%", `${row}.${column}`), pattern];
}

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
    // Longer than any name (1,024 bytes), in the last character there is (4 bytes).
    values: [prefix, prefix + "\u{10ffff}".repeat(257), quick, ...(known ? [] : [glob])],
    bounding: 2,
    by: column,
  };
}

/** SQL that tests whether an `entry` of a table meets all conditions. */
export function testOf(conditions: readonly Condition[], entries: Condition["table"]): BoundSql {
  const all = conditions.map((condition): Entries => condition.single ?? condition);
  const tests = all.map(({ table, bounds, rest }) =>
    table === "documents" && entries === "documents"
      ? `${bounds("entry")} AND ${rest("entry")}`
      : `EXISTS (SELECT 1 FROM ${table} other WHERE ${bounds("other")} AND ${rest("other")} AND other.id = entry.id)`,
  );
  return { sql: tests.join(" AND ") || "true", values: all.flatMap(({ values }) => values) };
}

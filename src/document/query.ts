/** The filters of a listing, with one meaning for both catalogs. */
import { DocprocError } from "../core/errors.ts";
import { isDocumentPath, typedPath } from "./path.ts";
import { type DocumentRecord, firstIdAt, type TextMap } from "./record.ts";
import { dateOf, durationOf } from "./time.ts";
import { whatMatcher, whatOf } from "./what.ts";

export interface ListQuery {
  /** Oldest first; otherwise newest first. */
  readonly ascending: boolean;
  /** Continue after this id. */
  readonly after?: string | undefined;
  /** Uploaded at or after, in milliseconds. */
  readonly since?: number | undefined;
  /** Uploaded before, in milliseconds. */
  readonly until?: number | undefined;
  /** Ids with this prefix. */
  readonly idPrefix?: string | undefined;
  readonly filter?: DocumentFilter | undefined;
  /** Undefined: by id, which is by time. Ties are ordered by id. */
  readonly sort?: "size" | "path" | undefined;
  /** How many records the caller expects to take: a hint for page sizes, not a limit. Undefined: all. */
  readonly expected?: number | undefined;
}

/** A query of a library, which answers more than its catalog does. */
export interface Selection extends ListQuery {
  /** Of the matching documents only the newest of each path. */
  readonly latest?: boolean | undefined;
}

/** Texts are compared in NFC. */
export interface DocumentFilter {
  /** All of these tags, with these values. */
  readonly tags?: TextMap | undefined;
  /** Tags with all of these keys, whatever their values. */
  readonly tagKeys?: readonly string[] | undefined;
  /** None of these. */
  readonly notTags?: readonly TagTest[] | undefined;
  /** A glob for the path. */
  readonly path?: string | undefined;
  /** A folder, at any depth of which the document is: see {@link folderFilter}. */
  readonly under?: string | undefined;
  /** A glob for the name. */
  readonly name?: string | undefined;
  /** A few letters, a folder or a glob, as typed: see what.ts. */
  readonly what?: string | undefined;
  /** A glob for the content type; `image` means `image/*`. */
  readonly type?: string | undefined;
  /** Prefix of the SHA-256, at least 7 hexadecimal digits. */
  readonly sha256?: string | undefined;
  /** The git branch. */
  readonly branch?: string | undefined;
  /** Prefix of the git commit, at least 7 hexadecimal digits. */
  readonly commit?: string | undefined;
  /** The CI run. */
  readonly run?: string | undefined;
}

export interface TagTest {
  readonly key: string;
  /** Undefined: any value. */
  readonly value?: string | undefined;
}

/** Ids from `from` (included) to `to` (excluded); undefined is open. Ids sort by their bytes. */
export interface IdRange {
  readonly from: string | undefined;
  readonly to: string | undefined;
}

/** The ids that a query can return. Ids contain the time, so a time range is an id range. */
export function idRange(query: ListQuery): IdRange {
  const { after, idPrefix } = query;
  // "~" sorts after every character of an id.
  const lower = [
    query.since === undefined ? undefined : firstIdAt(query.since),
    idPrefix,
    query.ascending && after !== undefined ? `${after}~` : undefined,
  ].filter((bound) => bound !== undefined);
  const upper = [
    query.until === undefined ? undefined : firstIdAt(query.until),
    idPrefix === undefined ? undefined : `${idPrefix}~`,
    query.ascending ? undefined : after,
  ].filter((bound) => bound !== undefined);
  return { from: lower.sort().at(-1), to: upper.sort().at(0) };
}

/** A test for one record. */
export async function matcher(filter: DocumentFilter = {}): Promise<(record: DocumentRecord) => boolean> {
  const tests: ((record: DocumentRecord) => boolean)[] = [];
  const { path, under, name, what, type, sha256, branch, commit, run, tags = {}, tagKeys = [], notTags = [] } = filter;
  if (commit !== undefined) tests.push(({ provenance }) => provenance?.git?.commit?.startsWith(commit) ?? false);
  if (branch !== undefined) tests.push(({ provenance }) => provenance?.git?.branch === branch);
  if (run !== undefined) tests.push(({ provenance }) => provenance?.ci?.run === run);
  if (sha256 !== undefined) tests.push((record) => record.sha256.startsWith(sha256));
  for (const [key, value] of Object.entries(tags)) tests.push((record) => hasTag(record, { key, value }));
  for (const key of tagKeys) tests.push((record) => hasTag(record, { key }));
  for (const tag of notTags) tests.push((record) => !hasTag(record, tag));
  if (under !== undefined) tests.push((record) => record.path.startsWith(`${under}/`));
  if (path !== undefined) tests.push(of("path", await globOf(path)));
  if (name !== undefined) tests.push(of("name", await globOf(name)));
  if (what !== undefined) tests.push(of("path", await whatMatcher(whatOf(what))));
  if (type !== undefined) tests.push(of("contentType", await globOf(typeGlob(type))));
  return (record) => tests.every((matches) => matches(record));
}

function of(field: "path" | "name" | "contentType", matches: (text: string) => boolean) {
  return (record: DocumentRecord) => matches(record[field]);
}

function hasTag({ tags }: DocumentRecord, { key, value }: TagTest): boolean {
  return Object.hasOwn(tags, key) && (value === undefined || tags[key] === value);
}

/** Globs load on use: most listings have none. */
async function globOf(glob: string): Promise<(text: string) => boolean> {
  const { globMatcher } = await import("./glob.ts");
  return globMatcher(glob);
}

/** The only name that a filter matches; undefined when it may match several. Names are stored in NFC. */
export function literalName({ name }: DocumentFilter = {}): string | undefined {
  const literal = name?.normalize("NFC");
  return literal !== undefined && !/[*?[{\\/]/.test(literal) && isDocumentPath(literal) ? literal : undefined;
}

/** The only path that a filter matches; see {@link literalName}. */
export function literalPath({ path }: DocumentFilter = {}): string | undefined {
  const literal = path === undefined ? undefined : typedPath(path);
  return literal !== undefined && !/[*?[{\\]/.test(literal) && isDocumentPath(literal) ? literal : undefined;
}

/** The only content type that a filter matches; see {@link literalName}. */
export function literalType({ type }: DocumentFilter = {}): string | undefined {
  return type !== undefined && /^[\w.+-]+\/[\w.+-]+$/.test(type) ? type : undefined;
}

/** The glob that {@link DocumentFilter.type} stands for. */
export function typeGlob(type: string): string {
  // An empty glob is refused later: with an unset variable it would silently match nothing.
  return type === "" || type.includes("/") ? type : `${type}/*`;
}

/**
 * @param given the hash of a commit, or a prefix of it
 * @throws USAGE
 */
export function commitPrefix(given: string): string {
  return hashPrefix(given, "a git commit");
}

/**
 * @param given the SHA-256 of a document, or a prefix of it
 * @throws USAGE
 */
export function sha256Prefix(given: string): string {
  return hashPrefix(given, "a SHA-256");
}

function hashPrefix(given: string, what: string): string {
  const hash = given.toLowerCase();
  if (/^[0-9a-f]{7,64}$/.test(hash)) return hash;
  throw new DocprocError("USAGE", `${JSON.stringify(given)} is not ${what}.`, {
    hint: "Use at least 7 of its hexadecimal digits.",
  });
}

/**
 * @param flag for the message
 * @param given the path of a folder; a `./` before it and slashes behind it say nothing
 * @throws USAGE for what can be no folder: an empty one would match everything
 */
export function folderFilter(flag: string, given: string): string {
  const folder = typedPath(given).replace(/\/+$/, "");
  if (isDocumentPath(folder)) return folder;
  throw new DocprocError("USAGE", `${flag} ${JSON.stringify(given)} is not a folder of a library.`, {
    hint: `For example: ${flag} reports/2026`,
  });
}

/**
 * `time` is newest first and `size` largest first, unless `ascending`; paths always ascend.
 * @param flag for the message
 * @throws USAGE
 */
export function listOrder(flag: string, sort: string, ascending: boolean): Pick<ListQuery, "sort" | "ascending"> {
  if (sort === "time") return { sort: undefined, ascending };
  if (sort === "size") return { sort, ascending };
  if (sort === "path") return { sort, ascending: true };
  throw new DocprocError("USAGE", `${flag} ${JSON.stringify(sort)} is not a sort order.`, {
    hint: "Use time, size or path.",
  });
}

/**
 * Parses an age like `7d`, or a date. Dates without a zone are UTC, like all output.
 * @param flag for the message
 * @returns milliseconds since the epoch
 * @throws USAGE
 */
export function parseTime(flag: string, text: string, now: number): number {
  const age = durationOf(text);
  const time = age === undefined ? dateOf(text) : Math.floor(now - age);
  if (time !== undefined) return time;
  throw new DocprocError("USAGE", `${flag} ${JSON.stringify(text)} is not a time.`, {
    hint: "Use an age such as 7d or 24h, or a date such as 2026-01-31 or 2026-01-31T12:00:00Z.",
  });
}

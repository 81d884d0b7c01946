/** The filters of a listing, with one meaning for both catalogs. */
import ms from "ms";
import { DocprocError } from "../core/errors.ts";
import { type DocumentRecord, firstIdAt, isDocumentName, type TextMap } from "./record.ts";

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
  readonly sort?: "size" | "name" | undefined;
  /** How many records the caller expects to take: a hint for page sizes, not a limit. Undefined: all. */
  readonly expected?: number | undefined;
}

export interface DocumentFilter {
  /** All of these tags, with these values. */
  readonly tags?: TextMap | undefined;
  /** A glob for the name. */
  readonly name?: string | undefined;
  /** A glob for the content type; `image` means `image/*`. */
  readonly type?: string | undefined;
  /** Prefix of the git commit, at least 7 hexadecimal digits. */
  readonly commit?: string | undefined;
  /** The CI run. */
  readonly run?: string | undefined;
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
  const tags = Object.entries(filter.tags ?? {});
  const name = filter.name === undefined ? undefined : await globOf(filter.name);
  const type = filter.type === undefined ? undefined : await globOf(typeGlob(filter.type));
  const { commit, run } = filter;
  return (record) =>
    (commit === undefined || (record.provenance?.git?.commit ?? "").startsWith(commit)) &&
    (run === undefined || record.provenance?.ci?.run === run) &&
    tags.every(([key, value]) => Object.hasOwn(record.tags, key) && record.tags[key] === value) &&
    (name?.(record.name) ?? true) &&
    (type?.(record.contentType) ?? true);
}

/** Globs load on use: most listings have none. */
async function globOf(glob: string): Promise<(text: string) => boolean> {
  const { globMatcher } = await import("./glob.ts");
  return globMatcher(glob);
}

/** The only name that a filter matches; undefined when it may match several. Names are stored in NFC. */
export function literalName({ name }: DocumentFilter = {}): string | undefined {
  return name !== undefined && !/[*?[{\\]/.test(name) && isDocumentName(name) ? name.normalize("NFC") : undefined;
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
  const commit = given.toLowerCase();
  if (/^[0-9a-f]{7,64}$/.test(commit)) return commit;
  throw new DocprocError("USAGE", `${JSON.stringify(given)} is not a git commit.`, {
    hint: "Use at least 7 of its hexadecimal digits.",
  });
}

/**
 * `time` is newest first and `size` largest first, unless `ascending`; names always ascend.
 * @param flag for the message
 * @throws USAGE
 */
export function listOrder(flag: string, sort: string, ascending: boolean): Pick<ListQuery, "sort" | "ascending"> {
  if (sort === "time") return { sort: undefined, ascending };
  if (sort === "size") return { sort, ascending };
  if (sort === "name") return { sort, ascending: true };
  throw new DocprocError("USAGE", `${flag} ${JSON.stringify(sort)} is not a sort order.`, {
    hint: "Use time, size or name.",
  });
}

/**
 * Parses an age like `7d`, or a date. Dates without a zone are UTC, like all output.
 * @param flag for the message
 * @returns milliseconds since the epoch
 * @throws USAGE
 */
export function parseTime(flag: string, text: string, now: number): number {
  if (/^\d+(\.\d+)?\s*[a-z]+$/i.test(text)) {
    const duration = ms(text as ms.StringValue);
    if (duration !== undefined) return Math.floor(now - duration);
  }
  if (/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?)?$/.test(text)) {
    const day = text.slice(0, 10);
    const zoned = /T/.test(text) && !/(Z|[+-]\d{2}:\d{2})$/.test(text) ? `${text}Z` : text;
    const time = Date.parse(zoned);
    // Date.parse would turn February 30th into a day in March.
    const exists = !Number.isNaN(time) && new Date(`${day}T00:00:00Z`).toISOString().startsWith(day);
    if (exists) return time;
  }
  throw new DocprocError("USAGE", `${flag} ${JSON.stringify(text)} is not a time.`, {
    hint: "Use an age such as 7d or 24h, or a date such as 2026-01-31 or 2026-01-31T12:00:00Z.",
  });
}

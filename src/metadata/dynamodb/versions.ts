/**
 * The versions of a path as the text of an item: entries of equal width, in the order of their ids. Pure functions.
 *
 * An entry is what tells a version from the others without reading it: the 32 digits of its id, the first 12 of the hash
 * of the tags given, and the first 8 of its SHA-256. The last two only exclude: where they match, the record is read
 * and compared in full.
 */
import { hashOfTags } from "../../document/identity.ts";
import { isDocumentId, type TextMap } from "../../document/record.ts";

/** Entries in a head, which then is less than the kilobyte of one write unit with any path of up to 150 bytes. */
export const maxInHead = 16;
/** How many of the oldest move to a page when another does not fit. */
export const movedAtOnce = 8;

const [idDigits, seriesDigits, bytesDigits] = [32, 12, 8];
const width = idDigits + seriesDigits + bytesDigits;

export interface Version {
  readonly id: string;
  /** Begins the hash of the tags given. */
  readonly series: string;
  /** Begins the SHA-256. */
  readonly bytes: string;
}

/** The versions of a path, by id. */
export type Versions = readonly Version[];

export function versionOf(id: string, given: TextMap, sha256: string): Version {
  return { id, series: seriesOf(given), bytes: bytesOf(sha256) };
}

/** What {@link Version.series} is for these tags. */
export function seriesOf(given: TextMap): string {
  return hashOfTags(given).slice(0, seriesDigits);
}

/** What {@link Version.bytes} is for these bytes. */
export function bytesOf(sha256: string): string {
  return sha256.slice(0, bytesDigits);
}

export function toText(versions: Versions): string {
  return versions.map(({ id, series, bytes }) => id.replaceAll("-", "") + series + bytes).join("");
}

/** Parses what {@link toText} made; undefined for anything else, since users may paste an id into a command. */
export function fromText(text: string): Versions | undefined {
  if (text.length % width !== 0 || !/^[0-9a-f]*$/.test(text)) return undefined;
  const versions = Array.from({ length: text.length / width }, (_, index) => {
    const entry = text.slice(index * width, (index + 1) * width);
    const id = entry.slice(0, idDigits).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
    return { id, series: entry.slice(idDigits, -bytesDigits), bytes: entry.slice(-bytesDigits) };
  });
  const inOrder = versions.every(({ id }, index) => isDocumentId(id) && (versions[index - 1]?.id ?? "") < id);
  return inOrder ? versions : undefined;
}

/** All of these in one order. An id that is in several lists comes once. */
export function merged(...lists: readonly Versions[]): Versions {
  const byId = new Map(lists.flat().map((version) => [version.id, version]));
  return [...byId.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
}

export function without(versions: Versions, id: string): Versions {
  return versions.filter((version) => version.id !== id);
}

export function has(versions: Versions, id: string): boolean {
  return versions.some((version) => version.id === id);
}

/** The versions of a series, newest first. */
export function ofSeries(versions: Versions, series: string): Version[] {
  return versions.filter((version) => version.series === series).reverse();
}

/** What a head and its pages become. */
export interface Insertion {
  readonly head: Versions;
  /** A page to add; undefined: none. */
  readonly page: Versions | undefined;
}

/**
 * Adds a version. Every id in the pages stays smaller than every id in the head.
 * @param oldest an older id belongs into a page; undefined when there are no pages
 */
export function inserted(head: Versions, version: Version, oldest: string | undefined): Insertion {
  if (oldest !== undefined && version.id < oldest) return { head, page: [version] };
  const all = merged(head, [version]);
  if (all.length <= maxInHead) return { head: all, page: undefined };
  return { head: all.slice(movedAtOnce), page: all.slice(0, movedAtOnce) };
}

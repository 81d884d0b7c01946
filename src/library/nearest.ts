/** What a reference without a match may have meant: a folder, or other paths. */
import { nearestTo } from "../core/suggestion.ts";
import { folderOfPath, isDocumentPath, nameOfPath, typedPath } from "../document/path.ts";
import type { MetadataService } from "../metadata/service.ts";

/** Records that are read for a suggestion: the newest ones. */
const maxRead = { free: 10_000, charged: 200 };
const maxSuggested = 3;

export interface Near {
  /** The reference, if it is a folder of the library: without a slash at its end. */
  readonly folder?: string;
  /** Paths with the same name in other folders or in other letters, else the most similar path; may be empty. */
  readonly paths: readonly string[];
}

/** Where reads are charged, a folder is noticed only if one of the newest documents is in it. */
export async function whatIsNear(metadata: MetadataService, reference: string, signal: AbortSignal): Promise<Near> {
  const folder = typedPath(reference).replace(/\/+$/, "");
  if (metadata.traits.readsFree && isDocumentPath(folder)) {
    const query = { ascending: false, filter: { under: folder }, expected: 1 };
    for await (const _ of metadata.list(query, signal)) return { folder, paths: [] };
  }
  const expected = metadata.traits.readsFree ? maxRead.free : maxRead.charged;
  const paths = new Set<string>();
  let read = 0;
  for await (const { record } of metadata.list({ ascending: false, expected }, signal)) {
    paths.add(record.path);
    read += 1;
    if (read === expected) break;
  }
  if ([...paths].some((path) => path.startsWith(`${folder}/`))) return { folder, paths: [] };
  const wanted = reference.normalize("NFC").toLowerCase();
  const same = [...paths].filter((path) => {
    const lower = path.toLowerCase();
    return lower === wanted || nameOfPath(lower) === wanted || lower.endsWith(`/${wanted}`);
  });
  if (same.length > 0) return { paths: same.slice(0, maxSuggested) };
  // Of so few letters, most words are similar to most others.
  if (reference.length < shortest) return { paths: [] };
  const folderOf = folderOfPath(reference);
  const nearestName = (among: readonly string[]) => {
    const byName = new Map(among.map((path) => [nameOfPath(path), path]));
    return byName.get(nearestTo(nameOfPath(reference), [...byName.keys()], 1 / 4) ?? "");
  };
  const nearest =
    nearestName([...paths].filter((path) => folderOfPath(path) === folderOf)) ??
    nearestTo(reference, [...paths], 1 / 4) ??
    // A name alone may be that of a document in any folder.
    (folderOf === "" ? nearestName([...paths]) : undefined);
  return { paths: nearest === undefined ? [] : [nearest] };
}

/** Characters of a reference that may be misspelt. */
const shortest = 4;

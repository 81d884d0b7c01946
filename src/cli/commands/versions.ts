/** What a command says of the other versions of a document's path. */
import { counted } from "../../core/not-empty.ts";
import type { DocumentRecord } from "../../document/record.ts";
import type { DocumentLibrary } from "../../library/library.ts";

/** Versions are counted up to here: a path can have any number of them. */
const maxCounted = 1000;

/**
 * How many documents the path of these has besides them, in words; undefined when there are none.
 * @param records of one path
 */
export async function otherVersions(
  library: DocumentLibrary,
  [first, ...more]: readonly DocumentRecord[],
  signal: AbortSignal,
): Promise<string | undefined> {
  if (first === undefined) return undefined;
  const own = new Set([first, ...more].map(({ id }) => id));
  let count = 0;
  for await (const id of library.versions(first.path, signal)) {
    if (!own.has(id)) count += 1;
    if (count > maxCounted) return `more than ${maxCounted} other versions`;
  }
  return count === 0 ? undefined : counted(count, "other version");
}

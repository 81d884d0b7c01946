/** Of several documents of one path, or of another key, only the newest. The number of keys is not bounded by memory. */
import type { Selection } from "../document/query.ts";
import { TextSet } from "../files/text-set.ts";
import type { Entry, MetadataService } from "../metadata/service.ts";

/**
 * @param newestFirst of any number of keys
 * @param keyOf of documents of which only the newest is wanted
 * @param onOlder gets the others, after the newest of their key
 */
export async function* newestOfEach<T>(
  newestFirst: AsyncIterable<T>,
  keyOf: (one: T) => string,
  onOlder: (older: T) => void = () => {},
): AsyncIterable<T> {
  const keys = new TextSet();
  try {
    for await (const one of newestFirst) {
      if (await keys.add(keyOf(one))) yield one;
      else onOlder(one);
    }
  } finally {
    keys.close();
  }
}

/**
 * Lists the newest matching entry of each path, in the order of the query. Any other order than the newest first needs
 * two passes: which is the newest is known only at the end of the first.
 */
export async function* listNewest(
  metadata: MetadataService,
  query: Selection,
  signal: AbortSignal,
): AsyncIterable<Entry> {
  const { ascending, sort, after } = query;
  const inOneGo = sort === undefined && !ascending;
  // From the beginning: the newest of a path may have been on an earlier page.
  const all = { ...query, ascending: false, sort: undefined, after: undefined };
  const entries = metadata.list(inOneGo ? all : { ...all, expected: undefined }, signal);
  const newest = newestOfEach(entries, ({ record }) => record.path);
  if (inOneGo) {
    for await (const entry of newest) if (after === undefined || entry.record.id < after) yield entry;
    return;
  }
  const ids = new TextSet();
  try {
    for await (const entry of newest) await ids.add(entry.record.id);
    for await (const entry of metadata.list(query, signal)) if (ids.has(entry.record.id)) yield entry;
  } finally {
    ids.close();
  }
}

/** The item of a document. */
import { type Entry, fromStored, toStored } from "../../document/stored-form.ts";
import type { Item } from "./reads.ts";

/**
 * Partition keys that documents are spread over: one partition takes 1,000 write units a second, and ids that grow with
 * time would all go to the same one. Never change it: documents would be looked up in the wrong partition.
 * https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
 */
export const shards = 8;

export function documentKey(id: string): Item {
  return { pk: { S: `doc#${Number.parseInt(id.slice(-1), 16) % shards}` }, sk: { S: id } };
}

/** `given` and `unproved` are there only where they say something, since most documents have neither. */
export function toItem(entry: Entry): Item {
  const { id, size, proved, ...texts } = toStored(entry);
  const attributes = Object.entries(texts).flatMap(([name, text]) => (text === null ? [] : [[name, { S: text }]]));
  return {
    ...documentKey(id),
    size: { N: String(size) },
    ...(proved === 1 ? {} : { unproved: { N: "1" } }),
    ...Object.fromEntries(attributes),
  };
}

/** Whether an older docproc wrote an item: documents had a name but no path, so it cannot be read as it is now. */
export function isOfOlderLayout(item: Item): boolean {
  return item["path"] === undefined && item["name"] !== undefined;
}

/** @throws INTEGRITY for a damaged item */
export function toEntry(item: Item): Entry {
  const text = (name: string) => item[name]?.S;
  return fromStored({
    id: text("sk"),
    path: text("path"),
    size: Number(item["size"]?.N),
    contentType: text("contentType"),
    sha256: text("sha256"),
    uri: text("uri"),
    tags: text("tags"),
    metadata: text("metadata"),
    source: text("source"),
    provenance: text("provenance"),
    crc32: text("crc32"),
    expiresAt: text("expiresAt"),
    given: text("given"),
    proved: item["unproved"] === undefined ? 1 : 0,
  });
}

/** Counts documents and bytes: in total, by type, by tag, by day. */
import type { DocumentRecord } from "../document/record.ts";

export interface Total {
  count: number;
  /** Document sizes; equal bytes of several documents count several times. */
  bytes: number;
}

export interface Group extends Total {
  readonly key: string;
}

export interface Stats extends Total {
  /** Content types, by bytes, largest first. */
  readonly types: readonly Group[];
  /** `key=value`, by bytes, largest first. A document counts for each of its tags. */
  readonly tags: readonly Group[];
  /** Dates in UTC, oldest first, only those with uploads. */
  readonly days: readonly Group[];
  /** Tags beyond the limit: a catalog may have as many as documents. */
  readonly tagsLeftOut: number;
}

/** Distinct tags to count, first come first served: a tag per build must not fill the memory. */
const maxTags = 10_000;

export async function collectStats(records: AsyncIterable<DocumentRecord>): Promise<Stats> {
  const all: Total = { count: 0, bytes: 0 };
  const [types, tags, days] = [new Totals(), new Totals(maxTags), new Totals()];
  for await (const { size, contentType, tags: own, uploadedAt } of records) {
    all.count += 1;
    all.bytes += size;
    types.add(contentType, size);
    days.add(uploadedAt.slice(0, 10), size);
    for (const [key, value] of Object.entries(own)) tags.add(`${key}=${value}`, size);
  }
  const byBytes = (a: Group, b: Group) => b.bytes - a.bytes || b.count - a.count || (a.key < b.key ? -1 : 1);
  return {
    ...all,
    types: types.groups().sort(byBytes),
    tags: tags.groups().sort(byBytes),
    days: days.groups().sort((a, b) => (a.key < b.key ? -1 : 1)),
    tagsLeftOut: tags.leftOut,
  };
}

class Totals {
  readonly #totals = new Map<string, Total>();
  readonly #most: number;
  /** Additions that found no room. */
  leftOut = 0;

  constructor(most = Number.POSITIVE_INFINITY) {
    this.#most = most;
  }

  add(key: string, bytes: number): void {
    let total = this.#totals.get(key);
    if (total === undefined) {
      if (this.#totals.size >= this.#most) {
        this.leftOut += 1;
        return;
      }
      total = { count: 0, bytes: 0 };
      this.#totals.set(key, total);
    }
    total.count += 1;
    total.bytes += bytes;
  }

  groups(): Group[] {
    return [...this.#totals].map(([key, total]) => ({ key, ...total }));
  }
}

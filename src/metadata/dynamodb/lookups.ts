/** What a series has: see {@link MetadataService.lookUp}. Concurrent look-ups share requests. */
import { canonicalJson, type TextMap } from "../../document/record.ts";
import type { Entry, Series, Standing } from "../service.ts";
import type { CatalogItem } from "./catalog-item.ts";
import { tooBusy } from "./failures.ts";
import { type Heads, isSameHead, type View } from "./heads.ts";
import { bytesOf, ofSeries, seriesOf, type Versions } from "./versions.ts";

/** Readings of a head, if its versions are removed each time before they are read. */
const attempts = 10;

export interface LookUpParts {
  readonly table: string;
  readonly heads: Heads;
  readonly catalogItem: CatalogItem;
  readonly entryOf: (id: string, signal: AbortSignal) => Promise<Entry | undefined>;
}

export async function lookUp(
  parts: LookUpParts,
  series: Series,
  sha256: string | undefined,
  signal: AbortSignal,
): Promise<Standing> {
  const { heads, table, catalogItem } = parts;
  for (let attempt = 1; attempt <= attempts; attempt++) {
    const head = await heads.read(series.path, signal);
    if (!head.exists) await catalogItem.assertLayout(signal);
    const reading = new Reading(parts, { head, older: undefined }, signal);
    const standing = await reading.standing(series.given, sha256);
    // A version without a record was removed meanwhile, and others may have been added before. If none was, its
    // document was removed by another program.
    if (!reading.missesOne || isSameHead(head, await heads.read(series.path, signal))) return standing;
  }
  throw tooBusy(table, "be read");
}

/** The tags of two documents, with their keys in any order. */
export function isSameSeries(one: TextMap, other: TextMap): boolean {
  return canonicalJson(one) === canonicalJson(other);
}

class Reading {
  readonly #parts: LookUpParts;
  readonly #view: View;
  readonly #signal: AbortSignal;
  /** Whether a version had no record. */
  missesOne = false;

  constructor(parts: LookUpParts, view: View, signal: AbortSignal) {
    this.#parts = parts;
    this.#view = view;
    this.#signal = signal;
  }

  async standing(given: TextMap, sha256: string | undefined): Promise<Standing> {
    const { head } = this.#view;
    const series = seriesOf(given);
    const likely = ofSeries(head.versions, series)[0];
    // Usually the newest is the twin, or there is none. Otherwise both are read at once.
    const isLikelyTwin = sha256 !== undefined && likely?.bytes === bytesOf(sha256);
    const [newest, other] = await Promise.all([
      this.#newest(series, given),
      isLikelyTwin ? undefined : this.#proved(head.versions, sha256),
    ]);
    const isTwin = newest?.proved === true && newest.record.sha256 === sha256;
    const late = async () =>
      (isLikelyTwin ? await this.#proved(head.versions, sha256) : undefined) ??
      (await this.#proved(this.#view.older ?? [], sha256));
    const twin = isTwin ? newest : (other ?? (await late()));
    const last = (head.versions.at(-1) ?? this.#view.older?.at(-1))?.id;
    return { newest, twin, last, state: this.#view };
  }

  async #newest(series: string, given: TextMap): Promise<Entry | undefined> {
    for await (const { id } of this.#parts.heads.before(this.#view, series, "~", this.#signal)) {
      const entry = await this.#entry(id);
      // The beginnings of two hashes may be the same.
      if (entry && isSameSeries(entry.given, given)) return entry;
    }
    return undefined;
  }

  /** The newest proved one with these bytes. */
  async #proved(versions: Versions, sha256: string | undefined): Promise<Entry | undefined> {
    const bytes = sha256 && bytesOf(sha256);
    for (const version of versions.toReversed()) {
      if (version.bytes !== bytes) continue;
      const entry = await this.#entry(version.id);
      if (entry?.proved && entry.record.sha256 === sha256) return entry;
    }
    return undefined;
  }

  async #entry(id: string): Promise<Entry | undefined> {
    const entry = await this.#parts.entryOf(id, this.#signal);
    this.missesOne ||= entry === undefined;
    return entry;
  }
}

/** A complete kind of catalog: records in the memory of this process. */
import { randomUUID } from "node:crypto";
import { defineDriver } from "../../../src/core/driver.ts";
import { DocprocError, throwIfCancelled } from "../../../src/core/errors.ts";
import { idRange, type ListQuery, matcher } from "../../../src/document/query.ts";
import { canonicalJson, type DocumentRecord } from "../../../src/document/record.ts";
import { fromStored, type StoredRecord, toStored } from "../../../src/document/stored-form.ts";
import type {
  Changes,
  CommitRequest,
  CommitResult,
  Entry,
  MetadataService,
  MetadataTraits,
  Place,
  Series,
  Standing,
} from "../../../src/metadata/service.ts";
import { type LedgerSettings, ledgerSettings } from "./settings.ts";

/** What is in one catalog. A test may add and remove places, as a crash can. */
export class Ledger {
  readonly id = randomUUID();
  readonly entries = new Map<string, StoredRecord>();
  /** The path of each id. */
  readonly places = new Map<string, string>();
  readonly adopted = new Set<string>();

  /** The documents of a path, oldest first. */
  versionsOf(path: string): StoredRecord[] {
    const ids = [...this.places].flatMap(([id, of]) => (of === path ? [id] : [])).sort();
    return ids.map((id) => this.entries.get(id)).filter((stored) => stored !== undefined);
  }

  /** Those of a series, oldest first. */
  series(path: string, given: string): StoredRecord[] {
    return this.versionsOf(path).filter((stored) => givenOf(stored) === given);
  }
}

export const ledgers = new Map<string, Ledger>();

function givenOf({ given, tags }: StoredRecord): string {
  return given ?? tags;
}

const traits: MetadataTraits = { sorts: false, readsFree: true };

export const ledgerMetadata = defineDriver<MetadataService, typeof ledgerSettings>({
  title: "a ledger in memory",
  traits,
  settings: ledgerSettings,
  chosenBy: ["ledger", "shelf"],
  isRemote: false,
  check: (settings) => void nameOf(settings),
  async open(settings) {
    const name = nameOf(settings);
    return new LedgerMetadata(() => ledgerOf(name));
  },
  async *provision(settings, { plan }) {
    const name = nameOf(settings);
    const exists = ledgers.has(name);
    if (!exists && !plan) ledgers.set(name, new Ledger());
    yield { kind: "ledger", name, action: exists ? "exists" : plan ? "would-create" : "created", settings: {} };
  },
  async *dismantle(settings, { plan }) {
    const name = nameOf(settings);
    const ledger = ledgers.get(name);
    if (ledger === undefined) {
      yield { kind: "ledger", name, action: "gone" };
      return;
    }
    if (ledger.entries.size > 0) {
      throw new DocprocError("CONFLICT", `The ledger ${name} holds ${ledger.entries.size} documents.`);
    }
    if (!plan) ledgers.delete(name);
    yield { kind: "ledger", name, action: plan ? "would-remove" : "removed" };
  },
  clockSkew: async () => 0,
  nameOf: ({ ledger = "" }) => ({ kind: "ledger", name: ledger, isPath: false }),
  placeOf: async ({ ledger }) => `ledger ${ledger}`,
});

function nameOf({ ledger }: Pick<LedgerSettings, "ledger">): string {
  if (ledger !== undefined) return ledger;
  throw new DocprocError("INVALID_CONFIG", "Metadata memory needs a ledger.", { hint: "Add --ledger NAME." });
}

function ledgerOf(name: string): Ledger {
  const ledger = ledgers.get(name);
  if (ledger !== undefined) return ledger;
  throw new DocprocError("NOT_INITIALISED", `There is no ledger ${name}.`, { hint: "Run docproc init." });
}

class LedgerMetadata implements MetadataService {
  readonly traits = traits;
  readonly #find: () => Ledger;

  constructor(find: () => Ledger) {
    this.#find = find;
  }

  async commit(entry: Entry, { unlessThere }: CommitRequest, signal: AbortSignal): Promise<CommitResult> {
    const ledger = this.#ledger(signal);
    const stored = toStored(entry);
    const { id, path, sha256 } = stored;
    const series = ledger.series(path, givenOf(stored));
    const neighbours = [series.findLast((one) => one.id < id), series.find((one) => one.id > id)];
    const equal = neighbours.find((one) => one?.proved === 1 && one.sha256 === sha256);
    const there = ledger.entries.get(id) ?? (unlessThere ? equal : undefined);
    if (there) return { committed: false, there: fromStored(there) };
    ledger.entries.set(id, stored);
    ledger.places.set(id, path);
    return { committed: true };
  }

  async get(id: string, signal: AbortSignal): Promise<Entry | undefined> {
    const stored = this.#ledger(signal).entries.get(id);
    return stored && fromStored(stored);
  }

  async lookUp({ path, given }: Series, sha256: string | undefined, signal: AbortSignal): Promise<Standing> {
    const ledger = this.#ledger(signal);
    const newest = ledger.series(path, canonicalJson(given)).at(-1);
    const versions = ledger.versionsOf(path);
    const isTwin = (one: StoredRecord | undefined) => one?.proved === 1 && one.sha256 === sha256;
    const twin = isTwin(newest) ? newest : versions.findLast(isTwin);
    return { newest: newest && fromStored(newest), twin: twin && fromStored(twin), last: versions.at(-1)?.id };
  }

  async *versions(path: string, signal: AbortSignal): AsyncIterable<string> {
    for (const { id } of this.#ledger(signal).versionsOf(path).reverse()) yield id;
  }

  async *list(query: ListQuery, signal: AbortSignal): AsyncIterable<Entry> {
    const { entries } = this.#ledger(signal);
    const matches = await matcher(query.filter);
    const { from = "", to = "~" } = idRange(query);
    const ids = [...entries.keys()].filter((id) => id >= from && id < to).sort();
    for (const id of query.ascending ? ids : ids.reverse()) {
      const stored = entries.get(id);
      const entry = stored && fromStored(stored);
      if (entry && matches(entry.record)) yield entry;
    }
  }

  async remove(id: string, signal: AbortSignal): Promise<DocumentRecord | undefined> {
    const { entries, places } = this.#ledger(signal);
    const stored = entries.get(id);
    if (stored === undefined) return undefined;
    entries.delete(id);
    places.delete(id);
    return fromStored(stored).record;
  }

  async update(record: DocumentRecord, changes: Changes, signal: AbortSignal): Promise<boolean> {
    const { entries } = this.#ledger(signal);
    const stored = entries.get(record.id);
    const current = stored && fromStored(stored);
    if (current === undefined || changeable(current.record) !== changeable(record)) return false;
    entries.set(record.id, toStored({ ...current, record: { ...current.record, ...changes } }));
    return true;
  }

  async prove(id: string, signal: AbortSignal): Promise<boolean> {
    const { entries } = this.#ledger(signal);
    const stored = entries.get(id);
    if (stored) entries.set(id, { ...stored, proved: 1 });
    return stored !== undefined;
  }

  async *places(signal: AbortSignal): AsyncIterable<Place> {
    const { entries, places } = this.#ledger(signal);
    for (const [id, path] of [...places]) {
      const release = async () => {
        if (!entries.has(id)) places.delete(id);
      };
      yield { id, path, release };
    }
  }

  async catalog(signal: AbortSignal): Promise<string> {
    return this.#ledger(signal).id;
  }

  async adopted(signal: AbortSignal): Promise<string[]> {
    return [...this.#ledger(signal).adopted];
  }

  async adopt(catalog: string, signal: AbortSignal): Promise<void> {
    this.#ledger(signal).adopted.add(catalog);
  }

  async close(): Promise<void> {}

  #ledger(signal: AbortSignal): Ledger {
    throwIfCancelled(signal);
    return this.#find();
  }
}

/** What may change, as text. */
function changeable({ tags, metadata, contentType, expiresAt }: DocumentRecord): string {
  return JSON.stringify([canonicalJson(tags), canonicalJson(metadata), contentType, expiresAt]);
}

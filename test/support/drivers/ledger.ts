/** A complete kind of catalog: records in the memory of this process. */
import { randomUUID } from "node:crypto";
import { defineDriver } from "../../../src/core/driver.ts";
import { DocprocError, throwIfCancelled } from "../../../src/core/errors.ts";
import { idRange, type ListQuery, matcher } from "../../../src/document/query.ts";
import { canonicalJson, type DocumentRecord, type TextMap } from "../../../src/document/record.ts";
import { fromStored, type StoredRecord, toStored } from "../../../src/document/stored-form.ts";
import {
  apart,
  type Claim,
  type CommitResult,
  type MetadataService,
  type MetadataTraits,
  ofSameKind,
  type RetagResult,
  unproved,
} from "../../../src/metadata/service.ts";
import { type LedgerSettings, ledgerSettings } from "./settings.ts";

/** What is in one catalog. A test may add and remove claims, as a crash can. */
export class Ledger {
  readonly id = randomUUID();
  readonly records = new Map<string, StoredRecord>();
  /** By {@link claimKey}. */
  readonly claims = new Map<string, { readonly id: string; readonly name: string; readonly size: number }>();
  readonly adopted = new Set<string>();

  claimOf(id: string): string | undefined {
    return [...this.claims].find(([, claim]) => claim.id === id)?.[0];
  }
}

export const ledgers = new Map<string, Ledger>();

export function claimKey(name: string, identity: string): string {
  return JSON.stringify([name, identity]);
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
    if (ledger.records.size > 0) {
      throw new DocprocError("CONFLICT", `The ledger ${name} holds ${ledger.records.size} documents.`);
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

  async commit(record: DocumentRecord, identity: string, signal: AbortSignal): Promise<CommitResult> {
    const { records, claims } = this.#ledger(signal);
    const { id, name, size } = record;
    const key = claimKey(name, identity);
    const holder = claims.get(key)?.id ?? (records.has(id) ? id : undefined);
    if (holder !== undefined) return { committed: false, holder };
    records.set(id, toStored(record));
    claims.set(key, { id, name, size });
    return { committed: true };
  }

  async get(id: string, signal: AbortSignal): Promise<DocumentRecord | undefined> {
    const stored = this.#ledger(signal).records.get(id);
    return stored && fromStored(stored);
  }

  async holder(name: string, identity: string, signal: AbortSignal): Promise<string | undefined> {
    return this.#ledger(signal).claims.get(claimKey(name, identity))?.id;
  }

  async *claims(name: string | undefined, signal: AbortSignal): AsyncIterable<Claim> {
    const { records, claims } = this.#ledger(signal);
    for (const [key, claim] of [...claims]) {
      if (name !== undefined && claim.name !== name) continue;
      const release = async () => {
        if (!records.has(claim.id)) claims.delete(key);
      };
      yield { ...claim, release };
    }
  }

  async *list(query: ListQuery, signal: AbortSignal): AsyncIterable<DocumentRecord> {
    const { records } = this.#ledger(signal);
    const matches = await matcher(query.filter);
    const { from = "", to = "~" } = idRange(query);
    const ids = [...records.keys()].filter((id) => id >= from && id < to).sort();
    for (const id of query.ascending ? ids : ids.reverse()) {
      const stored = records.get(id);
      const record = stored && fromStored(stored);
      if (record && matches(record)) yield record;
    }
  }

  async remove(id: string, signal: AbortSignal): Promise<DocumentRecord | undefined> {
    const ledger = this.#ledger(signal);
    const stored = ledger.records.get(id);
    if (stored === undefined) return undefined;
    ledger.records.delete(id);
    const claim = ledger.claimOf(id);
    if (claim !== undefined) ledger.claims.delete(claim);
    return fromStored(stored);
  }

  async retag(record: DocumentRecord, tags: TextMap, identity: string, signal: AbortSignal): Promise<RetagResult> {
    const ledger = this.#ledger(signal);
    if (!isCurrent(ledger, record)) return { retagged: false, holder: undefined };
    const { id, name, size } = record;
    const before = ledger.claimOf(id);
    const [, claim = identity] = before === undefined ? [] : (JSON.parse(before) as string[]);
    const key = claimKey(name, ofSameKind(claim, identity));
    const holder = ledger.claims.get(key)?.id;
    if (holder !== undefined && holder !== id) return { retagged: false, holder };
    if (before !== undefined) ledger.claims.delete(before);
    ledger.claims.set(key, { id, name, size });
    ledger.records.set(id, toStored({ ...record, tags }));
    return { retagged: true };
  }

  async prove(record: DocumentRecord, identity: string, signal: AbortSignal): Promise<boolean> {
    const ledger = this.#ledger(signal);
    if (!isCurrent(ledger, record)) return false;
    const { id, name, size } = record;
    const before = claimKey(name, unproved(identity, id));
    if (ledger.claims.get(before)?.id !== id) return true;
    ledger.claims.delete(before);
    const plain = claimKey(name, identity);
    ledger.claims.set(ledger.claims.has(plain) ? claimKey(name, apart(identity, id)) : plain, { id, name, size });
    return true;
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

/** Whether the catalog has the record, with these tags. */
function isCurrent({ records }: Ledger, { id, tags }: DocumentRecord): boolean {
  return records.get(id)?.tags === canonicalJson(tags);
}

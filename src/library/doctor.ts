/**
 * Checks a library for problems; `repair` removes the garbage.
 *
 * Garbage is objects without a record, unfinished uploads and places without a document, each older than a day by the
 * service's clock, so that an upload under way loses nothing. Damage is reported and never changed.
 */
import { pMapIterable } from "p-map";
import { DocprocError } from "../core/errors.ts";
import { counted } from "../core/not-empty.ts";
import { timeOfId } from "../document/record.ts";
import { isCatalogId, type Owner } from "../metadata/marks.ts";
import type { MetadataService } from "../metadata/service.ts";
import { probeCatalog, type StorageService } from "../storage/service.ts";
import { type ComparedObject, Comparison, isDocumentKey, type Orphan } from "./reconcile.ts";
import { minGarbageAge, removeLeftover, removeOrphan, removePlace } from "./removal.ts";
import type { Services } from "./services.ts";
import { verifyDocument } from "./verify.ts";

/** Concurrent confirmations of findings. */
const confirmations = { concurrency: 16, backpressure: 32 };
/** Crashes may leave this many objects without a record; with more, the catalog may be lost. */
const maxPlausibleOrphans = 20;

export type FindingCode =
  | "CLOCK_SKEW"
  | "DRIFT"
  | "MISSING_BYTES"
  | "ORPHAN_OBJECT"
  | "STALE_UPLOAD"
  | "ORPHAN_PLACE"
  | "MISSING_PLACE"
  | "CATALOG_LOST";

export interface Finding {
  readonly code: FindingCode;
  /** The document concerned, or null. */
  readonly id: string | null;
  /** A key, a path, or the name of a resource. */
  readonly name: string;
  readonly message: string;
  /** The safe fix. */
  readonly fix: string;
  /** True when the fix was applied. */
  readonly repaired: boolean;
}

export interface Examination {
  readonly repair: boolean;
  /** Remove all objects without a record, however many. */
  readonly trustCatalog: boolean;
  readonly signal: AbortSignal;
}

/** The context of an examination. It only reads the services; `removal.ts` removes things. */
interface Opened extends Examination {
  readonly services: Services;
  readonly storage: StorageService;
  readonly metadata: MetadataService;
  /** Of the storage keys. */
  readonly prefix: string;
}

export interface Examined {
  readonly records: number;
  readonly objects: number;
  /** Entries of other programs. */
  readonly foreign: number;
  /** Some of their keys and paths. */
  readonly foreignNames: readonly string[];
  /** Garbage younger than a day, which an upload may still use. */
  readonly young: number;
  /** False when the storage should keep checksums but does not, so that only sizes can be compared. */
  readonly checksums: boolean;
}

const repairFix = "Remove it with docproc doctor --repair.";

/** Compares catalog and storage in both directions. Each finding is confirmed individually before it is reported. */
export async function examine(services: Services, asked: Examination, found: Found): Promise<Examined> {
  const [storage, metadata] = await Promise.all([services.storage(), services.metadata()]);
  const { prefix } = services;
  const { signal } = asked;
  const examination: Opened = { ...asked, services, storage, metadata, prefix };
  const comparison = await Comparison.open(prefix);
  try {
    await comparison.addObjects(storage.list(prefix, signal));
    await comparison.addRecords(metadata.list({ ascending: true }, signal));
    await comparison.addPlaces(metadata.places(signal));
    await missingBytes(examination, comparison, found);
    await missingPlaces(examination, comparison, found);
    const young =
      (await orphanObjects(examination, comparison, found)) +
      (await staleUploads(examination, comparison, found)) +
      (await orphanPlaces(examination, comparison, found));
    const checksums = comparison.counts.objects === 0 || (await keepsChecksums(examination));
    return { ...comparison.counts, foreignNames: comparison.foreignNames, young, checksums };
  } finally {
    comparison.close();
  }
}

type Found = (finding: Finding) => Promise<void>;

async function missingBytes({ services, metadata, signal }: Opened, comparison: Comparison, found: Found) {
  const confirm = async (id: string) => {
    // It may have been uploaded after the listing, or deleted since.
    const entry = await metadata.get(id, signal);
    return entry && (await verifyDocument(services, entry.record, { deep: false, signal }));
  };
  for await (const damage of pMapIterable(comparison.recordsWithoutBytes(), confirm, confirmations)) {
    if (damage === undefined) continue;
    const { id, path, message, fix } = damage;
    await found({ code: "MISSING_BYTES", id, name: path, message, fix, repaired: false });
  }
}

/** Documents that no path leads to, because another program has changed the catalog. */
async function missingPlaces({ metadata, signal }: Opened, comparison: Comparison, found: Found) {
  const confirm = async (id: string) => {
    // It may have been deleted since.
    const record = (await metadata.get(id, signal))?.record;
    if (record === undefined) return undefined;
    for await (const version of metadata.versions(record.path, signal)) if (version === id) return undefined;
    return record;
  };
  for await (const record of pMapIterable(comparison.recordsWithoutPlace(), confirm, confirmations)) {
    if (record === undefined) continue;
    const { id, path } = record;
    const message = `It is not among the versions of its path: only its id ${id} finds it.`;
    const fix = `Store it again: docproc download ${id} -o DIRECTORY/, docproc delete ${id}, docproc upload -r DIRECTORY/. with its tags.`;
    await found({ code: "MISSING_PLACE", id, name: path, message, fix, repaired: false });
  }
}

/** Returns how many are too young to count as orphans. */
async function orphanObjects(examination: Opened, comparison: Comparison, found: Found): Promise<number> {
  const { services, repair, trustCatalog, signal } = examination;
  const others = { count: 0, catalog: "" };
  let [young, ours] = [0, 0];
  const judge = async (object: ComparedObject) => ({ object, ...(await ownerOf(examination, object)) });
  for await (const { object, owner, mark } of pMapIterable(comparison.objectsWithoutRecord(), judge, confirmations)) {
    if (owner === "other") {
      others.count += 1;
      if (isCatalogId(mark)) others.catalog = mark;
    }
    if (owner === undefined || owner === "other") continue;
    if (object.age < minGarbageAge) {
      young += 1;
      continue;
    }
    if (owner === "ours") ours += 1;
    comparison.addOrphan({ ...object, owner });
  }
  const { records } = comparison.counts;
  if (others.count > 0 && !examination.storage.traits.shared) {
    const catalog = others.catalog || "ID";
    await found({
      code: "CATALOG_LOST",
      id: null,
      name: counted(others.count, "object"),
      message: `${counted(others.count, "object")} of another catalog: ${catalog}.`,
      fix: `Restore that catalog, or choose its library with --directory. If it is lost, docproc import FILE --deep --adopt ${catalog} restores its exported records. The objects are not touched.`,
      repaired: false,
    });
  }
  const suspicious = ours > maxPlausibleOrphans && ours > records && !trustCatalog;
  if (suspicious) {
    await found({
      code: "CATALOG_LOST",
      id: null,
      name: `${ours} objects`,
      message: `${ours} objects have no record and ${records} have one: the catalog may be lost or out of date.`,
      fix: "Restore the catalog, or its records with docproc import. If it is right, remove the objects with docproc doctor --repair --yes.",
      repaired: false,
    });
  }
  for (const object of comparison.orphans()) {
    const { id, key, size, age, owner } = object;
    // Records may have been restored from before some documents of a lost catalog.
    const removable = (owner === "ours" && !suspicious) || (owner === "adopted" && trustCatalog);
    const repaired = repair && removable && (await removeOrphan(services, object, signal));
    const message = `${counted(size, "byte")} without a record, ${days(age)} old.`;
    await found({ code: "ORPHAN_OBJECT", id, name: key, message, fix: orphanFixes[owner], repaired });
  }
  return young;
}

const orphanFixes: Record<Orphan["owner"], string> = {
  ours: repairFix,
  adopted: "It was stored for a lost catalog. If it is not needed, remove it with docproc doctor --repair --yes.",
  unknown: "Its catalog is unknown. If it is not needed, remove it by hand.",
};

/**
 * The owner of an object without a record: another catalog may share the bucket.
 * @returns no owner when the object is gone, or has a record by now
 */
async function ownerOf(
  { services, storage, metadata, signal }: Opened,
  { id, key }: ComparedObject,
): Promise<{ readonly owner: Owner | undefined; readonly mark: string }> {
  if (await metadata.get(id, signal)) return { owner: undefined, mark: "" };
  const stored = await storage.stat(key, signal);
  if (stored === undefined) return { owner: undefined, mark: "" };
  const mark = stored.catalog ?? "";
  return { owner: mark === probeCatalog ? "ours" : await services.marks.ownerOf(stored.catalog, signal), mark };
}

/** Returns how many are too young to count as stale. */
async function staleUploads(
  { storage, prefix, repair, signal }: Opened,
  comparison: Comparison,
  found: Found,
): Promise<number> {
  let young = 0;
  for await (const leftover of storage.leftovers(prefix, signal)) {
    if ("isForeign" in leftover) {
      comparison.addForeign(leftover.name);
      continue;
    }
    const { kind, name, key, age } = leftover;
    // Another program's upload into the same bucket, which may take days.
    if (key !== undefined && !isDocumentKey(key, prefix)) continue;
    if (age < minGarbageAge) {
      young += 1;
      continue;
    }
    const repaired = repair && (await removeLeftover(leftover, signal));
    const message = `${kind.replaceAll("-", " ").replace(/^./, (letter) => letter.toUpperCase())} that was never finished, ${days(age)} old.`;
    await found({ code: "STALE_UPLOAD", id: null, name, message, fix: repairFix, repaired });
  }
  return young;
}

/** Returns how many are too young to count as orphans. */
async function orphanPlaces(examination: Opened, comparison: Comparison, found: Found): Promise<number> {
  const { services, metadata, repair, signal } = examination;
  const orphans = new Set<string>();
  let young = 0;
  for (const { id } of comparison.placesWithoutRecord()) {
    if ((await metadata.get(id, signal)) === undefined) orphans.add(id);
  }
  if (orphans.size === 0) return young;
  // They are few, so the places are listed again rather than kept.
  for await (const place of metadata.places(signal)) {
    const { id, path } = place;
    if (!orphans.has(id)) continue;
    if (services.now() - timeOfId(id) < minGarbageAge) {
      young += 1;
      continue;
    }
    const repaired = repair && (await removePlace(services, place, signal));
    const message = `The path has the version ${id}, which does not exist.`;
    await found({ code: "ORPHAN_PLACE", id, name: path, message, fix: repairFix, repaired });
  }
  return young;
}

/** Samples a few of our objects: one restored by `docproc url --put` has a checksum of another kind. */
async function keepsChecksums({ storage, prefix, signal }: Opened): Promise<boolean> {
  if (!storage.traits.checksums) return true;
  let without = 0;
  for await (const { key } of storage.list(prefix, signal)) {
    if (!isDocumentKey(key, prefix)) continue;
    if ((await storage.stat(key, signal))?.crc32 !== null) return true;
    without += 1;
    if (without === 3) break;
  }
  return without === 0;
}

function days(age: number): string {
  const whole = Math.floor(age / 86_400_000);
  return counted(whole, "day");
}

/** The failure of unrepaired findings. */
export function remaining(findings: { readonly found: number; readonly repaired: number }, fix: string | undefined) {
  const left = findings.found - findings.repaired;
  if (left === 0) return undefined;
  const message = `The library has ${counted(left, "problem")}.`;
  return new DocprocError("INTEGRITY", message, { hint: fix });
}

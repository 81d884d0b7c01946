/** A document and its bytes: where they are, what the storage has of them, and how they are recorded. */
import { DocprocError } from "../core/errors.ts";
import { type DocumentRecord, storageKey } from "../document/record.ts";
import type { StoredObject } from "../storage/service.ts";
import type { Commit } from "../transfer/commit.ts";
import type { Services } from "./services.ts";

/**
 * The key of a document's bytes.
 * @throws NOT_FOUND when they are in another storage than the one that is configured
 */
export async function keyOf(services: Services, record: DocumentRecord, signal: AbortSignal): Promise<string> {
  const storage = await services.storage();
  const base = storage.uri("");
  if (record.uri.startsWith(base)) return record.uri.slice(base.length);
  // A library that was moved as a whole: its records still say where it was.
  const key = storageKey(services.prefix, record.id, record.name);
  if (await storage.stat(key, signal)) return key;
  throw new DocprocError("NOT_FOUND", `The bytes of ${record.id} are not in ${base} but in ${record.uri}.`, {
    hint: "Choose the storage that it was uploaded to with --bucket or --directory.",
  });
}

/** What the storage has of a document's bytes; undefined for nothing. */
export async function statDocument(
  services: Services,
  record: DocumentRecord,
  signal: AbortSignal,
): Promise<StoredObject | undefined> {
  const storage = await services.storage();
  return await storage.stat(await keyOf(services, record, signal), signal);
}

/** The bytes of a document, checked against its record: see `readDocument`. */
export async function* bytesOf(
  services: Services,
  record: DocumentRecord,
  signal: AbortSignal,
): AsyncIterable<Uint8Array> {
  const storage = await services.storage();
  const key = await keyOf(services, record, signal);
  const { readDocument } = await import("../transfer/reader.ts");
  yield* readDocument({ storage, key, record, retries: services.retries, signal });
}

/** Records a document whose bytes were just found in the storage: see `commitRecord`. */
export async function recordStored(
  { storage, metadata, now }: Services,
  record: DocumentRecord,
  committing: Pick<Commit, "key" | "onDuplicate" | "claim" | "signal">,
): Promise<DocumentRecord> {
  const [opened, { commitRecord }] = await Promise.all([
    Promise.all([storage(), metadata()]),
    import("../transfer/commit.ts"),
  ]);
  return await commitRecord(record, { ...committing, storage: opened[0], metadata: opened[1], storedAt: now(), now });
}

/** A document and its bytes: their key, their state in the storage, and their record. */
import { DocprocError } from "../core/errors.ts";
import type { DocumentRecord } from "../document/record.ts";
import type { Entry } from "../metadata/service.ts";
import type { StoredObject } from "../storage/service.ts";
import type { CommitOptions } from "../transfer/commit.ts";
import { storageFlags } from "./hints.ts";
import type { Services } from "./services.ts";

/** The storage key of a document; undefined when its bytes are in another storage than the configured one. */
export async function keyIfHere(
  services: Services,
  record: DocumentRecord,
  signal: AbortSignal,
): Promise<string | undefined> {
  const storage = await services.storage();
  const { uri } = record;
  const base = storage.uri("");
  // Nearly always, and without loading more.
  if (uri.startsWith(base)) return uri.slice(base.length);
  const { keyOfRecord } = await import("../transfer/stored.ts");
  return await keyOfRecord(storage, services.prefix, record, signal);
}

/**
 * The storage key of a document.
 * @throws NOT_FOUND when its bytes are in another storage than the configured one
 */
export async function keyOf(services: Services, record: DocumentRecord, signal: AbortSignal): Promise<string> {
  const key = await keyIfHere(services, record, signal);
  if (key !== undefined) return key;
  const base = (await services.storage()).uri("");
  throw new DocprocError("NOT_FOUND", `The bytes of ${record.id} are not in ${base} but in ${record.uri}.`, {
    hint: `Choose the storage that it was uploaded to with ${storageFlags()}.`,
  });
}

/** The facts about a document's bytes; undefined when they are gone. */
export async function statDocument(
  services: Services,
  record: DocumentRecord,
  signal: AbortSignal,
): Promise<StoredObject | undefined> {
  const storage = await services.storage();
  return await storage.stat(await keyOf(services, record, signal), signal);
}

/** The bytes of a document, verified against its record: see `readDocument`. */
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
  entry: Entry,
  committing: Pick<CommitOptions, "key" | "onDuplicate" | "signal">,
): Promise<DocumentRecord> {
  const [opened, { commitRecord }] = await Promise.all([
    Promise.all([storage(), metadata()]),
    import("../transfer/commit.ts"),
  ]);
  return await commitRecord(entry, { ...committing, storage: opened[0], metadata: opened[1], storedAt: now(), now });
}

/**
 * Copies documents with their ids into another library: an upload whose source is this one. The bytes are checked
 * against the record while they are read, then stored, proved and recorded like any upload.
 */
import { DocprocError, toDocprocError } from "../core/errors.ts";
import type { Settings } from "../core/settings.ts";
import { identityOf } from "../document/identity.ts";
import type { DocumentRecord } from "../document/record.ts";
import { type MetadataName, metadataDrivers } from "../metadata/registry.ts";
import { apart } from "../metadata/service.ts";
import { type StorageName, storageDrivers } from "../storage/registry.ts";
import { readerOf, type Source } from "../transfer/source.ts";
import type { UploadProtocol, UploadRequest } from "../transfer/upload.ts";
import { bytesOf } from "./documents.ts";
import { isProved, prove } from "./proof.ts";
import type { Services } from "./services.ts";

/** One side of a copy. */
export interface CopySide {
  readonly settings: Settings;
  readonly services: Services;
  readonly uploads: () => Promise<UploadProtocol>;
}

export interface CopyRequest {
  /** Check both libraries, send nothing. */
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
  /** Called with the bytes newly sent. */
  readonly onProgress: (bytes: number) => void;
  /** Called with the bytes that an earlier run stored. */
  readonly onSkipped: (bytes: number) => void;
}

export type CopyAction = "copied" | "unchanged" | "planned";

/** The record in the target library; a planned copy has no address yet. */
export type CopiedDocument = Omit<DocumentRecord, "uri"> & {
  readonly uri: string | null;
  readonly action: CopyAction;
  /** Bytes sent for this document. */
  readonly bytesSent: number;
};

/**
 * Copies a document, or finds it: same id, name and bytes.
 *
 * When it returns, bytes and record are durable in the target, and the records differ only in the address and the
 * storage's checksum. When it throws, the target has no record; after UNAVAILABLE it may yet appear, with its bytes.
 * @throws INTEGRITY when the bytes are damaged; CONFLICT when another document there has the id, or has the same
 *   name, bytes and tags under another id
 */
export async function copyDocument(
  record: DocumentRecord,
  from: CopySide,
  to: CopySide,
  options: CopyRequest,
): Promise<CopiedDocument> {
  const { dryRun, signal, onProgress, onSkipped } = options;
  const [here, over] = await Promise.all([from.services.metadata(), to.services.metadata()]);
  const { id, name, contentType, tags, metadata, provenance } = record;
  const identity = identityOf(record);
  const source = sourceOf(record, from.services);
  const upload = (claim: string): UploadRequest => ({
    name,
    contentType: async () => contentType,
    tags,
    metadata,
    provenance: Promise.resolve(provenance),
    as: { id, claim },
    onDuplicate: "reuse",
    dryRun: false,
    signal,
    onProgress,
    onSkipped,
  });
  const there = await over.get(id, signal);
  if (there) {
    if (there.sha256 !== record.sha256 || there.name !== name) throw otherDocument(there);
    if (!dryRun) await assertProved(there, to.services, options);
    // An earlier run was interrupted after the commit.
    if (!dryRun) await (await to.uploads()).forget(source, upload(identity));
    return { ...there, action: "unchanged", bytesSent: 0 };
  }
  const claim = (await here.holder(name, identity, signal)) === id ? identity : apart(identity, id);
  const holder = await over.holder(name, claim, signal);
  if (holder !== undefined && holder !== id) throw heldByAnother(record, holder);
  if (dryRun) return { ...record, uri: null, crc32: null, action: "planned", bytesSent: 0 };
  const { action: _, bytesSent, ...stored } = await (await to.uploads()).run(source, upload(claim));
  // Another upload won the race.
  if (stored.id !== id) throw heldByAnother(record, String(stored.id));
  return { ...(stored as DocumentRecord), action: "copied", bytesSent };
}

/**
 * Verifies the bytes of a record that was only imported there.
 * @throws CONFLICT when they differ
 */
async function assertProved(there: DocumentRecord, services: Services, options: CopyRequest): Promise<void> {
  const { signal, onSkipped } = options;
  if (await isProved(services, there, signal)) return;
  await prove(services, there, signal, onSkipped).catch((error: unknown) => {
    const { code } = toDocprocError(error);
    throw code === "INTEGRITY" || code === "NOT_FOUND" ? otherDocument(there, error) : error;
  });
}

/** A stored document as the input of an upload. It ends only when all bytes were read and verified. */
function sourceOf(record: DocumentRecord, services: Services): Source {
  const { id, name, size, sha256, source } = record;
  return {
    ...source,
    label: name,
    // Distinct from every file path; the bytes of an id never change.
    place: { path: `docproc:${id}`, stamp: sha256 },
    name,
    size,
    read(signal) {
      const reader = readerOf(bytesOf(services, record, signal));
      let left = size;
      return {
        async read(into) {
          const length = await reader.read(into);
          left -= length;
          // Verification ends after the last byte.
          if (left === 0) await reader.read(new Uint8Array(1));
          return length;
        },
        close: () => reader.close(),
      };
    },
    async assertUnchanged() {},
    async close() {},
  };
}

function otherDocument({ id, name }: DocumentRecord, cause?: unknown): DocprocError {
  return new DocprocError("CONFLICT", `${id} is another document in that library: ${name}.`, {
    hint: "Nothing was overwritten. Delete the wrong one, or upload the file again under a new id.",
    cause,
  });
}

function heldByAnother({ name }: DocumentRecord, holder: string): DocprocError {
  return new DocprocError("CONFLICT", `That library already has ${name} with the same bytes and tags, as ${holder}.`, {
    hint: `Nothing was copied. To keep its own id, delete ${holder} there first.`,
  });
}

/**
 * Refuses to copy a library onto itself.
 * @throws USAGE
 */
export async function assertApart(from: CopySide, to: CopySide, signal: AbortSignal): Promise<void> {
  const same = (message: string, hint: string) => new DocprocError("USAGE", message, { hint });
  if (await haveSameCatalog(from, to, signal)) {
    throw same("Source and destination are the same library.", "Name another profile with --to or --from.");
  }
  if ((await placeOf(from)) === (await placeOf(to))) {
    throw same(
      "Both libraries store their documents in the same place, with different catalogs.",
      "To move only the records, use docproc export and docproc import.",
    );
  }
}

async function haveSameCatalog(from: CopySide, to: CopySide, signal: AbortSignal): Promise<boolean> {
  if (from.settings.metadata !== to.settings.metadata) return false;
  const driver = metadataDrivers[from.settings.metadata as MetadataName];
  if ((await driver.placeOf(from.settings)) !== (await driver.placeOf(to.settings))) return false;
  if (!driver.isRemote) return true;
  // Two accounts may have tables of the same name, and a restored table has the id of the lost one.
  return (await from.services.marks.catalog(signal)) === (await to.services.marks.catalog(signal));
}

async function placeOf({ settings }: CopySide): Promise<string> {
  return await storageDrivers[settings.storage as StorageName].placeOf(settings);
}

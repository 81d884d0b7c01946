/**
 * Copies documents with their ids into another library: an upload whose source is this one. The bytes are checked
 * against the record while they are read, then stored, proved and recorded like any upload.
 */
import { DocprocError, toDocprocError } from "../core/errors.ts";
import type { Settings } from "../core/settings.ts";
import type { DocumentRecord } from "../document/record.ts";
import { type MetadataName, metadataDrivers } from "../metadata/registry.ts";
import type { Entry } from "../metadata/service.ts";
import { type StorageName, storageDrivers } from "../storage/registry.ts";
import type { UploadRequest } from "../transfer/request.ts";
import { readerOf, type Source } from "../transfer/source.ts";
import type { UploadProtocol } from "../transfer/upload.ts";
import { bytesOf } from "./documents.ts";
import { prove, recordProof } from "./proof.ts";
import type { Services } from "./services.ts";
import { verifyDocument } from "./verify.ts";

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

export type CopyAction = "copied" | "unchanged" | "restored" | "planned";

/** The record in the target library; a planned copy has no address yet. */
export type CopiedDocument = Omit<DocumentRecord, "uri"> & {
  readonly uri: string | null;
  readonly action: CopyAction;
  /** Bytes sent for this document. */
  readonly bytesSent: number;
};

/**
 * Copies a document, or finds it: same id, path and bytes. A document that is there with missing or damaged bytes gets
 * them back.
 *
 * When it returns, bytes and record are durable in the target, and the records differ only in the address and the
 * storage's checksum. When it throws, the target has no record; after UNAVAILABLE it may yet appear, with its bytes.
 * @throws INTEGRITY when the bytes are damaged here; CONFLICT when another document there has the id
 */
export async function copyDocument(
  record: DocumentRecord,
  from: CopySide,
  to: CopySide,
  { dryRun, signal, onProgress, onSkipped }: CopyRequest,
): Promise<CopiedDocument> {
  const { id, path, contentType, tags, metadata, expiresAt, provenance } = record;
  const [here, over] = await Promise.all([from.services.metadata(), to.services.metadata()]);
  const [own, there] = await Promise.all([here.get(id, signal), over.get(id, signal)]);
  if (own === undefined) throw new DocprocError("NOT_FOUND", `The document ${id} no longer exists.`);
  const source = sourceOf(record, from.services);
  const request: UploadRequest = {
    path,
    facts: { contentType, metadata, expiresAt },
    detectType: async () => contentType,
    tags,
    provenance: Promise.resolve(provenance),
    as: { id, given: own.given },
    onDuplicate: "store",
    dryRun: false,
    signal,
    onProgress,
    onSkipped,
  };
  if (there) return await asCopied(there, record, source, to, request, dryRun);
  if (dryRun) return { ...record, uri: null, crc32: null, action: "planned", bytesSent: 0 };
  const { action: _, bytesSent, ...stored } = await (await to.uploads()).run(source, request);
  return { ...(stored as DocumentRecord), action: "copied", bytesSent };
}

/** A document that is there: its bytes are looked at and put back if needed. */
async function asCopied(
  there: Entry,
  record: DocumentRecord,
  source: Source,
  to: CopySide,
  request: UploadRequest,
  dryRun: boolean,
): Promise<CopiedDocument> {
  const { services } = to;
  const { signal, onSkipped } = request;
  if (there.record.sha256 !== record.sha256 || there.record.path !== record.path) throw otherDocument(there.record);
  const damage = await verifyDocument(services, there.record, { deep: false, signal });
  if (dryRun) return { ...there.record, action: damage ? "planned" : "unchanged", bytesSent: 0 };
  const uploads = await to.uploads();
  if (damage) {
    const { as: _, ...restoring } = request;
    const facts = { contentType: undefined, metadata: undefined, expiresAt: undefined };
    const { bytesSent } = await uploads.run(source, { ...restoring, facts, restores: there.record });
    await recordProof(services, record.id, signal);
    return { ...there.record, action: "restored", bytesSent };
  }
  await prove(services, there, signal, onSkipped ?? (() => {})).catch((error: unknown) => {
    const { code } = toDocprocError(error);
    throw code === "INTEGRITY" || code === "NOT_FOUND" ? otherDocument(there.record, error) : error;
  });
  // An earlier run was interrupted after the commit.
  await uploads.forget(source, request);
  return { ...there.record, action: "unchanged", bytesSent: 0 };
}

/** A stored document as the input of an upload. It ends only when all bytes were read and verified. */
function sourceOf(record: DocumentRecord, services: Services): Source {
  const { id, path, name, size, sha256, source } = record;
  return {
    ...source,
    label: path,
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

function otherDocument({ id, path }: DocumentRecord, cause?: unknown): DocprocError {
  return new DocprocError("CONFLICT", `${id} is another document in that library: ${path}.`, {
    hint: "Nothing was overwritten. Delete the wrong one, or upload the file again under a new id.",
    cause,
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

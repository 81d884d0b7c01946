/**
 * Copies documents with their ids into another library: an upload whose source is this one. The bytes are checked
 * against the record while they are read, then stored, proved and recorded like any upload.
 */
import { realpath } from "node:fs/promises";
import { DocprocError, toDocprocError } from "../core/errors.ts";
import type { Settings } from "../core/settings.ts";
import { identityOf } from "../document/identity.ts";
import type { DocumentRecord } from "../document/record.ts";
import { apart, type MetadataService } from "../metadata/service.ts";
import type { StorageService } from "../storage/service.ts";
import { readerOf, type Source } from "../transfer/source.ts";
import type { UploadRequest } from "../transfer/upload.ts";
import type { DocumentService } from "./documents.ts";

/** One side of a copy. */
export interface Library {
  readonly settings: Settings;
  readonly documents: DocumentService;
  readonly storage: StorageService;
  readonly metadata: MetadataService;
}

export interface CopyRequest {
  readonly from: Library;
  readonly to: Library;
  /** Look in both libraries, send nothing. */
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
  /** Called with bytes newly on their way. */
  readonly onProgress: (bytes: number) => void;
  /** Called with bytes that are stored since an earlier run. */
  readonly onSkipped: (bytes: number) => void;
}

export type CopyAction = "copied" | "unchanged" | "planned";

/** The record in the library that it is copied to; of what is only planned, nobody knows its address there. */
export type CopiedDocument = Omit<DocumentRecord, "uri"> & {
  readonly uri: string | null;
  readonly action: CopyAction;
  /** Bytes that travelled for this document. */
  readonly bytesSent: number;
};

/**
 * Copies a document, or finds that it is there: the same id, name and bytes.
 *
 * When it returns, bytes and record are durable in the other library, and the record says there what it said here but
 * for its address and the checksum of the storage. When it throws, the other library has no record of it; except
 * after UNAVAILABLE, when the record may yet appear and has its bytes if it does.
 * @throws INTEGRITY when the bytes are not those that were uploaded; CONFLICT when another document of that library
 *   has the id, or has the same name, bytes and tags under an id of its own
 */
export async function copyDocument(record: DocumentRecord, request: CopyRequest): Promise<CopiedDocument> {
  const { from, to, dryRun, signal, onProgress, onSkipped } = request;
  const { id, name, contentType, tags, metadata, provenance } = record;
  const identity = identityOf(record);
  const source = sourceOf(record, from.documents);
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
  const there = await to.metadata.get(id, signal);
  if (there) {
    if (there.sha256 !== record.sha256 || there.name !== name) throw otherDocument(there);
    if (!dryRun) await assertProved(there, to.documents, request);
    // Recorded by a run that was cut short before its last word.
    if (!dryRun) await to.documents.forgetUpload(source, upload(identity));
    return { ...there, action: "unchanged", bytesSent: 0 };
  }
  const claim = (await from.metadata.holder(name, identity, signal)) === id ? identity : apart(identity, id);
  const holder = await to.metadata.holder(name, claim, signal);
  if (holder !== undefined && holder !== id) throw heldByAnother(record, holder);
  if (dryRun) return { ...record, uri: null, crc32: null, action: "planned", bytesSent: 0 };
  const { action: _, bytesSent, ...stored } = await to.documents.upload(source, upload(claim));
  // Another run was faster, with an upload of its own.
  if (stored.id !== id) throw heldByAnother(record, String(stored.id));
  return { ...(stored as DocumentRecord), action: "copied", bytesSent };
}

/**
 * Of a record that was imported there, it is found out whether its bytes are those that it says.
 * @throws CONFLICT when they are not
 */
async function assertProved(there: DocumentRecord, documents: DocumentService, request: CopyRequest): Promise<void> {
  const { signal, onSkipped } = request;
  if (await documents.isProved(there, signal)) return;
  await documents.prove(there, signal, onSkipped).catch((error: unknown) => {
    const { code } = toDocprocError(error);
    throw code === "INTEGRITY" || code === "NOT_FOUND" ? otherDocument(there, error) : error;
  });
}

/** A stored document as the input of an upload. It ends only when all of it was read and is what was uploaded. */
function sourceOf(record: DocumentRecord, documents: DocumentService): Source {
  const { id, name, size, sha256, source } = record;
  return {
    ...source,
    label: name,
    // No file, and told apart from every file: the bytes of an id never change.
    place: { path: `docproc:${id}`, stamp: sha256 },
    name,
    size,
    read(signal) {
      const reader = readerOf(documents.read(record, signal));
      let left = size;
      return {
        async read(into) {
          const length = await reader.read(into);
          left -= length;
          // That they are the right ones is said behind the last of them.
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
    hint: "Nothing was overwritten. Delete the wrong one of them, or upload the file anew: it gets another id.",
    cause,
  });
}

function heldByAnother({ name }: DocumentRecord, holder: string): DocprocError {
  return new DocprocError("CONFLICT", `That library has ${name} with the same bytes and tags already, as ${holder}.`, {
    hint: `Nothing was copied, as it would be there twice. To have it under its own id, delete ${holder} there first.`,
  });
}

/**
 * Refuses to copy a library onto itself.
 * @throws USAGE
 */
export async function assertApart(from: Library, to: Library, signal: AbortSignal): Promise<void> {
  const same = (message: string, hint: string) => new DocprocError("USAGE", message, { hint });
  if (await haveSameCatalog(from, to, signal)) {
    throw same("Both are the same library.", "Name another profile with --to or --from.");
  }
  if ((await placeOf(from)) === (await placeOf(to))) {
    throw same(
      "Both libraries keep their documents in the same place, with a catalog each.",
      "Records alone are moved with docproc export and docproc import.",
    );
  }
}

async function haveSameCatalog(from: Library, to: Library, signal: AbortSignal): Promise<boolean> {
  const [one, other] = [from.settings, to.settings];
  if (one.metadata !== other.metadata) return false;
  if (one.metadata === "local") return (await real(one.directory)) === (await real(other.directory));
  // Two accounts may have a table of the same name each, and a table that was restored has the id of the lost one.
  return one.table === other.table && (await from.metadata.catalog(signal)) === (await to.metadata.catalog(signal));
}

async function placeOf({ settings, storage }: Library): Promise<string> {
  return settings.storage === "local" ? await real(settings.directory) : storage.uri(settings.prefix);
}

/** A directory may have several paths, and need not be there yet. */
async function real(directory: string): Promise<string> {
  return await realpath(directory).catch(() => directory);
}

/**
 * The form in which both catalogs keep a record: text and numbers, maps as JSON text. (As a DynamoDB map, the SDK
 * would drop a key named `__proto__`.) What comes back is checked like anything else that somebody may have touched.
 */
import {
  canonicalJson,
  type DocumentRecord,
  type DocumentSource,
  isDocumentId,
  isDocumentName,
  type Provenance,
  type TextMap,
  uploadTimeOfId,
} from "./document.ts";
import { DocprocError } from "./errors.ts";

export interface StoredRecord {
  readonly id: string;
  readonly name: string;
  readonly size: number;
  readonly contentType: string;
  readonly sha256: string;
  readonly uri: string;
  readonly tags: string;
  readonly metadata: string;
  readonly source: string;
  readonly provenance: string | null;
  readonly crc32: string | null;
}

export function toStored(record: DocumentRecord): StoredRecord {
  const { id, name, size, contentType, sha256, uri, crc32 } = record;
  return {
    id,
    name,
    size,
    contentType,
    sha256,
    uri,
    tags: canonicalJson(record.tags),
    metadata: canonicalJson(record.metadata),
    source: JSON.stringify(record.source),
    provenance: record.provenance === null ? null : JSON.stringify(record.provenance),
    crc32,
  };
}

/** What was read last: records that follow each other mostly have the same, from one upload or because it is empty. */
const latest: Partial<Record<"tags" | "metadata" | "source" | "provenance", { json: string; value: unknown }>> = {};

/**
 * @param refuse throws for anything that {@link toStored} cannot have written, by default INTEGRITY; told the field
 */
export function fromStored(
  stored: { readonly [Field in keyof StoredRecord]: unknown },
  refuse: Refuse = damaged,
): DocumentRecord {
  const text = (field: keyof StoredRecord, accept: (value: string) => boolean = () => true): string => {
    const value = stored[field];
    return typeof value === "string" && accept(value) ? value : refuse(stored.id, field);
  };
  const id = text("id", isDocumentId);
  const parsed = <T>(field: keyof typeof latest, is: (value: unknown) => value is T): T => {
    const json = text(field);
    const known = latest[field];
    if (known?.json === json) return known.value as T;
    const value = parseJson(json);
    if (!is(value)) return refuse(id, field);
    latest[field] = { json, value };
    return value;
  };
  return {
    id,
    name: text("name", isDocumentName),
    size: Number.isSafeInteger(stored.size) && Number(stored.size) >= 0 ? Number(stored.size) : refuse(id, "size"),
    contentType: text("contentType"),
    sha256: text("sha256", (digits) => /^[0-9a-f]{64}$/.test(digits)),
    uploadedAt: uploadTimeOfId(id),
    uri: text("uri", (uri) => /^(s3|file):\/\//.test(uri)),
    tags: parsed("tags", isTextMap),
    metadata: parsed("metadata", isTextMap),
    source: parsed("source", isSource),
    provenance: stored.provenance == null ? null : parsed("provenance", isProvenance),
    crc32: stored.crc32 == null ? null : text("crc32", (digits) => /^[0-9a-f]{8}$/.test(digits)),
  };
}

type Refuse = (id: unknown, field: string) => never;

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isTextMap(value: unknown): value is TextMap {
  return isObject(value) && Object.values(value).every((one) => typeof one === "string");
}

function isSource(value: unknown): value is DocumentSource {
  const isTextOrNull = (one: unknown) => one === null || typeof one === "string";
  return (
    isObject(value) &&
    typeof value["kind"] === "string" &&
    ["path", "modifiedAt"].every((field) => field in value) &&
    // What else there is, too: as deep as it could be, nothing can write it.
    Object.values(value).every(isTextOrNull)
  );
}

function isProvenance(value: unknown): value is Provenance {
  if (!isObject(value)) return false;
  const isFact = (fact: unknown) => fact === null || typeof fact === "string" || typeof fact === "boolean";
  return (
    ["git", "ci"].every((field) => field in value) &&
    Object.values(value).every((one) => one === null || (isObject(one) && Object.values(one).every(isFact)))
  );
}

function damaged(id: unknown, field: string): never {
  throw new DocprocError("INTEGRITY", `The record ${String(id)} in the catalog is damaged: its ${field} cannot be.`, {
    hint: "Somebody changed the catalog by other means than docproc. Restore it from a backup.",
  });
}

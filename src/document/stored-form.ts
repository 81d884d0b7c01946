/**
 * A record as both catalogs store it: text and numbers, maps as JSON text. (As a DynamoDB map, the SDK would drop a key
 * named `__proto__`.) Stored values are validated on reading, since others may have changed them.
 */

import { DocprocError } from "../core/errors.ts";
import { deepFreeze } from "./frozen.ts";
import {
  canonicalJson,
  type DocumentRecord,
  type DocumentSource,
  isDocumentId,
  isDocumentName,
  type Provenance,
  type TextMap,
  uploadTimeOfId,
} from "./record.ts";

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

/** One-entry cache per JSON field: neighbouring records usually share tags, or have none. */
const latest: Partial<Record<MapField, { json: string; value: unknown }>> = {};

type MapField = "tags" | "metadata" | "source" | "provenance";

/**
 * Parses what {@link toStored} made. Inner values are frozen because records share them.
 * @throws INTEGRITY for anything else
 */
export function fromStored(stored: { readonly [Field in keyof StoredRecord]: unknown }): DocumentRecord {
  return recordOf(stored, damaged, (field, is) => {
    const json = stored[field];
    if (typeof json !== "string") return undefined;
    const known = latest[field];
    if (known?.json === json) return known.value as never;
    const value = parseJson(json);
    if (!is(value)) return undefined;
    latest[field] = { json, value: deepFreeze(value) };
    return value;
  });
}

/**
 * Parses a record from JSON values.
 * @param refuse throws for an invalid record; gets the field
 */
export function fromJson(
  values: { readonly [Field in keyof DocumentRecord]?: unknown },
  refuse: Refuse,
): DocumentRecord {
  return recordOf(values, refuse, (field, is) => {
    const value = values[field];
    return is(value) ? value : undefined;
  });
}

/** @param mapOf the value of a field, if it has the given shape; shapes bound the depth */
function recordOf(
  values: { readonly [Field in keyof StoredRecord]?: unknown },
  refuse: Refuse,
  mapOf: <T>(field: MapField, is: (value: unknown) => value is T) => T | undefined,
): DocumentRecord {
  const text = (field: keyof StoredRecord, accept: (value: string) => boolean = () => true): string => {
    const value = values[field];
    return typeof value === "string" && accept(value) ? value : refuse(values.id, field);
  };
  const map = <T>(field: MapField, is: (value: unknown) => value is T): T =>
    mapOf(field, is) ?? refuse(values.id, field);
  const id = text("id", isDocumentId);
  const { size } = values;
  return {
    id,
    name: text("name", isDocumentName),
    size: Number.isSafeInteger(size) && Number(size) >= 0 ? Number(size) : refuse(id, "size"),
    contentType: text("contentType"),
    sha256: text("sha256", (digits) => /^[0-9a-f]{64}$/.test(digits)),
    uploadedAt: uploadTimeOfId(id),
    uri: text("uri", (uri) => /^[a-z][a-z0-9+.-]*:\/\//.test(uri)),
    tags: map("tags", isTextMap),
    metadata: map("metadata", isTextMap),
    source: map("source", isSource),
    provenance: values.provenance == null ? null : map("provenance", isProvenance),
    crc32: values.crc32 == null ? null : text("crc32", (digits) => /^[0-9a-f]{8}$/.test(digits)),
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

/** Unknown fields of newer versions are kept if they are flat: deeper JSON could overflow the stack. */
function isSource(value: unknown): value is DocumentSource {
  const isTextOrNull = (one: unknown) => one === null || typeof one === "string";
  if (!isObject(value) || typeof value["kind"] !== "string") return false;
  return isTextOrNull(value["path"]) && isTextOrNull(value["modifiedAt"]) && Object.values(value).every(isTextOrNull);
}

function isProvenance(value: unknown): value is Provenance {
  const isFact = (fact: unknown) => fact === null || typeof fact === "string" || typeof fact === "boolean";
  const isPart = (one: unknown) => one === null || (isObject(one) && Object.values(one).every(isFact));
  if (!isObject(value) || !isPart(value["git"]) || !isPart(value["ci"])) return false;
  return Object.values(value).every(isPart);
}

function damaged(id: unknown, field: string): never {
  throw new DocprocError(
    "INTEGRITY",
    `The record ${String(id)} in the catalog is damaged: the field ${field} is invalid.`,
    {
      hint: "The catalog was changed by another program than docproc. Restore it from a backup.",
    },
  );
}

/**
 * A catalog's entry as every catalog stores it: text and numbers, maps as JSON text. (As a DynamoDB map, the SDK would drop a key
 * named `__proto__`.) Stored values are validated on reading, since others may have changed them.
 */

import { DocprocError } from "../core/errors.ts";
import { deepFreeze } from "./frozen.ts";
import { isDocumentPath, nameOfPath } from "./path.ts";
import {
  canonicalJson,
  type DocumentRecord,
  type DocumentSource,
  isDocumentId,
  type Provenance,
  type TextMap,
  uploadTimeOfId,
} from "./record.ts";

/** What a catalog keeps of a document. */
export interface Entry {
  readonly record: DocumentRecord;
  /** The tags that it was uploaded with; those of the record may be edited. With the path they name its series. */
  readonly given: TextMap;
  /** False for an imported record whose bytes were not read: its SHA-256 is only what a file says. */
  readonly proved: boolean;
}

export interface StoredRecord {
  readonly id: string;
  readonly path: string;
  readonly size: number;
  readonly contentType: string;
  readonly sha256: string;
  readonly uri: string;
  readonly tags: string;
  readonly metadata: string;
  readonly source: string;
  readonly provenance: string | null;
  readonly crc32: string | null;
  readonly expiresAt: string | null;
  /** See {@link Entry}. Null: the same as `tags`. */
  readonly given: string | null;
  /** See {@link Entry}: 1 for true. */
  readonly proved: number;
}

export function toStored({ record, given, proved }: Entry): StoredRecord {
  const { id, path, size, contentType, sha256, uri, crc32, expiresAt } = record;
  const tags = canonicalJson(record.tags);
  const givenTags = given === record.tags ? tags : canonicalJson(given);
  return {
    id,
    path,
    size,
    contentType,
    sha256,
    uri,
    tags,
    metadata: canonicalJson(record.metadata),
    source: JSON.stringify(record.source),
    provenance: record.provenance === null ? null : JSON.stringify(record.provenance),
    crc32,
    expiresAt,
    given: givenTags === tags ? null : givenTags,
    proved: proved ? 1 : 0,
  };
}

/** One-entry cache per JSON field: neighbouring records usually share tags, or have none. */
const latest: Partial<Record<MapField, { json: string; value: unknown }>> = {};

type MapField = "tags" | "metadata" | "source" | "provenance" | "given";

/**
 * Parses what {@link toStored} made. Inner values are frozen because records share them.
 * @throws INTEGRITY for anything else
 */
export function fromStored(stored: { readonly [Field in keyof StoredRecord]: unknown }): Entry {
  const mapOf = <T>(field: MapField, is: (value: unknown) => value is T): T | undefined => {
    const json = stored[field];
    if (typeof json !== "string") return undefined;
    const known = latest[field];
    if (known?.json === json) return known.value as never;
    const value = parseJson(json);
    if (!is(value)) return undefined;
    latest[field] = { json, value: deepFreeze(value) };
    return value;
  };
  const record = recordOf(stored, damaged, mapOf);
  const given = stored.given == null ? record.tags : (mapOf("given", isTextMap) ?? damaged(record.id, "given"));
  return { record, given, proved: Number(stored.proved) === 1 };
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
  values: { readonly [Field in keyof DocumentRecord]?: unknown },
  refuse: Refuse,
  mapOf: <T>(field: Exclude<MapField, "given">, is: (value: unknown) => value is T) => T | undefined,
): DocumentRecord {
  const text = (field: keyof DocumentRecord, accept: (value: string) => boolean = () => true): string => {
    const value = values[field];
    return typeof value === "string" && accept(value) ? value : refuse(values.id, field);
  };
  const map = <T>(field: Exclude<MapField, "given">, is: (value: unknown) => value is T): T =>
    mapOf(field, is) ?? refuse(values.id, field);
  const id = text("id", isDocumentId);
  const { size } = values;
  const path = text("path", isDocumentPath);
  return {
    id,
    path,
    name: nameOfPath(path),
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
    expiresAt: values.expiresAt == null ? null : text("expiresAt", isTime),
  };
}

/** RFC 3339 in UTC with milliseconds. */
function isTime(text: string): boolean {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(text) && !Number.isNaN(Date.parse(text));
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

/** True for an object of texts. */
export function isTextMap(value: unknown): value is TextMap {
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

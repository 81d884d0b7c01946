/**
 * Records as JSON lines, one `docproc.record/1` each: `docproc export` writes them, `docproc import` reads them.
 *
 * A line has one field more if the tags of a document were edited: `uploadedTags`, those that it was uploaded with. They
 * identify it, so that an upload finds it again after an import.
 */

import { storageSchemes } from "../../../config/settings.ts";
import { DocprocError } from "../../../core/errors.ts";
import {
  type CiProvenance,
  canonicalJson,
  composed,
  contentType,
  type DocumentRecord,
  type DocumentSource,
  documentMetadata,
  documentTags,
  type GitProvenance,
  type Provenance,
  type TextMap,
} from "../../../document/record.ts";
import { type Entry, fromJson, isTextMap } from "../../../document/stored-form.ts";
import { jsonLine } from "../../output/json.ts";

/** Characters per write. */
const chunkLength = 64 * 1024;

/**
 * Whole lines, many at a time.
 * @param onRecord called with every record taken
 */
export async function* linesOf(entries: AsyncIterable<Entry>, onRecord: () => void): AsyncIterable<string> {
  let held = "";
  for await (const { record, given } of entries) {
    held += jsonLine(isSame(given, record.tags) ? record : { ...record, uploadedTags: given });
    onRecord();
    if (held.length < chunkLength) continue;
    yield held;
    held = "";
  }
  if (held !== "") yield held;
}

/**
 * Bytes. A record has about 100 KiB at most, and a DynamoDB item 400 KB:
 * https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
 */
const maxLineLength = 384 * 1024;

export interface RecordLine {
  /** From 1. */
  readonly number: number;
  /** The bytes of the line; undefined when it is too long for a record. */
  readonly bytes: Buffer | undefined;
}

/** Yields the non-blank lines. Of a line of any length, no more is kept than a record can have. */
export async function* splitLines(chunks: AsyncIterable<Uint8Array>): AsyncIterable<RecordLine> {
  let number = 1;
  let pieces: Uint8Array[] = [];
  let length = 0;
  const take = (piece: Uint8Array) => {
    length += piece.length;
    if (length <= maxLineLength) pieces.push(piece);
    else pieces = [];
  };
  const end = (): RecordLine => {
    const line = { number, bytes: length > maxLineLength ? undefined : Buffer.concat(pieces) };
    number += 1;
    pieces = [];
    length = 0;
    return line;
  };
  for await (const chunk of chunks) {
    let from = 0;
    for (let at = chunk.indexOf(0x0a); at >= 0; at = chunk.indexOf(0x0a, from)) {
      take(chunk.subarray(from, at));
      from = at + 1;
      const line = end();
      if (!isBlank(line)) yield line;
    }
    take(chunk.subarray(from));
  }
  const last = end();
  if (!isBlank(last)) yield last;
}

function isBlank({ bytes }: RecordLine): boolean {
  return bytes?.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d) ?? false;
}

const fields: ReadonlySet<string> = new Set([
  ...(["id", "path", "name", "size", "contentType", "sha256", "uploadedAt", "uri"] satisfies (keyof DocumentRecord)[]),
  ...(["tags", "metadata", "source", "provenance", "crc32", "expiresAt"] satisfies (keyof DocumentRecord)[]),
  "uploadedTags",
]);

/** The known kinds of source; the compiler demands each one. */
const kinds: Record<DocumentRecord["source"]["kind"], true> = { file: true, stdin: true, register: true };

type Is = (value: unknown) => boolean;

/** Text that every catalog returns unchanged. */
const isText: Is = (value) => typeof value === "string" && value.isWellFormed();
const isTextOrNull: Is = (value) => value === null || isText(value);
const isFactOrNull: Is = (value) => value === null || typeof value === "boolean";

/** The known fields; the compiler demands these, too. */
const sourceFields: Record<keyof DocumentSource, Is> = {
  kind: (kind) => typeof kind === "string" && Object.hasOwn(kinds, kind),
  path: isTextOrNull,
  modifiedAt: isTextOrNull,
};
const gitFields: Record<keyof GitProvenance, Is> = {
  commit: isTextOrNull,
  branch: isTextOrNull,
  dirty: isFactOrNull,
  remote: isTextOrNull,
};
const ciFields: Record<keyof CiProvenance, Is> = {
  provider: isText,
  run: isTextOrNull,
  attempt: isTextOrNull,
  job: isTextOrNull,
  actor: isTextOrNull,
  url: isTextOrNull,
};
const provenanceFields: Record<keyof Provenance, Is> = {
  git: (git) => git === null || consistsOf(git, gitFields),
  ci: (ci) => ci === null || consistsOf(ci, ciFields),
};

/** Whether an object has exactly these fields. */
function consistsOf(value: unknown, fields: Readonly<Record<string, Is>>): boolean {
  const entries = Object.entries(value as object);
  if (entries.length !== Object.keys(fields).length) return false;
  return entries.every(([field, one]) => Object.hasOwn(fields, field) && fields[field]?.(one) === true);
}

/** A record of a file, and the tags that it was uploaded with. */
export type RecordOfLine = Pick<Entry, "record" | "given">;

/**
 * Parses the record of a line. It may come from anywhere, so it is validated like an upload.
 * @throws USAGE, with the field
 */
export function parseRecord({ bytes }: RecordLine): RecordOfLine {
  if (bytes === undefined) throw noRecord(`it is longer than ${maxLineLength} bytes`);
  const given = parseJson(bytes);
  if (typeof given !== "object" || given === null || Array.isArray(given)) throw noRecord("it is not a JSON object");
  const { schema = "docproc.record/1", ...fieldsGiven } = given as Record<string, unknown>;
  const values = withComposedMaps(withPath(fieldsGiven));
  // Shown only if it is text: other values may be nested too deeply to print.
  const title = typeof schema === "string" ? JSON.stringify(schema.slice(0, 100)) : "not text";
  if (schema !== "docproc.record/1") throw noRecord(`its schema is ${title}`);
  // Otherwise records from a newer version would silently lose the field.
  const unknown = Object.keys(values).find((key) => !fields.has(key));
  if (unknown !== undefined) throw noRecord(`it has the unknown field ${JSON.stringify(unknown).slice(0, 100)}`);
  const record = fromJson(values, (_id, field) => {
    throw noRecord(`the field ${field} is ${values[field] === undefined ? "missing" : "invalid"}`);
  });
  const check = (field: keyof DocumentRecord, holds: () => boolean) => {
    if (!isTrue(holds)) throw noRecord(`the field ${field} is invalid`);
  };
  const { source, provenance } = record;
  for (const field of ["provenance", "crc32", "expiresAt"] as const) check(field, () => values[field] !== undefined);
  check("uploadedAt", () => values["uploadedAt"] === record.uploadedAt);
  check("name", () => values["name"] === record.name);
  check("contentType", () => contentType(record.contentType) === record.contentType);
  check("uri", () => record.uri.isWellFormed() && storageSchemes.has(record.uri.replace(/:.*/s, "")));
  check("tags", () => isSame(documentTags(pairsOf(record.tags)), record.tags));
  check("metadata", () => isSame(documentMetadata(pairsOf(record.metadata)), record.metadata));
  check("source", () => consistsOf(source, sourceFields));
  check("provenance", () => provenance === null || consistsOf(provenance, provenanceFields));
  return { record, given: uploadedTags(values["uploadedTags"]) ?? record.tags };
}

/** @throws USAGE */
function uploadedTags(value: unknown): TextMap | undefined {
  if (value === undefined) return undefined;
  if (isTextMap(value) && isTrue(() => isSame(documentTags(pairsOf(value)), value))) return value;
  throw noRecord("the field uploadedTags is invalid");
}

/** Records of versions without paths had the name of the file alone, which could have control characters. */
function withPath(values: Record<string, unknown>): Record<string, unknown> {
  const { path, name, expiresAt = null } = values;
  if (path !== undefined || typeof name !== "string") return values;
  const asPath = name.replace(/\p{Cc}/gu, "_");
  return { ...values, path: asPath, name: asPath, expiresAt };
}

/**
 * Versions without paths kept tags and metadata as they were typed, whatever the form of their Unicode.
 * @throws USAGE when two keys become one
 */
function withComposedMaps(values: Record<string, unknown>): Record<string, unknown> {
  const maps = ["tags", "metadata", "uploadedTags"].flatMap((field) => {
    const map = values[field];
    if (!isTextMap(map)) return [];
    return [[field, composed(map, (key) => refuseTwin(field, key))] as const];
  });
  return { ...values, ...Object.fromEntries(maps) };
}

function refuseTwin(field: string, key: string): never {
  const shown = JSON.stringify(key.slice(0, 100));
  throw new DocprocError("USAGE", `Two keys of the field ${field} are one in Unicode NFC: ${shown}.`, {
    hint: "Change one of them in the line, and import it again.",
  });
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw noRecord("it is not JSON");
  }
}

/** Validation errors become the line's error. */
function isTrue(holds: () => boolean): boolean {
  try {
    return holds();
  } catch {
    return false;
  }
}

/** The pairs as typed on the command line; a key that contains `=` returns as another key. */
function pairsOf(map: TextMap): string[] {
  return Object.entries(map).map(([key, value]) => `${key}=${value}`);
}

function isSame(one: TextMap, other: TextMap): boolean {
  return canonicalJson(one) === canonicalJson(other);
}

function noRecord(why: string): DocprocError {
  return new DocprocError("USAGE", `The line is not a record of docproc: ${why}.`, {
    hint: "Import a file that docproc export wrote.",
  });
}

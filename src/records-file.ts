/** Records as lines of JSON, `docproc.record/1` each: what `docproc export` writes and `docproc import` reads. */
import {
  canonicalJson,
  contentType,
  type DocumentRecord,
  documentMetadata,
  documentName,
  documentTags,
  type TextMap,
} from "./document.ts";
import { DocprocError } from "./errors.ts";
import { jsonLine } from "./output/json.ts";
import { fromStored } from "./stored-record.ts";

/** Characters that are written at a time. */
const chunkLength = 64 * 1024;

/**
 * Whole lines, many at a time.
 * @param onRecord called with every record that was taken
 */
export async function* linesOf(records: AsyncIterable<DocumentRecord>, onRecord: () => void): AsyncIterable<string> {
  let held = "";
  for await (const record of records) {
    held += jsonLine(record);
    onRecord();
    if (held.length < chunkLength) continue;
    yield held;
    held = "";
  }
  if (held !== "") yield held;
}

/** Bytes. A record has at most some 100 KiB. */
const maxLineLength = 1024 * 1024;

export interface Line {
  /** From 1. */
  readonly number: number;
  /** The bytes of the line; undefined for one that is too long to be a record. */
  readonly bytes: Buffer | undefined;
}

/** The lines that hold anything. However long a line is, no more of it is kept than a record can have. */
export async function* splitLines(chunks: AsyncIterable<Uint8Array>): AsyncIterable<Line> {
  let number = 1;
  let pieces: Uint8Array[] = [];
  let length = 0;
  const take = (piece: Uint8Array) => {
    length += piece.length;
    if (length <= maxLineLength) pieces.push(piece);
    else pieces = [];
  };
  const end = (): Line => {
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

function isBlank({ bytes }: Line): boolean {
  return bytes?.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d) ?? false;
}

const fields: ReadonlySet<string> = new Set([
  ...(["id", "name", "size", "contentType", "sha256", "uploadedAt", "uri"] satisfies (keyof DocumentRecord)[]),
  ...(["tags", "metadata", "source", "provenance", "crc32"] satisfies (keyof DocumentRecord)[]),
]);

/** Kinds of source that this version knows; the compiler asks for every one. */
const kinds: Record<DocumentRecord["source"]["kind"], true> = { file: true, stdin: true, register: true };

/**
 * The record of a line. It may come from anywhere, so it is held to all that an upload is held to.
 * @throws USAGE, with the field
 */
export function parseRecord({ bytes }: Line): DocumentRecord {
  if (bytes === undefined) throw noRecord(`it is longer than ${maxLineLength} bytes`);
  const given = parseJson(bytes);
  if (typeof given !== "object" || given === null || Array.isArray(given)) throw noRecord("it is no JSON object");
  const { schema = "docproc.record/1", ...values } = given as Record<string, unknown>;
  if (schema !== "docproc.record/1") throw noRecord(`its schema is ${JSON.stringify(schema).slice(0, 100)}`);
  // Taken in without it, a record that a newer version wrote would lose it in silence.
  const unknown = Object.keys(values).find((key) => !fields.has(key));
  if (unknown !== undefined) throw noRecord(`it has the unknown field ${JSON.stringify(unknown).slice(0, 100)}`);
  const json = (field: keyof DocumentRecord) => JSON.stringify(values[field]);
  const record = fromStored(
    {
      ...(values as { [Field in keyof DocumentRecord]: unknown }),
      tags: json("tags"),
      metadata: json("metadata"),
      source: json("source"),
      provenance: values["provenance"] === null ? null : json("provenance"),
    },
    (_id, field) => {
      throw noRecord(`its ${field} ${values[field] === undefined ? "is missing" : "cannot be"}`);
    },
  );
  const check = (field: keyof DocumentRecord, holds: () => boolean) => {
    if (!isTrue(holds)) throw noRecord(`its ${field} cannot be`);
  };
  for (const field of ["provenance", "crc32"] as const) check(field, () => values[field] !== undefined);
  check("uploadedAt", () => values["uploadedAt"] === record.uploadedAt);
  check("name", () => documentName(record.name) === record.name);
  check("contentType", () => contentType(record.contentType) === record.contentType);
  check("tags", () => isSame(documentTags(pairsOf(record.tags)), record.tags));
  check("metadata", () => isSame(documentMetadata(pairsOf(record.metadata)), record.metadata));
  check("source", () => Object.hasOwn(kinds, record.source.kind) && Object.keys(record.source).length === 3);
  return record;
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw noRecord("it is not JSON");
  }
}

/** What is wrong with a value is said once, in the words for a line. */
function isTrue(holds: () => boolean): boolean {
  try {
    return holds();
  } catch {
    return false;
  }
}

/** As they would be given on the command line; a key that holds `=` comes back as another one. */
function pairsOf(map: TextMap): string[] {
  return Object.entries(map).map(([key, value]) => `${key}=${value}`);
}

function isSame(one: TextMap, other: TextMap): boolean {
  return canonicalJson(one) === canonicalJson(other);
}

function noRecord(why: string): DocprocError {
  return new DocprocError("USAGE", `The line is no record of docproc: ${why}.`, {
    hint: "docproc export writes records, one a line.",
  });
}

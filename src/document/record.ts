/**
 * The record of a document: its fields, its id, its storage key, and the rules for its values.
 *
 * The JSON form is `docproc.record/1`, a contract with scripts: fields are never omitted and never change meaning; new
 * ones may be added at the end.
 */
import { v7 } from "uuid";
import { DocprocError } from "../core/errors.ts";

/** A map of text to text, written by users. Keys may be anything, `__proto__` included. */
export type TextMap = Readonly<Record<string, string>>;

export interface DocumentRecord {
  /** UUIDv7, lower case: ids sort by time. */
  readonly id: string;
  /** Where it stands in the library, such as `dist/js/app.js`: see path.ts. Documents of one path are its versions. */
  readonly path: string;
  /** The last segment of the path. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly contentType: string;
  /** SHA-256 of the whole document, 64 lower-case hex digits. */
  readonly sha256: string;
  /** RFC 3339 in UTC with milliseconds; the id's own timestamp. */
  readonly uploadedAt: string;
  /** `s3://bucket/key` or `file:///…`. */
  readonly uri: string;
  readonly tags: TextMap;
  readonly metadata: TextMap;
  readonly source: DocumentSource;
  readonly provenance: Provenance | null;
  /** CRC-32 of the whole document from the storage, 8 lower-case hex digits; null when it keeps none. */
  readonly crc32: string | null;
  /** When it may be removed, RFC 3339 in UTC with milliseconds; null: never. Nothing is removed by itself. */
  readonly expiresAt: string | null;
}

export interface DocumentSource {
  /** `register`: someone else had stored the bytes before. */
  readonly kind: "file" | "stdin" | "register";
  /** As given on the command line; null for stdin. */
  readonly path: string | null;
  /** Modification time of the file or object, RFC 3339 in UTC; null for stdin. */
  readonly modifiedAt: string | null;
}

/** Where a document was made; unknown fields are null. */
export interface Provenance {
  /** Of the repository that docproc ran in; null outside of one. */
  readonly git: GitProvenance | null;
  /** Of the CI job that docproc ran in; null outside of one. */
  readonly ci: CiProvenance | null;
}

export interface GitProvenance {
  /** Hexadecimal, in full. */
  readonly commit: string | null;
  /** The checked-out branch, or the one that the CI job was started for; null when unknown. */
  readonly branch: string | null;
  /** Whether tracked files differed from the commit. */
  readonly dirty: boolean | null;
  /** The URL that the repository is fetched from, without credentials. */
  readonly remote: string | null;
}

/** In the provider's own terms. */
export interface CiProvenance {
  readonly provider: string;
  readonly run: string | null;
  readonly attempt: string | null;
  readonly job: string | null;
  readonly actor: string | null;
  readonly url: string | null;
}

/**
 * A new id. Ids made by one process within a millisecond still sort in creation order.
 * @param after an id that the new one must sort after, even if the clock that made it was ahead
 * @throws CONFLICT when no id sorts after it
 */
export function newDocumentId(after = ""): string {
  const id = v7();
  if (id > after) return id;
  const next = v7({ msecs: timeOfId(after) + 1 });
  if (isDocumentId(next) && next > after) return next;
  throw new DocprocError("CONFLICT", `No version can be newer than the document ${after}: its time is the last one.`, {
    hint: `Nothing was stored. If that document is not wanted, delete it: docproc delete ${after}`,
  });
}

/** The first digits of the year 10000. RFC 3339 cannot say it: its years have four digits. */
const idLimit = "e677d21f-dc00";

/** True for a UUIDv7 in docproc's form, of a year up to 9999. Hot: listings call it for every record. */
export function isDocumentId(text: string): boolean {
  return /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(text) && text < idLimit;
}

/** Milliseconds since the epoch, from the first 48 bits of a UUIDv7 (RFC 9562, section 5.7). */
export function timeOfId(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

/** Sorts after every id made before `time` (milliseconds), and before all later ones. */
export function firstIdAt(time: number): string {
  const hex = Math.max(0, Math.min(Math.ceil(time), 2 ** 48 - 1))
    .toString(16)
    .padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}`;
}

/** The RFC 3339 form of {@link timeOfId}. */
export function uploadTimeOfId(id: string): string {
  return new Date(timeOfId(id)).toISOString();
}

/**
 * The storage key of a document: `<prefix><last two hex digits of id>/<id>/<ascii-safe name>`.
 *
 * The id makes it unique, so it is written once and never overwritten. The two digits are random (the head of a UUIDv7
 * is a clock), which spreads S3 partitions and local directories. User text passes an allow-list, at most 100
 * characters of it.
 */
export function storageKey(prefix: string, id: string, name: string): string {
  const dot = name.lastIndexOf(".");
  const extension = dot > 0 ? asciiSafe(name.slice(dot + 1), 20) : "";
  const stem = asciiSafe(dot > 0 ? name.slice(0, dot) : name, 99 - extension.length) || "document";
  return `${prefix}${id.slice(-2)}/${id}/${stem}${extension && `.${extension}`}`;
}

/** False for a key with a `.` or `..` segment, which some servers resolve to another object. */
export function isUnambiguousKey(key: string): boolean {
  return !key.split("/").some((segment) => segment === "." || segment === "..");
}

const documentDirectory =
  "(?:[^/]+/)*([0-9a-f]{2})/([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{10}\\1)";

/** Matches every key of {@link storageKey}, whatever the prefix. */
export const storageKeyForm = new RegExp(`^${documentDirectory}/[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`);

/**
 * The id in a key made by {@link storageKey}; undefined for any other key.
 * @param prefix of the keys; undefined: any
 */
export function idOfKey(key: string, prefix: string | undefined): string | undefined {
  if (prefix !== undefined && !key.startsWith(prefix)) return undefined;
  const own = prefix === undefined ? key.split("/").slice(-3) : key.slice(prefix.length).split("/");
  return own.length === 3 ? storageKeyForm.exec(own.join("/"))?.[2] : undefined;
}

/** A storage key without its last segment: the directory of one document. */
export const documentDirectoryForm = new RegExp(`^${documentDirectory}$`);

/**
 * Reduces text to characters that S3 calls safe and every file system allows; letters lose their accents. Begins and
 * ends with a letter or digit: no hidden file, no `..`, no flag.
 */
function asciiSafe(text: string, length: number): string {
  return text
    .normalize("NFKD")
    .replace(/\p{Mark}+/gu, "")
    .replace(/[^A-Za-z0-9._-]+/g, "_")
    .replace(/\.{2,}/g, ".")
    .replace(/^[._-]+/, "")
    .slice(0, length)
    .replace(/[._-]+$/, "");
}

/** JSON with keys in UTF-8 byte order, so that equal maps have equal text. */
export function canonicalJson(map: TextMap): string {
  const entries = Object.entries(map).sort(([a], [b]) => compareBytes(a, b));
  return `{${entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(",")}}`;
}

/**
 * The keys and values in Unicode NFC, as {@link documentTags} and {@link documentMetadata} make them.
 * @param onTwin called with a key that two keys become; it may throw
 */
export function composed(map: TextMap, onTwin: (key: string) => void): TextMap {
  const entries = new Map<string, string>();
  for (const [key, value] of Object.entries(map)) {
    const one = key.normalize("NFC");
    if (entries.has(one)) onTwin(one);
    entries.set(one, value.normalize("NFC"));
  }
  return Object.fromEntries(entries);
}

/** UTF-8 byte order, as in both catalogs (JavaScript compares UTF-16 units). */
export function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/**
 * Validates a media type with parameters, as allowed in an HTTP header.
 * @throws USAGE for anything else. https://www.rfc-editor.org/rfc/rfc6838#section-4.2
 */
export function contentType(text: string): string {
  if (/^[a-z0-9][\w!#$&^.+-]*\/[a-z0-9][\w!#$&^.+-]*( *; *[\x20-\x7e]+)?$/i.test(text)) return text;
  throw new DocprocError("USAGE", `${JSON.stringify(text)} is not a content type.`, {
    hint: "Use for example application/pdf, or text/plain; charset=utf-8.",
  });
}

const maxTags = 40;
const maxTagKeyLength = 128;
const maxTagValueLength = 256;
/** Bytes of the JSON text. A DynamoDB item holds 400 KB in total. */
const maxMetadataBytes = 16 * 1024;

/**
 * Parses `key=value` pairs as tags.
 * @throws USAGE for more than 40 pairs, a key over 128 or a value over 256 characters
 */
export function documentTags(pairs: readonly string[]): TextMap {
  const tags = textMap("--tag", pairs);
  const entries = Object.entries(tags);
  if (entries.length > maxTags) {
    throw new DocprocError("USAGE", `${entries.length} tags are too many: a document has at most ${maxTags}.`, {
      hint: "Move tags that are not needed for searching to --meta.",
    });
  }
  for (const [key, value] of entries) {
    if (key.length > maxTagKeyLength || value.length > maxTagValueLength) {
      throw new DocprocError("USAGE", `The tag ${JSON.stringify(key.slice(0, maxTagKeyLength))} is too long.`, {
        hint: `A key has at most ${maxTagKeyLength} characters and a value ${maxTagValueLength}; --meta allows more.`,
      });
    }
  }
  return tags;
}

/**
 * Parses `key=value` pairs as metadata.
 * @throws USAGE for more than 16 KiB of JSON text
 */
export function documentMetadata(pairs: readonly string[]): TextMap {
  const metadata = textMap("--meta", pairs);
  const bytes = Buffer.byteLength(canonicalJson(metadata));
  if (bytes > maxMetadataBytes) {
    throw new DocprocError("USAGE", `The metadata has ${bytes} bytes; the limit is ${maxMetadataBytes}.`, {
      hint: "Upload it as a separate document.",
    });
  }
  return metadata;
}

function textMap(flag: string, pairs: readonly string[]): TextMap {
  // Without a prototype, `__proto__` is a key like any other.
  const map: Record<string, string> = Object.create(null);
  for (const given of pairs) {
    const pair = given.normalize("NFC");
    const equals = pair.indexOf("=");
    if (equals < 1 || !pair.isWellFormed()) {
      throw new DocprocError("USAGE", `${flag} ${JSON.stringify(given)} is not of the form key=value.`, {
        hint: `For example: ${flag} build=42`,
      });
    }
    const key = pair.slice(0, equals);
    if (key in map) {
      throw new DocprocError("USAGE", `${flag} ${JSON.stringify(key)} is given twice.`, {
        hint: "Use each key once.",
      });
    }
    map[key] = pair.slice(equals + 1);
  }
  return map;
}

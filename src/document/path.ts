/** The path of a document: where it stands in the library. Relative, `/` between its segments, in Unicode NFC. */
import { sep, win32 } from "node:path";
import { DocprocError } from "../core/errors.ts";

/** Bytes of a path in NFC. Fits a DynamoDB key with room to spare. */
const maxBytes = 1024;

/** Matches a path with an empty segment, `.` or `..`. */
const noSegment = /(?:^|\/)\.{0,2}(?:\/|$)/;
/** C0, DEL and C1. */
const controlCharacter = /\p{Cc}/u;
/** No ASCII text is changed by NFC. */
const printableAscii = /^[\x20-\x7e]*$/;

/**
 * Validates the path of a document and normalises it to NFC.
 * @param flag for the hint
 * @throws USAGE when it is empty, absolute, over 1,024 bytes or not valid Unicode, when a segment is empty, `.` or
 *   `..`, or when it has control characters
 */
export function documentPath(text: string, flag = "--name"): string {
  const path = text.normalize("NFC");
  const objection = objectionToPath(path);
  if (objection === undefined) return path;
  const shown = text.length > 100 ? `${text.slice(0, 100)}…` : text;
  throw new DocprocError("USAGE", `The path ${JSON.stringify(shown)} ${objection}.`, {
    hint: `Choose another with ${flag}, such as reports/2026/a.pdf.`,
  });
}

/** What a user typed as the path of a document, in NFC; a `./` before it says only that it is a path. Not validated. */
export function typedPath(text: string): string {
  return text.normalize("NFC").replace(/^(?:\.\/)+/, "");
}

/** True for a path as records keep it: what {@link documentPath} returns. Hot: listings call it for every record. */
export function isDocumentPath(text: string): boolean {
  if (printableAscii.test(text)) return text.length <= maxBytes && !noSegment.test(text);
  return objectionToPath(text) === undefined && text.normalize("NFC") === text;
}

function objectionToPath(path: string): string | undefined {
  if (path === "") return "is empty";
  if (path.startsWith("/")) return "begins with a slash";
  if (path.endsWith("/")) return "ends with a slash";
  if (noSegment.test(path)) return 'has a segment that is empty, "." or ".."';
  if (!path.isWellFormed()) return "is not valid Unicode";
  if (controlCharacter.test(path)) return "has control characters";
  return Buffer.byteLength(path) > maxBytes ? `is longer than ${maxBytes} bytes` : undefined;
}

/** The last segment of a path. */
export function nameOfPath(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** What is before the last segment, without a slash at its end; empty at the top of the library. */
export function folderOfPath(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

/**
 * The path in a folder; undefined and empty are the top of the library. Both are not validated, and the result may be
 * too long: see {@link documentPath}.
 */
export function joinPath(folder: string | undefined, path: string): string {
  return folder ? `${folder}/${path}` : path;
}

/**
 * A file's path as typed, made relative as tar does it: a root (`/`, `C:`, `\\server\share`) and leading `..` are
 * dropped, inner `.`, `..` and empty segments are resolved by text. Empty for a path without a name, such as `/` or
 * `..`. Not validated: see {@link documentPath}.
 * @param separator of the system: with `\`, the rules of Windows apply, where `/` separates as well
 */
export function relativePath(typed: string, separator: "/" | "\\" = sep): string {
  const segments: string[] = [];
  for (const segment of segmentsBelowRoot(typed, separator)) {
    if (segment === "..") segments.pop();
    else if (segment !== ".") segments.push(segment);
  }
  return segments.join("/");
}

/**
 * The name at the end of a file's path as typed; empty for a path that ends in `.`, `..` or a root.
 * @param separator see {@link relativePath}
 */
export function typedName(typed: string, separator: "/" | "\\" = sep): string {
  const last = segmentsBelowRoot(typed, separator).at(-1) ?? "";
  return last === "." || last === ".." ? "" : last;
}

function segmentsBelowRoot(typed: string, separator: "/" | "\\"): string[] {
  const windows = separator === "\\";
  const below = windows ? typed.slice(win32.parse(typed).root.length) : typed;
  return below.split(windows ? /[\\/]/ : "/").filter((segment) => segment !== "");
}

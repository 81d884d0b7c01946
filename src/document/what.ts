/**
 * What a person looks for, in as few letters as possible: `inv`, `scans/`, `*.pdf` or `dist/*.js`.
 *
 * Small letters match both cases; with a capital letter all letters match only their own. Texts are folded by
 * `toLowerCase`, in NFC, whatever the catalog.
 */
import { DocprocError } from "../core/errors.ts";
import { nameOfPath, typedPath } from "./path.ts";

export interface What {
  /**
   * - `part`: a part of the path.
   * - `folder`: the path of a folder, without a slash at its end.
   * - `path`: a glob for the path.
   * - `name`: a glob for the name, since it has no slash.
   */
  readonly kind: "part" | "folder" | "path" | "name";
  /** In NFC. */
  readonly text: string;
  /** Whether the path is to be folded before it is compared. */
  readonly folds: boolean;
}

const maxLength = 1024;

/** @throws USAGE for text that is empty or too long */
export function whatOf(given: string): What {
  const text = typedPath(given);
  const plain = text.replace(/\/+$/, "");
  if (plain === "" || text.length > maxLength) {
    throw new DocprocError("USAGE", `What to list must have 1 to ${maxLength} characters.`, {
      hint: "Give a part of a path, a folder with a slash at its end, or a glob; or nothing, for all documents.",
    });
  }
  // Without letters of two cases there is nothing to fold.
  const folds = text === fold(text) && text !== text.toUpperCase();
  if (/[*?[{]/.test(text)) return { kind: text.includes("/") ? "path" : "name", text, folds };
  return text.endsWith("/") ? { kind: "folder", text: plain, folds } : { kind: "part", text, folds };
}

/** Text without the difference between large and small letters. */
export function fold(text: string): string {
  return text.normalize("NFC").toLowerCase();
}

/** A test for the path of a record. */
export async function whatMatcher({ kind, text, folds }: What): Promise<(path: string) => boolean> {
  const shown = folds ? fold : (path: string) => path;
  if (kind === "part") return (path) => shown(path).includes(text);
  if (kind === "folder") return (path) => shown(path).startsWith(`${text}/`);
  const { globMatcher } = await import("./glob.ts");
  const matches = globMatcher(text);
  return (path) => matches(shown(kind === "name" ? nameOfPath(path) : path));
}

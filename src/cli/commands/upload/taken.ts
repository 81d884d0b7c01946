/**
 * Notices two files of one command that would get the same path: the second would hide the first in the library.
 *
 * Names in a directory differ, so this is possible only between inputs that were named separately, and only if one
 * begins where the other is or above it. The files of these are remembered, and no others: any number of files in one
 * directory needs no memory.
 */
import { resolve } from "node:path";
import { folderOfPath } from "../../../document/path.ts";

export class TakenPaths {
  /** Beginnings that another one is equal to, above or below. */
  readonly #shared: ReadonlySet<string>;
  /** Labels by path. */
  readonly #taken = new Map<string, string>();
  readonly #cwd: string;

  /**
   * @param beginnings the path of each named file, and the folder of each named directory's files; empty: the top
   * @param cwd labels are relative to it
   */
  constructor(beginnings: readonly string[], cwd: string) {
    this.#shared = sharedBeginnings(beginnings);
    this.#cwd = cwd;
  }

  /**
   * Takes a path for a file.
   * @param beginning of the input that the file belongs to
   * @param label the file's path as typed
   * @returns the label of another file that has the path already; undefined when it is free or the same file's
   */
  take(beginning: string, path: string, label: string): string | undefined {
    if (!this.#shared.has(beginning)) return undefined;
    const other = this.#taken.get(path);
    if (other === undefined) this.#taken.set(path, label);
    return other === undefined || resolve(this.#cwd, other) === resolve(this.#cwd, label) ? undefined : other;
  }
}

function sharedBeginnings(beginnings: readonly string[]): Set<string> {
  const all = new Set<string>();
  const shared = new Set<string>();
  for (const beginning of beginnings) (all.has(beginning) ? shared : all).add(beginning);
  for (const beginning of all) {
    for (let below = beginning; below !== ""; ) {
      below = folderOfPath(below);
      if (all.has(below)) shared.add(beginning).add(below);
    }
  }
  return shared;
}

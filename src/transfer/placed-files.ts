/**
 * The files that one run has put in place. Two documents never meet in one: names that differ may mean one file, since
 * file systems fold case and Unicode forms by rules of their own. So files are compared and not names.
 */
import type { BigIntStats } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { Mutex } from "async-mutex";
import { DocprocError, fromSystemError } from "../core/errors.ts";
import { isAbsence } from "../files/stat.ts";
import { TextSet } from "../files/text-set.ts";

/** Where a document is to be. */
export interface Place {
  readonly path: string;
  /** The path in messages. */
  readonly shown: string;
  /** The path below the destination. */
  readonly below: string;
}

export class PlacedFiles {
  readonly #paths = new TextSet();
  /** By device and inode. */
  readonly #files = new TextSet();
  /** Between the look at a place and its change, no other document may be placed. */
  readonly #placing = new Mutex();

  /**
   * Puts a document in its place.
   * @param put does it, and says whether the file there is this document's now
   * @returns what `put` says
   * @throws CONFLICT when another document is there; errors of `put`
   */
  async place(place: Place, put: () => Promise<boolean>): Promise<boolean> {
    return await this.#placing.runExclusive(async () => {
      await this.assertApart(place);
      if (!(await put())) return false;
      const seen = await look(place);
      await this.#paths.add(place.below);
      if (seen) await this.#files.add(keyOf(seen));
      return true;
    });
  }

  close(): void {
    this.#paths.close();
    this.#files.close();
  }

  /** @throws CONFLICT when another document of this run is there */
  async assertApart(place: Place): Promise<void> {
    const { path, shown, below } = place;
    if (!this.#paths.has(below)) {
      const seen = await look(place);
      if (seen === undefined || !this.#files.has(keyOf(seen))) return;
      // A hard link from before: the directory has both names, so each document can have its own.
      if (seen.nlink > 1n && (await readdir(dirname(path))).includes(basename(path))) return;
    }
    throw new DocprocError("CONFLICT", `Two documents would be written to ${shown}.`, {
      hint: "Download them one by one, with -o FILE. Some file systems take names that differ in case for one.",
    });
  }
}

/** A link is looked at itself. */
async function look({ path, shown }: Place): Promise<BigIntStats | undefined> {
  return await lstat(path, { bigint: true }).catch((error: unknown) => {
    if (isAbsence(error)) return undefined;
    throw fromSystemError(error, shown);
  });
}

function keyOf({ dev, ino }: BigIntStats): string {
  return `${dev}:${ino}`;
}

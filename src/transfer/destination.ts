/** Where documents are written: to a given file, or below a directory, under their paths or others made of their fields. */
import { createHash } from "node:crypto";
import { access, constants, lstat, mkdir } from "node:fs/promises";
import { basename, dirname, join, resolve, sep } from "node:path";
import { DocprocError, fromSystemError, isSystemError, throwIfCancelled } from "../core/errors.ts";
import { isDocumentPath, nameOfPath } from "../document/path.ts";
import type { DocumentRecord } from "../document/record.ts";
import { flushDirectories } from "../files/atomic.ts";
import { type Folder, Folders } from "../files/folders.ts";
import { fileNameOf } from "../files/names.ts";
import { openRegularFile } from "../files/regular.ts";
import { madeFile, removeFile } from "../files/removal.ts";
import { type DownloadToOptions, downloadTo } from "./download.ts";
import { type Place, PlacedFiles } from "./placed-files.ts";

/** What a destination has to know of a document. The path may be made by the caller, and need not be valid. */
export type Arrival = Pick<DocumentRecord, "id" | "path" | "size" | "sha256">;

export interface DestinationOptions {
  readonly cwd: string;
  /** A file or a directory; default: the working directory. */
  readonly output: string | undefined;
  /** Whether there may be more than one document, so that `output` is a directory. */
  readonly several: boolean;
  /** Base names instead of paths. */
  readonly flat?: boolean;
  /** Permission bits that new folders do not get. */
  readonly umask: number;
  /** Whether the rules of Windows apply to names. */
  readonly windows?: boolean;
  /** See `FoldersOptions`. */
  readonly handles?: boolean;
}

export interface ReceiveOptions extends Omit<DownloadToOptions, "shown" | "placing"> {
  /** Whether hidden files and folders are allowed: see `isHidden`. */
  readonly hidden: boolean;
}

export interface Received {
  /** `present`: the file was there with these bytes, and nothing was read or written. */
  readonly action: "downloaded" | "present";
  /** The absolute path of the file. */
  readonly file: string;
}

/** Bytes read at a time to compare a file. */
const chunkSize = 1024 * 1024;

export class Destination {
  /** Base names instead of paths. */
  readonly #flat: boolean;
  /** Set when the user named the file. */
  readonly #file: string | undefined;
  readonly #windows: boolean;
  readonly #folders: Folders;
  readonly #placed = new PlacedFiles();
  /** The directory that is made for the first document: a download of nothing leaves nothing behind. */
  readonly #missing: string | undefined;
  #made: Promise<void> | undefined;

  private constructor(
    root: string,
    { umask, windows = sep === "\\", handles }: DestinationOptions,
    how: { readonly file?: string; readonly flat?: boolean; readonly missing?: boolean },
  ) {
    this.#file = how.file;
    this.#flat = how.flat ?? false;
    this.#missing = how.missing ? root : undefined;
    this.#windows = windows;
    this.#folders = new Folders(root, { umask, ...(handles === undefined ? {} : { handles }) });
  }

  /**
   * Interprets `output`: a directory if it exists as one, ends in a slash, or there may be several documents. One
   * document goes into the working directory under its base name.
   * @throws CONFLICT when a file is in the way of a directory, ACCESS_DENIED when it cannot be made
   */
  static async open(options: DestinationOptions): Promise<Destination> {
    const { cwd, output, several, flat = false } = options;
    if (output === undefined) return new Destination(cwd, options, { flat: flat || !several });
    const path = resolve(cwd, output);
    const asDirectory = several || output.endsWith("/") || output.endsWith(sep);
    const seen = await lstat(`${path}${sep}.`).catch(() => undefined);
    if (!asDirectory && !seen?.isDirectory()) {
      return new Destination(dirname(path), options, { file: basename(path) });
    }
    if (seen === undefined) await assertCanBeMade(path, output);
    return new Destination(path, options, { flat, missing: seen === undefined });
  }

  /**
   * Writes a document to its file, unless that is there with the same bytes.
   * @param read its bytes, which must end only when complete and verified; called only if they are needed
   * @throws USAGE for a path that cannot be written here; CONFLICT when a link or something else is in the way, or
   *   another document of this run; errors of reading and writing
   */
  async receive(
    document: Arrival,
    read: () => AsyncIterable<Uint8Array>,
    { hidden, ...options }: ReceiveOptions,
  ): Promise<Received> {
    const names = this.#file === undefined ? this.#namesOf(document, hidden) : [this.#file];
    const name = names.at(-1) ?? "";
    const below = names.length === 1 ? name : names.join("/");
    if (this.#missing !== undefined) this.#made ??= makeDirectory(this.#missing);
    await this.#made;
    return await this.#folders.use(names.slice(0, -1), async (folder) => {
      const place = { path: join(folder.path, name), shown: join(folder.shown, name), below };
      const { path, shown } = place;
      await this.#placed.assertApart(place);
      if (await this.#isPresent(place, document, options.signal)) return { action: "present", file: shown };
      await downloadTo(path, read(), {
        ...options,
        shown,
        placing: async (made, publish) => {
          await this.#placed.place(place, async () => {
            await folder.assertSame();
            await publish();
            await assertStillSame(folder, async () => void (await removeFile(madeFile(path, made))));
            return true;
          });
        },
      });
      return { action: "downloaded", file: shown };
    });
  }

  /** Frees what is known of the files written so far. */
  close(): void {
    this.#placed.close();
  }

  /** @throws USAGE */
  #namesOf(document: Arrival, hidden: boolean): string[] {
    const path = document.path.normalize("NFC");
    if (!isDocumentPath(path)) {
      throw new DocprocError("USAGE", `The document ${document.id} would get the path ${JSON.stringify(path)}.`, {
        hint: "No part of a path is empty, .. or has control characters. Choose documents that have the fields of -o.",
      });
    }
    return (this.#flat ? nameOfPath(path) : path).split("/").map((name) => fileNameOf(name, this.#windows, hidden));
  }

  /** Whether the file is there with the document's bytes. Then it is this document's file. */
  async #isPresent(place: Place, { size, sha256 }: Arrival, signal: AbortSignal): Promise<boolean> {
    const { path, shown } = place;
    const seen = await lstat(path, { bigint: true }).catch(() => undefined);
    if (!seen?.isFile() || seen.size !== BigInt(size)) return false;
    const handle = await openRegularFile(path).catch(() => undefined);
    if (handle === undefined) return false;
    const digest = createHash("sha256");
    try {
      const opened = await handle.stat({ bigint: true });
      // Replaced by a link to another file just now.
      if (opened.dev !== seen.dev || opened.ino !== seen.ino) return false;
      const buffer = Buffer.allocUnsafe(Math.min(size, chunkSize));
      for (let left = size; left > 0; ) {
        throwIfCancelled(signal);
        const { bytesRead } = await handle.read(buffer, 0, Math.min(left, buffer.length));
        if (bytesRead === 0) return false;
        digest.update(buffer.subarray(0, bytesRead));
        left -= bytesRead;
      }
    } catch (error) {
      throw fromSystemError(error, shown);
    } finally {
      await handle.close().catch(() => {});
    }
    if (digest.digest("hex") !== sha256) return false;
    return await this.#placed.place(place, async () => {
      const now = await lstat(path, { bigint: true }).catch(() => undefined);
      return now !== undefined && now.dev === seen.dev && now.ino === seen.ino && now.mtimeNs === seen.mtimeNs;
    });
  }
}

/** @throws what making the directory would throw */
async function assertCanBeMade(path: string, shown: string): Promise<void> {
  const seen = await lstat(path).catch(() => undefined);
  if (seen) throw new DocprocError("CONFLICT", `${shown} already exists.`, { hint: "Nothing was overwritten." });
  for (let above = dirname(path); ; above = dirname(above)) {
    try {
      // Its own entry, as a directory: a file is ENOTDIR.
      return await access(`${above}${sep}.`, constants.W_OK);
    } catch (error) {
      if (!isSystemError(error) || error.code !== "ENOENT" || above === dirname(above)) {
        throw fromSystemError(error, shown);
      }
    }
  }
}

async function makeDirectory(path: string): Promise<void> {
  try {
    const made = await mkdir(path, { recursive: true });
    if (made !== undefined) await flushDirectories(dirname(path), dirname(made));
  } catch (error) {
    throw fromSystemError(error, path);
  }
}

async function assertStillSame(folder: Folder, undo: () => Promise<void>): Promise<void> {
  await folder.assertSame().catch(async (error) => {
    await undo().catch(() => {});
    throw error;
  });
}

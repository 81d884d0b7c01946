/** Downloads a document into a file, which appears whole and checked, or not at all. */
import { lstat, mkdir } from "node:fs/promises";
import { dirname, join, resolve, sep } from "node:path";
import { reached } from "../core/crash-points.ts";
import { DocprocError, fromSystemError, throwIfCancelled } from "../core/errors.ts";
import { createNew, flushDirectories, publish, writeWhole } from "../files/atomic.ts";
import { fileNameOf } from "../files/names.ts";
import {
  changeMode,
  type FileIdentity,
  fileIdentityOf,
  isReplaceable,
  madeFile,
  removeFile,
  replaceFile,
  temporaryFile,
  temporaryIn,
} from "../files/removal.ts";

export interface DownloadToOptions {
  /** Replace an existing file. */
  readonly force: boolean;
  /** Permission bits that new files do not get. */
  readonly umask: number;
  readonly signal: AbortSignal;
  /** Called with the bytes newly written. */
  readonly onProgress: (bytes: number) => void;
}

/** Where documents are written: to a given file, or under their own names in a directory. */
export class Destination {
  readonly #file: string | undefined;
  readonly #directory: string;
  /** Paths already used in this run. */
  readonly #taken = new Set<string>();

  private constructor(directory: string, file: string | undefined) {
    this.#directory = directory;
    this.#file = file;
  }

  /**
   * Interprets `-o`: a directory if it exists as one, ends in a slash, or several documents are downloaded.
   * @throws CONFLICT when a file is in the way of a directory
   */
  static async open(cwd: string, output: string | undefined, several: boolean): Promise<Destination> {
    if (output === undefined) return new Destination(cwd, undefined);
    const path = resolve(cwd, output);
    const seen = await lstat(`${path}${sep}.`).catch(() => undefined);
    if (!several && !seen?.isDirectory() && !output.endsWith("/") && !output.endsWith(sep))
      return new Destination(dirname(path), path);
    try {
      await mkdir(path, { recursive: true });
    } catch (error) {
      throw fromSystemError(error, output);
    }
    return new Destination(path, undefined);
  }

  /**
   * The path for a document of this name.
   * @param hidden whether hidden files are allowed
   * @throws USAGE for an invalid file name; CONFLICT when another document of this run has the path
   */
  pathFor(name: string, hidden: boolean): string {
    const path = this.#file ?? join(this.#directory, fileNameOf(name, sep === "\\", hidden));
    // A second line of defence: fileNameOf() lets nothing out of the directory.
    if (dirname(path) !== this.#directory) throw new DocprocError("USAGE", `${path} is in another directory.`);
    if (this.#taken.has(path)) {
      throw new DocprocError("CONFLICT", `Two documents would be written to ${path}.`, {
        hint: "Download them one by one, with -o FILE.",
      });
    }
    this.#taken.add(path);
    return path;
  }
}

/**
 * Writes a document to a file.
 * @param bytes must end only when complete and verified
 * @throws CONFLICT when the file exists and may not be replaced; errors of reading and writing. The path is then
 *   unchanged, or holds the whole document if the disk failed after a replacement.
 */
export async function downloadTo(
  path: string,
  bytes: AsyncIterable<Uint8Array>,
  options: DownloadToOptions,
): Promise<void> {
  await assertFree(path, options.force);
  // In the same directory, because rename works only within one file system.
  const temporary = temporaryIn(dirname(path));
  try {
    let made: FileIdentity;
    const handle = await createNew(temporary).catch((error) => {
      throw fromSystemError(error, path);
    });
    reached("download-begun");
    try {
      for await (const chunk of bytes) {
        throwIfCancelled(options.signal);
        await writeWhole(handle, chunk);
        options.onProgress(chunk.byteLength);
      }
      reached("download-checked");
      await changeMode(handle, 0o666 & ~options.umask);
      await handle.sync();
      made = await fileIdentityOf(handle);
    } finally {
      await handle.close();
    }
    throwIfCancelled(options.signal);
    if (options.force) {
      if (!(await replaceFile(temporaryFile(temporary), path))) throw notReplaceable(path);
    } else if (!(await publish(temporary, path))) throw alreadyThere(path);
    reached("download-published");
    await flushDirectories(dirname(path), dirname(path)).catch(async (error) => {
      // A replaced file cannot come back. A new one is removed, so that the same command can run again.
      if (!options.force) await removeFile(madeFile(path, made)).catch(() => {});
      throw error;
    });
  } catch (error) {
    throw fromSystemError(error, path);
  } finally {
    await removeFile(temporaryFile(temporary)).catch(() => {});
  }
}

async function assertFree(path: string, force: boolean): Promise<void> {
  const seen = await lstat(path).catch(() => undefined);
  if (seen?.isDirectory())
    throw new DocprocError("CONFLICT", `${path} is a directory.`, { hint: "To write into it, add a slash." });
  if (seen && !force) throw alreadyThere(path);
  if (seen && !(await isReplaceable(path))) throw notReplaceable(path);
}

/** A device or a pipe: a rename would take its name from everything else that uses it. */
function notReplaceable(path: string): DocprocError {
  return new DocprocError("CONFLICT", `${path} is not a file, and docproc replaces only files.`, {
    hint: "To write into a pipe or a device, use docproc cat.",
  });
}

function alreadyThere(path: string): DocprocError {
  return new DocprocError("CONFLICT", `${path} already exists.`, {
    hint: "Nothing was overwritten. Add --force to replace it, or name another file with -o.",
  });
}

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

export interface DownloadOptions {
  /** Replace what is there. */
  readonly force: boolean;
  /** Permissions that new files do not get. */
  readonly umask: number;
  readonly signal: AbortSignal;
  /** Called with the number of bytes newly written. */
  readonly onProgress: (bytes: number) => void;
}

/** Where documents are written: under a name that the user gave, or under their own in a directory. */
export class Destination {
  readonly #file: string | undefined;
  readonly #directory: string;
  /** Paths that documents of this run were given. */
  readonly #taken = new Set<string>();

  private constructor(directory: string, file: string | undefined) {
    this.#directory = directory;
    this.#file = file;
  }

  /**
   * What `-o` means: an existing directory, or one that ends in a slash, or any where several documents go.
   * @throws CONFLICT where a file is in the way of a directory
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
   * @param hidden whether it may be that of a hidden file
   * @throws USAGE when its name cannot be that of a file; CONFLICT when another document of this run has it
   */
  pathFor(name: string, hidden: boolean): string {
    const path = this.#file ?? join(this.#directory, fileNameOf(name, sep === "\\", hidden));
    // What fileNameOf() lets through stays inside; this holds even if it ever did not.
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
 * @param bytes end only when all of them are there and are the right ones
 * @throws CONFLICT when something is there and may not be replaced; what reading or writing throws. The path is as
 *   it was then, or holds the whole document where the disk failed after a replacement.
 */
export async function downloadTo(
  path: string,
  bytes: AsyncIterable<Uint8Array>,
  options: DownloadOptions,
): Promise<void> {
  await assertFree(path, options.force);
  // In the same directory, since a file can be renamed within one file system only.
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
      // What was replaced cannot come back. What is new goes, so that the same command can be run again.
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
    throw new DocprocError("CONFLICT", `${path} is a directory.`, { hint: "Add a slash to it." });
  if (seen && !force) throw alreadyThere(path);
  if (seen && !(await isReplaceable(path))) throw notReplaceable(path);
}

/** A device or a pipe: renaming a file to its name would take it away from everything else that uses it. */
function notReplaceable(path: string): DocprocError {
  return new DocprocError("CONFLICT", `${path} is not a file, and only files are replaced.`, {
    hint: "To write into a pipe or a device, use docproc cat.",
  });
}

function alreadyThere(path: string): DocprocError {
  return new DocprocError("CONFLICT", `${path} exists already.`, {
    hint: "Nothing was overwritten. Add --force to replace it, or name another file with -o.",
  });
}

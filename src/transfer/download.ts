/** Downloads a document into a file, which appears whole and checked, or not at all. */
import { lstat } from "node:fs/promises";
import { dirname } from "node:path";
import { reached } from "../core/crash-points.ts";
import { DocprocError, fromSystemError, throwIfCancelled } from "../core/errors.ts";
import { createNew, flushDirectories, publish, writeWhole } from "../files/atomic.ts";
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
  /** The path in messages, where it is worked with by another. */
  readonly shown?: string;
  /** Gives the finished file its name by calling `publish`, or throws before. Default: calls it at once. */
  readonly placing?: (made: FileIdentity, publish: () => Promise<void>) => Promise<void>;
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
  const { shown = path, placing = async (_made, publish) => await publish() } = options;
  await assertFree(path, shown, options.force);
  // In the same directory, because rename works only within one file system.
  const temporary = temporaryIn(dirname(path));
  try {
    let made: FileIdentity;
    const handle = await createNew(temporary).catch((error) => {
      throw fromSystemError(error, shown);
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
    await placing(made, async () => {
      if (options.force) {
        if (!(await replaceFile(temporaryFile(temporary), path))) throw notReplaceable(shown);
      } else if (!(await publish(temporary, path))) throw alreadyThere(shown);
      reached("download-published");
    });
    await flushDirectories(dirname(path), dirname(path)).catch(async (error) => {
      // A replaced file cannot come back. A new one is removed, so that the same command can run again.
      if (!options.force) await removeFile(madeFile(path, made)).catch(() => {});
      throw error;
    });
  } catch (error) {
    throw fromSystemError(error, shown);
  } finally {
    await removeFile(temporaryFile(temporary)).catch(() => {});
  }
}

async function assertFree(path: string, shown: string, force: boolean): Promise<void> {
  const seen = await lstat(path).catch(() => undefined);
  if (seen?.isDirectory())
    throw new DocprocError("CONFLICT", `${shown} is a directory, and the document needs a file there.`, {
      hint: "Download it to another file with -o FILE, or into the directory with a slash at the end of -o.",
    });
  if (seen && !force) throw alreadyThere(shown);
  if (seen && !(await isReplaceable(path))) throw notReplaceable(shown);
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

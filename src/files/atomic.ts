/**
 * Writes files atomically: to a temporary file on the same file system, flushed, then linked or renamed to the final
 * name. An existing file is replaced only on request.
 */
import { constants } from "node:fs";
import { type FileHandle, link, open } from "node:fs/promises";
import { dirname } from "node:path";
import { isSystemError } from "../core/errors.ts";
import { type FileIdentity, madeFile, makeEmptyFile, removeFile, replaceFile, temporaryFile } from "./removal.ts";

/** Modes of what docproc stores: for the owner alone. */
export const privateDirectory = 0o700;
export const privateFile = 0o600;

/** In the notation of chmod(1). */
export function modeText(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}

/** Creates a file for writing. Fails when anything exists at the path, a symbolic link included. */
export async function createNew(path: string): Promise<FileHandle> {
  return await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, privateFile);
}

/** write(2) may write fewer bytes than requested. */
export async function writeWhole(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  let offset = 0;
  while (offset < chunk.byteLength) {
    const { bytesWritten } = await handle.write(chunk, offset, chunk.byteLength - offset);
    offset += bytesWritten;
  }
}

/**
 * Moves a finished file to its final name. May leave the temporary name for the caller to remove.
 * @param temporary a name from `temporaryIn`
 * @returns false, with nothing changed, when the name is taken
 */
export async function publish(temporary: string, target: string): Promise<boolean> {
  try {
    // link(2) refuses a taken name; rename(2) would replace it.
    await link(temporary, target);
    return true;
  } catch (error) {
    if (!isSystemError(error)) throw error;
    if (error.code === "EEXIST") return false;
    if (!withoutHardLinks.has(error.code)) throw error;
  }
  // FAT, exFAT and some network disks have no hard links: claim the name, then move the file over the claim.
  let claim: FileIdentity;
  try {
    claim = await makeEmptyFile(target, privateFile);
  } catch (error) {
    if (isSystemError(error) && error.code === "EEXIST") return false;
    throw error;
  }
  try {
    if (await replaceFile(temporaryFile(temporary), target, claim)) return true;
    await removeFile(madeFile(target, claim));
    return false;
  } catch (error) {
    // A left claim would be mistaken for the file.
    await removeFile(madeFile(target, claim)).catch(() => {});
    throw error;
  }
}

const withoutHardLinks = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EINVAL", "EMLINK", "EXDEV"]);

/**
 * Makes a new name durable: flushes its directory, and all new ones above it.
 * @param upTo the directory of the highest new name
 */
export async function flushDirectories(from: string, upTo: string): Promise<void> {
  for (let directory = from, last = false; !last && directory.startsWith(upTo); directory = dirname(directory)) {
    // The root directory is its own parent.
    last = directory === upTo;
    let handle: FileHandle | undefined;
    try {
      handle = await open(directory, constants.O_RDONLY);
      await handle.sync();
    } catch (error) {
      // Windows cannot open a directory, and some file systems refuse to flush one.
      if (!(isSystemError(error) && cannotFlushDirectory.has(error.code))) throw error;
    } finally {
      await handle?.close();
    }
  }
}

const cannotFlushDirectory = new Set(["EISDIR", "EPERM", "EINVAL", "ENOTSUP", "EBADF"]);

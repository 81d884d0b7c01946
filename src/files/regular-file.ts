/** Opens files that others may have put something else in place of. */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { isSystemError } from "../errors.ts";

/**
 * Opens a file for reading; undefined for anything else. It does not wait for what opening a FIFO waits for, a writer:
 * a thread that does hears of no signal.
 * @throws the system's own error
 */
export async function openRegularFile(path: string): Promise<FileHandle | undefined> {
  let handle: FileHandle;
  try {
    // Windows has no such flag, and no FIFOs among its files.
    handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (error) {
    if (isSystemError(error) && unopenable.has(error.code)) return undefined;
    throw error;
  }
  try {
    if ((await handle.stat()).isFile()) return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
  await handle.close();
  return undefined;
}

/** What the system says of sockets, and of devices that are not there. */
const unopenable = new Set(["ENXIO", "ENODEV"]);

/**
 * The beginning of a small text file; undefined for anything that is no file.
 * @param most bytes to read, whatever its size
 * @throws the system's own error
 */
export async function readBeginning(path: string, most: number): Promise<string | undefined> {
  const handle = await openRegularFile(path);
  if (handle === undefined) return undefined;
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(most), 0, most, 0);
    return buffer.toString("utf8", 0, bytesRead);
  } finally {
    await handle.close();
  }
}

/** Opens files that others may have replaced by a pipe, a device, or a file without an end. */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { isSystemError } from "../core/errors.ts";

/**
 * Opens a regular file for reading; undefined for anything else. Never blocks on a FIFO: a thread that waits for its
 * writer hears no signals.
 * @throws the system's error
 */
export async function openRegularFile(path: string): Promise<FileHandle | undefined> {
  let handle: FileHandle;
  try {
    // Windows knows neither flag and has no FIFOs among its files.
    handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0));
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

/** Errors for sockets and missing devices. */
const unopenable = new Set(["ENXIO", "ENODEV"]);

/** The file cannot be read whole. The message is a clause: `it is not a regular file`. */
export class UnsuitableFile extends Error {
  override readonly name = "UnsuitableFile";
}

/**
 * The content of a file.
 * @param most bytes to read at most
 * @throws UnsuitableFile when it is no regular file or larger than `most`; the system's errors
 */
export async function readSmallFile(path: string, most: number): Promise<Buffer> {
  const handle = await openRegularFile(path);
  if (handle === undefined) throw new UnsuitableFile("it is not a regular file");
  try {
    const { size } = await handle.stat();
    const tooLarge = (bytes: number | string) => new UnsuitableFile(`it has ${bytes} bytes, and the limit is ${most}`);
    if (size > most) throw tooLarge(size);
    // One extra byte detects growth. Files in /proc report size 0.
    let bytes = Buffer.alloc(size + 1);
    let length = 0;
    for (let read = -1; read !== 0; length += read) {
      if (length > most) throw tooLarge("more");
      if (length === bytes.length) bytes = Buffer.concat([bytes], Math.min(2 * length + 4096, most + 1));
      ({ bytesRead: read } = await handle.read(bytes, length, bytes.length - length, length));
    }
    return bytes.subarray(0, length);
  } finally {
    await handle.close();
  }
}

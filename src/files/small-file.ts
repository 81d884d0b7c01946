/** Reads a file that other users may have made: a pipe must not hang the program, nor an endless file fill the memory. */
import { constants } from "node:fs";
import { open } from "node:fs/promises";

/** What stands at the path is nothing that can be read whole. The message is a clause: `it is not a regular file`. */
export class UnsuitableFile extends Error {
  override readonly name = "UnsuitableFile";
}

/**
 * The content of a regular file.
 * @param most bytes that are read
 * @throws UnsuitableFile for a directory, a pipe, a device, or more than `most` bytes; the system's errors as they are
 */
export async function readSmallFile(path: string, most: number): Promise<Buffer> {
  // Without O_NONBLOCK, opening a pipe waits until it is written to. Windows knows neither flag.
  const handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0));
  try {
    const seen = await handle.stat();
    if (!seen.isFile()) throw new UnsuitableFile("it is not a regular file");
    const tooLarge = (size: number | string) =>
      new UnsuitableFile(`it has ${size} bytes, and at most ${most} are read`);
    if (seen.size > most) throw tooLarge(seen.size);
    // One byte more than there should be: the file may grow, and those of /proc say that they are empty.
    let bytes = Buffer.alloc(seen.size + 1);
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

/** Makes the files of objects: temporary first, then under their keys, with the time by which a later change shows. */
import { lstat } from "node:fs/promises";
import { reached } from "../../core/crash-points.ts";
import { throwIfCancelled } from "../../core/errors.ts";
import { idOfKey, timeOfId } from "../../document/record.ts";
import { createNew, publish, writeWhole } from "../../files/atomic.ts";
import { changeTime, type FileIdentity, fileIdentityOf, replaceFile, temporaryFile } from "../../files/removal.ts";
import { statIfThere } from "../../files/stat.ts";
import { conflictAt, PlaceTaken } from "../conflict.ts";
import type { Body, PutOptions } from "../service.ts";

/** Bytes per read and write. */
export const pieceSize = 1024 * 1024;

export interface WrittenFile {
  /** Bytes. */
  readonly size: number;
  readonly made: FileIdentity;
}

/** Writes and flushes a new file. */
export async function writeDurably(path: string, body: Body, options: PutOptions): Promise<WrittenFile> {
  const handle = await createNew(path);
  try {
    // Late, since listing needs no thread.
    const { piecesOf } = await import("../read-ahead.ts");
    let size = 0;
    for await (const chunk of body.bytes ? [body.bytes] : piecesOf(body, pieceSize)) {
      throwIfCancelled(options.signal);
      if (size === 0) reached("local-file-begun");
      await writeWhole(handle, chunk);
      size += chunk.length;
      options.onProgress?.(chunk.length);
    }
    throwIfCancelled(options.signal);
    await handle.sync();
    return { size, made: await fileIdentityOf(handle) };
  } finally {
    await handle.close();
  }
}

/**
 * Before bytes are written for a key that was used.
 * @throws CONFLICT when something else is there, which no bytes can replace
 */
export async function assertNotTaken(target: string): Promise<void> {
  const seen = await statIfThere(target, lstat);
  if (seen && !seen.isFile()) throw new PlaceTaken("CONFLICT", target);
}

/**
 * Moves a finished file to the name of its key. May leave the temporary name for the caller to remove.
 * @throws CONFLICT when the name is taken, or what is there is not what is to be replaced
 */
export async function moveInto(
  temporary: string,
  target: string,
  replaces: PutOptions["replaces"],
  key: string,
): Promise<void> {
  if (replaces) {
    if (await replaceFile(temporaryFile(temporary), target, replaces.version ?? "unknown")) return;
  } else if (await publish(temporary, target)) return;
  throw conflictAt(key, { replaces });
}

/**
 * Gives an object the time of its document's id, which a later write changes. After it was published, so that the age of
 * a temporary file is never that of an older document. Where this fails, the object counts as touched.
 */
export async function stamp(path: string, made: FileIdentity, key: string): Promise<void> {
  const id = idOfKey(key, undefined);
  if (id !== undefined) await changeTime(path, made, timeOfId(id)).catch(() => {});
}

/** Milliseconds in which file systems count times: exFAT 10, ext3 1000, FAT 2000. */
const timeSteps = [1, 10, 1000, 2000];

/**
 * Whether the time of an object's last change is not the one that {@link stamp} gave it.
 * @param changedAt milliseconds since the epoch
 * @returns null for a key without an id
 */
export function isTouched(key: string, changedAt: number): boolean | null {
  const id = idOfKey(key, undefined);
  if (id === undefined) return null;
  const time = timeOfId(id);
  return !timeSteps.some((step) => Math.round(changedAt) === Math.floor(time / step) * step);
}

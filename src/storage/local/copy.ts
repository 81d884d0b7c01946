/** Copies an object within the library, where the file system can without using space. Loaded only for a copy. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { reached } from "../../core/crash-points.ts";
import { throwIfCancelled } from "../../core/errors.ts";
import { privateFile } from "../../files/atomic.ts";
import {
  changeMode,
  changeTime,
  copyToNew,
  fileIdentityOf,
  lookAtFile,
  type OwnedPath,
  openToChange,
} from "../../files/removal.ts";
import { isAbsence } from "../../files/stat.ts";
import type { CopyOptions } from "../service.ts";
import { pieceSize, type WrittenFile } from "./write.ts";

/**
 * Copies a file and flushes the copy, then reads it: only its own bytes prove what it is.
 * @param path of the copy
 * @returns undefined when the source is no file, is behind a link, or has other bytes than expected
 */
export async function copyDurably(
  source: OwnedPath,
  path: string,
  { size, sha256, signal }: CopyOptions,
): Promise<WrittenFile | undefined> {
  const seen = await lookAtFile(source);
  if (seen === undefined || Number(seen.size) !== size) return undefined;
  try {
    await copyToNew(join(source.root, source.path), path);
  } catch (error) {
    // It was removed just now.
    if (isAbsence(error)) return undefined;
    throw error;
  }
  reached("local-file-begun");
  const handle = await openToChange(path);
  try {
    const made = await fileIdentityOf(handle);
    await changeMode(handle, privateFile);
    // A clone may have the time of the source, by which doctor would take it for an old leftover.
    await changeTime(path, made, Date.now());
    await handle.sync();
    const hash = createHash("sha256");
    const piece = Buffer.allocUnsafe(pieceSize);
    for (let at = 0, read = -1; read !== 0; at += read) {
      throwIfCancelled(signal);
      ({ bytesRead: read } = await handle.read(piece, 0, piece.length, at));
      hash.update(piece.subarray(0, read));
    }
    return hash.digest("hex") === sha256 ? { size, made } : undefined;
  } finally {
    await handle.close();
  }
}

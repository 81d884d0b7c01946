/** Tells a missing file (an answer) from one that cannot be looked at (a failure). */
import type { Stats } from "node:fs";
import { stat } from "node:fs/promises";
import { fromSystemError, isSystemError, toDocprocError } from "../core/errors.ts";

type Look = (path: string) => Promise<Stats>;

/**
 * The facts about a file or a directory, or undefined where there is none.
 * @param look `lstat` for those about a link itself
 * @throws what else keeps it from being looked at: a disk that fails is not an empty one
 */
export async function statIfThere(path: string, look: Look = stat): Promise<Stats | undefined> {
  try {
    return await look(path);
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw fromSystemError(error, path);
  }
}

/** The same, where what this user may not look at is as good as not there. */
export async function statIfVisible(path: string, look: Look = stat): Promise<Stats | undefined> {
  return await statIfThere(path, look).catch((error: unknown) => {
    if (toDocprocError(error).code === "UNAVAILABLE") throw error;
    return undefined;
  });
}

/** What the system says of a path at which there is nothing. */
export function isAbsence(error: unknown): boolean {
  return isSystemError(error) && (error.code === "ENOENT" || error.code === "ENOTDIR");
}

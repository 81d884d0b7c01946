/** Tells a missing file (an answer) from one that cannot be looked at (a failure). */
import type { BigIntStats, Stats } from "node:fs";
import { stat } from "node:fs/promises";
import { fromSystemError, isSystemError, toDocprocError } from "../core/errors.ts";

type Look<Seen> = (path: string) => Promise<Seen>;

/**
 * The facts about a file or directory; undefined when it does not exist.
 * @param look `lstat` for a link itself
 * @throws any other error: a failing disk is not an empty one
 */
export async function statIfThere(path: string, look?: Look<Stats>): Promise<Stats | undefined>;
export async function statIfThere(path: string, look: Look<BigIntStats>): Promise<BigIntStats | undefined>;
export async function statIfThere(path: string, look: Look<Stats | BigIntStats> = stat) {
  try {
    return await look(path);
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw fromSystemError(error, path);
  }
}

/** Like {@link statIfThere}, but what this user may not see counts as missing. */
export async function statIfVisible(path: string, look: Look<Stats> = stat): Promise<Stats | undefined> {
  return await statIfThere(path, look).catch((error: unknown) => {
    if (toDocprocError(error).code === "UNAVAILABLE") throw error;
    return undefined;
  });
}

/** True for the system's errors about a missing path. */
export function isAbsence(error: unknown): boolean {
  return isSystemError(error) && (error.code === "ENOENT" || error.code === "ENOTDIR");
}

/**
 * Creates and checks directories and files below a given directory. None of them may be a link, since writes could then
 * land anywhere. The check happens right before the write; a link placed in between is followed.
 */
import { lstat, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { DocprocError, fromSystemError, isSystemError } from "../core/errors.ts";
import { privateDirectory } from "./atomic.ts";
import { statIfThere } from "./stat.ts";

/**
 * Creates a directory and its parents for this user alone. Existing ones keep their modes.
 * @param root may be a link
 * @param path from there, with `/` between the names
 * @throws CONFLICT when a link or a file is in the way
 */
export async function makeDirectoryBelow(root: string, path: string): Promise<void> {
  const names = path.split("/");
  const levels = names.map((_, index) => join(root, ...names.slice(0, index + 1)));
  const isThere = await Promise.all(levels.map((level) => assertDirectory(level)));
  if (isThere.at(-1) !== true) await makeDirectory(join(root, path));
}

/**
 * @returns whether it exists
 * @throws CONFLICT for a link, or anything else that is no directory
 */
export async function assertDirectory(path: string): Promise<boolean> {
  const seen = await statIfThere(path, lstat);
  if (seen === undefined || seen.isDirectory()) return seen !== undefined;
  throw seen.isSymbolicLink() ? isLink(path) : inTheWay(path);
}

/**
 * @returns whether it exists
 * @throws CONFLICT for a link, a device, a pipe, or anything else that is no file
 */
export async function assertFile(path: string): Promise<boolean> {
  const seen = await statIfThere(path, lstat);
  if (seen === undefined || seen.isFile()) return seen !== undefined;
  throw seen.isSymbolicLink()
    ? isLink(path)
    : new DocprocError("CONFLICT", `${path} is not a file.`, { hint: otherPlace });
}

/**
 * Creates a directory and its parents for this user alone. Existing ones keep their modes.
 * @throws CONFLICT when a file is in the way
 */
export async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: privateDirectory });
  } catch (error) {
    if (isSystemError(error) && (error.code === "ENOTDIR" || error.code === "EEXIST")) throw inTheWay(path, error);
    throw fromSystemError(error, path);
  }
}

const otherPlace = "Choose another place with --directory.";

function inTheWay(path: string, cause?: unknown): DocprocError {
  return new DocprocError("CONFLICT", `${path} cannot be created: a file is in the way.`, { hint: otherPlace, cause });
}

function isLink(path: string): DocprocError {
  return new DocprocError(
    "CONFLICT",
    `${path} is a symbolic link, and docproc does not write through symbolic links.`,
    {
      hint: "Replace it with its target. Only the directory of the library itself may be a link.",
    },
  );
}

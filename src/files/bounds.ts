/** A directory that reads must not leave, wherever links lead. */
import { type FileHandle, readlink, realpath, stat } from "node:fs/promises";
import { sep } from "node:path";
import { DocprocError, fromSystemError } from "../core/errors.ts";

export interface Bounds {
  /** The user's spelling, for messages. */
  readonly label: string;
  /** Whether an open file is in the directory. A hard link counts as inside: it is a name of its own. */
  holdsFile(handle: FileHandle, path: string): Promise<boolean>;
  /** Whether the target of a path is the directory or in it. */
  holds(path: string): Promise<boolean>;
}

/** Where Linux names the file of a descriptor: https://man7.org/linux/man-pages/man5/proc_pid_fd.5.html */
const procDescriptors = "/proc/self/fd";

/**
 * @param directory absolute
 * @param descriptors directory of this process's descriptors, if the system has one
 * @throws NOT_FOUND, ACCESS_DENIED, or USAGE when it is no directory
 */
export async function openBounds(directory: string, label: string, descriptors = procDescriptors): Promise<Bounds> {
  // An unset shell variable would otherwise mean the working directory.
  if (label === "") throw new DocprocError("USAGE", "--within is empty.", { hint: "Name a directory." });
  let root: string;
  try {
    root = await realPath(directory);
    if (!(await stat(directory)).isDirectory()) {
      throw new DocprocError("USAGE", `${label} is not a directory.`, { hint: "Name a directory with --within." });
    }
  } catch (error) {
    throw fromSystemError(error, label);
  }
  const beginning = root.endsWith(sep) ? root : `${root}${sep}`;
  const isInside = (real: string) => real === root || real.startsWith(beginning);
  return {
    label,
    holds: async (path) => isInside(await realPath(path)),
    async holdsFile(handle, path) {
      // A link that keeps changing leads elsewhere at each look at the path; a descriptor does not.
      const opened = await readlink(`${descriptors}/${handle.fd}`, "latin1").catch(() => undefined);
      return opened === undefined ? await isFoundInside(handle, path, isInside) : isInside(opened);
    },
  };
}

/** Without descriptors: checks the path before and after comparing its file with the open one. */
async function isFoundInside(handle: FileHandle, path: string, isInside: (real: string) => boolean): Promise<boolean> {
  const real = await realPath(path);
  if (!isInside(real)) return false;
  const [opened, there] = await Promise.all([handle.stat({ bigint: true }), stat(path, { bigint: true })]);
  return opened.ino === there.ino && opened.dev === there.dev && (await realPath(path)) === real;
}

/** As bytes: two names that are not UTF-8 could otherwise look alike. */
async function realPath(path: string): Promise<string> {
  return await realpath(path, "latin1");
}

/** The error for an input outside of the bounds. */
export function outsideOf({ label }: Bounds, input: string): DocprocError {
  return new DocprocError("USAGE", `${input} is outside ${label}.`, {
    hint: "Name a file in the directory of --within, not through a link that leads out of it.",
  });
}

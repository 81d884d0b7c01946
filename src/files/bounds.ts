/** A directory that reads must not leave, wherever links lead. */
import { type FileHandle, readlink, realpath, stat } from "node:fs/promises";
import { sep } from "node:path";
import { DocprocError, fromSystemError } from "../core/errors.ts";

export interface Bounds {
  /** As the user named it, for messages. */
  readonly label: string;
  /** Whether a file that is open is in the directory. A hard link is: it is no other file's name, but one of its own. */
  holdsFile(handle: FileHandle, path: string): Promise<boolean>;
  /** Whether what a path leads to is in the directory, or is it. */
  holds(path: string): Promise<boolean>;
}

/** Where Linux says which file a descriptor stands for: https://man7.org/linux/man-pages/man5/proc_pid_fd.5.html */
const descriptors = "/proc/self/fd";

/**
 * @param directory absolute
 * @param says where the descriptors of this process can be looked up, if anywhere
 * @throws NOT_FOUND, ACCESS_DENIED, or USAGE for what is no directory
 */
export async function openBounds(directory: string, label: string, says = descriptors): Promise<Bounds> {
  // What a shell makes of a variable that is not set would be the working directory.
  if (label === "") throw new DocprocError("USAGE", "--within is empty.", { hint: "It takes a directory." });
  let root: string;
  try {
    root = await realPath(directory);
    if (!(await stat(directory)).isDirectory()) {
      throw new DocprocError("USAGE", `${label} is not a directory.`, { hint: "--within takes one." });
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
      // A link that is exchanged again and again leads elsewhere at each look at the path; a descriptor cannot.
      const opened = await readlink(`${says}/${handle.fd}`, "latin1").catch(() => undefined);
      return opened === undefined ? await isFoundInside(handle, path, isInside) : isInside(opened);
    },
  };
}

/** Elsewhere two looks at the path, before and after its file is compared with the open one, are all there is. */
async function isFoundInside(handle: FileHandle, path: string, isInside: (real: string) => boolean): Promise<boolean> {
  const real = await realPath(path);
  if (!isInside(real)) return false;
  const [opened, there] = await Promise.all([handle.stat({ bigint: true }), stat(path, { bigint: true })]);
  return opened.ino === there.ino && opened.dev === there.dev && (await realPath(path)) === real;
}

/** Byte by byte: two names that are not UTF-8 would else read alike. */
async function realPath(path: string): Promise<string> {
  return await realpath(path, "latin1");
}

/** What is said of an input that is not in them. */
export function outsideOf({ label }: Bounds, input: string): DocprocError {
  return new DocprocError("USAGE", `${input} leads out of ${label}.`, {
    hint: "Name a file in the directory of --within, and not through a link that leads elsewhere.",
  });
}

/** Which owners of files are trusted: other users may have placed config files, repositories and libraries. */
import { lstat } from "node:fs/promises";
import { dirname } from "node:path";
import { DocprocError } from "../core/errors.ts";
import { statIfVisible } from "./stat.ts";

/** Ids of trusted users; undefined where the system has no such ids. */
export type Owners = ReadonlySet<number> | undefined;

/**
 * This user and root, and for root the user that called sudo: git's rule for trusting a repository, see
 * `safe.directory` in https://git-scm.com/docs/git-config
 * @param uid of this user; undefined where the system has none
 */
export function trustedOwners(uid: number | undefined, env: Readonly<Record<string, string | undefined>>): Owners {
  if (uid === undefined) return undefined;
  const caller = uid === 0 && /^\d{1,10}$/.test(env["SUDO_UID"] ?? "") ? [Number(env["SUDO_UID"])] : [];
  return new Set([uid, 0, ...caller]);
}

/**
 * Whether a file or directory exists and belongs to one of the owners. Of a link, both it and its target must.
 * @throws UNAVAILABLE when the disk fails
 */
export async function isOurs(path: string, owners: Owners): Promise<boolean> {
  const link = await statIfVisible(path, lstat);
  // The common case: every start looks at a dozen places, mostly empty.
  if (link === undefined) return false;
  const target = link.isSymbolicLink() ? await statIfVisible(path) : link;
  return target !== undefined && (owners === undefined || [link, target].every(({ uid }) => owners.has(uid)));
}

/** Whether every user may write to the directory that contains a path, such as `/tmp`. */
export async function isWritableByAll(path: string): Promise<boolean> {
  return (((await statIfVisible(dirname(path)))?.mode ?? 0) & 0o002) !== 0;
}

/**
 * Refuses a library that another user prepared in a world-writable place. Elsewhere the user's choice of directory
 * counts: container and network disks often show other owners.
 * @throws ACCESS_DENIED
 */
export async function assertOwnLibrary(directory: string, owners: Owners): Promise<void> {
  const there = await statIfVisible(directory);
  if (there === undefined || (await isOurs(directory, owners)) || !(await isWritableByAll(directory))) return;
  throw new DocprocError("ACCESS_DENIED", `The directory ${directory} belongs to another user.`, {
    hint: "Choose another place with --directory.",
  });
}

/** Whose a file is, where everybody may put files: in `/tmp`, and in other people's shared directories. */
import { lstat } from "node:fs/promises";
import { userInfo } from "node:os";
import { dirname } from "node:path";
import { DocprocError } from "./errors.ts";
import { statIfVisible } from "./presence.ts";

/**
 * Whether a file is there and was not put there by a stranger: where everybody may write, only what belongs to
 * this user or to root counts, a link to it included. A `.git` in `/tmp` is how git itself was tricked
 * (CVE-2022-24765).
 * @param uid of this user; undefined where the system has none
 * @throws UNAVAILABLE when the disk does not say
 */
export async function isOurs(path: string, uid: number | undefined): Promise<boolean> {
  const link = await statIfVisible(path, lstat);
  // Most places have none: every start of the program looks at a dozen of them.
  if (link === undefined) return false;
  const [file, directory] = await Promise.all([statIfVisible(path), statIfVisible(dirname(path))]);
  if (file === undefined || directory === undefined) return false;
  const writableByAll = (directory.mode & 0o002) !== 0;
  return uid === undefined || !writableByAll || [link, file].every((one) => one.uid === 0 || one.uid === uid);
}

/**
 * What a stranger prepared for us as a library must not get our documents.
 * @throws ACCESS_DENIED when the directory is there and {@link isOurs} says no
 */
export async function assertOwnLibrary(directory: string): Promise<void> {
  const { uid } = userInfo();
  const there = await statIfVisible(directory);
  if (there === undefined || (await isOurs(directory, uid < 0 ? undefined : uid))) return;
  throw new DocprocError("ACCESS_DENIED", `The directory ${directory} was made by another user.`, {
    hint: "Choose another place with --directory.",
  });
}

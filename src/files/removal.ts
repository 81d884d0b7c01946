/**
 * The only place that removes or renames files or directories, or changes modes. It touches only what docproc made, and
 * checks right before:
 *
 * - the name has a form that docproc gives, below a directory that docproc was given: see {@link OwnedPath};
 * - no link lies on the way down from that directory, and the target is a file or an empty directory;
 * - where others could have chosen the same name, the target is still the file that this process made.
 *
 * The moment between check and removal is not guarded, since Node has no unlinkat(2): a process that may write to the
 * same directories can place a link there. What is removed then still has a name of ours.
 */
import { type BigIntStats, constants } from "node:fs";
import { copyFile, type FileHandle, lstat, open, rename, rmdir, stat, unlink } from "node:fs/promises";
import { basename, dirname, join, relative, sep } from "node:path";
import { v4 as randomId } from "uuid";
import { isSystemError } from "../core/errors.ts";

/** A file or directory of docproc's, and the proof that it is. */
export interface OwnedPath {
  /** A directory that docproc was given. It may be a link; nothing below it may. */
  readonly root: string;
  /** Relative to the root, with `/` between the names. */
  readonly path: string;
  /** The name that docproc gives: must match the whole `path`. */
  readonly form: RegExp | string;
  /** Set when the form proves nothing: it must be this very file. */
  readonly made?: FileIdentity | undefined;
}

/** Identifies a file on this machine, whatever its name becomes. */
export interface FileIdentity {
  readonly dev: bigint;
  readonly ino: bigint;
}

/** `foreign`: docproc did not make it, or a link is on the way. It is untouched. */
export type Removal = "removed" | "gone" | "foreign";

const random = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}";
const temporaryForm = new RegExp(`^(.+/)?\\.docproc-${random}\\.part$`);

/** Names the content of a file: another one after every write, and for every other file. */
export function fileVersionOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(":");
}

/** The path of a new temporary file. The name is hidden, so that no walk uploads it as a document. */
export function temporaryIn(directory: string): string {
  return join(directory, `.docproc-${randomId()}.part`);
}

/** Whether {@link temporaryIn} makes such names. */
export function isTemporaryName(name: string): boolean {
  return temporaryForm.test(name);
}

/** A file named by {@link temporaryIn}. */
export function temporaryFile(path: string, root = dirname(path)): OwnedPath {
  return { root, path: relative(root, path).split(sep).join("/"), form: temporaryForm };
}

/**
 * A file that this process made under a name of the user's choice.
 * @param made see {@link fileIdentityOf}
 */
export function madeFile(path: string, made: FileIdentity): OwnedPath {
  return { root: dirname(path), path: basename(path), form: basename(path), made };
}

export async function fileIdentityOf(handle: FileHandle): Promise<FileIdentity> {
  const { dev, ino } = await handle.stat({ bigint: true });
  return { dev, ino };
}

/**
 * Creates an empty file and returns its identity.
 * @throws EEXIST when anything exists at the path, a link included
 */
export async function makeEmptyFile(path: string, mode: number): Promise<FileIdentity> {
  const handle = await open(path, "wx", mode);
  try {
    try {
      return await fileIdentityOf(handle);
    } finally {
      await handle.close();
    }
  } catch (error) {
    // Made just now, and useless.
    await unlink(path).catch(() => {});
    throw error;
  }
}

/** Removes a file. Rejects with the system's error. */
export async function removeFile(own: OwnedPath): Promise<Removal> {
  const seen = await inspect(own);
  if (seen === undefined) return "gone";
  if (seen === "foreign" || !seen.isFile()) return "foreign";
  return await unlessGone(unlink(join(own.root, own.path)));
}

/** Removes a link, never its target. */
export async function removeLink(own: OwnedPath): Promise<Removal> {
  const seen = await inspect(own);
  if (seen === undefined) return "gone";
  if (seen === "foreign" || !seen.isSymbolicLink()) return "foreign";
  return await unlessGone(unlink(join(own.root, own.path)));
}

/** Not empty, or a mount point. POSIX has two codes for the first. */
const notRemovable = new Set(["ENOTEMPTY", "EEXIST", "EBUSY"]);

/**
 * Removes an empty directory.
 * @returns `kept` when it is not empty, or in use
 */
export async function removeDirectory(own: OwnedPath): Promise<Removal | "kept"> {
  const seen = await inspect(own);
  if (seen === undefined) return "gone";
  if (seen === "foreign" || !seen.isDirectory()) return "foreign";
  return await unlessGone(rmdir(join(own.root, own.path))).catch((error: unknown) => {
    if (isSystemError(error) && notRemovable.has(error.code)) return "kept" as const;
    throw error;
  });
}

/**
 * Moves a temporary file over the target, replacing it: the caller has the user's word for that.
 * @param claim the only file that may be replaced, or its version; default: what {@link isReplaceable} allows
 * @returns false, with nothing changed, when the temporary file is not ours or the target is no file
 */
export async function replaceFile(own: OwnedPath, target: string, claim?: FileIdentity | string): Promise<boolean> {
  const seen = await inspect(own);
  if (seen === undefined || seen === "foreign" || !seen.isFile()) return false;
  if (!(claim !== undefined ? await isFile(target, claim) : await isReplaceable(target))) return false;
  await rename(join(own.root, own.path), target);
  return true;
}

/**
 * Copies a file to a name that is free, without using space where the file system can share it.
 * @throws EEXIST when anything exists at the path, a link included
 */
export async function copyToNew(source: string, path: string): Promise<void> {
  await copyFile(source, path, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
}

/** Whether {@link replaceFile} may replace it: a file or a link, but no link to a device or a pipe. */
export async function isReplaceable(path: string): Promise<boolean> {
  const seen = await unlessAbsent(lstat(path));
  if (!seen?.isSymbolicLink()) return seen === undefined || seen.isFile();
  const target = await unlessAbsent(stat(path));
  return target === undefined || target.isFile() || target.isDirectory();
}

/** Changes the mode of a file that this process made, by its handle, so that its name does not matter. */
export async function changeMode(handle: FileHandle, mode: number): Promise<void> {
  await handle.chmod(mode);
}

/**
 * Opens a file to flush it, or to change its mode or time. Never follows a link.
 * @throws the system's error
 */
export async function openToChange(path: string): Promise<FileHandle> {
  // Windows wants a handle that may write, and has neither flag.
  const how = sep === "/" ? constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK : constants.O_RDWR;
  return await open(path, how);
}

/**
 * Sets the time of the last change of a file that this process made.
 * @param time milliseconds since the epoch
 */
export async function changeTime(path: string, made: FileIdentity, time: number): Promise<void> {
  const handle = await openToChange(path);
  try {
    if (isSame(await fileIdentityOf(handle), made)) await handle.utimes(new Date(time), new Date(time));
  } finally {
    await handle.close();
  }
}

/** The facts about a regular file; undefined when there is none, or when the path is not ours: see {@link inspect}. */
export async function lookAtFile(own: OwnedPath): Promise<BigIntStats | undefined> {
  const seen = await inspect(own);
  return seen === "foreign" || !seen?.isFile() ? undefined : seen;
}

/**
 * Checks the path: undefined when it does not exist, `foreign` when its form or a link on the way shows it is not ours.
 */
async function inspect({ root, path, form, made }: OwnedPath): Promise<BigIntStats | "foreign" | undefined> {
  const names = path.split("/");
  const isOfForm = typeof form === "string" ? path === form : form.exec(path)?.[0] === path;
  if (!isOfForm || names.some((name) => name === "" || name === "." || name === "..")) return "foreign";
  const levels = names.map((_, index) => join(root, ...names.slice(0, index + 1)));
  const seen = await Promise.all(levels.map((level) => unlessAbsent(lstat(level, { bigint: true }))));
  const last = seen.pop();
  if (seen.some((level) => level !== undefined && !level.isDirectory())) return "foreign";
  return last && made && !isSame(last, made) ? "foreign" : last;
}

async function isFile(path: string, claim: FileIdentity | string): Promise<boolean> {
  const seen = await unlessAbsent(lstat(path, { bigint: true }));
  if (!seen?.isFile()) return false;
  return typeof claim === "string" ? fileVersionOf(seen) === claim : isSame(seen, claim);
}

function isSame(one: FileIdentity, other: FileIdentity): boolean {
  return one.dev === other.dev && one.ino === other.ino;
}

/** Undefined when it does not exist. */
async function unlessAbsent<T>(looking: Promise<T>): Promise<T | undefined> {
  return await looking.catch((error: unknown) => {
    if (isSystemError(error) && (error.code === "ENOENT" || error.code === "ENOTDIR")) return undefined;
    throw error;
  });
}

async function unlessGone(removing: Promise<void>): Promise<"removed" | "gone"> {
  return await removing.then(
    () => "removed" as const,
    (error: unknown) => {
      if (isSystemError(error) && error.code === "ENOENT") return "gone" as const;
      throw error;
    },
  );
}

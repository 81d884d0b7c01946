/**
 * Folders below a directory that the user named. No link below it is ever followed: not one that is there, and where
 * the system lets a folder be used through its handle (Linux) not one that is put there meanwhile. Elsewhere a folder is
 * checked before and after each use, since Node has no openat(2).
 */
import { constants } from "node:fs";
import { type FileHandle, lstat, mkdir, open, stat } from "node:fs/promises";
import { join } from "node:path";
import { DocprocError, fromSystemError, isSystemError } from "../core/errors.ts";
import { flushDirectories } from "./atomic.ts";

export interface Folder {
  /** Where to work in it. May lead through a handle, and is of no use once the work is done. */
  readonly path: string;
  /** The same place as the user knows it. */
  readonly shown: string;
  /** @throws CONFLICT when a link has come into the way; never where the folder is used through its handle */
  assertSame(): Promise<void>;
}

export interface FoldersOptions {
  /** Permission bits that new folders do not get. */
  readonly umask: number;
  /** Whether to use handles where the system can. */
  readonly handles?: boolean;
}

export class Folders {
  readonly #root: string;
  readonly #mode: number;
  readonly #mayHold: boolean;
  /** Whether folders are used through their handles; found out on first use. */
  #holds: Promise<boolean> | undefined;
  /** Folders in use through their handles, by their names. */
  readonly #held = new Map<string, { readonly opened: Promise<FileHandle>; users: number }>();

  /** @param root an existing directory, or a link to one */
  constructor(root: string, { umask, handles = true }: FoldersOptions) {
    this.#root = root;
    this.#mode = 0o777 & ~umask;
    this.#mayHold = handles;
  }

  /**
   * Works in a folder, which is made if it is not there.
   * @param names from the root; none for the root itself. Each must be a single valid name.
   * @throws CONFLICT when a link or a file is in the way; errors of the system and of the work
   */
  async use<T>(names: readonly string[], work: (folder: Folder) => Promise<T>): Promise<T> {
    const shown = join(this.#root, ...names);
    if (names.length === 0) return await work({ path: shown, shown, assertSame: async () => {} });
    this.#holds ??= this.#mayHold ? hasUsableHandles(this.#root) : Promise.resolve(false);
    if (!(await this.#holds)) {
      await this.#checked(names, true);
      return await work({ path: shown, shown, assertSame: async () => await this.#checked(names, false) });
    }
    const key = names.join("/");
    const held = this.#held.get(key) ?? { opened: this.#open(names), users: 0 };
    this.#held.set(key, held);
    held.users += 1;
    try {
      return await work({ path: throughHandle(await held.opened), shown, assertSame: async () => {} });
    } finally {
      held.users -= 1;
      if (held.users === 0) {
        this.#held.delete(key);
        await held.opened.then(closed, () => {});
      }
    }
  }

  /** Goes down level by level, each through the handle of the one above it. */
  async #open(names: readonly string[]): Promise<FileHandle> {
    let shown = this.#root;
    let handle = await open(shown, constants.O_RDONLY | constants.O_DIRECTORY).catch((error) => {
      throw fromSystemError(error, shown);
    });
    for (const name of names) {
      shown = join(shown, name);
      const above = handle;
      try {
        handle = await this.#openOne(throughHandle(above), name, shown);
      } finally {
        await closed(above);
      }
    }
    return handle;
  }

  async #openOne(above: string, name: string, shown: string): Promise<FileHandle> {
    const path = join(above, name);
    const openFolder = () => open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
    try {
      return await openFolder().catch(async (error: unknown) => {
        if (!isSystemError(error) || error.code !== "ENOENT") throw error;
        await this.#make(path, above);
        return await openFolder();
      });
    } catch (error) {
      await assertFolder(path, shown);
      throw fromSystemError(error, shown);
    }
  }

  /** @param making whether a missing folder is made; otherwise it is an error */
  async #checked(names: readonly string[], making: boolean): Promise<void> {
    let path = this.#root;
    for (const name of names) {
      const above = path;
      path = join(path, name);
      if (making && !(await assertFolder(path, path))) {
        await this.#make(path, above).catch((error) => {
          throw fromSystemError(error, path);
        });
      }
      if (!(await assertFolder(path, path)))
        throw new DocprocError("NOT_FOUND", `${path} was removed.`, { hint: again });
    }
  }

  /** Another download may have made it just now. */
  async #make(path: string, above: string): Promise<void> {
    try {
      await mkdir(path, { mode: this.#mode });
    } catch (error) {
      if (isSystemError(error) && error.code === "EEXIST") return;
      throw error;
    }
    await flushDirectories(above, above);
  }
}

const again = "Run the same command again.";
const elsewhere = "Move it away, or download into another directory with -o.";

/**
 * @returns whether it exists
 * @throws CONFLICT for a link, or anything else that is no directory
 */
async function assertFolder(path: string, shown: string): Promise<boolean> {
  const seen = await lstat(path).catch((error: unknown) => {
    if (isSystemError(error) && error.code === "ENOENT") return undefined;
    throw fromSystemError(error, shown);
  });
  if (seen === undefined || seen.isDirectory()) return seen !== undefined;
  throw seen.isSymbolicLink()
    ? new DocprocError("CONFLICT", `${shown} is a link, and docproc does not write through links.`, { hint: elsewhere })
    : new DocprocError("CONFLICT", `${shown} is a file, and a folder is needed there.`, { hint: elsewhere });
}

/** A directory that was only looked at has nothing to lose. */
async function closed(handle: FileHandle): Promise<void> {
  await handle.close().catch(() => {});
}

/** The directory of a handle, wherever it is moved and whatever takes its name: proc_pid_fd(5). */
function throughHandle({ fd }: FileHandle): string {
  return `/proc/self/fd/${fd}`;
}

/** Whether a directory can be used through its handle: on Linux with /proc. */
async function hasUsableHandles(directory: string): Promise<boolean> {
  // Windows has neither flag.
  if (constants.O_DIRECTORY === undefined || constants.O_NOFOLLOW === undefined) return false;
  let handle: FileHandle | undefined;
  try {
    handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
    const [seen, through] = await Promise.all([
      handle.stat({ bigint: true }),
      stat(join(throughHandle(handle), "."), { bigint: true }),
    ]);
    return seen.dev === through.dev && seen.ino === through.ino;
  } catch {
    return false;
  } finally {
    if (handle) await closed(handle);
  }
}

/**
 * Bytes in a directory: `<directory>/objects/<key>`.
 *
 * An object appears under its name whole or not at all: it is written to `<directory>/incoming`, flushed,
 * then linked to its name, and link(2) refuses a name that is taken.
 */
import { constants, createReadStream } from "node:fs";
import { type FileHandle, link, mkdir, open, opendir, rename, rm, rmdir, stat, unlink } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { v4 as randomId } from "uuid";
import { DocprocError, fromSystemError, isSystemError, throwIfCancelled } from "../errors.ts";
import type { ProvisionedResource, ProvisionOptions, Settings } from "../settings.ts";
import type {
  Body,
  ListedObject,
  OpenOptions,
  PutOptions,
  StorageDriver,
  StorageService,
  StoredObject,
} from "./service.ts";

/** Only the owner may read the library. */
const privateDirectory = 0o700;
const privateFile = 0o600;

export const localStorage: StorageDriver = {
  summary: "a directory on this machine",
  async open(settings) {
    return new LocalStorage(settings.directory);
  },
  provision,
};

async function* provision(settings: Settings, options: ProvisionOptions): AsyncIterable<ProvisionedResource> {
  const resource = { kind: "directory", name: settings.directory };
  const seen = await statOrUndefined(settings.directory);
  if (seen?.isDirectory()) {
    yield { ...resource, action: "exists" };
  } else if (seen) {
    throw new DocprocError("CONFLICT", `${settings.directory} exists and is not a directory.`, {
      hint: "Choose another place with --directory.",
    });
  } else if (options.plan) {
    yield { ...resource, action: "would-create" };
  } else {
    await makeDirectory(settings.directory);
    yield { ...resource, action: "created" };
  }
}

class LocalStorage implements StorageService {
  readonly #objects: string;
  readonly #incoming: string;

  constructor(directory: string) {
    this.#objects = join(directory, "objects");
    this.#incoming = join(directory, "incoming");
  }

  async put(key: string, body: Body, options: PutOptions): Promise<StoredObject> {
    const target = this.#path(key);
    throwIfCancelled(options.signal);
    await makeDirectory(this.#incoming);
    const temporary = join(this.#incoming, randomId());
    try {
      const size = await writeDurably(temporary, body, options);
      await makeDirectory(dirname(target));
      await publish(temporary, target, key);
      await flushDirectories(dirname(target), dirname(this.#objects));
      return { size, crc32: null };
    } catch (error) {
      throw fromSystemError(error, this.#objects);
    } finally {
      await rm(temporary, { force: true });
    }
  }

  async open(key: string, options: OpenOptions): Promise<AsyncIterable<Uint8Array>> {
    throwIfCancelled(options.signal);
    const path = this.#path(key);
    let handle: FileHandle;
    try {
      handle = await open(path, constants.O_RDONLY);
    } catch (error) {
      if (isSystemError(error) && isAbsence(error.code)) {
        throw new DocprocError("NOT_FOUND", `No object is stored under ${key}.`, { cause: error });
      }
      throw fromSystemError(error, path);
    }
    return createReadStream(path, { fd: handle, signal: options.signal, ...options.range });
  }

  async stat(key: string, signal: AbortSignal): Promise<StoredObject | undefined> {
    throwIfCancelled(signal);
    const seen = await statOrUndefined(this.#path(key));
    return seen?.isFile() ? { size: seen.size, crc32: null } : undefined;
  }

  async *list(prefix: string, signal: AbortSignal): AsyncIterable<ListedObject> {
    // The walk starts at the deepest directory that the prefix names in full.
    const start = join(this.#objects, prefix.slice(0, prefix.lastIndexOf("/") + 1));
    for await (const path of filesBelow(start)) {
      throwIfCancelled(signal);
      const key = relative(this.#objects, path).split(sep).join("/");
      if (!key.startsWith(prefix)) continue;
      const seen = await statOrUndefined(path);
      if (seen) yield { key, size: seen.size, modifiedAt: seen.mtime };
    }
  }

  async remove(key: string, signal: AbortSignal): Promise<void> {
    throwIfCancelled(signal);
    const path = this.#path(key);
    try {
      await unlink(path);
    } catch (error) {
      if (!(isSystemError(error) && isAbsence(error.code))) throw fromSystemError(error, path);
    }
    // The directory holds one document; it goes with it unless somebody put something there.
    await rmdir(dirname(path)).catch(() => {});
  }

  uri(key: string): string {
    return pathToFileURL(this.#path(key)).href;
  }

  keyOf(uri: string): string | undefined {
    if (!uri.startsWith("file:")) return undefined;
    const inside = relative(this.#objects, fileURLToPath(uri));
    return inside.startsWith("..") || resolve(inside) === inside ? undefined : inside.split(sep).join("/");
  }

  async close(): Promise<void> {}

  /** Keys come from storageKey(), which cannot leave the directory; this holds even if one ever did. */
  #path(key: string): string {
    const path = join(this.#objects, ...key.split("/"));
    if (!path.startsWith(this.#objects + sep)) {
      throw new DocprocError("USAGE", `The key ${JSON.stringify(key)} leaves the library.`);
    }
    return path;
  }
}

/** Writes and flushes a new file; returns its size in bytes. */
async function writeDurably(path: string, body: Body, options: PutOptions): Promise<number> {
  const handle = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, privateFile);
  try {
    let size = 0;
    for await (const chunk of body instanceof Uint8Array ? [body] : body) {
      throwIfCancelled(options.signal);
      await writeWhole(handle, chunk);
      size += chunk.byteLength;
      options.onProgress?.(chunk.byteLength);
    }
    throwIfCancelled(options.signal);
    await handle.sync();
    return size;
  } finally {
    await handle.close();
  }
}

/** write(2) may take fewer bytes than it was given. */
async function writeWhole(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  let offset = 0;
  while (offset < chunk.byteLength) {
    const { bytesWritten } = await handle.write(chunk, offset, chunk.byteLength - offset);
    offset += bytesWritten;
  }
}

/** Gives a finished file its name, which must be free. */
async function publish(temporary: string, target: string, key: string): Promise<void> {
  try {
    await link(temporary, target);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    if (error.code === "EEXIST") throw alreadyStored(key, error);
    if (!withoutHardLinks.has(error.code)) throw error;
    // FAT, exFAT and some network disks have no hard links: claim the name, then move the file over the claim.
    try {
      const claim = await open(target, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, privateFile);
      await claim.close();
    } catch (taken) {
      throw isSystemError(taken) && taken.code === "EEXIST" ? alreadyStored(key, taken) : taken;
    }
    await rename(temporary, target);
  }
}

const withoutHardLinks = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EINVAL", "EMLINK", "EXDEV"]);

function alreadyStored(key: string, cause: Error): DocprocError {
  return new DocprocError("CONFLICT", `An object is already stored under ${key}.`, {
    hint: "Nothing was overwritten.",
    cause,
  });
}

/** A new name is durable once its directory is, and so on up to one that was there before. */
async function flushDirectories(from: string, upTo: string): Promise<void> {
  for (let directory = from; directory.startsWith(upTo); directory = dirname(directory)) {
    let handle: FileHandle | undefined;
    try {
      handle = await open(directory, constants.O_RDONLY);
      await handle.sync();
    } catch (error) {
      // Windows cannot open a directory, and some file systems refuse to flush one.
      if (!(isSystemError(error) && cannotFlushDirectory.has(error.code))) throw error;
    } finally {
      await handle?.close();
    }
  }
}

const cannotFlushDirectory = new Set(["EISDIR", "EPERM", "EINVAL", "ENOTSUP", "EBADF"]);

async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: privateDirectory });
  } catch (error) {
    if (isSystemError(error) && (error.code === "ENOTDIR" || error.code === "EEXIST")) {
      throw new DocprocError("CONFLICT", `${path} cannot be made: a file is in the way.`, {
        hint: "Choose another place with --directory.",
        cause: error,
      });
    }
    throw fromSystemError(error, path);
  }
}

async function statOrUndefined(path: string) {
  try {
    return await stat(path);
  } catch (error) {
    if (isSystemError(error) && isAbsence(error.code)) return undefined;
    throw fromSystemError(error, path);
  }
}

function isAbsence(code: string): boolean {
  return code === "ENOENT" || code === "ENOTDIR";
}

async function* filesBelow(directory: string): AsyncIterable<string> {
  let entries: Awaited<ReturnType<typeof opendir>>;
  try {
    entries = await opendir(directory);
  } catch (error) {
    if (isSystemError(error) && isAbsence(error.code)) return;
    throw fromSystemError(error, directory);
  }
  for await (const entry of entries) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) yield* filesBelow(path);
    else if (entry.isFile()) yield path;
  }
}

/**
 * Bytes in a directory: `<directory>/objects/<key>`.
 *
 * An object appears under its name whole or not at all: it is written to `<directory>/incoming`, flushed,
 * then linked to its name, and link(2) refuses a name that is taken.
 */
import { createReadStream } from "node:fs";
import { chmod, type FileHandle, mkdir, opendir, rm, rmdir, unlink } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import { pathToFileURL } from "node:url";
import { v4 as randomId } from "uuid";
import { createNew, flushDirectories, modeText, privateDirectory, publish, writeWhole } from "../atomic-file.ts";
import { isDocumentId } from "../document.ts";
import { DocprocError, fromSystemError, isSystemError, throwIfCancelled } from "../errors.ts";
import { openRegularFile, readBeginning } from "../files/regular-file.ts";
import type { Leftover } from "../leftover.ts";
import { assertOwnLibrary } from "../ownership.ts";
import { isAbsence, statIfThere } from "../presence.ts";
import { cleanUpSignal } from "../retry.ts";
import type { ProvisionedResource, ProvisionOptions, Settings } from "../settings.ts";
import { reached } from "../steps.ts";
import type {
  Body,
  ListedObject,
  OpenOptions,
  PutOptions,
  PutResult,
  StorageDriver,
  StorageService,
  StoredObject,
} from "./service.ts";

export const localStorage: StorageDriver = {
  summary: "a directory on this machine",
  check() {},
  async open(settings) {
    return new LocalStorage(settings.directory);
  },
  provision,
  async *dismantle(settings, options) {
    const { removeObjects } = await import("./local-removal.ts");
    yield* removeObjects(settings, options);
  },
  clockSkew: async () => 0,
};

async function* provision(settings: Settings, options: ProvisionOptions): AsyncIterable<ProvisionedResource> {
  const mode = { mode: modeText(privateDirectory) };
  const resource = { kind: "directory", name: settings.directory, settings: mode };
  const seen = await statIfThere(settings.directory);
  if (seen?.isDirectory()) {
    yield { ...resource, action: "exists" };
    // Windows has no such bits.
    if (sep === "/" && (seen.mode & 0o077) !== 0) {
      if (!options.plan) await chmod(settings.directory, privateDirectory);
      yield { ...resource, kind: "private-directory", action: options.plan ? "would-update" : "updated" };
    }
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

/** Bytes. The id of a catalog has 32. */
const longestMark = 1024;
/** Bytes read from a body, and written, at a time. */
const writeSize = 1024 * 1024;

class LocalStorage implements StorageService {
  readonly traits = { resumes: false, rangesInFlight: 1, shared: false, checksums: false };
  readonly #directory: string;
  readonly #objects: string;
  readonly #incoming: string;
  /** Holds the id of the catalog that the first object was stored for. */
  readonly #catalogMark: string;

  constructor(directory: string) {
    this.#directory = directory;
    this.#objects = join(directory, "objects");
    this.#incoming = join(directory, "incoming");
    this.#catalogMark = join(directory, "catalog-id");
  }

  async put(key: string, body: Body, options: PutOptions): Promise<PutResult> {
    const target = this.#path(key);
    throwIfCancelled(options.signal);
    await assertOwnLibrary(this.#directory);
    await makeDirectory(this.#incoming);
    const temporary = join(this.#incoming, randomId());
    try {
      await this.#mark(options.catalog);
      const size = await writeDurably(temporary, body, options);
      reached("local-file-flushed");
      await makeDirectory(dirname(target));
      if (!(await publish(temporary, target))) throw alreadyStored(key);
      reached("local-file-published");
      await flushDirectories(dirname(target), this.#directory).catch(async (error) => {
        // Whole, but nobody will know of it.
        await this.remove(key, cleanUpSignal()).catch(() => {});
        throw error;
      });
      return { size, crc32: null, bytesSent: size };
    } catch (error) {
      throw fromSystemError(error, this.#objects);
    } finally {
      // What cannot be removed now is a leftover.
      await rm(temporary, { force: true }).catch(() => {});
    }
  }

  async open(key: string, options: OpenOptions): Promise<AsyncIterable<Uint8Array>> {
    throwIfCancelled(options.signal);
    const path = this.#path(key);
    let handle: FileHandle | undefined;
    try {
      handle = await openRegularFile(path);
    } catch (error) {
      if (isAbsence(error)) {
        throw new DocprocError("NOT_FOUND", `No object is stored under ${key}.`, { cause: error });
      }
      throw fromSystemError(error, path);
    }
    if (handle === undefined) {
      throw new DocprocError("NOT_FOUND", `No object is stored under ${key}: what is there is not a regular file.`, {
        hint: "docproc verify --all names every document whose bytes are gone.",
      });
    }
    return readFrom(handle, path, options);
  }

  async stat(key: string, signal: AbortSignal): Promise<StoredObject | undefined> {
    throwIfCancelled(signal);
    const seen = await statIfThere(this.#path(key));
    return seen?.isFile() ? { size: seen.size, crc32: null, catalog: await this.#markedCatalog() } : undefined;
  }

  async *list(prefix: string, signal: AbortSignal): AsyncIterable<ListedObject> {
    for await (const path of filesBelow(this.#deepest(prefix))) {
      throwIfCancelled(signal);
      const key = this.#keyOf(path);
      if (!key.startsWith(prefix)) continue;
      const seen = await statIfThere(path);
      if (seen) yield { key, size: seen.size, age: ageOf(seen) };
    }
  }

  async *leftovers(prefix: string, signal: AbortSignal): AsyncIterable<Leftover> {
    // Temporary names say nothing of the key, so they belong to every prefix that holds all keys.
    if (prefix === "") yield* this.#temporaryFiles(signal);
    for await (const path of emptyDirectoriesBelow(this.#deepest(prefix))) {
      throwIfCancelled(signal);
      if (!`${this.#keyOf(path)}/`.startsWith(prefix)) continue;
      const seen = await statIfThere(path);
      const discard = async () => await rmdir(path).catch(() => {});
      if (seen) yield { kind: "empty-directory", name: path, age: ageOf(seen), discard };
    }
  }

  async remove(key: string, signal: AbortSignal): Promise<void> {
    throwIfCancelled(signal);
    const path = this.#path(key);
    try {
      await unlink(path);
      await flushDirectories(dirname(path), dirname(path));
    } catch (error) {
      if (!isAbsence(error)) throw fromSystemError(error, path);
    }
    // The directory holds one document; it goes with it unless somebody put something there.
    await rmdir(dirname(path)).catch(() => {});
  }

  async sign(): Promise<never> {
    throw new DocprocError("USAGE", "A document in a directory has no address that others could fetch it from.", {
      hint: "docproc download REF writes it to a file, which can be sent.",
    });
  }

  uri(key: string): string {
    return `${pathToFileURL(this.#objects).href}/${key}`;
  }

  async close(): Promise<void> {}

  /** Keys come from storageKey(), which cannot leave the directory; this holds even if one ever did. */
  #path(key: string): string {
    const path = join(this.#objects, ...key.split("/"));
    if (!path.startsWith(this.#objects + sep) || key.includes("\0")) {
      throw new DocprocError("USAGE", `The key ${JSON.stringify(key)} leaves the library.`);
    }
    return path;
  }

  #keyOf(path: string): string {
    return relative(this.#objects, path).split(sep).join("/");
  }

  /** The deepest directory that a prefix names in full. */
  #deepest(prefix: string): string {
    return join(this.#objects, prefix.slice(0, prefix.lastIndexOf("/") + 1));
  }

  async *#temporaryFiles(signal: AbortSignal): AsyncIterable<Leftover> {
    for await (const path of filesBelow(this.#incoming)) {
      throwIfCancelled(signal);
      const seen = await statIfThere(path);
      const discard = async () => await rm(path, { force: true });
      if (seen) yield { kind: "temporary-file", name: path, age: ageOf(seen), discard };
    }
  }

  /** Says once whose documents are kept here, so that a doctor of another catalog leaves them alone. */
  async #mark(catalog: string): Promise<void> {
    if ((await this.#markedCatalog()) !== null) return;
    const temporary = join(this.#incoming, randomId());
    const handle = await createNew(temporary);
    try {
      await writeWhole(handle, Buffer.from(`${catalog}\n`));
      await handle.sync();
    } finally {
      await handle.close();
    }
    // Another process may have been faster; the first one counts.
    await publish(temporary, this.#catalogMark);
    await rm(temporary, { force: true });
  }

  async #markedCatalog(): Promise<string | null> {
    try {
      const mark = await readBeginning(this.#catalogMark, longestMark);
      if (mark !== undefined) return mark.trim();
    } catch (error) {
      if (isAbsence(error)) return null;
      throw fromSystemError(error, this.#catalogMark);
    }
    throw new DocprocError("INTEGRITY", `${this.#catalogMark} is not a regular file.`, {
      hint: "It is to hold the id of the catalog. Remove it: the next upload writes it again.",
    });
  }
}

/** Writes and flushes a new file; returns its size in bytes. */
async function writeDurably(path: string, body: Body, options: PutOptions): Promise<number> {
  const handle = await createNew(path);
  try {
    // Late: what lists documents needs no threads.
    const { piecesOf } = await import("./pieces.ts");
    let size = 0;
    for await (const chunk of body.bytes ? [body.bytes] : piecesOf(body, writeSize)) {
      throwIfCancelled(options.signal);
      if (size === 0) reached("local-file-begun");
      await writeWhole(handle, chunk);
      size += chunk.length;
      options.onProgress?.(chunk.length);
    }
    throwIfCancelled(options.signal);
    await handle.sync();
    return size;
  } finally {
    await handle.close();
  }
}

async function* readFrom(handle: FileHandle, path: string, options: OpenOptions): AsyncIterable<Uint8Array> {
  const stream = createReadStream(path, { fd: handle, signal: options.signal, ...options.range });
  try {
    for await (const chunk of stream) yield chunk;
  } catch (error) {
    throwIfCancelled(options.signal);
    throw fromSystemError(error, path);
  }
}

function alreadyStored(key: string): DocprocError {
  return new DocprocError("CONFLICT", `An object is already stored under ${key}.`, {
    hint: "Nothing was overwritten.",
  });
}

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

function ageOf({ mtimeMs }: { mtimeMs: number }): number {
  return Date.now() - mtimeMs;
}

async function* filesBelow(directory: string): AsyncIterable<string> {
  for await (const entry of entriesOf(directory)) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) yield* filesBelow(path);
    else if (entry.isFile()) yield path;
  }
}

async function* emptyDirectoriesBelow(directory: string): AsyncIterable<string> {
  for await (const entry of entriesOf(directory)) {
    if (!entry.isDirectory()) continue;
    const path = join(directory, entry.name);
    let empty = true;
    for await (const _ of entriesOf(path)) {
      empty = false;
      break;
    }
    if (!empty) yield* emptyDirectoriesBelow(path);
    // That of a document; those above it, which share two digits, are used again.
    else if (isDocumentId(entry.name)) yield path;
  }
}

async function* entriesOf(directory: string) {
  let entries: Awaited<ReturnType<typeof opendir>>;
  try {
    entries = await opendir(directory);
  } catch (error) {
    if (isAbsence(error)) return;
    throw fromSystemError(error, directory);
  }
  yield* entries;
}

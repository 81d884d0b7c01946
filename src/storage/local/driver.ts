/**
 * Bytes in a directory: `<directory>/objects/<key>`.
 *
 * Objects appear atomically: each is written to `<directory>/incoming`, flushed, then linked to its name; link(2)
 * refuses a name that is taken. Only a damaged object is replaced, by rename(2).
 */
import { createReadStream } from "node:fs";
import { type FileHandle, lstat, stat } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import { pathToFileURL } from "node:url";
import { reached } from "../../core/crash-points.ts";
import { defineDriver } from "../../core/driver.ts";
import { DocprocError, fromSystemError, throwIfCancelled } from "../../core/errors.ts";
import type { ForeignEntry, Leftover } from "../../core/leftover.ts";
import type { ProvisionedResource, ProvisionOptions } from "../../core/resources.ts";
import { documentDirectoryForm, storageKeyForm } from "../../document/record.ts";
import { createNew, flushDirectories, modeText, privateDirectory, publish, writeWhole } from "../../files/atomic.ts";
import { assertOwnParts, isLibrary, placeOfDirectory } from "../../files/library-directory.ts";
import { makeDirectory, makeDirectoryBelow } from "../../files/no-links.ts";
import { assertOwnLibrary, type Owners } from "../../files/ownership.ts";
import { openRegularFile, readSmallFile, UnsuitableFile } from "../../files/regular.ts";
import {
  type FileIdentity,
  fileVersionOf,
  isTemporaryName,
  type Removal,
  removeDirectory,
  removeFile,
  temporaryFile,
  temporaryIn,
} from "../../files/removal.ts";
import { type DirectorySettings, directorySettings } from "../../files/settings.ts";
import { isAbsence, statIfThere } from "../../files/stat.ts";
import { PlaceTaken } from "../conflict.ts";
import type {
  Body,
  CopyOptions,
  ListedObject,
  OpenOptions,
  PutOptions,
  PutResult,
  StorageService,
  StorageTraits,
  StoredObject,
} from "../service.ts";
import { emptyOrForeignBelow, entriesOf, filesBelow } from "./walk.ts";
import { assertNotTaken, isTouched, moveInto, stamp, type WrittenFile, writeDurably } from "./write.ts";

const traits: StorageTraits = {
  resumes: false,
  rangesInFlight: 1,
  shared: false,
  checksums: false,
  signs: false,
  scheme: "file",
};

export const localStorage = defineDriver<StorageService, typeof directorySettings>({
  title: "a directory",
  traits,
  settings: directorySettings,
  chosenBy: ["directory"],
  isRemote: false,
  // `--storage local` alone never means a team's catalog of bytes on this machine.
  implies: { metadata: "local" },
  check() {},
  async open(settings) {
    return new LocalStorage(settings);
  },
  provision,
  async *dismantle(settings, options) {
    const { removeObjects } = await import("./removal.ts");
    yield* removeObjects(settings, options);
  },
  clockSkew: async () => 0,
  nameOf: ({ directory }) => ({ kind: "directory", name: directory, isPath: true }),
  placeOf: ({ directory }) => placeOfDirectory(directory),
});

async function* provision(settings: DirectorySettings, options: ProvisionOptions): AsyncIterable<ProvisionedResource> {
  const mode = { mode: modeText(privateDirectory) };
  const resource = { kind: "directory", name: settings.directory, settings: mode };
  const seen = await statIfThere(settings.directory);
  if (seen?.isDirectory()) {
    await assertOwnParts(settings.directory, "storage");
    const found = modeText(seen.mode & 0o7777);
    // On Windows the mode bits mean nothing.
    const isOpen = sep === "/" && (seen.mode & 0o022) !== 0;
    const weakness = isOpen ? `others may write to it, as its mode is ${found}` : undefined;
    yield { ...resource, action: "exists", settings: { mode: found }, ...(weakness && { weakness }) };
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

/** Bytes. A catalog's id has 32. */
const maxMarkSize = 1024;

type StoreOptions = Pick<PutOptions, "catalog" | "owns" | "replaces" | "signal">;
type Stored = Pick<PutResult, "size" | "crc32">;

class LocalStorage implements StorageService {
  readonly traits = traits;
  readonly #directory: string;
  readonly #owners: Owners;
  readonly #objects: string;
  readonly #incoming: string;
  /** Contains the id of the catalog that the first object was stored for. */
  readonly #catalogMark: string;

  constructor({ directory, owners }: DirectorySettings) {
    this.#directory = directory;
    this.#owners = owners;
    this.#objects = join(directory, "objects");
    this.#incoming = join(directory, "incoming");
    this.#catalogMark = join(directory, "catalog-id");
  }

  async put(key: string, body: Body, options: PutOptions): Promise<PutResult> {
    const stored = await this.#store(key, options, (temporary) => writeDurably(temporary, body, options));
    return { ...stored, bytesSent: stored.size };
  }

  async copy(from: string, key: string, options: CopyOptions): Promise<PutResult | undefined> {
    const path = relative(this.#directory, this.#path(from)).split(sep).join("/");
    const { copyDurably } = await import("./copy.ts");
    const source = { root: this.#directory, path, form: path };
    const stored = await this.#store(key, options, (temporary) => copyDurably(source, temporary, options));
    return stored && { ...stored, bytesSent: 0 };
  }

  /**
   * Publishes a file under a key.
   * @param write makes the temporary file; undefined when it is not to be published
   */
  async #store(key: string, options: StoreOptions, write: (temporary: string) => Promise<WrittenFile>): Promise<Stored>;
  async #store(
    key: string,
    options: StoreOptions,
    write: (temporary: string) => Promise<WrittenFile | undefined>,
  ): Promise<Stored | undefined>;
  async #store(
    key: string,
    options: StoreOptions,
    write: (temporary: string) => Promise<WrittenFile | undefined>,
  ): Promise<Stored | undefined> {
    const target = this.#path(key);
    throwIfCancelled(options.signal);
    await assertOwnLibrary(this.#directory, this.#owners);
    await assertOwnParts(this.#directory, "storage");
    await makeDirectoryBelow(this.#directory, "incoming");
    if (options.replaces !== undefined) await assertNotTaken(target);
    const temporary = temporaryIn(this.#incoming);
    try {
      await this.#mark(options);
      const written = await write(temporary);
      if (written === undefined) return undefined;
      const { size, made } = written;
      reached("local-file-flushed");
      await makeDirectoryBelow(this.#directory, dirname(`objects/${key}`));
      await moveInto(temporary, target, options.replaces, key);
      reached("local-file-published");
      await stamp(target, made, key);
      await flushDirectories(dirname(target), this.#directory).catch(async (error) => {
        // Complete, but no record will ever name it. One that is named stays.
        if (options.replaces === undefined) await this.#removeObject(key, made).catch(() => {});
        throw error;
      });
      return { size, crc32: null };
    } catch (error) {
      throw fromSystemError(error, this.#objects);
    } finally {
      // If this fails, the file is a leftover.
      await removeFile(temporaryFile(temporary, this.#directory)).catch(() => {});
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
    if (handle === undefined) throw new PlaceTaken("NOT_FOUND", path);
    return readFrom(handle, path, options);
  }

  async stat(key: string, signal: AbortSignal): Promise<StoredObject | undefined> {
    throwIfCancelled(signal);
    const seen = await statIfThere(this.#path(key), (path) => stat(path, { bigint: true }));
    if (!seen?.isFile()) return undefined;
    return {
      size: Number(seen.size),
      crc32: null,
      catalog: await this.#markedCatalog(),
      version: fileVersionOf(seen),
      touched: isTouched(key, Number(seen.mtimeNs) / 1e6),
    };
  }

  async *list(prefix: string, signal: AbortSignal): AsyncIterable<ListedObject> {
    for await (const path of filesBelow(this.#deepest(prefix))) {
      throwIfCancelled(signal);
      const key = this.#keyOf(path);
      if (!key.startsWith(prefix)) continue;
      const seen = await statIfThere(path);
      if (seen === undefined) continue;
      // An object that nothing touched has the time of its document; the system notes when it got it.
      const storedAt = isTouched(key, seen.mtimeMs) === false ? seen.ctimeMs : seen.mtimeMs;
      yield { key, size: seen.size, age: Date.now() - storedAt };
    }
  }

  async *leftovers(prefix: string, signal: AbortSignal): AsyncIterable<Leftover | ForeignEntry> {
    // Without its mark, nothing in the directory counts as docproc's.
    const ours = await isLibrary(this.#directory);
    // Temporary names do not contain the key, so they belong only to the prefix of all keys.
    if (prefix === "") yield* this.#temporaryFiles(ours, signal);
    for await (const { path, kind } of emptyOrForeignBelow(this.#deepest(prefix))) {
      throwIfCancelled(signal);
      const key = this.#keyOf(path);
      if (!`${key}/`.startsWith(prefix)) continue;
      if (kind === "foreign") yield { isForeign: true, name: path };
      if (kind === "foreign" || !ours || !isDocumentDirectory(key, prefix)) continue;
      const seen = await statIfThere(path, lstat);
      const own = { root: this.#directory, path: `objects/${key}`, form: documentDirectoryForm };
      const discard = async () => void (await removeDirectory(own).catch(() => {}));
      if (seen) yield { kind, name: path, age: ageOf(seen), discard };
    }
  }

  async remove(key: string, signal: AbortSignal): Promise<void> {
    throwIfCancelled(signal);
    const path = this.#path(key);
    const removal = await this.#removeObject(key).catch((error: unknown) => {
      throw fromSystemError(error, path);
    });
    if (removal !== "foreign") return;
    throw new DocprocError("CONFLICT", `${path} was not created by docproc, or is behind a symbolic link.`, {
      hint: "It was left unchanged.",
    });
  }

  async sign(): Promise<never> {
    throw new DocprocError("USAGE", "A document in a local directory has no URL.", {
      hint: "To send it, write it to a file with docproc download REF.",
    });
  }

  uri(key: string): string {
    return `${pathToFileURL(this.#objects).href}/${key}`;
  }

  async close(): Promise<void> {}

  /** A second line of defence: keys from storageKey() cannot leave the directory. */
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

  /** @param made the file that it must be; default: any file of that key */
  async #removeObject(key: string, made?: FileIdentity): Promise<Removal> {
    const object = `objects/${key}`;
    const root = this.#directory;
    const removal = await removeFile({ root, path: object, form: storageKeyForm, made });
    if (removal === "foreign") return removal;
    const path = dirname(object);
    if (removal === "removed") await flushDirectories(join(root, path), join(root, path));
    // The directory holds one document and is removed with it, unless it contains something else.
    await removeDirectory({ root, path, form: documentDirectoryForm }).catch(() => {});
    return removal;
  }

  async *#temporaryFiles(ours: boolean, signal: AbortSignal): AsyncIterable<Leftover | ForeignEntry> {
    if (!(await statIfThere(this.#incoming, lstat))?.isDirectory()) return;
    for await (const { name } of entriesOf(this.#incoming)) {
      throwIfCancelled(signal);
      const path = join(this.#incoming, name);
      const seen = await statIfThere(path, lstat);
      if (seen === undefined) continue;
      const discard = async () => void (await removeFile(temporaryFile(path, this.#directory)));
      if (ours && isTemporaryName(name) && seen.isFile()) {
        yield { kind: "temporary-file", name: path, age: ageOf(seen), discard };
      } else yield { isForeign: true, name: path };
    }
  }

  /**
   * Marks the directory with its catalog once, so that the doctor of another catalog leaves it alone.
   * @throws CONFLICT for another catalog's directory, whose doctor would treat our objects as garbage
   */
  async #mark({ catalog, owns = async () => false }: Pick<PutOptions, "catalog" | "owns">): Promise<void> {
    const marked = (await this.#markedCatalog()) ?? (await this.#markAs(catalog));
    if (marked === null || marked === catalog || (await owns(marked))) return;
    throw new DocprocError("CONFLICT", `${this.#directory} holds the documents of another catalog, ${marked}.`, {
      hint: "Choose another place with --directory. If that catalog is lost, docproc doctor shows how to adopt its documents.",
    });
  }

  /** Writes the mark; returns the one in place, since another process may have been faster. */
  async #markAs(catalog: string): Promise<string | null> {
    const temporary = temporaryIn(this.#incoming);
    const handle = await createNew(temporary);
    try {
      try {
        await writeWhole(handle, Buffer.from(`${catalog}\n`));
        await handle.sync();
      } finally {
        await handle.close();
      }
      return (await publish(temporary, this.#catalogMark)) ? catalog : await this.#markedCatalog();
    } finally {
      await removeFile(temporaryFile(temporary, this.#directory));
    }
  }

  async #markedCatalog(): Promise<string | null> {
    try {
      return (await readSmallFile(this.#catalogMark, maxMarkSize)).toString().trim() || null;
    } catch (error) {
      if (isAbsence(error)) return null;
      if (!(error instanceof UnsuitableFile)) throw fromSystemError(error, this.#catalogMark);
      throw new DocprocError("INTEGRITY", `${this.#catalogMark} cannot be read: ${error.message}.`, {
        hint: "It must contain the id of the catalog. Remove it; the next upload writes it again.",
      });
    }
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

function ageOf({ mtimeMs }: { mtimeMs: number }): number {
  return Date.now() - mtimeMs;
}

/** Whether a directory holds one document of this prefix; those above it are reused. */
function isDocumentDirectory(key: string, prefix: string): boolean {
  const names = key.slice(prefix.length).split("/");
  return names.length === 2 && documentDirectoryForm.test(key);
}

/** Removes the storage of the embedded library once it is empty. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fromSystemError, throwIfCancelled } from "../../core/errors.ts";
import { assertEmpty, maxCounted } from "../../core/not-empty.ts";
import type { DismantledResource, ProvisionOptions } from "../../core/resources.ts";
import { documentDirectoryForm, storageKeyForm } from "../../document/record.ts";
import {
  assertOwnParts,
  assertRemovable,
  doomedParts,
  isLibrary,
  removeDirectory,
  removePart,
} from "../../files/library-directory.ts";
import * as removal from "../../files/removal.ts";
import type { DirectorySettings } from "../../files/settings.ts";
import { isAbsence, statIfThere } from "../../files/stat.ts";

export async function* removeObjects(
  settings: DirectorySettings,
  options: ProvisionOptions,
): AsyncIterable<DismantledResource> {
  const { directory } = settings;
  throwIfCancelled(options.signal);
  await assertRemovable(settings);
  await assertOwnParts(directory, "storage");
  yield { kind: "objects", name: join(directory, "objects"), ...(await remove(settings, options)) };
  // A catalog in the same directory is removed later, and the directory with it.
  if (!options.shared) yield await removeDirectory(settings, options, await doomedParts(directory, ["storage"]));
}

async function remove(settings: DirectorySettings, { plan, signal }: ProvisionOptions) {
  const { directory } = settings;
  const names = ["objects", "incoming"];
  const seen = await Promise.all([...names, "catalog-id"].map((name) => statIfThere(join(directory, name))));
  if (seen.every((one) => one === undefined)) return { action: "gone" } as const;
  if (!(await isLibrary(directory))) {
    return { action: "kept", because: "it has no catalog-id, so docproc may not have created it" } as const;
  }
  const survey = new Survey(settings);
  for (const name of names) await survey.walk(name, signal);
  const { counts } = survey;
  assertEmpty(`directory ${directory}`, counts, Object.values(counts).includes(maxCounted));
  if (plan) return { action: "would-remove" } as const;
  // One at a time, and only empty ones, so that an upload that has just begun keeps its files.
  for (const path of [...survey.directories, ...names]) {
    throwIfCancelled(signal);
    const outcome = await removal.removeDirectory({ root: directory, path, form: path }).catch((error: unknown) => {
      throw fromSystemError(error, join(directory, path));
    });
    if (names.includes(path) && (outcome === "kept" || outcome === "foreign")) {
      return { action: "kept", because: "something was added to it meanwhile" } as const;
    }
  }
  await removePart(directory, "catalog-id");
  return { action: "removed" } as const;
}

/** The entries below `objects` and `incoming`. */
class Survey {
  readonly counts = { object: 0, "unfinished upload": 0, "other file": 0, "other folder": 0 };
  /** docproc's own directories, with `/` between the names, children first. */
  readonly directories: string[] = [];
  readonly #root: string;
  readonly #prefix: string;

  constructor({ directory, prefix }: DirectorySettings) {
    this.#root = directory;
    this.#prefix = prefix;
  }

  /** Stops at {@link maxCounted} of a kind. Everything that is no directory counts as a file, links too. */
  async walk(path: string, signal: AbortSignal): Promise<void> {
    for (const entry of await entriesOf(join(this.#root, path))) {
      throwIfCancelled(signal);
      if (Object.values(this.counts).includes(maxCounted)) return;
      const below = `${path}/${entry.name}`;
      if (entry.isDirectory()) {
        await this.walk(below, signal);
        if (this.#isOwnDirectory(below)) this.directories.push(below);
        else this.counts["other folder"] += 1;
      } else this.counts[entry.isFile() ? kindOf(below) : "other file"] += 1;
    }
  }

  /** Whether keys of this library lead through it. */
  #isOwnDirectory(path: string): boolean {
    const objects = `objects/${this.#prefix}`;
    if (objects.startsWith(`${path}/`)) return true;
    const below = path.startsWith(objects) ? path.slice(objects.length) : "";
    return /^[0-9a-f]{2}$/.test(below) || (below.split("/").length === 2 && documentDirectoryForm.test(below));
  }
}

function kindOf(path: string) {
  if (path.startsWith("objects/") && storageKeyForm.test(path)) return "object";
  const [folder, name = "", ...more] = path.split("/");
  const isTemporary = folder === "incoming" && more.length === 0 && removal.isTemporaryName(name);
  return isTemporary ? "unfinished upload" : "other file";
}

async function entriesOf(directory: string) {
  try {
    return await readdir(directory, { withFileTypes: true });
  } catch (error) {
    if (isAbsence(error)) return [];
    throw fromSystemError(error, directory);
  }
}

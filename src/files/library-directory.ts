/** The directory of an embedded library: which entries are docproc's, and how it is removed. */
import { lstat, readdir, realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { DocprocError, fromSystemError } from "../core/errors.ts";
import { listed } from "../core/not-empty.ts";
import type { DismantledResource, ProvisionOptions } from "../core/resources.ts";
import { assertDirectory, assertFile } from "./no-links.ts";
import { assertOwnLibrary } from "./ownership.ts";
import { readSmallFile, UnsuitableFile } from "./regular.ts";
import * as removal from "./removal.ts";
import type { DirectorySettings } from "./settings.ts";
import { isAbsence, statIfThere } from "./stat.ts";

/** The entries that the embedded drivers make, with the check for each. */
const parts = {
  storage: { objects: assertDirectory, incoming: assertDirectory, "catalog-id": assertFile },
  metadata: { "catalog.db": assertFile, "catalog.db-journal": assertFile },
} as const;
type Service = keyof typeof parts;

/**
 * Checks a driver's entries before they are written or removed.
 * @throws CONFLICT for a link, and for a file in place of a directory or vice versa
 */
export async function assertOwnParts(directory: string, service: Service): Promise<void> {
  await Promise.all(Object.entries(parts[service]).map(([name, look]) => look(join(directory, name))));
}

/** Whether the directory has docproc's mark: the id of the catalog that its first document was stored for. */
export async function isLibrary(directory: string): Promise<boolean> {
  const path = join(directory, "catalog-id");
  if (!(await statIfThere(path, lstat))?.isFile()) return false;
  try {
    return /^[\w-]+\n$/.test((await readSmallFile(path, maxMarkSize)).toString("latin1"));
  } catch (error) {
    if (isAbsence(error) || error instanceof UnsuitableFile) return false;
    throw fromSystemError(error, path);
  }
}

/** Bytes. */
const maxMarkSize = 100;

/**
 * @throws CONFLICT when it is not a directory
 * @throws ACCESS_DENIED when another user made it
 */
export async function assertRemovable({ directory, owners }: DirectorySettings): Promise<void> {
  const seen = await statIfThere(directory);
  if (seen && !seen.isDirectory()) {
    throw new DocprocError("CONFLICT", `${directory} is not a directory.`, {
      hint: "Nothing was removed. Name the library's directory with --directory.",
    });
  }
  await assertOwnLibrary(directory, owners);
}

/**
 * Removes the directory after the drivers have removed their entries; with other content it is kept.
 * @param doomed entries that the drivers would remove, for a plan
 */
export async function removeDirectory(
  { directory }: DirectorySettings,
  { plan }: ProvisionOptions,
  doomed: readonly string[],
): Promise<DismantledResource> {
  const resource = { kind: "directory", name: directory };
  const entries = await namesIn(directory);
  if (entries === undefined) return { ...resource, action: "gone" };
  const others = entries.filter((name) => !plan || !doomed.includes(name));
  if (others.length > 0) return { ...resource, action: "kept", because: `it holds ${listed(others.sort())}` };
  if ((await statIfThere(directory, lstat))?.isSymbolicLink())
    return { ...resource, action: "kept", because: "it is a symbolic link" };
  if (plan) return { ...resource, action: "would-remove" };
  // The user has just given this name.
  const own = { root: dirname(directory), path: basename(directory), form: basename(directory) };
  const outcome = await removal.removeDirectory(own).catch((error: unknown) => {
    throw fromSystemError(error, directory);
  });
  return outcome === "removed" || outcome === "gone"
    ? { ...resource, action: "removed" }
    : { ...resource, action: "kept", because: "it is in use" };
}

/** Undefined when the directory does not exist. */
async function namesIn(directory: string): Promise<string[] | undefined> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw fromSystemError(error, directory);
  }
}

/** Entries that the drivers of these services would remove. */
export async function doomedParts(directory: string, services: readonly Service[]): Promise<string[]> {
  return [
    ...(services.includes("storage") && (await isLibrary(directory)) ? Object.keys(parts.storage) : []),
    ...(services.includes("metadata") ? Object.keys(parts.metadata) : []),
  ];
}

/** Equal for all paths of a directory, which need not exist yet. */
export async function placeOfDirectory(directory: string): Promise<string> {
  return await realpath(directory).catch(() => directory);
}

/**
 * Removes a driver's file. Idempotent.
 * @throws CONFLICT when it is not a file
 */
export async function removePart(directory: string, name: "catalog-id" | keyof (typeof parts)["metadata"]) {
  const path = join(directory, name);
  const outcome = await removal.removeFile({ root: directory, path: name, form: name }).catch((error: unknown) => {
    throw fromSystemError(error, path);
  });
  if (outcome !== "foreign") return;
  throw new DocprocError("CONFLICT", `docproc did not create ${path}.`, { hint: "It was left unchanged." });
}

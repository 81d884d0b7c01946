/** The directory of an embedded library as a whole, when it is to be removed. Of what is in it only our own ever is. */
import { lstat, readdir, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { DocprocError, fromSystemError, isSystemError } from "./errors.ts";
import { assertOwnLibrary } from "./ownership.ts";
import { isAbsence, statIfThere } from "./presence.ts";
import type { DismantledResource, ProvisionOptions, Settings } from "./settings.ts";

/** What the drivers of the embedded library put into its directory. */
const ours = {
  storage: ["objects", "incoming", "catalog-id"],
  metadata: ["catalog.db", "catalog.db-journal"],
} as const;

/** Names in a message; more would not be read. */
const namesSaid = 3;

/** Paths of what a driver puts into the directory. */
export function ownPaths<Service extends keyof typeof ours>(directory: string, service: Service): string[] {
  return ours[service].map((name) => join(directory, name));
}

/**
 * @throws CONFLICT for what is no directory
 * @throws ACCESS_DENIED for one that another user made
 */
export async function assertRemovable({ directory, owners }: Settings): Promise<void> {
  const seen = await statIfThere(directory);
  if (seen && !seen.isDirectory()) {
    throw new DocprocError("CONFLICT", `${directory} is not a directory.`, {
      hint: "Name that of the library with --directory. Nothing was removed.",
    });
  }
  await assertOwnLibrary(directory, owners);
}

/** Removes the directory once the drivers have removed what they made; with anything else in it, it stays. */
export async function removeDirectory(
  { directory, storage, metadata }: Settings,
  { plan }: ProvisionOptions,
): Promise<DismantledResource> {
  const resource = { kind: "directory", name: directory };
  const entries = await namesIn(directory);
  if (entries === undefined) return { ...resource, action: "gone" };
  const planned: readonly string[] = plan
    ? [...(storage === "local" ? ours.storage : []), ...(metadata === "local" ? ours.metadata : [])]
    : [];
  const others = entries.filter((name) => !planned.includes(name)).sort();
  if (others.length > 0) return { ...resource, action: "kept", because: `it holds ${listed(others)}` };
  if ((await statIfThere(directory, lstat))?.isSymbolicLink())
    return { ...resource, action: "kept", because: "it is a link" };
  if (plan) return { ...resource, action: "would-remove" };
  if (await removeIfEmpty(directory)) return { ...resource, action: "removed" };
  return { ...resource, action: "kept", because: "it is in use" };
}

function listed(names: readonly string[]): string {
  const more = names.length - namesSaid;
  return `${names.slice(0, namesSaid).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

/** Undefined for a directory that is not there. */
async function namesIn(directory: string): Promise<string[] | undefined> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw fromSystemError(error, directory);
  }
}

/** What is not there is removed. */
export async function removeFiles(...paths: string[]): Promise<void> {
  for (const path of paths) {
    await rm(path, { force: true }).catch((error: unknown) => {
      throw fromSystemError(error, path);
    });
  }
}

/** Not empty, a mount point, a link to a directory. POSIX has two names for the first. */
const staysThere = new Set(["ENOTEMPTY", "EEXIST", "EBUSY", "ENOTDIR"]);

/** @returns false where the directory stays */
export async function removeIfEmpty(directory: string): Promise<boolean> {
  try {
    await rmdir(directory);
    return true;
  } catch (error) {
    if (!isSystemError(error)) throw error;
    if (error.code === "ENOENT") return true;
    if (staysThere.has(error.code)) return false;
    throw fromSystemError(error, directory);
  }
}

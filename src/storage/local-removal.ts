/** Removes what the embedded library keeps bytes in, once there are none. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fromSystemError, throwIfCancelled } from "../errors.ts";
import { assertRemovable, ownPaths, removeDirectory, removeFiles, removeIfEmpty } from "../library-directory.ts";
import { assertEmpty, mostCounted } from "../not-empty.ts";
import { isAbsence, statIfThere } from "../presence.ts";
import type { DismantledResource, ProvisionOptions, Settings } from "../settings.ts";

export async function* removeObjects(settings: Settings, options: ProvisionOptions): AsyncIterable<DismantledResource> {
  const { directory } = settings;
  throwIfCancelled(options.signal);
  await assertRemovable(settings);
  const [objects = "", incoming = "", mark = ""] = ownPaths(directory, "storage");
  const counts = {
    object: await countFiles(objects, options.signal),
    // That of an upload which is under way, too.
    "unfinished upload": await countFiles(incoming, options.signal),
  };
  assertEmpty(`directory ${directory}`, counts, Object.values(counts).includes(mostCounted));
  const resource = { kind: "objects", name: objects };
  const seen = await Promise.all([objects, incoming, mark].map((path) => statIfThere(path)));
  if (seen.every((one) => one === undefined)) yield { ...resource, action: "gone" };
  else if (options.plan) yield { ...resource, action: "would-remove" };
  else yield { ...resource, ...(await remove([objects, incoming], mark, options.signal)) };
  // Else the catalog is in it, and goes after the objects.
  if (settings.metadata !== "local") yield await removeDirectory(settings, options);
}

async function remove(directories: readonly string[], mark: string, signal: AbortSignal) {
  let left = false;
  for (const directory of directories) {
    // One at a time, and never more than empty directories: an upload that has just begun keeps what it has written.
    for await (const path of directoriesBelow(directory)) {
      throwIfCancelled(signal);
      await removeIfEmpty(path);
    }
    left = !(await removeIfEmpty(directory)) || left;
  }
  if (left) return { action: "kept", because: "something was put there meanwhile" } as const;
  await removeFiles(mark);
  return { action: "removed" } as const;
}

/** How many there are, up to {@link mostCounted}. Whatever is no directory counts: a link, a file of somebody else. */
async function countFiles(directory: string, signal: AbortSignal): Promise<number> {
  let count = 0;
  for (const entry of await entriesOf(directory)) {
    throwIfCancelled(signal);
    count += entry.isDirectory() ? await countFiles(join(directory, entry.name), signal) : 1;
    if (count >= mostCounted) return mostCounted;
  }
  return count;
}

/** Those further down first. */
async function* directoriesBelow(directory: string): AsyncIterable<string> {
  for (const entry of await entriesOf(directory)) {
    if (!entry.isDirectory()) continue;
    const path = join(directory, entry.name);
    yield* directoriesBelow(path);
    yield path;
  }
}

async function entriesOf(directory: string) {
  try {
    return await readdir(directory, { withFileTypes: true });
  } catch (error) {
    if (isAbsence(error)) return [];
    throw fromSystemError(error, directory);
  }
}

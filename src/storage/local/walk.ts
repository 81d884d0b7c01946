/** Walks through the directories of the embedded library. No link is followed. */
import { opendir } from "node:fs/promises";
import { join } from "node:path";
import { fromSystemError } from "../../core/errors.ts";
import { isAbsence } from "../../files/stat.ts";

/** Every regular file below a directory. */
export async function* filesBelow(directory: string): AsyncIterable<string> {
  for await (const entry of entriesOf(directory)) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) yield* filesBelow(path);
    else if (entry.isFile()) yield path;
  }
}

/** Empty directories, and entries that are neither directory nor file. */
export async function* emptyOrForeignBelow(
  directory: string,
): AsyncIterable<{ path: string; kind: "empty-directory" | "foreign" }> {
  for await (const entry of entriesOf(directory)) {
    if (entry.isFile()) continue;
    const path = join(directory, entry.name);
    if (!entry.isDirectory()) yield { path, kind: "foreign" };
    else if (await isEmpty(path)) yield { path, kind: "empty-directory" };
    else yield* emptyOrForeignBelow(path);
  }
}

async function isEmpty(directory: string): Promise<boolean> {
  for await (const _ of entriesOf(directory)) return false;
  return true;
}

/** The entries of a directory; none if it does not exist. */
export async function* entriesOf(directory: string) {
  let entries: Awaited<ReturnType<typeof opendir>>;
  try {
    entries = await opendir(directory);
  } catch (error) {
    if (isAbsence(error)) return;
    throw fromSystemError(error, directory);
  }
  yield* entries;
}

/** Reads the small files of a repository. Someone else may have prepared them, so links must not lead out of it. */
import { realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { readSmallFile } from "../../files/regular.ts";
import { isAbsence } from "../../files/stat.ts";

/**
 * The text of a file of a repository; undefined where there is none. Links that lead out are not followed: a branch
 * could be a link to a key of 40 hexadecimal digits, which would be recorded as the commit.
 * @param directory without a link in its path
 * @param most bytes that are read
 * @throws Error with a clause that says why it is not read, or the system's own
 */
export async function readOptional(directory: string, name: string, most: number): Promise<string | undefined> {
  try {
    const path = await realpath(join(directory, name));
    if (!path.startsWith(directory + sep)) throw new Error(`its ${name} is a link that leads out of it`);
    const facts = await stat(path);
    // Where there is the branch a/b, the branch a is packed.
    if (facts.isDirectory()) return undefined;
    if (!facts.isFile()) throw new Error(`its ${name} is no file`);
    return (await readSmallFile(path, most)).toString();
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw error;
  }
}

/** Reads the small files of a repository. Someone else may have prepared them, so links must not lead out of it. */
import { realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { readSmallFile } from "../../files/regular.ts";
import { isAbsence } from "../../files/stat.ts";

/**
 * The text of a file in a repository; undefined when there is none. Links out of it are refused: a branch could link to
 * a secret key of 40 hexadecimal digits, which would then be recorded as the commit.
 * @param directory without a link in its path
 * @param most bytes to read at most
 * @throws Error with a clause that says why it is not read, or the system's error
 */
export async function readOptional(directory: string, name: string, most: number): Promise<string | undefined> {
  try {
    const path = await realpath(join(directory, name));
    if (!path.startsWith(directory + sep)) throw new Error(`its ${name} is a link that leads out of it`);
    const facts = await stat(path);
    // When a branch a/b exists, the branch a is in packed-refs.
    if (facts.isDirectory()) return undefined;
    if (!facts.isFile()) throw new Error(`its ${name} is not a file`);
    return (await readSmallFile(path, most)).toString();
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw error;
  }
}

/** What a directory looks like, to see that nothing of it was changed. */
import { lstat, readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";

/** Everything below a directory: its kind and mode, and what is in it or where it leads. */
export async function picture(root: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const name of (await readdir(root, { recursive: true })).sort()) {
    const path = join(root, name);
    const seen = await lstat(path);
    const content = seen.isFile() ? await readFile(path, "latin1") : seen.isSymbolicLink() ? await readlink(path) : "";
    found[name] = `${seen.mode.toString(8)} ${content}`;
  }
  return found;
}

/** Whether a file that is made from others has to be made again. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/** @param sources files and folders */
export function isUpToDate(made: string, sources: readonly string[]): boolean {
  const time = statSync(made, { throwIfNoEntry: false })?.mtimeMs;
  return time !== undefined && sources.every((source) => newestIn(source) < time);
}

/** Of a folder, also its own time and those of folders in it: a file that is gone has none. */
function newestIn(path: string): number {
  const within = statSync(path).isDirectory() ? readdirSync(path, { recursive: true, encoding: "utf8" }) : [];
  return Math.max(...[path, ...within.map((name) => join(path, name))].map((one) => statSync(one).mtimeMs));
}

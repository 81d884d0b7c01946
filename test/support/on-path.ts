/** Programs of this machine that are no part of the project. */
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";

/** The program that a shell would run; undefined for none. */
export function findOnPath(name: string): string | undefined {
  const { PATH = "" } = process.env;
  const folders = PATH.split(delimiter).filter((folder) => folder !== "");
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

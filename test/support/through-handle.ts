/** Paths that lead through the handle of a directory, as `/proc/self/fd/7/a.txt`. */
import { readlinkSync } from "node:fs";

/** The place that a path means, under the name that its directory has now. */
export function placeOf(path: string): string {
  const [, handle, below = ""] = /^(\/proc\/self\/fd\/\d+)(\/.*)?$/s.exec(path) ?? [];
  return handle === undefined ? path : readlinkSync(handle) + below;
}

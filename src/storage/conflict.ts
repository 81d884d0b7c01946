/** The error of every driver for a key that cannot be written. */
import { DocprocError } from "../core/errors.ts";
import type { PutOptions } from "./service.ts";

export function conflictAt(key: string, { replaces }: Pick<PutOptions, "replaces">, cause?: unknown): DocprocError {
  const [message, hint] = replaces
    ? [
        `The object under ${key} is not the one that was to be replaced.`,
        "It was left as it is. Run the same command again.",
      ]
    : [`An object is already stored under ${key}.`, "Nothing was overwritten."];
  return new DocprocError("CONFLICT", message, { hint, cause });
}

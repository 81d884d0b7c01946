/** The errors of every driver for a key that cannot be written or read. */
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

/** Something is in the place of an object that docproc cannot have put there: neither read nor replaced. */
export class PlaceTaken extends DocprocError {
  /** What a person sees there: a path. */
  readonly place: string;

  /** @param code NOT_FOUND for the reader of an object, CONFLICT for a writer */
  constructor(code: "NOT_FOUND" | "CONFLICT", place: string) {
    super(code, `${place} is not a regular file, and docproc did not put it there.`, {
      hint: "It was left as it is. Move it away, then run the same command again.",
    });
    this.place = place;
  }
}

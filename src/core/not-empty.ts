/** Refuses to remove a resource that is not empty. */
import { DocprocError } from "./errors.ts";

/** Counting stops here; a larger number tells the user nothing new. */
export const maxCounted = 1_000;

/** Names shown in a message. */
export const maxNamed = 3;

/**
 * Names for a message: `a, b, c and 4 more`.
 * @param count the total, when `names` are only some of them
 */
export function listed(names: readonly string[], count = names.length): string {
  const said = names.slice(0, maxNamed);
  const more = count - said.length;
  return `${said.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

/** For a message: `1 object`, `2 objects`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/**
 * @param resource for example `bucket invoices`
 * @param counts by singular name
 * @param more true when counting stopped early
 * @throws CONFLICT unless all counts are 0
 */
export function assertEmpty(resource: string, counts: Readonly<Record<string, number>>, more = false): void {
  const found = Object.entries(counts).flatMap(([what, count]) => (count === 0 ? [] : [counted(count, what)]));
  if (found.length === 0) return;
  throw new DocprocError("CONFLICT", `The ${resource} holds ${found.join(", ")}${more ? " or more" : ""}.`, {
    hint:
      "Remove documents with docproc delete, and leftovers over a day old with docproc doctor --repair. " +
      "Remove everything else by other means.",
  });
}

/** Error details for a resource that is not empty and so cannot be removed. */
import { DocprocError } from "./errors.ts";

/** As many are counted of a kind; where there are more, their number tells nobody anything. */
export const mostCounted = 1_000;

/** Names in a message; more would not be read. */
export const mostNamed = 3;

/**
 * Names for a message: `a, b, c and 4 more`.
 * @param count how many there are, where `names` are only some of them
 */
export function listed(names: readonly string[], count = names.length): string {
  const said = names.slice(0, mostNamed);
  const more = count - said.length;
  return `${said.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

/**
 * @param resource for example `bucket invoices`
 * @param counts how many there are of what, by its name in the singular
 * @param more true where the counting ended early
 * @throws CONFLICT unless all counts are 0
 */
export function assertEmpty(resource: string, counts: Readonly<Record<string, number>>, more = false): void {
  const found = Object.entries(counts).flatMap(([what, count]) =>
    count === 0 ? [] : [`${count} ${what}${count === 1 ? "" : "s"}`],
  );
  if (found.length === 0) return;
  throw new DocprocError("CONFLICT", `The ${resource} holds ${found.join(", ")}${more ? " or more" : ""}.`, {
    hint:
      "docproc delete removes documents, docproc doctor --repair what interrupted commands left, once it is a day old. " +
      "The rest is not docproc's to remove.",
  });
}

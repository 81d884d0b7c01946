/** The flags that select documents, shared by every command that reads the catalog. */
import type { OptionValues, Command as TypedCommand } from "@commander-js/extra-typings";
import { DocprocError } from "../../core/errors.ts";
import { commitPrefix, type ListQuery, parseTime } from "../../document/query.ts";
import { documentTags } from "../../document/record.ts";
import { collect } from "./command.ts";

export type FilterFlags = ReturnType<ReturnType<typeof addFilterFlags<[], Record<never, never>>>["opts"]>;

export function addFilterFlags<Args extends unknown[], Flags extends OptionValues>(command: TypedCommand<Args, Flags>) {
  return command
    .option("--tag <key=value>", "only with this tag (repeatable; all must match)", collect)
    .option("--name <glob>", "only with a matching name, such as 'inv*.pdf'")
    .option("--type <type>", "only of this content type, such as application/pdf, 'image/*' or image")
    .option("--since <when>", "only uploaded at or after: 7d, 24h or 2026-01-31 (UTC)")
    .option("--until <when>", "only uploaded before, in the same forms")
    .option("--commit <sha>", "only made from this git commit (at least 7 digits)")
    .option("--run <id>", "only made by this CI run");
}

/** The parsed filter. */
export type Chosen = Pick<ListQuery, "since" | "until" | "filter">;

/** Whether any of the flags is given. */
export function hasFilter({ tag, name, type, since, until, commit, run }: FilterFlags): boolean {
  return [tag, name, type, since, until, commit, run].some((flag) => flag !== undefined);
}

/** @throws USAGE for invalid values */
export function parseFilter(flags: FilterFlags, now: number): Chosen {
  const { name, type, run } = flags;
  const since = flags.since === undefined ? undefined : parseTime("--since", flags.since, now);
  const until = flags.until === undefined ? undefined : parseTime("--until", flags.until, now);
  if (since !== undefined && until !== undefined && since >= until) {
    throw new DocprocError("USAGE", "--since is not before --until.", { hint: "Swap them." });
  }
  const commit = flags.commit === undefined ? undefined : commitPrefix(flags.commit);
  return { since, until, filter: { tags: documentTags(flags.tag ?? []), name, type, commit, run } };
}

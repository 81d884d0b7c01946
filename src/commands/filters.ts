/** The flags that choose among documents, for every command that takes many of them. */
import type { Command } from "commander";
import { documentTags } from "../document.ts";
import { DocprocError } from "../errors.ts";
import { type DocumentFilter, parseTime } from "../query.ts";
import { collect } from "./command.ts";

export interface FilterFlags {
  tag?: string[];
  name?: string;
  type?: string;
  since?: string;
  until?: string;
}

export interface Chosen {
  readonly since: number | undefined;
  readonly until: number | undefined;
  readonly filter: DocumentFilter;
}

export function addFilterFlags(command: Command): Command {
  return command
    .option("--tag <key=value>", "with this tag (repeatable: with all of them)", collect)
    .option("--name <glob>", "with a name like this, for example 'inv*.pdf'")
    .option("--type <type>", "of this content type, for example application/pdf, 'image/*' or image")
    .option("--since <when>", "uploaded at or after: 7d, 24h, or 2026-01-31 (UTC)")
    .option("--until <when>", "uploaded before: the same forms");
}

/** @throws USAGE for what cannot be meant */
export function parseFilters(flags: FilterFlags, now: number): Chosen {
  const since = flags.since === undefined ? undefined : parseTime("--since", flags.since, now);
  const until = flags.until === undefined ? undefined : parseTime("--until", flags.until, now);
  if (since !== undefined && until !== undefined && since >= until) {
    throw new DocprocError("USAGE", "--since is not before --until.", { hint: "Swap them." });
  }
  return { since, until, filter: { tags: documentTags(flags.tag ?? []), name: flags.name, type: flags.type } };
}

/** Whether any of the flags is given. */
export function hasFilters({ tag, name, type, since, until }: FilterFlags): boolean {
  return [tag, name, type, since, until].some((flag) => flag !== undefined);
}

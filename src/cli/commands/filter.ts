/** The flags that select documents, shared by every command that reads the catalog. */
import type { OptionValues, Command as TypedCommand } from "@commander-js/extra-typings";
import { DocprocError } from "../../core/errors.ts";
import {
  commitPrefix,
  type DocumentFilter,
  folderFilter,
  parseTime,
  type Selection,
  sha256Prefix,
} from "../../document/query.ts";
import { documentTags } from "../../document/record.ts";
import { collect } from "./command.ts";

export type FilterFlags = ReturnType<ReturnType<typeof addFilterFlags<[], Record<never, never>>>["opts"]>;

export function addFilterFlags<Args extends unknown[], Flags extends OptionValues>(command: TypedCommand<Args, Flags>) {
  return command
    .option(
      "--tag <key[=value]>",
      "only with this tag, or with any tag of this key (repeatable; all must match)",
      collect,
    )
    .option("--not-tag <key[=value]>", "only without this tag, or without any tag of this key (repeatable)", collect)
    .option("--under <folder>", "only below this folder, at any depth")
    .option("--path <glob>", "only with a matching path, such as 'dist/**/*.js'; * matches no slash")
    .option("--name <glob>", "only with a matching name, the last part of the path, such as 'inv*.pdf'")
    .option("--type <type>", "only of this content type, such as application/pdf, 'image/*' or image")
    .option("--since <when>", "only uploaded at or after: 7d, 24h or 2026-01-31 (UTC)")
    .option("--until <when>", "only uploaded before, in the same forms")
    .option("--sha256 <digits>", "only with this SHA-256 (at least 7 digits)")
    .option("--branch <name>", "only made on this git branch")
    .option("--commit <sha>", "only made from this git commit (at least 7 digits)")
    .option("--run <id>", "only made by this CI run")
    .option("--latest", "of the matching documents only the newest of each path");
}

/** The parsed filter. */
export type Chosen = Pick<Selection, "since" | "until" | "filter" | "latest">;

/** Whether any of the flags is given. */
export function hasFilter(flags: FilterFlags): boolean {
  const { tag, notTag, under, path, name, type, since, until, sha256, branch, commit, run, latest } = flags;
  const all = [tag, notTag, under, path, name, type, since, until, sha256, branch, commit, run, latest];
  return all.some((flag) => flag !== undefined);
}

/** @throws USAGE for invalid values */
export function parseFilter(flags: FilterFlags, now: number): Chosen {
  const { path, name, type, latest } = flags;
  const since = flags.since === undefined ? undefined : parseTime("--since", flags.since, now);
  const until = flags.until === undefined ? undefined : parseTime("--until", flags.until, now);
  if (since !== undefined && until !== undefined && since >= until) {
    throw new DocprocError("USAGE", "--since is not before --until.", { hint: "Swap them." });
  }
  const filter: DocumentFilter = {
    ...tagFilter(flags.tag ?? [], flags.notTag ?? []),
    under: flags.under === undefined ? undefined : folderFilter("--under", flags.under),
    path,
    name,
    type,
    sha256: flags.sha256 === undefined ? undefined : sha256Prefix(flags.sha256),
    branch: flags.branch?.normalize("NFC"),
    commit: flags.commit === undefined ? undefined : commitPrefix(flags.commit),
    run: flags.run?.normalize("NFC"),
  };
  return { since, until, filter, latest };
}

/** @throws USAGE for a tag without a key */
function tagFilter(
  wanted: readonly string[],
  unwanted: readonly string[],
): Pick<DocumentFilter, "tags" | "tagKeys" | "notTags"> {
  const hasValue = (text: string) => text.includes("=");
  const notTags = unwanted.map((text) => {
    const [key = "", value] = text.normalize("NFC").split(/=(.*)/s);
    return { key: tagKey("--not-tag", key), value };
  });
  const tagKeys = wanted.filter((text) => !hasValue(text)).map((text) => tagKey("--tag", text.normalize("NFC")));
  return { tags: documentTags(wanted.filter(hasValue)), tagKeys, notTags };
}

function tagKey(flag: string, key: string): string {
  if (key !== "") return key;
  throw new DocprocError("USAGE", `${flag} has no key.`, { hint: `For example: ${flag} build=42, or ${flag} build` });
}

/** The flags as typed, for a message that nothing was found. */
export function filterText(flags: FilterFlags): string {
  const { tag, notTag, under, path, name, type, since, until, sha256, branch, commit, run } = flags;
  const given = { tag, notTag, under, path, name, type, since, until, sha256, branch, commit, run };
  const texts = Object.entries(given).flatMap(([flag, values = []]) => {
    const word = `--${flag.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    return [values].flat().map((value) => `${word} ${value}`);
  });
  return texts.join(" ");
}

import { DocprocError } from "../../core/errors.ts";
import { listOrder, type Selection } from "../../document/query.ts";
import { isDocumentId } from "../../document/record.ts";
import { whatOf } from "../../document/what.ts";
import { defineCommand } from "./command.ts";
import { documentRow } from "./documents-table.ts";
import { addFilterFlags, parseFilter } from "./filter.ts";

interface ListInput {
  readonly query: Selection;
  readonly limit: number;
}

const defaultLimit = 50;

export const list = defineCommand({
  document: { schema: "docproc.list/1", items: "documents" },
  examples: [
    ["List the newest fifty documents", "list"],
    ["List the documents with letters in their path, of both cases", "list invoice"],
    ["List what is below a folder, only the newest version of each path", "list scans/ --latest"],
    ["List the JavaScript below a folder, at any depth", "list --path 'dist/**/*.js'"],
    ["List the artifacts of a build", "list --tag build=42"],
    ["Print last week's PDFs as JSON", "list --type application/pdf --since 7d --json"],
    ["List what was made from a commit", "list --commit 4f475bb"],
    ["List the ten largest documents", "list --sort size -n 10"],
    ["List what was not reviewed", "list --not-tag reviewed"],
    ["Print every record, one per line", "list --all --ndjson"],
  ],
  configure(command) {
    return addFilterFlags(
      command.argument(
        "[what]",
        "part of a path, a folder with a slash at its end, or a glob; small letters match both cases",
      ),
    )
      .option("--sort <time|size|path>", "sort newest first (default), largest first, or by path")
      .option("-n, --limit <count>", `list at most this many (default: ${defaultLimit})`)
      .option("--cursor <id>", "continue after this document: the nextCursor of the previous page")
      .option("--all", "list all, without a limit")
      .option("--asc", "reverse the order: oldest or smallest first");
  },
  parse([what], flags, now): ListInput {
    if (flags.all && flags.limit !== undefined) {
      throw new DocprocError("USAGE", "--all and --limit contradict each other.", { hint: "Remove one of them." });
    }
    if (flags.cursor !== undefined && !isDocumentId(flags.cursor)) {
      throw new DocprocError("USAGE", `${JSON.stringify(flags.cursor)} is not a cursor.`, {
        hint: "Use the nextCursor of the previous page.",
      });
    }
    const order = listOrder("--sort", flags.sort ?? "time", flags.asc ?? false);
    const limit = flags.all ? Number.POSITIVE_INFINITY : parseLimit(flags.limit);
    if (what !== undefined) whatOf(what);
    const { filter, ...chosen } = parseFilter(flags, now);
    return {
      query: {
        ...chosen,
        filter: { ...filter, what },
        ...order,
        after: flags.cursor,
        // One more shows whether there is another page.
        expected: flags.all ? undefined : limit + 1,
      },
      limit,
    };
  },
  async run({ library, reporter, signal }, { query, limit }) {
    let count = 0;
    let last: string | null = null;
    let more = false;
    for await (const record of await (await library()).list(query, signal)) {
      // One more shows whether there is another page.
      more = count === limit;
      if (more || reporter.closed) break;
      const written = reporter.item(documentRow(record));
      if (written) await written;
      last = record.id;
      count += 1;
    }
    const nextCursor = more ? last : null;
    return {
      envelope: { count, nextCursor },
      note: count === 0 ? "No documents." : undefined,
      warning: nextCursor === null ? undefined : `There are more: add --cursor ${nextCursor} or --all.`,
      text: () => "",
    };
  },
});

function parseLimit(text: string | undefined): number {
  if (text === undefined) return defaultLimit;
  const limit = Number(text);
  if (Number.isInteger(limit) && limit >= 1) return limit;
  throw new DocprocError("USAGE", `--limit ${JSON.stringify(text)} is not a whole number above 0.`, {
    hint: "Use --all to list everything.",
  });
}

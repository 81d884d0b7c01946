import { type DocumentRecord, isDocumentId } from "../document.ts";
import { DocprocError } from "../errors.ts";
import type { Column, Painter } from "../output/reporter.ts";
import type { ListQuery } from "../query.ts";
import { defineCommand } from "./command.ts";
import { addFilterFlags, type FilterFlags, parseFilters } from "./filters.ts";

interface ListFlags extends FilterFlags {
  limit?: string;
  cursor?: string;
  all?: boolean;
  asc?: boolean;
}

interface ListInput {
  readonly query: ListQuery;
  readonly limit: number;
}

const defaultLimit = 50;

export const list = defineCommand<ListFlags, ListInput>({
  examples: [
    ["The newest fifty", "list"],
    ["What one build made", "list --tag build=42"],
    ["PDFs of the last week, for a script", "list --type application/pdf --since 7d --json"],
    ["Everything, a record a line", "list --all --ndjson"],
  ],
  configure(command) {
    addFilterFlags(command)
      .option("--limit <count>", `at most this many (default: ${defaultLimit})`)
      .option("--cursor <id>", "continue behind this document: the nextCursor of the page before")
      .option("--all", "without a limit")
      .option("--asc", "oldest first");
  },
  parse(_args, flags, now) {
    if (flags.all && flags.limit !== undefined) {
      throw new DocprocError("USAGE", "--all and --limit contradict each other.", { hint: "Give one of them." });
    }
    const chosen = parseFilters(flags, now);
    if (flags.cursor !== undefined && !isDocumentId(flags.cursor)) {
      throw new DocprocError("USAGE", `${JSON.stringify(flags.cursor)} is not a cursor.`, {
        hint: "Take the nextCursor of the page before.",
      });
    }
    const limit = flags.all ? Number.POSITIVE_INFINITY : parseLimit(flags.limit);
    return {
      query: {
        ascending: flags.asc ?? false,
        after: flags.cursor,
        ...chosen,
        // One more tells whether there is another page.
        expected: flags.all ? undefined : limit + 1,
      },
      limit,
    };
  },
  async run({ documents: openDocuments, reporter, signal }, { query, limit }) {
    const service = await openDocuments();
    const kept: DocumentRecord[] = [];
    let count = 0;
    let last: string | null = null;
    let more = false;
    for await (const record of await service.list(query, signal)) {
      // One more than asked for tells whether there is another page.
      more = count === limit;
      if (more || reporter.closed) break;
      const written = reporter.item({ value: record, id: record.id, many: true });
      if (written) await written;
      if (!reporter.streams) kept.push(record);
      last = record.id;
      count += 1;
    }
    const nextCursor = more ? last : null;
    return {
      envelope: { schema: "docproc.list/1", count, documents: kept, nextCursor },
      note: count === 0 ? "No documents." : undefined,
      warning: nextCursor === null ? undefined : `There are more: add --cursor ${nextCursor}, or --all.`,
      text: (painter) =>
        kept.length === 0
          ? ""
          : painter.table(
              columns,
              kept.map((record) => row(record, painter)),
            ),
    };
  },
});

const columns: readonly Column[] = [
  { heading: "ID" },
  { heading: "NAME", narrow: "cut" },
  { heading: "SIZE", align: "right" },
  { heading: "UPLOADED", narrow: "drop" },
  { heading: "TAGS", narrow: "drop" },
  { heading: "TYPE", narrow: "drop" },
];

function row(record: DocumentRecord, painter: Painter): string[] {
  const tags = Object.entries(record.tags).map(([key, value]) => `${key}=${value}`);
  return [
    record.id,
    painter.text(record.name),
    painter.size(record.size),
    painter.time(record.uploadedAt),
    painter.text(tags.join(" ")),
    painter.text(record.contentType),
  ];
}

function parseLimit(text: string | undefined): number {
  if (text === undefined) return defaultLimit;
  const limit = Number(text);
  if (Number.isInteger(limit) && limit >= 1) return limit;
  throw new DocprocError("USAGE", `--limit ${JSON.stringify(text)} is not a whole number above 0.`, {
    hint: "Use --all for everything.",
  });
}

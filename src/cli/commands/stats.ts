import type { Group, Stats } from "../../library/stats.ts";
import type { Column, Painter } from "../output/reporter.ts";
import { defineCommand } from "./command.ts";
import { addFilterFlags, parseFilter } from "./filter.ts";

export const stats = defineCommand({
  examples: [
    ["Count everything", "stats"],
    ["Count last week's builds", "stats --since 7d --name '*.tgz'"],
    ["Print bytes by type as JSON", "stats --json | jq '.types'"],
  ],
  configure(command) {
    return addFilterFlags(command);
  },
  parse: (_args, flags, now) => parseFilter(flags, now),
  async run({ library: openLibrary, reporter, signal }, query) {
    const library = await openLibrary();
    if (library.chargedBy !== undefined) {
      reporter.note(`Reading every record: ${library.chargedBy} has no totals, and charges for reads.`);
    }
    const found = await library.stats(query, signal);
    const envelope = { schema: "docproc.stats/1", ...found };
    await reporter.item({ value: envelope, id: null });
    return { envelope, text: (painter) => (painter.isTerminal ? chart : lines)(found, painter) };
  },
});

/** Groups per kind for people; programs get all of them. */
const shown = 10;
/** Columns of the longest bar. */
const barWidth = 20;

const columns: readonly Column[] = [
  { heading: "" },
  { heading: "DOCUMENTS", align: "right" },
  { heading: "SIZE", align: "right" },
  { heading: "", narrow: "drop" },
];

/** For `awk` and the like: kind of group, key, documents, bytes. */
function lines({ count, bytes, types, tags, days }: Stats, painter: Painter): string {
  const rows = Object.entries({ type: types, tag: tags, day: days }).flatMap(([kind, groups]) =>
    groups.map((group) => [kind, painter.text(group.key), String(group.count), painter.size(group.bytes)]),
  );
  return painter.table([], [["total", "-", String(count), painter.size(bytes)], ...rows]);
}

function chart({ count, bytes, types, tags, days }: Stats, painter: Painter): string {
  const total = `${count} ${count === 1 ? "document" : "documents"}, ${painter.size(bytes)}`;
  const parts = [
    part("TYPE", types, painter),
    part("TAG", tags, painter),
    // The last ones, since people look for recent days.
    part("DAY", days.slice(-shown), painter, days.length),
  ];
  return [painter.strong(total), ...parts.filter((text) => text !== "")].join("\n\n");
}

function part(heading: string, groups: readonly Group[], painter: Painter, all = groups.length): string {
  const some = groups.slice(0, shown);
  if (some.length === 0) return "";
  const largest = Math.max(...some.map(({ bytes }) => bytes), 1);
  const rows = some.map(({ key, count, bytes }) => {
    return [painter.text(key), String(count), painter.size(bytes), painter.good(bar(bytes / largest))];
  });
  const [first, ...others] = columns;
  const table = painter.table([{ ...first, heading, narrow: "cut" }, ...others], rows);
  return all > some.length ? `${table}\n${painter.faint(`and ${all - some.length} more`)}` : table;
}

/** A non-empty group has a bar, however small. */
function bar(share: number): string {
  return share === 0 ? "" : "█".repeat(Math.max(1, Math.round(share * barWidth)));
}

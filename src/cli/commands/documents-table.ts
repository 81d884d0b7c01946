/** The table of documents, as `list` and `show --versions` print it. In a pipe its columns keep this order. */
import type { DocumentRecord } from "../../document/record.ts";
import type { Column, Painter, ReportedItem } from "../output/reporter.ts";

const columns: readonly Column[] = [
  { heading: "PATH", narrow: "cut" },
  { heading: "SIZE", align: "right" },
  { heading: "UPLOADED", narrow: "drop" },
  { heading: "TAGS", narrow: "drop" },
  { heading: "TYPE", narrow: "drop" },
  { heading: "ID" },
];

/** One of many documents, as a row of the table. */
export function documentRow(record: DocumentRecord): ReportedItem {
  return {
    value: record,
    id: record.id,
    many: true,
    row: { columns, cells: (painter) => cellsOf(record, painter) },
  };
}

function cellsOf(record: DocumentRecord, painter: Painter): string[] {
  const tags = Object.entries(record.tags).map(([key, value]) => `${key}=${value}`);
  return [
    painter.text(record.path),
    painter.size(record.size),
    painter.time(record.uploadedAt),
    painter.text(tags.join(" ")),
    painter.text(record.contentType),
    painter.isTerminal ? painter.faint(record.id) : record.id,
  ];
}

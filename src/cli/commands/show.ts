import type { DocumentRecord } from "../../document/record.ts";
import type { Painter } from "../output/reporter.ts";
import { defineCommand } from "./command.ts";

export const show = defineCommand({
  examples: [
    ["Show a document by id, or the first digits of it", "show 019aae5c-1f2e"],
    ["Show the newest document of a name", "show invoice.pdf"],
    ["Print only its uri", "show invoice.pdf --json | jq -r .uri"],
  ],
  configure(command) {
    return command.argument("<ref>", "id, unique id prefix, or name");
  },
  parse([reference = ""]) {
    return { reference };
  },
  async run({ library, reporter, signal }, { reference }) {
    const record = await (await library()).find(reference, signal);
    const envelope = { schema: "docproc.record/1", ...record };
    await reporter.item({ value: envelope, id: record.id });
    return { envelope, text: (painter) => describe(record, painter) };
  },
});

function describe(record: DocumentRecord, painter: Painter): string {
  const pairs = (prefix: string, map: DocumentRecord["tags"]) =>
    Object.entries(map).map(([key, value]) => [prefix, `${key}=${value}`] as const);
  const facts = (of: object | null) => Object.entries(of ?? {}).filter(([, fact]) => fact !== null && fact !== false);
  const made = (prefix: string, of: object | null) =>
    facts(of).map(([key, fact]) => [prefix, fact === true ? key : `${key} ${fact}`] as const);
  const rows: (readonly [string, string])[] = [
    ["id", record.id],
    ["name", record.name],
    ["size", `${painter.size(record.size)}`],
    ["type", record.contentType],
    ["sha256", record.sha256],
    ["uploaded", record.uploadedAt],
    ["uri", record.uri],
    ["source", record.source.path ?? record.source.kind],
    ...(record.source.modifiedAt === null ? [] : [["modified", record.source.modifiedAt] as const]),
    ...pairs("tag", record.tags),
    ...pairs("meta", record.metadata),
    ...made("git", record.provenance?.git ?? null),
    ...made("ci", record.provenance?.ci ?? null),
  ];
  return rows.map(([heading, value]) => `${painter.strong(heading.padEnd(9))} ${painter.text(value)}`).join("\n");
}

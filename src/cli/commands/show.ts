import type { DocumentRecord } from "../../document/record.ts";
import type { DocumentLibrary } from "../../library/library.ts";
import type { Context } from "../context.ts";
import { display } from "../output/display.ts";
import type { Painter, Result } from "../output/reporter.ts";
import { defineCommand, oneReference } from "./command.ts";
import { documentRow } from "./documents-table.ts";
import { otherVersions } from "./versions.ts";

export const show = defineCommand({
  document: ({ versions }) => (versions ? { schema: "docproc.list/1", items: "documents" } : undefined),
  examples: [
    ["Show the newest version of a path", "show reports/invoice.pdf"],
    ["Show a document by id, or the first digits of it", "show 019aae5c-1f2e"],
    ["List all versions of a path, newest first", "show invoice.pdf --versions"],
    ["Print only its uri", "show invoice.pdf --json | jq -r .uri"],
  ],
  configure(command) {
    return command.argument("<ref>", oneReference).option("--versions", "list all documents of its path, newest first");
  },
  parse: ([reference = ""], { versions = false }) => ({ reference, versions }),
  async run(context, { reference, versions }) {
    const { reporter, signal, host } = context;
    const library = await context.library();
    const record = await library.find(reference, signal);
    if (versions) return await listVersions(context, library, record.path);
    const envelope = { schema: "docproc.record/1", ...record };
    await reporter.item({ value: envelope, id: record.id });
    // Only people read it, so where reads are charged for it is left out elsewhere.
    const counts = library.chargedBy === undefined || host.stdout.isTTY;
    const others = counts ? await otherVersions(library, [record], signal) : undefined;
    return {
      envelope,
      text: (painter) => describe(record, painter),
      note: others && `${display(record.path)} has ${others}: add --versions to list them.`,
    };
  },
});

async function listVersions(context: Context, library: DocumentLibrary, path: string): Promise<Result> {
  const { reporter, signal } = context;
  let count = 0;
  for await (const record of library.documentsOf(path, signal)) {
    if (reporter.closed) break;
    const written = reporter.item(documentRow(record));
    if (written) await written;
    count += 1;
  }
  return { envelope: { count, nextCursor: null }, text: () => "" };
}

function describe(record: DocumentRecord, painter: Painter): string {
  const pairs = (prefix: string, map: DocumentRecord["tags"]) =>
    Object.entries(map).map(([key, value]) => [prefix, `${key}=${value}`] as const);
  const facts = (of: object | null) => Object.entries(of ?? {}).filter(([, fact]) => fact !== null && fact !== false);
  const made = (prefix: string, of: object | null) =>
    facts(of).map(([key, fact]) => [prefix, fact === true ? key : `${key} ${fact}`] as const);
  const rows: (readonly [string, string])[] = [
    ["id", record.id],
    ["path", record.path],
    ["size", `${painter.size(record.size)}`],
    ["type", record.contentType],
    ["sha256", record.sha256],
    ["uploaded", record.uploadedAt],
    ...(record.expiresAt === null ? [] : [["expires", record.expiresAt] as const]),
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

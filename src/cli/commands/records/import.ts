import { createReadStream } from "node:fs";
import { resolve } from "node:path";
import { DocprocError, fromSystemError, isSystemError } from "../../../core/errors.ts";
import { uploadConcurrency } from "../../../core/limits.ts";
import { type ImportedDocument, isCatalogId } from "../../../library/import.ts";
import type { DocumentLibrary } from "../../../library/library.ts";
import { batchFailure, runBatch } from "../../batch.ts";
import type { Host } from "../../context.ts";
import { defineCommand } from "../command.ts";
import { parseRecord, type RecordLine, splitLines } from "./file.ts";
import { ImportCounts, importSummary } from "./import-report.ts";

interface ImportInput {
  readonly file: string;
  readonly deep: boolean;
  readonly adopt: string | undefined;
  readonly failFast: boolean;
}

export const importRecords = defineCommand({
  document: { schema: "docproc.import/1", items: "documents", input: "line" },
  examples: [
    ["Import what docproc export wrote", "import records.ndjson"],
    ["Import records and check the hash of every document", "import records.ndjson --deep"],
    ["Import records from standard input", "import < records.ndjson"],
  ],
  configure(command) {
    return command
      .argument("[file]", "exported records; - is standard input (default: -)")
      .option("--deep", "read and hash the documents, so that later uploads can reuse them")
      .option("--adopt <catalog>", "take over the objects of this lost catalog")
      .option("--fail-fast", "start no more records after a failure");
  },
  parse([file = "-"], { deep = false, adopt, failFast = false }): ImportInput {
    if (adopt === undefined || isCatalogId(adopt)) return { file, deep, adopt, failFast };
    throw new DocprocError("USAGE", `${JSON.stringify(adopt)} is not a catalog id.`, {
      hint: "Run docproc import without --adopt to see which catalog the objects belong to.",
    });
  },
  async run(context, { file, deep, adopt, failFast }) {
    const { reporter, signal, host } = context;
    const started = host.now();
    const library = await context.library();
    await library.open();
    const { concurrency = uploadConcurrency } = library.settings;
    const counts = new ImportCounts();
    const options = {
      ...{ deep, adopt, signal },
      onAdopted() {
        counts.adopted = true;
      },
      onOtherCatalog: (id: string) => counts.addOther(id),
    };
    const importOne = async (line: RecordLine) => {
      const { record, given } = parseRecord(line);
      const progress = deep ? reporter.progress.start(record.path, record.size) : undefined;
      try {
        return await library.importRecord(record, given, { ...options, onProgress: progress?.advance ?? (() => {}) });
      } finally {
        progress?.done();
      }
    };
    const batch = await runBatch<RecordLine, ImportedDocument>(linesFor(library, openRecords(file, host), signal), {
      concurrency,
      failFast,
      inOrder: reporter.keepsOrder,
      signal,
      labelOf: ({ number }) => String(number),
      run: importOne,
      onDone: async (one) => {
        const { action, id, path } = one;
        counts.add(one);
        await reporter.item({
          value: one,
          id,
          line: (painter) =>
            `${painter[action === "imported" ? "good" : "faint"](action.padEnd(9))} ${id}  ${painter.text(path)}`,
        });
      },
      onFailure: ({ label, error }) => reporter.problem(`line ${label}`, error, { value: Number(label) }),
    });
    const summary = counts.summary(batch.total, batch.failedCount, host.now() - started);
    return {
      envelope: { summary },
      text: () => "",
      note: importSummary(summary),
      failure:
        batchFailure(
          batch,
          "records",
          "Run the same command again once the reasons are gone; imported records stay.",
          signal,
        ) ?? (adopt === undefined || counts.adopted ? undefined : nothingToAdopt(adopt)),
    };
  },
});

function nothingToAdopt(catalog: string): DocprocError {
  return new DocprocError("NOT_FOUND", `None of these documents belongs to the catalog ${catalog}.`, {
    hint: "Nothing was adopted. Run docproc import without --adopt to see which catalog they belong to.",
  });
}

/** The lines, once the catalog is known to take records: if it does not, it is one failure and not one a line. */
async function* linesFor(
  library: DocumentLibrary,
  bytes: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncIterable<RecordLine> {
  let isAsked = false;
  for await (const line of splitLines(bytes)) {
    if (!isAsked) await library.catalog(signal);
    isAsked = true;
    yield line;
  }
}

async function* openRecords(file: string, { cwd, stdin, signal }: Host): AsyncIterable<Uint8Array> {
  const stream = file === "-" ? stdin() : createReadStream(resolve(cwd, file), { signal });
  if (file === "-" && "isTTY" in stream && stream.isTTY) {
    throw new DocprocError("USAGE", "Standard input is a terminal.", {
      hint: "Name a file: docproc import records.ndjson",
    });
  }
  try {
    for await (const chunk of stream) yield typeof chunk === "string" ? Buffer.from(chunk) : chunk;
  } catch (error) {
    const failure = fromSystemError(error, file);
    throw isSystemError(error) && error.code === "EISDIR"
      ? failure.withHint("Name a file that docproc export wrote.")
      : failure;
  }
}

import { createReadStream } from "node:fs";
import { resolve } from "node:path";
import { type Batch, batchFailure, runBatch } from "../batch.ts";
import type { Host } from "../context.ts";
import { DocprocError, fromSystemError, isSystemError } from "../errors.ts";
import { type ImportedDocument, importRecord } from "../import.ts";
import { type Line, parseRecord, splitLines } from "../records-file.ts";
import { uploadConcurrency } from "../tuning.ts";
import { defineCommand } from "./command.ts";

interface ImportInput {
  readonly file: string;
  readonly failFast: boolean;
}

export const importRecords = defineCommand<{ failFast?: boolean }, ImportInput>({
  examples: [
    ["What docproc export wrote", "import records.ndjson"],
    ["From another catalog of the same bucket", "import < records.ndjson"],
  ],
  configure(command) {
    command
      .argument("[file]", "records, one a line; - is standard input (default: -)")
      .option("--fail-fast", "take in no other record after one failed");
  },
  parse: ([file = "-"], flags) => ({ file, failFast: flags.failFast ?? false }),
  async run(context, { file, failFast }) {
    const { reporter, signal, host } = context;
    const started = host.now();
    const { concurrency = uploadConcurrency } = (await context.config()).settings;
    const [documents, services] = await Promise.all([context.documents(), context.services()]);
    const counts = { imported: 0, unchanged: 0 };
    const batch: Batch<ImportedDocument> = await runBatch(splitLines(openRecords(file, host)), {
      concurrency,
      failFast,
      keep: reporter.printsEnvelope,
      signal,
      labelOf: ({ number }: Line) => String(number),
      run: async (line) => await importRecord(parseRecord(line), { documents, ...services, signal, now: host.now }),
      onDone: async (one) => {
        const { action, id, name } = one;
        counts[action] += 1;
        await reporter.item({
          value: one,
          id,
          line: (painter) =>
            `${painter[action === "imported" ? "good" : "faint"](action.padEnd(9))} ${id}  ${painter.text(name)}`,
        });
      },
      onFailure: ({ label, error }) => reporter.problem(`line ${label}`, error),
    });
    const { total, done, failures, failedCount } = batch;
    return {
      envelope: {
        schema: "docproc.import/1",
        documents: done,
        failures: failures.map(({ label, error }) => {
          const { code, message, hint } = error.toJSON();
          return { line: Number(label), code, message, hint };
        }),
        summary: { total, ...counts, failed: failedCount, durationMs: host.now() - started },
      },
      text: () => "",
      note: `${counts.imported} imported, ${counts.unchanged} unchanged, ${failedCount} failed.`,
      failure: batchFailure(batch, "records", "Run the same command again: what is recorded stays as it is.", signal),
    };
  },
});

async function* openRecords(file: string, { cwd, stdin, signal }: Host): AsyncIterable<Uint8Array> {
  const stream = file === "-" ? stdin() : createReadStream(resolve(cwd, file), { signal });
  if (file === "-" && "isTTY" in stream && stream.isTTY) {
    throw new DocprocError("USAGE", "There is nothing on standard input: it is the terminal.", {
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

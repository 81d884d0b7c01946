import { DocprocError } from "../../../core/errors.ts";
import { uploadConcurrency } from "../../../core/limits.ts";
import type { DocumentRecord } from "../../../document/record.ts";
import type { CopiedDocument } from "../../../library/copy.ts";
import type { DocumentLibrary } from "../../../library/library.ts";
import { type BatchOptions, batchFailure, runBatch, runNamed } from "../../batch.ts";
import type { Context } from "../../context.ts";
import { defineCommand, severalReferences } from "../command.ts";
import { addFilterFlags, type Chosen, hasFilter, parseFilter } from "../filter.ts";
import { CopyCounts, copySummary } from "./report.ts";

interface CopyInput {
  readonly references: readonly string[];
  readonly to: string | undefined;
  readonly from: string | undefined;
  readonly chosen: Chosen;
  readonly dryRun: boolean;
  readonly failFast: boolean;
}

export const copy = defineCommand({
  document: { schema: "docproc.copy/1", items: "documents", input: "ref" },
  examples: [
    ["Copy everything to the library of a profile", "copy --to archive"],
    ["Copy everything from the library of a profile", "copy --from archive"],
    ["Copy the artifacts of a build", "copy --tag build=42 --to archive"],
    ["Show what would be copied", "copy invoice.pdf --from archive --to team --dry-run"],
  ],
  configure(command) {
    return addFilterFlags(
      command
        .argument("[ref...]", `${severalReferences}; default: all documents`)
        .option("--to <profile>", "library to copy to (default: the configured one)")
        .option("--from <profile>", "library to copy from (default: the configured one)"),
    )
      .option("--dry-run", "show what would be copied, send nothing")
      .option("--no-resume", "restart interrupted copies of large documents from the beginning")
      .option("--fail-fast", "start no more documents after a failure");
  },
  parse(references, flags, now): CopyInput {
    const usage = (message: string, hint: string) => new DocprocError("USAGE", message, { hint });
    if (flags.to === undefined && flags.from === undefined) {
      throw usage(
        "No library was named to copy to or from.",
        "Name a profile of the config file: docproc copy --to archive",
      );
    }
    if (flags.to === flags.from)
      throw usage("Source and destination are the same library.", "Name another profile with --to or --from.");
    if (references.length > 0 && hasFilter(flags)) {
      throw usage("Documents can be named or filtered, not both.", "Remove the names or the filters.");
    }
    return {
      references: [...new Set(references)],
      to: flags.to,
      from: flags.from,
      chosen: parseFilter(flags, now),
      dryRun: flags.dryRun ?? false,
      failFast: flags.failFast ?? false,
    };
  },
  async run(context, input) {
    const { reporter, signal, host } = context;
    const started = host.now();
    const [from, to] = await Promise.all([openLibrary(context, input.from), openLibrary(context, input.to)]);
    await to.assertApartFrom(from, signal);
    const { concurrency = uploadConcurrency } = to.settings;
    const counts = new CopyCounts();
    const options: Omit<BatchOptions<DocumentRecord, CopiedDocument>, "labelOf"> = {
      concurrency,
      signal,
      failFast: input.failFast,
      inOrder: reporter.keepsOrder,
      run: async (record) => await copyOne(context, record, from, to, input.dryRun),
      onDone: async (document) => {
        const { id, path, size, action } = document;
        const line = `${action.padEnd(9)} ${id}`;
        await reporter.item({
          value: document,
          id,
          line: (painter) =>
            `${action === "copied" ? painter.good(line) : painter.faint(line)}  ${painter.text(path)}  ${painter.faint(painter.size(size))}`,
        });
        counts.add(document);
      },
      onFailure: ({ label, error, only }) => reporter.problem(label, error, { only }),
    };
    const batch =
      input.references.length === 0
        ? await runBatch(await from.list({ ascending: true, ...input.chosen }, signal), {
            ...options,
            labelOf: ({ id }) => id,
          })
        : await runNamed(input.references, {
            ...options,
            find: async (reference) => await from.find(reference, signal),
            onFound: async (records) => reporter.progress.expect(records.length, sizeOf(records)),
          });
    const summary = counts.summary(batch.total, batch.failedCount, host.now() - started);
    return {
      envelope: { summary },
      text: () => "",
      note: copySummary(summary),
      failure: batchFailure(
        batch,
        "documents",
        "Run the same command again; copied documents are not sent again.",
        signal,
      ),
    };
  },
});

async function openLibrary(context: Context, profile: string | undefined): Promise<DocumentLibrary> {
  const library = await (profile === undefined ? context : context.inProfile(profile)).library();
  await library.open();
  return library;
}

async function copyOne(
  { reporter, signal }: Context,
  record: DocumentRecord,
  from: DocumentLibrary,
  to: DocumentLibrary,
  dryRun: boolean,
): Promise<CopiedDocument> {
  const progress = reporter.progress.start(record.path, record.size);
  try {
    const { advance: onProgress, skip: onSkipped } = progress;
    return await to.copyFrom(from, record, { dryRun, signal, onProgress, onSkipped });
  } finally {
    progress.done();
  }
}

function sizeOf(records: readonly DocumentRecord[]): number {
  return records.reduce((sum, { size }) => sum + size, 0);
}

import { DocprocError } from "../../core/errors.ts";
import { defaultConcurrency } from "../../core/limits.ts";
import type { DocumentRecord } from "../../document/record.ts";
import type { DocumentLibrary } from "../../library/library.ts";
import { Destination, downloadTo } from "../../transfer/download.ts";
import { batchFailure, runBatch } from "../batch.ts";
import type { Context } from "../context.ts";
import { writeToStdout } from "../output/document.ts";
import { defineCommand } from "./command.ts";

interface DownloadInput {
  readonly references: readonly string[];
  readonly output: string | undefined;
  readonly force: boolean;
  readonly hidden: boolean;
}

type Downloaded = DocumentRecord & { readonly action: "downloaded"; readonly path: string };

export const download = defineCommand({
  document: { schema: "docproc.download/1", items: "documents", input: "ref" },
  examples: [
    ["Download the newest document of a name into this directory", "download invoice.pdf"],
    ["Download a document under another name", "download 019aae5c-1f2e -o ./copy.pdf"],
    ["Download the artifacts of a build", "download $(docproc list --tag build=42 --all -q) -o artifacts/"],
    ["Pipe a document to another command", "download dump.sql -o - | psql app"],
  ],
  configure(command) {
    return command
      .argument("<ref...>", "ids, unique id prefixes, or names")
      .option("-o, --output <path>", "file, directory, or - for standard output (default: this directory)")
      .option("--force", "replace existing files")
      .option("--hidden", "also write hidden files (names with a leading dot) for documents given by id");
  },
  parse(references, flags): DownloadInput {
    if (flags.output === "-") {
      if (references.length > 1) {
        throw new DocprocError("USAGE", "Only one document can go to standard output.", {
          hint: "Name a directory with -o.",
        });
      }
      if (flags.json || flags.ndjson || flags.quiet) {
        throw new DocprocError("USAGE", "Standard output cannot hold both the document and a report.", {
          hint: "Remove --json, --ndjson or -q, or write to a file with -o FILE.",
        });
      }
    }
    const { output, force = false, hidden = false } = flags;
    // Duplicates mean one document.
    return { references: [...new Set(references)], output, force, hidden };
  },
  async run(context, { references, output, force, hidden }) {
    const { reporter, signal, host } = context;
    const started = host.now();
    const library = await context.library();
    if (output === "-") {
      await writeToStdout(context, await library.find(references[0] ?? "", signal));
      return { envelope: {}, text: () => "" };
    }
    const destination = await Destination.open(host.cwd, output, references.length > 1);
    reporter.progress.expect(references.length, null);
    let bytes = 0;
    const batch = await runBatch<string, Downloaded>(references, {
      concurrency: (await context.config()).settings.concurrency ?? defaultConcurrency,
      inOrder: reporter.keepsOrder,
      signal,
      labelOf: (reference) => reference,
      run: async (reference) => await downloadOne(context, library, reference, destination, { force, hidden }),
      onDone: async (one) => {
        bytes += one.size;
        await reporter.item({
          value: one,
          id: one.id,
          line: (painter) =>
            `${painter.good("downloaded")} ${one.id}  ${painter.text(one.path)}  ${painter.faint(painter.size(one.size))}`,
        });
      },
      onFailure: ({ label, error }) => reporter.problem(label, error, { only: references.length === 1 }),
    });
    const { total, doneCount: downloaded, failedCount: failed } = batch;
    return {
      envelope: { summary: { total, downloaded, failed, bytes, durationMs: host.now() - started } },
      text: () => "",
      failure: batchFailure(batch, "documents", "Run the command again for the failed documents.", signal),
    };
  },
});

async function downloadOne(
  { reporter, signal, host }: Context,
  library: DocumentLibrary,
  reference: string,
  destination: Destination,
  { force, hidden }: Pick<DownloadInput, "force" | "hidden">,
): Promise<Downloaded> {
  const record = await library.find(reference, signal);
  const path = destination.pathFor(record.name, hidden || isNamed(record, reference));
  const progress = reporter.progress.start(record.name, record.size);
  try {
    const options = { force, umask: host.umask, signal, onProgress: progress.advance };
    await downloadTo(path, library.read(record, signal), options);
    return { ...record, action: "downloaded", path };
  } finally {
    progress.done();
  }
}

/** Whether the user typed the document's own name, and so knows the file name. */
function isNamed({ name }: DocumentRecord, reference: string): boolean {
  return reference.normalize("NFC") === name;
}

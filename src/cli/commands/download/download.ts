import { DocprocError } from "../../../core/errors.ts";
import { defaultConcurrency } from "../../../core/limits.ts";
import { typedPath } from "../../../document/path.ts";
import type { DocumentRecord } from "../../../document/record.ts";
import type { DocumentLibrary } from "../../../library/library.ts";
import { newestOfEach } from "../../../library/newest.ts";
import { Destination } from "../../../transfer/destination.ts";
import { runBatch } from "../../batch.ts";
import type { Context } from "../../context.ts";
import { writeToStdout } from "../../output/document.ts";
import { defineCommand, severalReferences } from "../command.ts";
import { addFilterFlags, type Chosen, filterText, hasFilter, parseFilter } from "../filter.ts";
import { type Output, parseOutput } from "./output.ts";
import { DownloadCounts, type Downloaded, downloadFailure, downloadLine, downloadSummary } from "./report.ts";

interface DownloadInput extends Output {
  /** None: those that are chosen. */
  readonly references: readonly string[];
  readonly chosen: Chosen;
  /** What was looked for, for people. */
  readonly looked: string;
  readonly flat: boolean;
  readonly force: boolean;
  readonly hidden: boolean;
}

export const download = defineCommand({
  document: { schema: "docproc.download/1", items: "documents", input: "ref" },
  examples: [
    ["Download the newest document of a path into this directory", "download invoice.pdf"],
    ["Download a document under another name", "download 019aae5c-1f2e -o ./copy.pdf"],
    ["Download the artifacts of a build with their folders", "download --tag build=42 -o artifacts"],
    ["Download one folder", "download --under dist -o back"],
    ["Get what each job of a matrix uploaded, by its tag", "download --path app.tgz -o 'art/{tags.os}/{name}'"],
    ["Pipe a document to another command", "download dump.sql -o - | psql app"],
  ],
  configure(command) {
    return addFilterFlags(command.argument("[ref...]", severalReferences))
      .option("--all", "download every document")
      .option("-o, --output <path>", "file, directory, template with {fields}, or - for standard output")
      .option("--flat", "write base names, without folders")
      .option("--force", "replace existing files")
      .option("--hidden", "also write hidden files and folders (names with a leading dot) whose path was not typed");
  },
  parse(references, flags, now): DownloadInput {
    const usage = (message: string, hint: string) => new DocprocError("USAGE", message, { hint });
    const chooses = hasFilter(flags) || (flags.all ?? false);
    if (references.length > 0 === chooses) {
      throw chooses
        ? usage("Documents can be named or chosen, not both.", "Remove the names, or --all and the filters.")
        : usage("No document was named.", "Name documents, choose them with a filter such as --tag, or add --all.");
    }
    if (flags.output === "-") {
      if (references.length !== 1)
        throw usage("Only one document can go to standard output.", "Name a directory with -o.");
      if (flags.json || flags.ndjson || flags.quiet) {
        throw usage(
          "Standard output cannot hold both the document and a report.",
          "Remove --json, --ndjson or -q, or write to a file with -o FILE.",
        );
      }
    }
    const output = parseOutput(flags.output);
    const { flat = false, force = false, hidden = false } = flags;
    if (flat && output.pathOf) throw usage("--flat and a template contradict each other.", "Remove one of them.");
    const [chosen, looked] = [parseFilter(flags, now), filterText(flags)];
    // Duplicates mean one document.
    return { references: [...new Set(references)], chosen, looked, ...output, flat, force, hidden };
  },
  async run(context, input) {
    const { reporter, signal, host } = context;
    const { references, chosen, output } = input;
    const started = host.now();
    const library = await context.library();
    if (output === "-") {
      await writeToStdout(context, await library.find(references[0] ?? "", signal));
      return { envelope: {}, text: () => "" };
    }
    const { cwd, umask } = host;
    const several = references.length !== 1;
    const inDirectory = several || input.pathOf !== undefined;
    const destination = await Destination.open({ cwd, output, several: inDirectory, flat: input.flat, umask });
    reporter.progress.expect(references.length || null, null);
    const counts = new DownloadCounts();
    const newestFirst = { ...chosen, latest: false, ascending: false };
    const wanted =
      references.length > 0
        ? references
        : newestOfEach(await library.list(newestFirst, signal), targetOf(input), ({ id }) => counts.older.push(id));
    const batch = await runBatch<string | DocumentRecord, Downloaded>(wanted, {
      concurrency: (await context.config()).settings.concurrency ?? defaultConcurrency,
      inOrder: reporter.keepsOrder,
      signal,
      labelOf: (one) => (typeof one === "string" ? one : one.path),
      run: async (one) => await downloadOne(context, library, one, destination, input),
      async onDone(one) {
        counts.add(one);
        await reporter.item({ value: one, id: one.id, line: (painter) => downloadLine(one, painter) });
      },
      onFailure: ({ label, error, only }) => reporter.problem(label, error, { only }),
    }).finally(() => destination.close());
    const summary = counts.summary(batch.total, batch.failedCount, host.now() - started);
    return {
      envelope: { older: counts.older, summary },
      text: () => "",
      note: several && batch.total > 0 ? downloadSummary(summary) : undefined,
      failure: downloadFailure(batch, input.looked, signal),
    };
  },
});

/**
 * What only the newest document is wanted of: a path, and with a template each file that it makes of the path, such as
 * one for each system that a path was uploaded for. Documents of other paths are never left out, but meet in the file.
 */
function targetOf({ pathOf }: Output): (record: DocumentRecord) => string {
  return (record) => (pathOf ? `${pathOf(record).normalize("NFC")}\0${record.path}` : record.path);
}

async function downloadOne(
  { reporter, signal, host }: Context,
  library: DocumentLibrary,
  one: string | DocumentRecord,
  destination: Destination,
  { force, hidden, pathOf }: DownloadInput,
): Promise<Downloaded> {
  const record = typeof one === "string" ? await library.find(one, signal) : one;
  const progress = reporter.progress.start(record.path, record.size);
  try {
    const arrival = { ...record, path: pathOf?.(record) ?? record.path };
    const received = await destination.receive(arrival, () => library.read(record, signal), {
      force,
      hidden: hidden || isTyped(one, record),
      umask: host.umask,
      signal,
      onProgress: progress.advance,
    });
    if (received.action === "present") progress.skip(record.size);
    return { ...record, ...received };
  } finally {
    progress.done();
  }
}

/** Whether the user typed the document's own path, and so knows where it goes. */
function isTyped(reference: string | DocumentRecord, { path }: DocumentRecord): boolean {
  return typeof reference === "string" && typedPath(reference) === path;
}

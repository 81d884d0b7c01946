import { ownPaths } from "../../../config/settings.ts";
import { DocprocError } from "../../../core/errors.ts";
import { uploadConcurrency } from "../../../core/limits.ts";
import { contentType, documentMetadata, documentName, documentTags, type TextMap } from "../../../document/record.ts";
import { batchFailure, runBatch } from "../../batch.ts";
import type { Context } from "../../context.ts";
import { collect, defineCommand } from "../command.ts";
import { defaultTags } from "./default-tags.ts";
import { uploadInput } from "./input.ts";
import { findInputs } from "./inputs.ts";
import { UploadCounts, uploadLine, uploadSummary } from "./report.ts";

interface UploadInput {
  readonly paths: readonly string[];
  readonly filesFrom: string | undefined;
  readonly within: string | undefined;
  readonly nul: boolean;
  readonly name: string | undefined;
  readonly contentType: string | undefined;
  readonly tags: TextMap;
  readonly metadata: TextMap;
  readonly recursive: boolean;
  readonly exclude: readonly string[];
  readonly dryRun: boolean;
  readonly failFast: boolean;
}

export const upload = defineCommand({
  makesDocuments: true,
  document: { schema: "docproc.upload/1", items: "documents", input: "path" },
  examples: [
    ["Upload a file", "upload ./invoice.pdf"],
    ["Upload the artifacts of a build with a tag", "upload dist/*.tgz --tag build=42"],
    ["Upload a directory without its source maps", "upload -r dist --exclude '*.map'"],
    ["Upload standard input", "upload - --name dump.sql < dump.sql"],
  ],
  configure(command) {
    return command
      .argument("[paths...]", "files, directories with -r, or - for standard input")
      .option("--name <name>", "name of the document (required for -)")
      .option("--content-type <type>", "content type (default: detected)")
      .option("--tag <key=value>", "tag to find it by; part of its identity (repeatable)", collect)
      .option("--meta <key=value>", "metadata to keep with it (repeatable)", collect)
      .option("-r, --recursive", "upload directories, without hidden files and symbolic links")
      .option("--exclude <glob>", "skip matching names or, with a slash, paths (repeatable)", collect)
      .option(
        "--files-from <file>",
        "read paths from a file, one per line or NUL-separated with -0; - is standard input",
      )
      .option("--within <path>", "refuse files outside this directory, after resolving links")
      .option("--on-duplicate <reuse|store>", "what to do if the document is already stored (default: reuse)")
      .option("--dry-run", "show what would be uploaded, send nothing")
      .option("--no-provenance", "do not record the git commit and the CI job")
      .option("--no-resume", "restart interrupted uploads from the beginning")
      .option("--fail-fast", "start no more files after a failure")
      .option("--part-size <size>", "part size of multipart uploads, such as 16MiB (default: by file size)")
      .option("--parts-in-flight <count>", "maximum parts in flight, over all files (default: by memory)");
  },
  parse(paths, flags): UploadInput {
    const usage = (message: string, hint: string) => new DocprocError("USAGE", message, { hint });
    if (paths.length === 0 && flags.filesFrom === undefined) {
      throw usage("No files to upload were named.", "Name files: docproc upload ./file.pdf");
    }
    const stdins = [...paths, flags.filesFrom].filter((path) => path === "-").length;
    if (stdins > 1) throw usage("Standard input can be read only once.", "Use - only once.");
    if (paths.includes("-") && flags.name === undefined) {
      throw usage("A document from standard input needs a name.", "Add --name NAME.");
    }
    if (flags.name !== undefined && (paths.length !== 1 || flags.filesFrom !== undefined || flags.recursive)) {
      throw usage("--name applies to one document only.", "Upload the other files with a separate command.");
    }
    return {
      paths,
      filesFrom: flags.filesFrom,
      within: flags.within,
      nul: flags.null ?? false,
      name: flags.name === undefined ? undefined : documentName(flags.name),
      contentType: flags.contentType === undefined ? undefined : contentType(flags.contentType),
      tags: documentTags(flags.tag ?? []),
      metadata: documentMetadata(flags.meta ?? []),
      recursive: flags.recursive ?? false,
      exclude: flags.exclude ?? [],
      dryRun: flags.dryRun ?? false,
      failFast: flags.failFast ?? false,
    };
  },
  async run(context, input) {
    const { reporter, signal, host } = context;
    const started = host.now();
    const { settings } = await context.config();
    const { concurrency = uploadConcurrency } = settings;
    const configured = { tags: settings.tags, expand: settings.expandTags, variables: settings.tagVariables };
    const tags = defaultTags(configured, input.tags, host.env);
    const provenance = settings.provenance ? findProvenance(context) : Promise.resolve(null);
    const place = { cwd: host.cwd, stdin: host.stdin, own: ownPaths(settings) };
    const { inputs, skipped, several, count } = await findInputs({ ...input, ...place, signal });
    // Progress has no totals until the inputs are counted.
    count(reporter.progress.drawn, (files, bytes) => reporter.progress.expect(files, bytes));
    const library = await context.library();
    const request = { ...input, tags, provenance, onDuplicate: settings.onDuplicate };
    const counts = new UploadCounts();
    const batch = await runBatch(inputs, {
      concurrency,
      failFast: input.failFast,
      inOrder: reporter.keepsOrder,
      signal,
      labelOf: ({ label }) => label,
      run: async (one) => await uploadInput(context, library, one, request),
      onDone: async (document) => {
        await reporter.item({ value: document, id: document.id, line: (painter) => uploadLine(document, painter) });
        counts.add(document);
      },
      // The only failure of a command is its error, which is printed once.
      onFailure: ({ label, error }) => reporter.problem(label, error, { only: !several }),
    });
    const summary = counts.summary(batch, skipped, host.now() - started);
    const hint = "Run the same command again; uploaded files are not sent again.";
    const failure = batchFailure(batch, "files", hint, signal);
    return { envelope: { summary }, text: () => "", note: uploadSummary(summary), failure };
  },
});

/** Slow, and needed only for the first record. */
async function findProvenance({ host, reporter }: Context) {
  const { findProvenance } = await import("../../../provenance/collect.ts");
  return await findProvenance(host, (message) => reporter.debug(message));
}

import { ownPaths } from "../../../config/settings.ts";
import { uploadConcurrency } from "../../../core/limits.ts";
import { batchFailure, runBatch } from "../../batch.ts";
import type { Context } from "../../context.ts";
import { collect, defineCommand } from "../command.ts";
import { defaultTags } from "./default-tags.ts";
import { parseUpload } from "./flags.ts";
import { uploadInput } from "./input.ts";
import { findInputs } from "./inputs.ts";
import { UploadCounts, uploadLine, uploadSummary } from "./report.ts";

export const upload = defineCommand({
  makesDocuments: true,
  document: { schema: "docproc.upload/1", items: "documents", input: "path" },
  examples: [
    ["Upload a file", "upload ./invoice.pdf"],
    ["Upload the artifacts of a build with a tag", "upload dist/*.tgz --tag build=42"],
    ["Upload a directory without its source maps", "upload -r dist --exclude '*.map'"],
    ["Upload what is in a directory into a folder of the library", "upload -r dist/. --into releases/1.2"],
    ["Keep the path of a file as typed", "upload -R scans/letter.pdf"],
    ["Upload a file that may be removed after 30 days", "upload ./nightly.log --expires 30d"],
    ["Upload standard input", "upload - --name dump.sql < dump.sql"],
  ],
  configure(command) {
    return command
      .argument("[paths...]", "files, directories with -r, or - for standard input")
      .option("--name <path>", "path of the document in the library, such as a/b.pdf (required for -)")
      .option("--into <folder>", "put the documents into this folder of the library")
      .option("-R, --relative", "keep the paths of files as typed (default: their names)")
      .option("--content-type <type>", "content type (default: detected)")
      .option("--tag <key=value>", "tag to find it by; part of its identity (repeatable)", collect)
      .option("--meta <key=value>", "metadata to keep with it (repeatable)", collect)
      .option("--expires <time>", "when it may be removed: a term such as 30d, or a date")
      .option("-r, --recursive", "upload directories, without hidden files and symbolic links")
      .option("--exclude <glob>", "skip matching names or, with a slash, paths (repeatable)", collect)
      .option(
        "--files-from <file>",
        "read paths from a file, one per line or NUL-separated with -0; - is standard input",
      )
      .option("--within <path>", "refuse files outside this directory, after resolving links")
      .option("--on-duplicate <reuse|store>", "what to do if the document is already stored (default: reuse)")
      .option("--restore <ref>", "put the missing or damaged bytes of this document back from its file")
      .option("--refuse-empty", "fail for empty files and an empty standard input")
      .option("--dry-run", "show what would be uploaded, send nothing")
      .option("--no-provenance", "do not record the git commit and the CI job")
      .option("--no-resume", "restart interrupted uploads from the beginning")
      .option("--fail-fast", "start no more files after a failure")
      .option("--part-size <size>", "part size of multipart uploads, such as 16MiB (default: by file size)")
      .option("--parts-in-flight <count>", "maximum parts in flight, over all files (default: by memory)");
  },
  parse: parseUpload,
  async run(context, input) {
    const { reporter, signal, host } = context;
    const started = host.now();
    const { settings } = await context.config();
    const { concurrency = uploadConcurrency } = settings;
    const configured = { tags: settings.tags, expand: settings.expandTags, variables: settings.tagVariables };
    const tags = defaultTags(configured, input.tags, host.env);
    const provenance = settings.provenance ? findProvenance(context) : Promise.resolve(null);
    const place = { cwd: host.cwd, stdin: host.stdin, own: ownPaths(settings) };
    const restores =
      input.restore === undefined ? undefined : await (await context.library()).find(input.restore, signal);
    const name = restores?.path ?? input.name;
    const { inputs, skipped, count } = await findInputs({ ...input, ...place, name, signal });
    // Progress has no totals until the inputs are counted.
    count(reporter.progress.drawn, (files, bytes) => reporter.progress.expect(files, bytes));
    const library = await context.library();
    const { contentType, metadata, expiresAt, dryRun, refuseEmpty } = input;
    const facts = { contentType, metadata, expiresAt };
    const request = { facts, tags, provenance, onDuplicate: settings.onDuplicate, restores, dryRun, refuseEmpty };
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
      onFailure: ({ label, error, only }) => reporter.problem(label, error, { only }),
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

import { cancelled, DocprocError } from "../../core/errors.ts";
import { defaultConcurrency } from "../../core/limits.ts";
import { counted } from "../../core/not-empty.ts";
import type { DocumentRecord } from "../../document/record.ts";
import type { DocumentLibrary } from "../../library/library.ts";
import type { DocumentDamage } from "../../library/verify.ts";
import { type Account, runBatch } from "../batch.ts";
import type { Context } from "../context.ts";
import { defineCommand, severalReferences } from "./command.ts";

interface VerifyInput {
  readonly references: readonly string[];
  readonly deep: boolean;
  /** The share of documents to check, from 0 to 1. */
  readonly share: number;
}

export const verify = defineCommand({
  document: { schema: "docproc.verify/1", items: "findings", input: "ref" },
  examples: [
    ["Check size and checksum of a document", "verify invoice.pdf"],
    ["Check every document", "verify --all"],
    ["Read and hash a random twentieth of the documents", "verify --all --deep --sample 5%"],
  ],
  configure(command) {
    return command
      .argument("[ref...]", severalReferences)
      .option("--all", "check every document")
      .option("--deep", "also read and hash the documents")
      .option("--sample <percent>", "with --all: check only a random share, such as 5%");
  },
  parse(references, flags): VerifyInput {
    if (references.length > 0 === Boolean(flags.all)) {
      throw new DocprocError("USAGE", "Name documents to check, or add --all.", { hint: "docproc verify --all" });
    }
    if (flags.sample !== undefined && !flags.all) {
      throw new DocprocError("USAGE", "--sample needs --all.", { hint: "Add --all." });
    }
    return { references, deep: flags.deep ?? false, share: parseShare(flags.sample) };
  },
  async run(context, { references, deep, share }) {
    const { reporter, signal, host } = context;
    const started = host.now();
    reporter.progress.expect(references.length || null, null);
    const library = await context.library();
    const { concurrency = defaultConcurrency } = library.settings;
    const counts = { checked: 0, damaged: 0, failed: 0, bytes: 0 };
    const inputs = references.length > 0 ? references : sampled(library, share, signal);
    const batch = await runBatch<string | DocumentRecord, Checked>(inputs, {
      concurrency,
      inOrder: true,
      signal,
      labelOf: (input) => (typeof input === "string" ? input : input.id),
      run: async (input) => await verifyOne(context, library, input, deep),
      async onDone({ size, damage }) {
        counts.checked += 1;
        counts.bytes += size;
        if (damage === undefined) return;
        counts.damaged += 1;
        await reporter.item({
          value: damage,
          id: damage.id,
          line: (painter) =>
            `${painter.bad(damage.code)}  ${damage.id}  ${painter.text(damage.path)}  ${painter.text(damage.message)}`,
        });
      },
      onFailure({ label, error }) {
        counts.failed += 1;
        reporter.problem(label, error);
      },
    });
    return {
      envelope: { summary: { ...counts, deep, durationMs: host.now() - started } },
      text: () => "",
      note: `${counts.checked} ${deep ? "read and checked" : "checked"}; ${counts.damaged} damaged.`,
      failure: failureOf(counts, batch, signal),
    };
  },
});

interface Checked {
  readonly size: number;
  readonly damage: DocumentDamage | undefined;
}

async function verifyOne(
  { reporter, signal }: Context,
  library: DocumentLibrary,
  of: string | DocumentRecord,
  deep: boolean,
): Promise<Checked> {
  const record = typeof of === "string" ? await library.find(of, signal) : of;
  const { advance: onProgress, done } = reporter.progress.start(record.path, deep ? record.size : null);
  try {
    return { size: record.size, damage: await library.verify(record, { deep, signal, onProgress }) };
  } finally {
    done();
  }
}

async function* sampled(library: DocumentLibrary, share: number, signal: AbortSignal): AsyncIterable<DocumentRecord> {
  for await (const record of await library.list({ ascending: true }, signal)) {
    if (share === 1 || Math.random() < share) yield record;
  }
}

function failureOf(
  { checked, damaged, failed }: { checked: number; damaged: number; failed: number },
  { firstFailure, codes }: Account,
  signal: AbortSignal,
): DocprocError | undefined {
  if (signal.aborted) return cancelled(signal);
  if (damaged > 0) {
    return new DocprocError("INTEGRITY", `${damaged} of ${counted(checked + failed, "document")} failed the check.`, {
      hint: "Nothing was changed. Put the bytes back from the original files, each with docproc upload FILE --restore ID.",
    });
  }
  if (failed === 0) return undefined;
  if (failed === 1 && checked === 0 && firstFailure) return firstFailure.error;
  // Not PARTIAL when all of them failed for the same reason.
  const [code = "PARTIAL"] = checked === 0 && codes.size === 1 ? codes : [];
  return new DocprocError(code, `${failed} of ${counted(checked + failed, "document")} could not be checked.`, {
    hint: "Run the same command again.",
  });
}

function parseShare(text: string | undefined): number {
  const percent = text === undefined ? 100 : Number(/^(\d+(?:\.\d+)?)%?$/.exec(text)?.[1] ?? Number.NaN);
  if (percent > 0 && percent <= 100) return percent / 100;
  throw new DocprocError("USAGE", `--sample ${JSON.stringify(text)} is not a percentage above 0% and up to 100%.`, {
    hint: "For example: --sample 5%",
  });
}

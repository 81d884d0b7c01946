/** Many uploads at once: some in flight at a time, one's failure never the others', and an account of it all. */
import ms from "ms";
import pMap, { pMapSkip } from "p-map";
import prettyBytes from "pretty-bytes";
import type { UploadedDocument } from "./documents.ts";
import { DocprocError, toDocprocError } from "./errors.ts";
import { describeSkipped, type Input, type Skipped } from "./inputs.ts";

export interface BatchOptions {
  /** Inputs in flight. */
  readonly concurrency: number;
  /** Start no other input after one failed. */
  readonly failFast: boolean;
  readonly signal: AbortSignal;
  readonly upload: (input: Input) => Promise<UploadedDocument>;
  readonly onDocument: (document: UploadedDocument) => Promise<void>;
  readonly onFailure: (failure: Failure) => void;
}

export interface Failure {
  /** As it was given on the command line. */
  readonly path: string;
  readonly error: DocprocError;
}

export interface Batch {
  /** Inputs, those that were never started included. */
  readonly total: number;
  /** In the order of the inputs. */
  readonly documents: readonly UploadedDocument[];
  readonly failures: readonly Failure[];
}

/** Never rejects for an input that fails; inputs not begun when the signal fires are not begun. */
export async function uploadAll(inputs: readonly Input[], options: BatchOptions): Promise<Batch> {
  const outcomes: ({ document: UploadedDocument } | { failure: Failure } | undefined)[] = [];
  let stopped = false;
  const uploadOne = async (input: Input, index: number) => {
    if (stopped || options.signal.aborted) return pMapSkip;
    try {
      const document = await options.upload(input);
      outcomes[index] = { document };
      await options.onDocument(document);
    } catch (thrown) {
      const failure = { path: input.label, error: toDocprocError(thrown) };
      outcomes[index] = { failure };
      stopped ||= options.failFast;
      options.onFailure(failure);
    }
    return pMapSkip;
  };
  await pMap(inputs, uploadOne, { concurrency: options.concurrency });
  return {
    total: inputs.length,
    documents: outcomes.flatMap((outcome) => (outcome && "document" in outcome ? [outcome.document] : [])),
    failures: outcomes.flatMap((outcome) => (outcome && "failure" in outcome ? [outcome.failure] : [])),
  };
}

/** What the whole batch has to say for itself: undefined, its one failure, or how many there were. */
export function batchFailure({ total, documents, failures }: Batch, signal: AbortSignal): DocprocError | undefined {
  const done = documents.length;
  const hint = "Run the same command again: what is done is not sent again.";
  if (signal.aborted && done < total) {
    return new DocprocError("CANCELLED", `Interrupted: ${done} of ${total} files are done.`, { hint });
  }
  const [first] = failures;
  if (first === undefined) return undefined;
  if (total === 1) return first.error;
  const sameCode = failures.every(({ error }) => error.code === first.error.code);
  const code = done === 0 && sameCode ? first.error.code : "PARTIAL";
  return new DocprocError(code, `${failures.length} of ${total} files failed; ${done} are done.`, { hint });
}

/** The JSON document of an upload, `docproc.upload/1`. */
export function batchEnvelope({ total, documents, failures }: Batch, skipped: Skipped, durationMs: number) {
  const sum = (of: (document: UploadedDocument) => number) => documents.reduce((bytes, one) => bytes + of(one), 0);
  const count = (action: UploadedDocument["action"]) => documents.filter((one) => one.action === action).length;
  return {
    schema: "docproc.upload/1",
    documents,
    failures: failures.map(({ path, error }) => {
      const { code, message, hint } = error.toJSON();
      return { path, code, message, hint };
    }),
    summary: {
      total,
      uploaded: count("uploaded"),
      unchanged: count("unchanged"),
      failed: failures.length,
      bytes: sum(({ size }) => size ?? 0),
      bytesSent: sum(({ bytesSent }) => bytesSent),
      durationMs,
      skipped,
    },
  };
}

/** A line for a person; undefined for one file and nothing left out, which speaks for itself. */
export function batchSummary(counts: ReturnType<typeof batchEnvelope>["summary"]): string | undefined {
  const { total, uploaded, unchanged, failed, bytesSent, durationMs, skipped } = counts;
  const leftOut = describeSkipped(skipped);
  if (total === 1 && leftOut === "") return undefined;
  const outcomes = Object.entries({ uploaded, unchanged, failed }).filter(([, count]) => count > 0);
  const done = outcomes.map(([what, count]) => `${count} ${what}`).join(", ") || "nothing sent";
  const sent = `${done}; ${prettyBytes(bytesSent)} sent in ${ms(durationMs)}`;
  return leftOut === "" ? `${sent}.` : `${sent}; left out: ${leftOut}.`;
}

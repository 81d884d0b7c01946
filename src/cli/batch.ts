/** Runs one operation on many items: a bounded number in flight, each failure on its own, one summary. */
import pMap, { pMapSkip } from "p-map";
import { DocprocError, type ErrorCode, throwIfCancelled, toDocprocError } from "../core/errors.ts";
import type { DocumentRecord } from "../document/record.ts";

export interface BatchOptions<Input, Done> {
  /** Inputs in flight. The next input is taken when one has finished; see {@link inOrder}. */
  readonly concurrency: number;
  /** Start no further input after a failure. */
  readonly failFast?: boolean;
  /** False keeps only counts, so that any number of inputs needs the same memory. */
  readonly keep?: boolean;
  /** Report in the order of the inputs; otherwise each one as it finishes. A slow one holds up 3 times as many at most. */
  readonly inOrder?: boolean;
  readonly signal: AbortSignal;
  readonly labelOf: (input: Input) => string;
  readonly run: (input: Input) => Promise<Done>;
  readonly onDone?: (done: Done) => Promise<void>;
  readonly onFailure: (failure: FailedInput) => void;
}

export interface FailedInput {
  /** The user's spelling. */
  readonly label: string;
  readonly error: DocprocError;
}

/** Counts of the outcomes, and the first failure. */
export interface Account {
  /** Inputs, including those never started. */
  readonly total: number;
  /** False when the batch was interrupted before all inputs were found. */
  readonly complete: boolean;
  readonly doneCount: number;
  readonly failedCount: number;
  readonly firstFailure: FailedInput | undefined;
  /** Of all failures. */
  readonly codes: ReadonlySet<ErrorCode>;
}

export interface Batch<Done> extends Account {
  /** In the order of the inputs; empty when not kept. */
  readonly done: readonly Done[];
  /** In the order of the inputs; empty when not kept. */
  readonly failures: readonly FailedInput[];
}

/**
 * Never rejects because of a failed input. After the signal fires, no further input starts.
 * @throws the error that prevents finding the inputs, after those in flight have finished
 */
export async function runBatch<Input, Done>(
  inputs: Iterable<Input> | AsyncIterable<Input>,
  options: BatchOptions<Input, Done>,
): Promise<Batch<Done>> {
  const { keep = true, inOrder = false, signal } = options;
  const outcomes: ({ done: Done } | { failure: FailedInput })[] = [];
  const codes = new Set<ErrorCode>();
  const counts = { total: 0, doneCount: 0, failedCount: 0 };
  let firstFailure: FailedInput | undefined;
  let search: { failed?: unknown } = {};
  let stopped = false;
  /** Settles after the previous report. */
  let reported = Promise.resolve();
  // Loaded on use. Inputs that only wait for their turn to be reported take no slot.
  const slots = inOrder ? new (await import("async-mutex")).Semaphore(options.concurrency) : undefined;

  /** Ends without an error, or pMap would not wait for the inputs in flight. */
  const numbered = async function* () {
    try {
      for await (const input of inputs) {
        const index = counts.total++;
        // The rest is still counted.
        if (!stopped && !signal.aborted) yield { input, index };
      }
    } catch (error) {
      search = { failed: error };
    }
  };
  const runOne = async ({ input, index }: { input: Input; index: number }) => {
    if (stopped || signal.aborted) return pMapSkip;
    const before = reported;
    let report = () => {};
    if (inOrder) reported = new Promise((resolve) => (report = resolve));
    try {
      const running = slots ? slots.runExclusive(() => options.run(input)) : options.run(input);
      const done = await running.finally(() => before);
      await options.onDone?.(done);
      if (keep) outcomes[index] = { done };
      counts.doneCount += 1;
    } catch (thrown) {
      const failure = { label: options.labelOf(input), error: toDocprocError(thrown) };
      if (keep) outcomes[index] = { failure };
      counts.failedCount += 1;
      firstFailure ??= failure;
      codes.add(failure.error.code);
      stopped ||= options.failFast ?? false;
      options.onFailure(failure);
    } finally {
      report();
    }
    return pMapSkip;
  };
  await pMap(numbered(), runOne, { concurrency: options.concurrency * (inOrder ? 4 : 1) });
  if ("failed" in search && !signal.aborted) throw search.failed;
  return {
    ...counts,
    complete: !("failed" in search),
    firstFailure,
    codes,
    done: outcomes.flatMap((outcome) => ("done" in outcome ? [outcome.done] : [])),
    failures: outcomes.flatMap((outcome) => ("failure" in outcome ? [outcome.failure] : [])),
  };
}

export interface NamedBatchOptions<Done> extends Omit<BatchOptions<DocumentRecord, Done>, "labelOf"> {
  readonly find: (reference: string) => Promise<DocumentRecord>;
  /** Called with the documents found, before anything is done to them. */
  readonly onFound?: (records: readonly DocumentRecord[]) => Promise<void>;
}

/**
 * Looks up all named documents, then runs over those found, each once.
 * @throws the errors of {@link NamedBatchOptions.onFound}, and CANCELLED when the signal fires before it is called
 */
export async function runNamed<Done>(
  references: readonly string[],
  { find, onFound, keep = true, ...options }: NamedBatchOptions<Done>,
): Promise<Batch<Done>> {
  const { failFast, signal } = options;
  const lookUp = { ...options, onDone: async () => {}, labelOf: (reference: string) => reference, run: find };
  const found = await runBatch(references, lookUp);
  throwIfCancelled(signal);
  const records = [...new Map(found.done.map((record) => [record.id, record])).values()];
  await onFound?.(records);
  const going = failFast && found.failedCount > 0 ? [] : records;
  const ran = await runBatch(going, { ...options, keep, labelOf: ({ id }) => id });
  return {
    ...ran,
    total: found.failedCount + ran.total,
    failedCount: found.failedCount + ran.failedCount,
    firstFailure: found.firstFailure ?? ran.firstFailure,
    codes: new Set([...found.codes, ...ran.codes]),
    failures: [...found.failures, ...ran.failures],
  };
}

/**
 * The failure of the whole batch: none, the only one, or a count.
 * @param what the inputs are, for example `files`
 * @param hint the next step after more than one failure
 */
export function batchFailure(
  { total, complete, doneCount, failedCount, firstFailure, codes }: Account,
  what: string,
  hint: string,
  signal: AbortSignal,
): DocprocError | undefined {
  if (total === 1 && complete && firstFailure) return firstFailure.error;
  if (signal.aborted && (doneCount < total || !complete)) {
    const of = complete ? ` of ${total}` : "";
    return new DocprocError("CANCELLED", `Interrupted: ${doneCount}${of} ${what} finished.`, { hint });
  }
  if (firstFailure === undefined) return undefined;
  const code = doneCount === 0 && codes.size === 1 ? firstFailure.error.code : "PARTIAL";
  return new DocprocError(code, `${failedCount} of ${total} ${what} failed; ${doneCount} finished.`, { hint });
}

/** The failures of a batch for its JSON document. */
export function failureList(failures: readonly FailedInput[], labelField: "path" | "ref") {
  return failures.map(({ label, error }) => {
    const { code, message, hint } = error.toJSON();
    return { [labelField]: label, code, message, hint };
  });
}

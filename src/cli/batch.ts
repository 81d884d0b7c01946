/** Runs one operation on many items: a bounded number in flight, each failure on its own, one summary. */
import pMap, { pMapSkip } from "p-map";
import { DocprocError, type ErrorCode, throwIfCancelled, toDocprocError } from "../core/errors.ts";
import type { DocumentRecord } from "../document/record.ts";
import { OrderedReports } from "./ordered-reports.ts";

export interface BatchOptions<Input, Done> {
  /** Inputs in flight. The next input is taken when one has finished. */
  readonly concurrency: number;
  /** Start no further input after a failure. */
  readonly failFast?: boolean;
  /** Report in the order of the inputs, as long as no more than a thousand wait for a slow one; else as they finish. */
  readonly inOrder?: boolean;
  readonly signal: AbortSignal;
  readonly labelOf: (input: Input) => string;
  readonly run: (input: Input) => Promise<Done>;
  /** Called for each outcome; nothing is kept of it afterwards, so that any number of inputs needs the same memory. */
  readonly onDone?: (done: Done) => Promise<void>;
  readonly onFailure: (failure: ReportedFailure) => void;
}

export interface FailedInput {
  /** The user's spelling. */
  readonly label: string;
  readonly error: DocprocError;
}

export interface ReportedFailure extends FailedInput {
  /** Whether there was no other input, so that {@link batchFailure} is this error. */
  readonly only: boolean;
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

/**
 * Never rejects because of a failed input. After the signal fires, no further input starts.
 * @throws the error that prevents finding the inputs, after those in flight have finished
 */
export async function runBatch<Input, Done>(
  inputs: Iterable<Input> | AsyncIterable<Input>,
  options: BatchOptions<Input, Done>,
): Promise<Account> {
  const { inOrder = false, signal } = options;
  const codes = new Set<ErrorCode>();
  const counts = { total: 0, doneCount: 0, failedCount: 0 };
  let firstFailure: FailedInput | undefined;
  let search: { failed?: unknown } = {};
  let stopped = false;
  /** The failure of the first input, until it is known whether there are others. */
  let held: FailedInput | undefined;
  const order = inOrder ? new OrderedReports() : undefined;

  /** Ends without an error, or pMap would not wait for the inputs in flight. */
  const numbered = async function* () {
    try {
      for await (const input of inputs) {
        const index = counts.total++;
        if (index === 1) reportHeld(false);
        // The rest is still counted.
        if (!stopped && !signal.aborted) yield { input, index };
      }
    } catch (error) {
      search = { failed: error };
    }
  };
  const fail = (input: Input, thrown: unknown) => {
    const failure = { label: options.labelOf(input), error: toDocprocError(thrown) };
    counts.failedCount += 1;
    firstFailure ??= failure;
    codes.add(failure.error.code);
    if (counts.total === 1) held = failure;
    else options.onFailure({ ...failure, only: false });
  };
  const reportHeld = (only: boolean) => {
    if (held) options.onFailure({ ...held, only });
    held = undefined;
  };
  /** @returns what reports the outcome */
  const outcomeOf = async (input: Input) => {
    try {
      const done = await options.run(input);
      return async () => {
        try {
          await options.onDone?.(done);
          counts.doneCount += 1;
        } catch (thrown) {
          fail(input, thrown);
        }
      };
    } catch (thrown) {
      stopped ||= options.failFast ?? false;
      return async () => fail(input, thrown);
    }
  };
  const runOne = async ({ input, index }: { input: Input; index: number }) => {
    if (stopped || signal.aborted) return pMapSkip;
    const report = await outcomeOf(input);
    await (order ? order.add(index, report) : report());
    return pMapSkip;
  };
  await pMap(numbered(), runOne, { concurrency: options.concurrency });
  await order?.end();
  reportHeld(!("failed" in search));
  if ("failed" in search && !signal.aborted) throw search.failed;
  return { ...counts, complete: !("failed" in search), firstFailure, codes };
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
  { find, onFound, ...options }: NamedBatchOptions<Done>,
): Promise<Account> {
  const { concurrency, failFast = false, signal } = options;
  const onFailure = (failure: FailedInput) => options.onFailure({ ...failure, only: references.length === 1 });
  const records = new Map<string, DocumentRecord>();
  const found = await runBatch(references, {
    ...{ concurrency, failFast, signal, onFailure },
    inOrder: true,
    labelOf: (reference) => reference,
    run: find,
    onDone: async (record) => void records.set(record.id, record),
  });
  throwIfCancelled(signal);
  await onFound?.([...records.values()]);
  const going = failFast && found.failedCount > 0 ? [] : records.values();
  const ran = await runBatch(going, { ...options, onFailure, labelOf: ({ id }) => id });
  return {
    ...ran,
    total: found.failedCount + ran.total,
    failedCount: found.failedCount + ran.failedCount,
    firstFailure: found.firstFailure ?? ran.firstFailure,
    codes: new Set([...found.codes, ...ran.codes]),
  };
}

/** Failures that the same command may not have a second time. */
const passing: ReadonlySet<ErrorCode> = new Set(["UNAVAILABLE", "INTEGRITY", "CANCELLED"]);

/**
 * The failure of the whole batch: none, the only one, or a count.
 * @param what the inputs are, for example `files`
 * @param hint the next step after failures that may pass, or an interruption
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
  const mayPass = [...codes].some((one) => passing.has(one));
  const code = doneCount === 0 && codes.size === 1 ? firstFailure.error.code : "PARTIAL";
  return new DocprocError(code, `${failedCount} of ${total} ${what} failed; ${doneCount} finished.`, {
    hint: mayPass ? hint : "Do what the hint of each failure says.",
  });
}

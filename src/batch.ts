/** Many of the same at once: some in flight at a time, one's failure never the others', and an account of it all. */
import pMap, { pMapSkip } from "p-map";
import { DocprocError, toDocprocError } from "./errors.ts";

export interface BatchOptions<Input, Done> {
  /** Inputs in flight. */
  readonly concurrency: number;
  /** Start no other input after one failed. */
  readonly failFast?: boolean;
  readonly signal: AbortSignal;
  readonly labelOf: (input: Input) => string;
  readonly run: (input: Input) => Promise<Done>;
  readonly onDone?: (done: Done) => Promise<void>;
  readonly onFailure: (failure: Failure) => void;
}

export interface Failure {
  /** As it was given on the command line. */
  readonly label: string;
  readonly error: DocprocError;
}

export interface Batch<Done> {
  /** Inputs, those that were never started included. */
  readonly total: number;
  /** In the order of the inputs. */
  readonly done: readonly Done[];
  readonly failures: readonly Failure[];
}

/** Never rejects for an input that fails; inputs not begun when the signal fires are not begun. */
export async function runBatch<Input, Done>(
  inputs: readonly Input[],
  options: BatchOptions<Input, Done>,
): Promise<Batch<Done>> {
  const outcomes: ({ done: Done } | { failure: Failure } | undefined)[] = [];
  let stopped = false;
  const runOne = async (input: Input, index: number) => {
    if (stopped || options.signal.aborted) return pMapSkip;
    try {
      const done = await options.run(input);
      outcomes[index] = { done };
      await options.onDone?.(done);
    } catch (thrown) {
      const failure = { label: options.labelOf(input), error: toDocprocError(thrown) };
      outcomes[index] = { failure };
      stopped ||= options.failFast ?? false;
      options.onFailure(failure);
    }
    return pMapSkip;
  };
  await pMap(inputs, runOne, { concurrency: options.concurrency });
  return {
    total: inputs.length,
    done: outcomes.flatMap((outcome) => (outcome && "done" in outcome ? [outcome.done] : [])),
    failures: outcomes.flatMap((outcome) => (outcome && "failure" in outcome ? [outcome.failure] : [])),
  };
}

/**
 * What the whole batch has to say for itself: undefined, its one failure, or how many there were.
 * @param what the inputs are, for example `files`
 * @param hint the next step after more than one failure
 */
export function batchFailure(
  { total, done, failures }: Batch<unknown>,
  what: string,
  hint: string,
  signal: AbortSignal,
): DocprocError | undefined {
  const [first] = failures;
  if (total === 1 && first) return first.error;
  if (signal.aborted && done.length < total) {
    return new DocprocError("CANCELLED", `Interrupted: ${done.length} of ${total} ${what} are done.`, { hint });
  }
  if (first === undefined) return undefined;
  const sameCode = failures.every(({ error }) => error.code === first.error.code);
  const code = done.length === 0 && sameCode ? first.error.code : "PARTIAL";
  return new DocprocError(code, `${failures.length} of ${total} ${what} failed; ${done.length} are done.`, { hint });
}

/** The failures of a batch in its JSON document. */
export function failureList(failures: readonly Failure[], labelField: "path" | "ref") {
  return failures.map(({ label, error }) => {
    const { code, message, hint } = error.toJSON();
    return { [labelField]: label, code, message, hint };
  });
}

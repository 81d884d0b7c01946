/** Many of the same at once: what is run, what is reported, and what the whole has to say for itself. */
import { describe, expect, test } from "vitest";
import { type BatchOptions, batchFailure, runBatch } from "../../src/cli/batch.ts";
import { DocprocError } from "../../src/core/errors.ts";

const never = new AbortController().signal;

/** Names that are codes fail with them; the others are done, and stand for themselves. */
async function batchOf(
  inputs: Iterable<string> | AsyncIterable<string>,
  options: Partial<BatchOptions<string, string>> = {},
) {
  const begun: string[] = [];
  const batch = await runBatch(inputs, {
    concurrency: 2,
    signal: never,
    labelOf: (input) => `<${input}>`,
    async run(input) {
      begun.push(input);
      if (/^[A-Z_]+$/.test(input)) throw new DocprocError(input as DocprocError["code"], "no");
      return input;
    },
    onFailure: () => {},
    ...options,
  });
  const failure = batchFailure(batch, "things", "the next step", options.signal ?? never);
  return { batch, begun, failure };
}

describe("a batch", () => {
  test("goes on when one of it fails, and keeps the order of what was done", async () => {
    const { batch, failure } = await batchOf(["a", "NOT_FOUND", "b", "c"]);
    expect(batch).toMatchObject({ total: 4, done: ["a", "b", "c"], failures: [{ label: "<NOT_FOUND>" }] });
    expect(failure).toMatchObject({
      code: "PARTIAL",
      message: "1 of 4 things failed; 3 are done.",
      hint: "the next step",
    });
  });

  test("begins nothing else after a failure when it is told to fail fast", async () => {
    const { begun } = await batchOf(["a", "NOT_FOUND", "b"], { failFast: true, concurrency: 1 });
    expect(begun).toEqual(["a", "NOT_FOUND"]);
  });

  test("counts what it does not begin after a failure", async () => {
    const { batch, failure } = await batchOf(["a", "NOT_FOUND", "b", "c"], { failFast: true, concurrency: 1 });
    expect(batch).toMatchObject({ total: 4, complete: true, doneCount: 1, failedCount: 1 });
    expect(failure?.message).toBe("1 of 4 things failed; 1 are done.");
  });

  test("keeps nothing but counts and the first failure when it is told so", async () => {
    const { batch, failure } = await batchOf(["a", "NOT_FOUND", "CONFLICT", "b"], { keep: false, concurrency: 1 });
    expect(batch).toMatchObject({ total: 4, done: [], failures: [], doneCount: 2, failedCount: 2 });
    expect(batch.firstFailure).toMatchObject({ label: "<NOT_FOUND>" });
    expect(failure).toMatchObject({ code: "PARTIAL", message: "2 of 4 things failed; 2 are done." });
  });

  test.each([1, 3])("takes no more than the %i that are in flight", async (concurrency) => {
    let [taken, begun, most] = [0, 0, 0];
    const inputs = (async function* () {
      for (; taken < 20; ) yield String(taken++);
    })();
    const { batch } = await batchOf(inputs, {
      concurrency,
      async run(input) {
        begun += 1;
        most = Math.max(most, taken - begun);
        await new Promise((resolve) => setTimeout(resolve, Number(input) % 3));
        most = Math.max(most, taken - begun);
        return input;
      },
    });
    expect(batch.done).toEqual(Array.from({ length: 20 }, (_, index) => String(index)));
    expect(most).toBeLessThanOrEqual(1);
  });

  test("whose inputs cannot be found any further finishes what it has begun, then fails", async () => {
    const inputs = (async function* () {
      yield "a";
      yield "b";
      throw new DocprocError("UNAVAILABLE", "the disk");
    })();
    const finished: string[] = [];
    const onDone = async (done: string) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      finished.push(done);
    };
    await expect(batchOf(inputs, { onDone, concurrency: 8 })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(finished).toEqual(["a", "b"]);
  });

  test("that is interrupted before all was found does not say of how many", async () => {
    const abort = new AbortController();
    const inputs = (async function* () {
      yield "a";
      abort.abort();
      throw new DocprocError("CANCELLED", "enough");
    })();
    const { batch, failure } = await batchOf(inputs, { signal: abort.signal, concurrency: 1 });
    expect(batch).toMatchObject({ complete: false, doneCount: 1 });
    expect(failure).toMatchObject({ code: "CANCELLED", message: "Interrupted: 1 things are done." });
  });

  test.each([
    ["nothing", ["a", "b"], undefined],
    ["nothing of nothing", [], undefined],
    ["the one failure of one", ["CONFLICT"], "CONFLICT"],
    ["the one reason of many", ["CONFLICT", "CONFLICT"], "CONFLICT"],
    ["that it is partial for several reasons", ["CONFLICT", "NOT_FOUND"], "PARTIAL"],
    ["that it is partial where something is done", ["a", "CONFLICT"], "PARTIAL"],
  ])("says %s", async (_what, inputs, code) => {
    expect((await batchOf(inputs)).failure?.code).toBe(code);
  });

  test.each([1, 2])("of %i that was interrupted before it began is not done", async (size) => {
    const { begun, failure } = await batchOf(["a", "b"].slice(0, size), { signal: AbortSignal.abort() });
    expect(begun).toEqual([]);
    expect(failure).toMatchObject({ code: "CANCELLED", message: `Interrupted: 0 of ${size} things are done.` });
  });

  test("that was interrupted after its last one is done", async () => {
    const abort = new AbortController();
    const onDone = async () => abort.abort();
    expect((await batchOf(["a"], { signal: abort.signal, onDone })).failure).toBeUndefined();
  });
});

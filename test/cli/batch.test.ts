/** Many of the same at once: what is run, what is reported, and what the whole has to say for itself. */
import { describe, expect, test } from "vitest";
import {
  type BatchOptions,
  batchFailure,
  type FailedInput,
  type NamedBatchOptions,
  runBatch,
  runNamed,
} from "../../src/cli/batch.ts";
import { DocprocError } from "../../src/core/errors.ts";
import type { DocumentRecord } from "../../src/document/record.ts";

const never = new AbortController().signal;

/** Names that are codes fail with them; the others are done, and stand for themselves. */
async function batchOf(
  inputs: Iterable<string> | AsyncIterable<string>,
  options: Partial<BatchOptions<string, string>> = {},
) {
  const begun: string[] = [];
  const done: string[] = [];
  const failed: string[] = [];
  const batch = await runBatch(inputs, {
    concurrency: 2,
    signal: never,
    labelOf: (input) => `<${input}>`,
    async run(input) {
      begun.push(input);
      if (/^[A-Z_]+$/.test(input)) throw new DocprocError(input as DocprocError["code"], "no");
      return input;
    },
    onDone: async (one) => void done.push(one),
    onFailure: ({ label, only }) => void failed.push(only ? `only ${label}` : label),
    ...options,
  });
  const failure = batchFailure(batch, "things", "the next step", options.signal ?? never);
  return { batch, begun, done, failed, failure };
}

describe("a batch", () => {
  test("goes on when one of it fails", async () => {
    const { batch, done, failed, failure } = await batchOf(["a", "NOT_FOUND", "b", "c"]);
    expect({ total: batch.total, done, failed }).toEqual({
      total: 4,
      done: ["a", "b", "c"],
      failed: ["<NOT_FOUND>"],
    });
    expect(failure).toMatchObject({
      code: "PARTIAL",
      message: "1 of 4 things failed; 3 finished.",
      hint: "Do what the hint of each failure says.",
    });
  });

  test("is to be run again only where a failure may pass", async () => {
    expect((await batchOf(["a", "NOT_FOUND", "UNAVAILABLE"])).failure?.hint).toBe("the next step");
    const { failure } = await batchOf(["USAGE", "a", "CONFLICT", "NOT_FOUND"]);
    expect(failure?.hint).toBe("Do what the hint of each failure says.");
  });

  test.each([1, 2])("knows of a failure whether it is the only input, with %i at a time", async (concurrency) => {
    const [one, two] = [["NOT_FOUND"], ["NOT_FOUND", "b"]];
    expect((await batchOf(one, { concurrency })).failed).toEqual(["only <NOT_FOUND>"]);
    expect((await batchOf(two, { concurrency })).failed).toEqual(["<NOT_FOUND>"]);
    expect((await batchOf(["a", "NOT_FOUND"], { concurrency })).failed).toEqual(["<NOT_FOUND>"]);
    const breaking = (async function* () {
      yield "NOT_FOUND";
      await Promise.resolve();
    })();
    expect((await batchOf(breaking, { concurrency })).failed).toEqual(["only <NOT_FOUND>"]);
  });

  test("begins nothing else after a failure when it is told to fail fast", async () => {
    const { begun } = await batchOf(["a", "NOT_FOUND", "b"], { failFast: true, concurrency: 1 });
    expect(begun).toEqual(["a", "NOT_FOUND"]);
  });

  test("counts what it does not begin after a failure", async () => {
    const { batch, failure } = await batchOf(["a", "NOT_FOUND", "b", "c"], { failFast: true, concurrency: 1 });
    expect(batch).toMatchObject({ total: 4, complete: true, doneCount: 1, failedCount: 1 });
    expect(failure?.message).toBe("1 of 4 things failed; 1 finished.");
  });

  test("keeps nothing but counts and the first failure", async () => {
    const { batch, failure } = await batchOf(["a", "NOT_FOUND", "CONFLICT", "b"], { concurrency: 1 });
    const { firstFailure, codes, ...counts } = batch;
    expect(counts).toEqual({ total: 4, complete: true, doneCount: 2, failedCount: 2 });
    expect(firstFailure).toMatchObject({ label: "<NOT_FOUND>" });
    expect([...codes]).toEqual(["NOT_FOUND", "CONFLICT"]);
    expect(failure).toMatchObject({ code: "PARTIAL", message: "2 of 4 things failed; 2 finished." });
  });

  test.each([1, 3])("takes no more than the %i that are in flight", async (concurrency) => {
    let [taken, begun, most] = [0, 0, 0];
    const inputs = (async function* () {
      for (; taken < 20; ) yield String(taken++);
    })();
    const { done } = await batchOf(inputs, {
      concurrency,
      inOrder: true,
      async run(input) {
        begun += 1;
        most = Math.max(most, taken - begun);
        await new Promise((resolve) => setTimeout(resolve, Number(input) % 3));
        most = Math.max(most, taken - begun);
        return input;
      },
    });
    expect(done).toEqual(Array.from({ length: 20 }, (_, index) => String(index)));
    expect(most).toBeLessThanOrEqual(1);
  });

  test.each([
    [false, ["fast", "NOT_FOUND", "slow"]],
    [true, ["slow", "NOT_FOUND", "fast"]],
  ])("reports each as it is through, unless it keeps the order: %s", async (inOrder, expected) => {
    const reported: string[] = [];
    const delays: Readonly<Record<string, number>> = { slow: 60, NOT_FOUND: 30, fast: 0 };
    await batchOf(Object.keys(delays), {
      concurrency: 3,
      inOrder,
      async run(input) {
        await new Promise((resolve) => setTimeout(resolve, delays[input]));
        if (input === "NOT_FOUND") throw new DocprocError("NOT_FOUND", "no");
        return input;
      },
      onDone: async (done) => void reported.push(done),
      onFailure: ({ label }) => void reported.push(label.slice(1, -1)),
    });
    expect(reported).toEqual(expected);
  });

  test("goes on behind a slow input, and reports in order", async () => {
    const begun: string[] = [];
    const reported: string[] = [];
    let release = () => {};
    const slow = new Promise<void>((resolve) => (release = resolve));
    const batch = batchOf(
      Array.from({ length: 30 }, (_, index) => String(index)),
      {
        concurrency: 2,
        inOrder: true,
        async run(input) {
          begun.push(input);
          if (input === "0") await slow;
          return input;
        },
        onDone: async (done) => void reported.push(done),
      },
    );
    await expect.poll(() => begun.length).toBe(30);
    expect(reported).toEqual([]);
    release();
    await batch;
    expect(reported).toEqual(Array.from({ length: 30 }, (_, index) => String(index)));
  });

  test("keeps no more than a thousand behind a slow input, which is then reported when it is done", async () => {
    const reported: string[] = [];
    let release = () => {};
    const slow = new Promise<void>((resolve) => (release = resolve));
    const inputs = Array.from({ length: 3_000 }, (_, index) => String(index));
    const batch = batchOf(inputs, {
      inOrder: true,
      async run(input) {
        if (input === "1") await slow;
        return input;
      },
      onDone: async (done) => void reported.push(done),
    });
    await expect.poll(() => reported.length).toBeGreaterThan(1_900);
    expect(inputs.length - reported.length).toBeLessThanOrEqual(1_001);
    release();
    await batch;
    expect(reported.indexOf("1")).toBeGreaterThan(1_900);
    expect(reported.filter((one) => one !== "1")).toEqual(inputs.filter((one) => one !== "1"));
  });

  test("waits with the next inputs while a report is being written, in order or not", async () => {
    for (const inOrder of [false, true]) {
      const begun: string[] = [];
      let release = () => {};
      const reading = new Promise<void>((resolve) => (release = resolve));
      const batch = batchOf(
        Array.from({ length: 100 }, (_, index) => String(index)),
        {
          inOrder,
          async run(input) {
            begun.push(input);
            return input;
          },
          onDone: async () => await reading,
        },
      );
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(begun).toHaveLength(2);
      release();
      expect((await batch).batch.doneCount).toBe(100);
    }
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
    expect(failure).toMatchObject({ code: "CANCELLED", message: "Interrupted: 1 things finished." });
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
    expect(failure).toMatchObject({ code: "CANCELLED", message: `Interrupted: 0 of ${size} things finished.` });
  });

  test("that was interrupted after its last one is done", async () => {
    const abort = new AbortController();
    const onDone = async () => abort.abort();
    expect((await batchOf(["a"], { signal: abort.signal, onDone })).failure).toBeUndefined();
  });
});

/** References that are codes are not found, with that code; others are documents of that id, in small letters. */
async function namedBatch(references: readonly string[], options: Partial<NamedBatchOptions<string>> = {}) {
  const steps: string[] = [];
  const failures: FailedInput[] = [];
  const batch = await runNamed(references, {
    concurrency: 1,
    signal: never,
    async find(reference) {
      steps.push(`find ${reference}`);
      if (/^[A-Z]+_[A-Z]+$/.test(reference)) throw new DocprocError(reference as DocprocError["code"], "no");
      return { id: reference.toLowerCase() } as DocumentRecord;
    },
    onFound: async (records) => void steps.push(`found ${records.map(({ id }) => id)}`),
    async run({ id }) {
      steps.push(`run ${id}`);
      if (id === "bad") throw new DocprocError("CONFLICT", "no");
      return id;
    },
    onFailure: (failure) => void failures.push(failure),
    ...options,
  });
  return { batch, failures, steps };
}

describe("a batch of documents that were named", () => {
  test("looks all of them up before it runs over those that were found, each once", async () => {
    const { batch, steps } = await namedBatch(["a", "NOT_FOUND", "b", "A"]);
    expect(steps).toEqual(["find a", "find NOT_FOUND", "find b", "find A", "found a,b", "run a", "run b"]);
    expect(batch).toMatchObject({ total: 3, doneCount: 2, failedCount: 1 });
  });

  test("accounts for what was not found and what failed together", async () => {
    const { batch, failures } = await namedBatch(["bad", "NOT_FOUND", "a"]);
    expect(failures.map(({ label, error }) => [label, error.code])).toEqual([
      ["NOT_FOUND", "NOT_FOUND"],
      ["bad", "CONFLICT"],
    ]);
    expect(batch).toMatchObject({ total: 3, failedCount: 2, firstFailure: { label: "NOT_FOUND" } });
    expect([...batch.codes]).toEqual(["NOT_FOUND", "CONFLICT"]);
  });

  test("runs over none when one was not found and it is told to fail fast", async () => {
    const { batch, steps } = await namedBatch(["a", "NOT_FOUND", "b"], { failFast: true });
    expect(steps).toEqual(["find a", "find NOT_FOUND", "found a"]);
    expect(batch).toMatchObject({ total: 1, doneCount: 0, failedCount: 1 });
  });

  test("runs over none when it is refused or interrupted after the look-up", async () => {
    const refused = new DocprocError("CANCELLED", "Nothing was changed.");
    const run = async () => expect.fail("it ran");
    const onFound = async () => {
      throw refused;
    };
    await expect(namedBatch(["a"], { run, onFound })).rejects.toBe(refused);
    const signal = AbortSignal.abort(refused);
    await expect(namedBatch(["a"], { run, signal })).rejects.toMatchObject({ code: "CANCELLED" });
  });
});

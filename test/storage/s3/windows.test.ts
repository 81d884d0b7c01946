/** The memory that parts are sent from: what is in it, how much of it there is, and who gets it back. */
import { createHash, randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import { describe, expect, test } from "vitest";
import { RunningDigest, sharedMemory } from "../../../src/core/digest.ts";
import { MemoryBudget } from "../../../src/core/memory-budget.ts";
import { PartMemory, type Window, windowsOf } from "../../../src/storage/s3/windows.ts";
import { bodyOf } from "../../support/body.ts";

const mebibyte = 1024 * 1024;
const never = new AbortController().signal;
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
/** Whether it has not been settled after a while. What is settled is awaited: that may take longer. */
const isPending = async (promise: Promise<unknown>) => {
  const pending = Symbol("pending");
  const after = new Promise((resolve) => setTimeout(() => resolve(pending), 50));
  return (await Promise.race([promise, after])) === pending;
};

describe("the windows of a body", () => {
  const plan = { partSize: mebibyte, partsPerSize: 10_000 };
  test.each([
    ["nothing", 0, [[]]],
    ["less than a part", 0.5, [[0.5]]],
    ["a part", 1, [[1]]],
    ["a window", 2, [[1, 1]]],
    ["a window and some of a part", 2.25, [[1, 1], [0.25]]],
    ["several", 5, [[1, 1], [1, 1], [1]]],
  ])("hold %s, with the digests of all parts", async (_what, mebibytes, expected) => {
    const bytes = randomBytes(mebibytes * mebibyte);
    const body = bodyOf(async function* () {
      for (let at = 0; at < bytes.length; at += 300_007) yield bytes.subarray(at, at + 300_007);
    });
    const seen: number[][] = [];
    let position = 0;
    for await (const window of windowsOf(body, plan, new PartMemory(2 * mebibyte), never)) {
      seen.push(window.parts.map(({ length }) => length / mebibyte));
      expect(window.partsBefore).toBe(2 * (seen.length - 1));
      expect(window.bytes.equals(bytes.subarray(position, position + window.bytes.length))).toBe(true);
      for (const part of window.parts) {
        const end = position + part.length;
        expect(part.crc32).toBe(crc32(bytes.subarray(position, end)));
        expect(part.sha256).toBe(sha256(bytes.subarray(0, end)));
        position = end;
      }
      window.free();
    }
    expect(seen).toEqual(expected);
    expect(position).toBe(bytes.length);
  });

  test("are not read before there is memory for them", async () => {
    const memory = new PartMemory(2 * mebibyte);
    const body = () => windowsOf(bodyOf(randomBytes(3 * mebibyte)), plan, memory, never)[Symbol.asyncIterator]();
    const [one, other] = [body(), body()];
    const first: Window = (await one.next()).value;
    const waiting = other.next();
    expect(await isPending(waiting)).toBe(true);
    first.free();
    await waiting;
  });

  test("leave memory to the others when a producer has stalled and the upload is ended", async () => {
    const memory = new PartMemory(2 * mebibyte);
    const stop = new AbortController();
    const stalled = bodyOf(async function* () {
      yield randomBytes(1000);
      await new Promise(() => {});
    });
    const waiting = windowsOf(stalled, plan, memory, stop.signal)[Symbol.asyncIterator]().next();
    expect(await isPending(waiting.catch(() => {}))).toBe(true);
    stop.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
    await memory.take(2 * mebibyte, never);
  });

  test("leave memory to the others when their upload is ended while it waits for some", async () => {
    const memory = new PartMemory(2 * mebibyte);
    const { free } = await memory.take(2 * mebibyte, never);
    const stop = new AbortController();
    const waiting = memory.take(2 * mebibyte, stop.signal);
    const next = memory.take(2 * mebibyte, never);
    stop.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
    expect(await isPending(next)).toBe(true);
    free();
    await next;
  });
});

describe("the memory of parts", () => {
  test("is used again, unless it may still be written to", async () => {
    const memory = new PartMemory(8 * mebibyte);
    const first = await memory.take(mebibyte, never);
    first.free();
    const second = await memory.take(mebibyte, never);
    // Not by toBe, which goes on to compare a mebibyte of numbers.
    expect(second.bytes === first.bytes).toBe(true);
    second.abandon();
    expect((await memory.take(mebibyte, never)).bytes === first.bytes).toBe(false);
  });

  test("is not kept in sizes that are no longer used", async () => {
    const memory = new PartMemory(8 * mebibyte);
    (await memory.take(mebibyte, never)).free();
    const other = await memory.take(2 * mebibyte, never);
    expect(other.bytes).toHaveLength(2 * mebibyte);
  });
});

describe("a memory budget", () => {
  test("gives more than there is to one that is alone", async () => {
    const budget = new MemoryBudget(4 * mebibyte);
    const release = await budget.take(100 * mebibyte);
    const next = budget.take(1);
    expect(await isPending(next)).toBe(true);
    release();
    await next;
  });

  test("gives at least 64 KiB to each", async () => {
    const budget = new MemoryBudget(128 * 1024);
    await Promise.all([budget.take(0), budget.take(1)]);
    expect(await isPending(budget.take(1))).toBe(true);
  });
});

describe("a running digest", () => {
  test.each([
    ["shared", (bytes: Buffer) => Buffer.from(sharedMemory(bytes.length).fill(bytes))],
    ["not shared", (bytes: Buffer) => bytes],
  ])("of memory that is %s is right at every point, beside another one", async (_kind, placed) => {
    const pieces = Array.from({ length: 8 }, () => randomBytes(10_000));
    const [one, other] = [new RunningDigest(), new RunningDigest()];
    const answers = pieces.map(
      (piece) => [one.update(placed(piece)), other.update(placed(piece.subarray(1)))] as const,
    );
    for (const [index, [ofOne, ofOther]] of answers.entries()) {
      const upTo = pieces.slice(0, index + 1);
      expect(await ofOne).toEqual({
        sha256: sha256(Buffer.concat(upTo)),
        crc32: crc32(placed(pieces[index] as Buffer)),
      });
      expect((await ofOther).sha256).toBe(sha256(Buffer.concat(upTo.map((piece) => piece.subarray(1)))));
    }
    one.close();
    other.close();
  });
});

test("a body that is rewound while it is read starts from its beginning", async () => {
  const bytes = randomBytes(100_000);
  const body = bodyOf(async function* () {
    for (let at = 0; at < bytes.length; at += 10_000) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      yield bytes.subarray(at, at + 10_000);
    }
  });
  const givenUp = [body.read(Buffer.alloc(30_000)), body.read(Buffer.alloc(30_000))];
  expect(await body.rewind()).toBe(true);
  await Promise.allSettled(givenUp);
  const into = Buffer.alloc(100_001);
  expect(await body.read(into)).toEqual({ length: bytes.length, sha256: sha256(bytes), crc32: crc32(bytes) });
  expect(into.subarray(0, bytes.length).equals(bytes)).toBe(true);
});

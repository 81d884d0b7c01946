/** Reading a document whole and in order, whatever the storage does on the way. */
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { DocprocError } from "../../src/core/errors.ts";
import { storageDrivers } from "../../src/storage/registry.ts";
import type { OpenOptions, StorageService } from "../../src/storage/service.ts";
import { readDocument } from "../../src/transfer/reader.ts";
import { localSettings } from "../support/aws.ts";
import { bodyOf } from "../support/body.ts";
import { recordWith } from "../support/record.ts";

const never = new AbortController().signal;
const mebibyte = 1024 * 1024;
const rangeSize = 8 * mebibyte;
const rangesInFlight = 4;
const large = randomBytes(5 * rangeSize + 1);
const retries = 2;

let directory: string;
let stored: StorageService;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "docproc-reader-"));
  stored = await storageDrivers.local.open(localSettings(directory));
});
afterAll(() => rm(directory, { recursive: true }));
// The pauses between two attempts are a random share of a bound: here, nothing of it.
beforeEach(() => void vi.spyOn(Math, "random").mockReturnValue(0));
afterEach(() => void vi.restoreAllMocks());

type Range = OpenOptions["range"];
type Reply = AsyncIterable<Uint8Array>;
/** What an answer becomes; it may throw in place of it. `nth` counts the answers from 1. */
type Disturbance = (reply: Reply, nth: number, options: OpenOptions) => Reply;

/** An object in the storage, whose answers are disturbed, and what was asked and delivered. */
async function openObject(bytes: Uint8Array, ranges: number, disturb?: Disturbance) {
  const key = `k/${createHash("sha256").update(randomBytes(16)).digest("hex")}`;
  await stored.put(key, bodyOf(bytes), { size: bytes.length, contentType: "x/y", catalog: "test", signal: never });
  const asked: Range[] = [];
  const delivered = { bytes: 0 };
  const open = async (of: string, options: OpenOptions) => {
    const nth = asked.push(options.range);
    const reply = disturb?.(
      late(() => stored.open(of, options)),
      nth,
      options,
    );
    return counted(reply ?? (await stored.open(of, options)), delivered);
  };
  const traits = { ...stored.traits, rangesInFlight: ranges };
  const storage = new Proxy(stored, {
    get: (target, name) => (name === "open" ? open : name === "traits" ? traits : Reflect.get(target, name)),
  });
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const record = recordWith({ size: bytes.length, sha256 });
  const reading = { storage, key, record, retries, signal: never };
  return { asked, delivered, reading, read: () => collect(readDocument(reading)) };
}

/** Opened when it is read, so that nothing is left open where it is not. */
async function* late(open: () => Promise<Reply>): Reply {
  yield* await open();
}

async function* counted(reply: Reply, delivered: { bytes: number }): Reply {
  for await (const chunk of reply) {
    delivered.bytes += chunk.byteLength;
    yield chunk;
  }
}

async function collect(bytes: Reply): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bytes) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const brokenOff = () => new DocprocError("UNAVAILABLE", "the connection broke off");

/** The beginning of an answer, and then a failure, or with undefined an end. */
async function* firstBytes(reply: Reply, bytes: number, failure: Error | undefined): Reply {
  let left = bytes;
  for await (const chunk of reply) {
    if (left > 0) yield chunk.subarray(0, left);
    left -= chunk.byteLength;
    if (left <= 0) break;
  }
  if (failure) throw failure;
}

async function* withFlippedByte(reply: Reply): Reply {
  let first = true;
  for await (const chunk of reply) {
    yield first ? Buffer.concat([Buffer.of((chunk[0] ?? 0) ^ 1), chunk.subarray(1)]) : chunk;
    first = false;
  }
}

async function* endless(): Reply {
  for (;;) yield Buffer.alloc(mebibyte);
}

const ways = [
  ["a stream", 1],
  ["ranges", rangesInFlight],
] as const;

describe.each(ways)("a document that is read as %s", (_way, ranges) => {
  test.each([0, 1, rangeSize - 1, rangeSize, rangeSize + 1, large.length])("is whole with %i bytes", async (size) => {
    const bytes = large.subarray(0, size);
    const { read, asked } = await openObject(bytes, ranges);
    expect((await read()).equals(bytes)).toBe(true);
    expect(asked).toHaveLength(ranges > 1 && size > rangeSize ? Math.ceil(size / rangeSize) : 1);
  });

  test.each([0, 1, 100_000, rangeSize - 1])("resumes where the connection was lost, after %i bytes", async (at) => {
    const { read, asked } = await openObject(large, ranges, (reply, nth) =>
      nth === 1 ? firstBytes(reply, at, brokenOff()) : reply,
    );
    expect((await read()).equals(large)).toBe(true);
    const goesOn = { start: at, end: (ranges > 1 ? rangeSize : large.length) - 1 };
    if (at > 0) expect(asked).toContainEqual(goesOn);
  });

  test("goes on as often as it takes, while each attempt brings it further", async () => {
    const further = 16 * 1024;
    const bytes = large.subarray(0, 10 * further);
    const { read, asked } = await openObject(bytes, ranges, (reply) => firstBytes(reply, further, brokenOff()));
    // The last byte is there, but nobody said that it was the last.
    await expect(read()).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(asked.map((range) => (range?.start ?? 0) / further)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  test("does not go on for ever, a few bytes further each time", async () => {
    const bytes = large.subarray(0, 100_000);
    const { read, asked } = await openObject(bytes, ranges, (reply) => firstBytes(reply, 100, brokenOff()));
    await expect(read()).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(asked).toHaveLength(retries + 1);
  });

  test("fails when it is broken off again and again without a byte", async () => {
    const { read, asked } = await openObject(large.subarray(0, 10), ranges, (reply) =>
      firstBytes(reply, 0, brokenOff()),
    );
    await expect(read()).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(asked).toHaveLength(retries + 1);
  });

  test("fails at once for a lasting failure", async () => {
    const denied = new DocprocError("ACCESS_DENIED", "no");
    const { read, asked } = await openObject(large.subarray(0, 10), ranges, (reply) => firstBytes(reply, 5, denied));
    await expect(read()).rejects.toBe(denied);
    expect(asked).toHaveLength(1);
  });

  test.each([
    [
      "are too few",
      "fewer bytes",
      (reply: Reply, nth: number) => (nth === 1 ? firstBytes(reply, 9, undefined) : reply),
    ],
    [
      "are not the right ones",
      "differ from",
      (reply: Reply, nth: number) => (nth === 1 ? withFlippedByte(reply) : reply),
    ],
    ["do not end", "more bytes", endless],
  ])("fails as damaged when its bytes %s", async (_what, why, disturb) => {
    for (const size of [1000, large.length]) {
      const { read, delivered } = await openObject(large.subarray(0, size), ranges, disturb);
      await expect(read()).rejects.toMatchObject({ code: "INTEGRITY", message: expect.stringContaining(why) });
      expect(delivered.bytes).toBeLessThan(size + rangeSize);
    }
  });

  test("says that it is not there before there are any bytes", async () => {
    const { reading } = await openObject(large, ranges);
    const bytes = readDocument({ ...reading, key: "k/missing" })[Symbol.asyncIterator]();
    await expect(bytes.next()).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("is not read on once it is cancelled", async () => {
    const { reading, delivered } = await openObject(large, ranges);
    const abort = new AbortController();
    const read = async () => {
      for await (const _ of readDocument({ ...reading, signal: abort.signal })) abort.abort();
    };
    await expect(read()).rejects.toMatchObject({ code: "CANCELLED" });
    expect(delivered.bytes).toBeLessThan(large.length);
  });

  test("is not tried again once it is cancelled while it waits", async () => {
    const abort = new AbortController();
    const { reading, asked } = await openObject(large.subarray(0, 10), ranges, (reply) => {
      abort.abort();
      return firstBytes(reply, 0, brokenOff());
    });
    await expect(collect(readDocument({ ...reading, signal: abort.signal }))).rejects.toMatchObject({
      code: "CANCELLED",
    });
    expect(asked).toHaveLength(1);
  });
});

test("wrong bytes are noticed only after the last of them", async () => {
  const { reading } = await openObject(large.subarray(0, 1000), 1, withFlippedByte);
  let seen = 0;
  const read = async () => {
    for await (const chunk of readDocument(reading)) seen += chunk.byteLength;
  };
  await expect(read()).rejects.toMatchObject({ code: "INTEGRITY" });
  expect(seen).toBe(1000);
});

describe("ranges that are read at a time", () => {
  test("each go on where they were broken off, and no byte is read twice", async () => {
    const seen = new Set<number>();
    const { read, asked, delivered } = await openObject(large, rangesInFlight, (reply, _nth, { range }) => {
      // The last one is a single byte: when that is there, nothing of it can be broken off.
      if (range?.start === large.length - 1 || seen.has(range?.end ?? 0)) return reply;
      seen.add(range?.end ?? 0);
      return firstBytes(reply, rangeSize / 2, brokenOff());
    });
    expect((await read()).equals(large)).toBe(true);
    expect(delivered.bytes).toBe(large.length);
    expect(asked).toHaveLength(11);
  });

  test("end together when one of them fails for good", async () => {
    const signals: AbortSignal[] = [];
    const { read, asked } = await openObject(large, rangesInFlight, (reply, _nth, { range, signal }) => {
      signals.push(signal);
      return range?.start === rangeSize ? firstBytes(reply, 0, brokenOff()) : reply;
    });
    await expect(read()).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(asked.filter((range) => range?.start === rangeSize)).toHaveLength(retries + 1);
    for (const signal of signals) expect(signal.aborted).toBe(true);
  });

  test("end when they are no longer needed", async () => {
    const waiting: AbortSignal[] = [];
    const { reading, asked } = await openObject(large, rangesInFlight, async function* (reply, nth, { signal }) {
      if (nth > 1) {
        waiting.push(signal);
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        throw signal.reason;
      }
      yield* reply;
    });
    for await (const chunk of readDocument(reading)) {
      expect(chunk.byteLength).toBeGreaterThan(0);
      break;
    }
    expect(asked.length).toBeLessThanOrEqual(rangesInFlight + 1);
    for (const signal of waiting) expect(signal.aborted).toBe(true);
  });

  test("end when they are cancelled in the middle, and none of them fails unheard", async () => {
    const abort = new AbortController();
    const { reading } = await openObject(large, rangesInFlight, async function* (_reply, nth, { signal }) {
      const aborted = new Promise((resolve) => signal.addEventListener("abort", resolve));
      yield Buffer.alloc(1000);
      if (nth === rangesInFlight) abort.abort(new DocprocError("CANCELLED", "stop"));
      await aborted;
      throw signal.reason;
    });
    const unheard: unknown[] = [];
    const listen = (reason: unknown) => unheard.push(reason);
    process.on("unhandledRejection", listen);
    await expect(collect(readDocument({ ...reading, signal: abort.signal }))).rejects.toMatchObject({
      code: "CANCELLED",
      message: "stop",
    });
    // A rejection is unhandled when the microtasks are done and nobody has asked for it.
    await new Promise(setImmediate);
    process.off("unhandledRejection", listen);
    expect(unheard).toEqual([]);
  });

  test("are no more than the storage says, however slow their reader and large the document", async () => {
    const size = 30 * rangeSize;
    const content = async function* (length: number) {
      for (let left = length; left > 0; left -= mebibyte) yield Buffer.alloc(Math.min(left, mebibyte));
    };
    const digest = createHash("sha256");
    for await (const chunk of content(size)) digest.update(chunk);
    const { reading, delivered } = await openObject(large.subarray(0, 1), rangesInFlight, (_reply, _nth, { range }) =>
      content((range?.end ?? -1) + 1 - (range?.start ?? 0)),
    );
    const record = { ...reading.record, size, sha256: digest.digest("hex") };
    let [consumed, most] = [0, 0];
    for await (const chunk of readDocument({ ...reading, record })) {
      most = Math.max(most, delivered.bytes - consumed);
      consumed += chunk.byteLength;
      // Slower than those that fill the memory meanwhile.
      await new Promise(setImmediate);
    }
    expect(consumed).toBe(size);
    expect(most).toBeGreaterThan(rangeSize);
    expect(most).toBeLessThanOrEqual((rangesInFlight + 1) * rangeSize);
  });
});

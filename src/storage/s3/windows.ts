/**
 * Buffers for sending a body: windows of some parts each. While the parts of one window are sent, the next is read and
 * hashed.
 */

import { sharedMemory } from "../../core/digest.ts";
import { MemoryBudget } from "../../core/memory-budget.ts";
import type { Body, Piece } from "../service.ts";
import type { PartPlan } from "./parts.ts";

/** Two, so that a body that fits into one part is recognised before that part is sent. */
const partsInWindow = 2;

/** Consecutive parts of a body in memory. */
export interface Window {
  readonly bytes: Buffer;
  /** Bytes of each part but the body's last. */
  readonly partSize: number;
  /** Parts of the body before this window. */
  readonly partsBefore: number;
  readonly parts: readonly Piece[];
  /** Returns the memory. */
  free(): void;
}

/**
 * Reads a body to its end. An empty body is one window without parts.
 * @throws the body's error; the signal's reason, even while the body is stalled
 */
export async function* windowsOf(
  body: Body,
  plan: PartPlan,
  memory: PartMemory,
  signal: AbortSignal,
): AsyncIterable<Window> {
  let { partSize } = plan;
  let partsBefore = 0;
  for (let ended = false; !ended; partsBefore += partsInWindow) {
    if (partsBefore > 0 && partsBefore % plan.partsPerSize === 0) partSize *= 2;
    const lease = await memory.take(partsInWindow * partSize, signal);
    const places = Array.from({ length: partsInWindow }, (_, index) =>
      lease.bytes.subarray(index * partSize, (index + 1) * partSize),
    );
    const parts: Piece[] = [];
    try {
      const pieces = await unlessAborted(Promise.all(places.map((place) => body.read(place))), signal);
      ended = pieces.some(({ length }) => length < partSize);
      parts.push(...pieces.filter(({ length }) => length > 0));
    } catch (error) {
      lease.abandon();
      throw error;
    }
    if (parts.length === 0 && partsBefore > 0) {
      lease.free();
      return;
    }
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    yield { bytes: lease.bytes.subarray(0, length), partSize, partsBefore, parts, free: lease.free };
  }
}

interface BufferLease {
  readonly bytes: Buffer;
  /** Returns the memory. */
  readonly free: () => void;
  /** Drops memory that may still be written to. */
  readonly abandon: () => void;
}

/** The buffers of all windows in the process: bounded for any number of files, and reused. */
export class PartMemory {
  readonly #budget: MemoryBudget;
  /** Free buffers, all of the size that was requested last. */
  #idle: Buffer[] = [];

  /** @param limit bytes; a larger window must be alone */
  constructor(limit: number) {
    this.#budget = new MemoryBudget(limit);
  }

  /** Waits until enough memory is free. Rejects with the signal's reason. */
  async take(bytes: number, signal: AbortSignal): Promise<BufferLease> {
    const turn = this.#budget.take(bytes);
    const release = await unlessAborted(turn, signal).catch((error) => {
      // The share still arrives and is passed on.
      void turn.then((unused) => unused());
      throw error;
    });
    if (this.#idle[0]?.length !== bytes) this.#idle = [];
    const memory = this.#idle.pop() ?? sharedMemory(bytes);
    const free = () => {
      if (this.#idle.every(({ length }) => length === bytes)) this.#idle.push(memory);
      release();
    };
    return { bytes: memory, free, abandon: release };
  }
}

/** Settles like the promise, unless the signal fires first. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

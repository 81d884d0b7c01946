/**
 * Buffers for sending a body: windows of some parts each. While the parts of one window are sent, the next is read and
 * hashed.
 */

import { sharedMemory } from "../../core/digest.ts";
import { MemoryBudget } from "../../core/memory-budget.ts";
import type { Body, Piece } from "../service.ts";
import type { PartPlan } from "./parts.ts";

/** Two, so that a body which fits into one part is known to, before its first part is sent. */
const partsInWindow = 2;

/** Parts of a body that were read, one behind the other. */
export interface Window {
  readonly bytes: Buffer;
  /** Bytes of each part but the last of the body. */
  readonly partSize: number;
  /** Parts of the body that come before the first of this window. */
  readonly partsBefore: number;
  readonly parts: readonly Piece[];
  /** The memory is not needed any more. */
  free(): void;
}

/**
 * Reads a body to its end. An empty body is one window without a part.
 * @throws what the body throws; the reason of the signal, even while the body is stalled
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
    const room = await memory.take(partsInWindow * partSize, signal);
    const places = Array.from({ length: partsInWindow }, (_, index) =>
      room.bytes.subarray(index * partSize, (index + 1) * partSize),
    );
    const parts: Piece[] = [];
    try {
      const pieces = await unlessAborted(Promise.all(places.map((place) => body.read(place))), signal);
      ended = pieces.some(({ length }) => length < partSize);
      parts.push(...pieces.filter(({ length }) => length > 0));
    } catch (error) {
      room.abandon();
      throw error;
    }
    if (parts.length === 0 && partsBefore > 0) {
      room.free();
      return;
    }
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    yield { bytes: room.bytes.subarray(0, length), partSize, partsBefore, parts, free: room.free };
  }
}

interface Room {
  readonly bytes: Buffer;
  /** Gives the memory back. */
  readonly free: () => void;
  /** Gives up memory that may yet be written to. */
  readonly abandon: () => void;
}

/** The memory of all windows of a process: bounded, however many files are sent at a time, and used again. */
export class PartMemory {
  readonly #budget: MemoryBudget;
  /** Not in use. All of one size, that which was asked for last. */
  #idle: Buffer[] = [];

  /** @param limit bytes; a window that is larger has to be alone */
  constructor(limit: number) {
    this.#budget = new MemoryBudget(limit);
  }

  /** Waits for others to free as much as is missing. Rejects with the reason of the signal. */
  async take(bytes: number, signal: AbortSignal): Promise<Room> {
    const turn = this.#budget.take(bytes);
    const release = await unlessAborted(turn, signal).catch((error) => {
      // It comes all the same, and is for the others then.
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

/** Settles as the promise does, unless the signal fires before. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

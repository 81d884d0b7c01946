/**
 * Hashes large files in a thread: a gibibyte takes about a second, in which the main thread could neither read nor
 * send. One thread for the whole process is faster than any network.
 */
import { Worker } from "node:worker_threads";

/** Memory that the thread reads without a copy. Not cleared. */
export function sharedMemory(bytes: number): Buffer<SharedArrayBuffer> {
  return Buffer.from(new SharedArrayBuffer(bytes));
}

export interface Digests {
  /** Of all bytes so far, 64 hex digits. */
  readonly sha256: string;
  /** Of the last update. */
  readonly crc32: number;
}

/** A running digest of a stream of bytes. */
export class RunningDigest {
  static #streams = 0;
  readonly #stream = RunningDigest.#streams++;
  #thread: HashingThread | undefined;

  /** Adds bytes, which must not change until the promise resolves. Call again before that to keep the thread busy. */
  async update(bytes: Uint8Array): Promise<Digests> {
    this.#thread ??= HashingThread.get();
    return await this.#thread.ask(this.#stream, bytes);
  }

  /** Frees the thread's state for this stream. */
  close(): void {
    this.#thread?.forget(this.#stream);
    this.#thread = undefined;
  }
}

interface PendingUpdate {
  readonly resolve: (digests: Digests) => void;
  readonly reject: (error: unknown) => void;
}

class HashingThread {
  static #started: HashingThread | undefined;
  // The worker needs no environment, and an inherited --import could load anything.
  readonly #worker = new Worker(new URL("./digest-thread.js", import.meta.url), { execArgv: [], env: {} });
  /** Pending requests, in the order in which the thread answers. */
  readonly #waiting: PendingUpdate[] = [];

  static get(): HashingThread {
    HashingThread.#started ??= new HashingThread();
    return HashingThread.#started;
  }

  private constructor() {
    this.#worker.on("message", (digests: Digests) => {
      this.#waiting.shift()?.resolve(digests);
      // An idle thread must not keep the process alive.
      if (this.#waiting.length === 0) this.#worker.unref();
    });
    this.#worker.on("error", (error) => this.#fail(error));
    this.#worker.on("exit", () => this.#fail(new Error("The hashing thread ended.")));
    this.#worker.unref();
  }

  ask(stream: number, bytes: Uint8Array): Promise<Digests> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#worker.ref();
      this.#worker.postMessage({ stream, bytes });
    });
  }

  forget(stream: number): void {
    this.#worker.postMessage({ stream, bytes: null });
  }

  /** The state of every stream is lost, so the thread is dropped. */
  #fail(error: unknown): void {
    if (HashingThread.#started === this) HashingThread.#started = undefined;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}

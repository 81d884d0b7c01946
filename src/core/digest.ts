/**
 * Hashes large files in a thread: a gibibyte takes about a second, in which the main thread could neither read nor
 * send. One thread for the whole process is faster than any network.
 */
import { Worker } from "node:worker_threads";

/** Memory that the thread sees without a copy. Holds whatever was there before. */
export function sharedMemory(bytes: number): Buffer<SharedArrayBuffer> {
  return Buffer.from(new SharedArrayBuffer(bytes));
}

export interface Digests {
  /** Of everything that was added so far, 64 hex digits. */
  readonly sha256: string;
  /** Of what was added last. */
  readonly crc32: number;
}

/** The digests of a stream of bytes, at any point of it. */
export class RunningDigest {
  static #streams = 0;
  readonly #stream = RunningDigest.#streams++;
  #thread: HashingThread | undefined;

  /**
   * Adds bytes, which must not change before the answer is there. Not waiting for one answer before the next call is
   * what keeps the thread busy.
   */
  async update(bytes: Uint8Array): Promise<Digests> {
    this.#thread ??= HashingThread.get();
    return await this.#thread.ask(this.#stream, bytes);
  }

  /** Frees what the thread keeps of it. */
  close(): void {
    this.#thread?.forget(this.#stream);
    this.#thread = undefined;
  }
}

interface Waiting {
  readonly resolve: (digests: Digests) => void;
  readonly reject: (error: unknown) => void;
}

class HashingThread {
  static #started: HashingThread | undefined;
  // It needs nothing of what the process was started with, and --import could be anything.
  readonly #worker = new Worker(new URL("./digest-thread.js", import.meta.url), { execArgv: [], env: {} });
  /** Those asked, in the order in which the thread answers. */
  readonly #waiting: Waiting[] = [];

  static get(): HashingThread {
    HashingThread.#started ??= new HashingThread();
    return HashingThread.#started;
  }

  private constructor() {
    this.#worker.on("message", (digests: Digests) => {
      this.#waiting.shift()?.resolve(digests);
      // A thread that nobody waits for does not keep the process alive.
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

  /** What it knew of every stream is lost, so nothing is asked of it again. */
  #fail(error: unknown): void {
    if (HashingThread.#started === this) HashingThread.#started = undefined;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}

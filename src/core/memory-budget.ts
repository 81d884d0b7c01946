/** Shares a fixed amount of memory among concurrent tasks. */
import { Semaphore } from "async-mutex";

/** Bytes. The semaphore counts down from what is left to one at every release: single bytes would be too many. */
const unit = 64 * 1024;

export class MemoryBudget {
  readonly #units: number;
  readonly #left: Semaphore;

  /** @param bytes what may be used at a time */
  constructor(bytes: number) {
    this.#units = Math.max(1, Math.floor(bytes / unit));
    this.#left = new Semaphore(this.#units);
  }

  /** Waits for its share, 64 KiB at least; more than there is means all of it. Returns what gives it back. */
  async take(bytes: number): Promise<() => void> {
    const share = Math.max(1, Math.ceil(bytes / unit));
    const [, release] = await this.#left.acquire(Math.min(share, this.#units));
    return release;
  }
}

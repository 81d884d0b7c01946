/** Shares a fixed amount of memory among concurrent tasks. */
import { Semaphore } from "async-mutex";

/** Bytes. The semaphore counts down one by one at every release, so bytes would be too fine. */
const unit = 64 * 1024;

export class MemoryBudget {
  readonly #units: number;
  readonly #left: Semaphore;

  /** @param bytes the total */
  constructor(bytes: number) {
    this.#units = Math.max(1, Math.floor(bytes / unit));
    this.#left = new Semaphore(this.#units);
  }

  /** Waits for its share, at least 64 KiB and at most the total. Returns the release function. */
  async take(bytes: number): Promise<() => void> {
    const share = Math.max(1, Math.ceil(bytes / unit));
    const [, release] = await this.#left.acquire(Math.min(share, this.#units));
    return release;
  }
}

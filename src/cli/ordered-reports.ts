type Report = () => Promise<void>;

/** Reports that may wait for an earlier one. */
const maxWaiting = 1000;

/**
 * Calls reports one after the other, in the order of their numbers as long as no more than a thousand wait for an
 * earlier one. After that the earlier one is called when it comes: neither memory nor work may depend on the slowest.
 */
export class OrderedReports {
  readonly #waiting = new Map<number, Report>();
  /** All reports below are called, or come late. */
  #next = 0;
  #last = Promise.resolve();

  /** Resolves when this report is called, or waits for an earlier one. */
  async add(index: number, report: Report): Promise<void> {
    this.#last = this.#last.then(async () => {
      if (index < this.#next) return await report();
      this.#waiting.set(index, report);
      await this.#callReady();
      if (this.#waiting.size > maxWaiting) await this.#skip();
    });
    await this.#last;
  }

  /** Calls all that wait: the reports before them never come. */
  async end(): Promise<void> {
    await this.#last;
    while (this.#waiting.size > 0) await this.#skip();
  }

  async #skip(): Promise<void> {
    this.#next = Math.min(...this.#waiting.keys());
    await this.#callReady();
  }

  async #callReady(): Promise<void> {
    for (;;) {
      const report = this.#waiting.get(this.#next);
      if (report === undefined) return;
      this.#waiting.delete(this.#next);
      this.#next += 1;
      await report();
    }
  }
}

/**
 * Picks one call of many: the n-th, counted since it was told to, and perhaps those after it. Of calls that are alike,
 * as the reads of a large file, the first four, the eighth, the sixteenth and so on are counted; in a soak all of them.
 */
export class NthCall {
  #left = Number.POSITIVE_INFINITY;
  #lasting = false;
  #seen = new Map<string, number>();
  #hit: string[] = [];

  arm(n: number, lasting = false): void {
    this.#left = n;
    this.#lasting = lasting;
    this.#seen = new Map();
    this.#hit = [];
  }

  /** Whether this call is one of them. */
  isDue(label: string): boolean {
    const seen = (this.#seen.get(label) ?? 0) + 1;
    this.#seen.set(label, seen);
    const begun = this.#hit.length > 0;
    if (begun ? !this.#lasting : !this.#isNth(seen)) return false;
    this.#hit.push(label);
    return true;
  }

  /** No call from now on. Returns those that were. */
  disarm(): string[] {
    this.#left = Number.POSITIVE_INFINITY;
    this.#lasting = false;
    return this.#hit;
  }

  #isNth(seen: number): boolean {
    if (!soak && seen > 4 && !Number.isInteger(Math.log2(seen))) return false;
    this.#left -= 1;
    return this.#left === 0;
  }
}

/** Longer and denser, for a machine that has the time. */
export const soak = process.env["DOCPROC_SOAK"] === "1";

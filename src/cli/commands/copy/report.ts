/** Reports a copy of many documents. */
import ms from "ms";
import prettyBytes from "pretty-bytes";
import type { CopiedDocument, CopyAction } from "../../../library/copy.ts";

/** Totals of a copy, so that its documents need not be kept. */
export class CopyCounts {
  readonly #actions: Record<CopyAction, number> = { copied: 0, restored: 0, unchanged: 0, planned: 0 };
  #bytes = 0;
  #bytesSent = 0;

  add({ action, size, bytesSent }: CopiedDocument): void {
    this.#actions[action] += 1;
    this.#bytes += size;
    this.#bytesSent += bytesSent;
  }

  /** The summary in `docproc.copy/1`; `durationMs` in milliseconds. */
  summary(total: number, failed: number, durationMs: number) {
    return { total, ...this.#actions, failed, bytes: this.#bytes, bytesSent: this.#bytesSent, durationMs };
  }
}

/** A line for people. */
export function copySummary(summary: ReturnType<CopyCounts["summary"]>): string {
  const { copied, restored, unchanged, planned, failed, bytes, bytesSent, durationMs } = summary;
  const outcomes = Object.entries({ copied, restored, unchanged, planned, failed }).filter(([, count]) => count > 0);
  const done = outcomes.map(([what, count]) => `${count} ${what}`).join(", ") || "No documents";
  return planned > 0
    ? `${done}; ${prettyBytes(bytes)} in all.`
    : `${done}; ${prettyBytes(bytesSent)} sent in ${ms(durationMs)}.`;
}

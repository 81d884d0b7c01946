/** Reports a download of any number of documents. */
import ms from "ms";
import prettyBytes from "pretty-bytes";
import { DocprocError } from "../../../core/errors.ts";
import { counted } from "../../../core/not-empty.ts";
import type { DocumentRecord } from "../../../document/record.ts";
import type { Received } from "../../../transfer/destination.ts";
import { type Account, batchFailure } from "../../batch.ts";
import type { Painter } from "../../output/reporter.ts";

export type Downloaded = DocumentRecord & Received;

/** Totals of a download, so that its documents need not be kept. */
export class DownloadCounts {
  /** The ids of versions that are not the newest of their path. */
  readonly older: string[] = [];
  readonly #actions: Record<Received["action"], number> = { downloaded: 0, present: 0 };
  #bytes = 0;

  add({ action, size }: Downloaded): void {
    this.#actions[action] += 1;
    if (action === "downloaded") this.#bytes += size;
  }

  /** The summary in `docproc.download/1`; `durationMs` in milliseconds. */
  summary(total: number, failed: number, durationMs: number) {
    return { total, ...this.#actions, older: this.older.length, failed, bytes: this.#bytes, durationMs };
  }
}

/** A line for people. */
export function downloadSummary(summary: ReturnType<DownloadCounts["summary"]>): string {
  const { downloaded, present, older, failed, bytes, durationMs } = summary;
  const outcomes = Object.entries({ downloaded, present, failed }).filter(([, count]) => count > 0);
  const done = outcomes.map(([what, count]) => `${count} ${what}`).join(", ") || "Nothing downloaded";
  const leftOut = older === 0 ? "" : `; ${counted(older, "older version")} left out`;
  return `${done}; ${prettyBytes(bytes)} in ${ms(durationMs)}${leftOut}.`;
}

/** One document's line for people. */
export function downloadLine({ action, id, file, size }: Downloaded, painter: Painter): string {
  const mark = action === "downloaded" ? painter.good(action) : painter.faint(action.padEnd("downloaded".length));
  return `${mark} ${id}  ${painter.text(file)}  ${painter.faint(painter.size(size))}`;
}

/**
 * Why not everything was downloaded.
 * @param looked the filter as typed
 */
export function downloadFailure(account: Account, looked: string, signal: AbortSignal): DocprocError | undefined {
  if (account.total > 0 || signal.aborted) {
    return batchFailure(account, "documents", "Run the same command again: what is there is not read again.", signal);
  }
  const message = looked === "" ? "The library has no documents." : `No document matches ${looked}.`;
  return new DocprocError("NOT_FOUND", message, { hint: "To see the documents, run docproc list." });
}

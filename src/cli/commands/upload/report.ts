/** Reports an upload of many files, to a program and to a person. */
import ms from "ms";
import prettyBytes from "pretty-bytes";
import type { UploadAction, UploadedDocument } from "../../../transfer/request.ts";
import type { Account } from "../../batch.ts";
import type { Painter } from "../../output/reporter.ts";
import { describeSkipped, type Skipped } from "./inputs.ts";

/** Totals of an upload, so that its documents need not be kept. */
export class UploadCounts {
  readonly actions: Record<UploadAction, number> = {
    uploaded: 0,
    resumed: 0,
    unchanged: 0,
    restored: 0,
    updated: 0,
    planned: 0,
  };
  bytes = 0;
  bytesSent = 0;

  add({ action, size, bytesSent }: UploadedDocument): void {
    this.actions[action] += 1;
    this.bytes += size ?? 0;
    this.bytesSent += bytesSent;
  }

  /** The summary in `docproc.upload/1`; `durationMs` in milliseconds. */
  summary({ total, failedCount: failed }: Account, skipped: Skipped, durationMs: number) {
    const { uploaded, ...others } = this.actions;
    const { bytes, bytesSent } = this;
    // Those uploaded include the resumed ones.
    return { total, uploaded: uploaded + others.resumed, ...others, failed, bytes, bytesSent, durationMs, skipped };
  }
}

/** A line for people; undefined for a single file with nothing skipped. */
export function uploadSummary(counts: ReturnType<UploadCounts["summary"]>): string | undefined {
  const { total, uploaded, resumed, unchanged, restored, updated, planned, failed } = counts;
  const { bytesSent, durationMs, skipped } = counts;
  const leftOut = describeSkipped(skipped);
  if (total === 1 && leftOut === "" && resumed === 0) return undefined;
  const outcomes = Object.entries({ uploaded, restored, updated, unchanged, planned, failed }).filter(([, n]) => n > 0);
  const done = outcomes.map(([what, count]) => `${count} ${what}`).join(", ") || "nothing sent";
  const went = resumed === 0 ? "" : ` (${resumed} resumed)`;
  const sent = `${done}${went}; ${prettyBytes(bytesSent)} sent in ${ms(durationMs)}`;
  return leftOut === "" ? `${sent}.` : `${sent}; skipped: ${leftOut}.`;
}

/** One document's line for people, as soon as it is stored. */
export function uploadLine({ action, id, size, path }: UploadedDocument, painter: Painter): string {
  const isNews = action !== "unchanged" && action !== "planned";
  const mark = isNews ? painter.good(action.padEnd(9)) : painter.faint(action.padEnd(9));
  return `${mark} ${id ?? "-"}  ${painter.text(path ?? "")}  ${painter.faint(painter.size(size))}`;
}

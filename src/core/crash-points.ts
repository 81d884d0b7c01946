/**
 * The steps of every protocol between which a process can crash.
 *
 * Each step is published on Node's diagnostics channel `docproc:step`, which costs nothing without a listener. The
 * crash tests end the process at each step in turn and check what is left.
 * https://nodejs.org/api/diagnostics_channel.html
 */
import { channel } from "node:diagnostics_channel";

/** In the order of an upload, then a download, then a removal. */
export const steps = [
  "source-read",
  "journal-opened",
  "local-file-begun",
  "local-file-flushed",
  "local-file-published",
  "s3-object-sent",
  "s3-upload-begun",
  "s3-part-stored",
  "s3-parts-stored",
  "s3-upload-completed",
  "bytes-copied",
  "bytes-proved",
  "record-committed",
  "journal-removed",
  "bytes-restored",
  "download-begun",
  "download-checked",
  "download-published",
  "record-removed",
  "bytes-removed",
] as const;

export type Step = (typeof steps)[number];

const channelOfSteps = channel("docproc:step");

/** Publishes that a step is done. */
export function reached(step: Step): void {
  if (channelOfSteps.hasSubscribers) channelOfSteps.publish(step);
}

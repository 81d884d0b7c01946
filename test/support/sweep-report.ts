/** How much a sweep has tried, for whoever wants to know: a line in the file that DOCPROC_SWEEP_REPORT names. */
import { appendFileSync } from "node:fs";

/** Whether the long forms of the sweeps are asked for. */
export const soak = process.env["DOCPROC_SOAK"] === "1";

export function report(line: string): void {
  const path = process.env["DOCPROC_SWEEP_REPORT"];
  if (path) appendFileSync(path, `${line}\n`);
}

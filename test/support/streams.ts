/** A stream that keeps what is written; with columns it is a terminal. */
import type { OutputStream } from "../../src/output/reporter.ts";

export interface Capture {
  readonly stream: OutputStream;
  readonly written: readonly string[];
  text(): string;
}

export function capture(columns?: number): Capture {
  const written: string[] = [];
  // The methods are those that a spinner calls on a terminal.
  const terminal = { isTTY: true, columns, cursorTo: () => true, clearLine: () => true, moveCursor: () => true };
  const stream: OutputStream = {
    write: (chunk) => written.push(typeof chunk === "string" ? chunk : Buffer.from(chunk).toString("latin1")) > 0,
    once: () => undefined,
    ...(columns === undefined ? {} : terminal),
  };
  return { stream, written, text: () => written.join("") };
}

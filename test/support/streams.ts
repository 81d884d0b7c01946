/** A stream that keeps what is written, and with columns is a terminal; and a keyboard for such a terminal. */
import { PassThrough, type Readable } from "node:stream";
import type { OutputStream } from "../../src/cli/output/reporter.ts";

export interface Capture {
  readonly stream: OutputStream;
  readonly written: readonly string[];
  text(): string;
}

export function capture(columns?: number): Capture {
  const written: string[] = [];
  // The methods are those that a spinner and a question call on a terminal.
  const screen = { cursorTo: () => true, clearLine: () => true, moveCursor: () => true, on() {}, removeListener() {} };
  const terminal = { isTTY: true, columns, ...screen };
  const stream: OutputStream = {
    write: (chunk) => written.push(typeof chunk === "string" ? chunk : Buffer.from(chunk).toString("latin1")) > 0,
    once: () => undefined,
    ...(columns === undefined ? {} : terminal),
  };
  return { stream, written, text: () => written.join("") };
}

/** Standard input of somebody who sits at a terminal and types this. They stay there: the input has no end. */
export function keyboard(keys: string): Readable {
  const input = Object.assign(new PassThrough(), { isTTY: true });
  input.write(keys);
  return input;
}

/**
 * The output of a command: for a person or a pipe (human.ts), or for a program (json.ts).
 *
 * Data goes to stdout, everything else to stderr. Commands never know which reporter they have.
 */
import type { DocprocError } from "../../core/errors.ts";

export interface Reporter {
  /** True when items are printed as they come, so that a command need not keep them for the result. */
  readonly streams: boolean;
  /** True when the result's envelope is printed, and has to hold every item. */
  readonly printsEnvelope: boolean;
  /** True once nobody reads stdout any more. */
  readonly closed: boolean;
  readonly progress: Progress;
  /** One piece of the result, as soon as it is final. Nothing to wait for is no promise: there may be millions. */
  item(item: Item): Promise<void> | undefined;
  /** One input failed; the others go on. */
  problem(path: string, error: DocprocError): void;
  /** Something a person should know; never data. */
  note(message: string): void;
  /** Details for `-v`. */
  debug(message: string): void;
  /** The whole result, last. */
  result(result: Result): Promise<void>;
  /** Why the command failed. Printed after the result, if there is one. */
  failure(error: DocprocError): void;
}

export interface Item {
  readonly value: object;
  readonly id: string | null;
  /** One of many that are there already: it may be written together with those that follow at once. */
  readonly many?: boolean;
  /** How a person sees it at once; without it they see it in the result's text. */
  readonly line?: (painter: Painter) => string;
}

export interface Result {
  /** The JSON document of the command. */
  readonly envelope: object;
  /** How a person sees it; empty for nothing. */
  readonly text: (painter: Painter) => string;
  /** What a person should know after it; never data. */
  readonly note?: string | undefined;
  /** What a script should know as well, unless the JSON document says it. */
  readonly warning?: string | undefined;
  /** Why the command did not do all it was asked to. */
  readonly failure?: DocprocError | undefined;
}

/** Turns values into text for a person: short and relative on a terminal, absolute and plain in a pipe. */
export interface Painter {
  /** Whether a person looks at it. */
  readonly isTerminal: boolean;
  /** Text of somebody else, with control and direction characters made visible. */
  text(text: string): string;
  /** Bytes. */
  size(bytes: number | null): string;
  /** RFC 3339. */
  time(time: string | null): string;
  table(columns: readonly Column[], rows: readonly (readonly string[])[]): string;
  good(text: string): string;
  bad(text: string): string;
  faint(text: string): string;
  strong(text: string): string;
}

export interface Column {
  readonly heading: string;
  readonly align?: "left" | "right";
  /** Makes room on a narrow terminal: `cut` shortens the cells, `drop` leaves the column out, the last one first. */
  readonly narrow?: "cut" | "drop";
}

/** What long work tells about itself. */
export interface Progress {
  /** True when it is drawn, and totals are worth finding out in advance. */
  readonly drawn: boolean;
  /** What lies ahead; null when nobody knows. */
  expect(files: number | null, bytes: number | null): void;
  /** One file begins; size in bytes, or null. */
  start(label: string, size: number | null): FileProgress;
  /** Prints something while progress may be on the same terminal. */
  interrupt(print: () => void): void;
  stop(): void;
}

export interface FileProgress {
  /** Bytes newly on their way. */
  advance(bytes: number): void;
  /** Bytes that need not travel: they count as done, and for no speed. */
  skip(bytes: number): void;
  done(): void;
}

/** The part of a stream that output needs; Node's streams have it. */
export interface OutputStream {
  write(chunk: string | Uint8Array): boolean;
  once(event: "drain" | "close", listener: () => void): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  /** False once nobody reads it any more. */
  readonly writable?: boolean;
}

export interface Streams {
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
}

/** The width of a terminal; one that does not know its own says 0. */
export function columnsOf(stream: OutputStream): number {
  return stream.columns || 80;
}

/** Streams that nobody reads any more. process.stdout itself forgets that: after a failed write it is open again. */
const gone = new WeakSet<OutputStream>();
/** Those who wait for a stream: it gets one listener for its end, not one for every chunk of a long document. */
const waiting = new WeakMap<OutputStream, Set<() => void>>();

export function isGone(stream: OutputStream): boolean {
  return stream.writable === false || gone.has(stream);
}

/** Writes, and waits where the reader is slower than we are. */
export async function writeAll(stream: OutputStream, chunk: string | Uint8Array): Promise<void> {
  const those = waitingFor(stream);
  if (isGone(stream) || stream.write(chunk)) return;
  await new Promise<void>((resolve) => {
    those.add(resolve);
    stream.once("drain", () => {
      those.delete(resolve);
      resolve();
    });
  });
}

/** Characters. To a pipe, larger chunks are not written faster. */
const chunkLength = 64 * 1024;

/** Lines that are written together, as a call for each of them would take longer than making them. */
export class GatheredLines {
  readonly #stream: OutputStream;
  #held = "";
  #end: NodeJS.Immediate | undefined;

  constructor(stream: OutputStream) {
    this.#stream = stream;
  }

  /** Holds text back until there is much of it, or until whoever makes it has to wait for more. */
  add(text: string): Promise<void> | undefined {
    this.#held += text;
    if (this.#held.length >= chunkLength) return this.flush();
    this.#end ??= setImmediate(() => void this.flush());
    return undefined;
  }

  /** Hands over to the stream, before it returns, what was held back; waits where the reader is slower than we are. */
  async flush(): Promise<void> {
    clearImmediate(this.#end);
    this.#end = undefined;
    const text = this.#held;
    this.#held = "";
    if (text !== "") await writeAll(this.#stream, text);
  }
}

function waitingFor(stream: OutputStream): Set<() => void> {
  const known = waiting.get(stream);
  if (known) return known;
  const those = new Set<() => void>();
  waiting.set(stream, those);
  stream.once("close", () => {
    gone.add(stream);
    for (const goOn of those) goOn();
  });
  return those;
}

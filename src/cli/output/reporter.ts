/**
 * The output of a command: for a person or a pipe (human.ts), or for a program (json.ts).
 *
 * Data goes to stdout, everything else to stderr. Commands never know which reporter they have.
 */
import type { DocprocError } from "../../core/errors.ts";

export interface Reporter {
  /** Whether items belong in the order of the inputs; otherwise each is reported when it is final. */
  readonly keepsOrder: boolean;
  /** True once the reader of stdout has closed it. */
  readonly closed: boolean;
  readonly progress: Progress;
  /** Prints one item as soon as it is final. No promise when there is nothing to await: there may be millions. */
  item(item: ReportedItem): Promise<void> | undefined;
  /** One input failed; the others go on. */
  problem(label: string, error: DocprocError, about?: ProblemInput): void;
  /** Prints information for people; never data. */
  note(message: string): void;
  /** Prints details for `-v`. */
  debug(message: string): void;
  /** Prints the whole result, last. */
  result(result: Result): Promise<void>;
  /** Prints why the command failed, after any result. All output is handed over when it returns. */
  failure(error: DocprocError): void;
}

/** The JSON document of a command with any number of items: it is written while they come, and never held. */
export interface ItemDocument {
  /** For example `docproc.list/1`. */
  readonly schema: string;
  /** The field of the items. */
  readonly items: string;
  /** The field that names the input of a failure; undefined for a document without `failures`. */
  readonly input?: "path" | "ref" | "line";
}

export interface ProblemInput {
  /** The input for programs; otherwise the label. */
  readonly value?: string | number;
  /** There is no other input, so this is the command's own failure, which is printed once. */
  readonly only?: boolean;
}

export interface ReportedItem {
  readonly value: object;
  readonly id: string | null;
  /** One of many existing items: may be batched with those that follow immediately. */
  readonly many?: boolean;
  /** Not among the items of the {@link ItemDocument}: the command puts it into the envelope. */
  readonly aside?: boolean;
  /** The immediate text for people; without it and a row the item appears in the result's text. */
  readonly line?: (painter: Painter) => string;
  /** The row for people, in one table of all items. */
  readonly row?: { readonly columns: readonly Column[]; readonly cells: (painter: Painter) => readonly string[] };
}

export interface Result {
  /** The JSON document of the command; of an {@link ItemDocument} the fields after the items and failures. */
  readonly envelope: object;
  /** The text for people; may be empty. */
  readonly text: (painter: Painter) => string;
  /** Information for people after it; never data. */
  readonly note?: string | undefined;
  /** A warning for scripts too, unless the JSON document contains it. */
  readonly warning?: string | undefined;
  /** Why the command did not do everything that was requested. */
  readonly failure?: DocprocError | undefined;
}

/** Formats values for people: short and relative on a terminal, absolute and plain in a pipe. */
export interface Painter {
  /** Whether the output is a terminal. */
  readonly isTerminal: boolean;
  /** Makes control and direction characters of foreign text visible. */
  text(text: string): string;
  /** Bytes. */
  size(bytes: number | null): string;
  /** RFC 3339. */
  time(time: string | null): string;
  table(columns: readonly Column[], rows: readonly (readonly string[])[]): string;
  /** A table with the widths that these rows need, for any number of rows. */
  layout(columns: readonly Column[], rows: readonly (readonly string[])[]): TableLayout;
  good(text: string): string;
  bad(text: string): string;
  faint(text: string): string;
  strong(text: string): string;
}

export interface TableLayout {
  /** Lines above the rows. */
  readonly heading: readonly string[];
  /** A row; a wider cell than those known is cut or moves the others, as its column says. */
  line(cells: readonly string[]): string;
}

export interface Column {
  readonly heading: string;
  readonly align?: "left" | "right";
  /** On a narrow terminal, `cut` shortens the cells and `drop` removes the column, the last one first. */
  readonly narrow?: "cut" | "drop";
}

/** Reports the progress of long work. */
export interface Progress {
  /** True when it is drawn, so that totals are worth computing. */
  readonly drawn: boolean;
  /** Announces totals; null for unknown ones. */
  expect(files: number | null, bytes: number | null): void;
  /** Begins a file; size in bytes, or null. */
  start(label: string, size: number | null): FileProgress;
  /** Prints while progress may be on the same terminal. */
  interrupt(print: () => void): void;
  stop(): void;
}

export interface FileProgress {
  /** Bytes newly sent. */
  advance(bytes: number): void;
  /** Bytes that need not be sent: they count as done, but not for the speed. */
  skip(bytes: number): void;
  done(): void;
}

/** The subset of Node's streams that output needs. */
export interface OutputStream {
  write(chunk: string | Uint8Array): boolean;
  once(event: "drain" | "close", listener: () => void): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  /** False once the reader has closed it. */
  readonly writable?: boolean;
}

export interface Streams {
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
}

/** The width of a terminal; some report 0. */
export function columnsOf(stream: OutputStream): number {
  return stream.columns || 80;
}

/** Streams whose reader is gone. process.stdout itself forgets: after a failed write it is open again. */
const gone = new WeakSet<OutputStream>();
/** Pending writes of a stream: one listener of each kind serves them all, instead of one per chunk of a long document. */
const waiting = new WeakMap<OutputStream, Set<() => void>>();

export function isGone(stream: OutputStream): boolean {
  return stream.writable === false || gone.has(stream);
}

/** Writes, and waits while the reader is slower. */
export async function writeAll(stream: OutputStream, chunk: string | Uint8Array): Promise<void> {
  const waiters = waitingFor(stream);
  if (isGone(stream) || stream.write(chunk)) return;
  await new Promise<void>((resolve) => {
    if (waiters.size === 0) stream.once("drain", () => release(waiters));
    waiters.add(resolve);
  });
}

/** Characters. Larger chunks are not faster in a pipe. */
const chunkLength = 64 * 1024;

/** Batches lines, since one write per line would cost more than producing it. */
export class BatchedLines {
  readonly #stream: OutputStream;
  #held = "";
  #end: NodeJS.Immediate | undefined;
  /** Pending while the reader is slower. */
  #writing: Promise<void> | undefined;

  constructor(stream: OutputStream) {
    this.#stream = stream;
  }

  /** Holds text back until there is enough of it, or until its producer waits for more. */
  add(text: string): Promise<void> | undefined {
    this.#held += text;
    if (this.#held.length >= chunkLength) return this.flush();
    this.#end ??= setImmediate(() => void this.flush());
    return this.#writing;
  }

  /** Hands the text to the stream before it returns, then waits while the reader is slower. */
  async flush(): Promise<void> {
    clearImmediate(this.#end);
    this.#end = undefined;
    const text = this.#held;
    this.#held = "";
    if (text === "") return;
    const writing = writeAll(this.#stream, text);
    this.#writing = writing;
    await writing;
    if (this.#writing === writing) this.#writing = undefined;
  }
}

function waitingFor(stream: OutputStream): Set<() => void> {
  const known = waiting.get(stream);
  if (known) return known;
  const waiters = new Set<() => void>();
  waiting.set(stream, waiters);
  stream.once("close", () => {
    gone.add(stream);
    release(waiters);
  });
  return waiters;
}

function release(waiters: Set<() => void>): void {
  for (const goOn of waiters) goOn();
  waiters.clear();
}

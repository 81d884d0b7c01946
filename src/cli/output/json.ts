/** Output for programs: one JSON document, or one per line, as results arrive. */
import type { DocprocError } from "../../core/errors.ts";
import { JsonDocument, toJson } from "./json-document.ts";
import {
  BatchedLines,
  type ItemDocument,
  isGone,
  type ProblemInput,
  type Progress,
  type ReportedItem,
  type Reporter,
  type Result,
  type Streams,
  writeAll,
} from "./reporter.ts";
import { tracesOf } from "./traces.ts";

/** `--json`: stdout is one JSON document, whatever happens. */
export class JsonReporter implements Reporter {
  readonly keepsOrder: boolean = true;
  readonly progress: Progress;
  protected readonly output: Streams;
  protected readonly batched: BatchedLines;
  readonly #verbose: boolean;
  readonly #document: JsonDocument | undefined;
  /** What is still to be written, once the outcome is known. */
  #rest: IterableIterator<string> | undefined;

  /** @param form undefined for a command whose document is its result's envelope */
  constructor(output: Streams, progress: Progress, verbose: boolean, form?: ItemDocument) {
    this.output = output;
    this.batched = new BatchedLines(output.stdout);
    this.progress = progress;
    this.#verbose = verbose;
    this.#document = form && new JsonDocument(form);
  }

  get closed(): boolean {
    return isGone(this.output.stdout);
  }

  item({ value, aside }: ReportedItem): Promise<void> | undefined {
    if (this.#document === undefined || this.#rest || aside) return undefined;
    return this.batched.add(this.#document.item(value));
  }

  problem(label: string, error: DocprocError, { value = label }: ProblemInput = {}): void {
    this.#document?.failure(value, error);
  }

  note(_message: string): void {}

  debug(message: string): void {
    if (this.#verbose) this.progress.interrupt(() => this.output.stderr.write(`${jsonLine({ debug: message })}`));
  }

  protected trace(error: DocprocError): void {
    if (this.#verbose) for (const trace of tracesOf(error)) this.debug(trace);
  }

  async result(result: Result): Promise<void> {
    this.#rest ??= this.#document?.end(result.envelope) ?? whole(result.envelope);
    for (const piece of this.#rest) await this.batched.add(piece);
    await this.batched.flush();
  }

  failure(error: DocprocError): void {
    // stdout must parse on every exit path: without anything else the error is the document.
    this.#rest ??= this.#document?.isBegun ? this.#document.end({ error }) : whole(error);
    for (const piece of this.#rest) void this.batched.add(piece);
    void this.batched.flush();
    this.trace(error);
    this.output.stderr.write(jsonLine(error));
  }
}

/** `--ndjson`: one record per line, as soon as it is final. Failures are lines on stderr. */
export class NdjsonReporter extends JsonReporter {
  override readonly keepsOrder: boolean = false;

  override item(item: ReportedItem): Promise<void> | undefined {
    return item.many ? this.batched.add(jsonLine(item.value)) : writeAll(this.output.stdout, jsonLine(item.value));
  }

  override problem(path: string, error: DocprocError, { only = false }: ProblemInput = {}): void {
    if (!only) this.progress.interrupt(() => this.output.stderr.write(jsonLine({ ...error.toJSON(), path })));
  }

  override async result(result: Result): Promise<void> {
    await this.batched.flush();
    if (result.warning !== undefined) this.output.stderr.write(jsonLine({ warning: result.warning }));
  }

  override failure(error: DocprocError): void {
    void this.batched.flush();
    this.trace(error);
    this.output.stderr.write(jsonLine(error));
  }
}

/** Line ends to some readers, which JSON allows unescaped in strings. */
const lineEnds = /[\u0085\u2028\u2029]/g;

/** A value as one line for every kind of reader. */
export function jsonLine(value: object): string {
  const json = toJson(value);
  // Fast path: ASCII has none of them.
  if (Buffer.byteLength(json) === json.length) return `${json}\n`;
  const escaped = (end: string) => `\\u${end.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return `${json.replace(lineEnds, escaped)}\n`;
}

function whole(document: object): IterableIterator<string> {
  return [`${toJson(document, 0)}\n`].values();
}

/** Output for programs: one JSON document at the end, or one per line as results arrive. */
import type { DocprocError } from "../../core/errors.ts";
import {
  BatchedLines,
  isGone,
  type Progress,
  type ReportedItem,
  type Reporter,
  type Result,
  type Streams,
  writeAll,
} from "./reporter.ts";
import { withoutCommands } from "./runner-commands.ts";
import { tracesOf } from "./traces.ts";

/** `--json`: stdout is one JSON document, whatever happens. */
export class JsonReporter implements Reporter {
  readonly streams: boolean = false;
  readonly printsEnvelope: boolean = true;
  readonly progress: Progress;
  protected readonly output: Streams;
  readonly #verbose: boolean;
  #answered = false;

  constructor(output: Streams, progress: Progress, verbose: boolean) {
    this.output = output;
    this.progress = progress;
    this.#verbose = verbose;
  }

  get closed(): boolean {
    return isGone(this.output.stdout);
  }

  item(_item: ReportedItem): Promise<void> | undefined {
    return undefined;
  }

  problem(_path: string, _error: DocprocError): void {}

  note(_message: string): void {}

  debug(message: string): void {
    if (this.#verbose) this.progress.interrupt(() => this.output.stderr.write(`${jsonLine({ debug: message })}`));
  }

  protected trace(error: DocprocError): void {
    if (this.#verbose) for (const trace of tracesOf(error)) this.debug(trace);
  }

  async result(result: Result): Promise<void> {
    this.#answered = true;
    await writeAll(this.output.stdout, `${toJson(result.envelope, 2)}\n`);
  }

  failure(error: DocprocError): void {
    // Without a result the error is the document: stdout must parse on every exit path.
    if (!this.#answered) this.output.stdout.write(`${toJson(error, 2)}\n`);
    this.trace(error);
    this.output.stderr.write(jsonLine(error));
  }
}

/** `--ndjson`: one record per line, as soon as it is final. Failures are lines on stderr. */
export class NdjsonReporter extends JsonReporter {
  override readonly streams: boolean = true;
  override readonly printsEnvelope: boolean = false;

  readonly #batched: BatchedLines;

  constructor(output: Streams, progress: Progress, verbose: boolean) {
    super(output, progress, verbose);
    this.#batched = new BatchedLines(output.stdout);
  }

  override item(item: ReportedItem): Promise<void> | undefined {
    return item.many ? this.#batched.add(jsonLine(item.value)) : writeAll(this.output.stdout, jsonLine(item.value));
  }

  override problem(path: string, error: DocprocError): void {
    this.progress.interrupt(() => this.output.stderr.write(jsonLine({ ...error.toJSON(), path })));
  }

  override async result(result: Result): Promise<void> {
    await this.#batched.flush();
    if (result.warning !== undefined) this.output.stderr.write(jsonLine({ warning: result.warning }));
  }

  override failure(error: DocprocError): void {
    void this.#batched.flush();
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

/** A number sign occurs only in strings, where it may be escaped. */
function toJson(value: object, indent?: number): string {
  return withoutCommands(JSON.stringify(value, null, indent), "\\u0023");
}

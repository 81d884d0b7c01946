/** Output for programs: one JSON document at the end, or one a line as they come. */
import type { DocprocError } from "../errors.ts";
import { type Item, isGone, type Progress, type Reporter, type Result, type Streams, writeAll } from "./reporter.ts";

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

  async item(_item: Item): Promise<void> {}

  problem(_path: string, _error: DocprocError): void {}

  note(_message: string): void {}

  debug(message: string): void {
    if (this.#verbose) this.progress.interrupt(() => this.output.stderr.write(`${line({ debug: message })}`));
  }

  async result(result: Result): Promise<void> {
    this.#answered = true;
    await writeAll(this.output.stdout, `${JSON.stringify(result.envelope, null, 2)}\n`);
  }

  failure(error: DocprocError): void {
    // Without a result the error is the answer: stdout must parse on every way out.
    if (!this.#answered) this.output.stdout.write(`${JSON.stringify(error, null, 2)}\n`);
    if (this.#verbose && error.stack) this.debug(error.stack);
    this.output.stderr.write(line(error));
  }
}

/** `--ndjson`: one record a line, each as soon as it is final. Failures are lines on stderr. */
export class NdjsonReporter extends JsonReporter {
  override readonly streams: boolean = true;
  override readonly printsEnvelope: boolean = false;

  override async item(item: Item): Promise<void> {
    await writeAll(this.output.stdout, line(item.value));
  }

  override problem(path: string, error: DocprocError): void {
    this.progress.interrupt(() => this.output.stderr.write(line({ ...error.toJSON(), path })));
  }

  override async result(result: Result): Promise<void> {
    if (result.warning !== undefined) this.output.stderr.write(line({ warning: result.warning }));
  }

  override failure(error: DocprocError): void {
    if (error.stack) this.debug(error.stack);
    this.output.stderr.write(line(error));
  }
}

/** What JSON leaves as it is and some readers of lines take for the end of one; it may be escaped. */
const lineEnds = /[\u0085\u2028\u2029]/g;

function line(value: object): string {
  const escaped = (end: string) => `\\u${end.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return `${JSON.stringify(value).replace(lineEnds, escaped)}\n`;
}

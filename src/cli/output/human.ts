/** Output for people, and plain lines for pipes with `-q` and `--format`. */
import type { DocprocError } from "../../core/errors.ts";
import { display } from "./display.ts";
import {
  BatchedLines,
  isGone,
  type Painter,
  type ProblemInput,
  type Progress,
  type ReportedItem,
  type Reporter,
  type Result,
  type Streams,
  writeAll,
} from "./reporter.ts";
import { linesWithoutCommands } from "./runner-commands.ts";
import { StreamedTable } from "./streamed-table.ts";
import { tracesOf } from "./traces.ts";

export class HumanReporter implements Reporter {
  readonly keepsOrder = false;
  readonly progress: Progress;
  protected readonly output: Streams;
  protected readonly batched: BatchedLines;
  #table: StreamedTable | undefined;
  readonly #painters: { readonly stdout: Painter; readonly stderr: Painter };
  readonly #verbose: boolean;

  constructor(output: Streams, progress: Progress, painters: { stdout: Painter; stderr: Painter }, verbose: boolean) {
    this.output = output;
    this.batched = new BatchedLines(output.stdout);
    this.progress = progress;
    this.#painters = painters;
    this.#verbose = verbose;
  }

  get closed(): boolean {
    return isGone(this.output.stdout);
  }

  item(item: ReportedItem): Promise<void> | undefined {
    if (item.row) {
      const { columns, cells } = item.row;
      this.#table ??= new StreamedTable(this.#painters.stdout, columns, this.batched);
      return this.#table.add(cells(this.#painters.stdout));
    }
    return item.line && this.print(`${linesWithoutCommands(item.line(this.#painters.stdout))}\n`);
  }

  problem(label: string, error: DocprocError, { only = false }: ProblemInput = {}): void {
    if (only) return;
    this.#say(`${this.#painters.stderr.bad("failed")} ${display(label)}: ${display(error.message)}`);
    if (error.hint) this.#say(`       ${this.#painters.stderr.faint(display(error.hint))}`);
    this.#trace(error);
  }

  note(message: string): void {
    this.#say(this.#painters.stderr.faint(display(message)));
  }

  debug(message: string): void {
    if (this.#verbose) for (const line of message.split("\n")) this.#say(this.#painters.stderr.faint(display(line)));
  }

  async result(result: Result): Promise<void> {
    this.progress.stop();
    this.#table?.end();
    await this.batched.flush();
    const text = linesWithoutCommands(result.text(this.#painters.stdout));
    if (text !== "") await this.print(`${text}\n`);
    if (result.note !== undefined) this.note(result.note);
    if (result.warning !== undefined) this.warn(result.warning);
  }

  failure(error: DocprocError): void {
    this.progress.stop();
    this.#table?.end();
    void this.batched.flush();
    this.#trace(error);
    this.#say(`${this.#painters.stderr.bad("error:")} ${display(error.message)}`);
    if (error.hint) this.#say(`${this.#painters.stderr.strong("hint:")}  ${display(error.hint)}`);
  }

  protected warn(message: string): void {
    this.#say(this.#painters.stderr.strong(display(message)));
  }

  protected async print(text: string): Promise<void> {
    let written: Promise<void> | undefined;
    this.progress.interrupt(() => {
      written = writeAll(this.output.stdout, text);
    });
    await written;
  }

  #trace(error: Error): void {
    if (this.#verbose) for (const trace of tracesOf(error)) this.debug(trace);
  }

  #say(line: string): void {
    this.progress.interrupt(() => this.output.stderr.write(`${linesWithoutCommands(line)}\n`));
  }
}

/** How `-q` and `--format` print an item; undefined: not at all. */
export type LineOf = (item: ReportedItem) => string | undefined;

/** `-q` and `--format`: one line per item as it arrives, and otherwise only failures and warnings. */
export class LineReporter extends HumanReporter {
  readonly #lineOf: LineOf;
  readonly #end: string;

  /** @param end terminates each line */
  constructor(lineOf: LineOf, end: string, ...how: ConstructorParameters<typeof HumanReporter>) {
    super(...how);
    this.#lineOf = lineOf;
    this.#end = end;
  }

  override item(item: ReportedItem): Promise<void> | undefined {
    const line = this.#lineOf(item);
    if (line === undefined) return undefined;
    return item.many ? this.batched.add(`${line}${this.#end}`) : this.print(`${line}${this.#end}`);
  }

  override note(_message: string): void {}

  override async result(result: Result): Promise<void> {
    this.progress.stop();
    await this.batched.flush();
    if (result.warning !== undefined) this.warn(result.warning);
  }
}

/** A table for people with any number of rows, of which only the first are held. */
import type { BatchedLines, Column, Painter, TableLayout } from "./reporter.ts";
import { linesWithoutCommands } from "./runner-commands.ts";

/** Rows that decide on the widths on a terminal. */
const sampled = 1000;

export class StreamedTable {
  readonly #painter: Painter;
  readonly #columns: readonly Column[];
  readonly #output: BatchedLines;
  #sample: (readonly string[])[] = [];
  #layout: TableLayout | undefined;

  constructor(painter: Painter, columns: readonly Column[], output: BatchedLines) {
    this.#painter = painter;
    this.#columns = columns;
    this.#output = output;
  }

  /** Prints a row, on a terminal as soon as the widths are known. */
  add(cells: readonly string[]): Promise<void> | undefined {
    if (this.#layout) return this.#print(this.#layout.line(cells));
    this.#sample.push(cells);
    return this.#painter.isTerminal && this.#sample.length < sampled ? undefined : this.#begin();
  }

  /** Prints what is held. */
  end(): void {
    if (!this.#layout && this.#sample.length > 0) void this.#begin();
  }

  #begin(): Promise<void> | undefined {
    this.#layout = this.#painter.layout(this.#columns, this.#sample);
    const lines = [...this.#layout.heading, ...this.#sample.map(this.#layout.line)];
    this.#sample = [];
    return this.#print(lines.join("\n"));
  }

  #print(text: string): Promise<void> | undefined {
    return this.#output.add(`${linesWithoutCommands(text)}\n`);
  }
}

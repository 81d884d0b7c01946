/** The two ways to style text: for a terminal and for a pipe. */
import { Chalk, type ChalkInstance } from "chalk";
import cliTruncate from "cli-truncate";
import ms from "ms";
import prettyBytes from "pretty-bytes";
import stringWidth from "string-width";
import { display } from "./display.ts";
import { type Column, columnsOf, type OutputStream, type Painter, type TableLayout } from "./reporter.ts";

/** @param colors false for `--no-color` */
export function painterFor(stream: OutputStream, options: { colors: boolean; now: () => number }): Painter {
  const chalk = new Chalk({ level: options.colors ? colorLevel(stream) : 0 });
  return stream.isTTY ? new TerminalPainter(chalk, stream, options.now) : new PipePainter(chalk);
}

/** Node's answer for a terminal; it honours NO_COLOR, FORCE_COLOR and TERM. */
function colorLevel(stream: OutputStream & { getColorDepth?: () => number }): 0 | 1 | 2 | 3 {
  const depth = stream.getColorDepth?.() ?? 1;
  return depth >= 24 ? 3 : depth >= 8 ? 2 : depth >= 4 ? 1 : 0;
}

/** Absolute and plain, for `cut` and `sort`. */
class PipePainter implements Painter {
  readonly isTerminal: boolean = false;
  protected readonly chalk: ChalkInstance;

  constructor(chalk: ChalkInstance) {
    this.chalk = chalk;
  }

  text(text: string): string {
    return display(text);
  }

  size(bytes: number | null): string {
    return bytes === null ? "-" : String(bytes);
  }

  time(time: string | null): string {
    return time ?? "-";
  }

  table(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
    const { heading, line } = this.layout(columns, rows);
    return [...heading, ...rows.map(line)].join("\n");
  }

  /** Tab-separated, no headings: text() escapes tabs in cells. */
  layout(_columns: readonly Column[], _rows: readonly (readonly string[])[]): TableLayout {
    return { heading: [], line: (cells) => cells.join("\t") };
  }

  good(text: string): string {
    return this.chalk.green(text);
  }

  bad(text: string): string {
    return this.chalk.red(text);
  }

  faint(text: string): string {
    return this.chalk.dim(text);
  }

  strong(text: string): string {
    return this.chalk.bold(text);
  }
}

/** Spaces between two cells. */
const gap = 2;
/** Columns shrink to this width before others are dropped, and to `narrowest` after that. */
const readableWidth = 20;
const narrowest = 8;

class TerminalPainter extends PipePainter {
  override readonly isTerminal = true;
  readonly #stream: OutputStream;
  readonly #now: () => number;

  constructor(chalk: ChalkInstance, stream: OutputStream, now: () => number) {
    super(chalk);
    this.#stream = stream;
    this.#now = now;
  }

  override size(bytes: number | null): string {
    return bytes === null ? "-" : prettyBytes(bytes);
  }

  override time(time: string | null): string {
    if (time === null) return "-";
    const age = this.#now() - Date.parse(time);
    return age < 1_000 ? "just now" : `${ms(age, { long: true })} ago`;
  }

  override layout(columns: readonly Column[], rows: readonly (readonly string[])[]): TableLayout {
    const fit = fitColumns(columns, rows, columnsOf(this.#stream));
    const shown = (cell: string, { column, width }: (typeof fit)[number]) =>
      pad(column.narrow === "cut" ? cut(cell, width) : cell, width, column.align);
    const line = (cells: readonly string[]) =>
      fit
        .map((one) => shown(cells[one.index] ?? "", one))
        .join(" ".repeat(gap))
        .trimEnd();
    return { heading: [line(columns.map(({ heading }) => this.chalk.bold(heading)))], line };
  }
}

/** cli-truncate cuts one column too late inside a wide character. */
function cut(text: string, width: number): string {
  const shortened = cliTruncate(text, width);
  return stringWidth(shortened) <= width ? shortened : cliTruncate(text, width - 1);
}

function pad(cell: string, width: number, align: Column["align"]): string {
  const space = " ".repeat(Math.max(0, width - stringWidth(cell)));
  return align === "right" ? space + cell : cell + space;
}

/** Chooses the columns and widths that fit the terminal. */
function fitColumns(columns: readonly Column[], rows: readonly (readonly string[])[], terminal: number) {
  let fit = columns.map((column, index) => {
    const cells = rows.map((row) => stringWidth(row[index] ?? ""));
    return { column, index, width: Math.max(stringWidth(column.heading), ...cells) };
  });
  const total = (width: (one: (typeof fit)[number]) => number) =>
    fit.reduce((sum, one) => sum + width(one) + gap, -gap);
  // First shorten long cells while they stay readable, then drop columns.
  const readable = ({ column, width }: (typeof fit)[number]) =>
    column.narrow === "cut" ? Math.min(width, readableWidth) : width;
  for (const { index } of fit.filter(({ column }) => column.narrow === "drop").toReversed()) {
    if (total(readable) > terminal) fit = fit.filter((one) => one.index !== index);
  }
  for (const one of fit.filter(({ column }) => column.narrow === "cut")) {
    const excess = total(({ width }) => width) - terminal;
    if (excess > 0) one.width = Math.max(narrowest, one.width - excess);
  }
  return fit;
}

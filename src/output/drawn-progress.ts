/** Progress drawn on a terminal. */
import cliTruncate from "cli-truncate";
import ora, { type Ora } from "ora";
import { display } from "./display.ts";
import { Tally } from "./progress.ts";
import type { FileProgress, OutputStream, Progress } from "./reporter.ts";

/** Milliseconds between two drawings. */
const drawInterval = 100;

/** A spinner with a line for the whole and one for each file in flight. */
export class DrawnProgress implements Progress {
  readonly drawn = true;
  readonly #tally: Tally;
  readonly #stream: OutputStream;
  #spinner: Ora | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(stream: OutputStream, now: () => number) {
    this.#stream = stream;
    this.#tally = new Tally(now);
  }

  expect(files: number, bytes: number | null): void {
    this.#tally.expect(files, bytes);
  }

  start(label: string, size: number | null): FileProgress {
    const state = this.#tally.start(label, size);
    this.#open();
    return {
      advance: (bytes) => this.#tally.advance(state, bytes),
      done: () => this.#tally.done(state),
    };
  }

  interrupt(print: () => void): void {
    this.#spinner?.clear();
    print();
    if (this.#spinner?.isSpinning) this.#spinner.render();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#spinner?.stop();
    this.#spinner = undefined;
  }

  #open(): void {
    if (this.#spinner) return;
    const spinner = ora({
      stream: this.#stream as NodeJS.WriteStream,
      // stdin may be the document, and Ctrl-C must reach the program as a signal.
      discardStdin: false,
      text: this.#text(),
    }).start();
    this.#spinner = spinner;
    this.#timer = setInterval(() => {
      spinner.text = this.#text();
    }, drawInterval).unref();
  }

  #text(): string {
    const columns = (this.#stream.columns || 80) - 3;
    const files = [...this.#tally.active].map((state) => {
      const facts = this.#tally.file(state);
      const name = cliTruncate(display(state.label), Math.max(8, columns - facts.length - 4), { position: "start" });
      return `  ${name}  ${facts}`;
    });
    // One file is its own total.
    const lines = this.#tally.single ? files : [this.#tally.total(), ...files];
    return lines.map((line) => cliTruncate(line, columns)).join("\n");
  }
}

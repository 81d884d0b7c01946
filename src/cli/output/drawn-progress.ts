/** Draws progress on a terminal. */
import cliTruncate from "cli-truncate";
import ora, { type Ora } from "ora";
import { display } from "./display.ts";
import { CountedProgress } from "./progress.ts";
import { columnsOf } from "./reporter.ts";

/** Milliseconds between two frames. */
const drawInterval = 100;

/** A spinner with a line for the total and one for each file in flight. */
export class DrawnProgress extends CountedProgress {
  readonly drawn = true;
  #spinner: Ora | undefined;
  #timer: NodeJS.Timeout | undefined;

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

  protected show(): void {
    if (this.#spinner) return;
    const spinner = ora({
      stream: this.stream as NodeJS.WriteStream,
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
    const columns = columnsOf(this.stream) - 3;
    const files = [...this.tally.active].map((state) => {
      const facts = this.tally.file(state);
      const name = cliTruncate(display(state.label), Math.max(8, columns - facts.length - 4), { position: "start" });
      return `  ${name}  ${facts}`;
    });
    // A single file needs no total.
    const lines = this.tally.single ? files : [this.tally.total(), ...files];
    return lines.map((line) => cliTruncate(line, columns)).join("\n");
  }
}

/** Takes the steps of a page on a machine and says what is not as the page shows it. */
import { Ids, sameOutput } from "./compare.ts";
import type { Command, Page, Step } from "./page.ts";
import type { Machine } from "./shell.ts";

export interface Outcome {
  /** One for each step that did something else than the page says; empty when the page is right. */
  readonly problems: readonly string[];
  /** The page, showing what was printed. */
  readonly text: string;
}

export async function runPage(page: Page, text: string, machine: Machine): Promise<Outcome> {
  const problems: string[] = [];
  const printed = new Map<Command, readonly string[]>();
  const ids = new Ids();
  const problem = ({ line }: Step, what: string, lines: readonly string[] = []) =>
    problems.push([`${page.path}:${line}: ${what}`, ...lines.map((one) => `    ${one}`)].join("\n"));

  for (const step of page.steps) {
    if (step.kind === "file") await machine.write(step.name, step.text);
    else if (step.kind === "fault") machine.fault(step.rule);
    else if (step.kind === "command") {
      const [interruptions, shown] = split(step.expected, (line) => line === "^C");
      const ran = await machine.run(ids.inCommand(step.text), { interrupt: interruptions.length > 0 });
      const lines = ran.lines.map((line) => ids.inPage(line));
      const { status } = ran;
      if (status === undefined) problem(step, `ended the shell: ${step.text}`, lines);
      else if (status !== 0 && !step.showsStatus) {
        problem(step, `status ${status}, and no "$ echo $?" below: ${step.text}`, lines);
      } else if (!sameOutput(shown, ran.lines, step.anyOrder, ids)) {
        problem(step, `shows something else than what was printed: ${step.text}`, lines);
        printed.set(step, [...interruptions, ...lines]);
      }
      if (status === undefined) break;
    } else {
      const script = step.kind === "script" ? `set -eo pipefail\n${step.text}\nset +eo pipefail` : step.text;
      const { status, lines } = await machine.run(ids.inCommand(script));
      if (status !== 0) problem(step, `failed with status ${status ?? "that ended the shell"}`, lines);
      if (status === undefined) break;
    }
  }
  return { problems, text: withOutputs(text, printed) };
}

function split<T>(all: readonly T[], isFirst: (one: T) => boolean): [T[], T[]] {
  return [all.filter(isFirst), all.filter((one) => !isFirst(one))];
}

/** From the last to the first, so that lines above keep their numbers. */
function withOutputs(text: string, printed: ReadonlyMap<Command, readonly string[]>): string {
  const lines = text.split("\n");
  for (const [{ at, indent }, output] of [...printed].toReversed()) {
    lines.splice(at[0], at[1] - at[0], ...output.map((line) => (line === "" ? line : indent + line)));
  }
  return lines.join("\n");
}

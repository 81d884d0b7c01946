/** Asks for confirmation before something irreversible. */
import { createInterface } from "node:readline/promises";
import { DocprocError, throwIfCancelled } from "../core/errors.ts";
import type { Host } from "./context.ts";

/**
 * Returns when it is to be done.
 * @param yes `--yes`: it was decided before
 * @throws USAGE where nobody can be asked; CANCELLED for any answer but yes
 */
export async function confirm(host: Host, question: string, yes: boolean): Promise<void> {
  if (yes) return;
  assertCanAsk(host, "Add --yes.");
  const answer = await ask(host, `${question} [y/N] `);
  if (answer === undefined || !/^y(es)?$/i.test(answer)) throw unchanged("Answer y to go on.");
}

/**
 * Returns when somebody has typed the name of what is lost.
 * @param isName whether it is that name
 * @throws CANCELLED for any other answer
 */
export async function confirmName(host: Host, question: string, isName: (text: string) => boolean): Promise<void> {
  const answer = await ask(host, question);
  if (answer === undefined || !isName(answer)) throw unchanged("Type the name as it is shown to go on.");
}

/**
 * @param hint the flag that takes the place of an answer
 * @throws USAGE where nobody can be asked
 */
export function assertCanAsk(host: Host, hint: string): void {
  if (host.stdin().isTTY && host.stderr.isTTY) return;
  throw new DocprocError("USAGE", "Nobody can be asked here whether that is meant.", { hint });
}

function unchanged(hint: string): DocprocError {
  return new DocprocError("CANCELLED", "Nothing was changed.", { hint });
}

/** What was typed; undefined when the terminal or the program ended instead. */
async function ask(host: Host, question: string): Promise<string | undefined> {
  const stdin = host.stdin();
  const terminal = createInterface({ input: stdin, output: host.stderr as NodeJS.WritableStream });
  // Ctrl-D ends the input, and the question would wait for ever.
  const ended = new Promise<undefined>((resolve) => terminal.once("close", () => resolve(undefined)));
  const answered = terminal.question(question, { signal: host.signal });
  const answer = await Promise.race([answered, ended]).catch(() => undefined);
  terminal.close();
  // Nobody pressed Enter: the cursor is still behind the question.
  if (answer === undefined) host.stderr.write("\n");
  throwIfCancelled(host.signal);
  return answer?.trim();
}

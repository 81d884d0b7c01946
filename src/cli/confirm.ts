/** Asks for confirmation before something irreversible. */
import { createInterface } from "node:readline/promises";
import { DocprocError, throwIfCancelled } from "../core/errors.ts";
import type { Host } from "./context.ts";

/**
 * Returns when the user confirms.
 * @param yes `--yes`: confirmed in advance
 * @throws USAGE without a terminal; CANCELLED for any answer but yes
 */
export async function confirm(host: Host, question: string, yes: boolean): Promise<void> {
  if (yes) return;
  assertCanAsk(host, "Add --yes.");
  const answer = await ask(host, `${question} [y/N] `);
  if (answer === undefined || !/^y(es)?$/i.test(answer)) throw unchanged("Answer y to continue.");
}

/**
 * Returns when the user types the name of what will be lost.
 * @param isName whether a text is that name
 * @throws CANCELLED for any other answer
 */
export async function confirmName(host: Host, question: string, isName: (text: string) => boolean): Promise<void> {
  const answer = await ask(host, question);
  if (answer === undefined || !isName(answer)) throw unchanged("Type the name exactly as shown to continue.");
}

/**
 * @param hint the flag that replaces the answer
 * @throws USAGE without a terminal
 */
export function assertCanAsk(host: Host, hint: string): void {
  if (host.stdin().isTTY && host.stderr.isTTY) return;
  throw new DocprocError("USAGE", "Refusing to delete without confirmation: there is no terminal.", { hint });
}

function unchanged(hint: string): DocprocError {
  return new DocprocError("CANCELLED", "Nothing was changed.", { hint });
}

/** The answer; undefined when the terminal or the program ended first. */
async function ask(host: Host, question: string): Promise<string | undefined> {
  const stdin = host.stdin();
  const terminal = createInterface({ input: stdin, output: host.stderr as NodeJS.WritableStream });
  // After Ctrl-D ends the input, the question would wait forever.
  const ended = new Promise<undefined>((resolve) => terminal.once("close", () => resolve(undefined)));
  const answered = terminal.question(question, { signal: host.signal });
  const answer = await Promise.race([answered, ended]).catch(() => undefined);
  terminal.close();
  // Without Enter, the cursor is still on the question's line.
  if (answer === undefined) host.stderr.write("\n");
  throwIfCancelled(host.signal);
  return answer?.trim();
}

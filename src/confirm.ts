/** Asks a person before something that cannot be taken back. */
import { createInterface } from "node:readline/promises";
import type { Host } from "./context.ts";
import { DocprocError, throwIfCancelled } from "./errors.ts";

/**
 * Returns when it is to be done.
 * @param yes `--yes`: it was decided before
 * @throws USAGE where nobody can be asked; CANCELLED for any answer but yes
 */
export async function confirm(host: Host, question: string, yes: boolean): Promise<void> {
  if (yes) return;
  const stdin = host.stdin();
  if (!stdin.isTTY || !host.stderr.isTTY) {
    throw new DocprocError("USAGE", "Nobody can be asked here whether that is meant.", { hint: "Add --yes." });
  }
  const terminal = createInterface({ input: stdin, output: host.stderr as NodeJS.WritableStream });
  // Ctrl-D ends the input, and the question would wait for ever.
  const ended = new Promise<undefined>((resolve) => terminal.once("close", () => resolve(undefined)));
  const answered = terminal.question(`${question} [y/N] `, { signal: host.signal });
  const answer = await Promise.race([answered, ended]).catch(() => undefined);
  terminal.close();
  // Nobody pressed Enter: the cursor is still behind the question.
  if (answer === undefined) host.stderr.write("\n");
  throwIfCancelled(host.signal);
  if (answer !== undefined && /^y(es)?$/i.test(answer.trim())) return;
  throw new DocprocError("CANCELLED", "Nothing was changed.", { hint: "Answer y to go on." });
}

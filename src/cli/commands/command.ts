/** A command: its flags, the input parsed from them, and a run() that knows neither flags nor output. */
import type { Command as CommanderCommand } from "commander";
import type { Context } from "../context.ts";
import type { Result } from "../output/reporter.ts";

export interface Command<Flags = never, Input = never> {
  /** Whether its items are documents that it created, which a CI job then gets as outputs. */
  readonly makesDocuments?: boolean;
  /** Worked examples for `--help`: what each does, and its arguments. */
  readonly examples: readonly (readonly [what: string, args: string])[];
  /** Declares arguments and flags. No defaults here, so that unset flags can be told from typed ones. */
  configure(command: CommanderCommand): void;
  /** @throws USAGE for an invalid command line */
  parse(args: readonly string[], flags: Flags, now: number): Input;
  run(context: Context, input: Input): Promise<Result>;
}

/** A command with its types erased. */
export type AnyCommand = Command<never, never>;

export function defineCommand<Flags, Input>(command: Command<Flags, Input>): AnyCommand {
  return command as unknown as AnyCommand;
}

/** The first word of a shell's completion requests, see completion/. Not a command for users. */
export const completionWord = "complete";

/** For flags that may be repeated. */
export function collect(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value];
}

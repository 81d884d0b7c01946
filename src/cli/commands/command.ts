/** A command: its flags, the input parsed from them, and a run() that knows neither flags nor output. */
import type { Command as CommanderCommand } from "commander";
import type { Context } from "../context.ts";
import type { Result } from "../output/reporter.ts";

export interface Command<Flags = never, Input = never> {
  /** Whether what it reports are documents that it made: a CI job is told of them. */
  readonly makesDocuments?: boolean;
  /** Worked examples, shown under `--help`: what it does, and the arguments that do it. */
  readonly examples: readonly (readonly [what: string, args: string])[];
  /** Declares arguments and flags. Flags have no defaults here, or nobody could tell them from what was typed. */
  configure(command: CommanderCommand): void;
  /** @throws USAGE for what cannot be meant */
  parse(args: readonly string[], flags: Flags, now: number): Input;
  run(context: Context, input: Input): Promise<Result>;
}

/** A command whose types only it needs to know. */
export type AnyCommand = Command<never, never>;

export function defineCommand<Flags, Input>(command: Command<Flags, Input>): AnyCommand {
  return command as unknown as AnyCommand;
}

/** The first word of the command lines with which a shell asks for completions, see completion/. No command of users. */
export const completionWord = "complete";

/** For flags that may be repeated. */
export function collect(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value];
}

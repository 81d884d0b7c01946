/** A command: its flags, the input parsed from them, and a run() that knows neither flags nor output. */
import type { OptionValues, Command as TypedCommand } from "@commander-js/extra-typings";
import type { Command as CommanderCommand } from "commander";
import type { Context } from "../context.ts";
import type { ItemDocument, Result } from "../output/reporter.ts";

/** A command, typed by the flags that it declares and by its input. */
interface Command<Declaring, Declared, Flags, Input> {
  /** Whether its items are new documents, which a CI job gets as outputs. */
  readonly makesDocuments?: boolean;
  /** The form of its JSON document, if that has any number of items; it may depend on the flags. */
  readonly document?: ItemDocument | ((flags: Flags) => ItemDocument | undefined);
  /** Worked examples for `--help`: what each does, and its arguments. */
  readonly examples: readonly (readonly [what: string, args: string])[];
  /** Declares arguments and flags. No defaults here, so that unset flags can be told from typed ones. */
  configure(command: Declaring): Declared;
  /** @throws USAGE for an invalid command line */
  parse(args: readonly string[], flags: Flags, now: number): Input;
  run(context: Context, input: Input): Promise<Result>;
}

/** A command with its types erased. */
export type AnyCommand = Command<CommanderCommand, void, never, never>;

/** Global flags that commands may read. */
export interface GlobalFlags {
  readonly json?: true;
  readonly ndjson?: true;
  readonly quiet?: true;
  readonly format?: string;
  readonly null?: true;
}

export function defineCommand<Args extends unknown[], Flags extends OptionValues, Input>(
  command: Command<TypedCommand, TypedCommand<Args, Flags>, Flags & GlobalFlags, Input>,
): AnyCommand {
  return command as unknown as AnyCommand;
}

/** The first word of a shell's completion requests, see completion/. Not a command for users. */
export const completionWord = "complete";

/** What a reference to a document may be, for the help text. */
export const oneReference = "an id, a path (its newest version), or a unique beginning of an id";
export const severalReferences = "ids, paths (the newest version), or unique beginnings of ids";

/** For flags that may be repeated. */
export function collect(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value];
}

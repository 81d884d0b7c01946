/** The whole program as a function: arguments in, exit status out. */
import { setMaxListeners } from "node:events";
import { Command as Commander, CommanderError, Option } from "commander";
import { settingNames, settingTable } from "../config/settings.ts";
import { DocprocError, exitStatuses, fromSystemError, isSystemError, toDocprocError } from "../core/errors.ts";
import { registerSecret, secretVariables } from "../core/secrets.ts";
import { flagOf } from "../core/setting.ts";
import { type AnyCommand, completionWord } from "./commands/command.ts";
import { type CommandEntry, commands, commandsIn, commandsNamed } from "./commands/registry.ts";
import { type ConfigFlags, createContext, type Host } from "./context.ts";
import { openReporter } from "./output/open-reporter.ts";
import { columnsOf, type Reporter, writeAll } from "./output/reporter.ts";

type Flags = Readonly<Record<string, unknown>>;

/** Runs one command line. Never throws; prints its own errors. */
export async function run(host: Host): Promise<number> {
  if (isCompletion(host.argv)) return await completeLine(host);
  let reporter: Reporter | undefined;
  for (const name of secretVariables) registerSecret(host.env[name]);
  // Every file and request in flight adds a listener; Node warns of a leak after ten.
  setMaxListeners(0, host.signal);
  // The document on stdout must end, even when the command does not.
  const onEnding = () => reporter?.failure(toDocprocError(host.ending?.reason));
  host.ending?.addEventListener("abort", onEnding);
  try {
    let status = 0;
    const topic = await helpTopicIn(host.argv);
    if (topic !== undefined) {
      await writeAll(host.stdout, `${topic}\n`);
      return 0;
    }
    const program = await commandTree(
      host,
      async (command, args, flags, { name, globalFlags }) => {
        const readsList = flags["filesFrom"] !== undefined;
        const document = typeof command.document === "function" ? command.document(flags as never) : command.document;
        reporter = await openReporter(host, globalFlags, { name, readsList, ...command, document });
        status = await runCommand(host, reporter, command, args, flags);
      },
      commandsIn(host.argv),
    );
    await program.parseAsync(host.argv.length === 0 ? ["--help"] : host.argv, { from: "user" });
    return status;
  } catch (thrown) {
    // commander reports help and version as failures.
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0;
    const error = thrown instanceof CommanderError ? usageError(thrown, host.argv) : toDocprocError(thrown);
    reporter ??= await openReporter(host, flagsBeforeParsing(host.argv));
    reporter.failure(error);
    return exitStatuses[error.code];
  } finally {
    host.ending?.removeEventListener("abort", onEnding);
    reporter?.progress.stop();
  }
}

/** True for a shell's completion requests: `complete SHELL -- WORD...` */
export function isCompletion(argv: readonly string[]): boolean {
  return argv[0] === completionWord && argv[2] === "--";
}

async function completeLine(host: Host): Promise<number> {
  const { complete } = await import("./completion/suggest.ts");
  const [, shell = "", , ...words] = host.argv;
  await complete(host, shell, words, (before) => commandTree(host, async () => {}, commandsNamed(before)));
  return 0;
}

async function runCommand(host: Host, reporter: Reporter, command: AnyCommand, args: readonly string[], flags: Flags) {
  const input = command.parse(args, flags as never, host.now());
  const context = createContext(host, reporter, configFlags(flags));
  try {
    const result = await command.run(context, input);
    reporter.progress.stop();
    await reporter.result(result);
    const failure = result.failure ?? unwritable(host);
    if (failure === undefined) return 0;
    reporter.failure(failure);
    return exitStatuses[failure.code];
  } finally {
    await context.close();
  }
}

/** The text of `docproc help TOPIC`; undefined for help about a command, and for anything else. */
async function helpTopicIn([first, topic]: readonly string[]): Promise<string | undefined> {
  if (first !== "help" || topic === undefined || commands.some(({ name }) => name === topic)) return undefined;
  const { helpTopic } = await import("./help/topics.ts");
  return helpTopic(topic);
}

/** A full disk under stdout is a failure; a closed reader (`| head`) has what it wanted. */
function unwritable({ stdoutError }: Host): DocprocError | undefined {
  const error = stdoutError?.();
  const closed = isSystemError(error) && error.code === "EPIPE";
  return error && !closed ? fromSystemError(error, "Standard output") : undefined;
}

interface Named {
  readonly name: string;
  /** The flags of every command, except those that this command redefines. */
  readonly globalFlags: Flags;
}

type Action = (command: AnyCommand, args: readonly string[], flags: Flags, named: Named) => Promise<void>;

/** @param needed commands to describe with arguments and flags; the others get only names */
export async function commandTree(
  host: Pick<Host, "stdout" | "version">,
  action: Action,
  needed: ReadonlySet<CommandEntry>,
): Promise<Commander> {
  const program = new Commander("docproc")
    .description("Upload documents and build artifacts, and keep a catalog of them.")
    .version(host.version, "-V, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .helpCommand("help [command]", "print help for a command")
    .showHelpAfterError(false)
    .configureHelp({ showGlobalOptions: true, minWidthToWrap: 30 })
    .configureOutput({
      writeOut: (text) => void host.stdout.write(text),
      // Errors are printed once, by run().
      writeErr: () => {},
      getOutHelpWidth: () => columnsOf(host.stdout),
    })
    .exitOverride();
  for (const option of globalOptions()) program.addOption(option);
  program.addHelpText("after", `\n${exitStatusHelp}\n\nMore: docproc help exit-codes, docproc help json`);
  for (const entry of commands) {
    // command(), unlike addCommand(), inherits exitOverride and the output.
    const sub = program.command(entry.name).description(entry.summary);
    if (entry.aliases) sub.aliases([...entry.aliases]);
    if (!needed.has(entry)) continue;
    const command = await entry.load();
    command.configure(sub);
    sub.addHelpText("after", examples(command));
    const own = new Set(sub.options.map((option) => option.attributeName()));
    sub.action(async () => {
      const flags = sub.optsWithGlobals();
      const globalFlags = Object.fromEntries(Object.entries(flags).filter(([name]) => !own.has(name)));
      await action(command, sub.args, flags, { name: entry.name, globalFlags });
    });
  }
  return program;
}

function globalOptions(): Option[] {
  const ofSettings = Object.entries(settingTable).flatMap(([name, { flag }]) =>
    flag ? [new Option(`${flagOf(name)} ${flag.placeholder}`, flag.help)] : [],
  );
  return [
    ...ofSettings,
    new Option("--config <file>", "read this config file instead of .docprocrc.json"),
    new Option("--use <name>", "use the library of this profile of the config file"),
    new Option("--json", "print one JSON document").conflicts(["ndjson", "quiet", "null"]),
    new Option("--ndjson", "print one JSON record per line, as they arrive").conflicts(["quiet", "null"]),
    new Option("-q, --quiet", "print only ids").conflicts("format"),
    new Option("--format <template>", "print each as a line of this template, such as '{id} {name} {tags.build}'"),
    new Option("-0, --null", "end lines with NUL in -q and --format, and in lists of paths"),
    new Option("--no-color", "do not use colours"),
    new Option("--no-progress", "do not show progress"),
    new Option("-v, --verbose", "show details of errors"),
  ];
}

const exitStatusHelp = ["Exit status:", "  0    done", ...exitStatusLines()].join("\n");

function exitStatusLines(): string[] {
  const codes = Object.entries(exitStatuses);
  const statuses = [...new Set(codes.map(([, status]) => status))];
  return statuses.map((status) => {
    const named = codes.filter(([, one]) => one === status).map(([code]) => code);
    return `  ${String(status).padEnd(4)} ${named.join(", ")}`;
  });
}

function examples(command: AnyCommand): string {
  return `\nExamples:\n${command.examples.map(([what, args]) => `  # ${what}\n  docproc ${args}`).join("\n")}\n`;
}

function configFlags(flags: Flags): ConfigFlags {
  const settings: Record<string, string> = {};
  for (const name of settingNames) {
    if (typeof flags[name] === "string") settings[name] = flags[name];
  }
  // For --no-resume and the like commander reports true when they are not given.
  for (const name of ["resume", "provenance"] as const) if (flags[name] === false) settings[name] = "false";
  const text = (name: string) => (typeof flags[name] === "string" ? flags[name] : undefined);
  return { flags: settings, file: text("config"), use: text("use") };
}

/** Enough flags to report a command line that cannot be parsed in the requested form. */
function flagsBeforeParsing(argv: readonly string[]): Flags {
  const end = argv.indexOf("--");
  const given = new Set(end < 0 ? argv : argv.slice(0, end));
  return { json: given.has("--json"), ndjson: given.has("--ndjson"), color: !given.has("--no-color") };
}

function usageError(error: CommanderError, argv: readonly string[]): DocprocError {
  // For the help of an unknown command, commander shows its own.
  if (error.code === "commander.help") {
    return new DocprocError("USAGE", `Unknown command ${JSON.stringify(argv.at(-1) ?? "")}.`, {
      hint: `Commands: ${commands.map(({ name }) => name).join(", ")}.`,
    });
  }
  const [message = "", ...suggestion] = error.message.replace(/^error: /, "").split("\n");
  const didYouMean = suggestion.join(" ").replace(/^\(|\)$/g, "");
  const [, flag] = /^unknown option '(-[^']*)'$/.exec(message) ?? [];
  const fileHint = flag === undefined ? "" : ` To name a file, write ./${flag}.`;
  const sentence = `${message.charAt(0).toUpperCase()}${message.slice(1)}`.replace(/\.?$/, ".");
  return new DocprocError("USAGE", sentence, {
    hint: didYouMean || `Run docproc --help to list commands and flags.${fileHint}`,
  });
}

/** Renders the manual page from the help texts, so that it has no text of its own. Runs at build time. */
import type { Argument, Command, Option } from "commander";
import { drivers, settingNames } from "../../config/settings.ts";
import { type ErrorCode, exitStatuses } from "../../core/errors.ts";
import type { ServiceName } from "../../core/setting.ts";
import { flagOf, variableOf } from "../../core/setting.ts";
import type { AnyCommand } from "../commands/command.ts";
import { commands } from "../commands/registry.ts";
import { commandTree } from "../program.ts";
import { meanings } from "./error-codes.ts";

const files: readonly (readonly [path: string, what: string])[] = [
  [".docprocrc.json, .docprocrc.yaml", "Project settings, searched for from the working directory upwards."],
  ["$XDG_CONFIG_HOME/docproc/config.json, config.yaml", "User settings, by default in ~/.config."],
  ["$XDG_DATA_HOME/docproc", "The default embedded library, by default in ~/.local/share."],
  ["$XDG_STATE_HOME/docproc", "The state of interrupted uploads, by default in ~/.local/state."],
];

const environment: readonly (readonly [name: string, what: string])[] = [
  ["DOCPROC_CONFIG", "Config file to read instead of the project's."],
  [
    "AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL",
    "As in every program that uses the AWS SDK; its other variables work too.",
  ],
  ["NO_COLOR", "Disables colours if set."],
];

/**
 * Renders the manual page docproc(1) in the macros of https://man.openbsd.org/man.7.
 * @param date of the page, YYYY-MM-DD
 */
export async function manual(version: string, date: string): Promise<string> {
  const stdout = { write: () => true, once() {} };
  const program = await commandTree({ stdout, version }, async () => {}, new Set(commands));
  const sections: string[][] = [];
  const examples: string[] = [];
  for (const entry of commands) {
    const sub = program.commands.find((one) => one.name() === entry.name);
    const command = await entry.load();
    if (sub === undefined) continue;
    sections.push(commandSection(sub));
    examples.push(...examplesOf(command));
  }
  const help = program.createHelp();
  return [
    `.TH DOCPROC 1 ${date} "docproc ${escaped(version)}" "User Commands"`,
    ".SH NAME",
    "docproc \\- upload documents and build artifacts, and keep a catalog of them",
    ".SH SYNOPSIS",
    "\\fBdocproc\\fR [\\fIflags\\fR] \\fIcommand\\fR [\\fIargument\\fR ...]",
    ".SH DESCRIPTION",
    text(program.description()),
    text(`Bytes go to ${titles("storage")}, one record per document goes to ${titles("metadata")}.`),
    ".SH COMMANDS",
    ...sections.flat(),
    ".SH GLOBAL FLAGS",
    "Before or after the command.",
    ...help.visibleOptions(program).flatMap(optionItem),
    ".SH ENVIRONMENT",
    text("Flags override variables, and variables override config files."),
    ...settingNames.flatMap((name) => item(variableOf(name), sameAs(program, name))),
    ...environment.flatMap(([name, what]) => item(name, what)),
    ".SH FILES",
    "A config file holds settings under the names that docproc config lists.",
    ...files.flatMap(([path, what]) => item(path, what)),
    ".SH EXIT STATUS",
    ...item("0", "Done."),
    ...Object.entries(exitStatuses).flatMap(([code, status]) =>
      item(`${status}  ${code}`, meanings[code as ErrorCode]),
    ),
    ".SH EXAMPLES",
    "Each is a shell command.",
    ...examples,
    "",
  ].join("\n");
}

/** .PP is valid only below other text. */
function commandSection(command: Command): string[] {
  const names = [command.name(), ...command.aliases()];
  const help = command.createHelp();
  const own = help.visibleOptions(command).filter(({ long }) => long !== "--help");
  const usage = command.registeredArguments.map((argument) => usageOf(argument)).join(" ");
  const described = command.registeredArguments.filter(({ description }) => description !== "");
  return [
    `.SS ${names.map(escaped).join(", ")}`,
    `\\fBdocproc ${escaped(command.name())}\\fR${own.length > 0 ? " [\\fIflags\\fR]" : ""} ${usage}`.trim(),
    ".PP",
    text(`${command.description()}.`),
    ...described.flatMap((argument) => [".TP", usageOf(argument), text(argument.description)]),
    ...own.flatMap(optionItem),
  ];
}

function usageOf(argument: Argument): string {
  const name = `\\fI${escaped(argument.name())}\\fR${argument.variadic ? " ..." : ""}`;
  return argument.required ? name : `[${name}]`;
}

function optionItem({ flags, description }: Option): string[] {
  const [, names = "", value] = /^(.*?)(?: <(.*)>)?$/.exec(flags) ?? [];
  return [".TP", `\\fB${escaped(names)}\\fR${value ? ` \\fI${escaped(value)}\\fR` : ""}`, text(description)];
}

function sameAs(program: Command, name: string): string {
  const flag = program.options.find(({ long }) => long === flagOf(name));
  return flag ? `The same as ${flagOf(name)}.` : `The setting ${name}.`;
}

function examplesOf(command: AnyCommand): string[] {
  return command.examples.flatMap(([what, args]) => [
    ".PP",
    text(`${what}:`),
    ".PP",
    ".EX",
    code(`docproc ${args}`),
    ".EE",
  ]);
}

function item(tag: string, what: string): string[] {
  return [".TP", `\\fB${escaped(tag)}\\fR`, text(what)];
}

/** Wraps text into lines. A leading dot or apostrophe would be a macro. */
function text(words: string): string {
  const lines = escaped(words).match(/\S.{0,77}(?!\S)|\S+/g) ?? [];
  return lines.map((line) => line.trimEnd().replace(/^[.']/, "\\&$&")).join("\n");
}

/** A line to copy into a shell: groff would turn apostrophes into typographic quotes. */
function code(line: string): string {
  return `    ${escaped(line).replaceAll("'", "\\(aq").replaceAll("`", "\\(ga").replaceAll("~", "\\(ti").replaceAll("^", "\\(ha")}`;
}

/** https://man.openbsd.org/mandoc_char.7: a backslash begins an escape, and a bare hyphen is typographic. */
function escaped(words: string): string {
  return words.replaceAll("\\", "\\e").replaceAll("-", "\\-");
}

function titles(service: ServiceName): string {
  return Object.values(drivers[service])
    .map(({ title }) => title)
    .join(" or ");
}

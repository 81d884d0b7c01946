/**
 * Completes a partly typed command line. A shell asks at every Tab, so failures stay silent, nothing prompts, and a
 * catalog that does not answer at once is skipped.
 */
import type { Command, Option } from "commander";
import { type ConfigInput, loadConfig, type SettingName, settingChoices, settingNames } from "../../config/config.ts";
import { assertAgreed } from "../../config/consent.ts";
import type { DocumentRecord } from "../../document/record.ts";
import { openServices } from "../../library/services.ts";
import { configInput, type Host } from "../context.ts";
import { display } from "../output/display.ts";
import { forShell, isShell, type Suggestion, wordFrom } from "./shells.ts";

/** The commands, with the arguments and flags of those that are named by one of the words. */
export type TreeFor = (words: readonly string[]) => Promise<Command>;

/** Milliseconds that a catalog is given to answer. */
const patience = 1000;
/** Newest records that are looked at, and suggestions that are made of them: more would not be read. */
const recordsSeen = 500;
const mostSuggestions = 50;

/**
 * Answers one Tab on stdout: `docproc complete SHELL -- WORD...`, where the last word is the one that is completed and
 * may be empty. Never throws, and takes little more than {@link patience}; requests may then still be on their way.
 */
export async function complete(host: Host, shell: string, words: readonly string[], treeFor: TreeFor): Promise<void> {
  if (!isShell(shell)) return;
  const typed = words.at(-1) ?? "";
  const before = words.slice(0, -1).map((word) => wordFrom(shell, word));
  const suggestions = await suggest(host, before, wordFrom(shell, typed), treeFor).catch(() => []);
  host.stdout.write(forShell(shell, suggestions, typed));
}

async function suggest(host: Host, before: readonly string[], word: string, treeFor: TreeFor): Promise<Suggestion[]> {
  const program = await treeFor(before);
  const line = read(program, before);
  if (line === undefined) return [];
  const joined = /^(--[^=]+)=(.*)$/s.exec(line.onlyArguments ? "" : word);
  const option = joined ? optionOf(line, program, joined[1] ?? "") : line.waiting;
  if (option?.required) {
    const [prefix, value] = joined ? [`${joined[1]}=`, joined[2] ?? ""] : ["", word];
    const placeholder = /<(.+?)>/.exec(option.flags)?.[1] ?? "";
    const choices = option.argChoices ?? (settingChoices as Choices)[option.attributeName()];
    const found = await candidates({ placeholder, choices, about: option.attributeName() }, value, line, program, host);
    return found.map((one) => withPrefix(one, prefix, word));
  }
  if (joined) return [];
  if (word.startsWith("-") && !line.onlyArguments) return flags(line.command, word);
  if (line.command === program) return commandNames(program, word);
  const declared = line.command.registeredArguments;
  const argument = declared[line.arguments] ?? (declared.at(-1)?.variadic ? declared.at(-1) : undefined);
  if (argument === undefined) return [];
  const value = { placeholder: argument.name(), choices: argument.argChoices, about: "" };
  return await candidates(value, word, line, program, host);
}

type Choices = Readonly<Record<string, readonly string[] | undefined>>;

/** What the words before the one that is typed say about it. */
interface Line {
  /** The one that was named; the program while none is. */
  readonly command: Command;
  /** How many of its arguments are there. */
  readonly arguments: number;
  /** A flag that waits for its value. */
  readonly waiting: Option | undefined;
  /** After `--`. */
  readonly onlyArguments: boolean;
  /** By the names of their attributes. */
  readonly given: ReadonlyMap<string, string>;
}

/** @returns undefined where there is no such command */
function read(program: Command, words: readonly string[]): Line | undefined {
  let line: Line = { command: program, arguments: 0, waiting: undefined, onlyArguments: false, given: new Map() };
  for (const word of words) {
    if (line.waiting) {
      line = { ...line, waiting: undefined, given: new Map(line.given).set(line.waiting.attributeName(), word) };
    } else if (word === "--" && !line.onlyArguments) {
      line = { ...line, onlyArguments: true };
    } else if (/^-./.test(word) && !line.onlyArguments) {
      const [name = "", value] = word.split(/=(.*)/s);
      const option = optionOf(line, program, name);
      if (!option?.required) continue;
      if (value === undefined) line = { ...line, waiting: option };
      else line = { ...line, given: new Map(line.given).set(option.attributeName(), value) };
    } else if (line.command === program) {
      const command = commandsOf(program).find((one) => one.name() === word || one.aliases().includes(word));
      if (command === undefined) return undefined;
      line = { ...line, command };
    } else {
      line = { ...line, arguments: line.arguments + 1 };
    }
  }
  return line;
}

function optionOf({ command }: Line, program: Command, name: string): Option | undefined {
  return [...command.options, ...program.options].find((option) => option.long === name || option.short === name);
}

function commandsOf(program: Command): Command[] {
  return program.createHelp().visibleCommands(program) as Command[];
}

function commandNames(program: Command, word: string): Suggestion[] {
  const named = commandsOf(program).flatMap((one) => [one.name(), ...one.aliases()].map((name) => ({ name, one })));
  return named.filter(({ name }) => name.startsWith(word)).map(({ name, one }) => literal(name, one.description()));
}

function flags(command: Command, word: string): Suggestion[] {
  const help = command.createHelp();
  const own = help.visibleOptions(command);
  // A command may give one that all have a meaning of its own.
  const others = help.visibleGlobalOptions(command).filter(({ long }) => !own.some((option) => option.long === long));
  return [...own, ...others]
    .flatMap((option) => [option.long, option.short].map((name) => ({ name, option })))
    .filter(({ name }) => name?.startsWith(word))
    .map(({ name = "", option }) => literal(name, option.description));
}

/** A value of a flag, or an argument, as the help text names it. */
interface Wanted {
  readonly placeholder: string;
  readonly choices: readonly string[] | undefined;
  /** The attribute of the flag; empty for an argument. */
  readonly about: string;
}

async function candidates(
  { placeholder, choices, about }: Wanted,
  word: string,
  line: Line,
  program: Command,
  host: Host,
): Promise<Suggestion[]> {
  const closed = choices ?? (placeholder.includes("|") ? placeholder.split("|") : undefined);
  if (closed) return closed.filter((one) => one.startsWith(word)).map((one) => literal(one));
  if (placeholder === "command") return commandNames(program, word);
  if (/^(path|file)s?$/.test(placeholder)) {
    return [{ kind: "file", type: /directory$/i.test(about) ? "directory" : "any" }];
  }
  if (/^refs?$/.test(placeholder)) return await fromCatalog(host, line.given, word, referencesTo);
  if (placeholder === "key=value" && about !== "meta") return await fromCatalog(host, line.given, word, tagsOf);
  return [];
}

/** What is behind the `=` of a flag, with the flag, since both are one word. */
function withPrefix(suggestion: Suggestion, prefix: string, word: string): Suggestion {
  if (prefix === "") return suggestion;
  if (suggestion.kind === "file") return { ...suggestion, prefix, pattern: word };
  return { ...suggestion, text: prefix + suggestion.text };
}

/** Its name; its id when that is what was begun. */
function referencesTo(record: DocumentRecord, word: string): [text: string, description: string][] {
  const { id, name, uploadedAt } = record;
  const uploaded = uploadedAt.slice(0, 16).replace("T", " ");
  return word === ""
    ? [[name, uploaded]]
    : [
        [name, uploaded],
        [id, name],
      ];
}

function tagsOf({ tags }: DocumentRecord): [text: string, description: string][] {
  return Object.entries(tags).map(([key, value]) => [`${key}=${value}`, ""]);
}

/** What the newest records have to offer, as far as they were read in time. */
async function fromCatalog(
  host: Host,
  given: Line["given"],
  word: string,
  offers: (record: DocumentRecord, word: string) => [text: string, description: string][],
): Promise<Suggestion[]> {
  const found = new Map<string, Suggestion>();
  const giveUp = new AbortController();
  const services = openServices({
    async settings() {
      const { settings, projectUse } = await loadConfig(configInput(host, configFlags(given, host.home)));
      assertAgreed(projectUse);
      return { ...settings, timeout: patience, retries: 0 };
    },
    now: host.now,
    debug() {},
  });
  const reading = async () => {
    let seen = 0;
    const query = { ascending: false, expected: recordsSeen };
    for await (const record of await (await services.documents()).list(query, giveUp.signal)) {
      for (const [text, description] of offers(record, word)) {
        if (text.startsWith(word) && isHarmless(text) && !found.has(text)) found.set(text, literal(text, description));
      }
      if (++seen === recordsSeen || found.size >= mostSuggestions || giveUp.signal.aborted) break;
    }
  };
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, patience);
    const done = () => {
      clearTimeout(timer);
      resolve();
    };
    reading().then(done, done);
  });
  giveUp.abort();
  services.close().catch(() => {});
  return [...found.values()];
}

/** Nothing that a terminal or a list of suggestions could take for something else, nor what would be a flag. */
function isHarmless(text: string): boolean {
  return display(text) === text && !text.startsWith("-");
}

function configFlags(given: Line["given"], home: string): Pick<ConfigInput, "flags" | "file"> {
  // A shell expands it when the line is run.
  const textOf = (name: string) => given.get(name)?.replace(/^~(?=\/|$)/, home);
  const set = settingNames.map((name) => [name, textOf(name)] as const).filter(([, value]) => value !== undefined);
  return { flags: Object.fromEntries(set) as Partial<Record<SettingName, string>>, file: textOf("config") };
}

function literal(text: string, description = ""): Suggestion {
  return { kind: "literal", text, description: [{ type: "text", text: display(description) }] };
}

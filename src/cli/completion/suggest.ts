/**
 * Completes a partly typed command line. A shell asks at every Tab, so failures stay silent, nothing prompts, and a
 * catalog that does not answer at once is skipped.
 */
import type { Command, Option } from "commander";
import { type ConfigInput, loadConfig } from "../../config/config.ts";
import { assertAgreed } from "../../config/consent.ts";
import { settingChoices, settingNames } from "../../config/settings.ts";
import { folderOfPath } from "../../document/path.ts";
import type { DocumentRecord } from "../../document/record.ts";
import { DocumentLibrary } from "../../library/library.ts";
import { configInput, type Host } from "../context.ts";
import { display } from "../output/display.ts";
import { folderByFolder } from "./folders.ts";
import { forShell, isShell, type Suggestion, wordFrom } from "./shells.ts";

/** Builds the command tree, with arguments and flags of the commands among the words. */
export type TreeFor = (words: readonly string[]) => Promise<Command>;

/** Milliseconds that the catalog may take. */
const catalogTimeout = 1000;
/** Limits: newest records to read, and suggestions to show. */
const maxRecords = 500;
const maxSuggestions = 50;

/**
 * Completes for one Tab, on stdout: `docproc complete SHELL -- WORD...`; the last word, possibly empty, is completed.
 * Never throws, and takes little more than {@link catalogTimeout}; requests may still be pending then.
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
    const choices = option.argChoices ?? settingChoices[option.attributeName()];
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

/** The state of the command line before the typed word. */
interface CommandLine {
  /** The named command, or the program itself. */
  readonly command: Command;
  /** The number of its arguments so far. */
  readonly arguments: number;
  /** A flag whose value comes next. */
  readonly waiting: Option | undefined;
  /** True after `--`. */
  readonly onlyArguments: boolean;
  /** Flag values by attribute name. */
  readonly given: ReadonlyMap<string, string>;
}

/** @returns undefined for an unknown command */
function read(program: Command, words: readonly string[]): CommandLine | undefined {
  let line: CommandLine = {
    command: program,
    arguments: 0,
    waiting: undefined,
    onlyArguments: false,
    given: new Map(),
  };
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

function optionOf({ command }: CommandLine, program: Command, name: string): Option | undefined {
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
  // A command may redefine a global flag.
  const others = help.visibleGlobalOptions(command).filter(({ long }) => !own.some((option) => option.long === long));
  return [...own, ...others]
    .flatMap((option) => [option.long, option.short].map((name) => ({ name, option })))
    .filter(({ name }) => name?.startsWith(word))
    .map(({ name = "", option }) => literal(name, option.description));
}

/** The value of a flag, or an argument, as the help text names it. */
interface ExpectedValue {
  readonly placeholder: string;
  readonly choices: readonly string[] | undefined;
  /** The attribute of the flag; empty for an argument. */
  readonly about: string;
}

async function candidates(
  { placeholder, choices, about }: ExpectedValue,
  word: string,
  line: CommandLine,
  program: Command,
  host: Host,
): Promise<Suggestion[]> {
  const closed = choices ?? (placeholder.includes("|") ? placeholder.split("|") : undefined);
  if (closed) return closed.filter((one) => one.startsWith(word)).map((one) => literal(one));
  if (placeholder === "command") return commandNames(program, word);
  if (/^(path|file)s?$/.test(placeholder)) {
    return [{ kind: "file", type: /directory$/i.test(about) ? "directory" : "any" }];
  }
  if (/^(refs?|what)$/.test(placeholder) || (placeholder === "glob" && about === "path")) {
    return await fromCatalog(host, line.given, word, referencesTo, true);
  }
  if (placeholder === "folder") return await fromCatalog(host, line.given, word, foldersOf, true);
  if (placeholder === "name" && about === "branch") return await fromCatalog(host, line.given, word, branchOf);
  if (/^key(=value|\[=value\])$/.test(placeholder) && about !== "meta") {
    return await fromCatalog(host, line.given, word, tagsOf);
  }
  return [];
}

/** After `--flag=` the suggestion includes the flag, since both are one word. */
function withPrefix(suggestion: Suggestion, prefix: string, word: string): Suggestion {
  if (prefix === "") return suggestion;
  if (suggestion.kind === "file") return { ...suggestion, prefix, pattern: word };
  return { ...suggestion, text: prefix + suggestion.text };
}

/** The document's path; its id too, once something is typed. */
function referencesTo(record: DocumentRecord, word: string): [text: string, description: string][] {
  const { id, path, uploadedAt } = record;
  const uploaded = uploadedAt.slice(0, 16).replace("T", " ");
  return word === ""
    ? [[path, uploaded]]
    : [
        [path, uploaded],
        [id, path],
      ];
}

function foldersOf({ path }: DocumentRecord): [text: string, description: string][] {
  const folder = folderOfPath(path);
  return folder === "" ? [] : [[`${folder}/`, ""]];
}

function branchOf({ provenance }: DocumentRecord): [text: string, description: string][] {
  const branch = provenance?.git?.branch;
  return branch ? [[branch, ""]] : [];
}

function tagsOf({ tags }: DocumentRecord): [text: string, description: string][] {
  return Object.entries(tags).map(([key, value]) => [`${key}=${value}`, ""]);
}

/**
 * Suggestions from the newest records that were read in time.
 * @param byFolder whether to complete one folder after the other
 */
async function fromCatalog(
  host: Host,
  given: CommandLine["given"],
  word: string,
  offers: (record: DocumentRecord, word: string) => [text: string, description: string][],
  byFolder = false,
): Promise<Suggestion[]> {
  const found = new Map<string, Suggestion>();
  const giveUp = new AbortController();
  let library: DocumentLibrary | undefined;
  const reading = async () => {
    const { settings, projectUse } = await loadConfig(configInput(host, configFlags(given, host.home)));
    assertAgreed(projectUse);
    library = new DocumentLibrary({ ...settings, timeout: catalogTimeout, retries: 0 }, { now: host.now, debug() {} });
    let seen = 0;
    const query = { ascending: false, expected: maxRecords };
    for await (const record of await library.list(query, giveUp.signal)) {
      for (const [text, description] of offers(record, word)) {
        if (text.startsWith(word) && isSafe(text) && !found.has(text)) found.set(text, literal(text, description));
      }
      const enough = !byFolder && found.size >= maxSuggestions;
      if (++seen === maxRecords || enough || giveUp.signal.aborted) break;
    }
  };
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, catalogTimeout);
    const done = () => {
      clearTimeout(timer);
      resolve();
    };
    reading().then(done, done);
  });
  giveUp.abort();
  library?.close().catch(() => {});
  const all = byFolder
    ? [...folderByFolder([...found.keys()], word)].map(([text, path]) =>
        text === path ? found.get(path) : literal(text),
      )
    : [...found.values()];
  return all.filter((one) => one !== undefined).slice(0, maxSuggestions);
}

/** Refuses text that a terminal or a suggestion list could misinterpret, and text that looks like a flag. */
function isSafe(text: string): boolean {
  return display(text) === text && !text.startsWith("-");
}

function configFlags(given: CommandLine["given"], home: string): Pick<ConfigInput, "flags" | "file"> {
  // The shell expands the tilde only when the line is run.
  const textOf = (name: string) => given.get(name)?.replace(/^~(?=\/|$)/, home);
  const set = settingNames.map((name) => [name, textOf(name)] as const).filter(([, value]) => value !== undefined);
  return { flags: Object.fromEntries(set), file: textOf("config") };
}

function literal(text: string, description = ""): Suggestion {
  return { kind: "literal", text, description: [{ type: "text", text: display(description) }] };
}

/** Every command, in the order of the help text. Only the command that runs is loaded. */
import type { AnyCommand } from "./command.ts";

export interface CommandEntry {
  readonly name: string;
  readonly aliases?: readonly string[];
  /** One line for the list of commands. */
  readonly summary: string;
  load(): Promise<AnyCommand>;
}

export const commands: readonly CommandEntry[] = [
  {
    name: "init",
    summary: "Create the bucket, table or directory, and a config file for it",
    load: async () => (await import("./init.ts")).init,
  },
  {
    name: "upload",
    aliases: ["put"],
    summary: "Upload files to the library",
    load: async () => (await import("./upload/upload.ts")).upload,
  },
  {
    name: "list",
    aliases: ["ls"],
    summary: "List documents, newest first",
    load: async () => (await import("./list.ts")).list,
  },
  {
    name: "show",
    summary: "Show the record of a document",
    load: async () => (await import("./show.ts")).show,
  },
  {
    name: "tag",
    summary: "Set or remove tags of a document",
    load: async () => (await import("./tag.ts")).tag,
  },
  {
    name: "stats",
    summary: "Count documents by type, tag and day",
    load: async () => (await import("./stats.ts")).stats,
  },
  {
    name: "url",
    summary: "Print a temporary link to a document",
    load: async () => (await import("./url.ts")).url,
  },
  {
    name: "open",
    summary: "Open a document on the desktop",
    load: async () => (await import("./open.ts")).open,
  },
  {
    name: "download",
    aliases: ["get"],
    summary: "Download and check documents",
    load: async () => (await import("./download/download.ts")).download,
  },
  {
    name: "cat",
    summary: "Write a document to standard output",
    load: async () => (await import("./cat.ts")).cat,
  },
  {
    name: "register",
    summary: "Record an object already in the bucket",
    load: async () => (await import("./register.ts")).register,
  },
  {
    name: "copy",
    summary: "Copy documents between libraries",
    load: async () => (await import("./copy/copy.ts")).copy,
  },
  {
    name: "export",
    summary: "Export records as lines of JSON",
    load: async () => (await import("./records/export.ts")).exportRecords,
  },
  {
    name: "import",
    summary: "Import exported records whose bytes are in the storage",
    load: async () => (await import("./records/import.ts")).importRecords,
  },
  {
    name: "verify",
    summary: "Check that stored documents are intact",
    load: async () => (await import("./verify.ts")).verify,
  },
  {
    name: "delete",
    aliases: ["rm"],
    summary: "Delete documents and their bytes",
    load: async () => (await import("./delete.ts")).remove,
  },
  {
    name: "doctor",
    summary: "Check the library for problems; --repair cleans up leftovers",
    load: async () => (await import("./doctor.ts")).doctor,
  },
  {
    name: "destroy",
    summary: "Remove what init created, if empty",
    load: async () => (await import("./destroy.ts")).destroy,
  },
  {
    name: "config",
    summary: "Show every setting and its origin",
    load: async () => (await import("./config.ts")).config,
  },
  {
    name: "trust",
    summary: "Trust the settings of a project file",
    load: async () => (await import("./trust.ts")).trust,
  },
  {
    name: "policy",
    summary: "Print the IAM policy for a role",
    load: async () => (await import("./policy.ts")).policy,
  },
  {
    name: "completion",
    summary: "Print a shell completion script",
    load: async () => (await import("./completion.ts")).completion,
  },
];

/** Words that ask for help, which may be about any command. */
const helpWords = ["help", "-h", "--help"];

/**
 * The commands that a command line may mean: those named anywhere in it. Parsing needs the arguments and flags of no
 * others; all of them when none is named or help is requested.
 */
export function commandsIn(argv: readonly string[]): ReadonlySet<CommandEntry> {
  const named = commandsNamed(argv);
  return named.size === 0 || helpWords.some((word) => argv.includes(word)) ? new Set(commands) : named;
}

/** The commands with a name or alias among the words. */
export function commandsNamed(argv: readonly string[]): ReadonlySet<CommandEntry> {
  const words = new Set(argv);
  return new Set(commands.filter(({ name, aliases = [] }) => [name, ...aliases].some((word) => words.has(word))));
}

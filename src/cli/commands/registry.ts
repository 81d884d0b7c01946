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
    summary: "Make what documents are stored in, and a config file that names it",
    load: async () => (await import("./init.ts")).init,
  },
  {
    name: "upload",
    aliases: ["put"],
    summary: "Store documents and record them in the catalog",
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
    summary: "Show one document",
    load: async () => (await import("./show.ts")).show,
  },
  {
    name: "tag",
    summary: "Set and remove tags of a document",
    load: async () => (await import("./tag.ts")).tag,
  },
  {
    name: "stats",
    summary: "Count documents and bytes: by type, by tag, by day",
    load: async () => (await import("./stats.ts")).stats,
  },
  {
    name: "url",
    summary: "Print a link to a document that works for a while and without credentials",
    load: async () => (await import("./url.ts")).url,
  },
  {
    name: "open",
    summary: "Open a copy of a document on this desktop",
    load: async () => (await import("./open.ts")).open,
  },
  {
    name: "download",
    aliases: ["get"],
    summary: "Write documents to files, checked against their records",
    load: async () => (await import("./download.ts")).download,
  },
  {
    name: "cat",
    summary: "Write a document to standard output, checked against its record",
    load: async () => (await import("./cat.ts")).cat,
  },
  {
    name: "register",
    summary: "Record an object that is in the bucket already, and leave it where it is",
    load: async () => (await import("./register.ts")).register,
  },
  {
    name: "copy",
    summary: "Copy documents with their ids into the library of a profile, or back",
    load: async () => (await import("./copy/copy.ts")).copy,
  },
  {
    name: "export",
    summary: "Write the records of documents, one a line",
    load: async () => (await import("./records/export.ts")).exportRecords,
  },
  {
    name: "import",
    summary: "Take exported records into the catalog, if their bytes are there",
    load: async () => (await import("./records/import.ts")).importRecords,
  },
  {
    name: "verify",
    summary: "Check that stored documents are what was uploaded",
    load: async () => (await import("./verify.ts")).verify,
  },
  {
    name: "delete",
    aliases: ["rm"],
    summary: "Delete documents: their records, then their bytes",
    load: async () => (await import("./delete.ts")).remove,
  },
  {
    name: "doctor",
    summary: "Look for what is not as it should be; --repair removes garbage",
    load: async () => (await import("./doctor.ts")).doctor,
  },
  {
    name: "destroy",
    summary: "Remove what init made, once it is empty",
    load: async () => (await import("./destroy.ts")).destroy,
  },
  {
    name: "config",
    summary: "Show every setting and where it comes from",
    load: async () => (await import("./config.ts")).config,
  },
  {
    name: "trust",
    summary: "Agree to a project file that says where documents and credentials go",
    load: async () => (await import("./trust.ts")).trust,
  },
  {
    name: "policy",
    summary: "Print the IAM policy that uploading, reading or everything needs",
    load: async () => (await import("./policy.ts")).policy,
  },
  {
    name: "completion",
    summary: "Print a script that lets a shell complete docproc's command lines",
    load: async () => (await import("./completion.ts")).completion,
  },
];

/** Words after which help may be about any of the commands. */
const helpWords = ["help", "-h", "--help"];

/**
 * The commands that this command line can be about: those whose name stands anywhere in it. A description of another
 * one's arguments and flags is not needed to parse it; where none is named, or help is asked for, all of them are.
 */
export function commandsIn(argv: readonly string[]): ReadonlySet<CommandEntry> {
  const named = commandsNamed(argv);
  return named.size === 0 || helpWords.some((word) => argv.includes(word)) ? new Set(commands) : named;
}

/** The commands whose name, or another name of theirs, is one of the words. */
export function commandsNamed(argv: readonly string[]): ReadonlySet<CommandEntry> {
  const words = new Set(argv);
  return new Set(commands.filter(({ name, aliases = [] }) => [name, ...aliases].some((word) => words.has(word))));
}

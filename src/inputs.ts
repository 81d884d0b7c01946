/** What the paths of a command line mean: files, directories to walk, lists to read, standard input. */
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import type { Readable } from "node:stream";
import { text as readText } from "node:stream/consumers";
import { compareBytes } from "./document.ts";
import { DocprocError, fromSystemError, throwIfCancelled } from "./errors.ts";
import { globMatcher } from "./glob.ts";
import { openFile, openStdin, type Source } from "./source.ts";

/** One thing to upload, or the reason why a path is none. */
export interface Input {
  /** As the user would type it. */
  readonly label: string;
  /** Bytes, where that was asked for and is known. */
  readonly size: number | null;
  /** @throws what makes this input impossible to read */
  open(): Promise<Source>;
}

/** What a walk left out, by reason. */
export interface Skipped {
  hidden: number;
  symlinks: number;
  /** By `--exclude`. */
  excluded: number;
  /** Sockets, devices, named pipes. */
  special: number;
}

export interface InputOptions {
  /** Files, directories, and `-` for standard input. */
  readonly paths: readonly string[];
  /** A file with more of them, or `-`. */
  readonly filesFrom: string | undefined;
  readonly cwd: string;
  readonly stdin: () => Readable & { readonly isTTY?: boolean };
  readonly recursive: boolean;
  readonly exclude: readonly string[];
  /** Find out sizes in advance; it costs a system call a file. */
  readonly withSizes: boolean;
  readonly signal: AbortSignal;
}

/**
 * Finds every input in the order given; the files of a directory in byte order.
 * @throws NOT_FOUND when there is none: a build that made nothing should not look like one that worked
 */
export async function findInputs(options: InputOptions): Promise<{ inputs: Input[]; skipped: Skipped }> {
  const { filesFrom, cwd, stdin } = options;
  const listed = filesFrom === undefined ? [] : await readPathList(filesFrom, cwd, stdin);
  const skipped: Skipped = { hidden: 0, symlinks: 0, excluded: 0, special: 0 };
  const isExcluded = excludeMatcher(options.exclude);
  const inputs: Input[] = [];
  for (const path of [...options.paths, ...listed]) {
    throwIfCancelled(options.signal);
    if (path === "-") {
      inputs.push({ label: "-", size: null, open: async () => openInput(options) });
    } else if (isExcluded(basename(resolve(cwd, path)), path)) {
      skipped.excluded += 1;
    } else {
      for await (const input of fromPath(path, skipped, isExcluded, options)) inputs.push(input);
    }
  }
  if (inputs.length > 0) return { inputs, skipped };
  throw new DocprocError("NOT_FOUND", "There are no files to upload.", {
    hint: `Left out: ${describeSkipped(skipped) || "nothing"}.`,
  });
}

/**
 * Reads paths from a file, one a line; `-` reads them from stdin. Nothing is a comment, since a name may
 * begin with anything.
 */
async function readPathList(file: string, cwd: string, stdin: () => Readable): Promise<string[]> {
  let list: string;
  try {
    list = file === "-" ? await readText(stdin()) : await readFile(resolve(cwd, file), "utf8");
  } catch (error) {
    throw fromSystemError(error, file);
  }
  if (list.includes("\0")) {
    throw new DocprocError("USAGE", `${file} holds NUL characters.`, { hint: "Give the paths a line each." });
  }
  return list.split(/\r?\n/).filter((line) => line !== "");
}

type IsExcluded = (name: string, path: string) => boolean;

/** A glob without a slash is for names at any depth, one with a slash for the path below what was given. */
function excludeMatcher(globs: readonly string[]): IsExcluded {
  const matchers = globs.map((glob) => {
    const bare = glob.replace(/\/$/, "");
    return { matches: globMatcher(bare), forPath: bare.includes("/") };
  });
  return (name, path) => matchers.some(({ matches, forPath }) => matches(forPath ? path : name));
}

function openInput({ stdin }: InputOptions): Source {
  const stream = stdin();
  if (stream.isTTY) {
    throw new DocprocError("USAGE", "There is nothing on standard input: it is the terminal.", {
      hint: "Pipe something into it: command | docproc upload - --name NAME",
    });
  }
  return openStdin(stream);
}

async function* fromPath(
  path: string,
  skipped: Skipped,
  isExcluded: IsExcluded,
  options: InputOptions,
): AsyncIterable<Input> {
  if (path === "") {
    const hint = "Perhaps a variable of the script is not set.";
    yield impossible('""', new DocprocError("USAGE", "An empty path was given.", { hint }));
    return;
  }
  const absolute = resolve(options.cwd, path);
  // stat() follows a link that the user named; the walk below follows none, so it meets no cycle.
  const seen = await stat(absolute).catch((error: unknown) => fromSystemError(error, path));
  if (seen instanceof DocprocError) yield impossible(path, seen);
  else if (!seen.isDirectory() || !options.recursive) {
    yield { label: path, size: seen.isFile() ? seen.size : null, open: () => openFile(absolute, path) };
  } else {
    yield* walk({ absolute, label: path.replace(/\/+$/, "") || path, below: "" }, skipped, isExcluded, options);
  }
}

/** A directory of a walk: where it is, as the user would type it, and relative to what they gave. */
interface Place {
  readonly absolute: string;
  readonly label: string;
  readonly below: string;
}

async function* walk(
  directory: Place,
  skipped: Skipped,
  isExcluded: IsExcluded,
  options: InputOptions,
): AsyncIterable<Input> {
  throwIfCancelled(options.signal);
  const entries = await readdir(directory.absolute, { withFileTypes: true }).catch((error: unknown) =>
    fromSystemError(error, directory.label),
  );
  if (entries instanceof DocprocError) {
    yield impossible(directory.label, entries);
    return;
  }
  for (const entry of entries.sort((a, b) => compareBytes(a.name, b.name))) {
    const place: Place = {
      absolute: join(directory.absolute, entry.name),
      label: `${directory.label === "/" ? "" : directory.label}/${entry.name}`,
      below: directory.below === "" ? entry.name : `${directory.below}/${entry.name}`,
    };
    if (entry.name.startsWith(".")) skipped.hidden += 1;
    else if (isExcluded(entry.name, place.below)) skipped.excluded += 1;
    else if (entry.isSymbolicLink()) skipped.symlinks += 1;
    else if (entry.isDirectory()) yield* walk(place, skipped, isExcluded, options);
    else if (entry.isFile()) yield await fileOfWalk(place, options.withSizes);
    else skipped.special += 1;
  }
}

async function fileOfWalk({ absolute, label }: Place, withSizes: boolean): Promise<Input> {
  const size = withSizes
    ? await stat(absolute).then(
        (seen) => seen.size,
        () => null,
      )
    : null;
  // Found as a file, and opened much later: by then somebody may have put a link to their favourite secret there.
  return { label, size, open: () => openFile(absolute, label, false) };
}

function impossible(label: string, error: DocprocError): Input {
  return {
    label,
    size: null,
    open() {
      return Promise.reject(error);
    },
  };
}

/** Bytes of all inputs, or null where one is not known. */
export function totalSize(inputs: readonly Input[]): number | null {
  let bytes = 0;
  for (const { size } of inputs) {
    if (size === null) return null;
    bytes += size;
  }
  return bytes;
}

/** For example `2 hidden, 1 symlink`; empty when nothing was left out. */
export function describeSkipped(skipped: Skipped): string {
  return Object.entries(skipped)
    .filter(([, count]) => count > 0)
    .map(([reason, count]) => `${count} ${count === 1 ? reason.replace(/s$/, "") : reason}`)
    .join(", ");
}

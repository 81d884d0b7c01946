/** Resolves the paths of a command line: files, directories to walk, lists to read, standard input. */
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join, resolve, sep } from "node:path";
import type { Readable } from "node:stream";
import { text as readText } from "node:stream/consumers";
import { DocprocError, fromSystemError, throwIfCancelled } from "../../../core/errors.ts";
import { globMatcher } from "../../../document/glob.ts";
import { compareBytes } from "../../../document/record.ts";
import { type Bounds, openBounds, outsideOf } from "../../../files/bounds.ts";
import { openFile, openStdin, type Source } from "../../../transfer/source.ts";

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
  /** Whether NUL, and not the end of a line, is what ends a path in it. */
  readonly nul: boolean;
  readonly cwd: string;
  readonly stdin: () => Readable & { readonly isTTY?: boolean };
  readonly recursive: boolean;
  readonly exclude: readonly string[];
  /** A directory that every file has to be in, links resolved; undefined for anywhere. */
  readonly within?: string | undefined;
  /** Absolute paths of directories that are written to meanwhile; a walk goes into none of them. */
  readonly own: readonly string[];
  readonly signal: AbortSignal;
}

export interface FoundInputs {
  /** In the order given, the files of a directory in byte order. Found while they are taken, and to be taken once. */
  readonly inputs: AsyncIterable<Input>;
  /** What was left out so far; final when the inputs are at their end. */
  readonly skipped: Skipped;
  /** False for exactly one input. */
  readonly several: boolean;
  /**
   * Counts all of them in a walk of its own, which is ahead of the one above. One that is interrupted tells nothing.
   * @param withSizes costs a system call a file; without it `bytes` is null, as where one's size is not known
   */
  count(withSizes: boolean, onCounted: (files: number, bytes: number | null) => void): void;
}

/**
 * Begins to find inputs; the rest is found when it is needed, so that any number of them takes the same memory.
 * @throws NOT_FOUND when there is none: a build that made nothing should not look like one that worked
 */
export async function findInputs(options: InputOptions): Promise<FoundInputs> {
  const { filesFrom, nul, cwd, stdin, within } = options;
  const bounds = within === undefined ? undefined : await openBounds(resolve(cwd, within), within);
  const listed = filesFrom === undefined ? [] : await readPathList(filesFrom, nul, cwd, stdin);
  const all = { ...options, bounds, paths: [...options.paths, ...listed.map(asName)] };
  const skipped = nothingSkipped();
  const found = search(all, skipped, false);
  const first = await found.next();
  if (first.done) {
    throw new DocprocError("NOT_FOUND", "There are no files to upload.", {
      hint: `Left out: ${describeSkipped(skipped) || "nothing"}.`,
    });
  }
  const second = await found.next();
  return {
    inputs: (async function* () {
      yield first.value;
      if (second.done) return;
      yield second.value;
      yield* found;
    })(),
    skipped,
    several: !second.done,
    count(withSizes, onCounted) {
      // What keeps it from going on is said of the walk that uploads.
      countAll(all, withSizes).then(
        ({ files, bytes }) => onCounted(files, bytes),
        () => {},
      );
    },
  };
}

/** In a list - is a file of that name: standard input may be the list. */
function asName(path: string): string {
  return path === "-" ? "./-" : path;
}

async function countAll(options: Searched, withSizes: boolean) {
  let files = 0;
  let bytes: number | null = withSizes ? 0 : null;
  for await (const { size } of search(options, nothingSkipped(), withSizes)) {
    files += 1;
    bytes = bytes === null || size === null ? null : bytes + size;
  }
  return { files, bytes };
}

function nothingSkipped(): Skipped {
  return { hidden: 0, symlinks: 0, excluded: 0, special: 0 };
}

/** Where to search. */
interface Searched extends InputOptions {
  readonly bounds: Bounds | undefined;
}

/** What a walk needs to know at every step. */
interface Search extends Searched {
  readonly skipped: Skipped;
  readonly isExcluded: IsExcluded;
  readonly withSizes: boolean;
}

async function* search(given: Searched, skipped: Skipped, withSizes: boolean): AsyncGenerator<Input, void> {
  const options: Search = { ...given, skipped, isExcluded: excludeMatcher(given.exclude), withSizes };
  for (const path of options.paths) {
    throwIfCancelled(options.signal);
    if (path === "-") {
      yield { label: "-", size: null, open: async () => openInput(options) };
    } else if (options.isExcluded(basename(resolve(options.cwd, path)), path)) {
      skipped.excluded += 1;
    } else {
      yield* fromPath(path, options);
    }
  }
}

/**
 * Reads paths from a file, one a line; `-` reads them from stdin. Nothing is a comment, since a name may
 * begin with anything.
 */
async function readPathList(file: string, nul: boolean, cwd: string, stdin: () => Readable): Promise<string[]> {
  let list: string;
  try {
    list = file === "-" ? await readText(stdin()) : await readFile(resolve(cwd, file), "utf8");
  } catch (error) {
    throw fromSystemError(error, file);
  }
  if (nul) return list.split("\0").filter((path) => path !== "");
  if (list.includes("\0")) {
    throw new DocprocError("USAGE", `${file} holds NUL characters.`, {
      hint: "Add --null, or give the paths a line each.",
    });
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

async function* fromPath(path: string, options: Search): AsyncIterable<Input> {
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
    const open = () => openFile(absolute, path, { bounds: options.bounds });
    yield { label: path, size: seen.isFile() ? seen.size : null, open };
  } else {
    yield* walk({ absolute, label: path.replace(/\/+$/, "") || path, below: "" }, options);
  }
}

/** A directory of a walk: where it is, as the user would type it, and relative to what they gave. */
interface Place {
  readonly absolute: string;
  readonly label: string;
  readonly below: string;
}

async function* walk(directory: Place, options: Search): AsyncIterable<Input> {
  const { skipped, isExcluded, own, bounds } = options;
  throwIfCancelled(options.signal);
  // What is uploaded from here would be found again below the library, and uploaded, without an end.
  if (own.some((path) => directory.absolute === path || directory.absolute.startsWith(`${path}${sep}`))) {
    skipped.excluded += 1;
    return;
  }
  const entries = await entriesOf(directory, bounds).catch((error: unknown) => fromSystemError(error, directory.label));
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
    else if (entry.isDirectory()) yield* walk(place, options);
    else if (entry.isFile()) yield await fileOfWalk(place, options);
    else skipped.special += 1;
  }
}

/** What is found outside of the bounds, by a link that the user named or one that was put there since, is not listed. */
async function entriesOf({ absolute, label }: Place, bounds: Bounds | undefined) {
  if (bounds && !(await bounds.holds(absolute))) throw outsideOf(bounds, label);
  return await readdir(absolute, { withFileTypes: true });
}

async function fileOfWalk({ absolute, label }: Place, { withSizes, bounds }: Search): Promise<Input> {
  const size = withSizes
    ? await stat(absolute).then(
        (seen) => seen.size,
        () => null,
      )
    : null;
  // Found as a file, and opened much later: by then a link to a secret may be there.
  return { label, size, open: () => openFile(absolute, label, { follow: false, bounds }) };
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

/** For example `2 hidden, 1 symlink`; empty when nothing was left out. */
export function describeSkipped(skipped: Skipped): string {
  return Object.entries(skipped)
    .filter(([, count]) => count > 0)
    .map(([reason, count]) => `${count} ${count === 1 ? reason.replace(/s$/, "") : reason}`)
    .join(", ");
}

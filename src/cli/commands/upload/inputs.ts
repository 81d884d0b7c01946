/** Resolves the paths of a command line: files, directories to walk, lists to read, standard input. */
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join, resolve, sep } from "node:path";
import type { Readable } from "node:stream";
import { text as readText } from "node:stream/consumers";
import { DocprocError, fromSystemError, throwIfCancelled, toDocprocError } from "../../../core/errors.ts";
import { globMatcher } from "../../../document/glob.ts";
import { documentPath, joinPath, relativePath, typedName } from "../../../document/path.ts";
import { compareBytes } from "../../../document/record.ts";
import { type Bounds, openBounds, outsideOf } from "../../../files/bounds.ts";
import { openFile, openStdin, type Source } from "../../../transfer/source.ts";
import { TakenPaths } from "./taken.ts";

/** One thing to upload, or the reason why a path is not. */
export interface Input {
  /** As the user would type it. */
  readonly label: string;
  /** Of its document, as `cp -r` and `tar` have it; empty when {@link open} fails for certain. */
  readonly path: string;
  /** Bytes; null when unknown or not requested. */
  readonly size: number | null;
  /** @throws the reason why the input cannot be read */
  open(): Promise<Source>;
}

/** Entries that a walk skipped, by reason. */
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
  /** A file with more paths, or `-`. */
  readonly filesFrom: string | undefined;
  /** Whether paths in it end with NUL instead of a line end. */
  readonly nul: boolean;
  readonly cwd: string;
  readonly stdin: () => Readable & { readonly isTTY?: boolean };
  readonly recursive: boolean;
  readonly exclude: readonly string[];
  /** The path of the document, for one input. */
  readonly name?: string | undefined;
  /** The folder of the library that all paths are in. */
  readonly into?: string | undefined;
  /** Whether files keep their paths as typed. */
  readonly relative: boolean;
  /** The directory that every file must be in after resolving links; undefined: anywhere. */
  readonly within?: string | undefined;
  /** Absolute paths of docproc's own directories, which a walk must not enter. */
  readonly own: readonly string[];
  readonly signal: AbortSignal;
}

export interface FoundInputs {
  /** In the order given, the files of a directory in byte order. Found lazily, to be read once. */
  readonly inputs: AsyncIterable<Input>;
  /** Entries skipped so far; final at the end of the inputs. */
  readonly skipped: Skipped;
  /**
   * Counts all inputs in a separate walk ahead of the main one. Reports nothing if it fails.
   * @param withSizes costs a system call per file; without it, or with any unknown size, `bytes` is null
   */
  count(withSizes: boolean, onCounted: (files: number, bytes: number | null) => void): void;
}

/**
 * Starts to find inputs; the rest is found on demand, so that any number needs the same memory.
 * @throws NOT_FOUND when there are none, so that a build without output does not look like a success
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
      hint: `Skipped: ${describeSkipped(skipped) || "nothing"}.`,
    });
  }
  return {
    inputs: (async function* () {
      yield first.value;
      yield* found;
    })(),
    skipped,
    count(withSizes, onCounted) {
      // The main walk reports the error.
      countAll(all, withSizes).then(
        ({ files, bytes }) => onCounted(files, bytes),
        () => {},
      );
    },
  };
}

/** In a list, - is a file of that name, since standard input may be the list. */
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

/** The context of a walk. */
interface Search extends Searched {
  readonly skipped: Skipped;
  readonly isExcluded: IsExcluded;
  readonly withSizes: boolean;
  readonly taken: TakenPaths;
}

async function* search(given: Searched, skipped: Skipped, withSizes: boolean): AsyncGenerator<Input, void> {
  const taken = new TakenPaths(
    given.paths.map((path) => beginningOf(path, given)),
    given.cwd,
  );
  const options: Search = { ...given, skipped, isExcluded: excludeMatcher(given.exclude), withSizes, taken };
  for (const path of options.paths) {
    throwIfCancelled(options.signal);
    if (path === "-") {
      const place = { label: path, path: beginningOf(path, options), beginning: path };
      yield input(place, { size: null, open: async () => openInput(options) }, options);
    } else if (options.isExcluded(basename(resolve(options.cwd, path)), path)) {
      skipped.excluded += 1;
    } else {
      yield* fromPath(path, options);
    }
  }
}

/**
 * Reads paths from a file, one per line; `-` reads them from stdin. There are no comments, since a name may begin with
 * anything.
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
    throw new DocprocError("USAGE", `${file} contains NUL characters.`, {
      hint: "Add --null, or write one path per line.",
    });
  }
  return list.split(/\r?\n/).filter((line) => line !== "");
}

type IsExcluded = (name: string, path: string) => boolean;

/** A glob without a slash matches names at any depth, one with a slash the path below the given directory. */
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
    throw new DocprocError("USAGE", "Standard input is a terminal.", {
      hint: "Pipe data into it: command | docproc upload - --name NAME",
    });
  }
  return openStdin(stream);
}

/** What the paths of a named input begin with, without `--into`; empty for a directory whose own name is left out. */
function beginningOf(path: string, { name, relative }: InputOptions): string {
  return (name ?? (relative ? relativePath(path) : typedName(path))).normalize("NFC");
}

/** Where an input is on the command line and in the library. */
interface Place {
  readonly label: string;
  /** Of its document, without `--into`. */
  readonly path: string;
  /** See {@link beginningOf}. */
  readonly beginning: string;
}

/** An input, unless its path is none or another file's. */
function input(
  { label, path: below, beginning }: Place,
  { size, open }: Pick<Input, "size" | "open">,
  { into, name, relative, taken }: Search,
): Input {
  let path: string;
  try {
    path = documentPath(joinPath(into, below));
  } catch (error) {
    const hint = `Upload it alone and choose ${name === undefined ? "a" : "another"} path with --name.`;
    return unreadableInput(label, toDocprocError(error).withHint(hint));
  }
  const other = taken.take(beginning, path, label);
  if (other === undefined) return { label, path, size, open };
  const hint = relative
    ? "Upload it separately, into another folder with --into."
    : "Add --relative to keep the paths as typed, or upload it separately, into another folder with --into.";
  const message = `${label} would get the same path as ${other}: ${path}.`;
  return unreadableInput(label, new DocprocError("CONFLICT", message, { hint }));
}

async function* fromPath(path: string, options: Search): AsyncIterable<Input> {
  if (path === "") {
    const hint = "Check whether a variable of the script is unset.";
    yield unreadableInput('""', new DocprocError("USAGE", "A path is empty.", { hint }));
    return;
  }
  const absolute = resolve(options.cwd, path);
  // stat() follows a link that the user named; the walk follows none, so it cannot loop.
  const seen = await stat(absolute).catch((error: unknown) => failureOf(error, path));
  const beginning = beginningOf(path, options);
  if (seen instanceof DocprocError) yield unreadableInput(path, seen);
  else if (!seen.isDirectory() || !options.recursive) {
    const open = () => openFile(absolute, path, { bounds: options.bounds });
    // Opening a directory says that it is one, which matters more than its name.
    if (seen.isDirectory()) yield { label: path, path: "", size: null, open };
    else
      yield input(
        { label: path, path: beginning, beginning },
        { size: seen.isFile() ? seen.size : null, open },
        options,
      );
  } else {
    const label = path.replace(sep === "/" ? /\/+$/ : /[\\/]+$/, "") || path;
    yield* walk({ absolute, label, path: beginning, beginning, below: "" }, options);
  }
}

/** A file or directory of a walk. */
interface WalkPlace extends Place {
  readonly absolute: string;
  /** The path below the named directory. */
  readonly below: string;
}

async function* walk(directory: WalkPlace, options: Search): AsyncIterable<Input> {
  const { skipped, isExcluded, own, bounds } = options;
  throwIfCancelled(options.signal);
  // The library would receive files during the walk, which would be found and uploaded without end.
  if (own.some((path) => directory.absolute === path || directory.absolute.startsWith(`${path}${sep}`))) {
    skipped.excluded += 1;
    return;
  }
  const entries = await entriesOf(directory, bounds).catch((error: unknown) => failureOf(error, directory.label));
  if (entries instanceof DocprocError) {
    yield unreadableInput(directory.label, entries);
    return;
  }
  const names = new Set<string>();
  for (const entry of entries.sort((a, b) => compareBytes(a.name, b.name))) {
    const place: WalkPlace = {
      absolute: join(directory.absolute, entry.name),
      label: `${directory.label === "/" ? "" : directory.label}/${entry.name}`,
      path: joinPath(directory.path, entry.name),
      beginning: directory.beginning,
      below: joinPath(directory.below, entry.name),
    };
    if (entry.name.startsWith(".")) skipped.hidden += 1;
    else if (isExcluded(entry.name, place.below)) skipped.excluded += 1;
    else if (entry.isSymbolicLink()) skipped.symlinks += 1;
    else if (isTwin(entry.name, names)) yield unreadableInput(place.label, twinOf(place.label));
    else if (entry.isDirectory()) yield* walk(place, options);
    else if (entry.isFile()) yield await fileOfWalk(place, options);
    else skipped.special += 1;
  }
}

/** Whether a name is equal to an earlier one of its directory in NFC, and so has its path; adds it to them. */
function isTwin(name: string, names: Set<string>): boolean {
  // Names that are not UTF-8 look alike. They fail when they are opened.
  if (/^[ -~]*$/.test(name) || name.includes(replacement)) return false;
  return names.size === names.add(name.normalize("NFC")).size;
}

function twinOf(label: string): DocprocError {
  const message = `${label} has the name of another file in its directory, in another Unicode form (NFC or NFD).`;
  return new DocprocError("CONFLICT", message, { hint: "Rename one of them." });
}

/** Stands for bytes that are not UTF-8. */
const replacement = "\ufffd";

/** Why a file or directory cannot be used. The system does not find one by a name that was not decoded. */
function failureOf(error: unknown, label: string): DocprocError {
  const failure = fromSystemError(error, label);
  if (failure.code !== "NOT_FOUND" || !label.includes(replacement)) return failure;
  return new DocprocError("USAGE", `The name of ${label} is not valid UTF-8.`, {
    hint: "Rename it, or pipe a file: docproc upload - --name NAME < FILE",
  });
}

/** Refuses directories outside of the bounds, reached by a named link or one placed meanwhile. */
async function entriesOf({ absolute, label }: WalkPlace, bounds: Bounds | undefined) {
  if (bounds && !(await bounds.holds(absolute))) throw outsideOf(bounds, label);
  return await readdir(absolute, { withFileTypes: true });
}

async function fileOfWalk(place: WalkPlace, options: Search): Promise<Input> {
  const { absolute, label } = place;
  const { withSizes, bounds } = options;
  const size = withSizes
    ? await stat(absolute).then(
        (seen) => seen.size,
        () => null,
      )
    : null;
  // Opened long after it was found: a link to a secret may have replaced it.
  const open = async () => {
    return await openFile(absolute, label, { follow: false, bounds }).catch((error) => {
      throw failureOf(error, label);
    });
  };
  return input(place, { size, open }, options);
}

function unreadableInput(label: string, error: DocprocError): Input {
  return {
    label,
    path: "",
    size: null,
    open() {
      return Promise.reject(error);
    },
  };
}

/** For example `2 hidden, 1 symlink`; empty when nothing was skipped. */
export function describeSkipped(skipped: Skipped): string {
  return Object.entries(skipped)
    .filter(([, count]) => count > 0)
    .map(([reason, count]) => `${count} ${count === 1 ? reason.replace(/s$/, "") : reason}`)
    .join(", ");
}

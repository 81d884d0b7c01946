/**
 * Whether files changed since the commit. Only git can compare, since its index records what a file was like at git's
 * last look. git gets the repository's index and objects, and otherwise a GIT_DIR of our own.
 */
import { realpath } from "node:fs/promises";
import { join, resolve } from "node:path";
import { findProgram, type ProgramPlace } from "../../files/programs.ts";
import { statIfVisible } from "../../files/stat.ts";
import type { GitConfig } from "./config.ts";
import { type GitDirectory, withGitDirectory } from "./directory.ts";
import { readOptional } from "./files.ts";
import { isPointerTo } from "./lfs.ts";
import { isOn, settingsOf, userSettings } from "./settings.ts";

/** Bytes of a file read here. */
const maxTextSize = 1024 * 1024;

/** A repository by its directories; all absolute. */
export interface ComparedRepository {
  /** The checked-out files. */
  readonly worktree: string;
  /** Contains the index. */
  readonly own: string;
  /** Contains the objects. */
  readonly shared: string;
  readonly config: GitConfig;
  /** Undefined before the first commit. */
  readonly commit: string | undefined;
}

export interface ComparisonOptions extends ProgramPlace {
  /** Whether a file exists and belongs to a trusted user. */
  readonly isOurs: (path: string) => Promise<boolean>;
  readonly signal: AbortSignal;
}

/** A file whose bytes differ from its blob in the index. */
interface OtherBytes {
  readonly path: string;
  readonly blob: string;
}

interface Changes {
  /** Whether there is a change other than different bytes. */
  readonly areCertain: boolean;
  readonly files: readonly OtherBytes[];
  /** False when git was killed before it had listed all. */
  readonly all: boolean;
}

/**
 * True when the index or a tracked file differs from the commit. Submodules do not count.
 * @throws Error with a clause that says why it cannot be compared
 */
export async function isChanged(repository: ComparedRepository, options: ComparisonOptions): Promise<boolean> {
  const { worktree, own, shared, commit, config } = repository;
  if (isOn(config.get("core.bare")?.at(-1))) throw new Error("it has no files of its own");
  const index = join(own, "index");
  if ((await statIfVisible(index))?.isFile() === false) throw new Error("its index is not a file");
  const objects = join(shared, "objects");
  const [git, attributes] = await Promise.all([
    findProgram("git", options),
    // Attributes name filters, of which none is configured, and the text files.
    readOptional(shared, "info/attributes", maxTextSize),
    assertOwnObjects(objects, options.isOurs),
  ]);
  if (git === undefined) throw new Error("there is no git in a trusted directory of PATH");
  const settings = settingsOf(config);
  const files = {
    HEAD: `${commit ?? "ref: refs/heads/none"}\n`,
    config: settings,
    "info/attributes": attributes ?? "",
  };
  const { SystemRoot } = options.env;
  const env = { GIT_WORK_TREE: worktree, GIT_INDEX_FILE: index, GIT_OBJECT_DIRECTORY: objects, SystemRoot };
  return await withGitDirectory({ git, files, env, signal: options.signal }, async (directory) => {
    const seen = await findChanges(directory);
    if (seen.areCertain || seen.files.length === 0) return seen.areCertain;
    // The user's own settings may explain different bytes, for example line ends.
    await directory.configure(settings + (await userSettings(directory, options.env)));
    const left = await findChanges(directory);
    if (left.areCertain || left.files.length === 0) return left.areCertain;
    return await isAnyChanged(left, { worktree, directory, signal: options.signal });
  });
}

async function findChanges(directory: GitDirectory): Promise<Changes> {
  const kind = ["--porcelain=v2", "-z", "--untracked-files=no", "--ignore-submodules=all", "--no-renames"];
  const { status, stdout } = await directory.run(["status", ...kind]);
  if (status !== 0 && status !== null) throw new Error(`git ended with status ${status}`);
  const files: OtherBytes[] = [];
  // The last entry is empty, or cut off.
  for (const line of stdout.toString().split("\0").slice(0, -1)) {
    // https://git-scm.com/docs/git-status#_changed_tracked_entries
    const [, committed, mode, blob, path] = /^1 \.M \S+ \d+ (\d+) (\d+) [0-9a-f]+ ([0-9a-f]+) (.*)$/s.exec(line) ?? [];
    if (blob === undefined || path === undefined || committed !== mode) return { areCertain: true, files, all: false };
    files.push({ path, blob });
  }
  return { areCertain: false, files, all: status === 0 };
}

/** Whether any file really changed: different bytes may come from a filter, which is never run. */
async function isAnyChanged(
  { files, all }: Changes,
  { worktree, directory, signal }: { worktree: string; directory: GitDirectory; signal: AbortSignal },
): Promise<boolean> {
  const input = files.map(({ path }) => `${path}\0`).join("");
  const { status, stdout } = await directory.run(["check-attr", "--stdin", "-z", "filter"], { input });
  if (status !== 0 && status !== null) throw new Error(`git ended with status ${status}`);
  const filters = stdout.toString().split("\0").slice(0, -1);
  // Triples: path, attribute name, value.
  const filterOf = (index: number) => filters[3 * index + 2];
  if (files.some((_, index) => /^(unspecified|unset|set)$/.test(filterOf(index) ?? ""))) return true;
  for (const [index, { path, blob }] of files.entries()) {
    if (filterOf(index) !== "lfs") throw new Error("it needs a filter, which docproc does not run");
    if (!(await isPointerTo(resolve(worktree, path), blob, signal))) return true;
  }
  if (!all) throw new Error("too many files have changed");
  return false;
}

/**
 * Alternates may have alternates in turn: git follows five levels.
 * https://git-scm.com/docs/gitrepository-layout
 */
async function assertOwnObjects(
  objects: string,
  isOurs: ComparisonOptions["isOurs"],
  seen = new Set<string>(),
): Promise<void> {
  if (seen.has(objects)) return;
  seen.add(objects);
  if (seen.size > 20) throw new Error("its objects are in too many places");
  if (!(await isOurs(objects))) throw new Error(`the objects in ${objects} do not exist or belong to another user`);
  const alternates = (await readOptional(await realpath(objects), "info/alternates", maxTextSize)) ?? "";
  for (const line of alternates.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    if (/^[\\/]{2}/.test(line)) throw new Error("its objects are on another machine");
    await assertOwnObjects(resolve(objects, line), isOurs, seen);
  }
}

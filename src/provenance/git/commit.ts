/**
 * Reads a git repository. It may have been unpacked a moment ago: its files are read as data, and nothing that they
 * name is run.
 */
import { lstat, realpath } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { publicAddress } from "../../core/address.ts";
import type { GitProvenance } from "../../document/record.ts";
import { isOurs, trustedOwners } from "../../files/ownership.ts";
import type { ProgramPlace } from "../../files/programs.ts";
import { statIfVisible } from "../../files/stat.ts";
import { isChanged } from "./comparison.ts";
import { type GitConfig, parseGitConfig } from "./config.ts";
import { readOptional } from "./files.ts";
import { hasReftable, readHeadOfReftable } from "./reftable.ts";

/** Milliseconds in total: network disks may hang. */
const totalTimeout = 5_000;

/** Milliseconds for git's comparison of files and commit: a large repository takes longer and is skipped. */
const comparisonTimeout = 2_000;

/** Bytes: of a file with a name or an id, of the configuration, and of packed-refs. */
const limits = { line: 8 * 1024, config: 1024 * 1024, packed: 64 * 1024 * 1024 };

/** Characters of a branch name. */
const maxNameLength = 1_000;

export interface GitOptions {
  /** Absolute; the repository around it is read. */
  readonly cwd: string;
  /** Of this user; undefined on Windows. */
  readonly uid?: number | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal?: AbortSignal | undefined;
}

interface Repository {
  /** The checked-out files. */
  readonly worktree: string;
  /** This worktree's own directory: HEAD and the index. */
  readonly own: string;
  /** Shared by all worktrees: branches, objects and the configuration. */
  readonly shared: string;
}

/**
 * Commit, branch and remote of the working directory's repository, and whether files changed. Null outside of one, and
 * if it belongs neither to this user nor to root, as in git (CVE-2022-24765).
 * @param debug receives the facts that cannot be read, and why
 * @throws Error with a clause that says why the repository cannot be read, or the system's error
 */
export async function readGit(
  options: GitOptions,
  debug: (message: string) => void = () => {},
): Promise<GitProvenance | null> {
  return await within(totalTimeout, options.signal, async (signal) => {
    const repository = await findRepository(options);
    if (repository === undefined) return null;
    if (repository === "of another user") {
      debug("The git repository belongs to another user, so it is not read.");
      return null;
    }
    /** Reports the reason and yields null. */
    const unknown = (what: string) => (error: unknown) => {
      debug(`The git repository does not show ${what}: ${error instanceof Error ? error.message : String(error)}.`);
      return null;
    };
    const { cwd, env, uid } = options;
    const owners = trustedOwners(uid, env);
    const place = { cwd, env, owners };
    const config = await readConfig(repository).catch(unknown("its configuration"));
    const { ref, id } = await readHead(repository, config, { ...place, signal });
    const branch = ref?.startsWith("refs/heads/") && isRefName(ref) ? ref.slice("refs/heads/".length) : null;
    const commit = await id().catch(unknown("its commit"));
    const changed = async () => {
      if (commit === null || config === null) return null;
      const compared = { ...repository, config, commit };
      const ours = async (path: string) => await isOurs(path, owners);
      return await within(comparisonTimeout, signal, async (limit) => {
        return await isChanged(compared, { ...place, isOurs: ours, signal: limit });
      });
    };
    return {
      commit: commit ?? null,
      branch,
      dirty: await changed().catch(unknown("whether files were changed")),
      remote: config === null ? null : remoteIn(config, branch),
    };
  });
}

/** The nearest `.git` counts, whatever it is: a repository further up is never meant. */
async function findRepository({ cwd, uid, env }: GitOptions): Promise<Repository | "of another user" | undefined> {
  let worktree = await realpath(cwd);
  while ((await statIfVisible(join(worktree, ".git"), lstat)) === undefined) {
    if (worktree === dirname(worktree)) return undefined;
    worktree = dirname(worktree);
  }
  const git = join(worktree, ".git");
  const owners = trustedOwners(uid, env);
  const others = async (...paths: string[]) =>
    (await Promise.all(paths.map((path) => isOurs(path, owners)))).some((ours) => !ours);
  if (await others(worktree, git)) return "of another user";
  const own = await resolveGitFile(worktree, git);
  if (await others(own)) return "of another user";
  const common = await readOptional(own, "commondir", limits.line);
  const shared = common === undefined ? own : await resolveDirectory(own, common);
  return (await others(shared)) ? "of another user" : { worktree, own, shared };
}

/** Resolves a `.git` file that points to the repository: https://git-scm.com/docs/gitrepository-layout */
async function resolveGitFile(worktree: string, git: string): Promise<string> {
  if ((await statIfVisible(git))?.isDirectory()) return await realpath(git);
  const pointer = /^gitdir: ([^\n]+)/.exec((await readOptional(worktree, ".git", limits.line)) ?? "")?.[1];
  if (pointer === undefined) throw new Error("its .git is neither a directory nor a reference to one");
  return await resolveDirectory(worktree, pointer);
}

/** The directory that a file names. Never on another machine: the mere access would reveal this user to it. */
async function resolveDirectory(directory: string, named: string): Promise<string> {
  const path = named.trim();
  if (/^[\\/]{2}/.test(path)) throw new Error("it is on another machine");
  return await realpath(resolve(directory, path));
}

/** The branch or commit in HEAD. */
async function readHead(
  repository: Repository,
  config: GitConfig | null,
  place: ProgramPlace & { signal: AbortSignal },
) {
  if (config !== null && hasReftable(config)) {
    const reading = readHeadOfReftable({ ...repository, config }, place);
    const ref = await reading.then((head) => head.ref).catch(() => undefined);
    return { ref, id: async () => (await reading).commit };
  }
  const head = (await readOptional(repository.own, "HEAD", limits.line))?.trim();
  if (head === undefined) throw new Error("it has no HEAD");
  const ref = /^ref:\s*(.+)$/.exec(head)?.[1];
  return { ref, id: async () => (ref === undefined ? idIn(head) : await idOf(repository, ref)) };
}

/** The commit of a branch; undefined before its first commit. */
async function idOf({ own, shared }: Repository, ref: string): Promise<string | undefined> {
  if (!isRefName(ref)) throw new Error("the name of the branch is invalid");
  for (const place of new Set([own, shared])) {
    const found = await readOptional(place, ref, limits.line);
    if (found !== undefined) return idIn(found.trim());
  }
  const packed = `\n${(await readOptional(shared, "packed-refs", limits.packed)) ?? ""}\n`;
  const end = packed.indexOf(` ${ref}\n`);
  return end < 0 ? undefined : idIn(packed.slice(packed.lastIndexOf("\n", end) + 1, end));
}

function idIn(text: string): string {
  if (/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(text)) return text;
  throw new Error("it is not a commit id");
}

/** A valid name, and no path out of the repository: https://git-scm.com/docs/git-check-ref-format */
function isRefName(ref: string): boolean {
  const parts = ref.split("/");
  const isPart = (part: string) => part !== "" && !part.startsWith(".") && !part.endsWith(".lock");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: git has no names with them.
  const has = /[\u0000- ~^:?*[\\\u007f\ufffd]|\.\.|@\{|\.$/;
  return (
    ref.length <= maxNameLength && parts[0] === "refs" && parts.length > 1 && parts.every(isPart) && !has.test(ref)
  );
}

async function readConfig({ shared }: Repository): Promise<GitConfig> {
  return parseGitConfig((await readOptional(shared, "config", limits.config)) ?? "");
}

/** The remote of the branch, or origin, or the only one. Without credentials. */
function remoteIn(config: GitConfig, branch: string | null): string | null {
  const urlOf = (name: string | true | undefined) => config.get(`remote.${name}.url`)?.[0];
  const names = [...config.keys()].flatMap((name) => /^remote\.(.+)\.[^.]+$/s.exec(name)?.[1] ?? []);
  const upstream = branch === null ? undefined : config.get(`branch.${branch}.remote`)?.at(-1);
  const only = new Set(names).size === 1 ? names[0] : undefined;
  const url = [upstream, "origin", only].map(urlOf).find((one) => one !== undefined);
  return typeof url === "string" ? publicAddress(url) : null;
}

/** Limits work to so many milliseconds, and to the signal. */
async function within<T>(
  milliseconds: number,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = new AbortController();
  const end = () => limit.abort(signal?.reason);
  const timer = setTimeout(() => limit.abort(new Error(`it takes over ${milliseconds / 1000} seconds`)), milliseconds);
  signal?.addEventListener("abort", end);
  try {
    if (signal?.aborted) end();
    limit.signal.throwIfAborted();
    const ended = new Promise<never>((_, reject) => {
      limit.signal.addEventListener("abort", () => reject(limit.signal.reason));
    });
    return await Promise.race([work(limit.signal), ended]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", end);
  }
}

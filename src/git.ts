/**
 * What a git repository says of itself. It is read, as a directory somebody checked out; nothing in it is run: no hook,
 * no filter, no file system monitor.
 */
import { execFile } from "node:child_process";
import { readFile, realpath } from "node:fs/promises";
import { delimiter, dirname, isAbsolute, join, resolve } from "node:path";
import { promisify } from "node:util";
import { parse } from "ini";
import type { GitProvenance } from "./document.ts";
import { isOurs, type Owners, trustedOwners } from "./ownership.ts";
import { statIfVisible } from "./presence.ts";

/** Milliseconds that git may take to compare the files with the commit: a large repository is not waited for. */
const comparisonTimeout = 2_000;

export interface GitOptions {
  /** Absolute; the repository is the one that it is in. */
  readonly cwd: string;
  /** Of this user; undefined on Windows. */
  readonly uid?: number | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
}

interface Repository {
  /** Its files. */
  readonly worktree: string;
  /** What is this worktree's own: HEAD. */
  readonly own: string;
  /** What all worktrees share: branches and the configuration. */
  readonly shared: string;
}

/**
 * The commit, branch and remote that the working directory belongs to, and whether it was changed since.
 * Null outside any repository, and in one that a stranger may have put there (CVE-2022-24765).
 * @throws what the file system throws where a repository cannot be read
 */
export async function readGit(options: GitOptions): Promise<GitProvenance | null> {
  const repository = await findRepository(options.cwd, trustedOwners(options.uid, options.env));
  if (repository === undefined) return null;
  const head = (await readFile(join(repository.own, "HEAD"), "utf8")).trim();
  const ref = /^ref: (.+)$/.exec(head)?.[1];
  const [commit, config] = await Promise.all([
    ref === undefined ? commitIn(head) : commitOf(repository, ref),
    readOptional(join(repository.shared, "config")),
  ]);
  const branch = ref?.startsWith("refs/heads/") ? ref.slice("refs/heads/".length) : null;
  const sections = sectionsOf(config ?? "");
  return {
    commit,
    branch,
    dirty: await isDirty(repository, sections, options.env),
    remote: remoteIn(sections, branch),
  };
}

async function findRepository(cwd: string, owners: Owners): Promise<Repository | undefined> {
  for (let directory = await realpath(cwd); ; directory = dirname(directory)) {
    const git = join(directory, ".git");
    if (await isOurs(git, owners)) return await openRepository(directory, git);
    if (directory === dirname(directory)) return undefined;
  }
}

/** A `.git` that is a file points to where the repository is: https://git-scm.com/docs/gitrepository-layout */
async function openRepository(worktree: string, git: string): Promise<Repository> {
  const isFile = (await statIfVisible(git))?.isFile() ?? false;
  const pointer = isFile ? /^gitdir: (.+)$/m.exec(await readFile(git, "utf8"))?.[1] : undefined;
  const own = pointer === undefined ? git : resolve(worktree, pointer.trim());
  const shared = await readOptional(join(own, "commondir"));
  return { worktree, own, shared: shared === undefined ? own : resolve(own, shared.trim()) };
}

async function commitOf({ own, shared }: Repository, ref: string): Promise<string | null> {
  // A name, never a way out of the repository.
  if (!ref.startsWith("refs/") || ref.includes("..")) return null;
  for (const place of new Set([own, shared])) {
    const found = await readOptional(join(place, ref));
    if (found !== undefined) return commitIn(found.trim());
  }
  const packed = (await readOptional(join(shared, "packed-refs"))) ?? "";
  const line = packed.split("\n").find((one) => one.endsWith(` ${ref}`));
  return commitIn(line?.split(" ")[0] ?? "");
}

function commitIn(text: string): string | null {
  return /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(text) ? text : null;
}

/** By name, as in `remote "origin"`. To the parser a dot would begin a section within another. */
function sectionsOf(config: string): Readonly<Record<string, unknown>> {
  return parse(config.replace(/^\s*\[.*\]/gm, (header) => header.replaceAll(".", "\\.")));
}

/** The remote that the branch is fetched from, or origin, or the only one. */
function remoteIn(sections: Readonly<Record<string, unknown>>, branch: string | null): string | null {
  const value = (section: string, key: string) => {
    const found = (sections[section] as Record<string, unknown> | undefined)?.[key];
    return typeof found === "string" ? found : undefined;
  };
  const names = Object.keys(sections).filter((name) => name.startsWith('remote "'));
  const upstream = branch === null ? undefined : value(`branch "${branch}"`, "remote");
  const section = [`remote "${upstream}"`, 'remote "origin"', ...(names.length === 1 ? names : [])].find(
    (name) => value(name, "url") !== undefined,
  );
  const url = section === undefined ? undefined : value(section, "url");
  return url === undefined ? null : withoutCredentials(url);
}

/** `https://user:token@host/path` and `https://token@host/path` without what stands before the host, queries included. */
export function withoutCredentials(remote: string): string {
  // Among them git@host:path, where git is no secret.
  if (!remote.includes("://")) return remote;
  if (!URL.canParse(remote)) return remote.replace(/:\/\/.*@/s, "://");
  const url = new URL(remote);
  // The user of ssh://git@host is part of the address, and no secret.
  if (url.protocol === "ssh:") url.password = "";
  else [url.username, url.password, url.search, url.hash] = ["", "", "", ""];
  return url.href;
}

/**
 * Only git itself can compare, as it knows when a file was last looked at. Null when it is not there, takes too long, or
 * if comparing would run what the repository's own configuration names.
 */
async function isDirty(
  { worktree }: Repository,
  sections: Readonly<Record<string, unknown>>,
  env: GitOptions["env"],
): Promise<boolean | null> {
  if (Object.keys(sections).some((name) => /^(filter|include|includeif)\b/i.test(name))) return null;
  // Another kind of path would be one within the repository.
  const PATH = env["PATH"]?.split(delimiter).filter(isAbsolute).join(delimiter);
  if (!PATH) return null;
  const harmless = ["core.fsmonitor=false", "core.hooksPath=/dev/null", "safe.bareRepository=explicit"];
  const settings = harmless.flatMap((setting) => ["-c", setting]);
  try {
    const { stdout } = await promisify(execFile)(
      "git",
      [...settings, "--no-optional-locks", "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all"],
      // Not the variables of a hook that we may run in: GIT_DIR would name another repository.
      { cwd: worktree, env: { PATH, HOME: env["HOME"] }, timeout: comparisonTimeout, windowsHide: true },
    );
    return stdout !== "";
  } catch {
    return null;
  }
}

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // ENOTDIR: the branch a/b where there once was a branch a.
    if (code === "ENOENT" || code === "ENOTDIR" || code === "EISDIR") return undefined;
    throw error;
  }
}

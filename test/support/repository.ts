/** Repositories as git makes them, for tests of what docproc reads there. */
import { execFileSync } from "node:child_process";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { findOnPath } from "./on-path.ts";
import { makeSandbox, type Sandbox } from "./run.ts";

export const hasGit = findOnPath("git") !== undefined;

const who = { GIT_AUTHOR_NAME: "a", GIT_AUTHOR_EMAIL: "a@b", GIT_COMMITTER_NAME: "a", GIT_COMMITTER_EMAIL: "a@b" };

/** Runs git without the configuration of this machine. */
export function git(cwd: string, ...argv: string[]): string {
  const env = { ...who, PATH: process.env["PATH"], HOME: "/nowhere", GIT_CONFIG_NOSYSTEM: "1" };
  return execFileSync("git", argv, { cwd, env, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
}

/** A sandbox whose working directory is a repository with one committed file, `tracked.txt`. */
export async function makeRepository(...argv: string[]): Promise<Sandbox & { readonly head: string }> {
  const sandbox = await makeSandbox();
  git(sandbox.cwd, "init", "-q", "-b", "main", ...argv);
  await commitFiles(sandbox.cwd, { "tracked.txt": "1" });
  return { ...sandbox, head: git(sandbox.cwd, "rev-parse", "HEAD") };
}

export async function commitFiles(cwd: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) await writeFile(join(cwd, name), text);
  git(cwd, "add", "--", ...Object.keys(files));
  git(cwd, "commit", "-qm", "one");
}

/** Gives a file the same bytes at another time, so that git has to look at them. */
export async function touch(cwd: string, name: string, text: string): Promise<void> {
  await rm(join(cwd, name));
  await writeFile(join(cwd, name), text);
}

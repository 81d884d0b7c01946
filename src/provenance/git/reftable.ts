/**
 * Repositories with reftables, a format that only git reads. git gets the tables and nothing else of the repository.
 * https://git-scm.com/docs/reftable
 */
import { join } from "node:path";
import { findProgram, type ProgramPlace } from "../../files/programs.ts";
import type { GitConfig } from "./config.ts";
import { withGitDirectory } from "./directory.ts";
import { settingsOf } from "./settings.ts";

export interface GitHead {
  /** Undefined when a commit without a branch is checked out. */
  readonly ref: string | undefined;
  /** Undefined before the first commit. */
  readonly commit: string | undefined;
}

export function hasReftable(config: GitConfig): boolean {
  return config.get("extensions.refstorage")?.at(-1) === "reftable";
}

/**
 * Reads HEAD.
 * @param own directory of this worktree
 * @param shared directory of all worktrees
 * @throws Error with a clause that says why it cannot be read
 */
export async function readHeadOfReftable(
  { own, shared, config }: { own: string; shared: string; config: GitConfig },
  { signal, ...place }: ProgramPlace & { signal: AbortSignal },
): Promise<GitHead> {
  const git = await findProgram("git", place);
  if (git === undefined) throw new Error("there is no git in a trusted directory of PATH");
  // As in an additional worktree, where both have tables.
  const HEAD = "ref: refs/heads/.invalid\n";
  const files = {
    HEAD,
    commondir: "common\n",
    "common/HEAD": HEAD,
    "common/config": `${settingsOf(config)}refStorage = reftable\n`,
  };
  const links = { reftable: join(own, "reftable"), "common/reftable": join(shared, "reftable") };
  const env = { GIT_OBJECT_DIRECTORY: join(shared, "objects"), SystemRoot: place.env["SystemRoot"] };
  return await withGitDirectory({ git, files, links, env, signal }, async (directory) => {
    const [symbolic, commit] = [
      await directory.run(["symbolic-ref", "-q", "HEAD"]),
      await directory.run(["rev-parse", "-q", "--verify", "HEAD"]),
    ];
    // Status 1 means that there is none.
    for (const { status } of [symbolic, commit]) {
      if (status !== 0 && status !== 1) throw new Error(`git ended with status ${status}`);
    }
    const [ref, id] = [symbolic, commit].map(({ stdout }) => stdout.toString().trim() || undefined);
    return { ref, commit: id };
  });
}

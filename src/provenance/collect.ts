/** Collects the repository and the CI job that docproc runs in. */

import type { GitProvenance, Provenance } from "../document/record.ts";
import { branchOfJob, readCi } from "./ci.ts";
import { type GitOptions, readGit } from "./git/commit.ts";

/**
 * What is known; null for nothing. What cannot be found out must not keep a document from being stored.
 * @param debug told why a repository could not be read
 */
export async function findProvenance(
  options: GitOptions,
  debug: (message: string) => void,
): Promise<Provenance | null> {
  const ci = readCi(options.env);
  const git = await readGit(options, debug).catch((error: unknown) => {
    debug(`The git repository cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  });
  return git === null && ci === null ? null : { git: git && onBranch(git, options.env), ci };
}

/** Jobs check out a commit; which branch that is, only their variables tell. */
function onBranch(git: GitProvenance, env: GitOptions["env"]): GitProvenance {
  if (git.branch !== null || git.commit === null) return git;
  return { ...git, branch: branchOfJob(env, git.commit) };
}

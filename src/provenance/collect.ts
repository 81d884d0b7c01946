/** Collects the repository and the CI job that docproc runs in. */

import type { GitProvenance, Provenance } from "../document/record.ts";
import { branchOfJob, readCi } from "./ci.ts";
import { type GitOptions, readGit } from "./git/commit.ts";

/**
 * The known provenance; null for none. Failures must not keep a document from being stored.
 * @param debug receives the reason when a repository cannot be read
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

/** CI jobs check out a bare commit; only their variables name the branch. */
function onBranch(git: GitProvenance, env: GitOptions["env"]): GitProvenance {
  const branch = git.branch ?? (git.commit === null ? null : branchOfJob(env, git.commit));
  // As everything else that is searched for.
  return { ...git, branch: branch?.normalize("NFC") ?? null };
}

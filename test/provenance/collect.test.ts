/** What a record says of the commit and the CI job that a document comes from. */
import { appendFile, chown, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { branchOfJob, readCi } from "../../src/provenance/ci.ts";
import { readGit } from "../../src/provenance/git/commit.ts";
import { git, hasGit, makeRepository as makeRealRepository } from "../support/repository.ts";
import { makeSandbox, runDocproc, type Sandbox } from "../support/run.ts";

const commit = "0123456789abcdef0123456789abcdef01234567";
const { PATH } = process.env;
const env = { PATH };

/** A repository as git leaves it, without git. */
async function makeRepository(directory: string, files: Record<string, string>): Promise<void> {
  for (const [path, text] of Object.entries({ HEAD: "ref: refs/heads/main\n", config: "", ...files })) {
    await mkdir(join(directory, path, ".."), { recursive: true });
    await writeFile(join(directory, path), text);
  }
}

async function uploadedIn(sandbox: Sandbox, argv: string[] = [], variables: Record<string, string> = {}) {
  await writeFile(join(sandbox.cwd, "a.txt"), "a");
  const outcome = await runDocproc(sandbox, ["upload", "a.txt", "--json", ...argv], { env: { ...env, ...variables } });
  expect(outcome).toMatchObject({ status: 0 });
  return outcome.json().documents[0].provenance;
}

describe("a repository", () => {
  test.each<[string, Record<string, string>, object]>([
    ["a branch", { "refs/heads/main": `${commit}\n` }, { commit, branch: "main" }],
    [
      "a branch with a slash",
      { HEAD: "ref: refs/heads/fix/a\n", "refs/heads/fix/a": commit },
      { branch: "fix/a", commit },
    ],
    [
      "packed branches",
      { "packed-refs": `# pack-refs with: peeled\n${commit} refs/heads/main\n^${commit}\n` },
      { commit },
    ],
    ["a commit without a branch", { HEAD: `${commit}\n` }, { commit, branch: null }],
    ["no commit yet", {}, { commit: null, branch: "main" }],
    [
      "a branch that is a way out",
      { HEAD: "ref: refs/../../secret\n", "../secret": commit },
      { commit: null, branch: null },
    ],
    ["something else for a commit", { "refs/heads/main": "password\n" }, { commit: null }],
    ["a remote", { config: '[remote "origin"]\n\turl = https://u:p@host/a.git\n' }, { remote: "https://host/a.git" }],
    [
      "the remote of the branch",
      {
        config:
          '[remote "origin"]\nurl = a:b\n[remote "fork"]\nurl = git@host:me/a.git\n[branch "main"]\nremote = fork\n',
      },
      { remote: "git@host:me/a.git" },
    ],
    ["a remote that runs a program", { config: '[remote "origin"] url = "ext::sh -c secret"' }, { remote: null }],
    [
      "a remote that its configuration writes otherwise",
      { config: '[Remote "origin"] URL = "https:/u:p@host/a.git;secret" ; comment\n[remote "origin"]url=https://b\n' },
      { remote: "https://host/a.git" },
    ],
    ["a configuration that git would refuse", { config: '[remote "origin"]\nurl = a:b\nurl "c"\n' }, { remote: null }],
    ["the only remote", { config: '[remote "up.stream"]\n\turl = ../b\n' }, { remote: "../b" }],
    [
      "two remotes, none of them origin",
      { config: '[remote "a"]\nurl = a\n[remote "b"]\nurl = b\n' },
      { remote: null },
    ],
  ])("with %s", async (_what, files, expected) => {
    const { cwd } = await makeSandbox();
    await makeRepository(join(cwd, ".git"), files);
    await mkdir(join(cwd, "deep/er"), { recursive: true });
    expect(await readGit({ cwd: join(cwd, "deep/er"), env })).toMatchObject(expected);
  });

  test("of which this is another worktree", async () => {
    const { root, cwd } = await makeSandbox();
    const shared = join(root, "shared");
    const own = join(shared, "worktrees/cwd");
    await makeRepository(shared, { "refs/heads/main": "f".repeat(40), "refs/heads/side": commit });
    await makeRepository(own, { HEAD: "ref: refs/heads/side\n", commondir: "../..\n" });
    await writeFile(join(cwd, ".git"), `gitdir: ${own}\n`);
    expect(await readGit({ cwd, env })).toMatchObject({ commit, branch: "side" });
  });

  test("of another user is none", async () => {
    const { cwd } = await makeSandbox();
    await makeRepository(join(cwd, ".git"), { "refs/heads/main": commit });
    // What belongs to root is trusted, and only root gives files away.
    const owner = process.getuid?.() || 1;
    await Promise.all([cwd, join(cwd, ".git")].map((path) => chown(path, owner, -1)));
    expect(await readGit({ cwd, env, uid: 4_000_000 })).toBeNull();
    expect(await readGit({ cwd, env, uid: owner })).not.toBeNull();
  });

  test("that cannot be read keeps no document from being stored", async () => {
    const sandbox = await makeSandbox();
    await mkdir(join(sandbox.cwd, ".git/HEAD"), { recursive: true });
    expect(await uploadedIn(sandbox)).toBeNull();
    const said = await runDocproc(sandbox, ["upload", "a.txt", "--name", "b", "-v"], { env });
    expect(said.stderr).toContain("The git repository cannot be read: ");
  });
});

describe.skipIf(!hasGit)("git itself", () => {
  test("agrees about the commit, and says whether something was changed since", async () => {
    const sandbox = await makeRealRepository();
    const { cwd, head } = sandbox;
    // a.txt itself is one that git does not follow.
    const { git: clean, ci } = await uploadedIn(sandbox);
    expect({ clean, ci }).toEqual({ clean: { commit: head, branch: "main", dirty: false, remote: null }, ci: null });
    await appendFile(join(cwd, "tracked.txt"), "2");
    expect(await readGit({ cwd, env })).toMatchObject({ commit: head, dirty: true });
    git(cwd, "add", "tracked.txt");
    expect(await readGit({ cwd, env })).toMatchObject({ commit: head, dirty: true });
    git(cwd, "pack-refs", "--all");
    expect(await readGit({ cwd, env })).toMatchObject({ commit: head, branch: "main" });
    git(cwd, "checkout", "-q", "--detach");
    expect(await readGit({ cwd, env })).toMatchObject({ commit: head, branch: null });
  });

  test("is not needed, and ignores the variables of a hook", async () => {
    const { cwd } = await makeRealRepository();
    for (const path of ["/nowhere", "", ".:bin"]) {
      await writeFile(join(cwd, "git"), "#!/bin/sh\necho changed\n", { mode: 0o755 });
      expect(await readGit({ cwd, env: { PATH: path } })).toMatchObject({ branch: "main", dirty: null });
    }
    expect(await readGit({ cwd, env: { PATH, GIT_DIR: "/nowhere" } })).toMatchObject({ dirty: false });
  });

  test("follows a link to where the repository is", async () => {
    const { root, cwd } = await makeRealRepository();
    await mkdir(join(cwd, "sub"));
    await symlink(join(cwd, "sub"), join(root, "link"));
    expect(await readGit({ cwd: join(root, "link"), env })).toMatchObject({ branch: "main" });
  });
});

const github = {
  CI: "true",
  GITHUB_ACTIONS: "true",
  GITHUB_RUN_ID: "42",
  GITHUB_RUN_ATTEMPT: "2",
  GITHUB_JOB: "build",
  GITHUB_ACTOR: "ada",
  GITHUB_SERVER_URL: "https://github.com",
  GITHUB_REPOSITORY: "ada/engine",
};
const unknown = { run: null, attempt: null, job: null, actor: null, url: null };

describe("a CI job", () => {
  test.each<[string, Record<string, string>, object | null]>([
    ["none", { BUILD_NUMBER: "" }, null],
    ["one that is said to be none", { ...github, CI: "false" }, null],
    [
      "of GitHub",
      github,
      {
        provider: "GitHub Actions",
        run: "42",
        attempt: "2",
        job: "build",
        actor: "ada",
        url: "https://github.com/ada/engine/actions/runs/42",
      },
    ],
    [
      "of GitLab",
      {
        GITLAB_CI: "true",
        CI_PIPELINE_ID: "7",
        CI_JOB_NAME: "pack",
        GITLAB_USER_LOGIN: "ada",
        CI_JOB_URL: "https://g/7",
      },
      { provider: "GitLab CI", run: "7", attempt: null, job: "pack", actor: "ada", url: "https://g/7" },
    ],
    [
      "of Buildkite",
      {
        BUILDKITE: "true",
        BUILDKITE_BUILD_NUMBER: "9",
        BUILDKITE_RETRY_COUNT: "0",
        BUILDKITE_BUILD_URL: "https://b/9",
      },
      { ...unknown, provider: "Buildkite", run: "9", attempt: "0", url: "https://b/9" },
    ],
    [
      "of Jenkins",
      { JENKINS_URL: "https://j", BUILD_ID: "11", BUILD_NUMBER: "11", JOB_NAME: "pack", BUILD_URL: "https://j/11" },
      { ...unknown, provider: "Jenkins", run: "11", job: "pack", url: "https://j/11" },
    ],
    ["of somebody whose variables nobody wrote down here", { DRONE: "true" }, { ...unknown, provider: "Drone" }],
    [
      "of Azure",
      {
        TF_BUILD: "true",
        SYSTEM_COLLECTIONURI: "https://user:secret@dev.azure.com/team/?secret",
        SYSTEM_TEAMPROJECT: "a b",
        BUILD_BUILDID: "13",
      },
      {
        ...unknown,
        provider: "Azure Pipelines",
        run: "13",
        url: "https://dev.azure.com/team/a%20b/_build/results?buildId=13",
      },
    ],
    ["that is told by a value", { NODE: "/app/.heroku/node/bin/node" }, { ...unknown, provider: "Heroku" }],
    ["that is told by one of several", { NOW_BUILDER: "1" }, { ...unknown, provider: "Vercel" }],
  ])("%s", (_what, variables, expected) => {
    expect(readCi(variables)).toEqual(expected);
  });

  const jenkins = { JENKINS_URL: "j", BUILD_ID: "1" };
  test.each<[Record<string, string>, string | null]>([
    [{ ...jenkins, BUILD_URL: "https://user:secret@ci/job/1/?token=secret#secret" }, "https://ci/job/1/"],
    [{ ...jenkins, BUILD_URL: "https:/user:secret@ci/job/1/;token=secret" }, "https://ci/job/1/"],
    [{ ...jenkins, BUILD_URL: "user:secret@ci" }, null],
    [{ ...jenkins, BUILD_URL: "ext::secret" }, null],
    [{ BUILDKITE: "true", BUILDKITE_BUILD_URL: "https://secret@b/9" }, "https://b/9"],
    [{ CIRCLECI: "true", CIRCLE_BUILD_URL: "https://secret@c/9" }, "https://c/9"],
    [{ GITLAB_CI: "true", CI_JOB_URL: "https://g/7?private_token=secret" }, "https://g/7"],
    [{ ...github, GITHUB_SERVER_URL: "https://secret@git" }, "https://git/ada/engine/actions/runs/42"],
  ])("has an address without what would let its reader in: %o", (variables, url) => {
    expect(readCi(variables)?.url).toBe(url);
  });

  test("tells nothing that is too long for a name, or has more than one line", () => {
    for (const job of ["x".repeat(1_001), "a\nb", "a\u001b[31mb"]) {
      expect(readCi({ ...github, GITHUB_JOB: job, GITHUB_ACTOR: "x".repeat(1_000) })).toMatchObject({
        job: null,
        actor: "x".repeat(1_000),
      });
    }
  });

  const at = (name: string) => ({ [name]: commit });
  test.each<[string, Record<string, string>, string | null]>([
    [
      "a push to GitHub",
      { ...github, ...at("GITHUB_SHA"), GITHUB_REF_TYPE: "branch", GITHUB_REF_NAME: "fix/a" },
      "fix/a",
    ],
    [
      "a pull request of GitHub",
      { ...github, ...at("GITHUB_SHA"), GITHUB_REF_TYPE: "branch", GITHUB_REF_NAME: "7/merge", GITHUB_HEAD_REF: "b" },
      "b",
    ],
    ["a tag of GitHub", { ...github, ...at("GITHUB_SHA"), GITHUB_REF_TYPE: "tag", GITHUB_REF_NAME: "v1" }, null],
    [
      "another commit",
      { ...github, GITHUB_SHA: "f".repeat(40), GITHUB_REF_TYPE: "branch", GITHUB_REF_NAME: "b" },
      null,
    ],
    ["GitLab", { GITLAB_CI: "true", ...at("CI_COMMIT_SHA"), CI_COMMIT_BRANCH: "b" }, "b"],
    ["a merge request", { GITLAB_CI: "true", ...at("CI_COMMIT_SHA"), CI_MERGE_REQUEST_SOURCE_BRANCH_NAME: "b" }, "b"],
    ["Buildkite", { BUILDKITE: "true", ...at("BUILDKITE_COMMIT"), BUILDKITE_BRANCH: "b" }, "b"],
    ["Jenkins", { JENKINS_URL: "j", BUILD_ID: "1", ...at("GIT_COMMIT"), GIT_BRANCH: "origin/fix/a" }, "fix/a"],
    [
      "many branches of Jenkins",
      {
        JENKINS_URL: "j",
        BUILD_ID: "1",
        ...at("GIT_COMMIT"),
        GIT_BRANCH: "PR-7",
        BRANCH_NAME: "PR-7",
        CHANGE_BRANCH: "b",
      },
      "b",
    ],
    ["CircleCI", { CIRCLECI: "true", ...at("CIRCLE_SHA1"), CIRCLE_BRANCH: "b" }, "b"],
    ["Azure", { TF_BUILD: "true", ...at("BUILD_SOURCEVERSION"), BUILD_SOURCEBRANCH: "refs/heads/fix/a" }, "fix/a"],
    [
      "a pull request of Azure",
      {
        TF_BUILD: "true",
        ...at("BUILD_SOURCEVERSION"),
        BUILD_SOURCEBRANCH: "refs/pull/7/merge",
        SYSTEM_PULLREQUEST_SOURCEBRANCH: "refs/heads/b",
      },
      "b",
    ],
    ["a provider that is not known", { DRONE: "true", DRONE_BRANCH: "b" }, null],
    ["no job", {}, null],
  ])("knows the branch of %s", (_what, variables, branch) => {
    expect(branchOfJob(variables, commit)).toBe(branch);
  });

  test("tells the branch of a commit that is checked out without one, and of no other", async () => {
    const job = { ...github, GITHUB_SHA: commit, GITHUB_REF_TYPE: "branch", GITHUB_REF_NAME: "release" };
    const heads = { "refs/heads/main": commit };
    for (const [head, branch] of [
      [commit, "release"],
      ["f".repeat(40), null],
      ["ref: refs/heads/main", "main"],
    ]) {
      const sandbox = await makeSandbox();
      await makeRepository(join(sandbox.cwd, ".git"), { ...heads, HEAD: `${head}\n` });
      expect((await uploadedIn(sandbox, [], job)).git).toMatchObject({ branch });
    }
  });

  test("is recorded with what it uploads, and shown", async () => {
    const sandbox = await makeSandbox();
    expect((await uploadedIn(sandbox, [], github)).ci).toMatchObject({ provider: "GitHub Actions", run: "42" });
    const shown = await runDocproc(sandbox, ["show", "a.txt"]);
    expect(shown.stdout).toContain("ci        run 42\n");
    expect((await runDocproc(sandbox, ["show", "a.txt", "--json"])).json().provenance.ci.actor).toBe("ada");
  });

  test.each([
    [["--no-provenance"], {}],
    [[], { DOCPROC_PROVENANCE: "false" }],
  ])("is not recorded with %s %s", async (argv, variables) => {
    expect(await uploadedIn(await makeSandbox(), argv, { ...github, ...variables })).toBeNull();
  });
});

/**
 * A directory that was unpacked a moment ago, with a repository that is made to run something, to hang, or to tell what
 * it should not. Each attack on git is tried on git itself as well: one that does nothing shows nothing.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { chmod, mkdir, readdir, readFile, rename, rm, stat, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { findProgram, trustedFolders } from "../../src/files/programs.ts";
import { readGit } from "../../src/provenance/git/commit.ts";
import { git, hasGit, makeRepository, touch } from "../support/repository.ts";
import { makeSandbox, runDocproc, type Sandbox } from "../support/run.ts";

const { PATH = "" } = process.env;
const env = { PATH };
const uid = process.getuid?.();
const owners = uid === undefined ? undefined : new Set([0, uid]);

/** A repository, a script, and whether it ran. */
async function makeTarget() {
  const target = await makeRepository();
  const canary = join(target.root, "ran");
  const script = join(target.root, "run.sh");
  await writeFile(script, `#!/bin/sh\necho ran >> ${canary}\ncat\n`, { mode: 0o755 });
  // What answers nothing is not waited for.
  const silent = join(target.root, "silent.sh");
  await writeFile(silent, `#!/bin/sh\necho ran >> ${canary}\n`, { mode: 0o755 });
  const hasRun = async () => {
    const ran = await stat(canary).then(
      () => true,
      () => false,
    );
    await rm(canary, { force: true });
    return ran;
  };
  return { ...target, script, silent, hasRun };
}
type Target = Awaited<ReturnType<typeof makeTarget>>;

/** What a checkout would do to find out the same; it may fail. */
function plainGit(cwd: string): void {
  const HOME = join(cwd, "..", "home");
  spawnSync("git", ["status"], { cwd, env: { PATH, HOME, GIT_CONFIG_NOSYSTEM: "1" }, timeout: 20_000 });
}

async function addConfig({ cwd }: Sandbox, text: string, name = "config"): Promise<void> {
  const path = join(cwd, ".git", name);
  await writeFile(path, `${await readFile(path, "utf8").catch(() => "")}${text}`);
}

/** All files have the filter x, and one has to be looked at. */
async function withFilter({ cwd }: Sandbox): Promise<void> {
  await writeFile(join(cwd, ".gitattributes"), "* filter=x\n");
  await touch(cwd, "tracked.txt", "1");
}

/** Without the tree of the commit, git has to fetch it. */
async function withoutTree(target: Target, remote: Readonly<Record<string, string>>): Promise<void> {
  const { cwd } = target;
  const tree = git(cwd, "rev-parse", "HEAD^{tree}");
  const settings = { promisor: "true", partialCloneFilter: "tree:0", ...remote };
  git(cwd, "config", "extensions.partialClone", "origin");
  for (const [key, value] of Object.entries(settings)) git(cwd, "config", `remote.origin.${key}`, value);
  await rm(join(cwd, ".git/objects", tree.slice(0, 2), tree.slice(2)));
}

const attacks: readonly (readonly [string, boolean | null, (target: Target) => Promise<void>])[] = [
  ...[
    (script: string) => `[filter "x"]\n\tclean = ${script}\n`,
    (script: string) => `[filter "x"] clean = ${script}\n`,
    (script: string) => `[core] [filter "x"] clean = ${script}\n`,
    (script: string) => `[core] ; [\n[FILTER "x"] # ]\nCLEAN = "${script}"\n`,
    (script: string) => `[filter.x]\r\nprocess = ${script}\r\n`,
    (script: string) => `# \u2028\n[a]\nb = \\\n[c]\n[filter "x"]required\nclean=${script}`,
  ].map(
    (config, index) =>
      [
        `a filter in form ${index + 1}`,
        false,
        async (target: Target) => {
          await addConfig(target, config(target.script));
          await withFilter(target);
        },
      ] as const,
  ),
  [
    "a filter in the worktree's own configuration",
    false,
    async (target) => {
      await addConfig(target, "[extensions] worktreeConfig = true\n");
      await addConfig(target, `[filter "x"]\nclean = ${target.script}\n`, "config.worktree");
      await withFilter(target);
    },
  ],
  [
    "a filter in an included file",
    false,
    async (target) => {
      await addConfig(target, "[core] [include] path = ../more\n");
      await writeFile(join(target.cwd, "more"), `[filter "x"]\nclean = ${target.script}\n`);
      await withFilter(target);
    },
  ],
  [
    "a filter in a file that is included on a condition",
    false,
    async (target) => {
      await addConfig(target, '[includeIf "gitdir:**"]\npath = ../more\n');
      await writeFile(join(target.cwd, "more"), `[filter "x"]\nclean = ${target.script}\n`);
      await withFilter(target);
    },
  ],
  [
    "a filter by attributes that are not checked out",
    false,
    async (target) => {
      await addConfig(target, `[filter "x"]\nclean = ${target.script}\n`);
      await mkdir(join(target.cwd, ".git/info"), { recursive: true });
      await writeFile(join(target.cwd, ".git/info/attributes"), "* filter=x\n");
      await touch(target.cwd, "tracked.txt", "1");
    },
  ],
  [
    "a filter of the user's own, for other bytes",
    null,
    async (target) => {
      await writeFile(join(target.home, ".gitconfig"), `[filter "x"]\nclean = ${target.script}\n`);
      await writeFile(join(target.cwd, ".gitattributes"), "* filter=x\n");
      await writeFile(join(target.cwd, "tracked.txt"), "2");
    },
  ],
  ["a file system monitor", false, async ({ cwd, script }) => void git(cwd, "config", "core.fsmonitor", script)],
  [
    "a hook that runs when the index is written",
    false,
    async ({ cwd, script }) => {
      await mkdir(join(cwd, ".git/hooks"), { recursive: true });
      await writeFile(join(cwd, ".git/hooks/post-index-change"), `#!/bin/sh\nexec ${script}\n`, { mode: 0o755 });
      await touch(cwd, "tracked.txt", "1");
    },
  ],
  [
    "a hook in another place",
    false,
    async ({ cwd, script }) => {
      await mkdir(join(cwd, "hooks"));
      await writeFile(join(cwd, "hooks/post-index-change"), `#!/bin/sh\nexec ${script}\n`, { mode: 0o755 });
      git(cwd, "config", "core.hooksPath", "hooks");
      await touch(cwd, "tracked.txt", "1");
    },
  ],
  [
    "a partial clone with a program to fetch from",
    null,
    async (target) => await withoutTree(target, { url: `file://${target.root}/none`, uploadpack: target.silent }),
  ],
  [
    "a partial clone with a program to connect with",
    null,
    async (target) => {
      await withoutTree(target, { url: "ssh://host/none" });
      git(target.cwd, "config", "core.sshCommand", target.silent);
    },
  ],
  [
    "a partial clone with a program for an address",
    null,
    async (target) => {
      await withoutTree(target, { url: `ext::${target.silent}` });
      await addConfig(target, "[protocol] allow = always\n");
    },
  ],
  [
    "a submodule that monitors its files",
    false,
    async ({ cwd, root, script }) => {
      git(cwd, "-c", "protocol.file.allow=always", "clone", "-q", cwd, join(root, "other"));
      git(cwd, "-c", "protocol.file.allow=always", "submodule", "add", "-q", join(root, "other"), "sub");
      git(cwd, "commit", "-qm", "two");
      await mkdir(join(cwd, "sub"), { recursive: true });
      git(join(cwd, "sub"), "config", "core.fsmonitor", script);
    },
  ],
];

describe.skipIf(!hasGit)("nothing is run by", () => {
  test.each(attacks)("%s", async (_what, dirty, prepare) => {
    const target = await makeTarget();
    await prepare(target);
    const head = git(target.cwd, "rev-parse", "HEAD");
    // The preparation runs git.
    await target.hasRun();
    const variables = { PATH, HOME: target.home };
    expect(await readGit({ cwd: target.cwd, env: variables, uid })).toMatchObject({
      commit: head,
      branch: "main",
      dirty,
    });
    expect(await target.hasRun()).toBe(false);
    plainGit(target.cwd);
    expect(await target.hasRun()).toBe(true);
  });

  test("an upload from an archive that tries everything", async () => {
    const target = await makeTarget();
    for (const [, , prepare] of attacks.slice(0, 13)) await prepare(target).catch(() => {});
    const archive = join(target.root, "archive.tar");
    execFileSync("tar", ["-cf", archive, "-C", target.cwd, "."]);
    const fresh = await makeSandbox();
    execFileSync("tar", ["-xf", archive, "-C", fresh.cwd]);
    await target.hasRun();
    const outcome = await runDocproc(fresh, ["upload", "tracked.txt", "--json"], { env: { PATH, HOME: target.home } });
    expect(outcome).toMatchObject({ status: 0 });
    expect(outcome.json().documents[0].provenance.git).toMatchObject({ commit: target.head, branch: "main" });
    expect(await target.hasRun()).toBe(false);
    plainGit(fresh.cwd);
    expect(await target.hasRun()).toBe(true);
  });

  test("the variables of a hook, or of the shell", async () => {
    const { cwd, script, hasRun } = await makeTarget();
    await touch(cwd, "tracked.txt", "1");
    const config = { GIT_CONFIG_COUNT: "1", GIT_CONFIG_KEY_0: "core.fsmonitor", GIT_CONFIG_VALUE_0: script };
    const variables = { PATH, ...config, GIT_DIR: "/nowhere", GIT_SSH_COMMAND: script, GIT_EXEC_PATH: "/nowhere" };
    expect(await readGit({ cwd, env: variables, uid })).toMatchObject({ branch: "main", dirty: false });
    expect(await hasRun()).toBe(false);
  });

  test("leaves nothing behind, and the repository as it was", async () => {
    const { cwd, root } = await makeTarget();
    await touch(cwd, "tracked.txt", "2");
    const temporary = join(root, "tmp");
    await mkdir(temporary);
    vi.stubEnv("TMPDIR", temporary);
    onTestFinished(() => void vi.unstubAllEnvs());
    const index = await readFile(join(cwd, ".git/index"));
    const before = await readdir(join(cwd, ".git"), { recursive: true });
    expect(await readGit({ cwd, env, uid })).toMatchObject({ dirty: true });
    expect(await readdir(temporary)).toEqual([]);
    expect(await readFile(join(cwd, ".git/index"))).toEqual(index);
    expect(await readdir(join(cwd, ".git"), { recursive: true })).toEqual(before);
    // Where another user could replace it, no configuration is written.
    await chmod(temporary, 0o777);
    expect(await readGit({ cwd, env, uid })).toMatchObject({ branch: "main", dirty: null });
  });
});

describe.skipIf(process.platform === "win32")("a program is not taken from", () => {
  /** A `git` of the repository, and the ways that PATH may lead to it. */
  async function makeImpostor() {
    const target = await makeTarget();
    const { cwd, root, script } = target;
    for (const folder of ["cwd", "cwd/bin", "cwd/deep", "npm/node_modules/.bin", "open", "safe", "shared"]) {
      await mkdir(join(root, folder), { recursive: true });
    }
    for (const folder of ["cwd", "cwd/bin", "npm/node_modules/.bin", "open"]) {
      await writeFile(join(root, folder, "git"), `#!/bin/sh\nexec ${script} < /dev/null\n`, { mode: 0o755 });
    }
    await chmod(join(root, "open"), 0o777);
    await writeFile(join(root, "shared/git"), "#!/bin/sh\n");
    await chmod(join(root, "shared/git"), 0o777);
    await symlink(join(cwd, "bin/git"), join(root, "safe/git"));
    await symlink(join(cwd, "bin"), join(root, "link"));
    await symlink(join(root, "npm/node_modules/.bin"), join(root, "npm/bin"));
    return target;
  }

  test.each([
    ["the working tree", "ROOT/cwd/bin"],
    ["the working directory, by an empty entry", ""],
    ["the working directory, by a dot", "."],
    ["a relative folder", "bin:../cwd/bin:./bin"],
    ["an npm project", "ROOT/npm/node_modules/.bin"],
    ["a link to an npm project", "ROOT/npm/bin"],
    ["a link to the working tree", "ROOT/link"],
    ["a folder with a link to the working tree", "ROOT/safe"],
    ["a folder that every user may write to", "ROOT/open"],
    ["a file that every user may write to", "ROOT/shared"],
    ["a file in place of a folder", "ROOT/cwd/bin/git"],
  ])("%s", async (_what, path) => {
    const { cwd, root, hasRun } = await makeImpostor();
    const entries = path.replaceAll("ROOT", root);
    const directory = process.cwd();
    onTestFinished(() => process.chdir(directory));
    process.chdir(cwd);
    for (const place of [cwd, join(cwd, "deep")]) {
      const git = await readGit({ cwd: place, env: { PATH: entries }, uid });
      expect(git).toMatchObject({ branch: "main", dirty: null });
      // What comes later in PATH is found, and gets none of these folders to look in.
      const variables = { PATH: `${entries}:${PATH}` };
      expect(await readGit({ cwd: place, env: variables, uid })).toMatchObject({ dirty: false });
      const folders = await trustedFolders({ cwd: place, env: variables, owners });
      expect(folders).toEqual(
        await trustedFolders({ cwd: place, env, owners }).then((all) => [
          ...(path === "ROOT/safe" || path === "ROOT/shared" ? [entries] : []),
          ...all,
        ]),
      );
    }
    expect(await hasRun()).toBe(false);
  });

  test("other users than this one and root", async () => {
    const { root } = await makeSandbox();
    await writeFile(join(root, "tool"), "#!/bin/sh\n", { mode: 0o755 });
    const place = { cwd: join(root, "cwd"), env: { PATH: root } };
    expect(await findProgram("tool", { ...place, owners })).toBe(join(root, "tool"));
    expect(await findProgram("tool", { ...place, owners: new Set([4_000_000]) })).toBeUndefined();
    expect(await trustedFolders({ ...place, owners: new Set([4_000_000]) })).toEqual([]);
    await chmod(join(root, "tool"), 0o644);
    // Root may run what has no permission for it at all, as far as access() tells.
    if (uid !== 0) expect(await findProgram("tool", { ...place, owners })).toBeUndefined();
  });

  test("a desktop's opener is not either, nor what it starts", async () => {
    const { cwd, root, home, hasRun, script, ...sandbox } = await makeImpostor();
    await writeFile(join(cwd, "bin/xdg-open"), `#!/bin/sh\nexec ${script} < /dev/null\n`, { mode: 0o755 });
    await writeFile(join(root, "npm/node_modules/.bin/xdg-open"), `#!/bin/sh\nexec ${script} < /dev/null\n`, {
      mode: 0o755,
    });
    const place = { root, cwd, home, ...sandbox };
    await runDocproc(place, ["upload", "tracked.txt", "--no-provenance"]);
    const entries = ["bin", join(cwd, "bin"), join(root, "npm/node_modules/.bin"), ""];
    const open = async (path: string) =>
      await runDocproc(place, ["open", "tracked.txt"], { env: { DISPLAY: ":7", PATH: path } });
    expect(await open(entries.join(":"))).toMatchObject({ status: 3 });
    // A real one runs programs of PATH.
    await rm(join(root, "safe/git"));
    await writeFile(join(root, "safe/xdg-open"), `#!/bin/sh\ngit; echo "$PATH" > ${root}/told; pwd >> ${root}/told\n`, {
      mode: 0o755,
    });
    expect(await open([...entries, join(root, "safe"), "/usr/bin", "/bin"].join(":"))).toMatchObject({ status: 0 });
    const lines = async () => (await readFile(join(root, "told"), "utf8")).trim().split("\n");
    await expect.poll(lines).toHaveLength(2);
    const [told, where] = await lines();
    expect(told).toBe([join(root, "safe"), "/usr/bin", "/bin"].join(":"));
    expect(where).not.toContain(cwd);
    expect(await hasRun()).toBe(false);
  });
});

describe.skipIf(process.platform === "win32")("no upload waits for", () => {
  const fifo = (path: string) => void execFileSync("mkfifo", [path]);
  const replaced = async (path: string, make: (path: string) => unknown) => {
    await rm(path, { recursive: true, force: true });
    await mkdir(join(path, ".."), { recursive: true });
    await make(path);
  };
  const endless = async (path: string) => await symlink("/dev/zero", path);
  const huge = async (path: string) => {
    await writeFile(path, "");
    await truncate(path, 10 * 1024 ** 3);
  };

  test.each([
    [".git", fifo, null],
    [".git", endless, null],
    [".git", huge, null],
    [".git/HEAD", fifo, null],
    [".git/HEAD", endless, null],
    [".git/HEAD", huge, null],
    [".git/commondir", fifo, null],
    [".git/config", fifo, { branch: "main", dirty: null, remote: null }],
    [".git/config", endless, { branch: "main", dirty: null, remote: null }],
    [".git/config", huge, { branch: "main", dirty: null, remote: null }],
    [".git/refs/heads/main", fifo, { commit: null, branch: "main", dirty: null }],
    [".git/refs/heads/main", huge, { commit: null, branch: "main", dirty: null }],
    [".git/index", fifo, { branch: "main", dirty: null }],
    [".git/index", endless, { branch: "main", dirty: null }],
    [".git/index", huge, { branch: "main", dirty: null }],
    [".git/objects", fifo, { branch: "main", dirty: null }],
    [".git/objects/info/alternates", fifo, { branch: "main", dirty: null }],
    [".git/objects/info/alternates", huge, { branch: "main", dirty: null }],
    [".git/objects/pack/pack-0123456789012345678901234567890123456789.idx", fifo, { branch: "main" }],
    [".git/info/attributes", fifo, { branch: "main", dirty: null }],
    [".git/info/attributes", endless, { branch: "main", dirty: null }],
    [".gitattributes", fifo, { branch: "main" }],
    [".gitmodules", fifo, { branch: "main" }],
    ["tracked.txt", fifo, { branch: "main", dirty: true }],
  ])("%s (%O)", async (path, make, expected) => {
    const sandbox = await makeRepository();
    await writeFile(join(sandbox.cwd, "document.txt"), "a");
    await touch(sandbox.cwd, "tracked.txt", "1");
    await replaced(join(sandbox.cwd, path), make);
    const before = Date.now();
    const outcome = await runDocproc(sandbox, ["upload", "document.txt", "--json"], { env });
    expect(outcome).toMatchObject({ status: 0 });
    const { provenance } = outcome.json().documents[0];
    if (expected === null) expect(provenance).toBeNull();
    else expect(provenance.git).toMatchObject(expected);
    expect(Date.now() - before).toBeLessThan(60_000);
  });

  test("branches in one file that has no end", async () => {
    for (const make of [fifo, huge]) {
      const { cwd } = await makeRepository();
      await rm(join(cwd, ".git/refs/heads/main"));
      await replaced(join(cwd, ".git/packed-refs"), make);
      expect(await readGit({ cwd, env, uid })).toMatchObject({ commit: null, branch: "main", dirty: null });
    }
  });

  test("a submodule", async () => {
    const { cwd, root } = await makeRepository();
    git(cwd, "clone", "-q", cwd, join(root, "other"));
    git(cwd, "-c", "protocol.file.allow=always", "submodule", "add", "-q", join(root, "other"), "sub");
    git(cwd, "commit", "-qm", "two");
    await replaced(join(cwd, ".git/modules/sub/HEAD"), fifo);
    expect(await readGit({ cwd, env, uid })).toMatchObject({ branch: "main", dirty: null });
    await replaced(join(cwd, "sub/.git"), fifo);
    expect(await readGit({ cwd, env, uid })).toMatchObject({ branch: "main" });
  });

  test("git, after an interruption", async () => {
    const { cwd } = await makeRepository();
    await touch(cwd, "tracked.txt", "1");
    // Git itself opens it.
    await replaced(join(cwd, ".gitattributes"), fifo);
    const interruption = new AbortController();
    let before = 0;
    setTimeout(() => {
      before = Date.now();
      interruption.abort(new Error("interrupted"));
    }, 300);
    expect(await readGit({ cwd, env, uid, signal: interruption.signal }).catch(String)).toMatch(/interrupted/);
    expect(Date.now() - before).toBeLessThan(1_500);
    await expect(readGit({ cwd, env, uid, signal: interruption.signal })).rejects.toThrow("interrupted");
  });
});

describe("a repository is not believed", () => {
  const key = "0123456789abcdef0123456789abcdef01234567";

  test("about a file that a link leads to", async () => {
    const { cwd, root } = await makeSandbox();
    await writeFile(join(root, "key"), `${key}\n`);
    await mkdir(join(cwd, ".git/refs/heads"), { recursive: true });
    await writeFile(join(cwd, ".git/HEAD"), "ref: refs/heads/main\n");
    await symlink(join(root, "key"), join(cwd, ".git/refs/heads/main"));
    expect(await readGit({ cwd, env, uid })).toMatchObject({ commit: null, branch: "main" });
    await rm(join(cwd, ".git/refs"), { recursive: true });
    await mkdir(join(root, "refs/heads"), { recursive: true });
    await rename(join(root, "key"), join(root, "refs/heads/main"));
    await symlink(join(root, "refs"), join(cwd, ".git/refs"));
    expect(await readGit({ cwd, env, uid })).toMatchObject({ commit: null, branch: "main" });
    await rm(join(cwd, ".git/HEAD"));
    await symlink(join(root, "refs/heads/main"), join(cwd, ".git/HEAD"));
    await expect(readGit({ cwd, env, uid })).rejects.toThrow("its HEAD is a link that leads out of it");
  });

  test.each(["//server/share/.git", "\\\\server\\share\\.git"])("that is said to be at %s", async (place) => {
    const { cwd } = await makeSandbox();
    await writeFile(join(cwd, ".git"), `gitdir: ${place}\n`);
    await expect(readGit({ cwd, env, uid })).rejects.toThrow("it is on another machine");
  });

  test.skipIf(!hasGit)("about objects that are not here", async () => {
    const { cwd } = await makeRepository();
    const told: string[] = [];
    const alternates = join(cwd, ".git/objects/info/alternates");
    for (const places of ["//server/objects", "/nowhere/objects"]) {
      await writeFile(alternates, `${places}\n`);
      expect(await readGit({ cwd, env, uid }, (message) => told.push(message))).toMatchObject({ dirty: null });
    }
    expect(told).toEqual([expect.stringContaining("on another machine"), expect.stringContaining("/nowhere/objects")]);
  });

  test.each([
    ["control characters", "a\u001b[31mb"],
    ["two dots", "a..b"],
    ["a dot at its beginning", ".a"],
    ["the end of a lock", "a.lock"],
    ["a space", "a b"],
    ["two slashes", "a//b"],
    ["a reflog", "@{1}"],
    ["an ancestor", "a~1"],
    ["bytes that are no text", "\udc80"],
    ["a thousand letters", "x".repeat(1_001)],
  ])("about a branch whose name has %s", async (_what, name) => {
    const { cwd } = await makeSandbox();
    await mkdir(join(cwd, ".git"));
    await writeFile(join(cwd, ".git/HEAD"), `ref: refs/heads/${name}\n`);
    expect(await readGit({ cwd, env, uid })).toEqual({ commit: null, branch: null, dirty: null, remote: null });
  });

  test.skipIf(uid !== 0)("that is another user's: its files, where it is, what it shares, its objects", async () => {
    const { root, cwd } = await makeSandbox();
    const [own, shared] = [join(root, "own"), join(root, "shared")];
    for (const folder of [own, shared, join(shared, "objects")]) await mkdir(folder);
    await writeFile(join(cwd, ".git"), `gitdir: ${own}\n`);
    await writeFile(join(own, "HEAD"), `${key}\n`);
    await writeFile(join(own, "commondir"), `${shared}\n`);
    const told: string[] = [];
    const read = async () => await readGit({ cwd, env, uid }, (message) => told.push(message));
    for (const place of [cwd, join(cwd, ".git"), own, shared]) {
      execFileSync("chown", ["12345", place]);
      expect(await read()).toBeNull();
      expect(told.splice(0)).toEqual(["The git repository belongs to another user, so it is not read."]);
      // The user who became root has it all the same, as git has it.
      expect(await readGit({ cwd, env: { ...env, SUDO_UID: "12345" }, uid })).toMatchObject({ commit: key });
      execFileSync("chown", ["0", place]);
    }
    execFileSync("chown", ["12345", join(shared, "objects")]);
    expect(await read()).toMatchObject({ commit: key, dirty: null });
    expect(told).toEqual([expect.stringContaining("belong to another user")]);
  });

  test.skipIf(!hasGit)("further up where the nearest one is no repository", async () => {
    const { cwd } = await makeRepository();
    await mkdir(join(cwd, "nested/.git"), { recursive: true });
    await expect(readGit({ cwd: join(cwd, "nested"), env, uid })).rejects.toThrow("it has no HEAD");
  });

  test.skipIf(!hasGit)("about a commit that it does not have", async () => {
    const { cwd } = await makeRepository();
    await writeFile(join(cwd, ".git/refs/heads/main"), `${key}\n`);
    expect(await readGit({ cwd, env, uid })).toMatchObject({ commit: key, dirty: null });
  });
});

/** Whether files were changed since the commit, in repositories as git makes them: git's own answer, without its risks. */
import { createHash } from "node:crypto";
import { appendFile, chmod, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readGit } from "../../../src/provenance/git/commit.ts";
import { commitFiles, git, hasGit, makeRepository, touch } from "../../support/repository.ts";
import { makeSandbox } from "../../support/run.ts";

const { PATH } = process.env;
const uid = process.getuid?.();

async function dirtyIn(cwd: string, home = "/nowhere"): Promise<unknown> {
  return (await readGit({ cwd, env: { PATH, HOME: home }, uid }))?.dirty;
}

/** What stands for a file in the commit: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md */
function pointerTo(text: string): string {
  const sha256 = createHash("sha256").update(text).digest("hex");
  return `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256}\nsize ${text.length}\n`;
}

describe.skipIf(!hasGit)("a repository", () => {
  test("is clean, and dirty by what is changed, staged, deleted or of another mode", async () => {
    const { cwd, head } = await makeRepository();
    expect(await readGit({ cwd, env: { PATH }, uid })).toEqual({
      commit: head,
      branch: "main",
      dirty: false,
      remote: null,
    });
    await writeFile(join(cwd, "untracked"), "a");
    await touch(cwd, "tracked.txt", "1");
    expect(await dirtyIn(cwd)).toBe(false);
    // Within the time that a disk tells apart, of the same size.
    await writeFile(join(cwd, "tracked.txt"), "2");
    expect(await dirtyIn(cwd)).toBe(true);
    git(cwd, "add", "tracked.txt");
    expect(await dirtyIn(cwd)).toBe(true);
    git(cwd, "commit", "-qm", "two");
    expect(await dirtyIn(cwd)).toBe(false);
    await chmod(join(cwd, "tracked.txt"), 0o755);
    expect(await dirtyIn(cwd)).toBe(true);
    git(cwd, "config", "core.fileMode", "false");
    expect(await dirtyIn(cwd)).toBe(false);
    await rm(join(cwd, "tracked.txt"));
    expect(await dirtyIn(cwd)).toBe(true);
    git(cwd, "rm", "-q", "--cached", "tracked.txt");
    expect(await dirtyIn(cwd)).toBe(true);
  });

  test("of SHA-256, packed", async () => {
    const { cwd, head } = await makeRepository("--object-format=sha256");
    git(cwd, "gc", "-q");
    expect(await readGit({ cwd, env: { PATH }, uid })).toMatchObject({ commit: head, branch: "main", dirty: false });
    expect(head).toHaveLength(64);
    await appendFile(join(cwd, "tracked.txt"), "2");
    expect(await dirtyIn(cwd)).toBe(true);
  });

  test("without a commit, and with one that is checked out itself", async () => {
    const { cwd } = await makeSandbox();
    git(cwd, "init", "-q", "-b", "main");
    expect(await readGit({ cwd, env: { PATH }, uid })).toEqual({
      commit: null,
      branch: "main",
      dirty: false,
      remote: null,
    });
    await writeFile(join(cwd, "a"), "a");
    git(cwd, "add", "a");
    expect(await dirtyIn(cwd)).toBe(true);
    git(cwd, "commit", "-qm", "one");
    git(cwd, "checkout", "-q", "--detach");
    const commit = git(cwd, "rev-parse", "HEAD");
    expect(await readGit({ cwd, env: { PATH }, uid })).toEqual({ commit, branch: null, dirty: false, remote: null });
  });

  test("with a second worktree", async () => {
    const { cwd, root } = await makeRepository();
    git(cwd, "worktree", "add", "-q", "-b", "side", join(root, "second"));
    await commitFiles(join(root, "second"), { "more.txt": "1" });
    const commit = git(join(root, "second"), "rev-parse", "HEAD");
    const reading = { cwd: join(root, "second"), env: { PATH }, uid };
    expect(await readGit(reading)).toMatchObject({ commit, branch: "side", dirty: false });
    await appendFile(join(root, "second/more.txt"), "2");
    expect(await readGit(reading)).toMatchObject({ dirty: true });
    expect(await dirtyIn(cwd)).toBe(false);
  });

  test("with a submodule, which has a commit of its own", async () => {
    const { cwd, root } = await makeRepository();
    git(cwd, "clone", "-q", cwd, join(root, "other"));
    const commit = git(join(root, "other"), "rev-parse", "HEAD");
    await commitFiles(cwd, { "more.txt": "1" });
    git(cwd, "-c", "protocol.file.allow=always", "submodule", "add", "-q", join(root, "other"), "sub");
    git(cwd, "commit", "-qm", "two");
    const within = { cwd: join(cwd, "sub"), env: { PATH }, uid };
    expect(await readGit(within)).toEqual({ commit, branch: "main", dirty: false, remote: join(root, "other") });
    await appendFile(join(cwd, "sub/tracked.txt"), "2");
    expect(await readGit(within)).toMatchObject({ commit, dirty: true });
    expect(await readGit({ ...within, cwd })).toMatchObject({ commit: git(cwd, "rev-parse", "HEAD"), dirty: false });
  });

  test("whose files git-lfs keeps", async () => {
    const { cwd } = await makeRepository();
    await commitFiles(cwd, {
      ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
      "a.bin": pointerTo("one"),
    });
    // As they are without git-lfs.
    expect(await dirtyIn(cwd)).toBe(false);
    await writeFile(join(cwd, "a.bin"), "one");
    expect(await dirtyIn(cwd)).toBe(false);
    await writeFile(join(cwd, "a.bin"), "two");
    expect(await dirtyIn(cwd)).toBe(true);
    await writeFile(join(cwd, "a.bin"), "one");
    await appendFile(join(cwd, "tracked.txt"), "2");
    expect(await dirtyIn(cwd)).toBe(true);
  });

  test("with another filter is not known for other bytes alone", async () => {
    const { cwd } = await makeRepository();
    await commitFiles(cwd, { ".gitattributes": "*.bin filter=x\n", "a.bin": "1" });
    await touch(cwd, "a.bin", "1");
    expect(await dirtyIn(cwd)).toBe(false);
    await writeFile(join(cwd, "a.bin"), "2");
    expect(await dirtyIn(cwd)).toBeNull();
    await chmod(join(cwd, "a.bin"), 0o755);
    expect(await dirtyIn(cwd)).toBe(true);
    await chmod(join(cwd, "a.bin"), 0o644);
    await rm(join(cwd, "tracked.txt"));
    expect(await dirtyIn(cwd)).toBe(true);
    git(cwd, "checkout", "-q", "tracked.txt");
    await commitFiles(cwd, { ".gitattributes": "", "a.bin": "1" });
    await mkdir(join(cwd, ".git/info"), { recursive: true });
    await writeFile(join(cwd, ".git/info/attributes"), "*.bin filter=x\n");
    await writeFile(join(cwd, "a.bin"), "2");
    expect(await dirtyIn(cwd)).toBeNull();
  });

  test("with other line ends on disk, as the repository or the user has it", async () => {
    const { cwd, home, root } = await makeRepository();
    // Git takes another size for a change, so it has to be the one that it knows.
    await writeFile(join(cwd, "lines.txt"), "1\r\n2\r\n");
    git(cwd, "-c", "core.autocrlf=true", "add", "lines.txt");
    git(cwd, "commit", "-qm", "two");
    await touch(cwd, "lines.txt", "1\r\n2\r\n");
    expect(await dirtyIn(cwd, home)).toBe(true);
    await writeFile(join(home, ".gitconfig"), "[core]\n\tautocrlf = true\n");
    expect(await dirtyIn(cwd, home)).toBe(false);
    git(cwd, "config", "core.autocrlf", "false");
    expect(await dirtyIn(cwd, home)).toBe(true);
    git(cwd, "config", "core.autocrlf", "input");
    expect(await dirtyIn(cwd)).toBe(false);
    git(cwd, "config", "--unset", "core.autocrlf");
    await writeFile(join(cwd, ".gitattributes"), "*.txt text\n");
    expect(await dirtyIn(cwd)).toBe(false);
    await rm(join(cwd, ".gitattributes"));
    await writeFile(join(root, "attributes"), "*.txt text\n");
    await writeFile(join(home, ".gitconfig"), `[core]\n\tattributesFile = "${join(root, "attributes")}"\n`);
    expect(await dirtyIn(cwd, home)).toBe(false);
    await rm(join(home, ".gitconfig"));
    await mkdir(join(home, ".config/git"), { recursive: true });
    await writeFile(join(home, ".config/git/attributes"), "*.txt text\n");
    expect(await dirtyIn(cwd, home)).toBe(false);
  });

  test("that borrows its objects, or lacks some of them", async () => {
    const { cwd, root } = await makeRepository();
    git(root, "clone", "-q", "--shared", cwd, join(root, "shared"));
    expect(await dirtyIn(join(root, "shared"))).toBe(false);
    git(cwd, "config", "uploadpack.allowFilter", "true");
    git(root, "clone", "-q", "--filter=blob:none", `file://${cwd}`, join(root, "partial"));
    await touch(join(root, "partial"), "tracked.txt", "1");
    expect(await dirtyIn(join(root, "partial"))).toBe(false);
    await appendFile(join(root, "partial/tracked.txt"), "2");
    expect(await dirtyIn(join(root, "partial"))).toBe(true);
  });

  test("of which only a part is checked out", async () => {
    const { cwd } = await makeRepository();
    for (const folder of ["a", "b"]) {
      await mkdir(join(cwd, folder));
      await commitFiles(cwd, { [`${folder}/file`]: folder });
    }
    git(cwd, "sparse-checkout", "set", "--cone", "--sparse-index", "a");
    expect(await readdir(cwd)).not.toContain("b");
    expect(await dirtyIn(cwd)).toBe(false);
    await appendFile(join(cwd, "a/file"), "2");
    expect(await dirtyIn(cwd)).toBe(true);
  });

  test("whose index says of a changed file that it was watched", async () => {
    const { cwd, root } = await makeRepository();
    // As a monitor that saw nothing.
    await writeFile(join(root, "monitor"), '#!/bin/sh\nprintf "token\\0"\n', { mode: 0o755 });
    git(cwd, "config", "core.fsmonitor", join(root, "monitor"));
    for (let run = 0; run < 2; run += 1) git(cwd, "status");
    git(cwd, "update-index", "--fsmonitor-valid", "tracked.txt");
    await appendFile(join(cwd, "tracked.txt"), "2");
    expect(git(cwd, "status", "--porcelain", "--untracked-files=no")).toBe("");
    expect(await dirtyIn(cwd)).toBe(true);
  });

  test("whose index is in two files", async () => {
    const { cwd } = await makeRepository();
    git(cwd, "update-index", "--split-index");
    expect((await readdir(join(cwd, ".git"))).join()).toContain("sharedindex");
    expect(await dirtyIn(cwd)).toBe(false);
    await appendFile(join(cwd, "tracked.txt"), "2");
    expect(await dirtyIn(cwd)).toBe(true);
  });

  test("without files of its own is not known", async () => {
    const { cwd } = await makeRepository();
    git(cwd, "config", "core.bare", "true");
    expect(await dirtyIn(cwd)).toBeNull();
  });

  test("with more changes than git is let tell", async () => {
    const { cwd } = await makeRepository();
    const names = Array.from({ length: 4_500 }, (_, index) => `${"x".repeat(200)}${index}`);
    await commitFiles(cwd, Object.fromEntries(names.map((name) => [name, "1"])));
    await Promise.all(names.map((name) => writeFile(join(cwd, name), "2")));
    expect(await dirtyIn(cwd)).toBe(true);
    await writeFile(join(cwd, ".gitattributes"), "* filter=x\n");
    expect(await dirtyIn(cwd)).toBeNull();
    await rm(join(cwd, names[0] ?? ""));
    expect(await dirtyIn(cwd)).toBe(true);
  });

  test("whose branches are in tables, where git knows them", async () => {
    const { cwd, root } = await makeSandbox();
    let knows = true;
    try {
      git(cwd, "init", "-q", "-b", "main", "--ref-format=reftable");
    } catch {
      knows = false;
      git(cwd, "init", "-q");
      await writeFile(join(cwd, ".git/HEAD"), "ref: refs/heads/.invalid\n");
      git(cwd, "config", "remote.origin.url", "host:a");
      await appendFile(join(cwd, ".git/config"), "[extensions]\nrefStorage = reftable\n");
    }
    if (!knows) {
      const unknown = { commit: null, branch: null, dirty: null };
      expect(await readGit({ cwd, env: { PATH }, uid })).toEqual({ ...unknown, remote: "host:a" });
      return;
    }
    expect(await readGit({ cwd, env: { PATH }, uid })).toMatchObject({ commit: null, branch: "main", dirty: false });
    await commitFiles(cwd, { a: "1" });
    const commit = git(cwd, "rev-parse", "HEAD");
    expect(await readGit({ cwd, env: { PATH }, uid })).toMatchObject({ commit, branch: "main", dirty: false });
    git(cwd, "worktree", "add", "-q", "-b", "side", join(root, "second"));
    await appendFile(join(root, "second/a"), "2");
    const second = { cwd: join(root, "second"), env: { PATH }, uid };
    expect(await readGit(second)).toMatchObject({ commit, branch: "side", dirty: true });
    git(cwd, "checkout", "-q", "--detach");
    expect(await readGit({ cwd, env: { PATH }, uid })).toMatchObject({ commit, branch: null, dirty: false });
  });
});

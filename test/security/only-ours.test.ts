/**
 * Every command, as a process that is watched: whatever it removes, renames or re-modes is docproc's own, and no
 * program is started but git and the desktop's opener. What others keep in the same directories stays as it is.
 */
import { execFileSync } from "node:child_process";
import { chmod, mkdir, readdir, readFile, symlink, utimes, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { Step } from "../../src/core/crash-points.ts";
import { newDocumentId } from "../../src/document/record.ts";
import { temporaryIn } from "../../src/files/removal.ts";
import { awsSettings, startInRepoAws } from "../support/aws.ts";
import { awsState } from "../support/oracle.ts";
import { picture } from "../support/picture.ts";
import { docproc, killer } from "../support/process.ts";
import { makeSandbox } from "../support/run.ts";

const watcher = ["--import", new URL("../support/watch-files.mjs", import.meta.url).href];
const random = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}";
const part = `\\.docproc-${random}\\.part`;
const documentDirectory = `cwd/(library|clean)/objects/(team/)?[0-9a-f]{2}/${random}`;

/** All that docproc may do, with paths from the sandbox. Each has to be met: one that never is would prove nothing. */
const allowed = [
  // Temporary files of uploads, downloads and init.
  `unlink cwd/(library|clean)/incoming/${part}`,
  `unlink cwd/(out/)?${part}`,
  `unlink cwd/out/deep/er/${part}`,
  `unlink tmp/docproc-\\w{6}/${part}`,
  `handle\\.chmod cwd/(out/(deep/er/)?)?${part}`,
  `rename cwd/out/deep/er/${part} cwd/out/deep/er/b\\.txt`,
  `handle\\.chmod tmp/docproc-\\w{6}/${part}`,
  "rmdir tmp/docproc-\\w{6}",
  // The repository of its own that git is asked about, and consents that are taken back.
  "unlink tmp/docproc-git-\\w{6}/(HEAD|config|info/attributes)",
  "rmdir tmp/docproc-git-\\w{6}(/(refs|info))?",
  "unlink config/docproc/trusted/[0-9a-f]{32}-[0-9a-f]{64}\\.json",
  // What --force and init were told to replace.
  `rename cwd/${part} cwd/copy\\.txt`,
  `rename cwd/${part} cwd/\\.docprocrc\\.json`,
  // The time of a document, by which a later write to it shows.
  `handle\\.utimes ${documentDirectory}/[\\w.-]+`,
  // Documents that are deleted, each with its directory; journals; a library that is destroyed.
  `unlink ${documentDirectory}/[\\w.-]+`,
  `rmdir ${documentDirectory}`,
  "unlink state/docproc/uploads/[0-9a-f]{40}\\.db(-wal|-shm|-journal)?",
  "rmdir cwd/clean/(incoming|objects(/[0-9a-f]{2})?)",
  "unlink cwd/clean/catalog(-id|\\.db|\\.db-journal)",
  "rmdir cwd/clean",
  // The summary of a CI job is there for it, and is written at its end.
  "open to write summary\\.md",
  "start (.*/)?git",
  "start (.*/)?(xdg-)?open",
].map((line) => new RegExp(`^${line}$`));

const monthAgo = new Date(Date.now() - 30 * 86_400_000);
const hex = "0123456789abcdef0123456789abcdef01234567";

async function openWatched() {
  const sandbox = await makeSandbox();
  const { root, cwd } = sandbox;
  const at = (...names: string[]) => join(root, ...names);
  await Promise.all([mkdir(at("tmp")), mkdir(at("bin"))]);
  for (const opener of ["xdg-open", "open"]) await writeFile(at("bin", opener), "#!/bin/sh\n", { mode: 0o755 });
  const PATH = `${at("bin")}:${process.env["PATH"]}`;
  const env = { TMPDIR: at("tmp"), PATH, DISPLAY: ":7", WATCH_FILES_LOG: at("log") };
  /** Runs a command, and asks for its exit status. */
  const run = async (status: number, argv: readonly string[], more: Record<string, string> = {}) => {
    const outcome = await docproc(sandbox, argv, { node: watcher, env: { ...env, ...more } });
    expect(outcome, `${argv.join(" ")}: ${outcome.stderr}`).toMatchObject({ status });
    return outcome.stdout;
  };
  const kill = async (step: Step, argv: readonly string[]) => {
    const node = [...watcher, ...killer];
    const killed = await docproc(sandbox, argv, { node, env: { ...env, KILL_AT_STEP: step, KILL_AT_NTH: "1" } });
    expect(killed).toMatchObject({ status: "SIGKILL" });
  };
  const plant = async (path: string, content = "theirs") => {
    await mkdir(dirname(at(path)), { recursive: true });
    await writeFile(at(path), content);
    await utimes(at(path), monthAgo, monthAgo);
  };
  /** What was told of the processes, with paths from the sandbox. */
  const told = async () => {
    const lines = (await readFile(at("log"), "utf8")).trimEnd().split("\n");
    const below = (path: string) => (path.startsWith(root) ? relative(root, path) : path);
    return lines.map((line) => {
      const [operation, ...paths] = JSON.parse(line) as [string, ...string[]];
      return [operation, ...paths.map(below)].join(" ");
    });
  };
  return { root, cwd, at, run, kill, plant, told };
}

type Watched = Awaited<ReturnType<typeof openWatched>>;

/** Puts what is not docproc's into every directory where docproc removes something, and says how to look at it. */
async function plantOthers({ root, at, plant }: Watched): Promise<() => Promise<Record<string, string>>> {
  const id = newDocumentId();
  const folders = ["cwd/library/incoming", "state/docproc/uploads", "tmp/docproc-theirs", "cwd/out"];
  const names = ["mail.eml", "sub/deep.txt", id, ".docproc-1.part"];
  const library = [`objects/${id.slice(-2)}/notes.txt`, `objects/zz/${id}/a.txt`, "notes.txt", "backup/catalog.db"];
  const theirs = [
    ...folders.flatMap((folder) => names.map((name) => `${folder}/${name}`)),
    ...library.map((name) => `cwd/library/${name}`),
    `state/docproc/uploads/${hex}.db`,
    `state/docproc/uploads/${hex}.db-wal`,
    "outside/id_rsa",
  ];
  for (const path of theirs) await plant(path);
  const links = ["cwd/library/incoming/link", "cwd/library/objects/link", "state/docproc/uploads/link"];
  for (const link of links) await symlink(at("outside"), at(link));
  await chmod(at("cwd", "library"), 0o755);
  const watched = [...theirs, ...links, ...folders, "cwd/library", "cwd/library/objects", "state", "state/docproc"];
  return async () => {
    const all = await picture(root);
    return Object.fromEntries(watched.map((name) => [name, all[name] ?? "it is gone"]));
  };
}

/** Makes everything in the library a month old. */
async function age({ at }: Watched): Promise<void> {
  for (const folder of ["objects", "incoming"]) {
    for (const name of await readdir(at("cwd", "library", folder), { recursive: true })) {
      if (basename(name) !== "link") await utimes(at("cwd", "library", folder, name), monthAgo, monthAgo);
    }
  }
}

async function useEmbeddedLibrary(watched: Watched): Promise<void> {
  const { cwd, at, run, kill, plant } = watched;
  await writeFile(join(cwd, ".docprocrc.json"), '{"prefix":""}');
  await run(0, ["init", "--directory", "library"]);
  await plant("summary.md");
  const job = { GITHUB_ACTIONS: "true", GITHUB_STEP_SUMMARY: at("summary.md") };
  await run(0, ["upload", "a.txt", "large.bin"], job);
  await run(0, ["upload", "a.txt"]);
  await run(0, ["upload", "a.txt", "--name", "b.txt", "--prefix", "team/"]);
  for (const argv of [
    ["list", "--all"],
    ["show", "a.txt"],
    ["tag", "b.txt", "k=w"],
    ["stats"],
    ["config"],
    ["trust"],
  ]) {
    await run(0, argv);
  }
  await run(0, ["verify", "--all", "--deep"]);
  await run(0, ["cat", "a.txt"]);
  await run(0, ["completion", "bash"]);
  await run(0, ["trust", "--remove"]);
  await run(0, ["open", "a.txt"]);
  await run(0, ["download", "a.txt", "-o", "copy.txt"]);
  await writeFile(join(cwd, "copy.txt"), "other bytes");
  await run(5, ["download", "a.txt", "-o", "copy.txt"]);
  await run(0, ["download", "a.txt", "-o", "copy.txt", "--force"]);
  await run(0, ["download", "large.bin", "-o", "out/"]);
  for (const flags of [[], ["--force"]]) {
    await writeFile(join(cwd, "b.txt"), `with ${flags}`);
    await run(0, ["upload", "b.txt", "--into", "deep/er"]);
    await run(0, ["download", "--under", "deep", "-o", "out", ...flags]);
  }
  await run(0, ["delete", "deep/er/b.txt", "deep/er/b.txt", "--yes"]);
  await writeFile(join(cwd, "records.ndjson"), await run(0, ["export"]));
  await run(0, ["import", "records.ndjson"]);

  await kill("local-file-flushed", ["upload", "a.txt", "--name", "c.txt"]);
  await kill("local-file-published", ["upload", "a.txt", "--name", "d.txt"]);
  await kill("download-checked", ["download", "a.txt", "-o", "out/"]);
  const id = newDocumentId();
  await mkdir(at("cwd", "library", "objects", id.slice(-2), id), { recursive: true });
  await plant(relative(at(), temporaryIn(at("cwd", "library", "incoming"))));
  await age(watched);
  const repaired = await run(0, ["doctor", "--repair", "--yes"]);
  expect(repaired).toMatch(/^ok +other files .+left alone/m);
  expect(repaired.match(/^repaired /gm)).toHaveLength(5);

  // Damaged bytes reach neither a file nor the desktop.
  const objects = at("cwd", "library", "objects");
  const [damaged = ""] = (await readdir(objects, { recursive: true })).filter((name) => name.endsWith("/large.bin"));
  await writeFile(join(objects, damaged), "damaged");
  await run(6, ["download", "large.bin", "-o", "again.bin"]);
  await run(6, ["open", "large.bin"]);
  await run(0, ["delete", "a.txt", "b.txt", "large.bin", "--yes"]);
  await run(5, ["destroy", "--confirm", "library"]);
}

async function useAws({ at, cwd, run, kill }: Watched): Promise<void> {
  const aws = await startInRepoAws();
  onTestFinished(() => aws.close());
  const bucket = awsSettings("").bucket ?? "";
  const team = { bucket, endpointUrl: aws.endpoint };
  await writeFile(join(cwd, "team.json"), JSON.stringify({ profiles: { team, clean: { directory: "./clean" } } }));
  const useTeam = ["--config", "team.json", "--use", "team"];
  await run(0, ["init", ...useTeam]);
  const upload = ["upload", "large.bin", "--part-size", "5MiB", ...useTeam];
  await kill("s3-part-stored", upload);
  await kill("s3-part-stored", [...upload, "--name", "old.bin"]);
  const uploads = at("state", "docproc", "uploads");
  const journals = async () => (await readdir(uploads)).filter((name) => /^[0-9a-f]{40}\.db$/.test(name));
  const [old = ""] = (await journals()).filter((name) => !name.startsWith(hex));
  for (const suffix of ["", "-wal"]) await utimes(join(uploads, `${old}${suffix}`), monthAgo, monthAgo);
  await run(0, [...upload, "--name", "other.bin"]);
  expect(await journals()).toHaveLength(2);
  await run(0, upload);
  await run(0, [...upload, "--name", "old.bin"]);
  expect(await journals()).toEqual([`${hex}.db`]);
  // The upload whose journal was too old.
  await awsState(aws, bucket).age();
  for (const argv of [
    ["url", "large.bin"],
    ["policy", "upload"],
    ["doctor", "--repair"],
  ])
    await run(0, [...argv, ...useTeam]);
  await run(0, ["copy", "large.bin", "--config", "team.json", "--from", "team", "--to", "clean"]);
  await run(0, ["delete", "large.bin", "old.bin", "other.bin", "--yes", ...useTeam]);
  await run(0, ["destroy", "--confirm", bucket, ...useTeam]);
  await run(0, ["delete", "large.bin", "--yes", "--directory", "clean"]);
  await run(0, ["destroy", "--directory", "clean", "--confirm", "clean"]);
}

test("all that the commands remove, rename, re-mode or start is docproc's", { timeout: 300_000 }, async () => {
  const watched = await openWatched();
  const { cwd, plant, told } = watched;
  await plant("cwd/a.txt", "a document");
  await plant("cwd/large.bin", "x".repeat(12 * 1024 * 1024));
  const git = (...argv: string[]) =>
    execFileSync("git", ["-c", "user.name=a", "-c", "user.email=a@b.c", ...argv], { cwd });
  git("init", "--quiet");
  git("add", "a.txt");
  git("commit", "--quiet", "--message", "a");
  const look = await plantOthers(watched);
  const before = await look();

  await useEmbeddedLibrary(watched);
  await useAws(watched);

  expect(await look()).toEqual(before);
  const lines = await told();
  expect([...new Set(lines.filter((line) => !allowed.some((form) => form.test(line))))]).toEqual([]);
  expect(allowed.filter((form) => !lines.some((line) => form.test(line)))).toEqual([]);
});

/**
 * Finds and runs the two programs that docproc starts, git and the desktop's opener. PATH may lead into files that were
 * just unpacked, since npx and other tools add project folders to it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import type { Stats } from "node:fs";
import { access, constants, lstat, realpath, stat } from "node:fs/promises";
import { delimiter, dirname, isAbsolute, join, parse, sep } from "node:path";

export interface ProgramPlace {
  /** Absolute. Programs in it, or in a repository around it, are not trusted. */
  readonly cwd: string;
  readonly env: Variables;
  /** Ids of users whose programs are trusted; undefined where the system has no such ids. */
  readonly owners: ReadonlySet<number> | undefined;
}

type Variables = Readonly<Record<string, string | undefined>>;

export interface RunOptions {
  readonly cwd: string;
  /** The whole environment of the program. */
  readonly env: Variables;
  readonly input?: string | undefined;
  /** Kills the program and ends the wait. */
  readonly signal: AbortSignal;
}

export interface Output {
  /** Null for a program killed because it printed too much. */
  readonly status: number | null;
  /** At most about {@link maxOutput}. */
  readonly stdout: Buffer;
}

/** Bytes. */
const maxOutput = 1024 * 1024;

const isWindows = sep === "\\";

/** The path of a program that is in one of the {@link trustedFolders} and is trusted itself; undefined if none is. */
export async function findProgram(name: string, place: ProgramPlace): Promise<string | undefined> {
  // Other kinds, such as .cmd, need a shell.
  const file = isWindows ? `${name}.exe` : name;
  const trees = await workingTrees(place.cwd);
  for (const folder of foldersOf(place.env)) {
    const path = join(folder, file);
    if ((await isTrustedFolder(folder, trees, place)) && (await isTrustedProgram(path, trees, place))) return path;
  }
  return undefined;
}

/**
 * The folders of PATH whose programs may be started: absolute, not in the working directory or its repository, not in
 * `node_modules`, owned by this user or root, and not writable by every user.
 */
export async function trustedFolders(place: ProgramPlace): Promise<string[]> {
  const trees = await workingTrees(place.cwd);
  const folders = foldersOf(place.env);
  const trusted = await Promise.all(folders.map((folder) => isTrustedFolder(folder, trees, place)));
  return folders.filter((_, index) => trusted[index]);
}

/**
 * Runs a program to its end. Its stderr is dropped.
 * @param program absolute
 * @throws the signal's reason when it fires, and the system's error when the program cannot be started
 */
export async function runProgram(program: string, argv: readonly string[], options: RunOptions): Promise<Output> {
  const { cwd, env, input, signal } = options;
  signal.throwIfAborted();
  const child = spawn(program, argv, { cwd, env, stdio: ["pipe", "pipe", "ignore"], windowsHide: true });
  const chunks: Buffer[] = [];
  let length = 0;
  // Not SIGTERM: a program that waits for a disk or a pipe may never handle it.
  const end = () => child.kill("SIGKILL");
  return await new Promise<Output>((resolve, reject) => {
    // It may hang even after SIGKILL.
    const give = () => {
      end();
      child.unref();
      child.stdout.destroy();
      reject(signal.reason);
    };
    signal.addEventListener("abort", give, { once: true });
    child.stdout.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length <= maxOutput) chunks.push(chunk);
      else end();
    });
    child.on("error", reject);
    child.on("close", (status) => {
      signal.removeEventListener("abort", give);
      resolve({ status, stdout: Buffer.concat(chunks) });
    });
    // A program may end without reading its input.
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}

/**
 * Starts a program that outlives docproc, without input or output.
 * @param program absolute
 * @throws the system's error when it cannot be started
 */
export async function startProgram(
  program: string,
  argv: readonly string[],
  options: Pick<RunOptions, "cwd" | "env">,
): Promise<ChildProcess> {
  const child = spawn(program, argv, { ...options, stdio: "ignore", detached: !isWindows, windowsHide: true });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", reject);
  });
  child.unref();
  return child;
}

/** The working directory, and the directories around it with a `.git`: checked out, or unpacked. */
async function workingTrees(cwd: string): Promise<string[]> {
  // It may have been removed meanwhile.
  const start = await realpath(cwd).catch(() => cwd);
  const trees = [start];
  for (let directory = start; ; directory = dirname(directory)) {
    const there = await lstat(join(directory, ".git")).then(
      () => true,
      () => false,
    );
    if (there) trees.push(directory);
    // The root contains everything.
    if (directory === dirname(directory)) return trees.filter((tree) => tree !== parse(tree).root);
  }
}

function foldersOf(env: Variables): string[] {
  const folders = (env["PATH"] ?? "").split(delimiter).map((folder) => folder.replace(/^"(.*)"$/, "$1"));
  // On Windows `\bin` is on the current drive, and `\\server\bin` on another machine.
  return folders.filter((folder) => isAbsolute(folder) && (!isWindows || /^[a-z]:/i.test(folder)));
}

async function isTrustedFolder(
  folder: string,
  trees: readonly string[],
  { owners }: Pick<ProgramPlace, "owners">,
): Promise<boolean> {
  try {
    const real = await realpath(folder);
    if ([folder, real].some(isOfNpm) || trees.some((tree) => isWithin(real, tree))) return false;
    const [link, target] = await Promise.all([lstat(folder), stat(real)]);
    return isOwned(link, owners) && isSafe(target, owners);
  } catch {
    // An unreadable folder counts as missing.
    return false;
  }
}

async function isTrustedProgram(
  path: string,
  trees: readonly string[],
  { owners }: Pick<ProgramPlace, "owners">,
): Promise<boolean> {
  try {
    const [link, real] = await Promise.all([lstat(path), realpath(path)]);
    if (!isOwned(link, owners) || !(await isTrustedFolder(dirname(real), trees, { owners }))) return false;
    const target = await stat(real);
    await access(real, constants.X_OK);
    return target.isFile() && isSafe(target, owners);
  } catch {
    return false;
  }
}

/** Whether only the owners and their groups can write to it. */
function isSafe(facts: Stats, owners: ProgramPlace["owners"]): boolean {
  // Windows reports everything as world-writable.
  return isOwned(facts, owners) && (isWindows || (facts.mode & 0o002) === 0);
}

function isOwned({ uid }: Stats, owners: ProgramPlace["owners"]): boolean {
  return owners === undefined || owners.has(uid);
}

function isOfNpm(path: string): boolean {
  return path.split(/[\\/]/).includes("node_modules");
}

function isWithin(path: string, directory: string): boolean {
  const [inner, outer] = isWindows ? [path.toLowerCase(), directory.toLowerCase()] : [path, directory];
  return inner === outer || inner.startsWith(outer + sep);
}

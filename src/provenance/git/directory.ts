/**
 * A temporary GIT_DIR of our own with a configuration of our own, so that nothing in a repository can make git run a
 * program, fetch, or write.
 */
import { mkdir, mkdtemp, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve, sep } from "node:path";
import { type Output, runProgram } from "../../files/programs.ts";
import { removeDirectory, removeFile, removeLink } from "../../files/removal.ts";

export interface GitDirectory {
  readonly path: string;
  /** Replaces the configuration. */
  configure(config: string): Promise<void>;
  /** Runs git on this directory; `env` adds to the fixed variables. */
  run(argv: readonly string[], options?: { input?: string; env?: Variables }): Promise<Output>;
}

type Variables = Readonly<Record<string, string | undefined>>;

export interface GitDirectoryOptions {
  /** The git program, absolute. */
  readonly git: string;
  /** The content of its files, by path: at least HEAD and config. */
  readonly files: Readonly<Record<string, string>>;
  /** Directories of the repository, by the paths of the links to them. */
  readonly links?: Readonly<Record<string, string>>;
  /** Variables for the repository's index, objects and files. */
  readonly env: Variables;
  readonly signal: AbortSignal;
}

/**
 * https://git-scm.com/docs/git#_environment_variables. Older versions of git ignore some of them; that is safe, since
 * no configuration of the repository or the user is in reach anyway.
 */
function isolation(directory: string): Variables {
  const nothing = join(directory, "nothing");
  return {
    GIT_DIR: directory,
    HOME: directory,
    XDG_CONFIG_HOME: directory,
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_SYSTEM: nothing,
    GIT_CONFIG_GLOBAL: nothing,
    GIT_ATTR_NOSYSTEM: "1",
    GIT_NO_LAZY_FETCH: "1",
    GIT_ALLOW_PROTOCOL: "none",
    GIT_TERMINAL_PROMPT: "0",
    GIT_OPTIONAL_LOCKS: "0",
    GIT_NO_REPLACE_OBJECTS: "1",
    // An object may claim to need any amount of memory. An index of a million files needs 200 MB.
    GIT_ALLOC_LIMIT: "256m",
    LC_ALL: "C",
  };
}

/**
 * Creates the directory for this user alone, and removes it after the work.
 * @throws the system's error when it cannot be created
 */
export async function withGitDirectory<T>(
  { git, files, links = {}, env, signal }: GitDirectoryOptions,
  work: (directory: GitDirectory) => Promise<T>,
): Promise<T> {
  const place = resolve(tmpdir());
  const { mode } = await stat(place);
  // Another user could replace the directory there. Windows has no such modes.
  if (sep === "/" && (mode & 0o1002) === 0o002) throw new Error(`every user may replace files in ${place}`);
  const path = await mkdtemp(join(place, "docproc-git-"));
  // git expects a refs directory beside each HEAD.
  const refs = Object.keys(files).flatMap((name) => (basename(name) === "HEAD" ? [join(dirname(name), "refs")] : []));
  const folders = [...new Set([...Object.keys(files).map(dirname), ...refs])].filter((folder) => folder !== ".");
  const made = { files: Object.keys(files), links: Object.keys(links), folders };
  try {
    for (const folder of folders) await mkdir(join(path, folder));
    await Promise.all([
      ...Object.entries(files).map(([name, text]) => writeFile(join(path, name), text, { flag: "wx", mode: 0o600 })),
      ...Object.entries(links).map(([name, target]) => symlink(target, join(path, name), "junction")),
    ]);
    const always = { ...isolation(path), PATH: dirname(git), ...env };
    return await work({
      path,
      async configure(config) {
        await removeFile({ root: path, path: "config", form: "config" });
        await writeFile(join(path, "config"), config, { flag: "wx", mode: 0o600 });
      },
      // Windows loads a program's libraries from the working directory.
      run: async (argv, options) =>
        await runProgram(git, argv, {
          cwd: path,
          env: { ...always, ...options?.env },
          input: options?.input,
          signal,
        }),
    });
  } finally {
    await removeGitDirectory(path, made);
  }
}

interface MadeHere {
  readonly files: readonly string[];
  readonly links: readonly string[];
  /** Parents first. */
  readonly folders: readonly string[];
}

/** Removes what {@link withGitDirectory} made, and nothing else. */
async function removeGitDirectory(path: string, { files, links, folders }: MadeHere): Promise<void> {
  const kept = () => {};
  const own = (name: string) => ({
    root: dirname(path),
    path: join(basename(path), name).split(sep).join("/"),
    form: /^docproc-git-[^/]{6}(\/.+)?$/,
  });
  for (const name of files) await removeFile(own(name)).catch(kept);
  for (const name of links) await removeLink(own(name)).catch(kept);
  for (const folder of [...folders.toReversed(), "."]) await removeDirectory(own(folder)).catch(kept);
}

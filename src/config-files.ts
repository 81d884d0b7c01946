/**
 * Finds and reads config files. They are JSON or YAML and are never run: a config file comes with the
 * directory somebody checked out.
 */
import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { PublicExplorer } from "cosmiconfig";
import { DocprocError, isSystemError } from "./errors.ts";
import { isOurs } from "./ownership.ts";
import { statIfVisible } from "./presence.ts";

export interface ConfigFile {
  readonly path: string;
  readonly values: Readonly<Record<string, unknown>>;
}

/**
 * The nearest project file, searched upwards from the working directory.
 * @param uid of this user; undefined where the system has none
 */
export async function findProjectFile(
  cwd: string,
  home: string,
  uid: number | undefined,
): Promise<ConfigFile | undefined> {
  const places = [".docprocrc.json", ".docprocrc.yaml", ".docprocrc.yml", ".docprocrc"];
  for (const directory of await searchPath(cwd, home, uid)) {
    const found = await searchDirectory(directory, places, (path) => isOurs(path, uid));
    if (found) return found;
  }
  return undefined;
}

/**
 * From the working directory up to the repository's root, or to the home directory where that is above it.
 * Outside both only the working directory counts: anybody may put a file into `/tmp`.
 */
async function searchPath(cwd: string, home: string, uid: number | undefined): Promise<string[]> {
  const path: string[] = [];
  for (let directory = cwd; ; directory = dirname(directory)) {
    path.push(directory);
    if (directory === home || (await isOurs(join(directory, ".git"), uid))) return path;
    if (directory === dirname(directory)) return [cwd];
  }
}

/** Whether it can be read is found out by reading it. */
async function exists(path: string): Promise<boolean> {
  return (await statIfVisible(path)) !== undefined;
}

/** The user's own file, in the directory where the platform keeps a program's config. */
export async function findUserFile(directory: string): Promise<ConfigFile | undefined> {
  return await searchDirectory(directory, ["config.json", "config.yaml", "config.yml"], exists);
}

/** Reads the first of the places that may be read; a stranger's file is not even parsed. */
async function searchDirectory(
  directory: string,
  places: readonly string[],
  mayRead: (path: string) => Promise<boolean>,
): Promise<ConfigFile | undefined> {
  const readable = await Promise.all(places.map((place) => mayRead(join(directory, place))));
  const present = places.filter((_, index) => readable[index]);
  // cosmiconfig is worth its loading time only where there is something to read.
  if (present.length === 0) return undefined;
  for (const place of present) await assertReadable(join(directory, place));
  const found = await explorer(present).then((files) => attempt(directory, () => files.search(directory)));
  return found && !found.isEmpty ? configFile(found.filepath, found.config) : undefined;
}

/** A file that was named by the user. */
export async function readConfigFile(path: string): Promise<ConfigFile> {
  await assertReadable(path);
  const found = await explorer([]).then((files) => attempt(path, () => files.load(path)));
  return configFile(path, found?.config ?? {});
}

/**
 * Bytes. Settings are a few lines; what is larger, or has no end, is something else.
 * @throws INVALID_CONFIG
 */
const maxSize = 64 * 1024;

async function assertReadable(path: string): Promise<void> {
  const seen = await stat(path).catch(() => undefined);
  // What is not there is for the reading to report.
  if (seen && !seen.isFile()) throw unreadable(path, "it is not a regular file");
  if (seen && seen.size > maxSize) throw unreadable(path, `it has ${seen.size} bytes, and at most ${maxSize} are read`);
}

async function attempt<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof DocprocError) throw error;
    const where = (error as { filepath?: string }).filepath ?? path;
    if (isSystemError(error)) throw unreadable(where, error.code, error);
    throw unreadable(where, reasonOf(error));
  }
}

/** Where a file makes no sense. Not what stands there: it may be another file than was meant, full of secrets. */
function reasonOf(error: unknown): string {
  type ParseError = Error & { reason?: string; mark?: { line: number; column: number }; codeFrame?: string };
  const { name, message, reason, mark, codeFrame } = error as ParseError;
  if (name === "YAMLException" && mark) return `${reason} in line ${mark.line + 1}, column ${mark.column + 1}`;
  if (name !== "JSONError") return message.replace(/\s+/g, " ");
  const [, line] = /^> *(\d+) \|/m.exec(codeFrame ?? "") ?? [];
  return line === undefined ? "it is not JSON" : `it is not JSON in line ${line}`;
}

function unreadable(path: string, why: string, cause?: unknown): DocprocError {
  return new DocprocError("INVALID_CONFIG", `The config file ${path} cannot be read: ${why}.`, {
    hint: 'It is JSON or YAML, and looks like {"bucket": "my-documents"}. Another one is named with --config.',
    cause,
  });
}

function configFile(path: string, values: unknown): ConfigFile {
  if (typeof values === "object" && values !== null && !Array.isArray(values)) {
    return { path, values: values as ConfigFile["values"] };
  }
  throw new DocprocError("INVALID_CONFIG", `The config file ${path} does not hold settings.`, {
    hint: 'It should look like {"bucket": "my-documents"}.',
  });
}

/**
 * cosmiconfig's `Explorer` and not its main function: that one first looks for `.config/config.js` and the like
 * in the working directory, for options of its own, and runs what it finds there. Only data is loaded here.
 */
async function explorer(searchPlaces: string[]): Promise<PublicExplorer> {
  const [explorers, loaders] = await Promise.all([
    import("cosmiconfig/dist/Explorer.js"),
    import("cosmiconfig/dist/loaders.js"),
  ]);
  const { loadJson, loadYaml } = loaders.default;
  // Marked internal, so without declarations; the lock file pins the version and test/config-files.test.ts covers it.
  const { Explorer } = explorers.default as unknown as { Explorer: new (options: object) => PublicExplorer };
  const dataOnly = (load: typeof loadJson) => (path: string, content: string) => {
    const values = load(path, content);
    // cosmiconfig would go and read other files for it.
    if (values && Object.hasOwn(values, "$import")) throw unreadable(path, "$import is not supported");
    return values;
  };
  const [json, yaml] = [dataOnly(loadJson), dataOnly(loadYaml)];
  return new Explorer({
    moduleName: "docproc",
    searchPlaces,
    searchStrategy: "none",
    loaders: { ".json": json, ".yaml": yaml, ".yml": yaml, noExt: yaml },
    ignoreEmptySearchPlaces: true,
    cache: false,
    transform: (result: unknown) => result,
    metaConfigFilePath: null,
    mergeImportArrays: true,
    mergeSearchPlaces: true,
  });
}

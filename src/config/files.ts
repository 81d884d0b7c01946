/** Finds and reads config files. They are JSON or YAML and never executed: they may come with a checkout. */
import { dirname, extname, join } from "node:path";
import { DocprocError, fromSystemError, isSystemError } from "../core/errors.ts";
import { isOurs, isWritableByAll, type Owners } from "../files/ownership.ts";
import { readSmallFile } from "../files/regular.ts";
import { isAbsence, statIfVisible } from "../files/stat.ts";

export interface ConfigFile {
  readonly path: string;
  readonly values: Readonly<Record<string, unknown>>;
  /** SHA-256 of its bytes, hex. */
  readonly sha256: string;
}

/**
 * The nearest project file, searched upwards from the working directory.
 * @throws INVALID_CONFIG when it belongs to another user or cannot be read
 */
export async function findProjectFile(cwd: string, home: string, owners: Owners): Promise<ConfigFile | undefined> {
  const places = [".docprocrc.json", ".docprocrc.yaml", ".docprocrc.yml", ".docprocrc"];
  for (const directory of await searchPath(cwd, home, owners)) {
    const found = await searchDirectory(directory, places, owners);
    if (found) return found;
  }
  return undefined;
}

/**
 * From the working directory up to the repository's root, or to a home directory above it. Outside of both only the
 * working directory counts: every user may put a file into `/tmp`.
 */
async function searchPath(cwd: string, home: string, owners: Owners): Promise<string[]> {
  const path: string[] = [];
  for (let directory = cwd; ; directory = dirname(directory)) {
    path.push(directory);
    if (directory === home || (await mayBeRoot(join(directory, ".git"), owners))) return path;
    if (directory === dirname(directory)) return [cwd];
  }
}

/** Another user's repository ends the search too, so that its config file is refused and not skipped. */
async function mayBeRoot(git: string, owners: Owners): Promise<boolean> {
  if (await isOurs(git, owners)) return true;
  return (await statIfVisible(git)) !== undefined && !(await isWritableByAll(git));
}

/** The user's own file, in the platform's config directory. */
export async function findUserFile(directory: string, owners: Owners): Promise<ConfigFile | undefined> {
  return await searchDirectory(directory, ["config.json", "config.yaml", "config.yml"], owners);
}

/** Reads the first place that has content. */
async function searchDirectory(
  directory: string,
  places: readonly string[],
  owners: Owners,
): Promise<ConfigFile | undefined> {
  const seen = await Promise.all(places.map((place) => statIfVisible(join(directory, place))));
  for (const path of places.filter((_, index) => seen[index] !== undefined).map((place) => join(directory, place))) {
    if (!(await isOurs(path, owners))) {
      // In /tmp a file of another user is clutter, so it is not even parsed.
      if (await isWritableByAll(path)) continue;
      throw new DocprocError("INVALID_CONFIG", `The config file ${path} belongs to another user.`, {
        hint: `If you trust that user, name the file with --config ${path} or DOCPROC_CONFIG.`,
      });
    }
    const file = await readConfigFile(path);
    if (file !== undefined) return file;
  }
  return undefined;
}

/** Bytes. Settings take a few lines; a larger or endless file is something else. */
const maxSize = 64 * 1024;

/**
 * A file that was found, or that the user named.
 * @returns undefined for an empty one
 * @throws INVALID_CONFIG, or UNAVAILABLE when the disk fails
 */
export async function readConfigFile(path: string): Promise<ConfigFile | undefined> {
  try {
    const bytes = await readSmallFile(path, maxSize);
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    if (text.trim() === "") return undefined;
    const values = await parse(path, text);
    assertSmall(values);
    if (typeof values === "object" && values !== null && !Array.isArray(values)) {
      return { path, values: values as ConfigFile["values"], sha256: await sha256Of(bytes) };
    }
  } catch (error) {
    if (error instanceof DocprocError) throw error;
    if (isAbsence(error)) {
      throw new DocprocError("INVALID_CONFIG", `The config file ${path} does not exist.`, {
        hint: "Check the spelling of the path.",
        cause: error,
      });
    }
    if (isSystemError(error)) {
      const failure = fromSystemError(error, path);
      // A failing disk is no fault of the file.
      throw failure.code === "UNAVAILABLE" ? failure : unreadable(path, error.code, error);
    }
    throw unreadable(path, reasonOf(error));
  }
  throw new DocprocError("INVALID_CONFIG", `The config file ${path} has no settings.`, {
    hint: 'It should look like {"bucket": "my-documents"}.',
  });
}

/** Values in a file, counting repeats: with YAML aliases, a small file can contain itself many times. */
const maxValues = 20_000;

function assertSmall(values: unknown): void {
  const left = [values];
  for (let count = 0; left.length > 0; count++) {
    if (count + left.length > maxValues) throw new Error(`it has more than ${maxValues} values`);
    const value = left.pop();
    if (typeof value === "object" && value !== null) left.push(...Object.values(value));
  }
}

/** SHA-256, hex. Loaded on use: most starts read no config file and hash nothing. */
export async function sha256Of(content: string | Uint8Array): Promise<string> {
  const { createHash } = await import("node:crypto");
  return createHash("sha256").update(content).digest("hex");
}

/**
 * cosmiconfig's data loaders, and nothing else of it: its search would look for `.config/config.js` and the like in the
 * working directory and run what it finds. The loaders are marked internal; the lock file pins the version and
 * test/config/files.test.ts covers them. Loaded when there is something to read.
 */
async function parse(path: string, text: string): Promise<unknown> {
  const { loadJson, loadYaml } = (await import("cosmiconfig/dist/loaders.js")).default;
  switch (extname(path)) {
    case ".json":
      return loadJson(path, text);
    case ".yaml":
    case ".yml":
    case "":
      return loadYaml(path, text);
    default:
      throw new Error("its name ends neither in .json nor in .yaml");
  }
}

/** The place of a syntax error. Never the text there: the wrong file may be full of secrets. */
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
    hint: 'It must be JSON or YAML, such as {"bucket": "my-documents"}. Name another with --config.',
    cause,
  });
}

/**
 * The configuration that git gets for a comparison: how files are kept on this disk, from a closed list of names and
 * values. None of them names a program, a file or an address, except the user's own attributes file.
 */
import { join } from "node:path";
import type { GitConfig } from "./config.ts";
import type { GitDirectory } from "./directory.ts";

type Variables = Readonly<Record<string, string | undefined>>;

/** https://git-scm.com/docs/git-config#_values */
const truth = /^(true|yes|on|1)$/i;
const untruth = /^(false|no|off|0)?$/i;
const boolean = new RegExp(`${truth.source}|${untruth.source}`, "i");

const lineEnds = {
  autocrlf: new RegExp(`${boolean.source}|^input$`, "i"),
  eol: /^(lf|crlf|native)$/i,
};

const ofRepository: Readonly<Record<string, RegExp>> = {
  ...lineEnds,
  filemode: boolean,
  symlinks: boolean,
  ignorecase: boolean,
  precomposeunicode: boolean,
  trustctime: boolean,
  checkstat: /^(default|minimal)$/i,
};

/** Whether a value is true. */
export function isOn(value: string | true | undefined): boolean {
  return value === true || (value !== undefined && truth.test(value));
}

/**
 * The configuration of a GIT_DIR for this repository.
 * @throws Error with a clause that says why there is none
 */
export function settingsOf(config: GitConfig): string {
  const format = config.get("extensions.objectformat")?.at(-1) ?? "sha1";
  if (format !== "sha1" && format !== "sha256") throw new Error("its object format is unknown");
  const known = Object.entries(ofRepository).flatMap(([key, values]) => {
    const value = config.get(`core.${key}`)?.at(-1);
    const text = value === true ? "true" : value;
    return text !== undefined && values.test(text) ? [`${key} = ${text}`] : [];
  });
  return [
    "[core]",
    "repositoryformatversion = 1",
    "bare = false",
    "fsmonitor = false",
    // Their speed is not worth two more formats to trust.
    "commitGraph = false",
    "multiPackIndex = false",
    // Windows supports them, git only on request.
    "longPaths = true",
    ...known,
    "[extensions]",
    `objectFormat = ${format}`,
    "",
  ].join("\n");
}

/** The user's and the system's settings that matter here, often line ends. */
export async function userSettings(directory: GitDirectory, env: Variables): Promise<string> {
  const { HOME, XDG_CONFIG_HOME, USERPROFILE, HOMEDRIVE, HOMEPATH, PROGRAMDATA } = env;
  const own = { HOME, XDG_CONFIG_HOME, USERPROFILE, HOMEDRIVE, HOMEPATH, PROGRAMDATA };
  const { stdout } = await directory.run(["config", "-z", "--get-regexp", "^core\\.(autocrlf|eol|attributesfile)$"], {
    env: { ...own, GIT_CONFIG_NOSYSTEM: undefined, GIT_CONFIG_SYSTEM: undefined, GIT_CONFIG_GLOBAL: undefined },
  });
  // The repository's own value comes last and wins.
  const values = new Map(stdout.toString().split("\0").map(nameAndValue));
  const settings = Object.entries(lineEnds).flatMap(([key, allowed]) => {
    const value = values.get(`core.${key}`);
    return value !== undefined && allowed.test(value) ? [`${key} = ${value}`] : [];
  });
  // https://git-scm.com/docs/gitattributes
  const folder = XDG_CONFIG_HOME || (HOME && join(HOME, ".config"));
  const attributes = values.get("core.attributesfile") ?? (folder && join(folder, "git", "attributes"));
  if (attributes) {
    const path = attributes.replace(/^~(?=[\\/])/, HOME ?? "~");
    settings.push(`attributesFile = "${path.replace(/[\\"]/g, "\\$&").replaceAll("\n", "\\n")}"`);
  }
  return ["[core]", ...settings, ""].join("\n");
}

/** A key without a value means true. */
function nameAndValue(entry: string): [name: string, value: string] {
  const end = entry.indexOf("\n");
  return end < 0 ? [entry, "true"] : [entry.slice(0, end), entry.slice(end + 1)];
}

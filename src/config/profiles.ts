/**
 * Named profiles: other libraries, in the `profiles` of a config file. A profile gives the whole location of a library;
 * the location configured beside it belongs to another one.
 */

import { DocprocError } from "../core/errors.ts";
import { nearestTo } from "../core/suggestion.ts";
import type { ConfigFile } from "./files.ts";

/** The settings of one block in a config file: its top level or a profile. */
export interface SettingsBlock extends Pick<ConfigFile, "path" | "values"> {
  /** Its place, for messages and `docproc config`. */
  readonly origin: string;
}

/** The blocks of a config file. */
export interface ConfigFileBlocks {
  readonly main: SettingsBlock;
  readonly profiles: ReadonlyMap<string, SettingsBlock>;
}

/**
 * Splits a config file into blocks.
 * @throws INVALID_CONFIG when the profiles do not map names to settings
 */
export function blocksOf({ path, values }: ConfigFile): ConfigFileBlocks {
  const { profiles: given, ...rest } = values;
  const profiles = new Map<string, SettingsBlock>();
  if (given !== undefined && given !== null && !isObject(given))
    throw notProfiles(path, "its profiles are not an object");
  for (const [name, settings] of Object.entries(given ?? {})) {
    if (!/^[A-Za-z0-9][\w.-]{0,63}$/.test(name)) {
      throw notProfiles(path, `${JSON.stringify(name).slice(0, 100)} is not a valid profile name`);
    }
    if (!isObject(settings)) throw notProfiles(path, `the profile ${name} has no settings`);
    profiles.set(name, { path, values: settings, origin: `${path} (profile ${name})` });
  }
  return { main: { path, values: rest, origin: path }, profiles };
}

/**
 * The profile of a name, from the first file that has it.
 * @throws INVALID_CONFIG when there is none
 */
export function pickProfile(name: string, files: readonly ConfigFileBlocks[]): SettingsBlock {
  for (const { profiles } of files) {
    const found = profiles.get(name);
    if (found) return found;
  }
  const known = [...new Set(files.flatMap(({ profiles }) => [...profiles.keys()]))];
  const nearest = nearestTo(name, known);
  const example = 'Add it to a config file, as in {"profiles": {"archive": {"bucket": "my-archive"}}}.';
  const all = known.length === 0 ? example : `Profiles: ${known.join(", ")}.`;
  throw new DocprocError("INVALID_CONFIG", `No config file has the profile ${JSON.stringify(name)}.`, {
    hint: nearest ? `Did you mean ${nearest}?` : all,
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function notProfiles(path: string, why: string): DocprocError {
  return new DocprocError("INVALID_CONFIG", `The config file ${path} is invalid: ${why}.`, {
    hint: 'Write profiles as in {"profiles": {"archive": {"bucket": "my-archive"}}}.',
  });
}

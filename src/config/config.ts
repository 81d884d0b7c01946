/**
 * Resolves every setting from flags, environment, project file, user file, AWS variables and defaults.
 *
 * The first source with a value wins, and the value keeps its origin for `docproc config`.
 */
import { dirname, resolve } from "node:path";
import { DocprocError } from "../core/errors.ts";
import { flagOf, variableOf } from "../core/setting.ts";
import type { Settings } from "../core/settings.ts";
import { nearestTo } from "../core/suggestion.ts";
import { text, type Value } from "../core/values.ts";
import { trustedOwners } from "../files/ownership.ts";
import { type ProjectFileUse, useOfProjectFile } from "./consent.ts";
import { type ConfigFile, findProjectFile, findUserFile, readConfigFile } from "./files.ts";
import { blocksOf, type ConfigFileBlocks, pickProfile, type SettingsBlock } from "./profiles.ts";
import { type Environment, type Layer, resolveSettings, type SettingOrigin } from "./resolve.ts";
import { placeSettings, type SettingName, settingNames, settingTable } from "./settings.ts";
import { type Consent, TrustStore } from "./trust.ts";

export interface Config {
  readonly settings: Settings;
  /** Every setting with value and origin, in the order of {@link settingNames}. */
  readonly origins: readonly SettingOrigin[];
  /** The project file in force. */
  readonly projectFile: ConfigFile | undefined;
  /**
   * What the project file decides, and the user's consent to it; undefined when there is none, or it decides nothing.
   */
  readonly projectUse: ProjectFileUse | undefined;
  /** The profile in use. */
  readonly profile: SettingsBlock | undefined;
}

export interface ConfigInput extends Environment {
  /** Values from the command line or from a program, by setting name. */
  readonly flags: Readonly<Partial<Record<SettingName, Value | undefined>>>;
  /** Names a setting in messages; default: its flag. */
  readonly nameOf?: (name: string) => string;
  /** False ignores all config files. */
  readonly files?: boolean;
  /** `--config`: read this file instead of the project file. */
  readonly file: string | undefined;
  /** `--use`: a profile of the config files. */
  readonly use?: string | undefined;
  /** The profile alone says where the library is; flags and variables about that concern another one. */
  readonly apart?: boolean | undefined;
  readonly cwd: string;
  readonly home: string;
}

/**
 * Reads and validates the whole configuration.
 * @throws INVALID_CONFIG for an unknown key, an invalid value, or an unreadable file
 */
export async function loadConfig(input: ConfigInput): Promise<Config> {
  const { projectFile, consent, userFile } = input.files === false ? noFiles : await findFiles(input);
  const [project, user] = [projectFile, userFile].map((file) => file && blocksOf(file));
  // The user's own profile wins over a repository's profile of the same name.
  const profiles = [user, project].filter((file) => file !== undefined);
  // Unused profiles are validated too, to find mistakes early.
  for (const file of profiles) for (const block of file.profiles.values()) fileLayer(block);
  const use = input.use ?? (input.env["DOCPROC_USE"] || undefined);
  const profile = use === undefined ? undefined : pickProfile(use, profiles);
  const given = [flagLayer(input), environmentLayer(input)];
  const main = [project, user].filter((file) => file !== undefined).map((file) => fileLayer(file.main));
  const layers = [
    ...(input.apart ? given.map(withoutPlace) : given),
    ...(profile ? [fileLayer(profile), ...main.map(withoutPlace)] : main),
    vendorLayer(input.env),
  ];
  const resolved = resolveSettings(layers, input);
  const own = user ? [fileLayer(user.main)] : [];
  const elsewhere = [...given, ...own, vendorLayer(input.env)].map(({ values }) => values);
  const others = [...(user?.profiles.values() ?? [])].map((block) => fileLayer(block).values);
  const projectUse =
    project && projectFile
      ? await useOfProjectFile(
          { path: projectFile.path, consent, used: usedOf(project, resolved.origins) },
          resolved.settings,
          (name, value) =>
            elsewhere.some((values) => values[name] === value) ||
            // A profile's credentials are meant for its own library alone.
            (!settingTable[name]?.isPersonal && others.some((values) => values[name] === value)) ||
            settingTable[name]?.saidTo?.(input.env) === value,
        )
      : undefined;
  return { ...resolved, projectFile, projectUse, profile };
}

/** Settings whose values come from a file, or from a profile in it. */
function usedOf({ main, profiles }: ConfigFileBlocks, origins: readonly SettingOrigin[]) {
  const blocks = new Set([main, ...profiles.values()].map(({ origin }) => origin));
  return origins.flatMap(({ name, value, origin }) => (value !== null && blocks.has(origin) ? [{ name, value }] : []));
}

/** The location of one library says nothing about another's. */
function withoutPlace({ values, ...layer }: Layer): Layer {
  return { ...layer, values: { ...values, ...Object.fromEntries(placeSettings.map((name) => [name, undefined])) } };
}

interface FoundFiles {
  readonly projectFile: ConfigFile | undefined;
  readonly consent: Consent;
  readonly userFile: ConfigFile | undefined;
}

const noFiles: FoundFiles = { projectFile: undefined, consent: "none", userFile: undefined };

async function findFiles({ file, env, cwd, home, uid, paths }: ConfigInput): Promise<FoundFiles> {
  const owners = trustedOwners(uid, env);
  const userFile = await findUserFile(paths.config, owners);
  const named = file ?? env["DOCPROC_CONFIG"];
  if (named) {
    const path = resolve(cwd, named);
    // Naming a file is consent.
    return {
      projectFile: (await readConfigFile(path)) ?? { path, values: {}, sha256: "" },
      consent: "agreed",
      userFile,
    };
  }
  const projectFile = await findProjectFile(cwd, home, owners);
  const consent = projectFile ? await new TrustStore(paths.config, owners).consentTo(projectFile) : "none";
  return { projectFile, consent, userFile };
}

function flagLayer({ flags, nameOf = flagOf, cwd }: ConfigInput): Layer {
  return parseLayer(flags, nameOf, cwd);
}

function environmentLayer({ env, cwd }: ConfigInput): Layer {
  const given: Record<string, unknown> = {};
  for (const name of settingNames) {
    // An empty variable counts as unset: CI systems pass variables without a value.
    if (env[variableOf(name)]) given[name] = env[variableOf(name)];
  }
  return parseLayer(given, variableOf, cwd);
}

function fileLayer({ path, values, origin }: SettingsBlock): Layer {
  for (const key of Object.keys(values)) {
    if (!Object.hasOwn(settingTable, key)) throw unknownKey(`The config file ${origin}`, key);
  }
  return { ...parseLayer(values, () => origin, dirname(path)), isFile: true };
}

function vendorLayer(env: ConfigInput["env"]): Layer {
  const values: Record<SettingName, Value | undefined> = {};
  const origins = new Map<SettingName, string>();
  for (const [name, { vendorVariables = [] }] of Object.entries(settingTable)) {
    const variable = vendorVariables.find((candidate) => env[candidate]);
    if (variable === undefined) continue;
    values[name] = text(env[variable]);
    origins.set(name, variable);
  }
  return { values, originOf: (name) => origins.get(name) ?? "" };
}

function parseLayer(given: Readonly<Record<string, unknown>>, originOf: (name: string) => string, base: string): Layer {
  const values: Record<SettingName, Value | undefined> = {};
  for (const [name, value] of Object.entries(given)) {
    const setting = settingTable[name];
    if (setting === undefined || value === undefined || value === null) continue;
    try {
      const parsed = setting.parse(value);
      values[name] = setting.isPath ? resolve(base, String(parsed)) : parsed;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      // A list may contain itself a billion times, and an address a password.
      const plain = typeof value === "string" ? value.replace(/\/\/.*@/s, "//***@") : value;
      const shown = typeof value === "object" ? "not a plain value" : JSON.stringify(plain).slice(0, 100);
      const message = `${name} (${originOf(name)}) is ${shown}, but ${why}.`;
      throw new DocprocError("INVALID_CONFIG", message, { hint: `Correct or remove ${originOf(name)}.` });
    }
  }
  return { values, originOf };
}

/** @param holder of the key */
export function unknownKey(holder: string, key: string): DocprocError {
  const lower = (name: string) => name.toLowerCase();
  const nearest = nearestTo(lower(key), settingNames.map(lower));
  const near = settingNames.find((name) => lower(name) === nearest);
  return new DocprocError("INVALID_CONFIG", `${holder} has the unknown key ${JSON.stringify(key)}.`, {
    hint: near ? `Did you mean ${near}?` : `Known keys: ${settingNames.join(", ")}.`,
  });
}

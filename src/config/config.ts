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
  /** Every setting with its value and origin, in the order of {@link settingNames}. */
  readonly origins: readonly SettingOrigin[];
  /** The project file in force. */
  readonly projectFile: ConfigFile | undefined;
  /** What it decides, and whether the user has agreed to that; undefined where there is none, or it decides nothing. */
  readonly projectUse: ProjectFileUse | undefined;
  /** The profile in use. */
  readonly profile: SettingsBlock | undefined;
}

export interface ConfigInput extends Environment {
  /** What was given on the command line, or by a program, by setting name. */
  readonly flags: Readonly<Partial<Record<SettingName, Value | undefined>>>;
  /** What messages call it; otherwise they name the flag. */
  readonly nameOf?: (name: string) => string;
  /** False reads no config file. */
  readonly files?: boolean;
  /** `--config`: read this file in place of the project file. */
  readonly file: string | undefined;
  /** `--use`: a profile of the config files. */
  readonly use?: string | undefined;
  /** The profile alone says where the library is: flags and variables about that are about another one. */
  readonly apart?: boolean | undefined;
  readonly cwd: string;
  readonly home: string;
}

/**
 * Reads and checks the whole configuration.
 * @throws INVALID_CONFIG for an unknown key, a value that is not allowed, or a file that cannot be read
 */
export async function loadConfig(input: ConfigInput): Promise<Config> {
  const { projectFile, consent, userFile } = input.files === false ? noFiles : await findFiles(input);
  const [project, user] = [projectFile, userFile].map((file) => file && blocksOf(file));
  // The user's own profile of a name is the one that is meant, whatever a repository calls its own.
  const profiles = [user, project].filter((file) => file !== undefined);
  // What is not in use is checked all the same: a mistake is found on the day that it is made.
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
            // A profile says whose credentials to use for its own library alone.
            (!settingTable[name]?.isPersonal && others.some((values) => values[name] === value)) ||
            settingTable[name]?.saidTo?.(input.env) === value,
        )
      : undefined;
  return { ...resolved, projectFile, projectUse, profile };
}

/** The settings that have their values from a file, or from a profile in it. */
function usedOf({ main, profiles }: ConfigFileBlocks, origins: readonly SettingOrigin[]) {
  const blocks = new Set([main, ...profiles.values()].map(({ origin }) => origin));
  return origins.flatMap(({ name, value, origin }) => (value !== null && blocks.has(origin) ? [{ name, value }] : []));
}

/** Where one library is says nothing of where another one is. */
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
    // Who names a file agrees to it.
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
    // An empty variable is an unset one, as CI systems pass variables that have no value.
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
      // A list may hold itself a billion times over, and an address a password with anything in it.
      const plain = typeof value === "string" ? value.replace(/\/\/.*@/s, "//***@") : value;
      const shown = typeof value === "object" ? "not a plain value" : JSON.stringify(plain).slice(0, 100);
      const message = `${name} (${originOf(name)}) is ${shown}, but ${why}.`;
      throw new DocprocError("INVALID_CONFIG", message, { hint: `Correct ${originOf(name)}, or leave it out.` });
    }
  }
  return { values, originOf };
}

/** @param holder what has it */
export function unknownKey(holder: string, key: string): DocprocError {
  const lower = (name: string) => name.toLowerCase();
  const nearest = nearestTo(lower(key), settingNames.map(lower));
  const near = settingNames.find((name) => lower(name) === nearest);
  return new DocprocError("INVALID_CONFIG", `${holder} has the unknown key ${JSON.stringify(key)}.`, {
    hint: near ? `Did you mean ${near}?` : `Known keys: ${settingNames.join(", ")}.`,
  });
}

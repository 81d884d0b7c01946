/**
 * Resolves every setting from flags, environment, project file, user file, AWS variables and defaults.
 *
 * The first source with a value wins, and the value keeps its origin for `docproc config`.
 */
import { dirname, join, resolve } from "node:path";
import { DocprocError } from "../core/errors.ts";
import { documentMemory } from "../core/limits.ts";
import { flagOf, variableOf } from "../core/setting-names.ts";
import type { Settings } from "../core/settings.ts";
import { nearestTo } from "../core/suggestion.ts";
import { trustedOwners } from "../files/ownership.ts";
import { metadataDrivers } from "../metadata/registry.ts";
import { storageDrivers } from "../storage/registry.ts";
import { type ProjectFileUse, useOfProjectFile } from "./consent.ts";
import { type ConfigFile, findProjectFile, findUserFile, readConfigFile } from "./files.ts";
import { blocksOf, type ConfigFileBlocks, pickProfile, placeSettings, type SettingsBlock } from "./profiles.ts";
import { type Consent, TrustStore } from "./trust.ts";
import {
  account,
  endpointUrl,
  inUse,
  kinds,
  oneOf,
  type Parser,
  partSize,
  partsInFlight,
  prefix,
  region,
  retries,
  tags,
  text,
  timeout,
  type Value,
  variableNames,
  yesOrNo,
} from "./values.ts";

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

export interface SettingOrigin {
  readonly name: SettingName;
  readonly value: Value | null;
  /** For example `--bucket`, `DOCPROC_BUCKET`, the path of a file, `default`. */
  readonly origin: string;
}

export interface ConfigInput {
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
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly home: string;
  /** Of this user; undefined on Windows. */
  readonly uid?: number | undefined;
  /** Where the platform keeps a program's data and config; absolute. */
  readonly paths: { readonly data: string; readonly config: string; readonly state: string };
  /** Bytes that this machine or container has. */
  readonly memory: number;
}

/** The settings that have a closed list of values. */
export const settingChoices = {
  storage: Object.keys(storageDrivers),
  metadata: Object.keys(metadataDrivers),
  onDuplicate: ["reuse", "store"],
} as const satisfies Partial<Record<string, readonly string[]>>;

/** How a value is checked. A setting is a flag, a `DOCPROC_*` variable and a key of a config file under one name. */
const parsers = {
  storage: oneOf(settingChoices.storage),
  metadata: oneOf(settingChoices.metadata),
  directory: text,
  bucket: text,
  bucketOwner: account,
  prefix: prefix,
  table: text,
  region: region,
  profile: text,
  endpointUrl: endpointUrl,
  partSize: partSize,
  partsInFlight: partsInFlight,
  concurrency: inUse,
  connections: inUse,
  onDuplicate: oneOf(settingChoices.onDuplicate),
  retries: retries,
  timeout: timeout,
  resume: yesOrNo,
  provenance: yesOrNo,
  tags: tags,
  tagVariables: variableNames,
  stateDirectory: text,
  allowHttp: yesOrNo,
  unsupported: kinds,
} as const satisfies Record<string, Parser>;

export type SettingName = keyof typeof parsers;
export const settingNames = Object.keys(parsers) as SettingName[];

/** What a setting is that nobody set. */
const defaults = {
  prefix: "",
  onDuplicate: "reuse",
  /** With the SDK's pauses, about half a minute of a service that is throttling. */
  retries: 5,
  /** Milliseconds. */
  timeout: 120_000,
  resume: true,
  provenance: true,
  tags: "{}",
  tagVariables: "",
  allowHttp: false,
  unsupported: "",
} as const satisfies Partial<Record<SettingName, Value>>;

/** The AWS variables that stand in for a setting of ours. The SDK for JavaScript ignores AWS_DEFAULT_REGION. */
const awsVariables: Partial<Record<SettingName, readonly string[]>> = {
  region: ["AWS_REGION", "AWS_DEFAULT_REGION"],
  profile: ["AWS_PROFILE"],
};

/** Values of one origin. */
interface Layer {
  readonly values: Partial<Record<SettingName, Value>>;
  readonly originOf: (name: SettingName) => string;
  /** Whether they stand in a config file. */
  readonly isFile?: boolean;
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
    awsLayer(input.env),
  ];
  const resolved = resolveSettings(layers, input);
  const own = user ? [fileLayer(user.main)] : [];
  const elsewhere = [...given, ...own, awsLayer(input.env)].map(({ values }) => values);
  const others = [...(user?.profiles.values() ?? [])].map((block) => fileLayer(block).values);
  const projectUse =
    project && projectFile
      ? await useOfProjectFile(
          { path: projectFile.path, consent, used: usedOf(project, resolved.origins) },
          resolved.settings,
          (name, value) =>
            elsewhere.some((values) => values[name as SettingName] === value) ||
            // Whose credentials a profile is meant for, it says of its own library alone.
            (name !== "profile" && others.some((values) => values[name as SettingName] === value)) ||
            (name === "endpointUrl" && awsEndpoint(input.env) === value),
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
    if (!Object.hasOwn(parsers, key)) throw unknownKey(`The config file ${origin}`, key);
  }
  return { ...parseLayer(values, () => origin, dirname(path)), isFile: true };
}

function awsLayer(env: ConfigInput["env"]): Layer {
  const values: Layer["values"] = {};
  const origins = new Map<SettingName, string>();
  for (const [name, variables] of Object.entries(awsVariables) as [SettingName, string[]][]) {
    const variable = variables.find((candidate) => env[candidate]);
    if (variable === undefined) continue;
    values[name] = text(env[variable]);
    origins.set(name, variable);
  }
  return { values, originOf: (name) => origins.get(name) ?? "" };
}

function parseLayer(given: Readonly<Record<string, unknown>>, originOf: (name: string) => string, base: string): Layer {
  const values: Layer["values"] = {};
  for (const [name, value] of Object.entries(given) as [SettingName, unknown][]) {
    if (value === undefined || value === null) continue;
    try {
      values[name] = parsers[name](value);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      // A list may hold itself a billion times over, and an address a password with anything in it.
      const plain = typeof value === "string" ? value.replace(/\/\/.*@/s, "//***@") : value;
      const shown = typeof value === "object" ? "not a plain value" : JSON.stringify(plain).slice(0, 100);
      const message = `${name} (${originOf(name)}) is ${shown}, but ${why}.`;
      throw new DocprocError("INVALID_CONFIG", message, { hint: `Correct ${originOf(name)}, or leave it out.` });
    }
  }
  for (const name of ["directory", "stateDirectory"] as const) {
    if (values[name] !== undefined) values[name] = resolve(base, String(values[name]));
  }
  return { values, originOf };
}

function resolveSettings(layers: readonly Layer[], input: ConfigInput): Pick<Config, "settings" | "origins"> {
  const origins = new Map<SettingName, SettingOrigin>();
  const put = (name: SettingName, value: Value | null, origin: string) => origins.set(name, { name, value, origin });

  for (const name of settingNames) {
    const layer = layers.find(({ values }) => values[name] !== undefined);
    put(name, layer?.values[name] ?? null, layer ? layer.originOf(name) : "default");
  }
  for (const { name, value, origin } of chooseServices(layers)) put(name, value, origin);

  const value = (name: SettingName) => origins.get(name)?.value ?? undefined;
  const textOf = (name: SettingName) => value(name)?.toString();
  const numberOf = (name: SettingName) => value(name) as number | undefined;
  const [partSize, partsInFlight] = [numberOf("partSize"), numberOf("partsInFlight")];
  if (value("directory") === undefined) {
    // A catalog of its own for each bucket: a document of one bucket is not a document of another.
    const apart = textOf("storage") === "s3" && textOf("metadata") === "local" ? (textOf("bucket") ?? "") : "";
    put("directory", apart === "" ? input.paths.data : join(input.paths.data, "buckets", apart), "default");
  }
  if (value("stateDirectory") === undefined) put("stateDirectory", input.paths.state, "default");
  for (const [name, fallback] of Object.entries(defaults) as [SettingName, Value][]) {
    if (value(name) === undefined) put(name, fallback, "default");
  }

  const settings: Settings = {
    storage: textOf("storage") ?? "local",
    metadata: textOf("metadata") ?? "local",
    directory: textOf("directory") ?? input.paths.data,
    bucket: textOf("bucket"),
    bucketOwner: textOf("bucketOwner"),
    prefix: textOf("prefix") ?? "",
    table: textOf("table"),
    region: textOf("region"),
    profile: textOf("profile"),
    endpointUrl: textOf("endpointUrl"),
    partSize,
    partsInFlight,
    memory: documentMemory(input.memory, partSize, partsInFlight),
    concurrency: numberOf("concurrency"),
    connections: numberOf("connections"),
    onDuplicate: value("onDuplicate") as Settings["onDuplicate"],
    retries: value("retries") as number,
    timeout: value("timeout") as number,
    resume: value("resume") as boolean,
    provenance: value("provenance") as boolean,
    tags: JSON.parse(textOf("tags") ?? "{}"),
    expandTags: layers.find(({ values }) => values["tags"] !== undefined)?.isFile ?? false,
    tagVariables: textOf("tagVariables")?.split(",").filter(Boolean) ?? [],
    stateDirectory: textOf("stateDirectory") ?? input.paths.state,
    allowHttp: value("allowHttp") as boolean,
    unsupported: textOf("unsupported") ?? "",
    customEndpoint: textOf("endpointUrl") ?? awsEndpoint(input.env),
    owners: trustedOwners(input.uid, input.env),
  };
  const onAws = settings.storage === "s3" || settings.metadata === "dynamodb";
  if (onAws && input.env["NODE_TLS_REJECT_UNAUTHORIZED"] === "0") throw withoutCertificates();
  return { settings, origins: settingNames.map((name) => origins.get(name) as SettingOrigin) };
}

/** https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html */
function awsEndpoint(env: ConfigInput["env"]): string | undefined {
  if (env["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] === "true") return undefined;
  return env["AWS_ENDPOINT_URL_S3"] || env["AWS_ENDPOINT_URL"] || undefined;
}

/**
 * `--bucket B` alone means S3 and DynamoDB with a table B; `--directory D` alone means the embedded library.
 * The highest origin that says anything about a choice decides it: a flag is never outvoted by a file.
 */
function chooseServices(layers: readonly Layer[]): SettingOrigin[] {
  type Implication = (values: Layer["values"]) => [by: SettingName, value: string] | undefined;
  const choose = (name: SettingName, fallback: string | null, implication: Implication): SettingOrigin => {
    for (const { values, originOf } of layers) {
      const own = values[name];
      if (own !== undefined) return { name, value: own, origin: originOf(name) };
      const implied = implication(values);
      if (implied) return { name, value: implied[1], origin: originOf(implied[0]) };
    }
    return { name, value: fallback, origin: "default" };
  };
  const storage = choose("storage", "local", ({ bucket, directory }) =>
    bucket !== undefined ? ["bucket", "s3"] : directory !== undefined ? ["directory", "local"] : undefined,
  );
  const metadata = choose("metadata", "local", ({ table, bucket, directory, storage }) => {
    if (table !== undefined) return ["table", "dynamodb"];
    // Bytes on this machine in a team's catalog is nothing that `--storage local` alone could mean.
    if (storage === "local") return ["storage", "local"];
    if (bucket !== undefined) return ["bucket", "dynamodb"];
    return directory !== undefined ? ["directory", "local"] : undefined;
  });
  if (metadata.value !== "dynamodb") return [storage, metadata];
  const table = choose("table", null, ({ bucket }) => (bucket === undefined ? undefined : ["bucket", String(bucket)]));
  return [storage, metadata, table];
}

function withoutCertificates(): DocprocError {
  return new DocprocError("INVALID_CONFIG", "NODE_TLS_REJECT_UNAUTHORIZED=0 lets anybody pose as the service.", {
    hint: "Unset it, and name the authority that signed the certificate in NODE_EXTRA_CA_CERTS.",
  });
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

/** All settings: those of every library, and those of the registered drivers. */
import type { Driver } from "../core/driver.ts";
import type { ServiceName, SettingTable } from "../core/setting.ts";
import type { Settings } from "../core/settings.ts";
import { alternatives, oneOf, text, wholeNumber, yesOrNo } from "../core/values.ts";
import { type MetadataName, metadataDrivers } from "../metadata/registry.ts";
import { type StorageName, storageDrivers } from "../storage/registry.ts";
import type { StorageDriver } from "../storage/service.ts";
import { partSize, prefix, tags, timeout, variableNames } from "./values.ts";

/** A driver of either service. */
export type AnyDriver = Driver<{ readonly traits: object }>;

/** The first driver of each service is the default. */
export const drivers: Readonly<Record<ServiceName, Readonly<Record<string, AnyDriver>>>> = {
  storage: storageDrivers,
  metadata: metadataDrivers,
};
export const serviceNames = Object.keys(drivers) as ServiceName[];

const storageTraits = Object.values<StorageDriver>(storageDrivers).map(({ traits }) => traits);
/** The URI schemes of all storages. */
export const storageSchemes: ReadonlySet<string> = new Set(storageTraits.map(({ scheme }) => scheme));
/** URI schemes of storages where other programs may keep objects. */
export const sharedSchemes: readonly string[] = storageTraits.flatMap(({ shared, scheme }) => (shared ? [scheme] : []));

/** The default driver of a service and what selects the others, in Markdown. */
function chosenBy(service: ServiceName): string {
  const [first, ...others] = Object.entries(drivers[service]);
  const choosing = others.map(([name, driver]) => `\`${name}\` with a ${driver.chosenBy.toReversed().join(" or ")}`);
  return [`\`${first?.[0]}\``, ...choosing].join("; ");
}

/** Names for Markdown: `local`, `s3`. */
const listed = (names: readonly string[]) => names.map((name) => `\`${name}\``).join(", ");
const [storageNames, metadataNames] = [Object.keys(storageDrivers), Object.keys(metadataDrivers)];

const services = {
  storage: {
    parse: oneOf(storageNames),
    flag: { placeholder: "<kind>", help: `where to store bytes: ${alternatives(storageNames)}` },
    docs: { meaning: `where to store bytes: ${listed(storageNames)}`, fallback: chosenBy("storage") },
    isPlace: true,
    written: "chosen",
  },
  metadata: {
    parse: oneOf(metadataNames),
    flag: { placeholder: "<kind>", help: `where to store records: ${alternatives(metadataNames)}` },
    docs: { meaning: `where to store records: ${listed(metadataNames)}`, fallback: chosenBy("metadata") },
    isPlace: true,
    written: "chosen",
  },
} as const satisfies SettingTable;

const keys = {
  prefix: {
    parse: prefix,
    flag: { placeholder: "<prefix>", help: "prefix of every key in the storage" },
    fallback: "",
    isPlace: true,
    written: "chosen",
  },
} as const satisfies SettingTable;

const onDuplicate = ["reuse", "store"] as const;

/** How docproc works, wherever the library is. */
const work = {
  partSize: {
    parse: partSize,
    docs: {
      flag: "--part-size",
      meaning: "part size of multipart uploads, such as `16MiB`",
      fallback: "by file size: 8 or 16 MiB, more beyond 160 GB",
    },
  },
  partsInFlight: {
    parse: wholeNumber(2, 256),
    docs: {
      flag: "--parts-in-flight",
      meaning: "maximum parts in flight, over all files",
      fallback: "what fits into 64 MiB, or a sixteenth of the memory",
    },
  },
  concurrency: {
    parse: wholeNumber(1, 256),
    flag: { placeholder: "<count>", help: "files or documents to process at once (default: 32 for uploads, else 4)" },
    docs: { meaning: "files or documents to process at once", fallback: "32 for uploads, else 4" },
  },
  onDuplicate: {
    parse: oneOf(onDuplicate),
    docs: { flag: "--on-duplicate", meaning: "`reuse`, `store`", fallback: "`reuse`" },
    fallback: "reuse",
  },
  retries: {
    parse: wholeNumber(0, 100),
    flag: { placeholder: "<count>", help: "how often to retry after a transient failure (default: 5)" },
    docs: { meaning: "how often to retry after a transient failure", fallback: "5" },
    // With the SDK's pauses, this outlasts half a minute of throttling.
    fallback: 5,
  },
  timeout: {
    parse: timeout,
    flag: {
      placeholder: "<time>",
      help: "abort a request that made no progress for this long, such as 30s (default: 2m)",
    },
    docs: { meaning: "abort a request that made no progress for this long, such as `30s`", fallback: "`2m`" },
    // Milliseconds.
    fallback: 120_000,
  },
  resume: {
    parse: yesOrNo,
    docs: {
      flag: "--no-resume",
      meaning: "`false` restarts interrupted uploads from the beginning",
      fallback: "`true`",
    },
    fallback: true,
  },
  provenance: {
    parse: yesOrNo,
    docs: {
      flag: "--no-provenance",
      meaning: "`false` does not record the git commit and the CI job",
      fallback: "`true`",
    },
    fallback: true,
  },
  tags: {
    parse: tags,
    docs: { meaning: "tags of every upload: [how](ci.md#tags-for-every-upload)", fallback: "none" },
    fallback: "{}",
  },
  tagVariables: {
    parse: variableNames,
    docs: { meaning: "further variables allowed in those tags", fallback: "none" },
    fallback: "",
    wish: (value) => (value === "" ? undefined : `put the variables ${value} into tags`),
  },
  stateDirectory: {
    parse: text,
    flag: { placeholder: "<path>", help: "where to keep the state of interrupted uploads" },
    docs: { fallback: "the platform's state directory" },
    fallback: ({ state }) => state,
    isPath: true,
    wish: (value) => `keep its state in ${value}`,
  },
} as const satisfies SettingTable;

/** The settings that no driver brings. */
const ofEveryLibrary: SettingTable = { ...services, ...keys, ...work };

/** Every setting by name, in display order. */
export const settingTable: SettingTable = merged([
  services,
  ...Object.values(storageDrivers).map(({ settings }) => settings),
  keys,
  ...Object.values(metadataDrivers).map(({ settings }) => settings),
  work,
]);

/** Drivers share a setting by sharing its definition; two definitions of one name would give a flag two meanings. */
function merged(tables: readonly SettingTable[]): SettingTable {
  const all: Record<string, SettingTable[string]> = {};
  for (const [name, setting] of tables.flatMap((table) => Object.entries(table))) {
    if (Object.hasOwn(all, name) && all[name] !== setting) throw new Error(`two settings are called ${name}`);
    all[name] = setting;
  }
  // Where the library is, then how to work with it.
  return Object.fromEntries(
    Object.entries(all).sort(([, a], [, b]) => Number(b.isPlace ?? 0) - Number(a.isPlace ?? 0)),
  );
}

export type SettingName = string;
export const settingNames: readonly SettingName[] = Object.keys(settingTable);

/** Settings that say where a library is, not how to work with it. */
export const placeSettings = settingNames.filter((name) => settingTable[name]?.isPlace);

/** Settings with a closed list of values. */
export const settingChoices: Readonly<Record<string, readonly string[]>> = {
  storage: storageNames,
  metadata: metadataNames,
  onDuplicate,
};

/** Absolute paths of docproc's own data on this machine, from the settings. */
export function ownPaths(settings: Settings): string[] {
  const values: Readonly<Record<string, unknown>> = { ...settings };
  return settingNames.filter((name) => settingTable[name]?.isPath).map((name) => String(values[name]));
}

/** The services whose current driver has this setting. */
export function usersOf(name: SettingName, chosen: Readonly<Record<ServiceName, string>>): ServiceName[] {
  return serviceNames.filter((service) => Object.hasOwn(drivers[service][chosen[service]]?.settings ?? {}, name));
}

/** True for a setting of every library, or of a driver in use. */
export function isUsed(name: SettingName, chosen: Readonly<Record<ServiceName, string>>): boolean {
  return Object.hasOwn(ofEveryLibrary, name) || usersOf(name, chosen).length > 0;
}

export type { MetadataName, StorageName };

/** The settings of all drivers, as options. Numbers may be text, like `16MiB`. */
export type DriverOptions = OptionsOf<
  Intersection<SettingsOf<typeof storageDrivers> | SettingsOf<typeof metadataDrivers>>
>;
type SettingsOf<Drivers extends Record<string, { readonly settings: SettingTable }>> =
  Drivers[keyof Drivers]["settings"];
type Intersection<Union> = (Union extends unknown ? (one: Union) => void : never) extends (all: infer All) => void
  ? All
  : never;
type OptionsOf<Table> = {
  readonly [Name in keyof Table as string extends Name ? never : Name]?: Table[Name] extends {
    parse: (value: unknown) => infer V;
  }
    ? (V extends number ? number | string : V) | undefined
    : never;
};

/** Chooses the drivers, and resolves every setting to one value. */
import { join } from "node:path";
import { DocprocError } from "../core/errors.ts";
import { documentMemory } from "../core/limits.ts";
import type { ServiceName } from "../core/setting.ts";
import type { Settings } from "../core/settings.ts";
import type { Value } from "../core/values.ts";
import { trustedOwners } from "../files/ownership.ts";
import { drivers, isUsed, type SettingName, serviceNames, settingNames, settingTable } from "./settings.ts";

/** What a configuration depends on besides the given values. */
export interface Environment {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Of this user; undefined on Windows. */
  readonly uid?: number | undefined;
  /** The platform's directories for this program; absolute. */
  readonly paths: { readonly data: string; readonly config: string; readonly state: string };
  /** Bytes of memory of this machine or container. */
  readonly memory: number;
}

/** The values of one origin. */
export interface Layer {
  readonly values: Readonly<Record<SettingName, Value | undefined>>;
  readonly originOf: (name: SettingName) => string;
  /** True for a config file. */
  readonly isFile?: boolean;
}

export interface SettingOrigin {
  readonly name: SettingName;
  readonly value: Value | null;
  /** For example `--bucket`, `DOCPROC_BUCKET`, the path of a file, `default`. */
  readonly origin: string;
}

export interface Resolved {
  readonly settings: Settings;
  /** Every setting with value and origin, in the order of {@link settingNames}. */
  readonly origins: readonly SettingOrigin[];
}

/** @param layers in order of precedence */
export function resolveSettings(layers: readonly Layer[], input: Environment): Resolved {
  const origins = new Map<SettingName, SettingOrigin>();
  const put = (name: SettingName, value: Value | null, origin: string) => origins.set(name, { name, value, origin });
  for (const name of settingNames) {
    const layer = layers.find(({ values }) => values[name] !== undefined);
    put(name, layer?.values[name] ?? null, layer ? layer.originOf(name) : "default");
  }
  const chosen = Object.fromEntries(
    serviceNames.map((service) => {
      const origin = chooseDriver(service, layers);
      origins.set(service, origin);
      return [service, String(origin.value)];
    }),
  ) as Record<ServiceName, string>;
  for (const name of settingNames.filter((one) => isUsed(one, chosen))) {
    const { follows } = settingTable[name] ?? {};
    if (follows !== undefined) origins.set(name, valueOrFollowed(name, follows, layers));
  }
  const used = serviceNames
    .map((service) => drivers[service][chosen[service]])
    .filter((driver) => driver !== undefined);
  const value = (name: SettingName) => origins.get(name)?.value ?? undefined;
  const places = {
    data: input.paths.data,
    state: input.paths.state,
    elsewhere:
      isInDirectory("metadata", chosen) && !isInDirectory("storage", chosen)
        ? folderOf(chosen.storage, value)
        : undefined,
  };
  for (const name of settingNames) {
    const fallback = settingTable[name]?.fallback;
    if (fallback === undefined || value(name) !== undefined) continue;
    put(name, typeof fallback === "function" ? fallback(places) : fallback, "default");
  }
  const tagsLayer = layers.find(({ values }) => values["tags"] !== undefined);
  const settings = settingsOf(value, input, tagsLayer?.isFile ?? false);
  if (used.some(({ isRemote }) => isRemote) && input.env["NODE_TLS_REJECT_UNAUTHORIZED"] === "0") {
    throw withoutCertificates();
  }
  const all = serviceNames.flatMap((service) => Object.values(drivers[service]));
  const derived = all.map((driver) => driver.derive?.(settings, input.env));
  return {
    settings: Object.assign(settings, ...derived),
    origins: settingNames.map((name) => origins.get(name) as SettingOrigin),
  };
}

/** @param expandTags see `Settings.expandTags` */
function settingsOf(
  value: (name: SettingName) => Value | undefined,
  { memory, uid, env }: Environment,
  expandTags: boolean,
): Settings {
  const partSize = value("partSize") as number | undefined;
  const partsInFlight = value("partsInFlight") as number | undefined;
  return {
    ...Object.fromEntries(settingNames.map((name) => [name, value(name)])),
    storage: String(value("storage")),
    metadata: String(value("metadata")),
    prefix: String(value("prefix")),
    partSize,
    partsInFlight,
    memory: documentMemory(memory, partSize, partsInFlight),
    concurrency: value("concurrency") as number | undefined,
    onDuplicate: value("onDuplicate") as Settings["onDuplicate"],
    retries: value("retries") as number,
    timeout: value("timeout") as number,
    resume: value("resume") as boolean,
    provenance: value("provenance") as boolean,
    tags: JSON.parse(String(value("tags"))),
    expandTags,
    tagVariables: String(value("tagVariables")).split(",").filter(Boolean),
    stateDirectory: String(value("stateDirectory")),
    owners: trustedOwners(uid, env),
  };
}

/**
 * `--bucket B` alone means S3 and DynamoDB with a table B; `--directory D` alone means the embedded library. The first
 * origin that says anything about a choice decides it: a file never overrules a flag.
 */
function chooseDriver(service: ServiceName, layers: readonly Layer[]): SettingOrigin {
  const [first = ""] = Object.keys(drivers[service]);
  const choices = choicesOf(service, first);
  for (const { values, originOf } of layers) {
    const own = values[service];
    if (own !== undefined) return { name: service, value: own, origin: originOf(service) };
    const choice = choices.find(({ setting, is }) =>
      is === undefined ? values[setting] !== undefined : values[setting] === is,
    );
    if (choice) return { name: service, value: choice.driver, origin: originOf(choice.setting) };
  }
  return { name: service, value: first, origin: "default" };
}

interface Choice {
  readonly setting: SettingName;
  /** The value that selects the driver; undefined: any. */
  readonly is?: string;
  readonly driver: string;
}

/** All choices of a service's driver, those specific to the service first. */
function choicesOf(service: ServiceName, first: string): Choice[] {
  const others = serviceNames.filter((other) => other !== service);
  const ofOthers = new Set(
    others.flatMap((other) => Object.values(drivers[other])).flatMap(({ chosenBy }) => chosenBy),
  );
  const bySetting: Choice[] = Object.entries(drivers[service]).flatMap(([driver, { chosenBy }]) =>
    chosenBy.map((setting) => ({ setting, driver })),
  );
  const byOther: Choice[] = others.flatMap((other) =>
    Object.entries(drivers[other]).flatMap(([is, { implies }]) => {
      const driver = implies?.[service];
      return driver === undefined ? [] : [{ setting: other, is, driver }];
    }),
  );
  const ofBoth = bySetting.filter(({ setting }) => ofOthers.has(setting));
  return [
    ...bySetting.filter(({ setting }) => !ofOthers.has(setting)),
    ...byOther,
    ...ofBoth.filter(({ driver }) => driver !== first),
    ...ofBoth.filter(({ driver }) => driver === first),
  ];
}

/** The value of a setting, or of the one that it follows, from the first origin that has either. */
function valueOrFollowed(name: SettingName, followed: SettingName, layers: readonly Layer[]): SettingOrigin {
  for (const { values, originOf } of layers) {
    const from = [name, followed].find((one) => values[one] !== undefined);
    if (from !== undefined) return { name, value: values[from] ?? null, origin: originOf(from) };
  }
  return { name, value: null, origin: "default" };
}

/** Whether a service stores in a directory of this machine. */
function isInDirectory(service: ServiceName, chosen: Readonly<Record<ServiceName, string>>): boolean {
  return Object.values(drivers[service][chosen[service]]?.settings ?? {}).some(({ isPath }) => isPath);
}

/** A folder for the catalog of a remote storage: `buckets/my-documents`. */
function folderOf(storage: string, value: (name: SettingName) => Value | undefined): string | undefined {
  const values = Object.fromEntries(settingNames.map((name) => [name, value(name)]));
  const { kind, name = "" } = drivers.storage[storage]?.nameOf(values as unknown as Settings) ?? {};
  return name === "" ? undefined : join(`${kind}s`, name);
}

function withoutCertificates(): DocprocError {
  return new DocprocError("INVALID_CONFIG", "NODE_TLS_REJECT_UNAUTHORIZED=0 turns off the check of TLS certificates.", {
    hint: "Unset it, and set NODE_EXTRA_CA_CERTS to the certificate of your authority.",
  });
}

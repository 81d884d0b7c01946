/**
 * Settings that a project file may not decide alone: those that send documents or credentials elsewhere than to a named
 * bucket.
 */
import { realpath } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative } from "node:path";
import { DocprocError } from "../core/errors.ts";
import { isLoopback } from "../core/loopback.ts";
import { variableOf } from "../core/setting-names.ts";
import type { Settings } from "../core/settings.ts";
import { placeSettings } from "./profiles.ts";
import type { Consent } from "./trust.ts";
import type { Value } from "./values.ts";

/** A setting of a project file that needs the user's consent. */
export interface Claim {
  readonly name: keyof Settings;
  /** What the file wants, as it goes on after `to`. */
  readonly wish: string;
}

/** What a project file decides in this run, and whether it may. */
export interface ProjectFileUse {
  readonly path: string;
  readonly consent: Consent;
  /** Settings whose values are those of the file. */
  readonly used: readonly { readonly name: keyof Settings; readonly value: Value }[];
  /** What of it needs the user's consent, and is said nowhere but in the file. */
  readonly claims: readonly Claim[];
}

/**
 * What a project file decides of the settings in force.
 * @param used settings whose values are those of the file
 * @param saidElsewhere whether the user says the same in a flag, a variable or a file of their own: that is consent
 */
export async function useOfProjectFile(
  { path, consent, used }: Omit<ProjectFileUse, "claims">,
  settings: Settings,
  saidElsewhere: (name: keyof Settings, value: Value) => boolean,
): Promise<ProjectFileUse> {
  const claims: Claim[] = [];
  for (const { name, value } of used) {
    const wish = saidElsewhere(name, value) ? undefined : await wishOf(name, value, settings, path);
    if (wish !== undefined) claims.push({ name, wish });
  }
  return { path, consent, used, claims };
}

/** Settings that may need consent, see {@link wishOf}. */
export const guardedSettings: readonly (keyof Settings)[] = [
  ...(["endpointUrl", "allowHttp", "profile", "unsupported"] as const),
  ...(["directory", "stateDirectory", "tagVariables"] as const),
];

/** What a value of a setting would do that needs consent; undefined where a project file may say it. */
async function wishOf(
  name: keyof Settings,
  value: Value,
  settings: Settings,
  path: string,
): Promise<string | undefined> {
  const onAws = settings.storage === "s3" || settings.metadata === "dynamodb";
  const isLocal = settings.storage === "local" || settings.metadata === "local";
  const { customEndpoint = "" } = settings;
  const staysHere = URL.canParse(customEndpoint) && isLoopback(new URL(customEndpoint).hostname);
  switch (name) {
    case "endpointUrl":
      return onAws && !staysHere ? `send documents and credentials to ${value}` : undefined;
    case "allowHttp":
      return onAws && value === true ? "allow requests without TLS to other machines" : undefined;
    case "profile":
      return onAws ? `use the AWS profile ${value}` : undefined;
    case "unsupported":
      return onAws && !staysHere && value !== "" ? `do without ${value}` : undefined;
    case "stateDirectory":
      return `keep its state in ${value}`;
    case "tagVariables":
      return value === "" ? undefined : `put the variables ${value} into tags`;
    case "directory":
      // A prepared catalog could name the objects of another library as its own, for delete and doctor to remove.
      if (settings.storage !== "local" && settings.metadata === "local")
        return `keep the catalog of a bucket in ${value}`;
      return isLocal && !(await isBelow(String(value), dirname(path)))
        ? `keep documents in ${value}, outside of the project`
        : undefined;
    default:
      return undefined;
  }
}

/** @throws INVALID_CONFIG where the file decides something without consent */
export function assertAgreed(use: ProjectFileUse | undefined): void {
  if (use === undefined || use.consent === "agreed" || use.claims.length === 0) return;
  const wishes = use.claims.map(({ wish }) => wish).join(", and to ");
  const variables = use.claims.map(({ name }) => variableOf(name)).join(", ");
  const changed = use.consent === "changed" ? " The file has changed since you agreed to it." : "";
  throw new DocprocError("INVALID_CONFIG", `${use.path} wants to ${wishes}. You have not agreed to that.${changed}`, {
    hint: `Read the file, then run docproc trust. Or say the same yourself: ${variables}.`,
  });
}

const place: ReadonlySet<string> = new Set(placeSettings);

/** One line about the library that a file chooses without the user's consent; undefined where it chooses none. */
export function useWithoutConsent({ path, consent, used }: ProjectFileUse): string | undefined {
  // Which services they are follows from the rest, and how docproc works there is no matter of trust.
  const told = used.filter(({ name }) => place.has(name) && name !== "storage" && name !== "metadata");
  if (consent === "agreed" || told.length === 0) return undefined;
  const said = told.map(({ name, value }) => `${name} ${value}`).join(", ");
  return `From ${path}: ${said}. Run docproc trust to agree to it.`;
}

/** Whether a path, which need not exist yet, is in a directory or is the directory itself, links followed. */
async function isBelow(path: string, directory: string): Promise<boolean> {
  const [real, above] = await Promise.all([realPathOf(path), realPathOf(directory)]);
  const way = relative(above, real);
  return way === "" || !(way === ".." || /^\.\.[\\/]/.test(way) || isAbsolute(way));
}

async function realPathOf(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    const above = dirname(path);
    return above === path ? path : join(await realPathOf(above), basename(path));
  }
}

/**
 * Settings that a project file may not decide alone: those that send documents or credentials elsewhere than to a named
 * bucket, write outside of the project, or put further variables into tags.
 */
import { dirname } from "node:path";
import { DocprocError } from "../core/errors.ts";
import { variableOf } from "../core/setting.ts";
import type { Settings } from "../core/settings.ts";
import type { Value } from "../core/values.ts";
import { isUsed, placeSettings, type SettingName, settingNames, settingTable, usersOf } from "./settings.ts";
import type { Consent } from "./trust.ts";

/** A setting of a project file that needs the user's consent. */
export interface PendingConsent {
  readonly name: SettingName;
  /** What the file wants, continuing after `to`. */
  readonly wish: string;
}

/** What a project file decides in this run, and whether it may. */
export interface ProjectFileUse {
  readonly path: string;
  readonly consent: Consent;
  /** Settings whose values come from the file. */
  readonly used: readonly { readonly name: SettingName; readonly value: Value }[];
  /** Those of them that need consent and are set nowhere else. */
  readonly claims: readonly PendingConsent[];
}

/**
 * Determines what a project file decides about the settings in force.
 * @param used settings whose values come from the file
 * @param saidElsewhere whether a flag, a variable or the user's file says the same, which is consent
 */
export async function useOfProjectFile(
  { path, consent, used }: Omit<ProjectFileUse, "claims">,
  settings: Settings,
  saidElsewhere: (name: SettingName, value: Value) => boolean,
): Promise<ProjectFileUse> {
  const claims: PendingConsent[] = [];
  for (const { name, value } of used) {
    const wish = saidElsewhere(name, value) ? undefined : await wishOf(name, value, settings, path);
    if (wish !== undefined) claims.push({ name, wish });
  }
  return { path, consent, used, claims };
}

/** Settings that may need consent. */
export const guardedSettings: readonly SettingName[] = settingNames.filter((name) => settingTable[name]?.wish);

/** What a value would do that needs consent; undefined when a project file may set it. */
async function wishOf(name: SettingName, value: Value, settings: Settings, path: string): Promise<string | undefined> {
  const chosen = { storage: settings.storage, metadata: settings.metadata };
  if (!isUsed(name, chosen)) return undefined;
  const values: Readonly<Record<string, unknown>> = { ...settings };
  return await settingTable[name]?.wish?.(value, { by: usersOf(name, chosen), values, project: dirname(path) });
}

/** @throws INVALID_CONFIG when the file decides something without consent */
export function assertAgreed(use: ProjectFileUse | undefined): void {
  if (use === undefined || use.consent === "agreed" || use.claims.length === 0) return;
  const wishes = use.claims.map(({ wish }) => wish).join(", and to ");
  const variables = use.claims.map(({ name }) => variableOf(name)).join(", ");
  const changed = use.consent === "changed" ? " The file has changed since you trusted it." : "";
  throw new DocprocError("INVALID_CONFIG", `${use.path} is not trusted to ${wishes}.${changed}`, {
    hint: `Read the file, then run docproc trust, or set ${variables} yourself.`,
  });
}

const place: ReadonlySet<string> = new Set(placeSettings);

/** One line about the library that a file selects without consent; undefined when it selects none. */
export function useWithoutConsent({ path, consent, used }: ProjectFileUse): string | undefined {
  // The services follow from the rest, and how docproc works there is no matter of trust.
  const told = used.filter(({ name }) => place.has(name) && name !== "storage" && name !== "metadata");
  if (consent === "agreed" || told.length === 0) return undefined;
  const said = told.map(({ name, value }) => `${name} ${value}`).join(", ");
  return `From ${path}: ${said}. Run docproc trust to confirm it.`;
}

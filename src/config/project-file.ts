/** Writes the project file for init: the chosen services, and the user's consent to its content. */
import { lstat, readFile, writeFile } from "node:fs/promises";
import { dirname, extname, join, relative } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { DocprocError, fromSystemError, toDocprocError } from "../core/errors.ts";
import type { ProvisionAction } from "../core/resources.ts";
import { publish } from "../files/atomic.ts";
import { removeFile, replaceFile, temporaryFile, temporaryIn } from "../files/removal.ts";
import { statIfThere } from "../files/stat.ts";
import type { Config } from "./config.ts";
import { guardedSettings } from "./consent.ts";
import { readConfigFile } from "./files.ts";
import { blocksOf } from "./profiles.ts";
import type { SettingOrigin } from "./resolve.ts";
import { isUsed, type SettingName, settingTable } from "./settings.ts";
import { TrustStore } from "./trust.ts";

export interface PlannedFile {
  readonly path: string;
  readonly values: Readonly<Record<string, unknown>>;
  readonly planned: ProvisionAction;
}

/**
 * The new content of the project file: the chosen services, and all other keys unchanged.
 * @param found what init found; undefined before it has looked
 */
export async function planProjectFile(
  cwd: string,
  config: Config,
  found?: Readonly<Record<string, string | undefined>>,
): Promise<PlannedFile> {
  const { projectFile, profile } = config;
  // A profile is complete, and not what the project uses.
  if (profile) return { path: profile.path, values: profile.values, planned: "exists" };
  const path = projectFile?.path ?? join(cwd, ".docprocrc.json");
  const chosen = chosenValues(config, path, found);
  const values = Object.fromEntries(
    Object.entries({ ...projectFile?.values, ...chosen }).filter(([, value]) => value !== undefined),
  );
  if (projectFile === undefined) return { path, values, planned: "would-create" };
  if (isDeepStrictEqual(projectFile.values, values)) return { path, values, planned: "exists" };
  const isLink = (await statIfThere(path, lstat))?.isSymbolicLink();
  if (isLink || extname(path) !== ".json") {
    const why = isLink ? "is a symbolic link, which docproc does not replace" : "docproc changes only JSON files";
    throw new DocprocError("CONFLICT", `${path} names other services, and ${why}.`, {
      hint: `Edit it by hand to contain: ${JSON.stringify(chosen)}`,
    });
  }
  return { path, values, planned: "would-update" };
}

/** The settings to write; undefined for each one to remove. */
function chosenValues(
  { settings: { storage, metadata }, origins }: Config,
  path: string,
  found: Readonly<Record<string, string | undefined>> | undefined,
): Record<SettingName, unknown> {
  const valueToWrite = ({ name, value, origin }: SettingOrigin) => {
    const { written, isPath, isPersonal, vendorVariables = [] } = settingTable[name] ?? {};
    if (!isUsed(name, { storage, metadata })) return undefined;
    if (written === "found" && found !== undefined) return found[name] || undefined;
    // Services are written even by default, since defaults may change; so is a table named after the bucket.
    if (isPath) return origin === "default" ? undefined : portable(path, String(value));
    // Even a region from AWS_REGION is written: a bucket never moves.
    if (isPersonal && vendorVariables.includes(origin)) return undefined;
    return (value ?? found?.[name]) || undefined;
  };
  const written = origins.filter(({ name }) => settingTable[name]?.written !== undefined);
  return Object.fromEntries(written.map((origin) => [origin.name, valueToWrite(origin)]));
}

/** A directory inside the project gets a relative path, so that the project can be moved. */
function portable(file: string, directory: string): string {
  const inside = relative(dirname(file), directory);
  return inside === "" || inside.startsWith("..") ? directory : `./${inside}`;
}

/** Writes the file atomically. A file that appeared meanwhile is never replaced unread. */
export async function writeProjectFile({ path, values, planned }: PlannedFile): Promise<ProvisionAction> {
  if (planned === "exists") return "exists";
  const content = `${JSON.stringify(values, null, 2)}\n`;
  const temporary = temporaryIn(dirname(path));
  try {
    // A private file stays private.
    const mode = (await statIfThere(path))?.mode ?? 0o666;
    await writeFile(temporary, content, { flag: "wx", mode: mode & 0o777 });
    if (planned === "would-update" && (await replaceFile(temporaryFile(temporary), path))) return "updated";
    if (await publish(temporary, path)) return "created";
    // Another init was faster; the same content is fine.
    if ((await readFile(path, "utf8")) === content) return "exists";
    throw new DocprocError("CONFLICT", `Another process has written ${path} meanwhile.`, {
      hint: "Check it, then run docproc init again.",
    });
  } catch (error) {
    throw fromSystemError(error, path);
  } finally {
    await removeFile(temporaryFile(temporary));
  }
}

/**
 * Records the user's consent to the file that was just written, if its content is the user's own.
 * @param directory the user's config directory
 * @returns why the consent could not be stored
 */
export async function agreeToProjectFile(
  config: Config,
  path: string,
  directory: string,
): Promise<DocprocError | undefined> {
  if (!mayAgree(config)) return undefined;
  try {
    const file = await readConfigFile(path);
    if (file) await new TrustStore(directory, config.settings.owners).agreeTo(file);
    return undefined;
  } catch (error) {
    return toDocprocError(error);
  }
}

/** Not if the file already held settings that need consent: the user may never have read it. */
function mayAgree({ projectFile, projectUse, profile }: Config): boolean {
  if (profile) return false;
  if (projectFile === undefined || projectUse?.consent === "agreed") return true;
  const { main, profiles } = blocksOf(projectFile);
  const blocks = [main, ...profiles.values()];
  return !blocks.some(({ values }) => guardedSettings.some((name) => values[name] !== undefined));
}

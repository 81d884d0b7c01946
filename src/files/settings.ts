/** The setting that all local drivers share. */
import { realpath } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative } from "node:path";
import type { SettingTable, SettingUse, ValuesOf } from "../core/setting.ts";
import type { Settings } from "../core/settings.ts";
import { text } from "../core/values.ts";

export const directorySettings = {
  /** The embedded library; alone it selects local bytes and a local catalog. */
  directory: {
    parse: text,
    flag: {
      placeholder: "<path>",
      help: "directory of the embedded library (default: in the platform's data directory)",
    },
    docs: { meaning: "directory of the embedded library", fallback: "the platform's data directory" },
    // One catalog per bucket: buckets do not share documents.
    fallback: ({ data, elsewhere }) => (elsewhere === undefined ? data : join(data, elsewhere)),
    isPlace: true,
    isPath: true,
    written: "chosen",
    wish,
  },
} as const satisfies SettingTable;

/** The settings that local drivers read. The directory is absolute. */
export type DirectorySettings = Settings & ValuesOf<typeof directorySettings>;

async function wish(value: unknown, { by, project }: SettingUse): Promise<string | undefined> {
  // A prepared catalog could claim another library's objects as its own, for delete and doctor to remove.
  if (!by.includes("storage")) return `keep the catalog of a bucket in ${value}`;
  return (await isBelow(String(value), project)) ? undefined : `keep documents in ${value}, outside the project`;
}

/** Whether a path, existing or not, is the directory or in it, after following links. */
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

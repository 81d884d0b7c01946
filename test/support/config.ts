/** Config files in a sandbox, and the configuration that is made of them. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { type ConfigInput, loadConfig } from "../../src/config/config.ts";
import type { AnySettings } from "./aws.ts";
import type { Sandbox } from "./run.ts";

/** Writes a file, an object as JSON, and the directories above it; returns its path. */
export async function writeConfig(path: string, content: string | object): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

export async function loadIn({ cwd, home, data, config, state }: Sandbox, input: Partial<ConfigInput> = {}) {
  const paths = { data, config, state };
  const all = { flags: {}, file: undefined, env: {}, cwd, home, paths, memory: 8 * 1024 ** 3, ...input };
  const loaded = await loadConfig(all);
  return { ...loaded, settings: loaded.settings as AnySettings };
}

/** A library as a program opens it, with nothing around it. */
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { LibraryOptions } from "../../src/api/library.ts";
import { openLibraryIn } from "../../src/api/open-library.ts";
import { awsSettings, localSettings } from "./aws.ts";
import { makeSandbox } from "./run.ts";

/** Opens a library of its own, and makes what it needs. */
export async function openForProgram(endpoint?: string, options: LibraryOptions = {}) {
  const sandbox = await makeSandbox();
  const settings = endpoint === undefined ? localSettings(join(sandbox.cwd, "library")) : awsSettings(endpoint);
  const { bucket } = settings;
  const place = endpoint === undefined ? { directory: "library" } : { bucket, endpointUrl: endpoint, retries: 1 };
  const surroundings = {
    env: { AWS_REGION: "us-east-1" },
    cwd: sandbox.cwd,
    home: sandbox.home,
    paths: { data: sandbox.data, config: sandbox.config, state: sandbox.state },
    memory: 8 * 1024 ** 3,
    umask: 0o022,
  };
  const library = await openLibraryIn({ ...place, ...options }, surroundings);
  onTestFinished(() => library.close());
  const made = await library.init();
  return { library, settings, sandbox, made, surroundings };
}

export async function names(records: AsyncIterable<{ name: string }>): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of records) found.push(name);
  return found;
}

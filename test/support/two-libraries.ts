/** An embedded library, one wherever a place is, and one to come back to, as profiles of one config file. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";
import type { DocumentRecord } from "../../src/document/record.ts";
import { awsSettings } from "./aws.ts";
import { writeConfig } from "./config.ts";
import { makeSandbox, type RunOptions, runDocproc } from "./run.ts";

/** @param endpoint of the library `there`; without one it is another directory */
export async function openTwoLibraries(endpoint?: string) {
  const sandbox = await makeSandbox();
  const bucket = awsSettings("").bucket ?? "";
  const there = endpoint === undefined ? { directory: "./there" } : { bucket, endpointUrl: endpoint };
  const profiles = { here: { directory: "./here" }, there, back: { directory: "./back" } };
  // Parts as small as can be, so that a document has several.
  const config = await writeConfig(join(sandbox.cwd, ".docprocrc.json"), { partSize: "5MiB", retries: 2, profiles });
  const run = (argv: readonly string[], options?: RunOptions) => runDocproc(sandbox, argv, options);
  expect(await run(["init", "--use", "there"])).toMatchObject({ status: 0 });
  return {
    sandbox,
    bucket,
    config,
    run,
    async upload(use: string, name: string, content: string | Uint8Array, ...argv: string[]): Promise<DocumentRecord> {
      await writeFile(join(sandbox.root, "upload"), content);
      const path = join(sandbox.root, "upload");
      const outcome = await run(["upload", path, "--name", name, ...argv, "--use", use, "--json"]);
      expect(outcome).toMatchObject({ status: 0 });
      return (await run(["show", outcome.json().documents[0].id, "--use", use, "--json"])).json();
    },
    async copy(...argv: string[]) {
      return await run(["copy", ...argv, "--json"]);
    },
    async list(use: string): Promise<DocumentRecord[]> {
      return (await run(["list", "--all", "--asc", "--use", use, "--json"])).json().documents;
    },
    /** Every byte of every document, checked by the reading, and nothing beside them. */
    async expectSound(use: string): Promise<void> {
      expect(await run(["verify", "--all", "--deep", "--use", use])).toMatchObject({ status: 0 });
      const now = () => Date.now() + 25 * 3_600_000;
      const doctor = await run(["doctor", "--use", use, "--json"], { now });
      expect(doctor.json().findings).toEqual([]);
    },
  };
}

/** What a copy changes of a record: where it is, and the checksum that the storage there keeps. */
export function portable(records: readonly DocumentRecord[]) {
  return records.map(({ uri: _uri, crc32: _crc32, ...rest }) => rest);
}

/** The places that commands are tried on: the embedded library, and S3 with DynamoDB wherever there is one. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import type { Settings } from "../../src/core/settings.ts";
import type { DocumentRecord } from "../../src/document/record.ts";
import { type MetadataName, metadataDrivers } from "../../src/metadata/registry.ts";
import type { MetadataService } from "../../src/metadata/service.ts";
import { type AwsEndpoint, awsEndpoints, awsSettings, localSettings } from "./aws.ts";
import { entryOf } from "./record.ts";
import { makeSandbox, type RunOptions, runDocproc } from "./run.ts";

const never = new AbortController().signal;

export const places: Record<string, (() => Promise<AwsEndpoint>) | undefined> = {
  "the embedded library": undefined,
  ...awsEndpoints(),
};

/** Starts what a place needs for as long as its suite runs; the answer is its endpoint, if it has one. */
export function usePlace(start: (() => Promise<AwsEndpoint>) | undefined): () => string | undefined {
  let aws: AwsEndpoint | undefined;
  beforeAll(async () => {
    aws = await start?.();
  });
  afterAll(() => aws?.close());
  return () => aws?.endpoint;
}

/** An empty library: the embedded one, or a bucket and a table at an endpoint. */
export async function openEmptyLibrary(endpoint?: string) {
  const sandbox = await makeSandbox();
  const settings = endpoint === undefined ? localSettings(sandbox.data) : awsSettings(endpoint);
  const flags = endpoint === undefined ? [] : ["--endpoint-url", endpoint, "--bucket", settings.bucket ?? ""];
  const run = (argv: readonly string[], options?: RunOptions) => runDocproc(sandbox, [...argv, ...flags], options);
  if (endpoint !== undefined) expect(await run(["init"])).toMatchObject({ status: 0 });
  return { sandbox, settings, run };
}

/** A library, and ways to put documents into it. */
export async function openLibrary(endpoint?: string) {
  const { sandbox, settings, run } = await openEmptyLibrary(endpoint);
  return {
    sandbox,
    settings,
    run,
    async upload(name: string, content: string | Uint8Array, ...argv: string[]): Promise<DocumentRecord> {
      await writeFile(join(sandbox.root, "upload"), content);
      const outcome = await run(["upload", join(sandbox.root, "upload"), "--name", name, ...argv, "--json"]);
      expect(outcome.status).toBe(0);
      const { action: _action, bytesSent: _bytesSent, ...record } = outcome.json().documents[0];
      return record;
    },
    /** Puts a record into the catalog whatever it says, as another program could. */
    plant: (record: DocumentRecord) =>
      inCatalog(settings, (metadata) => metadata.commit(entryOf(record), { unlessThere: false }, never)),
    /** Takes a record out of the catalog and leaves its bytes, as a crash does. */
    forget: ({ id }: DocumentRecord) => inCatalog(settings, (metadata) => metadata.remove(id, never)),
  };
}

/** Does something to a catalog behind docproc's back. */
export async function inCatalog(
  settings: Settings,
  work: (metadata: MetadataService) => Promise<unknown>,
): Promise<void> {
  const metadata = await metadataDrivers[settings.metadata as MetadataName].open(settings);
  try {
    await work(metadata);
  } finally {
    await metadata.close();
  }
}

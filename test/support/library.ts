/** The places that commands are tried on: the embedded library, and S3 with DynamoDB wherever there is one. */
import { afterAll, beforeAll, expect } from "vitest";
import { type AwsEndpoint, awsEndpoints, awsSettings } from "./aws.ts";
import { makeSandbox, type RunOptions, runDocproc } from "./run.ts";

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
  const flags =
    endpoint === undefined ? [] : ["--endpoint-url", endpoint, "--bucket", awsSettings(endpoint).bucket ?? ""];
  const run = (argv: readonly string[], options?: RunOptions) => runDocproc(sandbox, [...argv, ...flags], options);
  if (endpoint !== undefined) expect(await run(["init"])).toMatchObject({ status: 0 });
  return { sandbox, run };
}

/** A library that the program is run on as a process, and killed at, and whose storage is looked at from outside. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, vi } from "vitest";
import type { DocumentRecord } from "../../src/document/record.ts";
import { awsSettings, type InRepoAws, startInRepoAws } from "./aws.ts";
import { awsState, complaints, dayAndAnHour, localState } from "./oracle.ts";
import { docproc, type SpawnOptions, start } from "./process.ts";
import { makeSandbox, type RunOptions, runDocproc } from "./run.ts";

/** Where that can be done: the embedded library, and AWS as far as its memory is ours. */
export const storedPlaces: Record<string, (() => Promise<InRepoAws>) | undefined> = {
  "the embedded library": undefined,
  "the servers of this repository": () => startInRepoAws(),
};

export type StoredLibrary = Awaited<ReturnType<typeof openStoredLibrary>>;

/** Milliseconds that the last requests of a killed process are given to come to their end. */
const patience = 60_000;

/** An empty library, in a sandbox that has a place for temporary files, too. */
export async function openStoredLibrary(aws?: InRepoAws) {
  const sandbox = await makeSandbox();
  const TMPDIR = join(sandbox.root, "tmp");
  await mkdir(TMPDIR);
  const bucket = awsSettings("").bucket ?? "";
  const place = aws ? ["--endpoint-url", aws.endpoint, "--bucket", bucket] : ["--directory", sandbox.data];
  const flags = [...place, "--state-directory", sandbox.state];
  const state = aws ? awsState(aws, bucket) : localState(sandbox.data);
  const inSandbox = (options: SpawnOptions) => ({ ...options, env: { TMPDIR, ...options.env } });

  /** Runs a command inside the test. */
  const run = (argv: readonly string[], options?: RunOptions) => runDocproc(sandbox, [...argv, ...flags], options);
  const listed = async (): Promise<DocumentRecord[]> => (await run(["list", "--all", "--json"])).json().documents;
  const expectNoComplaint = async (what: string, wrong: Parameters<typeof complaints>[2]) =>
    expect(await complaints(state, await listed(), wrong), what).toEqual([]);

  if (aws) expect(await run(["init"])).toMatchObject({ status: 0 });
  return {
    sandbox,
    /** Where documents may be on this machine. */
    keeps: aws ? [sandbox.state] : [sandbox.data, sandbox.state],
    state,
    run,
    listed,
    /** Starts a command as a process. */
    start: (argv: readonly string[], options: SpawnOptions = {}) =>
      start(sandbox, [...argv, ...flags], inSandbox(options)),
    /** Runs a command as a process. */
    spawn: (argv: readonly string[], options: SpawnOptions = {}) =>
      docproc(sandbox, [...argv, ...flags], inSandbox(options)),
    /**
     * @param wrong what counts as wrong
     */
    async expectSound(what: string, wrong: Parameters<typeof complaints>[2]) {
      await vi.waitFor(async () => await expectNoComplaint(what, wrong), patience);
    },
    /** A day later a doctor leaves nothing but the documents. */
    async expectRepairable(what: string) {
      await vi.waitFor(async () => {
        await state.age();
        const repaired = await run(["doctor", "--repair"], { now: () => Date.now() + dayAndAnHour });
        expect(repaired, what).toMatchObject({ status: 0 });
        await expectNoComplaint(what, { garbage: true });
      }, patience);
    },
  };
}

/**
 * SQLite's way to test what happens when something fails: a command is run again and again, and its first, second,
 * third … operation fails, until a run ends before it comes to that. https://www.sqlite.org/testing.html
 *
 * Whatever failed, nothing may be lost, invented or half done; see {@link sweep} for what is asked each time.
 */
import { appendFile } from "node:fs/promises";
import { onTestFinished } from "vitest";
import type { DocumentRecord } from "../../src/document/record.ts";
import { soak } from "./nth-call.ts";
import { complaints, type LibraryState } from "./oracle.ts";
import type { Outcome, RunOptions, Sandbox } from "./run.ts";

export interface Library {
  readonly sandbox: Sandbox;
  readonly state: LibraryState;
  run(argv: readonly string[], options?: RunOptions): Promise<Outcome>;
}

/** Makes one operation of a command fail. */
export interface Faults {
  /** Lets the n-th operation from now on fail. */
  arm(n: number): void;
  /** Ends it. Returns the operations that failed. */
  disarm(): readonly string[];
  /** Exit statuses that such a failure may lead to; of an operation, the first that failed. */
  statuses(failed: string): readonly number[];
  /** What else is wrong after a run, for example a file that was not closed. */
  left?(): Promise<readonly string[]>;
}

export interface Scenario {
  readonly name: string;
  /** Puts in place what the n-th run needs. */
  prepare(library: Library, n: number): Promise<Attempt>;
}

export interface Attempt {
  readonly argv: readonly string[];
  /** The documents that it needs, and the one that it removes. */
  readonly needs?: string | readonly string[];
  readonly removes?: string;
  /** The document whose bytes it puts back: after a failure they may be as they were. */
  readonly restores?: string;
  /** What is wrong, in sentences, after the run that had the fault, and what that fault was. */
  afterwards?(outcome: Outcome, failed: string | undefined): Promise<string[]>;
  /** What is wrong after the same command was run again without a fault. */
  again(second: Outcome, first: Outcome): Promise<string[]>;
}

export interface SweepOptions {
  /** What is swept, for the report. */
  readonly title: string;
  readonly scenario: Scenario;
  readonly faults: Faults;
  /** Makes an empty library. */
  open(): Promise<Library>;
  /** Whether every run gets a library of its own. */
  readonly anew: boolean;
}

/** Milliseconds for one sweep, on a machine that is busy with others. */
export const timeout = soak ? 3_600_000 : 180_000;
/** More operations than any command of a sweep has. */
const endless = 2_000;

/**
 * Fails operation 1, 2, 3, … of a command, each in a run of its own, and looks at everything afterwards:
 * the exit status, stdout, what is listed and what is stored, whether the same command succeeds then, and whether a
 * doctor leaves nothing but the documents.
 * @returns everything that was wrong, in sentences
 */
export async function sweep({ title, scenario, faults, open, anew }: SweepOptions): Promise<string[]> {
  const wrong: string[] = [];
  const rejections = watchRejections();
  let injected = 0;
  let library = await open();
  let reported = new Set<string>();
  let last = false;
  for (let n = 1; !last && n <= endless; n++) {
    if (anew && n > 1) {
      library = await open();
      reported = new Set();
    }
    const attempt = await scenario.prepare(library, n);
    for (const id of [attempt.needs ?? [], attempt.removes ?? []].flat()) reported.add(id);
    faults.arm(n);
    const outcome = await library.run([...attempt.argv, "--json"]);
    const failed = faults.disarm();
    injected += failed.length;
    const found = [
      ...statusOf(outcome, failed[0] === undefined ? [0] : faults.statuses(failed[0])),
      ...((await attempt.afterwards?.(outcome, failed[0])) ?? []),
      ...((await faults.left?.()) ?? []),
      ...(await wrongInLibrary(library, attempt, outcome, reported)),
    ];
    const second = await library.run([...attempt.argv, "--json"]);
    found.push(...(await attempt.again(second, outcome)).map((what) => `run again: ${what}`));
    report(second, reported);
    if (attempt.removes) reported.delete(attempt.removes);
    last = failed.length === 0;
    if (anew || last) found.push(...(await wrongAfterDoctor(library)));
    found.push(...rejections.splice(0));
    wrong.push(...found.map((what) => `${n}, ${failed[0] ?? "nothing failed"}: ${what} (exit ${outcome.status})`));
  }
  const file = process.env["DOCPROC_SWEEP_REPORT"];
  if (file) await appendFile(file, `${title}: ${injected} faults\n`);
  if (injected === 0) wrong.push("no fault was injected");
  if (!last) wrong.push(`after ${endless} operations there was still one to fail`);
  return wrong;
}

function statusOf({ status, stdout, stderr }: Outcome, allowed: readonly number[]): string[] {
  const wrong: string[] = [];
  if (!allowed.includes(status)) wrong.push(`unexpected exit status, ${stderr.trim().split("\n").at(-1)}`);
  try {
    if (!/^docproc\.\w+\/1$/.test(JSON.parse(stdout).schema)) wrong.push(`stdout has no schema: ${stdout}`);
    if (status !== 0) JSON.parse(stderr.trim().split("\n").at(-1) ?? "");
  } catch {
    wrong.push(`output is not JSON: ${JSON.stringify({ stdout, stderr })}`);
  }
  return wrong;
}

async function listed(library: Library): Promise<DocumentRecord[]> {
  // Where there is nothing to list, and perhaps no table yet, nobody needs to be asked for it.
  if ((await library.state.catalog()).documents.length === 0) return [];
  const outcome = await library.run(["list", "--all", "--json"]);
  if (outcome.status !== 0) throw new Error(`the documents could not be listed: ${outcome.stderr}`);
  return outcome.json().documents;
}

/** Adds the documents that a command said it had stored. */
function report(outcome: Outcome, reported: Set<string>): void {
  const { schema, documents } = outcome.json();
  if (["docproc.upload/1", "docproc.copy/1", "docproc.import/1"].includes(schema))
    for (const { id } of documents) reported.add(id);
}

/** Files, ids or names of which a command said that nobody knows whether they were recorded. */
function inDoubt(outcome: Outcome): string[] {
  type Failed = { path?: string; ref?: string; code: string; hint: string };
  const { failures = [] } = outcome.json() as { failures?: Failed[] };
  const unknown = failures.filter(({ code, hint }) => code === "UNAVAILABLE" && /It is unknown/.test(hint));
  return unknown.map(({ path, ref, hint }) => path ?? ref ?? /whether (.+) was recorded/.exec(hint)?.[1] ?? "");
}

/** What is listed is stored, what was reported is listed, and nothing else is. */
async function wrongInLibrary(
  library: Library,
  { removes, restores }: Attempt,
  outcome: Outcome,
  reported: Set<string>,
) {
  const documents = await listed(library);
  const damaged = outcome.status === 0 ? undefined : restores;
  const wrong = await complaints(library.state, documents, { garbage: false, damaged });
  report(outcome, reported);
  const perhaps = inDoubt(outcome);
  for (const { id, name } of documents) {
    if (!reported.has(id) && !perhaps.includes(name) && !perhaps.includes(id))
      wrong.push(`${name} is listed and was not reported`);
    if (id === removes && outcome.status === 0) wrong.push(`${name} is listed and was deleted`);
  }
  const ids = new Set(documents.map(({ id }) => id));
  const says = outcome.status === 0 || /It is unknown|is deleted, but/.test(outcome.stdout);
  if (removes && !ids.has(removes) && !says) wrong.push(`${removes} was deleted, and nothing says so`);
  for (const id of reported) if (!ids.has(id) && id !== removes) wrong.push(`${id} was reported and is not listed`);
  for (const id of ids) reported.add(id);
  return wrong;
}

/** A day later a doctor removes whatever is left of what failed, and the next one finds nothing. */
async function wrongAfterDoctor(library: Library): Promise<string[]> {
  await library.state.age();
  const wrong: string[] = [];
  const first = await library.run(["doctor", "--repair", "--json"]);
  if (first.status !== 0) wrong.push(`doctor --repair: ${first.stdout}${first.stderr}`);
  if (first.status !== 0 || first.json().summary.found > 0) {
    const second = await library.run(["doctor", "--json"]);
    if (second.status !== 0 || second.json().summary.found > 0) wrong.push(`a second doctor found: ${second.stdout}`);
  }
  return [...wrong, ...(await complaints(library.state, await listed(library), { garbage: true }))];
}

/** Failures that nobody waited for, until the test ends. */
function watchRejections(): string[] {
  const seen: string[] = [];
  const listener = (reason: unknown) => void seen.push(`unhandled rejection: ${String(reason)}`);
  process.on("unhandledRejection", listener);
  onTestFinished(() => void process.off("unhandledRejection", listener));
  return seen;
}

/** Every operation of the disk fails in turn, as does every statement of the catalog: nothing is lost or invented. */
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { startInRepoAws } from "../support/aws.ts";
import { writeConfig } from "../support/config.ts";
import { breakFileSystem, type FaultyFileSystem, type FsFault } from "../support/fs-faults.ts";
import { soak } from "../support/nth-call.ts";
import { localState } from "../support/oracle.ts";
import { makeSandbox, runDocproc } from "../support/run.ts";
import { breakSqlite, type SqliteFault } from "../support/sqlite-faults.ts";
import { type Faults, type Library, type Scenario, sweep, timeout } from "../support/sweep.ts";
import {
  awsLibrary,
  copyingLarge,
  copyingOne,
  deleting,
  downloadingLarge,
  downloadingOne,
  downloadingTree,
  initialised,
  initialising,
  listing,
  repeatingLarge,
  repeatingOne,
  restoringMissing,
  restoringWrong,
  tagging,
  uploadingLarge,
  uploadingOne,
  uploadingSeveral,
} from "../support/sweep-scenarios.ts";

const failed = [0, 7, 8];
/** A config file that cannot be read is a reason to attempt nothing. */
const configFile = /^(stat|readFile) .+\/(cwd|config)(\/(\.docprocrc|config)\.json)?$/;
const anyFailure = (what: string) => (configFile.test(what) ? [...failed, 2] : failed);

const transfers = [uploadingOne, uploadingLarge, uploadingSeveral, downloadingOne, downloadingLarge, downloadingTree];
const known = [restoringMissing, restoringWrong, repeatingOne, repeatingLarge];
const writers = [...transfers, ...known, copyingOne, copyingLarge, deleting, initialising];
const fileFaults: [what: string, scenarios: Scenario[], fault: FsFault, statuses: Faults["statuses"]][] = [
  ["an operation of the disk fails", [...writers, listing], { kind: "error", code: "EIO" }, anyFailure],
  ["the disk is full from then on", writers, { kind: "error", code: "ENOSPC", lasting: true }, () => failed],
  ["a read or a write is cut short", [...transfers, ...known], { kind: "short" }, () => [0]],
];
const catalogFaults: [what: string, fault: SqliteFault][] = [
  ["the disk of the catalog fails", { errcode: 10, done: false }],
  ["the disk of the catalog fails after all was done", { errcode: 10, done: true }],
  ["the disk of the catalog is full", { errcode: 13, done: false }],
];
// The catalog does not see how large a file is.
const users = [
  uploadingOne,
  uploadingSeveral,
  restoringMissing,
  repeatingOne,
  copyingOne,
  downloadingOne,
  deleting,
  tagging,
  listing,
  initialising,
];

/** The first upload makes the library, too. Large files are looked at each time, so they must not gather. */
const heavy = new Set([
  ...[initialising, uploadingOne, uploadingLarge, copyingOne, copyingLarge],
  ...[restoringWrong, repeatingLarge],
]);

/** Each of the scenarios with its name, for the title of its test. */
const named = (scenarios: readonly Scenario[]) => scenarios.map((scenario) => [scenario.name, scenario] as const);

/** @param include told of every directory that the sweep uses */
async function sweepHere(what: string, scenario: Scenario, faults: Faults, include?: (directory: string) => void) {
  async function open(): Promise<Library> {
    const sandbox = await makeSandbox();
    include?.(sandbox.root);
    // Named by a file, so that a file that cannot be read must not lead to another library.
    const directory = join(sandbox.cwd, "library");
    const flags = scenario === initialising ? ["--directory", directory] : [];
    const [project, user] = [join(sandbox.cwd, ".docprocrc.json"), join(sandbox.config, "config.json")];
    if (scenario !== initialising) await writeConfig(scenario === listing ? user : project, { directory });
    const run: Library["run"] = async (argv, options) => await runDocproc(sandbox, [...argv, ...flags], options);
    return { sandbox, state: localState(directory), run };
  }
  const anew = soak || heavy.has(scenario);
  return await sweep({ title: `${scenario.name}, ${what}`, scenario, faults, open, anew });
}

async function sweepWithFileFaults(
  what: string,
  scenario: Scenario,
  [fault, statuses]: readonly [FsFault, Faults["statuses"]],
  broken: FaultyFileSystem,
) {
  const faults: Faults = {
    statuses,
    arm: (n) => broken.arm(fault, n),
    disarm: () => broken.disarm(),
    async left() {
      // A stream closes its file a moment after it was destroyed.
      await expect.poll(() => broken.openFiles()).toEqual([]);
      return [];
    },
  };
  return await sweepHere(what, scenario, faults, broken.include);
}

describe.each(fileFaults)("when %s", { timeout }, (what, scenarios, fault, statuses) => {
  test.each(named(scenarios))("%s loses and invents nothing", async (_name, scenario) => {
    expect(await sweepWithFileFaults(what, scenario, [fault, statuses], breakFileSystem())).toEqual([]);
  });
});

describe("when an operation of a disk without hard links fails", { timeout }, () => {
  test.each(named([uploadingOne, downloadingOne, downloadingTree]))(
    "%s loses and invents nothing",
    async (_name, scenario) => {
      const broken = breakFileSystem();
      broken.withoutHardLinks();
      const fault = [{ kind: "error", code: "EIO" }, anyFailure] as const;
      expect(await sweepWithFileFaults("a disk without hard links fails", scenario, fault, broken)).toEqual([]);
    },
  );
});

describe.each(catalogFaults)("when %s", { timeout }, (what, fault) => {
  test.each(named(users))("%s loses and invents nothing", async (_name, scenario) => {
    const broken = await breakSqlite();
    const faults: Faults = { statuses: () => failed, arm: (n) => broken.arm(fault, n), disarm: () => broken.disarm() };
    expect(await sweepHere(what, scenario, faults)).toEqual([]);
  });
});

describe("uploading a large file to AWS", { timeout }, () => {
  const journalFaults = soak ? catalogFaults : catalogFaults.slice(0, 1);
  test.each(journalFaults)("succeeds although what it remembers cannot be kept: when %s", async (what, fault) => {
    const aws = await startInRepoAws();
    onTestFinished(() => aws.close());
    const broken = await breakSqlite();
    const faults: Faults = { statuses: () => [0], arm: (n) => broken.arm(fault, n), disarm: () => broken.disarm() };
    const open = async () => await initialised(await awsLibrary(aws, aws.endpoint, []));
    const title = `${uploadingLarge.name} to AWS, ${what}`;
    expect(await sweep({ title, scenario: uploadingLarge, faults, open, anew: soak })).toEqual([]);
  });

  const diskFaults = soak ? fileFaults : [];
  test.each(diskFaults)("loses and invents nothing when %s", async (what, _scenarios, fault, statuses) => {
    const aws = await startInRepoAws();
    onTestFinished(() => aws.close());
    const broken = breakFileSystem();
    const open = async () => {
      const library = await initialised(await awsLibrary(aws, aws.endpoint, []));
      broken.include(library.sandbox.root);
      return library;
    };
    const faults: Faults = { statuses, arm: (n) => broken.arm(fault, n), disarm: () => broken.disarm() };
    const title = `${uploadingLarge.name} to AWS, ${what}`;
    expect(await sweep({ title, scenario: uploadingLarge, faults, open, anew: true })).toEqual([]);
  });
});

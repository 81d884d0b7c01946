/**
 * The last word of a run in CI (`DOCPROC_TEST_NO_SKIP=1`): a test that was skipped, or an emulator that is on
 * PATH and was not used, fails it. A green run that tested nothing is worse than a red one.
 */
import type { Reporter, TestModule } from "vitest/node";
import { forgetValidations, schemaNames, validations } from "./contract.ts";
import { motoOnPath } from "./moto.ts";

export class CiReporter implements Reporter {
  onTestRunStart(): void {
    forgetValidations();
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const count = (state: string) => tests.filter((test) => test.result().state === state).length;
    const [passed, failed, skipped] = [count("passed"), count("failed"), count("skipped")];
    const complaints = [
      ...(skipped > 0 ? [`${skipped} tests were skipped`] : []),
      ...schemaNames
        .filter((name) => !validations().has(name))
        .map((name) => `nothing was held against the schema ${name}`),
      ...(motoOnPath() && !tests.some((test) => /\bmoto\b/.test(test.fullName)) ? ["moto_server was not used"] : []),
    ];
    const counts = [...validations()].map(([name, times]) => `${name} ${times}`);
    process.stdout.write(`held against their schemas: ${counts.join(", ")}\n`);
    for (const complaint of complaints) process.stdout.write(`not accepted: ${complaint}\n`);
    if (complaints.length > 0) process.exitCode = 1;
    process.stdout.write(`${passed} passed, ${failed + complaints.length} failed\n`);
  }
}

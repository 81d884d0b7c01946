/** The steps that a command passes, and the program killed at one of them as by kill -9. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { expect } from "vitest";
import type { Step } from "../../src/core/crash-points.ts";
import { killer } from "./process.ts";
import type { Outcome } from "./run.ts";
import type { StoredLibrary } from "./stored-library.ts";

/** A step that a command passes, for the nth time, and those that it passed up to there. */
export interface Passage {
  readonly step: Step;
  readonly nth: number;
  readonly passed: readonly Step[];
  readonly label: string;
}

/** Every step that a command passes. */
export async function passagesOf(command: () => Promise<Outcome>): Promise<Passage[]> {
  const all: Step[] = [];
  const note = (step: unknown) => void all.push(step as Step);
  subscribe("docproc:step", note);
  try {
    expect(await command()).toMatchObject({ status: 0 });
  } finally {
    unsubscribe("docproc:step", note);
  }
  return all.map((step, index) => {
    const passed = all.slice(0, index + 1);
    const nth = passed.filter((other) => other === step).length;
    return { step, nth, passed, label: `killed at ${step}, time ${nth}` };
  });
}

export async function killAt({ spawn }: StoredLibrary, argv: readonly string[], { step, nth, label }: Passage) {
  const env = { KILL_AT_STEP: step, KILL_AT_NTH: String(nth) };
  expect(await spawn(argv, { node: killer, env }), label).toMatchObject({ status: "SIGKILL" });
}

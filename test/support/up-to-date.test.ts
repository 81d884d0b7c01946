import { mkdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { makeSandbox } from "./run.ts";
import { isUpToDate } from "./up-to-date.ts";

/** Sources of a minute ago, and what was made from them since. */
async function arrange() {
  const { cwd } = await makeSandbox();
  const at = (...path: string[]) => join(cwd, ...path);
  mkdirSync(at("src/deep"), { recursive: true });
  const sources = [at("src/deep/a.ts"), at("src/b.ts"), at("lock.json")];
  for (const file of [...sources, at("made")]) writeFileSync(file, "");
  const aMinuteAgo = new Date(Date.now() - 60_000);
  for (const path of [...sources, at("src/deep"), at("src")]) utimesSync(path, aMinuteAgo, aMinuteAgo);
  const halfAMinuteAgo = new Date(Date.now() - 30_000);
  utimesSync(at("made"), halfAMinuteAgo, halfAMinuteAgo);
  return { at, upToDate: () => isUpToDate(at("made"), [at("src"), at("lock.json")]) };
}

test("what is newer than all of its sources is up to date", async () => {
  const { upToDate } = await arrange();
  expect(upToDate()).toBe(true);
});

test.each<[string, (at: (path: string) => string) => void]>([
  ["it was never made", (at) => rmSync(at("made"))],
  ["a source in a folder was edited", (at) => writeFileSync(at("src/deep/a.ts"), "x")],
  ["a source on its own was edited", (at) => writeFileSync(at("lock.json"), "{}")],
  ["a source was added", (at) => writeFileSync(at("src/deep/c.ts"), "")],
  ["a source was removed", (at) => rmSync(at("src/deep/a.ts"))],
])("is not where %s", async (_what, change) => {
  const { at, upToDate } = await arrange();
  change(at);
  expect(upToDate()).toBe(false);
});

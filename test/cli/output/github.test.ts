/** What a step of GitHub Actions is told. That commands tell it: test/provenance/ci.test.ts. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { GithubReporter } from "../../../src/cli/output/github.ts";
import { NdjsonReporter } from "../../../src/cli/output/json.ts";
import { NoProgress } from "../../../src/cli/output/progress.ts";
import { newDocumentId } from "../../../src/document/record.ts";
import { parseOutputs } from "../../support/github-outputs.ts";
import { capture } from "../../support/streams.ts";

test("names as many documents as a job's outputs take, and counts the others", async () => {
  const directory = await mkdtemp(join(tmpdir(), "docproc-github-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  const [GITHUB_OUTPUT, GITHUB_STEP_SUMMARY] = [join(directory, "output"), join(directory, "summary")];
  const [stdout, { stream: stderr }] = [capture(), capture()];
  const reporter = new GithubReporter(new NdjsonReporter({ stdout: stdout.stream, stderr }, new NoProgress(), false), {
    env: { GITHUB_OUTPUT, GITHUB_STEP_SUMMARY },
    stderr,
    makesDocuments: true,
  });
  const count = 2_000;
  const made = Array.from({ length: count }, (_, number) => {
    const [id, name] = [newDocumentId(), `${number}${"x".repeat(200)}.txt`];
    return { id, name, size: 4, uri: `file:///home/runner/library/objects/${id}/${name}`, action: "uploaded" };
  });
  for (const one of made) await reporter.item({ value: one, id: one.id });
  await reporter.result({ envelope: {}, text: () => "" });

  const { id, ids = "", uris = "" } = parseOutputs(await readFile(GITHUB_OUTPUT, "utf8"));
  const named = ids.split("\n");
  expect(id).toBe(made[0]?.id);
  expect(named.length).toBeGreaterThan(500);
  expect(named).toEqual(made.slice(0, named.length).map((one) => one.id));
  expect(uris.split("\n")).toEqual(made.slice(0, named.length).map(({ uri }) => uri));
  // Two bytes a character, of a megabyte.
  expect(2 * (ids.length + uris.length)).toBeLessThan(1024 * 1024);
  const summary = await readFile(GITHUB_STEP_SUMMARY, "utf8");
  expect(summary).toContain(`\n\nand ${count - named.length} more\n`);
  expect(Buffer.byteLength(summary)).toBeLessThan(1024 * 1024);
  // The command itself prints them all.
  expect(
    stdout
      .text()
      .split("\n")
      .filter((line) => line.includes('"uploaded"')),
  ).toHaveLength(count);
});

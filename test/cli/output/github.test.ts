/** What a step of GitHub Actions is told. That commands tell it: test/provenance/ci.test.ts. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { GithubReporter } from "../../../src/cli/output/github.ts";
import { NdjsonReporter } from "../../../src/cli/output/json.ts";
import { NoProgress } from "../../../src/cli/output/progress.ts";
import { DocprocError } from "../../../src/core/errors.ts";
import { newDocumentId } from "../../../src/document/record.ts";
import { parseOutputs } from "../../support/github-outputs.ts";
import { capture } from "../../support/streams.ts";

/** A step's reporter, and what the step has written at its end. */
async function startStep() {
  const directory = await mkdtemp(join(tmpdir(), "docproc-github-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  const [GITHUB_OUTPUT, GITHUB_STEP_SUMMARY] = [join(directory, "output"), join(directory, "summary")];
  const [stdout, { stream: stderr }] = [capture(), capture()];
  const reporter = new GithubReporter(new NdjsonReporter({ stdout: stdout.stream, stderr }, new NoProgress(), false), {
    env: { GITHUB_OUTPUT, GITHUB_STEP_SUMMARY },
    stderr,
    makesDocuments: true,
  });
  return {
    reporter,
    stdout,
    outputs: async () => parseOutputs(await readFile(GITHUB_OUTPUT, "utf8")),
    summary: async () => await readFile(GITHUB_STEP_SUMMARY, "utf8"),
  };
}

test("names the failures in the summary, as many as fit, and counts the others", async () => {
  const { reporter, summary } = await startStep();
  const count = 2_000;
  const failed = Array.from({ length: count }, (_, number) => `${number}/<b>|${"x".repeat(100)}`);
  for (const path of failed) reporter.problem(path, new DocprocError("ACCESS_DENIED", "No *right*."));
  await reporter.result({ envelope: {}, text: () => "", failure: new DocprocError("PARTIAL", "Some failed.") });

  const text = await summary();
  const rows = text.split("\n").filter((line) => line.includes("ACCESS"));
  expect(rows.length).toBeGreaterThan(500);
  expect(rows.length).toBeLessThan(count);
  const row = (number: number) => `| ${number}/&lt;b>\\|${"x".repeat(100)} | ACCESS\\_DENIED | No \\*right\\*. |`;
  expect(rows).toEqual(rows.map((_, number) => row(number)));
  expect(text).toContain(`\n\nand ${count - rows.length} more\n\n**PARTIAL**: Some failed.\n`);
  expect(Buffer.byteLength(text)).toBeLessThan(256 * 1024);
});

test("names as many documents as a job's outputs take, and counts the others", async () => {
  const { reporter, stdout, outputs, summary: written } = await startStep();
  const count = 2_000;
  const made = Array.from({ length: count }, (_, number) => {
    const [id, path] = [newDocumentId(), `${number}/${"x".repeat(199)}.txt`];
    return { id, path, size: 4, uri: `file:///home/runner/library/objects/${id}/${path}`, action: "uploaded" };
  });
  for (const one of made) await reporter.item({ value: one, id: one.id });
  await reporter.result({ envelope: {}, text: () => "" });

  const { id, ids = "", uris = "" } = await outputs();
  const named = ids.split("\n");
  expect(id).toBe(made[0]?.id);
  expect(named.length).toBeGreaterThan(500);
  expect(named).toEqual(made.slice(0, named.length).map((one) => one.id));
  expect(uris.split("\n")).toEqual(made.slice(0, named.length).map(({ uri }) => uri));
  // Two bytes a character, of a megabyte.
  expect(2 * (ids.length + uris.length)).toBeLessThan(1024 * 1024);
  const summary = await written();
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

/**
 * Runs every example of README.md and docs/*.md, and compares what the pages show with what was printed.
 *
 * Each page is read from top to bottom by one shell (bash), in a home of its own, `/home/ada`, and begins in
 * `~/project` beside some documents: invoice.pdf, report.pdf, notes.txt, dist/app-1.4.2.tgz, dist/app-1.4.2-docs.tgz,
 * dist/app.js.map, scans/contract.pdf, scans/letter.pdf (test/support/docs/shell.ts). What one block exports, makes or
 * uploads is there for the next. `docproc` is the built program. S3 and DynamoDB are those of this repository, empty
 * and over TLS, as `AWS_ENDPOINT_URL`, with credentials and region set: nothing can reach Amazon.
 *
 * - ```` ```console ```` shows a session. Lines that begin with `$ ` are commands; a command goes on behind a `\` or in
 *   lines that begin with `> `. The other lines are what it prints, stdout and stderr, on a terminal 110 columns wide,
 *   without colours and without progress. A line `…` stands for any number of lines.
 * - A command whose status is not 0 is followed by `$ echo $?` and the status.
 * - ```` ```sh ```` is a script; it is run with `set -eo pipefail`, and what it prints is not compared.
 * - Ids, times, ages, durations, speeds, endpoints and the width of columns may differ, and nothing else: see
 *   test/support/docs/compare.ts. Commands may name ids, and beginnings of ids, that the page has shown above: they
 *   stand for those of the run.
 * - A line `^C` below a command interrupts it, once a `fault` (see below) leaves a request unanswered; and ends the fault.
 *
 * Comments, right before a block or anywhere:
 *
 *     <!-- not run: why -->       the next block is not run. Few are: this file counts them.
 *     <!-- any order -->          the lines of each output of the next block may come in any order.
 *     <!-- file: NAME -->         the next block, of any language, is written to NAME.
 *     <!-- needs: zsh jq -->      the page is not run where these are not on PATH (with DOCPROC_TEST_NO_SKIP it fails).
 *     <!-- run: COMMANDS -->      run here, shown to nobody. May span lines.
 *     <!-- fault: {"operation": "UploadPart", "nth": 3, "action": {"kind": "black-hole"}} -->
 *                                 from here on; a rule of test/support/fault-proxy.ts. `fault: none` ends it.
 *
 * One page: `npx vitest run test/project/docs.test.ts -t docs/ci.md`. `DOCPROC_DOCS_UPDATE=1` before it puts what was printed
 * into the page: read the difference before you believe it. DOCPROC_TEST_CLI names an installed program to run instead.
 */
import { readdirSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { exitStatuses } from "../../src/core/errors.ts";
import { brokenLinks, linksIn } from "../support/docs/links.ts";
import { readPage } from "../support/docs/page.ts";
import { runPage } from "../support/docs/run.ts";
import { startMachine } from "../support/docs/shell.ts";
import { findOnPath } from "../support/on-path.ts";

const paths = [
  "README.md",
  ...readdirSync("docs")
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];
/** Blocks in all pages together that may say that they are not run: what needs an account, root, or a registry. */
const mayNotRun = 16;

// The pages show paths as they are on Linux, and some need /dev/full and the like.
describe.skipIf(process.platform !== "linux")("the examples of", () => {
  test.for(paths)("%s do what they show", { timeout: 300_000 }, async (path, { skip }) => {
    const page = readPage(path);
    const missing = page.needs.filter((program) => findOnPath(program) === undefined);
    skip(missing.length > 0 && !process.env["DOCPROC_TEST_NO_SKIP"], `needs ${missing}`);
    expect(missing, "programs that the page needs").toEqual([]);
    const machine = await startMachine();
    onTestFinished(() => machine.close());
    const { problems, text } = await runPage(page, readFileSync(path, "utf8"), machine);
    if (process.env["DOCPROC_DOCS_UPDATE"]) await writeFile(path, text);
    expect(problems.join("\n\n")).toBe("");
  });

  test("all pages are run, but for a few that say why not", () => {
    const notRun = paths
      .map(readPage)
      .flatMap(({ path, notRun }) => notRun.map(({ line, reason }) => `${path}:${line}: ${reason}`));
    expect(notRun.length, notRun.join("\n")).toBeLessThanOrEqual(mayNotRun);
  });
});

describe("the pages", () => {
  test("lead to each other, and to places that are there", () => {
    expect(paths.flatMap(brokenLinks)).toEqual([]);
  });

  test("are all named in README.md", () => {
    const named = linksIn(readFileSync("README.md", "utf8")).links.map(({ url }) => url.replace(/#.*/, ""));
    expect(paths.filter((path) => path !== "README.md" && !named.includes(path))).toEqual([]);
  });

  test("explain every error code, with a command that ends with its status", () => {
    const path = "docs/troubleshooting.md";
    const headings = [...readFileSync(path, "utf8").matchAll(/^## (?:`(\w+)`)?/gm)].map((match) => ({
      code: match[1],
      line: match.input.slice(0, match.index).split("\n").length,
    }));
    const statuses = readPage(path).steps.flatMap((step) =>
      step.kind === "command" && step.text === "echo $?" ? [{ line: step.line, status: Number(step.expected[0]) }] : [],
    );
    const shown = headings.flatMap(({ code, line }, index) => {
      const end = headings[index + 1]?.line ?? Number.POSITIVE_INFINITY;
      const own = statuses.filter((one) => one.line > line && one.line < end).map(({ status }) => status);
      return code === undefined ? [] : [[code, [...new Set(own)]]];
    });
    expect(Object.fromEntries(shown)).toEqual(
      Object.fromEntries(Object.entries(exitStatuses).map(([code, status]) => [code, [status]])),
    );
  });
});

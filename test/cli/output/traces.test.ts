/** What -v prints of an error, by the program as it is built. */
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { tracesOf } from "../../../src/cli/output/traces.ts";
import { docproc, preload } from "../../support/process.ts";
import { makeSandbox, type Sandbox } from "../../support/run.ts";

/** The lines of the repository that the frames of a trace name. */
function linesIn(trace: string): string[] {
  return [...trace.matchAll(/[ (]((?:src|bin)\/[\w./-]+\.ts):(\d+):(\d+)\)?$/gm)].map(([, file = "", line, column]) =>
    (readFileSync(file, "utf8").split("\n")[Number(line) - 1] ?? "").slice(Number(column) - 1),
  );
}

async function withDocument(): Promise<Sandbox> {
  const sandbox = await makeSandbox();
  await writeFile(join(sandbox.cwd, "a.txt"), "a");
  expect(await docproc(sandbox, ["upload", "a.txt"])).toMatchObject({ status: 0 });
  return sandbox;
}

const bug = preload(`Date.prototype.toISOString = () => { throw new TypeError("planted"); };`);

describe("the trace of an error", () => {
  test("leads from the line that threw it to the one that started the program", async () => {
    const { stderr } = await docproc(await makeSandbox(), ["show", "missing", "-v"]);
    const lines = linesIn(stderr);
    expect(lines[0]).toMatch(/^new DocprocError\("NOT_FOUND"/);
    expect(lines.at(-1)).toMatch(/^await runProgram\(host\)/);
    expect(stderr).not.toMatch(/\bdist\b/);
  });

  test.each([[[]], [["--json"]]])("of a bug has the lines of its cause %s", async (flags) => {
    const { status, stderr } = await docproc(await withDocument(), ["list", "-v", ...flags], { node: bug });
    expect(status).toBe(1);
    const trace = flags.length === 0 ? stderr : debugOf(stderr);
    const cause = trace.slice(trace.indexOf("TypeError: planted"));
    expect(linesIn(cause)[0]).toMatch(/toISOString\(\)/);
    expect(linesIn(cause).length).toBeGreaterThan(4);
  });

  test("of one file of several has them too", async () => {
    const sandbox = await withDocument();
    const { stderr } = await docproc(sandbox, ["upload", "a.txt", "missing", "-v"]);
    expect(linesIn(stderr)[0]).toMatch(/^new DocprocError\(/);
  });

  test("is not printed without -v, and says where to report a bug", async () => {
    const { stderr } = await docproc(await withDocument(), ["list"], { node: bug });
    expect(stderr).not.toMatch(/^ {4}at /m);
    expect(stderr).toContain("report it");
  });

  test("ends where a cause leads back to its error", () => {
    const error = new Error("one");
    error.cause = new Error("two", { cause: error });
    expect(tracesOf(error)).toHaveLength(2);
  });

  test("does not believe what looks like a frame in a message", () => {
    const [trace = ""] = tracesOf(new Error("Refused\n    at server (dist/docproc.js:1:1)"));
    expect(trace.split("\n")[0]).toBe("Error: Refused\\n    at server (dist/docproc.js:1:1)");
    expect(trace.match(/at server/g)).toHaveLength(1);
  });
});

function debugOf(stderr: string): string {
  const lines = stderr.split("\n").filter((line) => line.startsWith('{"debug":'));
  return lines.map((line) => JSON.parse(line).debug).join("\n");
}

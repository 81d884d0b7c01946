/** `docproc cat`: a document on standard output, whole and as it is, or a failure as the last word. */
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { describe, expect, onTestFinished, test } from "vitest";
import type { OutputStream } from "../../../src/cli/output/reporter.ts";
import { openLibrary, places, usePlace } from "../../support/library.ts";
import { flipBit, tamper } from "../../support/stored.ts";

const cli = fileURLToPath(new URL("../../../dist/docproc.js", import.meta.url));
const bytesOf = (stdout: string) => Buffer.from(stdout, "latin1");

describe.each(Object.entries(places))("a document of %s", (_place, start) => {
  const endpoint = usePlace(start);

  test.each([0, 1000, 8 * 1024 * 1024 + 1])("of %i bytes is printed as it was, and nothing else is", async (size) => {
    const { run, upload } = await openLibrary(endpoint());
    const bytes = randomBytes(size);
    const { id } = await upload("a.bin", bytes);
    for (const reference of ["a.bin", id, id.slice(0, 30)]) {
      const outcome = await run(["cat", reference]);
      expect(outcome).toMatchObject({ status: 0, stderr: "" });
      expect(bytesOf(outcome.stdout).equals(bytes)).toBe(true);
    }
  });

  test("that is damaged is a failure all the same", async () => {
    const { run, upload } = await openLibrary(endpoint());
    await tamper(await upload("flipped", randomBytes(1000)), endpoint(), flipBit);
    await tamper(await upload("shorter", "12345"), endpoint(), (bytes) => bytes.subarray(1));
    await tamper(await upload("longer", "12345"), endpoint(), (bytes) => Buffer.concat([bytes, bytes]));
    await tamper(await upload("gone", "12345"), endpoint(), () => null);
    for (const name of ["flipped", "shorter", "longer"]) {
      expect(await run(["cat", name])).toMatchObject({ status: 6, stderr: expect.stringMatching(/^error: .+damaged/) });
    }
    expect(await run(["cat", "gone"])).toMatchObject({
      status: 3,
      stdout: "",
      stderr: expect.stringMatching(/^error: /),
    });
  });
});

describe("a terminal", () => {
  const types = [
    "text/plain",
    "text/x-anything; charset=utf-8",
    "application/json",
    "image/svg+xml",
    "application/x-sh",
  ];
  test.each(types)("is shown %s", async (type) => {
    const { run, upload } = await openLibrary();
    await upload("a", "shown as it is\n", "--content-type", type);
    expect(await run(["cat", "a"], { terminal: 80 })).toMatchObject({ status: 0, stdout: "shown as it is\n" });
  });

  test.each(["application/octet-stream", "image/png", "application/pdf"])("is not shown %s", async (type) => {
    const { run, upload } = await openLibrary();
    await upload("a", "not shown", "--content-type", type);
    const outcome = await run(["cat", "a"], { terminal: 80 });
    expect(outcome).toMatchObject({ status: 2, stdout: "" });
    expect(outcome.stderr).toContain(type);
    expect(outcome.stderr).toContain("docproc download REF -o FILE");
    expect(await run(["cat", "a"])).toMatchObject({ status: 0, stdout: "not shown" });
  });
});

test.each(["--json", "--ndjson", "-q"])("%s is refused: a document has its own form", async (flag) => {
  const { run, upload } = await openLibrary();
  await upload("a", "not shown");
  const outcome = await run(["cat", "a", flag]);
  expect(outcome).toMatchObject({ status: 2, stderr: expect.stringContaining("docproc show") });
  expect(outcome.stdout).not.toContain("not shown");
  if (flag === "--json") expect(outcome.json()).toMatchObject({ schema: "docproc.error/1", code: "USAGE" });
  else expect(outcome.stdout).toBe("");
});

test.each([[["cat"]], [["cat", "a", "b"]], [["cat", "a", "-o", "x"]]])("%j is a mistake of usage", async (argv) => {
  const { run } = await openLibrary();
  expect(await run(argv)).toMatchObject({ status: 2, stdout: "", stderr: expect.stringMatching(/^error: .+\nhint: /) });
});

test("a document that is not there is not found", async () => {
  const { run } = await openLibrary();
  expect(await run(["cat", "missing"])).toMatchObject({ status: 3, stdout: "" });
});

describe("a reader of standard output", () => {
  test("that goes away has what it wanted, and the rest is not read", async () => {
    const { run, upload } = await openLibrary();
    // Damaged in its middle, which nobody notices who does not read that far.
    await tamper(await upload("a.bin", randomBytes(4 * 1024 * 1024)), undefined, flipBit);
    let written = 0;
    const stdout: OutputStream = {
      write: (chunk) => {
        written += chunk.length;
        return false;
      },
      once: (event, listener) => void (event === "close" && setImmediate(listener)),
      get writable() {
        return written === 0;
      },
    };
    expect(await run(["cat", "a.bin"], { stdout })).toMatchObject({ status: 0, stderr: "" });
    expect(written).toBeGreaterThan(0);
    expect(written).toBeLessThan(1024 * 1024);
  });

  test("that goes away from a process ends it, although standard output is open again after each failure", async () => {
    const { sandbox, upload } = await openLibrary();
    await tamper(await upload("a.bin", randomBytes(8 * 1024 * 1024)), undefined, flipBit);
    const { cwd, home, data } = sandbox;
    const env = { ...process.env, HOME: home, XDG_CONFIG_HOME: home };
    const child = spawn(process.execPath, [cli, "cat", "a.bin", "--directory", data], { cwd, env });
    onTestFinished(() => void child.kill("SIGKILL"));
    child.stdout.once("data", () => child.stdout.destroy());
    const [stderr, [status]] = await Promise.all([text(child.stderr), once(child, "exit")]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });

  test("that is slow is waited for, chunk by chunk", async () => {
    const { run, upload } = await openLibrary();
    const { sha256 } = await upload("a.bin", randomBytes(4 * 1024 * 1024));
    const digest = createHash("sha256");
    let [busy, hurried, listeners] = [false, 0, 0];
    const stdout: OutputStream = {
      write: (chunk) => {
        if (busy) hurried += 1;
        busy = true;
        digest.update(chunk);
        return false;
      },
      once(event, listener) {
        listeners += 1;
        if (event !== "drain") return;
        listeners -= 1;
        setImmediate(() => {
          busy = false;
          listener();
        });
      },
    };
    expect(await run(["cat", "a.bin"], { stdout })).toMatchObject({ status: 0 });
    expect({ hurried, sha256: digest.digest("hex") }).toEqual({ hurried: 0, sha256 });
    // A listener for the end of the stream, and not one for every chunk.
    expect(listeners).toBeLessThanOrEqual(1);
  });
});

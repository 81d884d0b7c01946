/** `docproc verify`: damage is found and named, whichever it is, and nothing is changed. */
import { randomBytes } from "node:crypto";
import { readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { startInRepoAws } from "../../support/aws.ts";
import { startFaultProxy } from "../../support/fault-proxy.ts";
import { openLibrary, places, usePlace } from "../../support/library.ts";
import { runDocproc } from "../../support/run.ts";
import { flipBit, tamper } from "../../support/stored.ts";

afterEach(() => void vi.restoreAllMocks());

async function openVerified(endpoint?: string) {
  const library = await openLibrary(endpoint);
  return { ...library, verify: (...argv: string[]) => library.run(["verify", ...argv, "--json"]) };
}

interface Finding {
  readonly code: string;
  readonly path: string;
}
const codesByPath = (findings: readonly Finding[]) =>
  Object.fromEntries(findings.map(({ path, code }) => [path, code]));

describe.each(Object.entries(places))("verifying documents of %s", (_place, start) => {
  const endpoint = usePlace(start);

  test("finds nothing wrong with those that are sound", async () => {
    const { run, verify, upload } = await openVerified(endpoint());
    await upload("empty", "");
    await upload("small", "small");
    await upload("large", randomBytes(8 * 1024 * 1024 + 1));
    for (const [flags, deep] of [
      [["--all"], false],
      [["--all", "--deep"], true],
      [["small", "large", "empty"], false],
    ] as const) {
      const outcome = await verify(...flags);
      expect(outcome).toMatchObject({ status: 0, stderr: "" });
      expect(outcome.json()).toEqual({
        schema: "docproc.verify/1",
        findings: [],
        failures: [],
        summary: {
          checked: 3,
          damaged: 0,
          failed: 0,
          bytes: 8 * 1024 * 1024 + 6,
          deep,
          durationMs: expect.any(Number),
        },
      });
    }
    expect(await run(["verify", "--all"])).toMatchObject({ status: 0, stdout: "", stderr: "3 checked; 0 damaged.\n" });
  });

  test("names exactly those that are damaged, and changes none of them", async () => {
    const { run, verify, upload } = await openVerified(endpoint());
    await upload("sound", randomBytes(1000));
    await tamper(await upload("shorter", randomBytes(1000)), endpoint(), (bytes) => bytes.subarray(0, 999));
    await tamper(await upload("longer", randomBytes(1000)), endpoint(), (bytes) => Buffer.concat([bytes, bytes]));
    await tamper(await upload("emptied", "12345"), endpoint(), () => Buffer.alloc(0));
    const gone = await upload("gone", "12345");
    await tamper(gone, endpoint(), () => null);
    await upload("sound as well", "");
    const seenFromOutside = { shorter: "WRONG_SIZE", longer: "WRONG_SIZE", emptied: "WRONG_SIZE", gone: "MISSING" };
    const quick = await verify("--all");
    expect(quick).toMatchObject({ status: 6, stderr: expect.stringContaining('"code":"INTEGRITY"') });
    expect(codesByPath(quick.json().findings)).toEqual(seenFromOutside);
    expect(quick.json().summary).toMatchObject({ checked: 6, damaged: 4, failed: 0 });
    const { id, uri } = gone;
    const texts = { message: expect.stringMatching(/\.$/), fix: expect.stringMatching(/upload/i) };
    expect(quick.json().findings).toContainEqual({ code: "MISSING", id, path: "gone", uri, ...texts });
    await tamper(await upload("flipped", randomBytes(1000)), endpoint(), flipBit);
    await tamper(await upload("flipped far", randomBytes(8 * 1024 * 1024 + 1)), endpoint(), flipBit);
    for (let time = 1; time <= 2; time++) {
      const deep = await verify("--all", "--deep");
      expect(deep).toMatchObject({ status: 6 });
      // Some storages keep a checksum that gives it away before a byte is read.
      const other = expect.stringMatching(/^WRONG_(BYTES|CHECKSUM)$/);
      expect(codesByPath(deep.json().findings)).toEqual({ ...seenFromOutside, flipped: other, "flipped far": other });
    }
    expect((await run(["list", "--json"])).json().count).toBe(8);
  });
});

describe("verifying", () => {
  test("takes references, and accounts for those that mean nothing", async () => {
    const { verify, upload } = await openVerified();
    const [a] = [await upload("a", "a"), await upload("b", "b")];
    expect((await verify("a")).json().summary).toMatchObject({ checked: 1, bytes: 1 });
    const missing = await verify("missing");
    expect(missing).toMatchObject({ status: 3 });
    expect(missing.json()).toMatchObject({ failures: [{ ref: "missing", code: "NOT_FOUND" }], summary: { failed: 1 } });
    expect(await verify(a.id, "missing")).toMatchObject({ status: 7 });
    await tamper(a, undefined, () => null);
    const both = await verify(a.id, "missing", "b", "--deep");
    expect(both).toMatchObject({ status: 6 });
    expect(both.json()).toMatchObject({
      findings: [{ id: a.id, code: "MISSING" }],
      failures: [{ ref: "missing" }],
      summary: { checked: 2, damaged: 1, failed: 1 },
    });
  });

  test("a sample leaves the others out", async () => {
    const { verify, upload } = await openVerified();
    for (const name of ["a", "b", "c", "d"]) await upload(name, name);
    const chances = [0.04, 0.5, 0.049, 0.05];
    vi.spyOn(Math, "random").mockImplementation(() => chances.shift() ?? 1);
    expect((await verify("--all", "--sample", "5%")).json().summary).toMatchObject({ checked: 2, bytes: 2 });
    expect((await verify("--all", "--sample", "100")).json().summary).toMatchObject({ checked: 4 });
  });

  test.each([
    ["nothing to verify", []],
    ["some and all", ["a", "--all"]],
    ["a sample of some", ["a", "--sample", "5%"]],
    ["a sample of nothing", ["--all", "--sample", "0"]],
    ["a sample of more than all", ["--all", "--sample", "101%"]],
    ["a sample that is no number", ["--all", "--sample", "many"]],
    ["a sample below nothing", ["--all", "--sample=-5%"]],
  ])("is refused for %s", async (_what, argv) => {
    const { run, verify } = await openVerified();
    expect((await verify(...argv)).json()).toMatchObject({ schema: "docproc.error/1", code: "USAGE" });
    expect(await run(["verify", ...argv])).toMatchObject({
      status: 2,
      stdout: "",
      stderr: expect.stringMatching(/^error: .+\nhint: /),
    });
  });

  test("an empty library finds nothing, and makes nothing", async () => {
    const { verify, sandbox } = await openVerified();
    expect((await verify("--all", "--deep")).json().summary).toMatchObject({ checked: 0, damaged: 0 });
    expect(await readdir(sandbox.root)).toEqual(["cwd", "home"]);
  });

  test("prints a finding a line, or the id of each damaged document", async () => {
    const { run, upload } = await openVerified();
    const damaged = [await upload("a\u202e", "12"), await upload("b", "12")];
    for (const record of damaged) await tamper(record, undefined, flipBit);
    await upload("sound", "12");
    const argv = ["verify", "--all", "--deep"];
    const ids = damaged.map(({ id }) => id);
    expect(await run([...argv, "-q"])).toMatchObject({ status: 6, stdout: ids.map((id) => `${id}\n`).join("") });
    const lines = (await run([...argv, "--ndjson"])).stdout.trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toMatchObject(ids.map((id) => ({ id, code: "WRONG_BYTES" })));
    const { stdout, stderr } = await run(argv);
    expect(stdout.split("\n").map((line) => line.split(" ")[0])).toEqual(["WRONG_BYTES", "WRONG_BYTES", ""]);
    expect(stdout).toContain("a\\u{202e}");
    expect(stderr).toContain("3 read and checked; 2 damaged.");
  });

  test("names what is damaged in a library that was moved", async () => {
    const { sandbox, run, upload } = await openVerified();
    const [flipped, shorter, gone] = [await upload("a", "12"), await upload("b", "12"), await upload("c", "12")];
    await upload("sound", "12");
    await tamper(flipped, undefined, flipBit);
    await tamper(shorter, undefined, (bytes) => bytes.subarray(1));
    await tamper(gone, undefined, () => null);
    const moved = join(sandbox.root, "moved");
    await rename(sandbox.data, moved);
    const outcome = await run(["verify", "--all", "--deep", "--json", "--directory", moved]);
    expect(outcome).toMatchObject({ status: 6 });
    expect(outcome.json().findings.map(({ id }: { id: string }) => id)).toEqual(
      [flipped, shorter, gone].map(({ id }) => id),
    );
  });
});

describe("verifying what is on S3", () => {
  async function openBehindProxy() {
    const aws = await startInRepoAws();
    onTestFinished(() => aws.close());
    const library = await openLibrary(aws.endpoint);
    const proxy = await startFaultProxy(aws.endpoint);
    onTestFinished(() => proxy.close());
    const verify = (...argv: string[]) =>
      runDocproc(library.sandbox, ["verify", ...argv, "--endpoint-url", proxy.endpoint, "--retries", "1", "--json"]);
    const objects = () => aws.s3.buckets.get(library.settings.bucket ?? "")?.objects ?? new Map();
    return { ...library, proxy, verify, objects };
  }

  test("quickly reads no bytes, and finds what was replaced by its checksum", async () => {
    const { proxy, verify, upload, settings } = await openBehindProxy();
    await upload("sound", "12345");
    await tamper(await upload("replaced", "12345"), settings.endpointUrl, flipBit);
    await tamper(await upload("large", randomBytes(9 * 1024 * 1024)), settings.endpointUrl, flipBit);
    const outcome = await verify("--all");
    expect(codesByPath(outcome.json().findings)).toEqual({ replaced: "WRONG_CHECKSUM", large: "WRONG_CHECKSUM" });
    expect(proxy.log.filter(({ operation }) => operation === "GetObject")).toEqual([]);
  });

  test("deeply finds what changed although the storage says that it did not", async () => {
    const { verify, upload, objects } = await openBehindProxy();
    for (const [name, size] of [
      ["a", 1000],
      ["b", 2_000_000],
      ["c", 9 * 1024 * 1024],
    ] as const) {
      await upload(name, randomBytes(size));
    }
    for (const object of objects().values()) object.body = flipBit(object.body);
    expect(await verify("--all")).toMatchObject({ status: 0 });
    const deep = await verify("--all", "--deep");
    expect(deep).toMatchObject({ status: 6 });
    expect(codesByPath(deep.json().findings)).toEqual({ a: "WRONG_BYTES", b: "WRONG_BYTES", c: "WRONG_BYTES" });
    expect(deep.json().failures).toEqual([]);
  });

  test.each([
    ["down", 503, "SlowDown", "UNAVAILABLE", 8],
    ["closed to us", 403, "AccessDenied", "ACCESS_DENIED", 4],
  ])("takes a storage that is %s for no damage", async (_what, status, code, failure, exit) => {
    const { proxy, verify, upload } = await openBehindProxy();
    for (const name of ["a", "b"]) await upload(name, name);
    for (const operation of ["HeadObject", "GetObject"]) {
      proxy.clear();
      proxy.inject({ operation, action: { kind: "status", status, code } });
      const one = await verify("a", "--deep");
      expect(one).toMatchObject({ status: exit });
      expect(one.json()).toMatchObject({ findings: [], failures: [{ ref: "a", code: failure }] });
      const all = await verify("--all", "--deep");
      expect(all.json()).toMatchObject({ findings: [], summary: { checked: 0, damaged: 0, failed: 2 } });
      expect(all).toMatchObject({ status: exit });
    }
  });

  test("ends when it is interrupted", async () => {
    const { proxy, sandbox, upload } = await openBehindProxy();
    for (const name of ["a", "b"]) await upload(name, name);
    const abort = new AbortController();
    proxy.inject({ operation: "GetObject", action: { kind: "black-hole" } });
    const argv = ["verify", "--all", "--deep", "--json", "--endpoint-url", proxy.endpoint];
    const ended = runDocproc(sandbox, argv, { signal: abort.signal });
    await expect.poll(() => proxy.log.map(({ operation }) => operation)).toContain("GetObject");
    abort.abort();
    expect(await ended).toMatchObject({ status: 130, stderr: expect.stringContaining('"code":"CANCELLED"') });
  });
});

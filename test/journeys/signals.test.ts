/** Ctrl-C and SIGTERM at any moment: what is done is said, what is not is cleared up or waits, and it ends soon. */
import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { type Step, steps } from "../../src/core/crash-points.ts";
import { awsSettings, type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { type FaultRule, startFaultProxy } from "../support/fault-proxy.ts";
import { awsState, complaints, localState } from "../support/oracle.ts";
import { docproc, finish, preload, start } from "../support/process.ts";
import { makeSandbox, runDocproc } from "../support/run.ts";

const mebibyte = 1024 * 1024;
const signals = [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const;
type Signal = (typeof signals)[number][0];

/** Milliseconds: far more than it should take, far less than any time limit of a request. */
const soon = 60_000;

let aws: InRepoAws;
beforeAll(async () => {
  aws = await startInRepoAws();
});
afterAll(() => aws.close());

/** Sends itself a signal at a step, and writes down every step that it reached. */
const interruptAt = (step: Step, nth: number, signal: Signal) =>
  preload(`import { appendFileSync } from "node:fs";
    import { subscribe } from "node:diagnostics_channel";
    let seen = 0;
    subscribe("docproc:step", (step) => {
      appendFileSync(process.env.STEPS, step + "\\n");
      if (step === ${JSON.stringify(step)} && (seen += 1) === ${nth}) process.kill(process.pid, ${JSON.stringify(signal)});
    });`);

/** A library in a place, and what is really in it. What need not be interrupted runs in this process. */
async function open(place: "local" | "aws") {
  const sandbox = await makeSandbox();
  const bucket = awsSettings("").bucket ?? "";
  const proxy = await startFaultProxy(aws.endpoint);
  onTestFinished(() => proxy.close());
  const flags = ["--endpoint-url", proxy.endpoint, "--bucket", bucket];
  const config = join(sandbox.cwd, ".docprocrc.json");
  expect(
    await runDocproc(sandbox, ["init", ...(place === "aws" ? flags : ["--directory", sandbox.data])]),
  ).toMatchObject({
    status: 0,
  });
  const settings = JSON.parse(await readFile(config, "utf8"));
  await writeFile(config, JSON.stringify({ ...settings, stateDirectory: sandbox.state }));
  // Named, as it says where docproc keeps its state.
  const env = { DOCPROC_CONFIG: config };
  const run = (argv: readonly string[]) => runDocproc(sandbox, [...argv, "--json"], { env });
  const state = place === "aws" ? awsState(aws, bucket) : localState(sandbox.data);
  const STEPS = join(sandbox.root, "steps");
  await writeFile(STEPS, "");
  return {
    cwd: sandbox.cwd,
    proxy,
    run,
    write: async (name: string, size: number) => await writeFile(join(sandbox.cwd, name), randomBytes(size)),
    start: (argv: readonly string[], node: readonly string[] = []) =>
      start(sandbox, [...argv, "--json"], { node, env }),
    interrupt: (argv: readonly string[], step: Step, nth: number, signal: Signal) =>
      docproc(sandbox, [...argv, "--json"], { node: interruptAt(step, nth, signal), env: { ...env, STEPS } }),
    async stepsReached() {
      const reached = (await readFile(STEPS, "utf8")).split("\n");
      return (step: Step) => reached.filter((one) => one === step).length;
    },
    async wrong(garbage: boolean) {
      proxy.clear();
      const { documents } = (await run(["list", "--all"])).json();
      return { documents, complaints: await complaints(state, documents, { garbage }) };
    },
    damage: state.damage,
    multipart: () => aws.s3.buckets.get(bucket)?.uploads.size ?? 0,
    journals: async () => await readdir(join(sandbox.state, "uploads")).catch(() => []),
  };
}

const ids = (documents: readonly { id: string }[]) => documents.map(({ id }) => id).sort();

describe.each(["local", "aws"] as const)("many files on their way (%s)", (place) => {
  test.each([
    [200, "SIGINT", 130],
    [50, "SIGTERM", 143],
  ] as const)("are all accounted for: %i, after %s", async (count, signal, status) => {
    const { cwd, run, interrupt, stepsReached, wrong } = await open(place);
    await mkdir(join(cwd, "many"));
    for (let n = 0; n < count; n++) await writeFile(join(cwd, "many", `${n}.txt`), `document ${n}\n`.repeat(n));
    const upload = ["upload", "-r", "many", "--concurrency", "4"];
    const outcome = await interrupt(upload, "record-committed", count / 5, signal);
    expect(outcome.status).toBe(status);
    const { documents, failures, summary } = JSON.parse(outcome.stdout);
    const reached = await stepsReached();
    // Every commit is said, every file that was begun is one or the other, and most were not begun at all.
    expect(documents).toHaveLength(reached("record-committed"));
    expect(documents.length).toBeGreaterThanOrEqual(count / 5);
    const begun = [...documents.map((one: { source: { path: string } }) => one.source.path)];
    begun.push(...failures.map(({ path }: { path: string }) => path));
    expect(new Set(begun).size).toBe(begun.length);
    expect(begun.length).toBeGreaterThanOrEqual(reached("source-read"));
    expect(begun.length).toBeLessThan(count / 2);
    expect(failures.filter(({ code }: { code: string }) => code !== "CANCELLED")).toEqual([]);
    expect(summary).toMatchObject({ total: count, uploaded: documents.length, failed: failures.length });
    const error = JSON.parse(outcome.stderr);
    expect(error).toMatchObject({ code: "CANCELLED", retryable: true, hint: expect.stringMatching(/again/) });
    expect(error.message).toContain(`${documents.length} of ${count}`);
    // No garbage: what was on its way is removed, and what is said is there.
    const left = await wrong(true);
    expect(left.complaints).toEqual([]);
    expect(ids(left.documents)).toEqual(ids(documents));
    const again = (await run(["upload", "-r", "many"])).json();
    expect(again.summary).toMatchObject({ unchanged: documents.length, uploaded: count - documents.length, failed: 0 });
    expect((await wrong(true)).complaints).toEqual([]);
  });
});

test.each(signals)("a large file among small ones waits to be gone on with after %s", async (signal, status) => {
  const { write, run, interrupt, wrong, multipart, journals } = await open("aws");
  for (const name of ["a.txt", "b.txt", "c.txt"]) await write(name, 1000);
  await write("large.bin", 21 * mebibyte);
  const upload = ["upload", "large.bin", "a.txt", "b.txt", "c.txt", "--part-size", "5MiB"];
  const outcome = await interrupt(upload, "s3-part-stored", 1, signal);
  expect(outcome.status).toBe(status);
  const { documents, failures } = JSON.parse(outcome.stdout);
  const large = failures.find(({ path }: { path: string }) => path === "large.bin");
  expect(large).toMatchObject({ code: "CANCELLED", hint: expect.stringMatching(/stored and will not be sent again/) });
  const left = await wrong(false);
  expect(left.complaints).toEqual([]);
  expect(ids(left.documents)).toEqual(ids(documents));
  expect(multipart()).toBe(1);
  expect(await journals()).toHaveLength(1);
  const again = (await run(upload)).json();
  expect(again.documents[0]).toMatchObject({ action: "resumed" });
  expect((await wrong(true)).complaints).toEqual([]);
  expect(await journals()).toEqual([]);
});

describe("a commit that is on the wire", () => {
  const slowCommit: FaultRule = { operation: "TransactWriteItems", action: { kind: "delay", ms: 1_500 } };

  test.each(signals)("is awaited after %s, and its document is said", async (signal) => {
    const { proxy, write, start: begin, wrong } = await open("aws");
    await write("a.txt", 1000);
    proxy.inject(slowCommit);
    const child = begin(["upload", "a.txt"]);
    const ended = finish(child);
    await expect.poll(() => proxy.log.map(({ operation }) => operation)).toContain("TransactWriteItems");
    child.kill(signal);
    const outcome = await ended;
    // All that was asked for is done.
    expect(outcome.status).toBe(0);
    const { documents } = JSON.parse(outcome.stdout);
    expect(documents).toMatchObject([{ action: "uploaded" }]);
    const left = await wrong(true);
    expect(left.complaints).toEqual([]);
    expect(ids(left.documents)).toEqual(ids(documents));
  });

  test("is awaited, and no other file is begun", async () => {
    const { proxy, write, start: begin, wrong } = await open("aws");
    for (const name of ["a.txt", "b.txt", "c.txt"]) await write(name, 1000);
    proxy.inject(slowCommit);
    const child = begin(["upload", "a.txt", "b.txt", "c.txt", "--concurrency", "1"]);
    const ended = finish(child);
    await expect.poll(() => proxy.log.map(({ operation }) => operation)).toContain("TransactWriteItems");
    child.kill("SIGINT");
    const outcome = await ended;
    expect(outcome.status).toBe(130);
    expect(JSON.parse(outcome.stdout)).toMatchObject({ documents: [{ name: "a.txt" }], failures: [] });
    const left = await wrong(true);
    expect(left.complaints).toEqual([]);
    expect(left.documents).toMatchObject([{ name: "a.txt" }]);
  });
});

test.each(signals)("a second signal ends it at once, with a whole document: %s", async (signal) => {
  const { proxy, write, start: begin, run, wrong } = await open("aws");
  await write("a.txt", 1000);
  await write("b.txt", 1000);
  proxy.inject({ operation: "TransactWriteItems", nth: 2, action: { kind: "delay", ms: 10 * 60_000 } });
  const noting = `process.on("SIGINT", () => process.stderr.write("noticed\\n"));`;
  const child = begin(["upload", "a.txt", "b.txt", "--concurrency", "1", "--timeout", "30m"], preload(noting));
  const noticed = new Promise<void>((resolve) => {
    child.stderr?.on("data", (chunk: Buffer) => chunk.includes("noticed") && resolve());
  });
  const ended = finish(child);
  const commits = () => proxy.log.filter(({ operation }) => operation === "TransactWriteItems");
  await expect.poll(() => commits().length).toBe(2);
  child.kill("SIGINT");
  await noticed;
  const since = performance.now();
  child.kill(signal);
  // To a shell that is 130 or 143, as after the first one.
  const outcome = await ended;
  expect(outcome).toMatchObject({ status: signal });
  expect(performance.now() - since).toBeLessThan(soon);
  expect(JSON.parse(outcome.stdout)).toMatchObject({ documents: [{ name: "a.txt" }], error: { code: "CANCELLED" } });
  expect(await wrong(false)).toMatchObject({ documents: [{ name: "a.txt" }], complaints: [] });
  expect(await run(["upload", "b.txt"])).toMatchObject({ status: 0 });
  expect((await wrong(false)).documents).toHaveLength(2);
});

describe("a network that is dead from then on", () => {
  const large = ["upload", "large.bin", "--part-size", "5MiB"];
  test.each<[string, string[], number]>([
    ["PutObject", ["upload", "a.txt"], 130],
    ["UploadPart", large, 130],
    ["CompleteMultipartUpload", large, 130],
    // Whether it was done nobody knows: not cancelled, but the outcome of a commit without an answer.
    ["TransactWriteItems", ["upload", "a.txt"], 8],
    ["Query", ["list"], 130],
    ["GetItem", ["show", "stored.txt"], 130],
    ["GetObject", ["download", "stored.txt", "-o", "copy.txt"], 130],
    ["HeadObject", ["verify", "--all"], 130],
    ["ListObjectsV2", ["doctor"], 130],
    ["TransactWriteItems", ["delete", "stored.txt", "--yes"], 8],
    ["DeleteObject", ["delete", "stored.txt", "--yes"], 8],
    ["HeadBucket", ["init"], 130],
  ])("does not keep it: at %s of %j", async (operation, argv, status) => {
    const { cwd, proxy, write, run, start: begin, wrong } = await open("aws");
    await write("stored.txt", 1000);
    expect(await run(["upload", "stored.txt"])).toMatchObject({ status: 0 });
    await write("a.txt", 1000);
    await write("large.bin", 11 * mebibyte);
    proxy.log.length = 0;
    let dead = false;
    proxy.inject({
      operation: (request) => {
        dead ||= request.operation === operation;
        return dead;
      },
      action: { kind: "black-hole" },
    });
    const child = begin(argv);
    const ended = finish(child);
    await expect.poll(() => dead).toBe(true);
    const since = performance.now();
    child.kill("SIGINT");
    const outcome = await ended;
    expect(performance.now() - since).toBeLessThan(soon);
    expect(outcome.status).toBe(status);
    JSON.parse(outcome.stdout);
    expect(await readdir(cwd)).not.toContain("copy.txt");
    expect((await wrong(false)).complaints).toEqual([]);
  });
});

describe("a download that is interrupted", () => {
  const nothingNew = async (cwd: string) => (await readdir(cwd)).filter((name) => !/^(stored|\.docprocrc)/.test(name));

  test.each(signals)("leaves no file after %s (local)", async (signal, status) => {
    const { cwd, write, run, interrupt } = await open("local");
    await write("stored.bin", 3 * mebibyte);
    expect(await run(["upload", "stored.bin"])).toMatchObject({ status: 0 });
    const outcome = await interrupt(["download", "stored.bin", "-o", "copy.bin"], "download-begun", 1, signal);
    expect(outcome.status).toBe(status);
    expect(await nothingNew(cwd)).toEqual([]);
  });

  test.each(signals)("leaves no file, and the one that was there as it was, after %s (aws)", async (signal, status) => {
    const { cwd, proxy, write, run, start: begin } = await open("aws");
    await write("stored.bin", 3 * mebibyte);
    expect(await run(["upload", "stored.bin"])).toMatchObject({ status: 0 });
    await writeFile(join(cwd, "stored-copy"), "mine");
    let reached = 0;
    const reply = (response: ServerResponse) => {
      response.writeHead(200, { "content-length": 3 * mebibyte }).write(Buffer.alloc(mebibyte));
      reached += 1;
    };
    for (const flags of [
      ["-o", "copy.bin"],
      ["-o", "stored-copy", "--force"],
    ]) {
      proxy.inject({ operation: "GetObject", nth: 1, action: { kind: "answer", reply } });
      const before = reached;
      const child = begin(["download", "stored.bin", ...flags]);
      const ended = finish(child);
      await vi.waitFor(async () => {
        expect(reached).toBeGreaterThan(before);
        expect(await nothingNew(cwd)).toHaveLength(1);
      }, soon);
      child.kill(signal);
      expect((await ended).status).toBe(status);
      expect(await nothingNew(cwd)).toEqual([]);
      proxy.clear();
    }
    expect(await readFile(join(cwd, "stored-copy"), "utf8")).toBe("mine");
  });
});

/** Each step of an upload, as a moment to be interrupted at; those of downloads and removals have tests of their own. */
const uploadSteps = steps.slice(0, steps.indexOf("download-begun"));
/** Only an upload of bytes that are there already reaches these. */
const repeatSteps: readonly Step[] = ["bytes-copied", "bytes-restored"];
const newSteps = uploadSteps.filter((step) => !repeatSteps.includes(step));

test.each(newSteps)("an upload that is interrupted at %s is done, or not there", async (step) => {
  const { write, run, interrupt, stepsReached, wrong } = await open(step.startsWith("local") ? "local" : "aws");
  await write("a.bin", step === "s3-object-sent" ? 1000 : 11 * mebibyte);
  const upload = ["upload", "a.bin", "--part-size", "5MiB"];
  const outcome = await interrupt(upload, step, 1, "SIGINT");
  const { documents, failures } = JSON.parse(outcome.stdout);
  expect([0, 130]).toContain(outcome.status);
  expect(documents.length + failures.length).toBe(1);
  expect(documents).toHaveLength(outcome.status === 0 ? 1 : 0);
  const left = await wrong(false);
  expect(left.complaints).toEqual([]);
  expect(ids(left.documents)).toEqual(ids(documents));
  expect(await run(upload)).toMatchObject({ status: 0 });
  expect((await wrong(true)).complaints).toEqual([]);
  expect((await stepsReached())(step)).toBeGreaterThan(0);
});

describe.each(["local", "aws"] as const)("an upload of bytes that are there already (%s)", (place) => {
  const sizes = [1000, 11 * mebibyte];
  const upload = ["upload", "a.bin", "--part-size", "5MiB"];

  test.each(sizes)("that is interrupted when it has copied %i of them is done, or not there", async (size) => {
    const { cwd, write, run, interrupt, stepsReached, wrong } = await open(place);
    await write("a.bin", size);
    const first = await readFile(join(cwd, "a.bin"));
    expect(await run(upload)).toMatchObject({ status: 0 });
    await write("a.bin", 10);
    expect(await run(upload)).toMatchObject({ status: 0 });
    await writeFile(join(cwd, "a.bin"), first);
    const outcome = await interrupt(upload, "bytes-copied", 1, "SIGINT");
    const { documents } = JSON.parse(outcome.stdout);
    expect([0, 130]).toContain(outcome.status);
    expect(documents).toHaveLength(outcome.status === 0 ? 1 : 0);
    const left = await wrong(true);
    expect(left.complaints).toEqual([]);
    expect(left.documents).toHaveLength(2 + documents.length);
    const again = (await run(upload)).json();
    expect(again.documents).toMatchObject([
      { action: documents.length === 1 ? "unchanged" : "uploaded", bytesSent: 0 },
    ]);
    expect((await wrong(true)).documents).toHaveLength(3);
    expect((await stepsReached())("bytes-copied")).toBe(1);
  });

  test.each(sizes)("that is interrupted when it has put %i of them back leaves them good", async (size) => {
    const { write, run, interrupt, stepsReached, wrong, damage } = await open(place);
    await write("a.bin", size);
    const [{ id }] = (await run(upload)).json().documents;
    await damage(id, () => null);
    const outcome = await interrupt(upload, "bytes-restored", 1, "SIGINT");
    expect([0, 130]).toContain(outcome.status);
    const { documents } = JSON.parse(outcome.stdout);
    expect(documents).toHaveLength(outcome.status === 0 ? 1 : 0);
    for (const document of documents) expect(document).toMatchObject({ id, action: "restored" });
    const left = await wrong(true);
    expect(left.complaints).toEqual([]);
    expect(ids(left.documents)).toEqual([id]);
    expect((await run(upload)).json().documents).toMatchObject([{ id, action: "unchanged" }]);
    expect((await stepsReached())("bytes-restored")).toBe(1);
  });
});

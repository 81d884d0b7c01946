/** A copy that is killed at any step, or meets a network that fails: the same command goes on, and nothing is lost. */
import { createHash, randomBytes } from "node:crypto";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import type { Step } from "../../src/core/crash-points.ts";
import { type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import { awsState, complaints, localState } from "../support/oracle.ts";
import { docproc, killer } from "../support/process.ts";
import { failure, partOf, partsStored } from "../support/resumable.ts";
import { openTwoLibraries, portable } from "../support/two-libraries.ts";

const small = randomBytes(40_000);
/** Three parts of 5 MiB. */
const large = randomBytes(12 * 1024 * 1024);
const timeout = 180_000;

let aws: InRepoAws;
beforeAll(async () => {
  aws = await startInRepoAws();
});
afterAll(() => aws.close());

const copying = ["copy", "--from", "here", "--to", "there", "--json"];

describe.each([
  ["the embedded library", false],
  ["the servers of this repository", true],
])("a copy into %s", { timeout }, (_place, onAws) => {
  test.each([
    ["small", small],
    ["large", large],
  ])("of a %s document can be killed at any step and run again", async (_size, content) => {
    const library = await openTwoLibraries(onAws ? aws.endpoint : undefined);
    const { sandbox, bucket, run, upload, list, expectSound } = library;
    const state = onAws ? awsState(aws, bucket) : localState(join(sandbox.cwd, "there"));
    const flags = ["--state-directory", sandbox.state];
    const record = await upload("here", "a.bin", content);
    const steps: Step[] = [];
    const note = (step: unknown) => void steps.push(step as Step);
    subscribe("docproc:step", note);
    expect(await run([...copying, ...flags])).toMatchObject({ status: 0 });
    unsubscribe("docproc:step", note);
    expect(steps).toEqual(expect.arrayContaining(["bytes-proved", "record-committed"] satisfies Step[]));
    for (const [index, step] of steps.entries()) {
      const what = `killed at ${step}, step ${index + 1} of ${steps.length}`;
      const nth = steps.slice(0, index + 1).filter((other) => other === step).length;
      expect(await run(["delete", record.id, "--use", "there", "--yes"]), what).toMatchObject({ status: 0 });
      const env = { KILL_AT_STEP: step, KILL_AT_NTH: String(nth) };
      const killed = await docproc(sandbox, [...copying, ...flags], { node: killer, env });
      expect(killed, what).toMatchObject({ status: "SIGKILL" });
      expect(await complaints(state, await list("there"), { garbage: false }), what).toEqual([]);
      const again = await run([...copying, ...flags]);
      expect(again, what).toMatchObject({ status: 0 });
      // What was recorded before the kill is there already.
      const recorded = steps.slice(0, index + 1).includes("record-committed");
      expect(again.json().documents[0].action, what).toBe(recorded ? "unchanged" : "copied");
      expect(portable(await list("there")), what).toEqual(portable(await list("here")));
    }
    await state.age();
    await run(["doctor", "--repair", "--use", "there"]);
    expect(await complaints(state, await list("there"), { garbage: true })).toEqual([]);
    await expectSound("there");
  });
});

describe("a copy of a large document to S3", { timeout }, () => {
  async function openBehindProxy() {
    const proxy = await startFaultProxy(aws.endpoint);
    onTestFinished(() => proxy.close());
    const library = await openTwoLibraries(proxy.endpoint);
    return {
      ...library,
      proxy,
      sent: () =>
        proxy.log
          .splice(0)
          .map(partOf)
          .filter((part) => part > 0)
          .sort(),
    };
  }

  test("goes on from the parts that are stored", async () => {
    const { upload, run, list, proxy, sent, sandbox, expectSound } = await openBehindProxy();
    const { id } = await upload("here", "a.bin", large);
    proxy.inject({
      operation: (request) => partOf(request) === 3,
      action: { kind: "hold", until: partsStored(2), fault: failure },
    });
    const failed = await run([...copying, "--retries", "0"]);
    expect(failed).toMatchObject({ status: 8 });
    expect(failed.json().failures[0].hint).toContain("will not be sent again");
    expect(await list("there")).toEqual([]);
    expect(await readdir(join(sandbox.state, "uploads"))).toHaveLength(1);
    proxy.clear();
    sent();
    const again = await run(copying);
    expect(again).toMatchObject({ status: 0 });
    expect(again.json().documents[0]).toMatchObject({ id, action: "copied" });
    expect(again.json().summary.bytesSent).toBeLessThan(large.length / 2);
    expect(sent()).not.toContain(1);
    expect(await readdir(join(sandbox.state, "uploads"))).toEqual([]);
    await expectSound("there");
  });

  test("goes on after an interruption, and starts from nothing with --no-resume", async () => {
    const { upload, run, list, proxy, sent, bucket } = await openBehindProxy();
    await upload("here", "a.bin", large);
    for (const [flags, uploads] of [
      [[], 1],
      [["--no-resume"], 0],
    ] as const) {
      const interruption = new AbortController();
      proxy.inject({
        operation: (request) => partOf(request) === 3,
        action: { kind: "hold", until: partsStored(2).then(() => interruption.abort()) },
      });
      expect(await run([...copying, ...flags], { signal: interruption.signal })).toMatchObject({ status: 130 });
      expect(await list("there")).toEqual([]);
      expect([...(aws.s3.buckets.get(bucket)?.uploads ?? [])].length).toBe(uploads);
      proxy.clear();
      sent();
      if (uploads === 1) expect(await run(copying)).toMatchObject({ status: 0 });
      else expect(await run([...copying, ...flags])).toMatchObject({ status: 0 });
      expect(sent().includes(1)).toBe(uploads === 0);
      expect(await run(["delete", "a.bin", "--yes", "--use", "there"])).toMatchObject({ status: 0 });
    }
  });

  test("refuses bytes that became others while they were sent, and leaves nothing", async () => {
    const { upload, run, list, proxy, bucket, sandbox } = await openBehindProxy();
    const { uri } = await upload("there", "a.bin", large);
    const key = uri.slice(`s3://${bucket}/`.length);
    expect(aws.s3.buckets.get(bucket)?.objects.has(key)).toBe(true);
    // On the way from S3: the reader sees it, whatever the storage says.
    proxy.inject({ operation: "GetObject", nth: 1, action: { kind: "flip-byte", offset: 1000, in: "reply" } });
    const back = ["copy", "--from", "there", "--to", "back", "--json"];
    const outcome = await run(back);
    expect(outcome).toMatchObject({ status: 6 });
    expect(await list("back")).toEqual([]);
    expect(await localState(join(sandbox.cwd, "back")).objects()).toEqual(new Map());
    proxy.clear();
    expect(await run(back)).toMatchObject({ status: 0 });
    const [digest] = [...(await localState(join(sandbox.cwd, "back")).objects()).values()];
    expect(digest).toBe(createHash("sha256").update(large).digest("hex"));
  });

  test("reads on where the connection breaks off", async () => {
    const { upload, run, proxy, expectSound } = await openBehindProxy();
    await upload("there", "a.bin", large);
    proxy.inject({ operation: "GetObject", nth: 1, times: 2, action: { kind: "truncate", bytes: 100_000 } });
    expect(await run(["copy", "--from", "there", "--to", "back"])).toMatchObject({ status: 0 });
    await expectSound("back");
  });
});

test("a library that is not there says so", async () => {
  const { upload, run, bucket } = await openTwoLibraries(aws.endpoint);
  await upload("here", "a", "a");
  aws.s3.buckets.delete(bucket);
  expect(await run(copying)).toMatchObject({ status: 9 });
});

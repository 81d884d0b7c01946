/** What is tried again and how often, how long a silence is borne, and that slow is not silent. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdir, readFile, writeFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { awsSettings, type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { type FaultRule, startFaultProxy } from "../support/fault-proxy.ts";
import { makeSandbox, runDocproc } from "../support/run.ts";
import { startSlowProxy } from "../support/slow-proxy.ts";

const mebibyte = 1024 * 1024;
let aws: InRepoAws;
beforeAll(async () => {
  aws = await startInRepoAws();
});
afterAll(() => aws.close());

/** A library with two documents, one of them of several ranges, and a proxy in front of it. */
async function open() {
  const sandbox = await makeSandbox();
  const bucket = awsSettings("").bucket ?? "";
  const through = (endpoint: string, argv: readonly string[]) =>
    runDocproc(sandbox, [...argv, "--endpoint-url", endpoint, "--bucket", bucket, "--json"]);
  expect(await through(aws.endpoint, ["init"])).toMatchObject({ status: 0 });
  await writeFile(join(sandbox.cwd, "stored.bin"), randomBytes(9 * mebibyte));
  await writeFile(join(sandbox.cwd, "tiny.txt"), "tiny");
  expect(await through(aws.endpoint, ["upload", "stored.bin", "tiny.txt"])).toMatchObject({ status: 0 });
  await writeFile(join(sandbox.cwd, "small.bin"), randomBytes(1000));
  await writeFile(join(sandbox.cwd, "large.bin"), randomBytes(11 * mebibyte));
  const proxy = await startFaultProxy(aws.endpoint);
  onTestFinished(() => proxy.close());
  return {
    cwd: sandbox.cwd,
    proxy,
    through,
    run: (...argv: string[]) => through(proxy.endpoint, argv),
    sent: (operation: string) => proxy.log.filter((request) => request.operation === operation).length,
  };
}

const answer = (operation: string, status: number, code: string): FaultRule => ({
  operation,
  action: { kind: "status", status, code },
});

/** A transaction that met another one on the same item. */
const conflict = (reason: string): FaultRule => ({
  operation: "TransactWriteItems",
  action: {
    kind: "answer",
    reply(response: ServerResponse) {
      const CancellationReasons = [{ Code: "None" }, { Code: reason, Message: "busy" }];
      const __type = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
      const body = JSON.stringify({ __type, CancellationReasons, Message: `cancelled [None, ${reason}]` });
      response.writeHead(400, { "content-type": "application/x-amz-json-1.0" }).end(body);
    },
  },
});

/** Chance decides how long a pause is; here it is always this part of the longest one. */
const withChance = (share: number) => {
  const random = vi.spyOn(Math, "random").mockReturnValue(share);
  onTestFinished(() => random.mockRestore());
};

const uploadSmall = ["upload", "small.bin"];
const uploadLarge = ["upload", "large.bin", "--part-size", "5MiB"];
const download = ["download", "stored.bin", "-o", "copy.bin"];
const throttled = (operation: string) => answer(operation, 400, "ThrottlingException");
const exceeded = (operation: string) => answer(operation, 400, "ProvisionedThroughputExceededException");

describe("a failure that passes", () => {
  test.each<[string, string[], FaultRule]>([
    ["S3 asks to slow down for an object", uploadSmall, answer("PutObject", 503, "SlowDown")],
    ["S3 asks to slow down for a part", uploadLarge, answer("UploadPart", 503, "SlowDown")],
    ["S3 asks to slow down at the end", uploadLarge, answer("CompleteMultipartUpload", 503, "SlowDown")],
    ["S3 asks to slow down for a download", download, answer("GetObject", 503, "SlowDown")],
    ["S3 has an internal error", uploadSmall, answer("PutObject", 500, "InternalError")],
    ["the connection breaks", uploadSmall, { operation: "PutObject", action: { kind: "reset" } }],
    ["DynamoDB throttles the commit", uploadSmall, throttled("TransactWriteItems")],
    ["the table's throughput is used up at the commit", uploadSmall, exceeded("TransactWriteItems")],
    ["DynamoDB throttles a listing", ["list"], throttled("Query")],
    ["the table's throughput is used up in a listing", ["list"], exceeded("Query")],
    ["DynamoDB throttles a look at one record", download, throttled("GetItem")],
    ["the commit meets another transaction", uploadSmall, conflict("TransactionConflict")],
    ["the commit is throttled as a transaction", uploadSmall, conflict("ThrottlingError")],
    ["the throughput is used up in a transaction", uploadSmall, conflict("ProvisionedThroughputExceeded")],
  ])("is tried again until it has passed: %s", async (_what, argv, rule) => {
    withChance(0.01);
    const { proxy, run, sent } = await open();
    proxy.inject({ ...rule, nth: 1, times: 3 });
    expect(await run(...argv)).toMatchObject({ status: 0 });
    expect(sent(String(rule.operation))).toBeGreaterThan(3);
  });

  test.each([
    ["PutObject", uploadSmall, answer("PutObject", 503, "SlowDown")],
    ["TransactWriteItems", uploadSmall, throttled("TransactWriteItems")],
    ["GetItem", uploadSmall, exceeded("GetItem")],
    ["HeadObject", ["verify", "stored.bin"], answer("HeadObject", 503, "SlowDown")],
    ["GetObject", ["download", "tiny.txt", "-o", "copy.bin"], answer("GetObject", 503, "SlowDown")],
  ])("is tried as often as --retries says: %s", async (operation, argv, rule) => {
    withChance(0.01);
    const { proxy, run, sent } = await open();
    proxy.inject(rule);
    for (const retries of [0, 1, 3]) {
      proxy.log.length = 0;
      const outcome = await run(...argv, "--retries", String(retries));
      expect(outcome).toMatchObject({ status: 8, stderr: expect.stringContaining('"retryable":true') });
      expect(sent(operation)).toBe(retries + 1);
    }
  });

  test("is retried a few times more when it is another transaction, but not for ever", async () => {
    withChance(0.01);
    const { proxy, run, sent } = await open();
    proxy.inject(conflict("TransactionConflict"));
    expect(await run(...uploadSmall, "--retries", "0")).toMatchObject({ status: 8 });
    expect(sent("TransactWriteItems")).toBe(6);
  });

  test.each([
    ["a refusal", answer("PutObject", 403, "AccessDenied"), 4],
    ["a request that is wrong", answer("PutObject", 400, "InvalidRequest"), 1],
    ["a bucket that is not there", answer("PutObject", 404, "NoSuchBucket"), 9],
  ])("is not what %s is, which is sent once", async (_what, rule, status) => {
    const { proxy, run, sent } = await open();
    proxy.inject(rule);
    expect(await run(...uploadSmall)).toMatchObject({ status });
    expect(sent("PutObject")).toBe(1);
  });
});

describe("the pauses between attempts", () => {
  /** Milliseconds from one request to the next. */
  async function pauses(rule: FaultRule): Promise<number[]> {
    const { proxy, run } = await open();
    const times: number[] = [];
    const noting: FaultRule["operation"] = ({ operation }) => {
      if (operation === rule.operation) times.push(performance.now());
      return operation === rule.operation;
    };
    proxy.inject({ ...rule, operation: noting });
    expect(await run(...uploadSmall, "--retries", "2")).toMatchObject({ status: 8 });
    return times.slice(1, 3).map((time, index) => time - (times[index] ?? 0));
  }

  const least = (share: number, base: number) => [share * base, share * base * 2];
  test.each([
    ["S3's throttling", answer("PutObject", 503, "SlowDown"), 1_000],
    ["DynamoDB's throttling", throttled("TransactWriteItems"), 1_000],
    ["another failure", answer("PutObject", 500, "InternalError"), 50],
    ["another transaction", conflict("TransactionConflict"), 100],
  ])("are a matter of chance, up to a bound that doubles: after %s", async (_what, rule, base) => {
    for (const share of [0, 0.6]) {
      withChance(share);
      const [first = 0, second = 0] = await pauses(rule);
      const [leastFirst = 0, leastSecond = 0] = least(share, base);
      // Timers may fire a millisecond early; a busy machine is late.
      expect(first).toBeGreaterThanOrEqual(leastFirst - 2);
      expect(second).toBeGreaterThanOrEqual(leastSecond - 2);
      expect(Math.max(first, second)).toBeLessThan(leastSecond + 20_000);
      // Without chance there is no pause to speak of, however long the bound is.
      if (share === 0 && base >= 1_000) expect(Math.min(first, second)).toBeLessThan(base);
    }
  });
});

describe("silence", () => {
  /** Generous: a busy machine is late, and without the limit it would be minutes. */
  const mostMs = 60_000;

  async function expectGivenUp(run: () => ReturnType<typeof runDocproc>) {
    const since = performance.now();
    const outcome = await run();
    expect(performance.now() - since).toBeLessThan(mostMs);
    expect(outcome).toMatchObject({ status: 8, stderr: expect.stringContaining('"retryable":true') });
    return outcome;
  }

  const limits = ["--timeout", "1s"];
  test.each([
    ["PutObject", uploadSmall],
    ["CreateMultipartUpload", uploadLarge],
    ["UploadPart", uploadLarge],
    ["CompleteMultipartUpload", uploadLarge],
    ["TransactWriteItems", uploadSmall],
    ["GetItem", uploadSmall],
    ["Query", ["list"]],
    ["GetObject", download],
    ["HeadObject", ["verify", "stored.bin"]],
    ["ListObjectsV2", ["doctor"]],
  ])("in answer to %s is given up", async (operation, argv) => {
    const { cwd, proxy, run, sent } = await open();
    proxy.inject({ operation, action: { kind: "black-hole" } });
    await expectGivenUp(() => run(...argv, ...limits));
    expect(sent(operation)).toBeGreaterThan(0);
    expect(await readdir(cwd)).not.toContain("copy.bin");
  });

  test("on one connection leaves half of the time for another", async () => {
    const { proxy, run, sent } = await open();
    proxy.inject({ operation: "Query", nth: 1, action: { kind: "black-hole" } });
    const since = performance.now();
    expect(await run("list", "--timeout", "24s")).toMatchObject({ status: 0 });
    expect(performance.now() - since).toBeLessThan(23_000);
    expect(sent("Query")).toBe(9);
  });

  test("in answer to everything is given up, the clearing up included", async () => {
    const { proxy, run } = await open();
    proxy.inject({
      operation: ({ operation }) => !["GetItem", "Query"].includes(operation),
      action: { kind: "black-hole" },
    });
    await expectGivenUp(() => run(...uploadLarge, ...limits));
  });

  test("in the middle of a document is given up, and leaves no file", async () => {
    const { cwd, proxy, run, sent } = await open();
    const content = await readFile(join(cwd, "stored.bin"));
    let first = true;
    const reply = (response: ServerResponse) => {
      response.writeHead(206, { "content-length": 8 * mebibyte }).flushHeaders();
      if (first) response.write(content.subarray(0, 100_000));
      first = false;
    };
    proxy.inject({ operation: "GetObject", action: { kind: "answer", reply } });
    await expectGivenUp(() => run(...download, ...limits));
    expect(sent("GetObject")).toBeGreaterThan(1);
    expect((await readdir(cwd)).filter((name) => /copy|part/.test(name))).toEqual([]);
  });

  test.each([["list"], ["show", "a"], ["upload", "small.bin"], ["init"], ["doctor"]])(
    "of a host that takes connections and says nothing is given up: %s",
    async (...argv) => {
      const { through } = await open();
      const server = createServer(() => {}).listen(0, "127.0.0.1");
      await once(server, "listening");
      onTestFinished(() => void server.close());
      const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const outcome = await expectGivenUp(() => through(endpoint, [...argv, ...limits]));
      expect(outcome.stderr).toContain(endpoint);
    },
  );
});

describe("a slow line", () => {
  /** Above what the system keeps on its way inside this machine, so that it is never silent for half of the limit. */
  const rate = 2_500_000;
  const limits = ["--timeout", "10s", "--retries", "0"];

  test.each([
    ["one object", 31, "32MiB", ["PutObject"]],
    ["parts", 72, "24MiB", ["UploadPart", "UploadPart", "UploadPart"]],
  ])(
    "carries an upload that takes longer than --timeout, as %s",
    async (_what, mebibytes, partSize, requests) => {
      const { cwd, proxy, through } = await open();
      const slow = await startSlowProxy(proxy.endpoint, { toServer: rate });
      onTestFinished(() => slow.close());
      await writeFile(join(cwd, "slow.bin"), randomBytes(mebibytes * mebibyte));
      const since = performance.now();
      const flags = [...limits, "--part-size", partSize];
      expect(await through(slow.endpoint, ["upload", "slow.bin", ...flags])).toMatchObject({ status: 0 });
      expect(performance.now() - since).toBeGreaterThan(10_000);
      const sent = proxy.log.map(({ operation }) => operation).filter((name) => /PutObject|UploadPart/.test(name));
      expect(sent).toEqual(requests);
    },
    120_000,
  );

  test("carries a download that takes longer than --timeout", async () => {
    const { cwd, proxy, through } = await open();
    const slow = await startSlowProxy(proxy.endpoint, { toClient: 700_000 });

    onTestFinished(() => slow.close());
    const since = performance.now();
    expect(await through(slow.endpoint, [...download, ...limits])).toMatchObject({ status: 0 });
    expect(performance.now() - since).toBeGreaterThan(10_000);
    expect(proxy.log.filter(({ operation }) => operation === "GetObject")).toHaveLength(2);
    expect((await readFile(join(cwd, "copy.bin"))).equals(await readFile(join(cwd, "stored.bin")))).toBe(true);
  }, 120_000);
});

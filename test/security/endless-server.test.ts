/** A server whose answers never end, or are longer than it says: the memory stays small, and so does the wait. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { awsSettings, type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { type ProxiedRequest, startFaultProxy } from "../support/fault-proxy.ts";
import { docproc, preload } from "../support/process.ts";
import { makeSandbox, runDocproc } from "../support/run.ts";

const mebibyte = 1024 * 1024;
/** Node, the SDK, and an answer as long as answers may be, in all the forms it takes while it is read. */
const mostMemory = 512 * mebibyte;
/** Milliseconds; an endless answer would take for ever. */
const soon = 60_000;

let aws: InRepoAws;
beforeAll(async () => {
  aws = await startInRepoAws();
});
afterAll(() => aws.close());

/** Goes on with the same text for as long as somebody reads. */
function endlessly(to: ServerResponse, begin: string, more: string, status = 200): void {
  const chunk = more.repeat(Math.ceil(65_536 / more.length));
  const write = () => {
    while (!to.destroyed && to.write(chunk));
  };
  to.on("drain", write).writeHead(status).write(begin);
  write();
}

/** Says that a gigabyte comes, and sends the beginning of it. */
function gigabyte(to: ServerResponse, begin: string, status = 200): void {
  to.writeHead(status, { "content-length": 1024 * mebibyte }).write(begin);
}

const xml = '<?xml version="1.0"?><ListBucketResult>';
const answers: Record<string, (to: ServerResponse) => void> = {
  "XML without end": (to) => endlessly(to, xml, "<Contents><Key>a</Key></Contents>"),
  "an XML text without end": (to) => endlessly(to, `${xml}<Name>`, "x"),
  "an error without end": (to) => endlessly(to, "<Error><Code>Oops</Code><Message>", "x", 400),
  "JSON without end": (to) => endlessly(to, '{"Items": [', '{"pk": {"S": "a"}},'),
  "a JSON text without end": (to) => endlessly(to, '{"message": "', "x", 400),
  "spaces without end": (to) => endlessly(to, "", " "),
  "bytes without end": (to) => endlessly(to, "", "\u0000\u0001"),
  "a gigabyte that does not come": (to) => gigabyte(to, xml),
  "an error of a gigabyte that does not come": (to) => gigabyte(to, "<Error>", 403),
};

const commands = [
  ["list", "--all"],
  ["show", "stored.txt"],
  ["download", "stored.txt", "-o", "copy"],
  ["cat", "stored.txt"],
  ["upload", "small.txt"],
  ["upload", "large.bin", "--part-size", "5MiB"],
  ["verify", "stored.txt", "--deep"],
  ["doctor"],
];

async function open() {
  const sandbox = await makeSandbox();
  const proxy = await startFaultProxy(aws.endpoint);
  onTestFinished(() => proxy.close());
  await writeFile(join(sandbox.cwd, "small.txt"), "small");
  await writeFile(join(sandbox.cwd, "large.bin"), Buffer.alloc(11 * mebibyte));
  const flags = ["--endpoint-url", proxy.endpoint, "--bucket", awsSettings("").bucket ?? ""];
  for (const argv of [
    ["init", ...flags],
    ["upload", "small.txt", "--name", "stored.txt"],
  ]) {
    expect(await runDocproc(sandbox, argv)).toMatchObject({ status: 0 });
  }
  const MEMORY = join(sandbox.root, "memory");
  const node = preload(`import { writeFileSync } from "node:fs";
    let peak = 0;
    setInterval(() => {
      peak = Math.max(peak, process.memoryUsage.rss());
      // Before it takes the memory of the machine.
      if (peak > ${3 * mostMemory}) process.kill(process.pid, "SIGKILL");
    }, 5).unref();
    process.on("exit", () => writeFileSync(process.env.MEMORY, String(peak)));`);
  return {
    sandbox,
    proxy,
    async expectBearable(argv: readonly string[]) {
      const since = performance.now();
      const outcome = await docproc(sandbox, [...argv, "--retries", "0", "--timeout", "3s"], { node, env: { MEMORY } });
      expect(performance.now() - since).toBeLessThan(soon);
      // A number is a status that the program chose; a signal would be its death.
      expect({ argv, status: outcome.status }).toEqual({ argv, status: expect.any(Number) });
      expect([2, 3, 4, 5, 6, 8, 9]).toContain(outcome.status);
      expect(Number(await readFile(MEMORY, "utf8"))).toBeLessThan(mostMemory);
      expect(outcome.stderr.length).toBeLessThan(mebibyte);
      expect(await readdir(sandbox.cwd)).not.toContain("copy");
    },
  };
}

describe.each(["s3", "dynamodb"] as const)("in place of an answer of %s", (service) => {
  /** What a command asks of this service, so that none is tried that does not ask it. */
  const asking = commands.filter(
    ([name]) => service === "dynamodb" || /download|cat|upload|verify|doctor/.test(name ?? ""),
  );

  test.each(Object.entries(answers))(
    "%s fills no memory",
    async (_what, answer) => {
      const { proxy, expectBearable } = await open();
      proxy.inject({
        operation: (request: ProxiedRequest) => request.service === service && request.method !== "HEAD",
        action: { kind: "answer", reply: answer },
      });
      // Each kind of answer to some of the commands: all of them to all of them take minutes.
      const index = Object.values(answers).indexOf(answer);
      const chosen = asking.filter((_, n) => process.env["DOCPROC_SOAK"] === "1" || n % 3 === index % 3);
      for (const argv of chosen) await expectBearable(argv);
    },
    240_000,
  );
});

describe("in place of a document", () => {
  const error = (to: ServerResponse) => endlessly(to, "<Error><Code>Oops</Code><Message>", "x", 403);
  test.each<[string, (to: ServerResponse) => void]>([
    ["more bytes than it has", (to) => endlessly(to, "", "more")],
    ["an error without end", error],
    ["a gigabyte that does not come", (to) => gigabyte(to, "small")],
  ])(
    "%s fill no memory and no file",
    async (_what, reply) => {
      const { proxy, expectBearable } = await open();
      proxy.inject({ operation: "GetObject", action: { kind: "answer", reply } });
      for (const argv of [
        ["download", "stored.txt", "-o", "copy"],
        ["verify", "stored.txt", "--deep"],
      ]) {
        await expectBearable(argv);
      }
    },
    240_000,
  );

  test("bytes without end in each of its ranges fill no memory", async () => {
    const { sandbox, proxy, expectBearable } = await open();
    expect(await runDocproc(sandbox, ["upload", "large.bin"])).toMatchObject({ status: 0 });
    const reply = (to: ServerResponse) => endlessly(to, "", "more", 206);
    proxy.inject({ operation: "GetObject", action: { kind: "answer", reply } });
    await expectBearable(["download", "large.bin", "-o", "copy"]);
  }, 240_000);
});

/**
 * A server that says a little now and then, so that a connection is never silent: its answers are given up like those
 * that do not come at all, and what takes its time for a reason is not.
 */
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { CompleteMultipartUploadCommand, ListPartsCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { connect } from "../../src/storage/s3/client.ts";
import { awsSettings, type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import { docproc, finish, start } from "../support/process.ts";
import { makeSandbox, runDocproc, type Sandbox } from "../support/run.ts";
import { certificate, key } from "../support/tls-proxy.ts";

/** Milliseconds between two bytes: less than half of the time limit, within which a connection may be silent. */
const pause = 300;
const limits = ["--timeout", "2s", "--retries", "0"];
/** Milliseconds: far more than it should take, and a server that drips has no end. */
const soon = 60_000;

let aws: InRepoAws;
beforeAll(async () => {
  aws = await startInRepoAws();
});
afterAll(() => aws.close());

/** Writes some text at once, and then a piece of the rest now and then. */
function drip(to: Socket, atOnce: string | Buffer, rest: string | Buffer, size = 1): void {
  to.on("error", () => {});
  if (atOnce.length > 0) to.write(atOnce);
  let at = 0;
  const timer = setInterval(() => {
    // From its beginning again: it has no end.
    to.write(rest.slice(at % rest.length, (at % rest.length) + size));
    at += size;
  }, pause);
  to.on("close", () => clearInterval(timer));
}

const ok = "HTTP/1.1 200 OK\r\n";
const answers: Record<string, (to: Socket) => void> = {
  "a status line": (to) => drip(to, "HTTP/1.1 200 ", "O".repeat(1000)),
  headers: (to) => drip(to, ok, `x-long: ${"a".repeat(1000)}`),
  "answers before the answer": (to) => drip(to, "", "HTTP/1.1 102 Processing\r\n\r\n", 27),
  "an answer with a length": (to) => drip(to, `${ok}content-length: 100000\r\n\r\n`, " "),
  "an answer in chunks": (to) => drip(to, `${ok}transfer-encoding: chunked\r\n\r\n`, "1\r\n \r\n", 6),
  "an answer without a length": (to) => drip(to, `${ok}connection: close\r\n\r\n`, " "),
  "what comes behind an answer": (to) =>
    drip(to, `${ok}transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n`, "x-a: b\r\n"),
  "an error": (to) => drip(to, "HTTP/1.1 400 Bad Request\r\ncontent-length: 100000\r\n\r\n", " "),
};

/** A library with a small and a large document, and a proxy in front of it whose answers can be taken over. */
async function open() {
  const sandbox = await makeSandbox();
  const proxy = await startFaultProxy(aws.endpoint);
  onTestFinished(() => proxy.close());
  await writeFile(join(sandbox.cwd, "small.txt"), "small");
  await writeFile(join(sandbox.cwd, "large.bin"), Buffer.alloc(200_000, "large"));
  const flags = ["--endpoint-url", proxy.endpoint, "--bucket", awsSettings("").bucket ?? ""];
  for (const argv of [
    ["init", ...flags],
    ["upload", "small.txt", "large.bin", "--tag", "stored=yes"],
  ]) {
    expect(await runDocproc(sandbox, argv)).toMatchObject({ status: 0 });
  }
  return { sandbox, proxy };
}

async function expectGivenUp(run: () => Promise<{ status: number | string; stderr: string }>) {
  const since = performance.now();
  const outcome = await run();
  expect(outcome).toMatchObject({ status: 8 });
  expect(performance.now() - since).toBeLessThan(soon);
  return outcome;
}

/** What is asked of each service; a HEAD, which `verify` sends, has no body that could drip. */
const asked: [service: string, method: RegExp, argv: string[]][] = [
  ["dynamodb", /POST/, ["list"]],
  ["s3", /PUT/, ["upload", "small.txt"]],
  ["s3", /HEAD/, ["verify", "--all"]],
];
const dripping = Object.entries(answers).flatMap(([what, answer]) =>
  asked
    .filter(([, method]) => !method.test("HEAD") || /line|headers|before/.test(what))
    .map(([service, method, argv]) => [what, service, argv, method, answer] as const),
);

test.each(dripping)(
  "a server that drips %s in place of %s is given up by %j",
  async (_what, service, argv, method, answer) => {
    const { sandbox, proxy } = await open();
    proxy.inject({
      operation: (request) => request.service === service && method.test(request.method),
      action: { kind: "answer", reply: (to) => answer(to.socket as Socket) },
    });
    await expectGivenUp(() => runDocproc(sandbox, [...argv, ...limits]));
  },
);

test.each([0, 2])("a document that drips is given up, after %i retries at the latest", async (retries) => {
  const { sandbox, proxy } = await open();
  const headers = `HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n${"large".repeat(100)}`;
  const reply = (to: ServerResponse) => drip(to.socket as Socket, headers, "large");
  proxy.inject({ operation: "GetObject", action: { kind: "answer", reply } });
  const flags = ["--timeout", "2s", "--retries", String(retries)];
  await expectGivenUp(() => runDocproc(sandbox, ["download", "large.bin", "-o", "copy", ...flags]));
  expect(proxy.log.filter(({ operation }) => operation === "GetObject").length).toBe(retries + 1);
});

describe("over TLS", () => {
  /** Has its own trust in the certificate, which only a process can be told. */
  async function expectTlsGivenUp(sandbox: Sandbox, port: number) {
    const ca = join(sandbox.root, "ca.pem");
    await writeFile(ca, certificate);
    const flags = ["--endpoint-url", `https://127.0.0.1:${port}`, "--bucket", "team-documents", ...limits];
    const env = { NODE_EXTRA_CA_CERTS: ca };
    for (const argv of [
      ["list", ...flags],
      ["doctor", ...flags],
    ]) {
      await expectGivenUp(() => docproc(sandbox, argv, { env }));
    }
  }

  test("a server that drips its answers is given up", async () => {
    const server = createTlsServer({ key, cert: certificate }, (socket) => drip(socket, ok, "x-a: b\r\n"));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => void server.close());
    await expectTlsGivenUp(await makeSandbox(), (server.address() as AddressInfo).port);
  });

  test("a server that drips its part of the handshake is given up", async () => {
    // The beginning of a record of 16 KiB, which is to hold what a server says first.
    const server = createServer((socket) => drip(socket, Buffer.from("16030340000200", "hex"), Buffer.alloc(1)));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => void server.close());
    await expectTlsGivenUp(await makeSandbox(), (server.address() as AddressInfo).port);
  });
});

describe("what gives out credentials", () => {
  const without = { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined };

  async function open(answer: (to: Socket) => void) {
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket.on("error", () => {}));
      answer(socket);
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => {
      server.close();
      for (const socket of sockets) socket.destroy();
    });
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/credentials`;
    const flags = ["--endpoint-url", aws.endpoint, "--bucket", "team-documents"];
    return { env: { ...without, AWS_CONTAINER_CREDENTIALS_FULL_URI: url }, argv: ["list", ...flags], sockets };
  }

  test.each<[string, (to: Socket) => void]>([
    ["says nothing", () => {}],
    ["drips headers", (to) => drip(to, ok, "x-a: b\r\n")],
    ["drips its answer", (to) => drip(to, `${ok}content-length: 10000\r\n\r\n`, " ")],
  ])("and %s is given up", async (_what, answer) => {
    const { env, argv } = await open(answer);
    const sandbox = await makeSandbox();
    const { stderr } = await expectGivenUp(() => docproc(sandbox, [...argv, ...limits], { env }));
    expect(stderr).toContain("credentials");
  });

  test("is not waited for after a signal", async () => {
    const { env, argv, sockets } = await open(() => {});
    const child = start(await makeSandbox(), argv, { env });
    const ended = finish(child);
    await expect.poll(() => sockets.size).toBeGreaterThan(0);
    const since = performance.now();
    child.kill("SIGINT");
    const { status, stderr } = await ended;
    // As a status, or as the signal where something was still open.
    expect([130, "SIGINT"]).toContain(status);
    expect(stderr).toContain("hint:  Run the same command again.");
    expect(performance.now() - since).toBeLessThan(soon);
  });
});

test("the end of a large upload may take its time, as S3 says that it does, and nothing else may", async () => {
  const done = "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>";
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => {
      drip(socket, `${ok}connection: close\r\n\r\n<?xml version="1.0"?>`, " ");
      setTimeout(() => socket.end(done), 9_000);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = await connect(awsSettings(endpoint, { timeout: 3_000, retries: 0 }));
  onTestFinished(() => client.destroy());
  const which = { Bucket: "bucket", Key: "key", UploadId: "id" };
  expect(await client.send(new CompleteMultipartUploadCommand(which))).toMatchObject({ ETag: "x" });
  await expect(client.send(new ListPartsCommand(which))).rejects.toMatchObject({ name: "TimeoutError" });
});

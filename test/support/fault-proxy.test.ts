import { once } from "node:events";
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import type { Readable } from "node:stream";
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetBucketLocationCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  ListPartsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from "@aws-sdk/client-s3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Fault, type FaultProxy, startFaultProxy } from "./fault-proxy.ts";

const MiB = 1024 * 1024;
const config = { region: "us-east-1", maxAttempts: 1, credentials: { accessKeyId: "test", secretAccessKey: "test" } };

async function errorOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => expect.unreachable("the request succeeded"),
    (error: unknown) => error,
  );
}

async function listen(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe("in front of S3", () => {
  let upstream: Server;
  let stored: Map<string, Buffer>;
  let seen: { method: string; headers: IncomingHttpHeaders }[];
  let proxy: FaultProxy;
  let client: S3Client;
  const object = { Bucket: "bucket", Key: "folder/key.txt" };
  const content = Buffer.from("0123456789");
  /** Large enough for the client to send Expect: 100-continue. */
  const large = Buffer.alloc(4 * MiB, 7);
  const put = (Body = content) => client.send(new PutObjectCommand({ ...object, Body }));
  const get = async () => {
    const { Body } = await client.send(new GetObjectCommand(object));
    return Buffer.from((await Body?.transformToByteArray()) ?? []);
  };
  const inject = (action: Fault, operation?: string) => proxy.inject(operation ? { operation, action } : { action });

  beforeEach(async () => {
    stored = new Map();
    seen = [];
    upstream = createServer(async (incoming, response) => {
      const { method = "", url = "", headers } = incoming;
      const name = url.replace(/\?.*/, "");
      seen.push({ method, headers });
      const body = Buffer.concat(await incoming.toArray());
      if (method === "PUT") stored.set(name, body);
      const found = method === "GET" || method === "HEAD" ? stored.get(name) : Buffer.alloc(0);
      response.writeHead(found ? 200 : 404, { "content-length": found?.length ?? 0 });
      response.end(method === "GET" ? found : undefined);
    });
    proxy = await startFaultProxy(await listen(upstream));
    client = new S3Client({ ...config, endpoint: proxy.endpoint, forcePathStyle: true });
  });

  afterEach(async () => {
    client.destroy();
    await proxy.close();
    await proxy.close();
    upstream.close();
    upstream.closeAllConnections();
  });

  test("requests and replies pass unchanged", async () => {
    await put();
    expect(await get()).toEqual(content);
    expect(proxy.log).toMatchObject([
      {
        service: "s3",
        operation: "PutObject",
        method: "PUT",
        path: "/bucket/folder/key.txt?x-id=PutObject",
        status: 200,
      },
      { service: "s3", operation: "GetObject", method: "GET", status: 200 },
    ]);
    const { connection: _own, ...received } = seen[0]?.headers ?? {};
    const { connection: _sent, ...sent } = proxy.log[0]?.headers ?? {};
    expect(received).toEqual(sent);
    expect(received.host).toBe(new URL(proxy.endpoint).host);
  });

  test("operations are named", async () => {
    const upload = { ...object, UploadId: "id" };
    const part = { ...upload, PartNumber: 1 };
    const CopySource = "bucket/other";
    const sends: [string, () => Promise<unknown>][] = [
      ["ListBuckets", () => client.send(new ListBucketsCommand({}))],
      ["CreateBucket", () => client.send(new CreateBucketCommand(object))],
      ["HeadBucket", () => client.send(new HeadBucketCommand(object))],
      ["GetBucketLocation", () => client.send(new GetBucketLocationCommand(object))],
      ["ListObjectsV2", () => client.send(new ListObjectsV2Command(object))],
      ["ListObjectVersions", () => client.send(new ListObjectVersionsCommand(object))],
      ["ListMultipartUploads", () => client.send(new ListMultipartUploadsCommand(object))],
      ["DeleteObjects", () => client.send(new DeleteObjectsCommand({ ...object, Delete: { Objects: [object] } }))],
      ["DeleteBucket", () => client.send(new DeleteBucketCommand(object))],
      ["PutObject", () => put()],
      ["HeadObject", () => client.send(new HeadObjectCommand(object))],
      ["GetObject", () => get()],
      ["CopyObject", () => client.send(new CopyObjectCommand({ ...object, CopySource }))],
      ["DeleteObject", () => client.send(new DeleteObjectCommand(object))],
      ["CreateMultipartUpload", () => client.send(new CreateMultipartUploadCommand(object))],
      ["UploadPart", () => client.send(new UploadPartCommand({ ...part, Body: content }))],
      ["UploadPartCopy", () => client.send(new UploadPartCopyCommand({ ...part, CopySource }))],
      ["ListParts", () => client.send(new ListPartsCommand(upload))],
      ["CompleteMultipartUpload", () => client.send(new CompleteMultipartUploadCommand(upload))],
      ["AbortMultipartUpload", () => client.send(new AbortMultipartUploadCommand(upload))],
    ];
    // What the client makes of the empty replies does not matter here.
    for (const [, send] of sends) await send().catch(() => undefined);
    expect(proxy.log.map(({ operation }) => operation)).toEqual(sends.map(([operation]) => operation));
  });

  test("status: an XML error without a request to the target", async () => {
    inject({ kind: "status", status: 503, code: "SlowDown", message: "Reduce your request rate." }, "PutObject");
    await expect(put()).rejects.toMatchObject({
      name: "SlowDown",
      message: "Reduce your request rate.",
      $metadata: { httpStatusCode: 503 },
    });
    expect(seen).toEqual([]);
    expect(proxy.log[0]?.status).toBe(503);
    inject({ kind: "status", status: 403, code: "AccessDenied" }, "HeadObject");
    await expect(client.send(new HeadObjectCommand(object))).rejects.toMatchObject({
      $metadata: { httpStatusCode: 403 },
    });
    proxy.clear();
    await put();
    expect(await get()).toEqual(content);
  });

  test("status: also instead of 100 Continue, and after a body without it", async () => {
    inject({ kind: "status", status: 500 });
    for (const Body of [large, content]) {
      await expect(put(Body)).rejects.toMatchObject({ name: "InternalError", $metadata: { httpStatusCode: 500 } });
    }
    expect(proxy.log.map(({ headers }) => headers.expect)).toEqual(["100-continue", undefined]);
    expect(seen).toEqual([]);
    proxy.clear();
    await put(large);
    expect(large.equals(await get())).toBe(true);
  });

  test("hold: nothing is forwarded until something has happened, and then it is, or fails as told", async () => {
    let happen = () => {};
    const until = new Promise<void>((resolve) => {
      happen = resolve;
    });
    inject({ kind: "hold", until }, "PutObject");
    inject({ kind: "hold", until, fault: { kind: "status", status: 418, code: "Teapot" } }, "GetObject");
    const answers: unknown[] = [];
    const [forwarded, failed] = [put(large), errorOf(get())].map((sent) => sent.finally(() => answers.push(sent)));
    await expect.poll(() => proxy.log.length).toBe(2);
    expect({ seen, answers }).toEqual({ seen: [], answers: [] });
    happen();
    await forwarded;
    expect(await failed).toMatchObject({ name: "Teapot" });
    expect(seen).toHaveLength(1);
  });

  test("answer: whatever the test replies, also to a body that waits for 100 Continue", async () => {
    const reply = (response: ServerResponse, { headers }: IncomingMessage) =>
      response.writeHead(418).end(`<Error><Code>Teapot</Code><Message>${headers["content-length"]}</Message></Error>`);
    inject({ kind: "answer", reply });
    for (const Body of [large, content]) {
      await expect(put(Body)).rejects.toMatchObject({ name: "Teapot", message: String(Body.length) });
    }
    expect(seen).toEqual([]);
  });

  test("100 Continue is left to the target", async () => {
    upstream.once("checkContinue", (_incoming, response) => {
      response.writeHead(403, { "content-length": 0, connection: "close" }).end();
    });
    await expect(put(large)).rejects.toMatchObject({ $metadata: { httpStatusCode: 403 } });
    await put(large);
    expect(seen).toHaveLength(1);
    expect(seen[0]?.headers.expect).toBe("100-continue");
    expect(large.equals(await get())).toBe(true);
  });

  test.each(["target", "proxy"])("a refusal by the %s before 100 Continue ends the connection", async (who) => {
    if (who === "proxy") inject({ kind: "status", status: 403 });
    upstream.once("checkContinue", (_incoming, response) => response.writeHead(403).end());
    const headers = { expect: "100-continue", "content-length": 10 };
    const outgoing = request(`${proxy.endpoint}/bucket/key`, { method: "PUT", headers }).on("error", () => undefined);
    const [reply] = (await once(outgoing, "response")) as [IncomingMessage];
    expect(reply.statusCode).toBe(403);
    expect(reply.headers.connection).toBe("close");
    outgoing.destroy();
  });

  test("reset", async () => {
    inject({ kind: "reset" }, "PutObject");
    await expect(put()).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(seen).toEqual([]);
    expect(proxy.log[0]?.status).toBe(0);
  });

  /** What the target gets of the next request's body. */
  function arrival(): Promise<{ bytes: number; whole: boolean }> {
    return new Promise((resolve) => {
      upstream.removeAllListeners("request").once("request", (incoming: IncomingMessage) => {
        let bytes = 0;
        incoming.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
        });
        incoming.on("error", () => undefined).on("close", () => resolve({ bytes, whole: incoming.complete }));
      });
    });
  }

  test.each([
    ["a small body", content, 4, 4],
    ["a small body, however many bytes are asked for", content, 1000, 9],
    ["a body behind 100 Continue", large, 3 * MiB + 1, 3 * MiB + 1],
  ])("break-body: %s", async (_what, body, bytes, arrives) => {
    const arrived = arrival();
    inject({ kind: "break-body", bytes }, "PutObject");
    expect(await errorOf(put(body))).toHaveProperty("code", expect.stringMatching(/^(ECONNRESET|EPIPE)$/));
    expect(await arrived).toEqual({ bytes: arrives, whole: false });
    expect(proxy.log[0]?.status).toBe(0);
  });

  test("break-body: the end of a body of unknown length is kept back", async () => {
    const arrived = arrival();
    inject({ kind: "break-body", bytes: 1000 });
    const outgoing = request(`${proxy.endpoint}/bucket/key`, { method: "PUT" });
    outgoing.write("0123456789");
    outgoing.end();
    await expect(once(outgoing, "response")).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(await arrived).toEqual({ bytes: 10, whole: false });
  });

  test("break-body: a request without one is not forwarded", async () => {
    inject({ kind: "break-body", bytes: 4 }, "HeadObject");
    await expect(client.send(new HeadObjectCommand(object))).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(seen).toEqual([]);
    expect(proxy.log[0]?.status).toBe(0);
  });

  test("lose-reply", async () => {
    inject({ kind: "lose-reply" }, "PutObject");
    await expect(put()).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(stored.get("/bucket/folder/key.txt")).toEqual(content);
    expect(proxy.log[0]?.status).toBe(200);
  });

  test("delay", async () => {
    inject({ kind: "delay", ms: 200 }, "PutObject");
    const start = performance.now();
    await put();
    expect(performance.now() - start).toBeGreaterThan(190);
    expect(await get()).toEqual(content);
  });

  test("black-hole", async () => {
    inject({ kind: "black-hole" });
    const options = { abortSignal: AbortSignal.timeout(150) };
    await expect(client.send(new GetObjectCommand(object), options)).rejects.toMatchObject({ name: "AbortError" });
    const pending = errorOf(get());
    await expect.poll(() => proxy.log.length).toBe(2);
    await proxy.close();
    expect(await pending).toMatchObject({ code: "ECONNRESET" });
    expect(seen).toEqual([]);
  });

  test.each([0, 4])("truncate after %i bytes", async (bytes) => {
    await put();
    inject({ kind: "truncate", bytes }, "GetObject");
    const { Body, ContentLength } = await client.send(new GetObjectCommand(object));
    expect(ContentLength).toBe(10);
    const received: Buffer[] = [];
    const read = async () => {
      for await (const chunk of Body as Readable) received.push(chunk);
    };
    await expect(read()).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(Buffer.concat(received).toString()).toBe("0123456789".slice(0, bytes));
  });

  test("truncate keeps to its size in a large reply", async () => {
    await put(large);
    const bytes = 3 * MiB + 1;
    inject({ kind: "truncate", bytes }, "GetObject");
    const { Body } = await client.send(new GetObjectCommand(object));
    let received = 0;
    const read = async () => {
      for await (const chunk of Body as Readable) received += chunk.length;
    };
    await expect(read()).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(received).toBe(bytes);
  });

  test("flip-byte", async () => {
    inject({ kind: "flip-byte", offset: 3, in: "request" }, "PutObject");
    await put();
    const flipped = Buffer.from(content).fill(0x33 ^ 0xff, 3, 4);
    expect(stored.get("/bucket/folder/key.txt")).toEqual(flipped);
    inject({ kind: "flip-byte", offset: 3, in: "reply" }, "GetObject");
    expect(await get()).toEqual(content);
  });

  test("flip-byte in a later chunk", async () => {
    const offset = 3 * MiB + 1;
    inject({ kind: "flip-byte", offset, in: "request" }, "PutObject");
    await put(large);
    expect((await get()).equals(Buffer.from(large).fill(7 ^ 0xff, offset, offset + 1))).toBe(true);
  });

  test("nth and times choose among the matches", async () => {
    const outcomes = async (count: number) => {
      const list: number[] = [];
      for (let i = 0; i < count; i += 1) {
        const { status } = await fetch(`${proxy.endpoint}/bucket/key`, { method: "PUT", body: "x" });
        list.push(status);
      }
      return list;
    };
    const action = (status: number): Fault => ({ kind: "status", status });
    proxy.inject({ nth: 2, action: action(501) });
    expect(await outcomes(3)).toEqual([200, 501, 200]);
    proxy.inject({ times: 2, action: action(502) });
    expect(await outcomes(3)).toEqual([502, 502, 200]);
    proxy.inject({ nth: 2, times: 2, action: action(503) });
    expect(await outcomes(4)).toEqual([200, 503, 503, 200]);
    proxy.inject({ operation: "GetObject", action: action(504) });
    proxy.inject({ operation: (entry) => entry.path.endsWith("/key"), action: action(505) });
    proxy.inject({ action: action(506) });
    expect(await outcomes(2)).toEqual([505, 505]);
    proxy.clear();
    expect(await outcomes(1)).toEqual([200]);
  });

  test("a target that is gone breaks the connection", async () => {
    upstream.close();
    await expect(put()).rejects.toMatchObject({ code: "ECONNRESET" });
  });
});

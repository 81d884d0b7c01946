/** How long a request may take until it is given up: what counts as progress, and whose fault it is when there is none. */
import { once } from "node:events";
import { createServer, get, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { expectContent, expectLate, limitResponseTime, type RequestHandler } from "../../src/aws/answer-deadlines.ts";

const tooSlow = { name: "TimeoutError" };
const kibibyte = 1024;

/** Asks a server, as the SDK's handler does. */
async function askServer(timeout: number, answer: (to: ServerResponse) => void) {
  const server = createServer((_, to) => answer(to)).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const handler: RequestHandler = {
    handle: (_request, options) =>
      new Promise((resolve, reject) => {
        const { port } = server.address() as AddressInfo;
        get({ host: "127.0.0.1", port, signal: options?.abortSignal }, (body) => resolve({ response: { body } })).on(
          "error",
          reject,
        );
      }),
  };
  limitResponseTime(handler, timeout);
  const { response } = await handler.handle({ method: "GET" });
  return response.body as IncomingMessage;
}

/** Writes so many bytes every 50 ms, for as long as somebody listens. */
function pour(to: ServerResponse, bytes: number, all = Number.POSITIVE_INFINITY): void {
  let left = all;
  const timer = setInterval(() => {
    to.write(Buffer.alloc(Math.min(bytes, left)));
    left -= bytes;
    if (left <= 0) to.end();
  }, 50);
  to.on("close", () => clearInterval(timer));
}

async function sizeOf(body: Readable): Promise<number> {
  let size = 0;
  for await (const chunk of body) size += chunk.length;
  return size;
}

describe("an answer", () => {
  test("is given up that is not complete in time, however much of it comes", async () => {
    const body = await askServer(1_000, (to) => pour(to, 100 * kibibyte));
    await expect(sizeOf(body)).rejects.toMatchObject(tooSlow);
  });

  test("may be late where that is known", async () => {
    const body = await askServer(1_000, (to) => pour(to, 1, 40));
    expectLate(body, 10);
    expect(await sizeOf(body)).toBe(40);
  });

  test("that is complete is not looked at any more", async () => {
    const body = await askServer(1_000, (to) => to.end("done"));
    expect(await sizeOf(body)).toBe(4);
    await sleep(1_500);
    expect(body.errored).toBeNull();
  });
});

describe("content", () => {
  test("may take any time, while it comes at 64 KiB in the time limit", async () => {
    const body = await askServer(1_000, (to) => pour(to, 10 * kibibyte, 600 * kibibyte));
    expectContent(body);
    expect(await sizeOf(body)).toBe(600 * kibibyte);
  });

  test("is given up that comes more slowly", async () => {
    const body = await askServer(2_000, (to) => pour(to, kibibyte));
    expectContent(body);
    await expect(sizeOf(body)).rejects.toMatchObject(tooSlow);
  });

  test("is not given up because it is used slowly", async () => {
    const body = await askServer(1_000, (to) => to.end(Buffer.alloc(4 * kibibyte * kibibyte)));
    expectContent(body);
    const chunks = body[Symbol.asyncIterator]();
    let size = (await chunks.next()).value.length;
    await sleep(2_500);
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) size += next.value.length;
    expect(size).toBe(4 * kibibyte * kibibyte);
  });
});

describe("the body of a request", () => {
  const slice = 256 * kibibyte;
  const part = Buffer.alloc(4 * slice, "part");

  /** Takes the body of a request at some pace, and then answers or does not. */
  function handlerThat(takes: (body: AsyncIterable<Buffer>, signal: AbortSignal) => Promise<void>): RequestHandler {
    const handler: RequestHandler = {
      async handle({ body }, options) {
        const signal = options?.abortSignal ?? new AbortController().signal;
        await takes(body as AsyncIterable<Buffer>, signal);
        return { response: {} };
      },
    };
    limitResponseTime(handler, 250);
    return handler;
  }
  const never = (signal: AbortSignal) => sleep(60_000, undefined, { signal });

  test("may take any time, while it is taken at 64 KiB in the time limit", async () => {
    const taken: Buffer[] = [];
    const handler = handlerThat(async (body) => {
      for await (const chunk of body) {
        taken.push(chunk);
        await sleep(400);
      }
    });
    await handler.handle({ method: "PUT", body: part });
    expect(taken.length).toBeGreaterThan(1);
    expect(Buffer.concat(taken).equals(part)).toBe(true);
  });

  test("is given up that is not taken on", async () => {
    const handler = handlerThat(async (body, signal) => {
      for await (const _ of body) await never(signal);
    });
    const since = performance.now();
    await expect(handler.handle({ method: "PUT", body: part })).rejects.toMatchObject(tooSlow);
    expect(performance.now() - since).toBeGreaterThan(900);
  });

  test("is given up where no answer comes once all of it has left", async () => {
    const handler = handlerThat(async (body, signal) => {
      for await (const _ of body);
      await never(signal);
    });
    await expect(handler.handle({ method: "PUT", body: part })).rejects.toMatchObject(tooSlow);
  });

  test("is not sent on after a signal", async () => {
    const stop = new AbortController();
    const handler = handlerThat(async (body, signal) => {
      for await (const _ of body) await never(signal);
    });
    const sent = handler.handle({ method: "PUT", body: part }, { abortSignal: stop.signal });
    stop.abort();
    await expect(sent).rejects.toMatchObject({ name: "AbortError" });
    await expect(
      handler.handle({ method: "PUT", body: part }, { abortSignal: AbortSignal.abort() }),
    ).rejects.toMatchObject({ name: "AbortError" });
  });
});

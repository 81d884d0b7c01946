/** `--connections`: no more requests are on their way at a time, and who waits for one is not given up. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { HeadObjectCommand } from "@aws-sdk/client-s3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { connect } from "../../src/storage/s3/client.ts";
import { awsSettings } from "../support/aws.ts";

/** Milliseconds that each answer takes. */
const delay = 450;
let [open, most] = [0, 0];
const server = createServer((_request, response) => {
  open += 1;
  most = Math.max(most, open);
  setTimeout(() => {
    open -= 1;
    response.end();
  }, delay);
});

beforeEach(async () => {
  [open, most] = [0, 0];
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterEach(() => {
  server.close();
  server.closeAllConnections();
});

test.each([
  [2, 2],
  [undefined, 10],
])("with %s connections, %s of ten requests are on their way at a time", async (connections, expected) => {
  const { port } = server.address() as AddressInfo;
  // The last one waits longer than a connection may take to open, which is half of the time limit.
  const client = await connect(awsSettings(`http://127.0.0.1:${port}`, { connections, timeout: 3000, retries: 0 }));
  const requests = Array.from({ length: 10 }, async (_, number) => {
    return await client.send(new HeadObjectCommand({ Bucket: "bucket", Key: `${number}` }));
  });
  await Promise.all(requests);
  expect(most).toBe(expected);
  client.destroy();
});

test("a request that fails, or is given up, frees its connection", async () => {
  const { port } = server.address() as AddressInfo;
  const client = await connect(awsSettings(`http://127.0.0.1:${port}`, { connections: 1, retries: 0 }));
  const head = async (abortSignal: AbortSignal) =>
    await client.send(new HeadObjectCommand({ Bucket: "bucket", Key: "a" }), { abortSignal });
  const givenUp = AbortSignal.timeout(delay / 3);
  await expect(Promise.all([head(givenUp), head(givenUp)])).rejects.toThrow();
  await expect(head(AbortSignal.timeout(60_000))).resolves.toBeDefined();
  client.destroy();
});

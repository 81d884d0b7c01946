/**
 * An S3 and a DynamoDB that cost next to nothing, so that what is measured is the client: of a body only the length
 * is kept, of a table the items, of everything how often it was asked for. Buckets and tables exist as soon as they
 * are named, nobody's signature is verified, and checksums are believed. A process of its own, told what to do by
 * messages: see {@link EndpointMessage}.
 */
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { certificate, key } from "../support/tls-proxy.ts";
import { NullDynamoDb } from "./null-dynamodb.ts";
import { NullS3 } from "./null-s3.ts";

export type EndpointMessage =
  /** Forgets everything, and answers from now on after so many milliseconds. */
  | { readonly reset: { readonly latency: number } }
  /** Asks for {@link EndpointCounts}. */
  | { readonly counts: true };

export interface EndpointReady {
  readonly http: string;
  readonly https: string;
}

/** Requests since the last reset, by what they asked for. */
export type EndpointCounts = Readonly<Record<string, number>>;

/** What one of the two services makes of a request. */
export interface NullReply {
  /** What is counted. */
  readonly operation: string;
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

let s3 = new NullS3();
let dynamoDb = new NullDynamoDb();
let latency = 0;
let counts: Record<string, number> = {};

function handle(request: IncomingMessage, response: ServerResponse): void {
  const { headers } = request;
  const target = headers["x-amz-target"];
  // Only what has to be understood is kept: the bytes of objects are counted and dropped.
  const keep = target !== undefined || request.method === "POST";
  const kept: Buffer[] = [];
  let length = 0;
  request.on("data", (chunk: Buffer) => {
    length += chunk.length;
    if (keep) kept.push(chunk);
  });
  request.on("end", () => {
    const text = keep ? Buffer.concat(kept).toString() : "";
    const reply = target === undefined ? s3.answer(request, length, text) : dynamoDb.answer(String(target), text);
    counts[reply.operation] = (counts[reply.operation] ?? 0) + 1;
    if (latency === 0) send(response, reply);
    else setTimeout(send, latency, response, reply);
  });
}

function send(response: ServerResponse, { status = 200, headers = {}, body = "" }: NullReply): void {
  response.writeHead(status, { "content-length": Buffer.byteLength(body), "x-amz-request-id": "null", ...headers });
  response.end(body);
}

const servers = [createHttpServer(handle), createHttpsServer({ key, cert: certificate }, handle)] as const;
for (const server of servers) {
  server.keepAliveTimeout = 120_000;
  server.requestTimeout = 0;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
}
const [http, https] = servers.map((server) => (server.address() as AddressInfo).port);
process.send?.({ http: `http://127.0.0.1:${http}`, https: `https://127.0.0.1:${https}` } satisfies EndpointReady);

process.on("message", (message: EndpointMessage) => {
  if ("reset" in message) {
    s3 = new NullS3();
    dynamoDb = new NullDynamoDb();
    latency = message.reset.latency;
    counts = {};
  }
  process.send?.(counts satisfies EndpointCounts);
});
// With the program that started it, however that ended.
process.on("disconnect", () => process.exit(0));

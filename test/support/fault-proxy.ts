import { once } from "node:events";
import {
  Agent,
  type ClientRequest,
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { type Readable, Transform } from "node:stream";

export interface ProxiedRequest {
  service: "s3" | "dynamodb";
  operation: string;
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  /** Of the injected or the target's reply, even when that is lost; 0 when there is none (yet). */
  status: number;
}

export type Fault =
  /** Answered here, never forwarded. */
  | { kind: "status"; status: number; code?: string; message?: string }
  /** Answered by the test, once the request was read to its end; never forwarded. */
  | { kind: "answer"; reply: (response: ServerResponse, incoming: IncomingMessage) => void }
  /** The connection breaks before anything is forwarded. */
  | { kind: "reset" }
  /** Both connections break when the target has so many bytes of the request's body, at most all but one. */
  | { kind: "break-body"; bytes: number }
  /** Forwarded to the end; the reply is read and dropped, then the connection breaks. */
  | { kind: "lose-reply" }
  /** Forwarded after a pause. */
  | { kind: "delay"; ms: number }
  /** Held back until something has happened; then forwarded, or treated as told. */
  | { kind: "hold"; until: Promise<unknown>; fault?: Fault }
  /** Accepted, never forwarded and never answered. */
  | { kind: "black-hole" }
  /** The reply keeps its headers, its body breaks off after so many bytes. */
  | { kind: "truncate"; bytes: number }
  /** The reply says that it is so many milliseconds later. */
  | { kind: "shift-date"; ms: number }
  /** What the reply lists was stored, or begun, so many milliseconds earlier. */
  | { kind: "age"; ms: number }
  /** One byte of the body, counted as on the wire (aws-chunked framing included), is inverted. */
  | { kind: "flip-byte"; offset: number; in: "request" | "reply" };

export interface FaultRule {
  /** Default: every request. */
  operation?: string | ((request: ProxiedRequest) => boolean);
  /** The first match to act on, counted from 1 since inject(); default: act on every match. */
  nth?: number;
  /** How many matches to act on; default: 1 with `nth`, else no limit. */
  times?: number;
  action: Fault;
}

export interface FaultProxy {
  endpoint: string;
  /** Every request in order of arrival. */
  log: ProxiedRequest[];
  /** Every rule counts every request that it matches; of the rules due, the one injected first acts. */
  inject(rule: FaultRule): void;
  clear(): void;
  close(): Promise<void>;
}

/** The first query parameter present decides, "" stands for none of them. */
const BUCKET_OPERATIONS: Record<string, Record<string, string>> = {
  GET: {
    uploads: "ListMultipartUploads",
    versions: "ListObjectVersions",
    location: "GetBucketLocation",
    versioning: "GetBucketVersioning",
    encryption: "GetBucketEncryption",
    lifecycle: "GetBucketLifecycleConfiguration",
    policy: "GetBucketPolicy",
    tagging: "GetBucketTagging",
    publicAccessBlock: "GetPublicAccessBlock",
    ownershipControls: "GetBucketOwnershipControls",
    "list-type": "ListObjectsV2",
    "": "ListObjects",
  },
  PUT: {
    versioning: "PutBucketVersioning",
    encryption: "PutBucketEncryption",
    lifecycle: "PutBucketLifecycleConfiguration",
    policy: "PutBucketPolicy",
    tagging: "PutBucketTagging",
    publicAccessBlock: "PutPublicAccessBlock",
    ownershipControls: "PutBucketOwnershipControls",
    "": "CreateBucket",
  },
  POST: { delete: "DeleteObjects" },
  HEAD: { "": "HeadBucket" },
  DELETE: { lifecycle: "DeleteBucketLifecycle", policy: "DeleteBucketPolicy", "": "DeleteBucket" },
};

const OBJECT_OPERATIONS: Record<string, Record<string, string>> = {
  GET: { uploadId: "ListParts", attributes: "GetObjectAttributes", tagging: "GetObjectTagging", "": "GetObject" },
  PUT: { uploadId: "UploadPart", tagging: "PutObjectTagging", "": "PutObject" },
  POST: { uploads: "CreateMultipartUpload", uploadId: "CompleteMultipartUpload", restore: "RestoreObject" },
  HEAD: { "": "HeadObject" },
  DELETE: { uploadId: "AbortMultipartUpload", tagging: "DeleteObjectTagging", "": "DeleteObject" },
};

/** Expects path-style addresses, which the SDK uses with an IP address as its endpoint. */
function s3Operation(method: string, path: string, headers: IncomingHttpHeaders): string {
  const url = new URL(path, "http://localhost");
  const [, bucket, ...key] = url.pathname.split("/");
  if (!bucket) return method === "GET" ? "ListBuckets" : method;
  const operations = (key.join("/") === "" ? BUCKET_OPERATIONS : OBJECT_OPERATIONS)[method] ?? {};
  const found = Object.entries(operations).find(([parameter]) => parameter === "" || url.searchParams.has(parameter));
  const operation = found?.[1] ?? method;
  if (!headers["x-amz-copy-source"]) return operation;
  return operation === "UploadPart" ? "UploadPartCopy" : operation === "PutObject" ? "CopyObject" : operation;
}

function describeRequest({ method = "GET", url = "/", headers }: IncomingMessage): ProxiedRequest {
  const [, action] = /^DynamoDB_\w+\.(\w+)$/.exec(String(headers["x-amz-target"])) ?? [];
  const named = action
    ? { service: "dynamodb" as const, operation: action }
    : { service: "s3" as const, operation: s3Operation(method, url, headers) };
  return { ...named, method, path: url, headers, status: 0 };
}

function withoutConnectionHeaders(raw: string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const [name = "", value = ""] = raw.slice(i, i + 2);
    if (!/^(connection|keep-alive)$/i.test(name)) kept.push(name, value);
  }
  return kept;
}

function withShiftedDate(raw: string[], ms: number): string[] {
  const isDate = (index: number) => index % 2 === 1 && /^date$/i.test(raw[index - 1] ?? "");
  return raw.map((text, index) => (isDate(index) ? new Date(Date.parse(text) + ms).toUTCString() : text));
}

function withAge(stream: Readable, fault: Fault | undefined): Readable {
  if (fault?.kind !== "age") return stream;
  const chunks: Buffer[] = [];
  const earlier = (time: string) => new Date(Date.parse(time) - fault.ms).toISOString();
  const aged = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      chunks.push(chunk);
      done();
    },
    flush(done) {
      const text = Buffer.concat(chunks).toString("latin1");
      // As long as before: the length was announced.
      const times = /(?<=<(?:LastModified|Initiated)>)[^<]{23}Z/g;
      done(null, Buffer.from(text.replace(times, earlier), "latin1"));
    },
  });
  return stream.pipe(aged);
}

function withFlippedByte(stream: Readable, side: "request" | "reply", fault: Fault | undefined): Readable {
  if (fault?.kind !== "flip-byte" || fault.in !== side) return stream;
  let start = 0;
  const flip = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const index = fault.offset - start;
      start += chunk.length;
      if (index < 0 || index >= chunk.length) return done(null, chunk);
      const changed = Buffer.from(chunk);
      changed.writeUInt8(changed.readUInt8(index) ^ 0xff, index);
      done(null, changed);
    },
  });
  return stream.pipe(flip);
}

/** Hands on the first bytes of a body and calls `breakOff` once they have left, or once that was all. */
function passStartOfBody(
  incoming: IncomingMessage,
  outgoing: ClientRequest,
  bytes: number,
  breakOff: () => void,
): void {
  let [left, underWay, ended] = [bytes, 0, false];
  const check = () => underWay === 0 && (left === 0 || ended) && breakOff();
  incoming.on("data", (chunk: Buffer) => {
    if (left === 0) return;
    const start = chunk.subarray(0, left);
    left -= start.length;
    underWay += 1;
    const flushed = outgoing.write(start, () => {
      underWay -= 1;
      check();
    });
    if (!flushed) {
      incoming.pause();
      outgoing.once("drain", () => incoming.resume());
    }
  });
  // Of a body of unknown length, what would end it is kept back.
  incoming.on("end", () => {
    ended = true;
    check();
  });
}

function passStart(reply: IncomingMessage, response: ServerResponse, bytes: number): void {
  // Unlike destroy(), this sends what has been written.
  const breakOff = () => response.socket?.destroySoon();
  let left = bytes;
  response.flushHeaders();
  reply.on("end", breakOff);
  reply.on("data", (chunk: Buffer) => {
    const flushed = response.write(chunk.subarray(0, left));
    left -= chunk.length;
    if (left <= 0) {
      reply.destroy();
      breakOff();
    } else if (!flushed) {
      reply.pause();
      response.once("drain", () => reply.resume());
    }
  });
}

/** More than a byte of it: something to break in the middle. */
function hasBody({ headers }: Pick<IncomingMessage, "headers">): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 1;
}

function answerWithStatus(
  entry: ProxiedRequest,
  fault: Fault & { kind: "status" },
  incoming: IncomingMessage,
  response: ServerResponse,
): void {
  const { status, message = "Injected by the fault proxy" } = fault;
  const isS3 = entry.service === "s3";
  const code = fault.code ?? (isS3 ? "InternalError" : "InternalServerError");
  const body = isS3
    ? `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`
    : JSON.stringify({ __type: `com.amazonaws.dynamodb.v20120810#${code}`, message });
  const answer = () => {
    entry.status = status;
    response.writeHead(status, {
      "content-type": isS3 ? "application/xml" : "application/x-amz-json-1.0",
      [isS3 ? "x-amz-request-id" : "x-amzn-requestid"]: "fault-proxy",
      ...(entry.method === "HEAD" ? {} : { "content-length": Buffer.byteLength(body) }),
      // A client refused before 100 Continue must not send the body, so this connection cannot serve another request.
      ...(incoming.headers.expect ? { connection: "close" } : {}),
    });
    response.end(entry.method === "HEAD" ? undefined : body);
  };
  // A reply in the middle of the request's body could be lost with the connection.
  if (incoming.headers.expect) answer();
  else incoming.on("end", answer).resume();
}

export async function startFaultProxy(target: string): Promise<FaultProxy> {
  const { hostname, port } = new URL(target);
  // Without reuse, no request of a test can meet a connection that the target is just closing.
  const agent = new Agent({ keepAlive: false });
  const log: ProxiedRequest[] = [];
  const timers = new Set<NodeJS.Timeout>();
  let rules: { rule: FaultRule; matched: number; acted: number }[] = [];

  function nextFault(entry: ProxiedRequest): Fault | undefined {
    let fault: Fault | undefined;
    for (const state of rules) {
      const { operation = entry.operation, nth, times = nth === undefined ? Number.POSITIVE_INFINITY : 1 } = state.rule;
      if (!(typeof operation === "function" ? operation(entry) : operation === entry.operation)) continue;
      state.matched += 1;
      if (fault || state.matched < (nth ?? 1) || state.acted >= times) continue;
      state.acted += 1;
      fault = state.rule.action;
    }
    return fault;
  }

  function forward(entry: ProxiedRequest, incoming: IncomingMessage, response: ServerResponse, fault?: Fault): void {
    const headers = withoutConnectionHeaders(incoming.rawHeaders);
    const { "content-length": length, "transfer-encoding": encoding } = incoming.headers;
    // Node would take a PUT or POST without either for one of unknown length.
    if (length === undefined && encoding === undefined) headers.push("Content-Length", "0");
    const outgoing = request({ hostname, port, agent, method: entry.method, path: entry.path, headers });
    let awaitsContinue = incoming.headers.expect !== undefined;
    outgoing.on("continue", () => {
      awaitsContinue = false;
      response.writeContinue();
    });
    outgoing.on("error", () => {
      if (!response.headersSent) response.destroy();
    });
    response.on("close", () => {
      if (!response.writableFinished) outgoing.destroy();
    });
    if (fault?.kind === "break-body") {
      passStartOfBody(incoming, outgoing, Math.min(fault.bytes, Number(length ?? Number.POSITIVE_INFINITY) - 1), () => {
        outgoing.destroy();
        response.destroy();
      });
    } else withFlippedByte(incoming, "request", fault).pipe(outgoing);
    outgoing.on("response", (reply) => {
      entry.status = reply.statusCode ?? 0;
      reply.on("error", () => response.destroy());
      if (fault?.kind === "lose-reply") {
        reply.on("end", () => response.destroy()).resume();
        return;
      }
      const kept = withoutConnectionHeaders(reply.rawHeaders);
      const replyHeaders = fault?.kind === "shift-date" ? withShiftedDate(kept, fault.ms) : kept;
      if (awaitsContinue) replyHeaders.push("Connection", "close");
      response.writeHead(entry.status, reply.statusMessage, replyHeaders);
      if (fault?.kind === "truncate") passStart(reply, response, fault.bytes);
      else withAge(withFlippedByte(reply, "reply", fault), fault).pipe(response);
    });
  }

  function handle(incoming: IncomingMessage, response: ServerResponse): void {
    const entry = describeRequest(incoming);
    log.push(entry);
    act(entry, nextFault(entry), incoming, response);
  }

  function act(
    entry: ProxiedRequest,
    fault: Fault | undefined,
    incoming: IncomingMessage,
    response: ServerResponse,
  ): void {
    if (fault?.kind === "hold") {
      const goOn = () => {
        if (!response.destroyed) act(entry, fault.fault, incoming, response);
      };
      fault.until.then(goOn, goOn);
    } else if (fault?.kind === "status") {
      answerWithStatus(entry, fault, incoming, response);
    } else if (fault?.kind === "answer") {
      if (incoming.headers.expect) response.writeContinue();
      incoming.on("end", () => fault.reply(response, incoming)).resume();
    } else if (fault?.kind === "reset" || (fault?.kind === "break-body" && !hasBody(incoming))) {
      incoming.socket.destroy();
    } else if (fault?.kind === "black-hole") {
      incoming.resume();
    } else if (fault?.kind === "delay") {
      const timer = setTimeout(() => {
        timers.delete(timer);
        if (!response.destroyed) forward(entry, incoming, response);
      }, fault.ms);
      timers.add(timer);
    } else {
      forward(entry, incoming, response, fault);
    }
  }

  const server = createServer(handle);
  // With a listener, 100 Continue is the target's to send.
  server.on("checkContinue", handle);
  // The SDK keeps connections open, and a server that drops an idle one makes its next request fail.
  server.keepAliveTimeout = 0;
  server.requestTimeout = 0;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port: ownPort } = server.address() as AddressInfo;

  async function shutDown(): Promise<void> {
    for (const timer of timers) clearTimeout(timer);
    const closed = once(server, "close");
    server.close();
    server.closeAllConnections();
    agent.destroy();
    await closed;
  }
  let closed: Promise<void> | undefined;
  return {
    endpoint: `http://127.0.0.1:${ownPort}`,
    log,
    inject: (rule) => {
      rules.push({ rule, matched: 0, acted: 0 });
    },
    clear: () => {
      rules = [];
    },
    close: () => {
      closed ??= shutDown();
      return closed;
    },
  };
}

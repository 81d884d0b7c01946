// An in-memory S3 for tests that refuses what Amazon S3 refuses. Signatures are verified in addresses, not in headers;
// bucket policies and lifecycle rules are kept but not acted upon; there are no versions, tags, ACLs or object locks. A request for
// something that is not here is answered 501 NotImplemented, so that the test that needs it notices.
import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { checkAuthorization } from "./s3/authorization.ts";
import { findBucket } from "./s3/buckets.ts";
import type { Checksum } from "./s3/checksums.ts";
import { notImplemented, S3Error } from "./s3/errors.ts";
import type { Reply, Unread } from "./s3/handler.ts";
import { findOperation, OPERATIONS } from "./s3/operations.ts";
import type { Headers } from "./s3/parameters.ts";
import { readPayload } from "./s3/payload.ts";
import { checkPresigned, isPresigned, withoutSignature } from "./s3/presigned.ts";
import {
  type Bucket,
  type MultipartUpload,
  newBucket,
  type S3ServerOptions,
  type StoredObject,
  type StoredPart,
} from "./s3/state.ts";
import { xmlDocument } from "./s3/xml.ts";

export type { Bucket, Checksum, MultipartUpload, S3ServerOptions, StoredObject, StoredPart };

export interface RecordedRequest {
  /** The name of the operation; for one the server does not know, what the SDK calls it, or the method. */
  readonly operation: string;
  readonly method: string;
  /** As sent, percent-encoded and without the query. */
  readonly path: string;
  readonly query: Headers;
  readonly headers: Headers;
  /** Length of the payload after removal of the aws-chunked encoding. */
  bodyBytes: number;
  /** 0 until answered; stays 0 when the client goes away before its request is complete. */
  status: number;
}

export interface S3Server {
  readonly endpoint: string;
  /** In order of arrival. */
  readonly requests: RecordedRequest[];
  readonly buckets: Map<string, Bucket>;
  reset(): void;
  close(): Promise<void>;
}

const UNSUPPORTED_HEADERS =
  /^(if-(un)?modified-since|x-amz-(acl|tagging|grant-.*|object-lock-.*|server-side-encryption-customer-.*|write-offset-bytes|mfa|if-match-.*|checksum-(sha512|md5|xxhash.*)))$/;

/** Nothing here waits, so that no other request can come between a condition and the write it guards. */
function answer(raw: Buffer, context: Unread, record: RecordedRequest): Reply {
  const { options, operation } = context;
  let { headers } = context;
  if (isPresigned(record.query)) {
    checkPresigned(record, options);
    headers = { "x-amz-content-sha256": "UNSIGNED-PAYLOAD", ...headers };
  } else checkAuthorization(headers, options.region, options.accessKeyId);
  const [, handler] = OPERATIONS[operation] ?? [];
  if (handler === undefined || options.without?.includes(operation) === true) {
    throw new S3Error(501, "NotImplemented", `${operation} is not implemented`);
  }
  const unsupported = Object.keys(headers).find((name) => UNSUPPORTED_HEADERS.test(name));
  if (unsupported !== undefined) throw notImplemented(unsupported);
  const bucket = operation === "ListBuckets" ? newBucket(options) : findBucket(context);
  const payload = readPayload(raw, headers, operation);
  record.bodyBytes = payload.body.length;
  return handler({ ...context, ...payload }, bucket);
}

function errorReply(error: unknown, RequestId: string, region: string): Reply {
  const { status, code, message, extra } =
    error instanceof S3Error ? error : new S3Error(500, "InternalError", `bug in the test server: ${String(error)}`);
  const headers = { "content-type": "application/xml", "x-amz-bucket-region": region };
  return { status, headers, body: xmlDocument("Error", { Code: code, Message: message, ...extra, RequestId }) };
}

async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of request) chunks.push(chunk);
    return Buffer.concat(chunks);
  } catch {
    return undefined; // the client went away
  }
}

export async function startS3Server(options: S3ServerOptions = {}): Promise<S3Server> {
  const { region = "us-east-1", ownerAccount = "123456789012" } = options;
  const requests: RecordedRequest[] = [];
  const buckets = new Map<string, Bucket>();

  const server = createServer(async (request, response) => {
    const { method = "", url = "" } = request;
    // Not new URL(), which would resolve the dots of a key like a/../b.
    const [path = "", search = ""] = url.split(/\?(.*)/s);
    const [, bucketName = "", key = ""] = /^\/([^/]*)\/?(.*)$/s.exec(decodePath(path)) ?? [];
    const sent = Object.fromEntries(new URLSearchParams(search));
    const query = withoutSignature(sent);
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
    const isCopy = headers["x-amz-copy-source"] !== undefined;
    const operation = findOperation(method, bucketName, key, query, isCopy) ?? query["x-id"] ?? method;
    const record: RecordedRequest = { operation, method, path, query: sent, headers, bodyBytes: 0, status: 0 };
    requests.push(record);
    const raw = await readBody(request);
    if (raw === undefined) return;
    record.bodyBytes = raw.length;
    const requestId = randomBytes(8).toString("hex").toUpperCase();
    let reply: Reply;
    try {
      const state = { options: { ...options, region, ownerAccount }, buckets };
      reply = answer(raw, { ...state, operation, bucketName, key, query, headers }, record);
    } catch (error) {
      reply = errorReply(error, requestId, region);
    }
    record.status = reply.status;
    response.statusCode = reply.status;
    const all = { "x-amz-request-id": requestId, "x-amz-id-2": "test", server: "AmazonS3", ...reply.headers };
    for (const [name, value] of Object.entries(all)) if (value !== undefined) response.setHeader(name, value);
    response.end(method === "HEAD" ? undefined : reply.body);
  });
  // Longer than a test lasts: a client that uses a connection again must not meet its end.
  server.keepAliveTimeout = 120_000;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;

  let closed: Promise<void> | undefined;
  return {
    endpoint: `http://127.0.0.1:${port}`,
    requests,
    buckets,
    reset() {
      buckets.clear();
      requests.length = 0;
    },
    close() {
      closed ??= new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
      return closed;
    },
  };
}

/** A path that is no percent-encoding stays as it is. */
function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

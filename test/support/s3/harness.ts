// What the tests of the S3 server share.
import { createHash } from "node:crypto";
import { request } from "node:http";
import { connect } from "node:net";
import {
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  type CreateMultipartUploadCommandInput,
  PutObjectCommand,
  type PutObjectCommandInput,
  S3Client,
  type S3ClientConfig,
  S3ServiceException,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { afterEach, beforeEach } from "vitest";
import { type S3Server, type S3ServerOptions, startS3Server } from "../s3-server.ts";

export const Bucket = "documents";
export const Key = "a/key";
export const MiB = 1024 * 1024;

/** Those of the test that runs. */
export let server: S3Server;
export let client: S3Client;
const open: { close(): unknown }[] = [];

export const connectTo = (endpoint: string, config: S3ClientConfig = {}): S3Client => {
  const made = new S3Client({
    endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret" },
    maxAttempts: 1,
    logger: { debug() {}, info() {}, warn() {}, error() {} },
    ...config,
  });
  open.push({ close: () => made.destroy() });
  return made;
};

/** A second server, for the tests that need other options, with its own client. */
export async function start(
  options: S3ServerOptions,
  config?: S3ClientConfig,
): Promise<{ server: S3Server; client: S3Client }> {
  const other = await startS3Server(options);
  open.push(other);
  return { server: other, client: connectTo(other.endpoint, config) };
}

/** Gives every test of a file its own `server`, which has one bucket, and `client`. */
export function serveEachTest(): void {
  beforeEach(async () => {
    ({ server, client } = await start({}));
    await client.send(new CreateBucketCommand({ Bucket }));
  });

  afterEach(async () => {
    for (const one of open.splice(0).reverse()) await one.close();
  });
}

/** The error a request of the SDK ends with, as "status code". */
export async function failure(sent: Promise<unknown>): Promise<string> {
  try {
    await sent;
    return "no failure";
  } catch (error) {
    if (error instanceof S3ServiceException) return `${error.$metadata.httpStatusCode} ${error.name}`;
    throw error;
  }
}

interface RawRequest {
  method?: string;
  path?: string;
  body?: string | Buffer;
  /** undefined removes a header that would be sent otherwise. */
  headers?: Record<string, string | undefined>;
  authorization?: (usual: string) => string | undefined;
}

export const sha256 = (data: string | Buffer) => createHash("sha256").update(data).digest("hex");
const now = () => new Date().toISOString().replaceAll(/[-:]|\.\d+/g, "");

/** What a client sends that no SDK would. */
export async function raw({
  method = "PUT",
  path = `/${Bucket}/${Key}`,
  body = "",
  headers = {},
  ...rest
}: RawRequest) {
  const given = { "x-amz-date": now(), "x-amz-content-sha256": sha256(body), ...headers };
  const sent = Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));
  const scope = `${now().slice(0, 8)}/us-east-1/s3/aws4_request`;
  const names = ["host", ...sent.map(([name]) => name)].sort().join(";");
  const usual = `AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/${scope}, SignedHeaders=${names}, Signature=${"0".repeat(64)}`;
  const authorization = (rest.authorization ?? ((value) => value))(usual);
  const all = Object.fromEntries([...sent, ...(authorization === undefined ? [] : [["authorization", authorization]])]);
  return await new Promise<{ status: number; code: string; text: string; headers: Record<string, unknown> }>(
    (resolve, reject) => {
      const outgoing = request(`${server.endpoint}${path}`, { method, headers: all }, async (response) => {
        let text = "";
        for await (const chunk of response.setEncoding("utf8")) text += chunk;
        const code = /<Code>(.*)<\/Code>/.exec(text)?.[1] ?? "";
        resolve({ status: response.statusCode ?? 0, code, text, headers: response.headers });
      });
      outgoing.on("error", reject).end(body);
    },
  );
}
export const rawFailure = async (sent: RawRequest) => {
  const { status, code } = await raw(sent);
  return `${status} ${code}`;
};

/** The whole answer to a request that has neither Content-Length nor chunks, which node:http would always send. */
export async function overSocket(method: string): Promise<string> {
  const names = "host;x-amz-content-sha256;x-amz-date";
  const credential = `AKID/${now().slice(0, 8)}/us-east-1/s3/aws4_request`;
  const signature = `Credential=${credential}, SignedHeaders=${names}, Signature=${"0".repeat(64)}`;
  const head = [`${method} /${Bucket}/${Key} HTTP/1.1`, "Host: h", `x-amz-date: ${now()}`, "Connection: close"];
  head.push(`x-amz-content-sha256: ${sha256("")}`, `Authorization: AWS4-HMAC-SHA256 ${signature}`, "", "");
  const socket = connect(Number(new URL(server.endpoint).port), "127.0.0.1").end(head.join("\r\n"));
  let text = "";
  for await (const chunk of socket) text += String(chunk);
  return text;
}

export const put = (more: Partial<PutObjectCommandInput> = {}) =>
  client.send(new PutObjectCommand({ Bucket, Key, Body: "content", ...more }));
export const stored = (key = Key) => server.buckets.get(Bucket)?.objects.get(key);
export const begin = async (more: Partial<CreateMultipartUploadCommandInput> = {}) => {
  const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key, ...more }));
  return UploadId ?? "";
};
export const sendPart = async (UploadId: string, PartNumber: number, Body: Buffer | string): Promise<CompletedPart> => {
  const reply = await client.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }));
  return { PartNumber, ETag: reply.ETag, ChecksumCRC32: reply.ChecksumCRC32 };
};
export const complete = (
  UploadId: string,
  Parts: CompletedPart[],
  more: Partial<ConstructorParameters<typeof CompleteMultipartUploadCommand>[0]> = {},
) => client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts }, ...more }));
export const bytes = (length: number, seed = 7) => Buffer.alloc(length, Buffer.from([seed, seed * 3, 11, 5, 251]));

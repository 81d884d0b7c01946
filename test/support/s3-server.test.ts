import { createHash } from "node:crypto";
import { request } from "node:http";
import { connect } from "node:net";
import { Readable } from "node:stream";
import { crc32 } from "node:zlib";
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  type CreateMultipartUploadCommandInput,
  DeleteBucketCommand,
  DeleteBucketEncryptionCommand,
  DeleteBucketLifecycleCommand,
  DeleteBucketOwnershipControlsCommand,
  DeleteBucketPolicyCommand,
  DeleteObjectCommand,
  DeletePublicAccessBlockCommand,
  GetBucketEncryptionCommand,
  GetBucketLifecycleConfigurationCommand,
  GetBucketLocationCommand,
  GetBucketOwnershipControlsCommand,
  GetBucketPolicyCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  GetPublicAccessBlockCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutBucketEncryptionCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketOwnershipControlsCommand,
  PutBucketPolicyCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  PutPublicAccessBlockCommand,
  S3Client,
  type S3ClientConfig,
  S3ServiceException,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type S3Server, type S3ServerOptions, startS3Server } from "./s3-server.ts";
import { CHECKSUM_ALGORITHMS, checksumHeader, checksumOf, parseXml, S3Error } from "./s3-wire.ts";

const Bucket = "documents";
const Key = "a/key";
const MiB = 1024 * 1024;

let server: S3Server;
let client: S3Client;
const open: { close(): unknown }[] = [];

const connectTo = (endpoint: string, config: S3ClientConfig = {}): S3Client => {
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
async function start(
  options: S3ServerOptions,
  config?: S3ClientConfig,
): Promise<{ server: S3Server; client: S3Client }> {
  const other = await startS3Server(options);
  open.push(other);
  return { server: other, client: connectTo(other.endpoint, config) };
}

beforeEach(async () => {
  ({ server, client } = await start({}));
  await client.send(new CreateBucketCommand({ Bucket }));
});

afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

/** The error a request of the SDK ends with, as "status code". */
async function failure(sent: Promise<unknown>): Promise<string> {
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

const sha256 = (data: string | Buffer) => createHash("sha256").update(data).digest("hex");
const now = () => new Date().toISOString().replaceAll(/[-:]|\.\d+/g, "");

/** What a client sends that no SDK would. */
async function raw({ method = "PUT", path = `/${Bucket}/${Key}`, body = "", headers = {}, ...rest }: RawRequest) {
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
const rawFailure = async (sent: RawRequest) => {
  const { status, code } = await raw(sent);
  return `${status} ${code}`;
};

/** The whole answer to a request that has neither Content-Length nor chunks, which node:http would always send. */
async function overSocket(method: string): Promise<string> {
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

const put = (more: Partial<PutObjectCommandInput> = {}) =>
  client.send(new PutObjectCommand({ Bucket, Key, Body: "content", ...more }));
const stored = (key = Key) => server.buckets.get(Bucket)?.objects.get(key);
const begin = async (more: Partial<CreateMultipartUploadCommandInput> = {}) => {
  const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key, ...more }));
  return UploadId ?? "";
};
const sendPart = async (UploadId: string, PartNumber: number, Body: Buffer | string): Promise<CompletedPart> => {
  const reply = await client.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }));
  return { PartNumber, ETag: reply.ETag, ChecksumCRC32: reply.ChecksumCRC32 };
};
const complete = (
  UploadId: string,
  Parts: CompletedPart[],
  more: Partial<ConstructorParameters<typeof CompleteMultipartUploadCommand>[0]> = {},
) => client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts }, ...more }));
const bytes = (length: number, seed = 7) => Buffer.alloc(length, Buffer.from([seed, seed * 3, 11, 5, 251]));

describe("authorization", () => {
  it("refuses a request without or with another kind of it", async () => {
    expect(await rawFailure({ authorization: () => undefined })).toBe("403 AccessDenied");
    expect(await rawFailure({ authorization: () => "AWS AKIDEXAMPLE:abc=" })).toBe("400 InvalidRequest");
    expect(await rawFailure({ headers: { "x-amz-date": undefined } })).toBe("403 AccessDenied");
    expect(server.buckets.get(Bucket)?.objects.size).toBe(0);
  });

  it.each([
    ["Signature", (usual: string) => usual.replace(/, Signature.*/, "")],
    ["signature of the wrong length", (usual: string) => usual.slice(0, -1)],
    ["SignedHeaders", (usual: string) => usual.replace(/SignedHeaders=[^,]*/, "")],
    ["Credential", (usual: string) => usual.replace("/aws4_request", "")],
    ["service", (usual: string) => usual.replace("/s3/", "/sts/")],
    ["date", (usual: string) => usual.replace(/\/\d{8}\//, "/20200101/")],
  ])("refuses a header malformed in its %s", async (_what, authorization) => {
    expect(await rawFailure({ authorization })).toBe("400 AuthorizationHeaderMalformed");
  });

  it("refuses another region and names the right one", async () => {
    const elsewhere = connectTo(server.endpoint, { region: "eu-west-1" });
    const error = await elsewhere.send(new ListBucketsCommand({})).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ name: "AuthorizationHeaderMalformed", Region: "us-east-1" });
    const reply = await raw({ authorization: (usual) => usual.replace("us-east-1", "eu-west-1") });
    expect(reply.text).toContain("<Region>us-east-1</Region>");
  });

  it("refuses an unknown key id when it knows one", async () => {
    const strict = await start({ accessKeyId: "AKIDOTHER" });
    expect(await failure(strict.client.send(new ListBucketsCommand({})))).toBe("403 InvalidAccessKeyId");
  });

  it("refuses x-amz- headers that are not signed, and old requests", async () => {
    const authorization = (usual: string) => usual.replace(";x-amz-date", "");
    expect(await rawFailure({ authorization })).toBe("403 AccessDenied");
    const old = { headers: { "x-amz-date": "20200101T000000Z" } };
    const dated = (usual: string) => usual.replace(/\/\d{8}\//, "/20200101/");
    expect(await rawFailure({ ...old, authorization: dated })).toBe("403 RequestTimeTooSkewed");
  });
});

describe("payload", () => {
  it("compares x-amz-content-sha256", async () => {
    expect(await rawFailure({ headers: { "x-amz-content-sha256": undefined } })).toBe("400 InvalidRequest");
    expect(await rawFailure({ headers: { "x-amz-content-sha256": "abc" } })).toBe("400 InvalidArgument");
    expect(await rawFailure({ body: "b", headers: { "x-amz-content-sha256": sha256("c") } })).toBe(
      "400 XAmzContentSHA256Mismatch",
    );
    expect(await rawFailure({ body: "b", headers: { "x-amz-content-sha256": "UNSIGNED-PAYLOAD" } })).toBe("200 ");
  });

  it.each([
    ["CRC32", "y/Q5Jg=="],
    ["CRC32C", "4waSgw=="],
    ["CRC64NVME", "rosUhgp5mIg="],
    ["SHA1", "98O8HYCOBHMq32eZZczDTKeuNEE="],
    ["SHA256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="],
  ] as const)("compares the checksum %s", async (algorithm, value) => {
    const body = "123456789";
    const header = checksumHeader(algorithm);
    const other = checksumOf(algorithm, Buffer.from("other"));
    expect(await rawFailure({ body, headers: { [header]: other } })).toBe("400 BadDigest");
    expect(await rawFailure({ body, headers: { [header]: `${value}=` } })).toBe("400 InvalidRequest");
    expect(await rawFailure({ body, headers: { [header]: value.slice(0, -4) } })).toBe("400 InvalidRequest");
    expect(stored()).toBeUndefined();
    const reply = await raw({ body, headers: { [header]: value } });
    expect(reply).toMatchObject({ status: 200, headers: { [header]: value, "x-amz-checksum-type": "FULL_OBJECT" } });
    expect(stored()?.checksum).toEqual({ algorithm, type: "FULL_OBJECT", value });
    await put({ Body: body, ChecksumAlgorithm: algorithm });
    expect(stored()?.checksum).toEqual({ algorithm, type: "FULL_OBJECT", value });
  });

  it("refuses several checksums and an x-amz-sdk-checksum-algorithm that does not fit", async () => {
    const crc = { "x-amz-checksum-crc32": checksumOf("CRC32", Buffer.from("")) };
    const sha = { "x-amz-checksum-sha1": checksumOf("SHA1", Buffer.from("")) };
    expect(await rawFailure({ headers: { ...crc, ...sha } })).toBe("400 InvalidRequest");
    const alone = await raw({ headers: { "x-amz-sdk-checksum-algorithm": "CRC32" } });
    expect(alone).toMatchObject({
      status: 400,
      code: "InvalidRequest",
      text: expect.stringContaining("no corresponding"),
    });
    const misdeclared = { ...crc, "x-amz-sdk-checksum-algorithm": "SHA1" };
    expect(await rawFailure({ headers: misdeclared })).toBe("400 InvalidRequest");
  });

  it("compares Content-MD5", async () => {
    const wrong = createHash("md5").update("other").digest("base64");
    expect(await rawFailure({ headers: { "content-md5": wrong } })).toBe("400 BadDigest");
    expect(await rawFailure({ headers: { "content-md5": "short" } })).toBe("400 InvalidDigest");
    const right = createHash("md5").update("content").digest("base64");
    expect((await put({ ContentMD5: right })).$metadata.httpStatusCode).toBe(200);
  });

  it("demands a length and refuses a body of unknown length", async () => {
    const chunked = { "transfer-encoding": "chunked" };
    expect(await rawFailure({ body: "abc", headers: chunked })).toBe("501 NotImplemented");
    expect(await overSocket("PUT")).toMatch(/^HTTP\/1.1 411 [\s\S]*<Code>MissingContentLength</);
  });

  it("stores nothing when the client goes away", async () => {
    const headers = { "content-length": 1000 };
    const outgoing = request(`${server.endpoint}/${Bucket}/${Key}`, { method: "PUT", headers });
    const gone = new Promise((resolve) => outgoing.on("error", resolve));
    outgoing.write("half");
    await vi.waitFor(() => expect(server.requests.at(-1)?.operation).toBe("PutObject"));
    outgoing.destroy(new Error("gone"));
    await gone;
    await put({ Key: "another" });
    expect([...(server.buckets.get(Bucket)?.objects.keys() ?? [])]).toEqual(["another"]);
    expect(server.requests.map(({ status }) => status)).toEqual([200, 0, 200]);
  });
});

describe("aws-chunked payload", () => {
  const big = bytes(20_000);
  const crc = checksumOf("CRC32", big);
  const encode = (parts: readonly Buffer[], trailer = "", signature = "") =>
    Buffer.concat([
      ...[...parts, Buffer.alloc(0)].flatMap((part) => [
        Buffer.from(`${part.length.toString(16)}${signature}\r\n`),
        part,
        Buffer.from(part.length > 0 ? "\r\n" : ""),
      ]),
      Buffer.from(`${trailer}\r\n`),
    ]);
  const trailing = {
    "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "x-amz-decoded-content-length": String(big.length),
    "x-amz-trailer": "x-amz-checksum-crc32",
    "content-encoding": "gzip,aws-chunked",
  };
  const halves = [big.subarray(0, 10_000), big.subarray(10_000)];
  const trailer = `x-amz-checksum-crc32:${crc}\r\n`;

  it("is decoded", async () => {
    expect(await rawFailure({ body: encode(halves, trailer), headers: trailing })).toBe("200 ");
    expect(stored()).toMatchObject({ body: big, checksum: { value: crc }, headers: { "content-encoding": "gzip" } });
    expect(server.requests.at(-1)?.bodyBytes).toBe(big.length);
  });

  it("comes from a stream of the SDK", async () => {
    const stream = Readable.from([...halves]);
    await put({ Body: stream, ContentLength: big.length });
    expect(server.requests.at(-1)?.headers).toMatchObject({ "x-amz-content-sha256": expect.stringMatching(/^STREAM/) });
    expect(stored()).toMatchObject({ body: big, headers: {} });
  });

  it("is refused with chunks under 8 KiB", async () => {
    const small = Readable.from([big.subarray(0, 5000), big.subarray(5000)]);
    expect(await failure(put({ Body: small, ContentLength: big.length }))).toBe("403 InvalidChunkSizeError");
  });

  it.each([
    ["another length", { "x-amz-decoded-content-length": "19999" }, halves, trailer, "400 IncompleteBody"],
    ["no length", { "x-amz-decoded-content-length": undefined }, halves, trailer, "411 MissingContentLength"],
    ["a missing trailer", {}, halves, "", "400 MalformedTrailerError"],
    ["an unannounced trailer", { "x-amz-trailer": undefined }, halves, trailer, "400 MalformedTrailerError"],
    ["a wrong trailer", {}, [big.subarray(0, 9999), big.subarray(9999)].reverse(), trailer, "400 BadDigest"],
    ["a malformed checksum", {}, halves, "x-amz-checksum-crc32:abc\r\n", "400 InvalidRequest"],
    ["a malformed trailer", {}, halves, "x-amz-checksum-crc32\r\n", "400 MalformedTrailerError"],
  ])("is refused with %s", async (_what, headers, parts, end, expected) => {
    expect(await rawFailure({ body: encode(parts, end), headers: { ...trailing, ...headers } })).toBe(expected);
    expect(stored()).toBeUndefined();
  });

  it("is refused when cut short", async () => {
    const cut = encode(halves, trailer).subarray(0, 15_000);
    expect(await rawFailure({ body: cut, headers: trailing })).toBe("400 IncompleteBody");
    const unended = encode(halves, trailer).subarray(0, -2);
    expect(await rawFailure({ body: unended, headers: trailing })).toBe("400 IncompleteBody");
  });

  it("may be signed", async () => {
    const signature = `;chunk-signature=${"a".repeat(64)}`;
    const headers = { ...trailing, "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" };
    const plain = { ...headers, "x-amz-trailer": undefined };
    expect(await rawFailure({ body: encode(halves, "", signature), headers: plain })).toBe("200 ");
    expect(await rawFailure({ body: encode(halves), headers: plain })).toBe("400 IncompleteBody");
    expect(await rawFailure({ body: encode(halves, trailer, signature), headers })).toBe("400 MalformedTrailerError");
    const withTrailer = { ...headers, "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" };
    const end = `${trailer}x-amz-trailer-signature:${"b".repeat(64)}\r\n`;
    expect(await rawFailure({ body: encode(halves, end, signature), headers: withTrailer })).toBe("200 ");
    expect(await rawFailure({ body: encode(halves, trailer, signature), headers: withTrailer })).toBe(
      "400 MalformedTrailerError",
    );
  });
});

describe("buckets", () => {
  it("are created, found, listed and deleted", async () => {
    await client.send(new CreateBucketCommand({ Bucket }));
    const head = await client.send(new HeadBucketCommand({ Bucket }));
    expect(head.BucketRegion).toBe("us-east-1");
    for (const name of ["zebra", "document-1", "document-2"])
      await client.send(new CreateBucketCommand({ Bucket: name }));
    const first = await client.send(new ListBucketsCommand({ Prefix: "document", MaxBuckets: 2 }));
    expect(first.Buckets?.map(({ Name }) => Name)).toEqual(["document-1", "document-2"]);
    const { ContinuationToken } = first;
    const second = await client.send(new ListBucketsCommand({ Prefix: "document", MaxBuckets: 2, ContinuationToken }));
    expect(second.Buckets?.map(({ Name }) => Name)).toEqual([Bucket]);
    expect(second.ContinuationToken).toBeUndefined();
    await put();
    expect(await failure(client.send(new DeleteBucketCommand({ Bucket })))).toBe("409 BucketNotEmpty");
    await client.send(new DeleteObjectCommand({ Bucket, Key }));
    await client.send(new DeleteBucketCommand({ Bucket }));
    expect(await failure(client.send(new DeleteBucketCommand({ Bucket })))).toBe("404 NoSuchBucket");
    expect(await failure(client.send(new HeadBucketCommand({ Bucket })))).toBe("404 NotFound");
    expect(await failure(put())).toBe("404 NoSuchBucket");
  });

  it("belong to the region of the server", async () => {
    const europe = await start({ region: "eu-west-1" }, { region: "eu-west-1" });
    const create = (LocationConstraint?: "eu-west-1" | "eu-west-3") =>
      failure(
        europe.client.send(new CreateBucketCommand({ Bucket, CreateBucketConfiguration: { LocationConstraint } })),
      );
    expect(await create("eu-west-3")).toBe("400 IllegalLocationConstraintException");
    expect(await create()).toBe("no failure");
    expect(await create()).toBe("409 BucketAlreadyOwnedByYou");
    const location = await europe.client.send(new GetBucketLocationCommand({ Bucket }));
    expect(location.LocationConstraint).toBe("eu-west-1");
    expect((await client.send(new GetBucketLocationCommand({ Bucket }))).LocationConstraint).toBeFalsy();
    const constrained = (name: "eu-west-1" | "us-east-1") =>
      raw({
        path: "/other-bucket",
        body: `<CreateBucketConfiguration><LocationConstraint>${name}</LocationConstraint></CreateBucketConfiguration>`,
      });
    expect((await constrained("eu-west-1")).code).toBe("IllegalLocationConstraintException");
    expect((await constrained("us-east-1")).code).toBe("InvalidLocationConstraint");
  });

  it.each(["ab", "Upper", "under_score", "-start", "end-", "a..b", "192.168.0.1", "xn--bucket"])(
    "cannot be called %s",
    async (name) => {
      expect(await rawFailure({ path: `/${name}` })).toBe("400 InvalidBucketName");
    },
  );

  it("may be created with an object ownership", async () => {
    await client.send(new CreateBucketCommand({ Bucket: "owned", ObjectOwnership: "ObjectWriter" }));
    expect(server.buckets.get("owned")?.ownership).toBe("ObjectWriter");
    const wrong = { path: "/disowned", headers: { "x-amz-object-ownership": "Nobody" } };
    expect(await rawFailure(wrong)).toBe("400 InvalidArgument");
  });

  it("of others are out of reach", async () => {
    const { client: shared } = await start({ foreignBuckets: [Bucket] });
    expect(await failure(shared.send(new CreateBucketCommand({ Bucket })))).toBe("409 BucketAlreadyExists");
    expect(await failure(shared.send(new HeadBucketCommand({ Bucket })))).toMatch(/^403 /);
    expect(await failure(shared.send(new PutObjectCommand({ Bucket, Key, Body: "b" })))).toBe("403 AccessDenied");
    expect(await failure(shared.send(new GetBucketPolicyCommand({ Bucket })))).toBe("403 AccessDenied");
    expect((await shared.send(new ListBucketsCommand({}))).Buckets ?? []).toEqual([]);
  });

  it("are checked for their owner", async () => {
    const owned = (ExpectedBucketOwner: string) => failure(put({ ExpectedBucketOwner }));
    expect(await owned("123456789012")).toBe("no failure");
    expect(await owned("210987654321")).toBe("403 AccessDenied");
    expect(await owned("me")).toBe("400 InvalidBucketOwnerAWSAccountID");
  });
});

describe("configuration of a bucket", () => {
  it("is missing at first", async () => {
    const codes = [
      failure(client.send(new GetPublicAccessBlockCommand({ Bucket }))),
      failure(client.send(new GetBucketOwnershipControlsCommand({ Bucket }))),
      failure(client.send(new GetBucketEncryptionCommand({ Bucket }))),
      failure(client.send(new GetBucketPolicyCommand({ Bucket }))),
      failure(client.send(new GetBucketLifecycleConfigurationCommand({ Bucket }))),
    ];
    expect(await Promise.all(codes)).toEqual([
      "404 NoSuchPublicAccessBlockConfiguration",
      "404 OwnershipControlsNotFoundError",
      "404 ServerSideEncryptionConfigurationNotFoundError",
      "404 NoSuchBucketPolicy",
      "404 NoSuchLifecycleConfiguration",
    ]);
  });

  const allBlocked = {
    BlockPublicAcls: true,
    IgnorePublicAcls: true,
    BlockPublicPolicy: true,
    RestrictPublicBuckets: true,
  };

  it("is that of Amazon S3 in buckets which are not bare", async () => {
    const { client: real } = await start({ bareBuckets: false });
    await real.send(new CreateBucketCommand({ Bucket }));
    const access = await real.send(new GetPublicAccessBlockCommand({ Bucket }));
    expect(access.PublicAccessBlockConfiguration).toEqual(allBlocked);
    const ownership = await real.send(new GetBucketOwnershipControlsCommand({ Bucket }));
    expect(ownership.OwnershipControls).toEqual({ Rules: [{ ObjectOwnership: "BucketOwnerEnforced" }] });
    await real.send(new DeleteBucketEncryptionCommand({ Bucket }));
    const encryption = await real.send(new GetBucketEncryptionCommand({ Bucket }));
    expect(encryption.ServerSideEncryptionConfiguration?.Rules).toEqual([
      { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: "AES256" }, BucketKeyEnabled: false },
    ]);
    const reply = await real.send(new PutObjectCommand({ Bucket, Key, Body: "b" }));
    expect(reply.ServerSideEncryption).toBe("AES256");
  });

  it("makes round trips", async () => {
    const PublicAccessBlockConfiguration = { ...allBlocked, IgnorePublicAcls: false };
    await client.send(new PutPublicAccessBlockCommand({ Bucket, PublicAccessBlockConfiguration }));
    expect(await client.send(new GetPublicAccessBlockCommand({ Bucket }))).toMatchObject({
      PublicAccessBlockConfiguration,
    });
    await client.send(new DeletePublicAccessBlockCommand({ Bucket }));
    expect(server.buckets.get(Bucket)?.publicAccessBlock).toBeUndefined();

    const OwnershipControls = { Rules: [{ ObjectOwnership: "ObjectWriter" as const }] };
    await client.send(new PutBucketOwnershipControlsCommand({ Bucket, OwnershipControls }));
    expect(await client.send(new GetBucketOwnershipControlsCommand({ Bucket }))).toMatchObject({ OwnershipControls });
    await client.send(new DeleteBucketOwnershipControlsCommand({ Bucket }));
    expect(server.buckets.get(Bucket)?.ownership).toBeUndefined();

    const kms = { SSEAlgorithm: "aws:kms" as const, KMSMasterKeyID: "key" };
    const ServerSideEncryptionConfiguration = {
      Rules: [{ ApplyServerSideEncryptionByDefault: kms, BucketKeyEnabled: true }],
    };
    await client.send(new PutBucketEncryptionCommand({ Bucket, ServerSideEncryptionConfiguration }));
    expect(await client.send(new GetBucketEncryptionCommand({ Bucket }))).toMatchObject({
      ServerSideEncryptionConfiguration,
    });
    expect(await put()).toMatchObject({ ServerSideEncryption: "aws:kms", SSEKMSKeyId: "key" });
    expect(stored()?.etag).not.toBe(createHash("md5").update("content").digest("hex"));
    await client.send(new DeleteBucketEncryptionCommand({ Bucket }));
    expect(server.buckets.get(Bucket)?.encryption).toBeUndefined();

    const rule = {
      Status: "Enabled" as const,
      Filter: { Prefix: "a&b/" },
      AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 },
    };
    await client.send(
      new PutBucketLifecycleConfigurationCommand({
        Bucket,
        LifecycleConfiguration: { Rules: [{ ...rule, ID: "one" }, rule] },
      }),
    );
    const { Rules } = await client.send(new GetBucketLifecycleConfigurationCommand({ Bucket }));
    expect(Rules).toEqual([
      { ...rule, ID: "one" },
      { ...rule, ID: expect.stringMatching(/.{20}/) },
    ]);
    await client.send(new DeleteBucketLifecycleCommand({ Bucket }));
    expect(server.buckets.get(Bucket)?.lifecycle).toBeUndefined();
  });

  const statement = { Effect: "Deny", Principal: "*", Action: "s3:*", Resource: `arn:aws:s3:::${Bucket}/*` };
  const putPolicy = (Policy: string) => client.send(new PutBucketPolicyCommand({ Bucket, Policy }));

  it("may have a policy", async () => {
    const text = JSON.stringify({ Version: "2012-10-17", Statement: [statement] });
    expect((await putPolicy(text)).$metadata.httpStatusCode).toBe(204);
    expect((await client.send(new GetBucketPolicyCommand({ Bucket }))).Policy).toBe(text);
    await client.send(new DeleteBucketPolicyCommand({ Bucket }));
    expect(await failure(client.send(new GetBucketPolicyCommand({ Bucket })))).toBe("404 NoSuchBucketPolicy");
  });

  it.each([
    "not json",
    "[]",
    "{}",
    JSON.stringify({ Version: "2020-01-01", Statement: [statement] }),
    JSON.stringify({ Statement: [{ ...statement, Effect: "Forbid" }] }),
    JSON.stringify({ Statement: [{ ...statement, Principal: undefined }] }),
    JSON.stringify({ Statement: [{ ...statement, Resource: "arn:aws:s3:::another/*" }] }),
  ])("refuses the policy %s", async (text) => {
    expect(await failure(putPolicy(text))).toBe("400 MalformedPolicy");
  });

  it("refuses a public policy when those are blocked", async () => {
    const PublicAccessBlockConfiguration = allBlocked;
    await client.send(new PutPublicAccessBlockCommand({ Bucket, PublicAccessBlockConfiguration }));
    const text = JSON.stringify({ Statement: { ...statement, Effect: "Allow", Principal: { AWS: "*" } } });
    expect(await failure(putPolicy(text))).toBe("403 AccessDenied");
  });

  it.each([
    ["publicAccessBlock", "<PublicAccessBlockConfiguration/>", "MalformedXML"],
    [
      "publicAccessBlock",
      "<PublicAccessBlockConfiguration><Any>true</Any></PublicAccessBlockConfiguration>",
      "MalformedXML",
    ],
    ["ownershipControls", "<OwnershipControls></OwnershipControls>", "MalformedXML"],
    ["encryption", "<ServerSideEncryptionConfiguration><Rule/></ServerSideEncryptionConfiguration>", "MalformedXML"],
    ["lifecycle", "<LifecycleConfiguration/>", "MalformedXML"],
    ["lifecycle", rules("<Prefix/>"), "MalformedXML"],
    ["lifecycle", rules("<Status>Enabled</Status><Filter/>"), "InvalidRequest"],
    ["lifecycle", rules(`<Status>Enabled</Status><Filter/>${abortAfter("0")}`), "InvalidArgument"],
    ["lifecycle", rules(`<Status>Enabled</Status><Filter><Tag/></Filter>${abortAfter("1")}`), "InvalidRequest"],
    ["lifecycle", rules(...twice(`<ID>a</ID><Status>Enabled</Status><Filter/>${abortAfter("1")}`)), "InvalidArgument"],
    [
      "lifecycle",
      rules(`<ID>${"i".repeat(256)}</ID><Status>Enabled</Status><Filter/>${abortAfter("1")}`),
      "InvalidArgument",
    ],
    ["lifecycle", "<LifecycleConfiguration><Rule></LifecycleConfiguration>", "MalformedXML"],
  ])("refuses %s %s", async (parameter, body, code) => {
    const path = `/${Bucket}?${parameter}`;
    const headers = { "content-md5": createHash("md5").update(body).digest("base64") };
    expect(await rawFailure({ path, body, headers })).toMatch(new RegExp(`^400 (${code})$`));
    expect(await rawFailure({ path, body })).toBe("400 InvalidRequest");
  });
});

function rules(...each: string[]): string {
  return `<LifecycleConfiguration>${each.map((rule) => `<Rule>${rule}</Rule>`).join("")}</LifecycleConfiguration>`;
}
function abortAfter(days: string): string {
  const element = "AbortIncompleteMultipartUpload";
  return `<${element}><DaysAfterInitiation>${days}</DaysAfterInitiation></${element}>`;
}
function twice(rule: string): string[] {
  return [rule, rule];
}

describe("objects", () => {
  it("make round trips", async () => {
    const reply = await put({
      Key: "räum/a b+c/../d?e#f%",
      ContentType: "text/plain",
      CacheControl: "no-store",
      StorageClass: "STANDARD_IA",
      Metadata: { Name: "value" },
    });
    expect(reply.ETag).toBe(`"${createHash("md5").update("content").digest("hex")}"`);
    const get = await client.send(new GetObjectCommand({ Bucket, Key: "räum/a b+c/../d?e#f%" }));
    expect(await get.Body?.transformToString()).toBe("content");
    expect(get).toMatchObject({
      ContentLength: 7,
      ContentType: "text/plain",
      CacheControl: "no-store",
      StorageClass: "STANDARD_IA",
      Metadata: { name: "value" },
      ETag: reply.ETag,
      LastModified: expect.any(Date),
      ChecksumCRC32: reply.ChecksumCRC32,
      ChecksumType: "FULL_OBJECT",
    });
    const operations = server.requests.map(({ operation, status }) => `${operation} ${status}`);
    expect(operations).toEqual(["CreateBucket 200", "PutObject 200", "GetObject 200"]);
    expect(server.requests[1]).toMatchObject({ method: "PUT", bodyBytes: 7, query: { "x-id": "PutObject" } });
  });

  it("have a CRC64NVME when they come without a checksum", async () => {
    const bare = connectTo(server.endpoint, { requestChecksumCalculation: "WHEN_REQUIRED" });
    await bare.send(new PutObjectCommand({ Bucket, Key, Body: "123456789" }));
    const head = await client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: "ENABLED" }));
    expect(head).toMatchObject({ ChecksumCRC64NVME: "rosUhgp5mIg=", ChecksumType: "FULL_OBJECT" });
  });

  it("show their checksum only when asked", async () => {
    await put();
    expect(await client.send(new HeadObjectCommand({ Bucket, Key }))).not.toHaveProperty("ChecksumCRC32");
    const head = await client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: "ENABLED" }));
    expect(head.ChecksumCRC32).toBe(checksumOf("CRC32", Buffer.from("content")));
    expect(await rawFailure({ method: "GET", headers: { "x-amz-checksum-mode": "YES" } })).toBe("400 InvalidRequest");
  });

  it("that a test damages are noticed by the SDK", async () => {
    await put();
    const object = stored();
    if (object !== undefined) object.body = Buffer.from("CONTENT");
    const get = await client.send(new GetObjectCommand({ Bucket, Key }));
    await expect(get.Body?.transformToString()).rejects.toThrow(/checksum mismatch/i);
  });

  it("are missing with an error that has a body only for GET", async () => {
    expect(await failure(client.send(new GetObjectCommand({ Bucket, Key })))).toBe("404 NoSuchKey");
    expect(await failure(client.send(new HeadObjectCommand({ Bucket, Key })))).toBe("404 NotFound");
    const get = await raw({ method: "GET" });
    expect(get).toMatchObject({ status: 404, code: "NoSuchKey", headers: { "x-amz-request-id": expect.any(String) } });
    expect(get.text).toMatch(/^<\?xml .*\?>\n<Error><Code>.*<Message>.*<RequestId>.*<\/Error>$/);
    expect(await overSocket("HEAD")).toMatch(/^HTTP\/1.1 404 [^<]*\r\n\r\n$/);
    expect(await failure(client.send(new DeleteObjectCommand({ Bucket, Key })))).toBe("no failure");
  });

  it.each([
    ["bytes=0-3", 206, "cont", "bytes 0-3/7"],
    ["bytes=3-", 206, "tent", "bytes 3-6/7"],
    ["bytes=-2", 206, "nt", "bytes 5-6/7"],
    ["bytes=-20", 206, "content", "bytes 0-6/7"],
    ["bytes=6-100", 206, "t", "bytes 6-6/7"],
    ["bytes=3-1", 200, "content", undefined],
    ["lines=1-2", 200, "content", undefined],
  ])("are read in the range %s", async (Range, status, content, range) => {
    await put();
    const get = await client.send(new GetObjectCommand({ Bucket, Key, Range }));
    expect(await get.Body?.transformToString()).toBe(content);
    expect(get).toMatchObject({ $metadata: { httpStatusCode: status }, ContentLength: content.length });
    expect(get.ContentRange).toBe(range);
    expect(get.ChecksumCRC32 !== undefined).toBe(content === "content");
  });

  it("have no range beyond their end", async () => {
    await put();
    const get = (Range: string) => failure(client.send(new GetObjectCommand({ Bucket, Key, Range })));
    expect(await get("bytes=7-")).toBe("416 InvalidRange");
    expect(await get("bytes=-0")).toBe("416 InvalidRange");
    expect(await failure(client.send(new HeadObjectCommand({ Bucket, Key, Range: "bytes=9-" })))).toMatch(/^416 /);
    await put({ Body: "" });
    expect(await get("bytes=0-")).toBe("416 InvalidRange");
  });

  it("are read under conditions", async () => {
    const { ETag } = await put();
    const get = (condition: object) => failure(client.send(new GetObjectCommand({ Bucket, Key, ...condition })));
    expect(await get({ IfMatch: ETag })).toBe("no failure");
    expect(await get({ IfMatch: '"other"' })).toBe("412 PreconditionFailed");
    expect(await get({ IfNoneMatch: ETag })).toMatch(/^304 /);
  });

  it("have limits", async () => {
    expect(await failure(put({ Key: "ä".repeat(512) }))).toBe("no failure");
    expect(await failure(put({ Key: `${"ä".repeat(512)}x` }))).toBe("400 KeyTooLongError");
    expect(await failure(put({ Metadata: { name: "x".repeat(2044) } }))).toBe("no failure");
    expect(await failure(put({ Metadata: { name: "x".repeat(2045) } }))).toBe("400 MetadataTooLarge");
    expect(await failure(put({ Metadata: { name: "ü" } }))).toBe("403 SignatureDoesNotMatch");
    expect(await rawFailure({ headers: { "x-amz-storage-class": "CHEAP" } })).toBe("400 InvalidStorageClass");
    expect(await rawFailure({ headers: { "x-amz-server-side-encryption": "ROT13" } })).toBe("400 InvalidArgument");
  });

  it("are written once under If-None-Match: *", async () => {
    const attempts = Array.from({ length: 8 }, () => failure(put({ IfNoneMatch: "*" })));
    const outcomes = (await Promise.all(attempts)).sort();
    expect(outcomes).toEqual([...Array(7).fill("412 PreconditionFailed"), "no failure"]);
    expect(await failure(put({ IfNoneMatch: '"etag"' }))).toBe("501 NotImplemented");
    expect(await failure(put())).toBe("no failure");
  });

  it("are listed in the order of their bytes", async () => {
    // In UTF-16 the last two would come the other way around.
    const keys = ["B", "a b", "a/1", "a/2", "é", "\uffee", "\u{1f600}"];
    for (const key of [...keys].reverse()) await put({ Key: key });
    const list = async (more: object) => {
      const reply = await client.send(new ListObjectsV2Command({ Bucket, ...more }));
      return { ...reply, keys: reply.Contents?.map((item) => item.Key) ?? [] };
    };
    expect(await list({})).toMatchObject({ keys, KeyCount: 7, IsTruncated: false, MaxKeys: 1000 });
    expect((await list({})).Contents?.[0]).toMatchObject({
      Size: 7,
      ChecksumType: "FULL_OBJECT",
      StorageClass: "STANDARD",
    });
    expect((await list({ Prefix: "a" })).keys).toEqual(["a b", "a/1", "a/2"]);
    expect((await list({ StartAfter: "a/1", MaxKeys: 2 })).keys).toEqual(["a/2", "é"]);
    expect((await list({ EncodingType: "url" })).keys.slice(1, 5)).toEqual(["a+b", "a/1", "a/2", "%C3%A9"]);
    const seen: unknown[] = [];
    let ContinuationToken: string | undefined;
    do {
      const page = await list({ MaxKeys: 3, ContinuationToken });
      seen.push(...page.keys);
      ContinuationToken = page.NextContinuationToken;
    } while (ContinuationToken !== undefined);
    expect(seen).toEqual(keys);
    expect(await list({ MaxKeys: 0 })).toMatchObject({ keys: [], IsTruncated: false });
    expect(await failure(list({ ContinuationToken: "made up" }))).toBe("400 InvalidArgument");
    expect(await failure(list({ MaxKeys: -1 }))).toBe("400 InvalidArgument");
    expect(await failure(list({ EncodingType: "base64" }))).toBe("400 InvalidArgument");
    expect(await rawFailure({ method: "GET", path: `/${Bucket}?list-type=1` })).toBe("400 InvalidArgument");
  });
});

describe("multipart uploads", () => {
  const body = Buffer.concat([bytes(5 * MiB, 1), bytes(5 * MiB, 2), bytes(2 * MiB, 3)]);
  const parts = [body.subarray(0, 5 * MiB), body.subarray(5 * MiB, 10 * MiB), body.subarray(10 * MiB)];
  const md5s = parts.map((part) => createHash("md5").update(part).digest());
  const etag = `${createHash("md5").update(Buffer.concat(md5s)).digest("hex")}-3`;
  const crc = Buffer.alloc(4);
  crc.writeUInt32BE(crc32(body));
  const wholeCrc = crc.toString("base64");
  const crcs = Buffer.concat(parts.map((part) => Buffer.from(checksumOf("CRC32", part), "base64")));
  const compositeCrc = `${checksumOf("CRC32", crcs)}-3`;
  const fullObject = { ChecksumAlgorithm: "CRC32", ChecksumType: "FULL_OBJECT" } as const;
  const composite = { ChecksumAlgorithm: "CRC32", ChecksumType: "COMPOSITE" } as const;

  it("of 12 MiB get a full-object CRC32", async () => {
    const params = { Bucket, Key, Body: Readable.from([body]), ContentType: "application/pdf", ...fullObject };
    const reply = await new Upload({ client, params: { ...params, Metadata: { a: "b" } } }).done();
    expect(reply).toMatchObject({ ETag: `"${etag}"`, ChecksumCRC32: wholeCrc, ChecksumType: "FULL_OBJECT" });
    expect(reply.Location).toBe(`${server.endpoint}/${Bucket}/${Key}`);
    expect(stored()).toMatchObject({ etag, contentType: "application/pdf", metadata: { a: "b" } });
    expect(stored()?.body.equals(body)).toBe(true);
    const head = await client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: "ENABLED" }));
    expect(head).toMatchObject({ ChecksumCRC32: wholeCrc, ChecksumType: "FULL_OBJECT", ContentLength: 12 * MiB });
    const get = await client.send(new GetObjectCommand({ Bucket, Key }));
    expect(await get.Body?.transformToByteArray()).toHaveLength(12 * MiB);
    expect(server.buckets.get(Bucket)?.uploads.size).toBe(0);
  });

  it("of 12 MiB get a composite CRC32 when they do not ask for another", async () => {
    const reply = await new Upload({ client, params: { Bucket, Key, Body: body } }).done();
    expect(reply).toMatchObject({ ETag: `"${etag}"`, ChecksumCRC32: compositeCrc, ChecksumType: "COMPOSITE" });
    expect(stored()?.checksum).toEqual({ algorithm: "CRC32", type: "COMPOSITE", value: compositeCrc });
  });

  it("without a declared algorithm get a CRC64NVME", async () => {
    const id = await begin();
    const part = await sendPart(id, 1, "123456789");
    expect(await failure(complete(id, [part]))).toBe("400 InvalidPart");
    expect(await complete(id, [{ ...part, ChecksumCRC32: undefined }])).toMatchObject({
      ChecksumCRC64NVME: "rosUhgp5mIg=",
      ChecksumType: "FULL_OBJECT",
    });
  });

  it("verify what Complete says of a full object", async () => {
    const id = await begin(fullObject);
    const sent = await Promise.all(parts.map((part, index) => sendPart(id, index + 1, part)));
    const attempt = (more: object, list = sent) => failure(complete(id, list, more));
    expect(await attempt({ ChecksumCRC32: checksumOf("CRC32", Buffer.from("other")) })).toBe("400 BadDigest");
    expect(await attempt({ ChecksumCRC32: compositeCrc })).toBe("400 InvalidRequest");
    expect(await attempt({ ChecksumSHA1: checksumOf("SHA1", body) })).toBe("400 InvalidRequest");
    expect(await attempt({ ChecksumType: "COMPOSITE" })).toBe("400 InvalidRequest");
    expect(await attempt({ MpuObjectSize: 12 })).toBe("400 InvalidRequest");
    const [first = {}, second = {}, third = {}] = sent;
    expect(await attempt({}, [first, { ...second, ETag: '"0"' }, third])).toBe("400 InvalidPart");
    expect(await attempt({}, [first, { ...second, ChecksumCRC32: wholeCrc }, third])).toBe("400 InvalidPart");
    expect(await attempt({}, [first, { ...second, ChecksumCRC32: "abc" }, third])).toBe("400 InvalidArgument");
    expect(await attempt({}, [first, second, { ...third, PartNumber: 4 }])).toBe("400 InvalidPart");
    expect(await attempt({}, [first, third, second])).toBe("400 InvalidPartOrder");
    expect(await attempt({}, [first, first])).toBe("400 InvalidPartOrder");
    expect(await attempt({}, [first, third])).toBe("500 InternalError");
    expect(await attempt({}, [{ ...first, PartNumber: 0 }])).toBe("400 InvalidArgument");
    expect(stored()).toBeUndefined();
    const bare = sent.map(({ ChecksumCRC32: _, ...part }) => part);
    const said = { ChecksumCRC32: wholeCrc, ChecksumType: "FULL_OBJECT" as const, MpuObjectSize: body.length };
    expect(await complete(id, bare, said)).toMatchObject({ ETag: `"${etag}"`, ChecksumCRC32: wholeCrc });
    expect(await attempt({})).toBe("404 NoSuchUpload");
  });

  it("verify what Complete says of a composite checksum", async () => {
    const id = await begin(composite);
    const sent = await Promise.all(parts.map((part, index) => sendPart(id, index + 1, part)));
    const attempt = (more: object, list = sent) => failure(complete(id, list, more));
    const bare = sent.map(({ ChecksumCRC32: _, ...part }) => part);
    expect(await attempt({}, bare)).toBe("400 InvalidRequest");
    const foreign = bare.map((part) => ({ ...part, ChecksumCRC32C: "4waSgw==" }));
    expect(await attempt({}, foreign)).toBe("400 BadDigest");
    expect(await attempt({ ChecksumCRC32: wholeCrc })).toBe("400 BadDigest");
    expect(await attempt({ ChecksumCRC32: compositeCrc.replace(/3$/, "2") })).toBe("400 BadDigest");
    expect(await attempt({ ChecksumType: "FULL_OBJECT" })).toBe("400 InvalidRequest");
    const reply = await complete(id, sent, { ChecksumCRC32: compositeCrc.slice(0, -2) });
    expect(reply.ChecksumCRC32).toBe(compositeCrc);
  });

  it("refuse small parts other than the last", async () => {
    const id = await begin(composite);
    const sent = [await sendPart(id, 1, "small"), await sendPart(id, 2, "last")];
    expect(await failure(complete(id, sent))).toBe("400 EntityTooSmall");
  });

  it("refuse parts without the checksum they declared", async () => {
    const id = await begin(fullObject);
    const bare = connectTo(server.endpoint, { requestChecksumCalculation: "WHEN_REQUIRED" });
    const part = { Bucket, Key, UploadId: id, PartNumber: 1, Body: "b" };
    expect(await failure(bare.send(new UploadPartCommand(part)))).toBe("400 InvalidRequest");
    const other = new UploadPartCommand({ ...part, ChecksumAlgorithm: "SHA256" });
    expect(await failure(client.send(other))).toBe("400 InvalidRequest");
  });

  it.each([
    { ChecksumType: "FULL_OBJECT" },
    { ChecksumAlgorithm: "SHA256", ChecksumType: "FULL_OBJECT" },
    { ChecksumAlgorithm: "CRC64NVME", ChecksumType: "COMPOSITE" },
    { ChecksumAlgorithm: "CRC32", ChecksumType: "HALF_OBJECT" },
    { ChecksumAlgorithm: "CRC16" },
  ])("cannot declare %j", async (declared) => {
    const input = declared as Partial<CreateMultipartUploadCommandInput>;
    expect(await failure(begin(input))).toBe("400 InvalidRequest");
  });

  it.each(CHECKSUM_ALGORITHMS)("have by default the right type for %s", async (ChecksumAlgorithm) => {
    const type = ChecksumAlgorithm === "CRC64NVME" ? "FULL_OBJECT" : "COMPOSITE";
    const reply = await client.send(new CreateMultipartUploadCommand({ Bucket, Key, ChecksumAlgorithm }));
    expect(reply).toMatchObject({ ChecksumAlgorithm, ChecksumType: type });
  });

  it("refuse part numbers out of range and unknown ids", async () => {
    const id = await begin();
    const numbered = (PartNumber: number, UploadId = id, key = Key) =>
      failure(client.send(new UploadPartCommand({ Bucket, Key: key, UploadId, PartNumber, Body: "b" })));
    expect(await numbered(0)).toBe("400 InvalidArgument");
    expect(await numbered(10_001)).toBe("400 InvalidArgument");
    expect(await numbered(10_000)).toBe("no failure");
    expect(await numbered(1, "unknown")).toBe("404 NoSuchUpload");
    expect(await numbered(1, id, "another/key")).toBe("404 NoSuchUpload");
    const unknown = { Bucket, Key, UploadId: "unknown" };
    expect(await failure(client.send(new ListPartsCommand(unknown)))).toBe("404 NoSuchUpload");
    expect(await failure(client.send(new AbortMultipartUploadCommand(unknown)))).toBe("404 NoSuchUpload");
    expect(await failure(complete("unknown", [{ PartNumber: 1, ETag: '"e"' }]))).toBe("404 NoSuchUpload");
    await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId: id }));
    expect(await failure(client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId: id })))).toBe(
      "404 NoSuchUpload",
    );
  });

  it("refuse documents that are not well-formed", async () => {
    const id = await begin();
    const path = `/${Bucket}/${Key}?uploadId=${id}`;
    for (const text of [
      "",
      "<CompleteMultipartUpload/>",
      "<Other/>",
      "<CompleteMultipartUpload>",
      "<CompleteMultipartUpload><Part/></CompleteMultipartUpload>",
    ]) {
      expect(await rawFailure({ method: "POST", path, body: text })).toBe("400 MalformedXML");
    }
  });

  it("are completed only once under If-None-Match: *", async () => {
    const ids = await Promise.all([begin(fullObject), begin(fullObject)]);
    const sent = await Promise.all(ids.map((id) => sendPart(id, 1, "content")));
    const outcomes = ids.map((id, index) => failure(complete(id, [sent[index] ?? {}], { IfNoneMatch: "*" })));
    expect((await Promise.all(outcomes)).sort()).toEqual(["412 PreconditionFailed", "no failure"]);
    expect(server.buckets.get(Bucket)?.uploads.size).toBe(1);
    const [left = ""] = server.buckets.get(Bucket)?.uploads.keys() ?? [];
    const part = sent[ids.indexOf(left)] ?? {};
    expect(await failure(complete(left, [part], { IfNoneMatch: "etag" }))).toBe("501 NotImplemented");
    await client.send(new DeleteObjectCommand({ Bucket, Key }));
    expect(await failure(complete(left, [part], { IfNoneMatch: "*" }))).toBe("409 ConditionalRequestConflict");
    expect(await failure(complete(left, [part]))).toBe("no failure");
  });

  it("list their parts in pages", async () => {
    const id = await begin(fullObject);
    const upload = server.buckets.get(Bucket)?.uploads.get(id);
    for (let number = 2500; number >= 1; number--) {
      const part = Buffer.from(String(number));
      const checksum = { algorithm: "CRC32" as const, value: checksumOf("CRC32", part) };
      upload?.parts.set(number, { body: part, etag: "0".repeat(32), checksum, lastModified: new Date() });
    }
    const list = (more: object) => client.send(new ListPartsCommand({ Bucket, Key, UploadId: id, ...more }));
    const first = await list({});
    expect(first).toMatchObject({ IsTruncated: true, NextPartNumberMarker: "1000", MaxParts: 1000, ...fullObject });
    expect(first.Parts).toHaveLength(1000);
    expect(first.Parts?.[9]).toMatchObject({
      PartNumber: 10,
      Size: 2,
      ETag: `"${"0".repeat(32)}"`,
      ChecksumCRC32: checksumOf("CRC32", Buffer.from("10")),
    });
    expect((await list({ MaxParts: 5000 })).Parts).toHaveLength(1000);
    const last = await list({ PartNumberMarker: "2000" });
    expect(last).toMatchObject({ IsTruncated: false, NextPartNumberMarker: "2500" });
    expect(last.Parts?.map(({ PartNumber }) => PartNumber)).toEqual(Array.from({ length: 500 }, (_, i) => 2001 + i));
    expect((await list({ PartNumberMarker: "10", MaxParts: 2 })).Parts?.map(({ PartNumber }) => PartNumber)).toEqual([
      11, 12,
    ]);
  });

  it("are listed in pages", async () => {
    const keys = ["b", "a", "b", "c"];
    for (const key of keys) await begin({ Key: key });
    const list = (more: object) => client.send(new ListMultipartUploadsCommand({ Bucket, ...more }));
    const all = await list({});
    expect(all.Uploads?.map((upload) => upload.Key)).toEqual(["a", "b", "b", "c"]);
    const page = await list({ MaxUploads: 2 });
    expect(page).toMatchObject({
      IsTruncated: true,
      NextKeyMarker: "b",
      NextUploadIdMarker: all.Uploads?.[1]?.UploadId,
    });
    const rest = await list({ KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker });
    expect(rest.Uploads).toEqual(all.Uploads?.slice(2));
    expect((await list({ KeyMarker: "b" })).Uploads?.map((upload) => upload.Key)).toEqual(["c"]);
    expect((await list({ Prefix: "b" })).Uploads).toHaveLength(2);
    expect(await failure(list({ KeyMarker: "b", UploadIdMarker: "unknown" }))).toBe("400 InvalidArgument");
  });
});

describe("the server", () => {
  it("answers what it does not know, or is told not to know, with 501", async () => {
    const lesser = await start({ without: ["PutBucketPolicy"] });
    await lesser.client.send(new CreateBucketCommand({ Bucket }));
    const policy = new PutBucketPolicyCommand({ Bucket, Policy: "{}" });
    expect(await failure(lesser.client.send(policy))).toBe("501 NotImplemented");
    expect(lesser.server.requests.at(-1)).toMatchObject({ operation: "PutBucketPolicy", status: 501 });
    expect(await failure(client.send(new GetObjectTaggingCommand({ Bucket, Key })))).toBe("501 NotImplemented");
    const copy = new CopyObjectCommand({ Bucket, Key, CopySource: "a/b" });
    expect(await failure(client.send(copy))).toBe("501 NotImplemented");
    expect(await failure(put({ Tagging: "a=b" }))).toBe("501 NotImplemented");
    expect(await failure(put({ IfMatch: '"etag"' }))).toBe("501 NotImplemented");
    const conditional = new DeleteObjectCommand({ Bucket, Key, IfMatch: '"etag"' });
    expect(await failure(client.send(conditional))).toBe("501 NotImplemented");
    expect(await failure(client.send(new ListObjectsV2Command({ Bucket, Delimiter: "/" })))).toBe("501 NotImplemented");
    expect(await rawFailure({ method: "PATCH" })).toBe("501 NotImplemented");
    expect(server.requests.at(-1)).toMatchObject({ operation: "PATCH", status: 501 });
  });

  it("may keep no checksums", async () => {
    const lesser = await start({ checksums: false });
    await lesser.client.send(new CreateBucketCommand({ Bucket }));
    const Body = bytes(6 * MiB);
    const params = { Bucket, Key, Body, ChecksumAlgorithm: "CRC32", ChecksumType: "FULL_OBJECT" } as const;
    const reply = await new Upload({ client: lesser.client, params }).done();
    expect(reply).not.toHaveProperty("ChecksumCRC32");
    const small = await lesser.client.send(new PutObjectCommand({ Bucket, Key: "small", Body: "b" }));
    expect(small).not.toHaveProperty("ChecksumCRC32");
    const head = await lesser.client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: "ENABLED" }));
    expect(head).not.toHaveProperty("ChecksumCRC32");
    const wrong = new PutObjectCommand({ Bucket, Key, Body: "b", ChecksumCRC32: checksumOf("CRC32", Body) });
    expect(await failure(lesser.client.send(wrong))).toBe("400 BadDigest");
  });

  it("forgets on reset", async () => {
    await put();
    server.reset();
    expect(server.requests).toEqual([]);
    expect(await failure(put())).toBe("404 NoSuchBucket");
  });

  it("closes at once, and twice", async () => {
    const socket = connect(Number(new URL(server.endpoint).port), "127.0.0.1");
    const ended = new Promise((resolve) => socket.on("close", resolve));
    await new Promise((resolve) => socket.on("connect", resolve));
    await put();
    await Promise.all([server.close(), server.close()]);
    await ended;
    await expect(put()).rejects.toThrow(/ECONNREFUSED/);
  });
});

describe("parseXml", () => {
  it("reads elements, entities, comments and attributes", () => {
    const text = '<?xml version="1.0"?>\n<a xmlns="x"><!-- c --><b>&lt;&#65;&#x42;&amp;</b><c/></a>';
    expect(parseXml(text, "a").children).toMatchObject([
      { name: "b", text: "<AB&" },
      { name: "c", text: "" },
    ]);
  });

  it.each([
    "",
    "text",
    "<a>",
    "<a></b>",
    "<a/><a/>",
    "text<a/>",
    "<a>&nbsp;</a>",
    "<a>&amp</a>",
    "<a b=c/>",
    "<b/>",
    "</a>",
  ])("refuses %s", (text) => {
    expect(() => parseXml(text, "a")).toThrow(S3Error);
  });
});

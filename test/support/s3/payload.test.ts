import { createHash } from "node:crypto";
import { request } from "node:http";
import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { checksumHeader, checksumOf } from "./checksums.ts";
import {
  Bucket,
  bytes,
  failure,
  Key,
  overSocket,
  put,
  raw,
  rawFailure,
  serveEachTest,
  server,
  sha256,
  stored,
} from "./harness.ts";

serveEachTest();

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
    await expect.poll(() => server.requests.at(-1)?.operation).toBe("PutObject");
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

import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { crc32 } from "node:zlib";
import {
  AbortMultipartUploadCommand,
  CreateMultipartUploadCommand,
  type CreateMultipartUploadCommandInput,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { describe, expect, it } from "vitest";
import { CHECKSUM_ALGORITHMS, checksumOf } from "./checksums.ts";
import {
  Bucket,
  begin,
  bytes,
  client,
  complete,
  connectTo,
  failure,
  Key,
  MiB,
  rawFailure,
  sendPart,
  serveEachTest,
  server,
  stored,
} from "./harness.ts";

serveEachTest();

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

  it("replace an object under If-Match", async () => {
    const { ETag } = await client.send(new PutObjectCommand({ Bucket, Key, Body: "old" }));
    const ids = await Promise.all([begin(fullObject), begin(fullObject)]);
    const sent = await Promise.all(ids.map((id) => sendPart(id, 1, "content")));
    const outcomes = ids.map((id, index) => failure(complete(id, [sent[index] ?? {}], { IfMatch: ETag })));
    expect((await Promise.all(outcomes)).sort()).toEqual(["412 PreconditionFailed", "no failure"]);
    const [left = ""] = server.buckets.get(Bucket)?.uploads.keys() ?? [];
    const part = sent[ids.indexOf(left)] ?? {};
    await client.send(new DeleteObjectCommand({ Bucket, Key }));
    expect(await failure(complete(left, [part], { IfMatch: ETag }))).toBe("404 NoSuchKey");
    await client.send(new PutObjectCommand({ Bucket, Key, Body: "old" }));
    expect(await failure(complete(left, [part], { IfMatch: ETag }))).toBe("409 ConditionalRequestConflict");
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

/** `docproc register`: objects that others have stored, and what becomes of them. */
import { createHash, randomBytes } from "node:crypto";
import { GetObjectCommand, PutObjectCommand, type PutObjectCommandInput, S3Client } from "@aws-sdk/client-s3";
import { describe, expect, onTestFinished, test } from "vitest";
import { awsEndpoints, startInRepoAws } from "../../support/aws.ts";
import { startFaultProxy } from "../../support/fault-proxy.ts";
import { openEmptyLibrary, usePlace } from "../../support/library.ts";
import { openTwoLibraries } from "../../support/two-libraries.ts";

const dayAndMore = () => Date.now() + 25 * 3_600_000;
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

async function openBucket(endpoint: string, flags: readonly string[] = []) {
  const library = await openEmptyLibrary(endpoint);
  const client = new S3Client({ endpoint, forcePathStyle: true });
  onTestFinished(() => client.destroy());
  const Bucket = library.settings.bucket ?? "";
  return {
    ...library,
    client,
    uri: (key: string) => `s3://${Bucket}/${key}`,
    async put(Key: string, Body: Buffer | string, more: Partial<PutObjectCommandInput> = {}): Promise<string> {
      await client.send(new PutObjectCommand({ Bucket, Key, Body, ContentLength: Buffer.byteLength(Body), ...more }));
      return `s3://${Bucket}/${Key}`;
    },
    async get(Key: string): Promise<Buffer> {
      const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }));
      return Buffer.from((await Body?.transformToByteArray()) ?? []);
    },
    register: (...argv: string[]) => library.run(["register", ...argv, ...flags, "--json"]),
    doctor: async () => await library.run(["doctor", "--repair", "--yes", "--json"], { now: dayAndMore }),
  };
}

describe.each(Object.entries(awsEndpoints()))("an object of %s", (_place, start) => {
  const endpoint = usePlace(start);
  const open = (flags?: readonly string[]) => openBucket(endpoint() ?? "", flags);

  test("is a document once it is registered, like any other", async () => {
    const { put, register, run, doctor } = await open();
    const uri = await put("incoming/2026/an invoice+(1).txt", "hello", { ContentType: "text/x-invoice" });
    const registered = await register(uri, "--tag", "a=1", "--meta", "by=them");
    expect(registered).toMatchObject({ status: 0, stderr: "" });
    const record = registered.json();
    expect(record).toMatchObject({
      schema: "docproc.register/1",
      name: "an invoice+(1).txt",
      size: 5,
      contentType: "text/x-invoice",
      sha256: sha256(Buffer.from("hello")),
      uri,
      tags: { a: "1" },
      metadata: { by: "them" },
      source: { kind: "register", path: uri, modifiedAt: expect.any(String) },
      provenance: null,
      action: "registered",
    });
    expect(record.uploadedAt).toBe(record.source.modifiedAt);
    const { action: _action, schema: _schema, ...fields } = record;
    expect((await run(["show", record.id, "--json"])).json()).toEqual({ schema: "docproc.record/1", ...fields });
    expect((await run(["cat", "an invoice+(1).txt"])).stdout).toBe("hello");
    expect(await run(["verify", "--all", "--deep"])).toMatchObject({ status: 0 });
    expect((await doctor()).json()).toMatchObject({ findings: [], summary: { found: 0 } });
    expect((await run(["cat", record.id])).stdout).toBe("hello");
  });

  test("registered again is the same document, and is not read again", async () => {
    const { put, register, run } = await open();
    const uri = await put("a/b.txt", "bytes");
    const first = (await register(uri)).json();
    expect((await register(uri)).json()).toEqual({ ...first, action: "unchanged" });
    for (const other of [
      ["--name", "c.txt"],
      ["--tag", "x=1"],
    ]) {
      const outcome = await register(uri, ...other);
      expect(outcome).toMatchObject({ status: 5 });
      expect(outcome.json()).toMatchObject({ code: "CONFLICT", message: expect.stringContaining(first.id) });
    }
    // What is there now is another document.
    await put("a/b.txt", "other bytes");
    const second = (await register(uri)).json();
    expect(second).toMatchObject({ action: "registered", size: 11 });
    expect(second.id).not.toBe(first.id);
    const verified = await run(["verify", first.id, "--json"]);
    expect(verified).toMatchObject({ status: 6 });
  });

  test("that is the same document as another one is found to be it", async () => {
    const { put, register, run } = await open();
    const [one, two] = [await put("x/same.txt", "same"), await put("y/same.txt", "same")];
    const first = (await register(one)).json();
    const outcome = await register(two);
    expect(outcome.json()).toEqual({ ...first, action: "unchanged" });
    expect((await run(["register", two])).stderr).toContain(one);
    const beside = (await register(two, "--on-duplicate", "store")).json();
    expect(beside).toMatchObject({ action: "registered", uri: two });
    expect(beside.id).not.toBe(first.id);
  });

  test("stays when its record is deleted, and can be registered again", async () => {
    const { put, get, register, run, doctor } = await open();
    const uri = await put("theirs.txt", "theirs");
    const { id } = (await register(uri)).json();
    const deleted = await run(["delete", id, "--yes"]);
    expect(deleted).toMatchObject({ status: 0, stdout: expect.stringContaining(`bytes kept: ${uri}`) });
    expect((await get("theirs.txt")).toString()).toBe("theirs");
    expect((await doctor()).json()).toMatchObject({ findings: [] });
    expect((await get("theirs.txt")).toString()).toBe("theirs");
    expect((await register(uri)).json()).toMatchObject({ id, action: "registered" });
  });

  test("is copied with its id, and its copy is docproc's own", async () => {
    const at = endpoint() ?? "";
    const { run, bucket, list, expectSound } = await openTwoLibraries(at);
    const client = new S3Client({ endpoint: at, forcePathStyle: true });
    onTestFinished(() => client.destroy());
    await client.send(new PutObjectCommand({ Bucket: bucket, Key: "theirs", Body: "theirs" }));
    const { id } = (await run(["register", `s3://${bucket}/theirs`, "--use", "there", "--json"])).json();
    expect(await run(["copy", "--from", "there", "--to", "back"])).toMatchObject({ status: 0 });
    expect((await list("back"))[0]).toMatchObject({ id, source: { kind: "register" } });
    expect(await run(["delete", id, "--yes", "--use", "back"])).toMatchObject({ status: 0 });
    await expectSound("back");
  });

  test("of many parts is read in ranges, and its type is told by its bytes where it has none", async () => {
    const { put, register, run } = await open();
    const pdf = Buffer.concat([Buffer.from("%PDF-1.4\n"), randomBytes(9 * 1024 * 1024)]);
    const untyped = (await register(await put("paper", pdf))).json();
    expect(untyped).toMatchObject({ size: pdf.length, sha256: sha256(pdf), contentType: "application/pdf" });
    const given = await put("b", "plain", { ContentType: "application/octet-stream" });
    expect((await register(given, "--content-type", "x/given", "--name", "c")).json()).toMatchObject({
      contentType: "x/given",
      name: "c",
    });
    expect((await register(await put("empty.csv", ""))).json()).toMatchObject({ size: 0, contentType: "text/csv" });
    expect(await run(["verify", "--all", "--deep"])).toMatchObject({ status: 0 });
  });

  test("outside of the prefix, or under a key that needs no escaping, is found where it is", async () => {
    const { put, run, register, doctor } = await open(["--prefix", "docs"]);
    const keys = ["outside.txt", "docs/inside.txt", "100%25.txt", "größe ?#&.txt", "a//b.txt"];
    for (const key of keys)
      expect((await register(await put(key, key))).json()).toMatchObject({ action: "registered" });
    expect((await run(["list", "--all", "--json"])).json().count).toBe(keys.length);
    expect(await run(["verify", "--all", "--deep", "--prefix", "docs"])).toMatchObject({ status: 0 });
    for (const flags of [[], ["--prefix", "docs"]]) {
      expect((await run(["doctor", "--json", ...flags], { now: dayAndMore })).json()).toMatchObject({ findings: [] });
    }
    expect((await doctor()).json()).toMatchObject({ findings: [] });
  });

  test("that docproc stored itself is known, and without a record is none of its documents", async () => {
    const { run, register } = await open();
    const uploaded = (await run(["upload", "-", "--name", "own", "--json"], { stdin: "own" })).json().documents[0];
    expect((await register(uploaded.uri)).json()).toMatchObject({ id: uploaded.id, action: "unchanged" });
    const stray = uploaded.uri.replaceAll(uploaded.id, uploaded.id.replace(/^./, "1"));
    const outcome = await register(stray);
    expect(outcome).toMatchObject({ status: 2 });
    expect(outcome.json().hint).toContain("docproc import");
  });

  test("is refused where it cannot be", async () => {
    const { put, register, uri } = await open();
    const refused = async (status: number, ...argv: string[]) => {
      const outcome = await register(...argv);
      expect(outcome).toMatchObject({ status });
      expect(outcome.json().schema).toBe("docproc.error/1");
      return `${outcome.json().message} ${outcome.json().hint}`;
    };
    expect(await refused(2, "s3://another-bucket/key")).toContain("--bucket");
    expect(await refused(2, uri(""))).toContain("--bucket");
    expect(await refused(2, "./file.txt")).toContain("docproc upload");
    expect(await refused(2, "file:///etc/passwd")).toContain("docproc upload");
    expect(await refused(2, await put("folder/", ""))).toContain("--name");
    expect(await refused(2, uri("a/../b"))).toContain("another key");
    expect(await refused(2, uri("./b"))).toContain("another key");
    expect(await refused(3, uri("nothing"))).toContain("does not exist");
    expect(await refused(2, uri("nothing"), "--content-type", "nonsense")).toContain("content type");
    expect(await refused(2, uri("nothing"), "--tag", "nonsense")).toContain("key=value");
  });
});

describe("an object", () => {
  async function openBehindProxy() {
    const aws = await startInRepoAws();
    const proxy = await startFaultProxy(aws.endpoint);
    onTestFinished(async () => {
      await proxy.close();
      await aws.close();
    });
    return { ...(await openBucket(proxy.endpoint)), aws, proxy };
  }

  test("that changes while it is read is not recorded", async () => {
    const { put, register, run, proxy, aws, settings } = await openBehindProxy();
    const uri = await put("a", "before");
    const object = aws.s3.buckets.get(settings.bucket ?? "")?.objects.get("a");
    // Changed between the reading and the second look.
    const overwrite = put("b", "other bytes").then(() => {
      const other = aws.s3.buckets.get(settings.bucket ?? "")?.objects.get("b");
      return () => other && aws.s3.buckets.get(settings.bucket ?? "")?.objects.set("a", other);
    });
    const change = await overwrite;
    let heads = 0;
    proxy.inject({
      operation: ({ operation }) => {
        heads += operation === "HeadObject" ? 1 : 0;
        if (heads === 2) change();
        return false;
      },
      action: { kind: "reset" },
    });
    const outcome = await register(uri);
    expect(outcome).toMatchObject({ status: 6 });
    expect(outcome.json()).toMatchObject({ code: "INTEGRITY", message: expect.stringContaining("changed") });
    expect((await run(["list", "--json"])).json().count).toBe(0);
    expect(object?.body.toString()).toBe("before");
  });

  test("that arrives with other bytes than the storage has a checksum of is not recorded", async () => {
    const { put, register, run, proxy } = await openBehindProxy();
    const uri = await put("a", "some bytes");
    proxy.inject({ operation: "GetObject", action: { kind: "flip-byte", offset: 3, in: "reply" } });
    expect(await register(uri)).toMatchObject({ status: 6 });
    expect((await run(["list", "--json"])).json().count).toBe(0);
  });

  test("is read on where the connection breaks off, and recorded once where the answer is lost", async () => {
    const { put, register, run, proxy } = await openBehindProxy();
    const bytes = randomBytes(300_000);
    const uri = await put("a", bytes);
    proxy.inject({ operation: "GetObject", nth: 1, action: { kind: "truncate", bytes: 100_000 } });
    proxy.inject({ operation: "TransactWriteItems", nth: 1, action: { kind: "lose-reply" } });
    expect((await register(uri)).json()).toMatchObject({ sha256: sha256(bytes) });
    expect((await run(["list", "--json"])).json().count).toBe(1);
  });

  test("of the embedded library is refused", async () => {
    const { run } = await openEmptyLibrary();
    const outcome = await run(["register", "s3://bucket/key", "--json"]);
    expect(outcome).toMatchObject({ status: 2 });
    expect(outcome.json().hint).toContain("docproc upload");
    expect(await run(["register"])).toMatchObject({ status: 2, stdout: "" });
  });
});

/** The table of what docproc needs on AWS, held against the calls that its commands make. */
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DeleteItemCommand, DynamoDBClient, UpdateTableCommand } from "@aws-sdk/client-dynamodb";
import { DeleteObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type Role, roles } from "../../src/core/policy.ts";
import type { DocumentRecord } from "../../src/document/record.ts";
import { dynamodbCalls } from "../../src/metadata/dynamodb/permissions.ts";
import { copyObject } from "../../src/storage/s3/copy.ts";
import { s3Calls } from "../../src/storage/s3/permissions.ts";
import { awsSettings, type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { type Fault, type FaultRule, startFaultProxy } from "../support/fault-proxy.ts";
import { docproc } from "../support/process.ts";
import { makeSandbox, type RunOptions, runDocproc } from "../support/run.ts";
import { certificate, startTlsProxy } from "../support/tls-proxy.ts";

/** GetCallerIdentity, which needs no permission: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html */
const sts = "POST";

const parts = ["--part-size", "5MiB"];
const once = ["--retries", "0"];
const mebibyte = 1024 * 1024;
const dayAndAnHour = 25 * 3_600_000;

let aws: InRepoAws;
beforeAll(async () => {
  aws = await startInRepoAws();
});
afterAll(() => aws.close());

type Stored = Pick<DocumentRecord, "id" | "uri" | "size" | "crc32" | "sha256">;

async function openRecorded() {
  const sandbox = await makeSandbox();
  const proxy = await startFaultProxy(aws.endpoint);
  const tls = await startTlsProxy(proxy.endpoint);
  const client = new S3Client({ endpoint: aws.endpoint, forcePathStyle: true });
  const bucket = awsSettings("").bucket ?? "";
  onTestFinished(async () => {
    client.destroy();
    tls.close();
    await proxy.close();
    aws.s3.buckets.delete(bucket);
  });
  const flags = ["--endpoint-url", proxy.endpoint, "--bucket", bucket];
  const made = new Set<string>();
  let before = aws.dynamodb.requests.length;

  /** Runs one command, and expects it to end like this. */
  const run = async (status: number, argv: readonly string[], options?: RunOptions) => {
    const outcome = await runDocproc(sandbox, [...argv, ...flags, "--json"], options);
    expect(outcome, `${argv.join(" ")}: ${outcome.stderr}`).toMatchObject({ status });
    return outcome;
  };
  const file = async (name: string, content: string | Buffer) => {
    await writeFile(join(sandbox.cwd, name), content);
    return name;
  };
  /** What was called, items of transactions behind a slash. */
  const called = (): Set<string> => {
    for (const { service, operation } of proxy.log) if (service === "s3" && operation !== sts) made.add(operation);
    for (const { operation, body } of aws.dynamodb.requests.slice(before)) {
      const { TransactItems } = body as { TransactItems?: object[] };
      for (const name of TransactItems?.flatMap((item) => Object.keys(item)) ?? [""]) {
        made.add(name === "" ? operation : `${operation}/${name}`);
      }
    }
    return made;
  };
  return {
    bucket,
    proxy,
    called,
    run,
    file,
    client,
    /** Runs one command while a request fails. */
    async failing(status: number, rule: FaultRule, argv: string[]) {
      proxy.inject(rule);
      await run(status, argv);
      proxy.clear();
    },
    upload: async (name: string, content: string | Buffer, ...argv: string[]): Promise<Stored> =>
      (await run(0, ["upload", await file(name, content), ...parts, ...argv])).json().documents[0],
    /** Runs it as a process, over TLS: there is a bucket policy only then. */
    async overTls(argv: readonly string[]) {
      const authority = join(sandbox.root, "ca.pem");
      await writeFile(authority, certificate);
      const where = ["--endpoint-url", tls.endpoint, "--bucket", bucket];
      const outcome = await docproc(sandbox, [...argv, ...where], { env: { NODE_EXTRA_CA_CERTS: authority } });
      expect(outcome).toMatchObject({ status: 0 });
    },
    /** Copies the bytes of a document inside the bucket, at once and in parts. */
    async copyInside({ uri, size, crc32: checksum, sha256 }: Stored) {
      const crc32 = Number.parseInt(checksum ?? "", 16);
      const settings = awsSettings(proxy.endpoint, { bucket });
      const through = new S3Client({ endpoint: proxy.endpoint, forcePathStyle: true });
      for (const atOnce of [size, 5 * mebibyte]) {
        const target = { client: through, bucket, key: `copies/${atOnce}.bin` };
        const options = { size, crc32, sha256, contentType: "", catalog: "", signal: new AbortController().signal };
        const copied = await copyObject(uri.slice(`s3://${bucket}/`.length), target, options, settings, atOnce);
        expect(copied).toMatchObject({ size, bytesSent: 0 });
        await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: target.key }));
      }
      through.destroy();
    },
    /** Does something that no command does. */
    async unrecorded(work: () => Promise<unknown>) {
      called();
      await work();
      proxy.log.length = 0;
      before = aws.dynamodb.requests.length;
    },
  };
}

type Recorded = Awaited<ReturnType<typeof openRecorded>>;

const lost: Fault = { kind: "lose-reply" };
const broken: Fault = { kind: "status", status: 500 };

/** Everything that is behind `docproc policy upload`, what goes wrong on the way included. */
async function upload({ run, failing, upload, file, client, bucket, copyInside, proxy }: Recorded): Promise<void> {
  await upload("small.txt", "small");
  await upload("small.txt", "small");
  await upload("large.bin", randomBytes(12 * mebibyte));
  await upload("large.bin", randomBytes(12 * mebibyte));
  const several = await Promise.all(Array.from({ length: 8 }, (_, n) => file(`${n}.txt`, `${n}`)));
  await run(0, ["upload", ...several, "--concurrency", "8"]);
  await run(0, ["upload", ...several, "--concurrency", "8"]);
  await run(0, ["upload", ...several, "--on-duplicate", "store"]);
  await run(0, ["upload", "-", "--name", "stdin.txt"], { stdin: "from stdin" });
  await run(0, ["tag", "small.txt", "build=42"]);
  const records = (await run(0, ["list"])).json().documents.map((record: object) => JSON.stringify(record));
  await run(0, ["import"], { stdin: records.join("\n") });
  await client.send(new PutObjectCommand({ Bucket: bucket, Key: "of/others.txt", Body: "others" }));
  await run(0, ["register", `s3://${bucket}/of/others.txt`]);

  const resumed = ["upload", await file("resumed.bin", randomBytes(12 * mebibyte)), ...parts, ...once];
  await failing(8, { operation: "UploadPart", nth: 3, action: broken }, resumed);
  await run(0, resumed);
  const again = ["upload", await file("again.bin", randomBytes(12 * mebibyte)), ...parts, ...once, "--no-resume"];
  await failing(8, { operation: "UploadPart", nth: 3, action: broken }, again);
  await failing(8, { operation: "CreateMultipartUpload", action: lost }, again);
  await failing(8, { operation: "CompleteMultipartUpload", action: lost }, again);
  await failing(8, { operation: "PutObject", action: lost }, ["upload", await file("lost.txt", "lost"), ...once]);
  await failing(0, { operation: "PutObject", nth: 1, action: lost }, ["upload", await file("found.txt", "found")]);
  await failing(0, { operation: "TransactWriteItems", nth: 1, action: lost }, ["upload", await file("c.txt", "c")]);

  await copyInside(await upload("source.bin", randomBytes(6 * mebibyte)));

  // So slow that its bytes count as garbage, and are gone: the record goes as well.
  proxy.inject({ operation: "HeadObject", action: { kind: "status", status: 404 } });
  const slow = ["upload", await file("slow.txt", "slow"), ...once];
  await run(6, slow, { now: () => Date.now() + dayAndAnHour });
  proxy.clear();

  const { uri } = await upload("restored.txt", "restored");
  await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: uri.slice(`s3://${bucket}/`.length) }));
  const { url, headers, method } = (await run(0, ["url", "restored.txt", "--put"])).json();
  expect((await fetch(url, { method, headers, body: "restored" })).status).toBe(200);
}

/** Puts something in place for readers. */
async function stock({ upload }: Recorded): Promise<{ small: string }> {
  await upload("large.bin", randomBytes(20 * mebibyte));
  const { id } = await upload("small.txt", "small", "--tag", "build=42");
  return { small: id };
}

async function read({ run }: Recorded, { small }: { small: string }): Promise<void> {
  await run(0, ["list"]);
  await run(0, ["list", "--all", "--tag", "build=42"]);
  await run(0, ["list", "--name", "small.txt"]);
  await run(0, ["list", "--name", "*.bin"]);
  await run(0, ["show", small]);
  await run(0, ["show", small.slice(0, 30)]);
  await run(0, ["show", "large.bin"]);
  await run(3, ["show", "missing"]);
  await run(0, ["download", "large.bin", "small.txt", "-o", "out/"]);
  await run(2, ["cat", "small.txt"]);
  await run(0, ["verify", "--all"]);
  await run(0, ["verify", "small.txt", "--deep"]);
  await run(0, ["stats"]);
  await run(0, ["export", "-o", "records.ndjson"]);
  const { url } = (await run(0, ["url", "small.txt"])).json();
  expect((await fetch(url)).status).toBe(200);
}

/** What an administrator finds: settings that are gone, bytes without a record, a place without a document. */
async function damage({ bucket, upload }: Recorded): Promise<void> {
  const settings = aws.s3.buckets.get(bucket);
  if (settings === undefined) throw new Error("init made no bucket");
  for (const name of ["publicAccessBlock", "ownership", "encryption"] as const) delete settings[name];
  const table = new DynamoDBClient({ endpoint: aws.endpoint });
  await table.send(new UpdateTableCommand({ TableName: bucket, DeletionProtectionEnabled: false }));
  const { id } = await upload("gone.txt", "gone");
  const pk = { S: `doc#${Number.parseInt(id.slice(-1), 16) % 8}` };
  await table.send(new DeleteItemCommand({ TableName: bucket, Key: { pk, sk: { S: id } } }));
  table.destroy();
  for (const object of settings.objects.values()) object.lastModified = new Date(Date.now() - dayAndAnHour);
}

const scenarios: Readonly<Record<Role, (recorded: Recorded) => Promise<void>>> = {
  async upload(recorded) {
    await recorded.unrecorded(() => recorded.run(0, ["init"]));
    await upload(recorded);
  },
  async read(recorded) {
    let stored = { small: "" };
    await recorded.unrecorded(async () => {
      await recorded.run(0, ["init"]);
      stored = await stock(recorded);
    });
    await read(recorded, stored);
  },
  async admin(recorded) {
    const { run, overTls, unrecorded } = recorded;
    await run(0, ["init", "--plan"]);
    await run(0, ["init"]);
    await upload(recorded);
    const stored = await stock(recorded);
    await read(recorded, stored);
    await unrecorded(() => damage(recorded));
    await overTls(["init"]);
    const repaired = await run(0, ["doctor", "--repair"], { now: () => Date.now() + dayAndAnHour });
    expect(repaired.json().findings.map(({ code }: { code: string }) => code)).toContain("ORPHAN_PLACE");
    await run(0, ["delete", stored.small, "--yes"]);
    await run(5, ["destroy", "--confirm", recorded.bucket]);
    const left = (await run(0, ["list", "--all"])).json().documents.map(({ id }: { id: string }) => id);
    await run(0, ["delete", ...left, "--yes"]);
    const ofOthers = new DeleteObjectCommand({ Bucket: recorded.bucket, Key: "of/others.txt" });
    await unrecorded(() => recorded.client.send(ofOthers));
    await run(0, ["destroy", "--confirm", recorded.bucket]);
  },
};

describe.each(roles)("the policy for %s", (role) => {
  test("grants what its commands call, and nothing else", { timeout: 120_000 }, async () => {
    const recorded = await openRecorded();
    await scenarios[role](recorded);
    const called = recorded.called();
    const calls = [...s3Calls, ...dynamodbCalls];
    const granted = new Set(calls.flatMap(([operation, , , to]) => (to.includes(role) ? [operation] : [])));
    expect([...called].filter((operation) => !granted.has(operation)).sort(), "called, not granted").toEqual([]);
    const unused = [...granted].filter((operation) => !called.has(operation));
    expect(unused.sort(), "granted, not called").toEqual([]);
  });
});

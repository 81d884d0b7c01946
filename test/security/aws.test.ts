/** What guards a bucket and a table: whose they have to be, and how init leaves them. */
import { randomBytes } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DescribeTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import {
  GetBucketEncryptionCommand,
  GetBucketLifecycleConfigurationCommand,
  GetBucketOwnershipControlsCommand,
  GetBucketPolicyCommand,
  GetPublicAccessBlockCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { awsEndpoints, awsSettings, type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { type ProxiedRequest, startFaultProxy } from "../support/fault-proxy.ts";
import { awsState, complaints } from "../support/oracle.ts";
import { docproc } from "../support/process.ts";
import { makeSandbox, runDocproc } from "../support/run.ts";
import { certificate, startTlsProxy } from "../support/tls-proxy.ts";

const mebibyte = 1024 * 1024;
const owner = "123456789012";
const another = "999999999999";

let aws: InRepoAws;
beforeAll(async () => {
  aws = await startInRepoAws({ ownerAccount: owner });
});
afterAll(() => aws.close());

async function open() {
  const sandbox = await makeSandbox();
  const bucket = awsSettings("").bucket ?? "";
  const proxy = await startFaultProxy(aws.endpoint);
  onTestFinished(() => proxy.close());
  await writeFile(join(sandbox.cwd, "small.txt"), "small");
  await writeFile(join(sandbox.cwd, "large.bin"), randomBytes(16 * mebibyte));
  const flags = ["--endpoint-url", proxy.endpoint, "--bucket", bucket];
  const run = (...argv: string[]) => runDocproc(sandbox, [...argv, "--json"]);
  return { sandbox, bucket, proxy, flags, run, state: awsState(aws, bucket) };
}

describe("the owner of the bucket", () => {
  const ownerOf = ({ headers }: ProxiedRequest) => headers["x-amz-expected-bucket-owner"];
  /** A bucket that is being made has no owner yet; the path of all of them, and of STS, names none. */
  const namesBucket = ({ service, operation, path }: ProxiedRequest) =>
    service === "s3" && operation !== "CreateBucket" && !/^\/(\?|$)/.test(path);
  // Two parts at a time: the first two are stored before the third fails.
  const upload = ["upload", "large.bin", "--part-size", "5MiB", "--parts-in-flight", "2"];

  test.each(["is given", "is found out by init"])(
    "is named in every request once it %s",
    async (how) => {
      const { sandbox, proxy, flags, run, state } = await open();
      const given = how === "is given" ? ["--bucket-owner", owner] : [];
      expect(await run("init", ...flags, ...given)).toMatchObject({ status: 0 });
      expect(JSON.parse(await readFile(join(sandbox.cwd, ".docprocrc.json"), "utf8"))).toMatchObject({
        bucketOwner: owner,
      });
      // What init asks before it knows the owner cannot name it.
      if (how !== "is given") proxy.log.length = 0;
      // An upload that breaks off and is gone on with, and one that is given up, in the middle and at its end.
      const broken = { kind: "status", status: 500 } as const;
      const third = ({ path }: ProxiedRequest) => path.includes("partNumber=3");
      proxy.inject({ operation: third, action: broken });
      expect(await run(...upload, "--retries", "0")).toMatchObject({ status: 8 });
      expect(await run(...upload, "--retries", "0", "--no-resume", "--name", "other.bin")).toMatchObject({ status: 8 });
      proxy.clear();
      expect((await run(...upload)).json().documents).toMatchObject([{ action: "resumed" }]);
      proxy.inject({ operation: "CompleteMultipartUpload", nth: 1, action: { kind: "lose-reply" } });
      expect(await run(...upload, "--name", "again.bin")).toMatchObject({ status: 0 });
      proxy.inject({ operation: "PutObject", nth: 1, action: { kind: "lose-reply" } });
      expect(await run("upload", "small.txt")).toMatchObject({ status: 0 });
      proxy.inject({
        operation: "TransactWriteItems",
        nth: 1,
        action: { ...broken, status: 400, code: "AccessDenied" },
      });
      await run("upload", "small.txt", "--name", "refused.txt");
      for (const argv of [["download", "large.bin", "-o", "copy"], ["verify", "--all", "--deep"], ["list"]]) {
        expect(await run(...argv)).toMatchObject({ status: 0 });
      }
      expect(await run("delete", "again.bin", "--yes")).toMatchObject({ status: 0 });
      // Something for a doctor to look at and to remove.
      proxy.inject({ operation: third, action: broken });
      expect(await run(...upload, "--retries", "0", "--name", "left.bin")).toMatchObject({ status: 8 });
      proxy.clear();
      await rm(sandbox.state, { recursive: true });
      await state.age();
      expect((await run("doctor", "--repair")).json().summary.repaired).toBeGreaterThan(0);
      expect(await run("init")).toMatchObject({ status: 0 });

      const named = proxy.log.filter(namesBucket);
      expect(named.filter((request) => ownerOf(request) !== owner).map(({ operation }) => operation)).toEqual([]);
      expect([...new Set(named.map(({ operation }) => operation))]).toEqual(
        expect.arrayContaining([
          ...["HeadBucket", "PutObject", "HeadObject", "GetObject", "DeleteObject", "ListObjectsV2", "ListParts"],
          ...["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "AbortMultipartUpload"],
          ...["ListMultipartUploads", "GetPublicAccessBlock", "GetBucketLifecycleConfiguration"],
        ]),
      );
      expect(await complaints(state, (await run("list", "--all")).json().documents, { garbage: true })).toEqual([]);
    },
    60_000,
  );

  test("that is another one is refused, and nothing is stored, read or removed", async () => {
    const { sandbox, bucket, proxy, flags, run, state } = await open();
    expect(await run("init", ...flags)).toMatchObject({ status: 0 });
    expect(await run("upload", "small.txt", "--name", "there.txt")).toMatchObject({ status: 0 });
    const before = await Promise.all([state.objects(), state.catalog()]);
    proxy.log.length = 0;
    const wrong = ["--bucket-owner", another];
    for (const argv of [
      ["upload", "small.txt"],
      upload,
      [...upload, "--no-resume"],
      ["download", "there.txt", "-o", "copy"],
      ["verify", "there.txt"],
      ["doctor", "--repair"],
      ["init"],
    ]) {
      const outcome = await run(...argv, ...wrong);
      expect({ argv, status: outcome.status }).toEqual({ argv, status: 4 });
    }
    expect(await Promise.all([state.objects(), state.catalog()])).toEqual(before);
    expect(await state.leftovers()).toEqual([]);
    expect(proxy.log.filter(namesBucket).filter(({ status }) => status !== 403)).toEqual([]);
    expect(aws.s3.buckets.get(bucket)?.objects.size).toBe(1);
    await expect(readFile(join(sandbox.cwd, "copy"))).rejects.toThrow();
  });
});

/** Requests that change something; a probe is an object that is put and removed again. */
const changes = (log: readonly ProxiedRequest[]) =>
  log
    .filter(({ operation }) => !/^(Get|Head|List|Describe)/.test(operation))
    .filter(({ operation, path, service }) => !(service === "s3" && path === "/" && operation === "POST"))
    .filter(({ operation, path }) => !(/^(PutObject|DeleteObject)$/.test(operation) && /\/probe(\?|$)/.test(path)))
    .map(({ operation }) => operation);

describe.each(Object.entries(awsEndpoints()))("init on %s", (_name, startAws) => {
  test("changes nothing the second time but the probe", async () => {
    const { endpoint, close } = await startAws();
    onTestFinished(close);
    const proxy = await startFaultProxy(endpoint);
    onTestFinished(() => proxy.close());
    const sandbox = await makeSandbox();
    const flags = ["--endpoint-url", proxy.endpoint, "--bucket", awsSettings("").bucket ?? "", "--json"];
    const first = await runDocproc(sandbox, ["init", ...flags]);
    expect(first).toMatchObject({ status: 0 });
    expect(changes(proxy.log)).toEqual(expect.arrayContaining(["CreateBucket", "CreateTable"]));
    const config = await readFile(join(sandbox.cwd, ".docprocrc.json"), "utf8");
    for (const again of [
      ["init", ...flags],
      ["init", "--json"],
      ["init", "--plan", "--json"],
    ]) {
      proxy.log.length = 0;
      const outcome = await runDocproc(sandbox, again);
      expect(outcome).toMatchObject({ status: 0 });
      const actions = outcome.json().resources.map(({ action }: { action: string }) => action);
      expect(new Set(actions.filter((action: string) => action !== "unsupported"))).toEqual(new Set(["exists"]));
      // What the endpoint does not have may be asked for again.
      const unsupported = changes(proxy.log).filter(
        (operation) => !/^(Put(Bucket|Public)|UpdateTable)/.test(operation),
      );
      expect(unsupported).toEqual([]);
      if (actions.every((action: string) => action === "exists")) expect(changes(proxy.log)).toEqual([]);
    }
    expect(await readFile(join(sandbox.cwd, ".docprocrc.json"), "utf8")).toBe(config);
  });
});

test("every hardening of a bucket and a table is there when init says so, and stays", async () => {
  const proxy = await startFaultProxy(aws.endpoint);
  const tls = await startTlsProxy(proxy.endpoint);
  const sandbox = await makeSandbox();
  const bucket = awsSettings("").bucket ?? "";
  const authority = join(sandbox.root, "authority.pem");
  await writeFile(authority, certificate);
  const s3 = new S3Client({ endpoint: aws.endpoint, forcePathStyle: true });
  const dynamodb = new DynamoDBClient({ endpoint: aws.endpoint });
  onTestFinished(async () => {
    s3.destroy();
    dynamodb.destroy();
    tls.close();
    await proxy.close();
  });
  // Over TLS, so that a policy which insists on it locks nobody out.
  const flags = ["--endpoint-url", tls.endpoint, "--bucket", bucket, "--json"];
  const init = async () => await docproc(sandbox, ["init", ...flags], { env: { NODE_EXTRA_CA_CERTS: authority } });
  const made = await init();
  expect(made).toMatchObject({ status: 0, stderr: "" });
  const Bucket = bucket;
  expect((await s3.send(new GetPublicAccessBlockCommand({ Bucket }))).PublicAccessBlockConfiguration).toEqual({
    BlockPublicAcls: true,
    IgnorePublicAcls: true,
    BlockPublicPolicy: true,
    RestrictPublicBuckets: true,
  });
  const { OwnershipControls } = await s3.send(new GetBucketOwnershipControlsCommand({ Bucket }));
  expect(OwnershipControls?.Rules).toEqual([{ ObjectOwnership: "BucketOwnerEnforced" }]);
  const encryption = await s3.send(new GetBucketEncryptionCommand({ Bucket }));
  const [rule] = encryption.ServerSideEncryptionConfiguration?.Rules ?? [];
  expect(rule?.ApplyServerSideEncryptionByDefault?.SSEAlgorithm).toBe("AES256");
  const { Policy = "" } = await s3.send(new GetBucketPolicyCommand({ Bucket }));
  expect(JSON.parse(Policy).Statement).toEqual([
    expect.objectContaining({
      Effect: "Deny",
      Principal: "*",
      Action: "s3:*",
      Resource: [`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`],
      Condition: { Bool: { "aws:SecureTransport": "false" } },
    }),
  ]);
  const { Rules = [] } = await s3.send(new GetBucketLifecycleConfigurationCommand({ Bucket }));
  expect(Rules).toMatchObject([
    { Status: "Enabled", Filter: { Prefix: "" }, AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 } },
  ]);
  const { Table } = await dynamodb.send(new DescribeTableCommand({ TableName: bucket }));
  expect(Table).toMatchObject({
    DeletionProtectionEnabled: true,
    BillingModeSummary: { BillingMode: "PAY_PER_REQUEST" },
    KeySchema: [
      { AttributeName: "pk", KeyType: "HASH" },
      { AttributeName: "sk", KeyType: "RANGE" },
    ],
  });
  proxy.log.length = 0;
  const again = JSON.parse((await init()).stdout);
  expect(again.resources.filter(({ action }: { action: string }) => action !== "exists")).toEqual([]);
  expect(again.resources.length).toBeGreaterThan(9);
  expect(changes(proxy.log)).toEqual([]);
});

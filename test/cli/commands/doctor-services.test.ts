/** `docproc doctor` on what the library is made of: credentials, clocks, bucket and table, and how init left them. */
import { DynamoDBClient, UpdateTableCommand } from "@aws-sdk/client-dynamodb";
import {
  DeleteBucketLifecycleCommand,
  DeletePublicAccessBlockCommand,
  PutPublicAccessBlockCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { newDocumentId, storageKey } from "../../../src/document/record.ts";
import type { Finding } from "../../../src/library/doctor.ts";
import { type AwsEndpoint, awsEndpoints, startInRepoAws } from "../../support/aws.ts";
import { type FaultRule, startFaultProxy } from "../../support/fault-proxy.ts";
import { openLibrary, usePlace } from "../../support/library.ts";
import { type RunOptions, runDocproc } from "../../support/run.ts";
import type { S3ServerOptions } from "../../support/s3-server.ts";

const minute = 60_000;
const always = (operation: string, status: number, code: string): FaultRule => ({
  operation,
  action: { kind: "status", status, code },
});

/** A library behind a proxy that fails as told. */
async function openBehindProxy({ endpoint }: Pick<AwsEndpoint, "endpoint">) {
  const library = await openLibrary(endpoint);
  const { sandbox } = library;
  const proxy = await startFaultProxy(endpoint);
  onTestFinished(() => proxy.close());
  const doctor = async (argv: readonly string[] = [], options?: RunOptions) => {
    const flags = ["--endpoint-url", proxy.endpoint, "--retries", "1", "--json"];
    const outcome = await runDocproc(sandbox, ["doctor", ...flags, ...argv], options);
    return { status: outcome.status, stderr: outcome.stderr, ...outcome.json() };
  };
  return { ...library, proxy, doctor };
}

async function openInRepo(options?: S3ServerOptions) {
  const aws = await startInRepoAws(options);
  onTestFinished(() => aws.close());
  return { aws, ...(await openBehindProxy(aws)) };
}

const of = (code: string) => expect.objectContaining({ code, repaired: false, fix: expect.stringMatching(/\.$/) });

describe.each(Object.entries(awsEndpoints()))("a doctor of services on %s", (_place, start) => {
  const endpoint = usePlace(start);
  const open = async () => {
    const s3 = new S3Client({ endpoint: endpoint() ?? "", forcePathStyle: true });
    const dynamodb = new DynamoDBClient({ endpoint: endpoint() ?? "" });
    onTestFinished(() => {
      s3.destroy();
      dynamodb.destroy();
    });
    return { s3, dynamodb, ...(await openBehindProxy({ endpoint: endpoint() ?? "" })) };
  };

  test("finds all of it as init left it, and says what the endpoint does not have", async () => {
    const { doctor } = await open();
    const { status, findings, checks } = await doctor();
    expect({ status, findings }).toEqual({ status: 0, findings: [] });
    const statuses = Object.fromEntries(checks.map(({ check, status }: Record<string, string>) => [check, status]));
    expect(statuses).toMatchObject({
      config: "ok",
      "storage clock": "ok",
      "metadata clock": "ok",
      bucket: "ok",
      "public-access-block": "ok",
      "owner-enforced": "ok",
      "default-encryption": "ok",
      // Nobody can ask for TLS here.
      "tls-only-policy": "weaker",
      "abort-incomplete-uploads": "ok",
      table: "ok",
      documents: "ok",
    });
  });

  test("names what was changed since, leaves it to init, and init sets it right", async () => {
    const { s3, dynamodb, settings, run, doctor } = await open();
    const { bucket: Bucket, table: TableName } = settings;
    const isProtection = ({ check, status }: Record<string, string>) =>
      check === "deletion-protection" && status === "ok";
    const wasProtected = (await doctor()).checks.some(isProtection);
    const block = {
      BlockPublicAcls: true,
      IgnorePublicAcls: false,
      BlockPublicPolicy: true,
      RestrictPublicBuckets: true,
    };
    await s3.send(new PutPublicAccessBlockCommand({ Bucket, PublicAccessBlockConfiguration: block }));
    await s3.send(new DeleteBucketLifecycleCommand({ Bucket }));
    await dynamodb.send(new UpdateTableCommand({ TableName, DeletionProtectionEnabled: false }));
    for (const argv of [[], ["--repair"]]) {
      const { status, findings } = await doctor(argv);
      expect(status).toBe(6);
      // Not where an emulator accepts it and forgets it.
      const unprotected = expect.objectContaining({ name: `deletion-protection of ${TableName}` });
      if (wasProtected) expect(findings).toContainEqual(unprotected);
      expect(Object.fromEntries(findings.map(({ name, message }: Finding) => [name, message]))).toMatchObject({
        [`public-access-block of ${Bucket}`]: "It differs from what docproc init sets up.",
        [`abort-incomplete-uploads of ${Bucket}`]: "It does not exist.",
      });
      for (const finding of findings) expect(finding).toMatchObject({ code: "DRIFT", fix: "Run docproc init." });
    }
    await s3.send(new DeletePublicAccessBlockCommand({ Bucket }));
    expect((await doctor()).findings).toContainEqual(
      expect.objectContaining({ name: `public-access-block of ${Bucket}`, message: "It does not exist." }),
    );
    expect(await run(["init"])).toMatchObject({ status: 0 });
    expect(await doctor()).toMatchObject({ status: 0, findings: [] });
  });

  test.each([
    ["behind", 10],
    ["ahead of", -10],
  ])("finds a clock of this machine that is ten minutes %s that of the services", async (word, minutes) => {
    const { proxy, doctor } = await open();
    proxy.inject({ action: { kind: "shift-date", ms: minutes * minute } });
    const { status, findings, checks } = await doctor();
    expect(status).toBe(6);
    expect(findings.map(({ code, name }: Finding) => [code, name])).toEqual([
      ["CLOCK_SKEW", "storage"],
      ["CLOCK_SKEW", "metadata"],
    ]);
    for (const { message, fix } of findings) {
      expect(message).toMatch(new RegExp(`^This machine's clock is (59\\d|60\\d) s ${word} that of`));
      expect(fix).toBe("Set the clock.");
    }
    expect(checks.map(({ check }: { check: string }) => check)).not.toContain("storage clock");
  });

  test("does not mind half a minute, and names the service that is wrong", async () => {
    const { proxy, doctor } = await open();
    proxy.inject({ action: { kind: "shift-date", ms: minute / 2 } });
    expect(await doctor()).toMatchObject({ status: 0, findings: [] });
    proxy.clear();
    const isS3 = ({ service }: { service: string }) => service === "s3";
    proxy.inject({ operation: isS3, action: { kind: "shift-date", ms: 2 * minute } });
    expect((await doctor()).findings).toMatchObject([{ code: "CLOCK_SKEW", name: "storage" }]);
  });
});

describe("a doctor that cannot check", () => {
  test("says that there are no credentials, and where they come from", async () => {
    const { doctor } = await openInRepo();
    for (const name of ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]) vi.stubEnv(name, undefined);
    onTestFinished(() => void vi.unstubAllEnvs());
    expect(await doctor()).toMatchObject({
      status: 4,
      code: "ACCESS_DENIED",
      hint: expect.stringContaining("AWS_ACCESS_KEY_ID"),
    });
  });

  test.each([
    ["bucket", "--bucket", "no-such-bucket"],
    ["table", "--table", "no-such-table"],
  ])("says that the %s is not there, and what makes it", async (what, flag, name) => {
    const { settings, doctor } = await openInRepo();
    const argv = flag === "--bucket" ? [flag, name, "--table", settings.table ?? ""] : [flag, name];
    expect(await doctor(argv)).toMatchObject({
      status: 9,
      code: "NOT_INITIALISED",
      message: `The ${what} ${name} does not exist.`,
      hint: expect.stringContaining("docproc init"),
    });
  });

  test.each<[string, number, FaultRule]>([
    ["may not see the bucket", 4, always("HeadBucket", 403, "AccessDenied")],
    ["may not list objects", 4, always("ListObjectsV2", 403, "AccessDenied")],
    ["may not list records", 4, always("Query", 400, "AccessDeniedException")],
    ["finds the storage down", 8, always("ListObjectsV2", 503, "SlowDown")],
    ["finds the catalog down", 8, always("Scan", 500, "InternalServerError")],
    ["finds nobody there", 8, { action: { kind: "reset" } }],
  ])("and %s removes nothing, and calls nothing healthy", async (_what, status, rule) => {
    const { aws, proxy, settings, upload, forget, doctor } = await openInRepo();
    await forget(await upload("orphan", "1"));
    const objects = aws.s3.buckets.get(settings.bucket ?? "")?.objects;
    for (const object of objects?.values() ?? []) object.lastModified = new Date(0);
    proxy.inject(rule);
    const report = await doctor(["--repair", "--yes"]);
    expect(report).toMatchObject({ status, schema: "docproc.error/1" });
    expect(report.checks).toBeUndefined();
    expect(objects?.size).toBe(1);
  });

  test("ends when it is interrupted", async () => {
    const { proxy, doctor } = await openInRepo();
    const abort = new AbortController();
    proxy.inject({ operation: "ListObjectsV2", action: { kind: "black-hole" } });
    const ended = doctor([], { signal: abort.signal });
    await expect.poll(() => proxy.log.map(({ operation }) => operation)).toContain("ListObjectsV2");
    abort.abort();
    expect(await ended).toMatchObject({ status: 130, code: "CANCELLED" });
  });
});

describe("a doctor that compares ages", () => {
  test("goes by the clock of the storage, not by that of this machine", async () => {
    const { aws, proxy, settings, upload, forget, doctor } = await openInRepo();
    await forget(await upload("orphan", "1"));
    const day = 24 * 60 * minute;
    for (const object of aws.s3.buckets.get(settings.bucket ?? "")?.objects.values() ?? []) {
      object.lastModified = new Date(Date.now() - day + 5 * minute);
    }
    expect((await doctor()).summary).toMatchObject({ young: 1, found: 0 });
    // Five minutes short of a day by our clock, five more than one by theirs.
    proxy.inject({ action: { kind: "shift-date", ms: 10 * minute } });
    expect((await doctor()).findings).toContainEqual(of("ORPHAN_OBJECT"));
  });

  test("goes by the last part of an upload that has been under way for days", async () => {
    const { aws, settings, doctor } = await openInRepo();
    const part = { body: Buffer.from("a part"), etag: "e", lastModified: new Date() };
    const upload = {
      key: storageKey("", newDocumentId(), "a.bin"),
      parts: new Map([[1, part]]),
      initiated: new Date(0),
      deletedSince: false,
      contentType: "x/y",
      metadata: {},
      headers: {},
    };
    const uploads = aws.s3.buckets.get(settings.bucket ?? "")?.uploads;
    uploads?.set("the-upload", upload);
    expect(await doctor(["--repair"])).toMatchObject({ status: 0, findings: [], summary: { young: 1 } });
    expect(uploads?.size).toBe(1);
    part.lastModified = new Date(0);
    expect(await doctor(["--repair"])).toMatchObject({ status: 0, summary: { young: 0, found: 1, repaired: 1 } });
    expect(uploads?.size).toBe(0);
  });
});

test("a doctor reports an endpoint without checksums as weaker, not as a problem", async () => {
  const { upload, doctor } = await openInRepo({ checksums: false });
  await upload("a.txt", "a");
  const { status, checks, findings } = await doctor();
  expect({ status, findings }).toEqual({ status: 0, findings: [] });
  expect(checks).toContainEqual(expect.objectContaining({ check: "checksums", status: "weaker" }));
});

test("a doctor refuses an invalid configuration", async () => {
  const { doctor } = await openInRepo();
  expect(await doctor([], { env: { DOCPROC_STORAGE: "tape" } })).toMatchObject({ status: 2, code: "INVALID_CONFIG" });
});

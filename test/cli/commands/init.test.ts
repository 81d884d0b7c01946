/** `docproc init`: what it makes, what it leaves alone, and the config file that it writes. */
import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { CreateTableCommand, DescribeTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import {
  CreateBucketCommand,
  GetBucketEncryptionCommand,
  GetBucketLifecycleConfigurationCommand,
  GetBucketOwnershipControlsCommand,
  GetBucketPolicyCommand,
  GetPublicAccessBlockCommand,
  HeadBucketCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketPolicyCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { provisionBucket } from "../../../src/storage/s3/bucket.ts";
import { type AwsEndpoint, awsEndpoints, awsSettings, startInRepoAws } from "../../support/aws.ts";
import { startFaultProxy } from "../../support/fault-proxy.ts";
import { makeSandbox, type RunOptions, runDocproc, type Sandbox } from "../../support/run.ts";
import type { S3ServerOptions } from "../../support/s3-server.ts";

const cli = fileURLToPath(new URL("../../../dist/docproc.js", import.meta.url));
const bucketKinds = ["public-access-block", "owner-enforced", "default-encryption", "tls-only-policy"];
const promises = ["checksums", "no-overwrite"];
const tableKinds = ["table", "deletion-protection"];
const allKinds = ["bucket", ...bucketKinds, "abort-incomplete-uploads", ...promises, ...tableKinds, "config-file"];
const initialised = { status: 0, stderr: "" };

interface Resource {
  readonly kind: string;
  readonly action: string;
  readonly settings: object;
}
const actions = (resources: readonly Resource[]) =>
  Object.fromEntries(resources.map(({ kind, action }) => [kind, action]));

const settingsOf = (resources: readonly Resource[]) =>
  Object.fromEntries(resources.map(({ kind, settings }) => [kind, settings]));

const configOf = async ({ cwd }: Sandbox) => JSON.parse(await readFile(join(cwd, ".docprocrc.json"), "utf8"));

async function openAws(start: () => Promise<AwsEndpoint>) {
  const { endpoint, close } = await start();
  onTestFinished(close);
  return at(endpoint);
}

/** A name for a bucket and a table at an endpoint, neither of which is there yet. */
async function at(endpoint: string) {
  const sandbox = await makeSandbox();
  const name = awsSettings(endpoint).bucket ?? "";
  const flags = ["--endpoint-url", endpoint, "--bucket", name];
  const s3 = new S3Client({ endpoint, forcePathStyle: true });
  const dynamodb = new DynamoDBClient({ endpoint });
  onTestFinished(() => {
    s3.destroy();
    dynamodb.destroy();
  });
  return {
    sandbox,
    endpoint,
    name,
    s3,
    dynamodb,
    flags,
    init: (argv: readonly string[] = [], options?: RunOptions) =>
      runDocproc(sandbox, ["init", ...flags, ...argv, "--json"], { env: { AWS_REGION: "us-east-1" }, ...options }),
  };
}

describe("init of the embedded library", () => {
  test("writes no setting of a bucket that is not used", async () => {
    const sandbox = await makeSandbox();
    const env = { DOCPROC_BUCKET: "elsewhere", DOCPROC_TABLE: "elsewhere", AWS_REGION: "eu-west-1" };
    expect(await runDocproc(sandbox, ["init", "--storage", "local", "--directory", "d"], { env })).toMatchObject({
      status: 0,
    });
    expect(await configOf(sandbox)).toEqual({ storage: "local", metadata: "local", directory: "./d" });
  });

  test("makes the directory and the catalog once, and names them in a config file", async () => {
    const sandbox = await makeSandbox();
    const directory = join(sandbox.cwd, "library");
    const first = await runDocproc(sandbox, ["init", "--directory", "library", "--json"]);
    expect(first).toMatchObject(initialised);
    const configFile = join(sandbox.cwd, ".docprocrc.json");
    expect(first.json()).toEqual({
      schema: "docproc.init/1",
      resources: [
        { kind: "directory", name: directory, action: "created", settings: { mode: "0700" } },
        { kind: "catalog", name: join(directory, "catalog.db"), action: "created", settings: { mode: "0600" } },
        { kind: "config-file", name: configFile, action: "created", settings: await configOf(sandbox) },
      ],
      configFile,
    });
    expect(await configOf(sandbox)).toEqual({ storage: "local", metadata: "local", directory: "./library" });
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
    expect((await stat(join(directory, "catalog.db"))).mode & 0o777).toBe(0o600);
    await writeFile(join(sandbox.cwd, "a.txt"), "a");
    const uploaded = (await runDocproc(sandbox, ["upload", "a.txt", "--json"])).json();
    expect(uploaded.documents[0].uri).toContain(`${directory}/objects/`);
    const again = await runDocproc(sandbox, ["init"]);
    expect(again.stdout.split("\n").map((line) => line.split(/ +/)[0])).toEqual(["exists", "exists", "exists", ""]);
    expect((await runDocproc(sandbox, ["list", "-q"])).stdout).toContain(uploaded.documents[0].id);
  });

  test("changes nothing with --plan", async () => {
    const sandbox = await makeSandbox();
    const planned = await runDocproc(sandbox, ["init", "--directory", "library", "--plan", "--json"]);
    expect(planned).toMatchObject(initialised);
    const would = "would-create";
    expect(actions(planned.json().resources)).toEqual({ directory: would, catalog: would, "config-file": would });
    expect(settingsOf(planned.json().resources)).toEqual({
      directory: { mode: "0700" },
      catalog: { mode: "0600" },
      "config-file": { storage: "local", metadata: "local", directory: "./library" },
    });
    expect(await readdir(sandbox.cwd)).toEqual([]);
  });

  test("refuses a directory that is a file", async () => {
    const sandbox = await makeSandbox();
    await writeFile(join(sandbox.cwd, "library"), "mine");
    const outcome = await runDocproc(sandbox, ["init", "--directory", "library", "--json"]);
    expect(outcome.status).toBe(5);
    expect(outcome.json().code).toBe("CONFLICT");
    expect(await readdir(sandbox.cwd)).toEqual(["library"]);
  });
});

describe("the config file that init writes", () => {
  test("keeps what else is in it when another library is chosen", async () => {
    const sandbox = await makeSandbox();
    const path = join(sandbox.cwd, ".docprocrc.json");
    await writeFile(path, JSON.stringify({ concurrency: 9, directory: "./old", prefix: "p/" }));
    const outcome = (await runDocproc(sandbox, ["init", "--directory", "new", "--json"])).json();
    expect(actions(outcome.resources)["config-file"]).toBe("updated");
    const values = { storage: "local", metadata: "local", directory: "./new", prefix: "p/", concurrency: 9 };
    expect(await configOf(sandbox)).toEqual(values);
    expect(await readdir(sandbox.cwd)).toEqual([".docprocrc.json", "new"]);
  });

  test("is the one of the project, also from a directory further down", async () => {
    const sandbox = await makeSandbox();
    const below = join(sandbox.cwd, "src");
    await mkdir(join(sandbox.cwd, ".git"));
    await mkdir(below);
    await runDocproc(sandbox, ["init", "--directory", "library"]);
    const { configFile } = (await runDocproc(sandbox, ["init", "--json"], { cwd: below })).json();
    expect(configFile).toBe(join(sandbox.cwd, ".docprocrc.json"));
    expect(await readdir(below)).toEqual([]);
  });

  test("is not rewritten when it is YAML, and nothing is made for it either", async () => {
    const sandbox = await makeSandbox();
    const yaml = "# ours\ndirectory: ./old\n";
    await writeFile(join(sandbox.cwd, ".docprocrc.yaml"), yaml);
    const outcome = await runDocproc(sandbox, ["init", "--directory", "new", "--json"]);
    expect(outcome.status).toBe(5);
    expect(outcome.json()).toMatchObject({ code: "CONFLICT", hint: expect.stringContaining('"directory":"./new"') });
    expect(await readFile(join(sandbox.cwd, ".docprocrc.yaml"), "utf8")).toBe(yaml);
    expect(await readdir(sandbox.cwd)).toEqual([".docprocrc.yaml"]);
  });
});

describe.each(Object.entries(awsEndpoints()))("init of %s", (_place, start) => {
  let aws: AwsEndpoint;
  beforeAll(async () => {
    aws = await start();
  });
  afterAll(() => aws.close());

  test("makes a hardened bucket and table once, and a second time finds all of it", async () => {
    const { init, sandbox, name, endpoint, dynamodb } = await at(aws.endpoint);
    const first = await init();
    expect(first.status).toBe(0);
    const { resources, configFile } = first.json();
    expect(resources.map(({ kind }: Resource) => kind)).toEqual(allKinds);
    expect(actions(resources)).toMatchObject({ bucket: "created", table: "created", "config-file": "created" });
    expect(configFile).toBe(join(sandbox.cwd, ".docprocrc.json"));
    expect(await configOf(sandbox)).toEqual({
      storage: "s3",
      metadata: "dynamodb",
      bucket: name,
      // What STS says, confirmed by the bucket.
      bucketOwner: "123456789012",
      table: name,
      region: "us-east-1",
      endpointUrl: endpoint,
      unsupported: expect.stringMatching(/^tls-only-policy(,checksums)?$/),
    });
    const { Table } = await dynamodb.send(new DescribeTableCommand({ TableName: name }));
    expect(Table).toMatchObject({ TableStatus: "ACTIVE", BillingModeSummary: { BillingMode: "PAY_PER_REQUEST" } });
    const again = await runDocproc(sandbox, ["init", "--json"]);
    expect(again.status).toBe(0);
    const expected = Object.fromEntries(
      resources.map(({ kind, action }: Resource) => [kind, action === "unsupported" ? action : "exists"]),
    );
    expect(actions(again.json().resources)).toEqual(expected);
  });

  test("plans every setting that it then makes", async () => {
    const { init, name, s3, dynamodb, endpoint } = await at(aws.endpoint);
    const planned = settingsOf((await init(["--plan", "--region", "us-east-1"])).json().resources);
    const keys = [
      { AttributeName: "pk", KeyType: "HASH" },
      { AttributeName: "sk", KeyType: "RANGE" },
    ];
    expect(planned).toEqual({
      bucket: { Region: "us-east-1", ObjectOwnership: "BucketOwnerEnforced" },
      "public-access-block": {
        BlockPublicAcls: true,
        IgnorePublicAcls: true,
        BlockPublicPolicy: true,
        RestrictPublicBuckets: true,
      },
      "owner-enforced": { ObjectOwnership: "BucketOwnerEnforced" },
      "default-encryption": { SSEAlgorithm: "AES256" },
      "tls-only-policy": {
        Sid: "DocprocTlsOnly",
        Effect: "Deny",
        Principal: "*",
        Action: "s3:*",
        Resource: [`arn:aws:s3:::${name}`, `arn:aws:s3:::${name}/*`],
        Condition: { Bool: { "aws:SecureTransport": "false" } },
      },
      "abort-incomplete-uploads": {
        ID: "docproc-abort-incomplete-uploads",
        Status: "Enabled",
        Filter: { Prefix: "" },
        AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 },
      },
      table: {
        Region: "us-east-1",
        KeySchema: keys,
        AttributeDefinitions: [
          { AttributeName: "pk", AttributeType: "S" },
          { AttributeName: "sk", AttributeType: "S" },
        ],
        BillingMode: "PAY_PER_REQUEST",
      },
      "deletion-protection": { DeletionProtectionEnabled: true },
      "config-file": {
        storage: "s3",
        metadata: "dynamodb",
        bucket: name,
        table: name,
        region: "us-east-1",
        endpointUrl: endpoint,
      },
    });
    const { resources } = (await init(["--region", "us-east-1"])).json();
    const { "config-file": _, checksums, "no-overwrite": overwrite, ...made } = settingsOf(resources);
    const { "config-file": __, ...wanted } = planned;
    expect(made).toEqual(wanted);
    // What is only looked at has none.
    expect([checksums, overwrite]).toEqual([{}, {}]);
    const send = { Bucket: name };
    const { PublicAccessBlockConfiguration: block } = await s3.send(new GetPublicAccessBlockCommand(send));
    expect(block).toEqual(planned["public-access-block"]);
    const { OwnershipControls } = await s3.send(new GetBucketOwnershipControlsCommand(send));
    expect(OwnershipControls?.Rules).toEqual([planned["owner-enforced"]]);
    const { ServerSideEncryptionConfiguration: encryption } = await s3.send(new GetBucketEncryptionCommand(send));
    expect(encryption?.Rules?.[0]?.ApplyServerSideEncryptionByDefault).toEqual(planned["default-encryption"]);
    const { Rules } = await s3.send(new GetBucketLifecycleConfigurationCommand(send));
    expect(Rules).toMatchObject([{ ID: "docproc-abort-incomplete-uploads", Status: "Enabled" }]);
    const { Table } = await dynamodb.send(new DescribeTableCommand({ TableName: name }));
    expect(Table).toMatchObject({ KeySchema: keys, DeletionProtectionEnabled: true });
    expect(Table?.BillingModeSummary?.BillingMode).toBe("PAY_PER_REQUEST");
  });

  test("shows a person the settings with -v, beside the result", async () => {
    const { sandbox, flags } = await at(aws.endpoint);
    const planned = await runDocproc(sandbox, ["init", ...flags, "--plan", "-v"]);
    expect(planned.stderr).toContain('"BillingMode":"PAY_PER_REQUEST"');
    expect(planned.stdout).toBe((await runDocproc(sandbox, ["init", ...flags, "--plan"])).stdout);
  });

  test("keeps rules that docproc did not create", async () => {
    const { init, name, s3 } = await at(aws.endpoint);
    await s3.send(new CreateBucketCommand({ Bucket: name }));
    const rule = { ID: "theirs", Status: "Enabled" as const, Filter: { Prefix: "logs/" }, Expiration: { Days: 3 } };
    const LifecycleConfiguration = { Rules: [rule] };
    await s3.send(new PutBucketLifecycleConfigurationCommand({ Bucket: name, LifecycleConfiguration }));
    expect(actions((await init()).json().resources)).toMatchObject({ "abort-incomplete-uploads": "updated" });
    const { Rules = [] } = await s3.send(new GetBucketLifecycleConfigurationCommand({ Bucket: name }));
    expect(Rules).toHaveLength(2);
    expect(Rules[0]).toMatchObject(rule);
    expect(Rules[1]).toMatchObject({ Status: "Enabled", AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 } });
  });

  test("adds to a bucket policy without replacing what is there", async () => {
    const { name, s3, endpoint } = await at(aws.endpoint);
    await s3.send(new CreateBucketCommand({ Bucket: name }));
    const Statement = [
      { Sid: "Theirs", Effect: "Deny", Principal: "*", Action: "s3:Get*", Resource: `arn:aws:s3:::${name}/x` },
    ];
    await s3.send(
      new PutBucketPolicyCommand({ Bucket: name, Policy: JSON.stringify({ Version: "2012-10-17", Statement }) }),
    );
    // Over plain HTTP docproc does not ask for TLS only, so the settings say nothing of the endpoint.
    const settings = awsSettings(endpoint, { bucket: name, customEndpoint: undefined });
    const signal = new AbortController().signal;
    const provision = async () => {
      const made: Resource[] = [];
      for await (const resource of provisionBucket(s3, name, settings, { plan: false, signal })) made.push(resource);
      return actions(made)["tls-only-policy"];
    };
    expect(await provision()).toBe("updated");
    const { Policy = "" } = await s3.send(new GetBucketPolicyCommand({ Bucket: name }));
    const statements = JSON.parse(Policy).Statement;
    expect(statements).toHaveLength(2);
    expect(statements[0]).toEqual(Statement[0]);
    expect(statements[1]).toMatchObject({ Effect: "Deny", Condition: { Bool: { "aws:SecureTransport": "false" } } });
    expect(await provision()).toBe("exists");
  });

  test("refuses a table with other keys and changes nothing of it", async () => {
    const { init, name, dynamodb, sandbox } = await at(aws.endpoint);
    await dynamodb.send(
      new CreateTableCommand({
        TableName: name,
        KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
        AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
        BillingMode: "PAY_PER_REQUEST",
      }),
    );
    const outcome = await init();
    expect(outcome.status).toBe(5);
    expect(outcome.json()).toMatchObject({ code: "CONFLICT", message: expect.stringContaining(name) });
    const { Table } = await dynamodb.send(new DescribeTableCommand({ TableName: name }));
    expect(Table?.KeySchema).toEqual([{ AttributeName: "id", KeyType: "HASH" }]);
    expect(Table?.DeletionProtectionEnabled ?? false).toBe(false);
    expect(await readdir(sandbox.cwd)).toEqual([]);
  });

  test("succeeds in two processes at once", async () => {
    const { sandbox, flags, name } = await at(aws.endpoint);
    const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION } = process.env;
    const env = { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, HOME: sandbox.home };
    const argv = [cli, "init", ...flags, "--json"];
    const both = [1, 2].map(() => promisify(execFile)(process.execPath, argv, { cwd: sandbox.cwd, env }));
    for (const { stdout } of await Promise.all(both)) {
      expect(JSON.parse(stdout).resources.map(({ kind }: Resource) => kind)).toEqual(allKinds);
    }
    expect(await configOf(sandbox)).toMatchObject({ bucket: name, table: name });
    expect(await readdir(sandbox.cwd)).toEqual([".docprocrc.json"]);
  });

  test("only looks with --plan", async () => {
    const proxy = await startFaultProxy(aws.endpoint);
    onTestFinished(() => proxy.close());
    const { init, sandbox } = await at(proxy.endpoint);
    const planned = actions((await init(["--plan"])).json().resources);
    // What an endpoint does with an object can only be seen by putting one.
    expect(Object.keys(planned)).toEqual(allKinds.filter((kind) => !promises.includes(kind)));
    expect(new Set(Object.values(planned))).toEqual(new Set(["would-create", "unsupported"]));
    const plan = [...proxy.log];
    await init();
    const before = proxy.log.length;
    expect(actions((await init(["--plan"])).json().resources)).toMatchObject({ bucket: "exists", table: "exists" });
    const isRead = ({ method, operation }: (typeof proxy.log)[number]) =>
      ["GET", "HEAD"].includes(method) || ["DescribeTable", "GetItem"].includes(operation);
    plan.push(...proxy.log.slice(before));
    expect(plan.filter((request) => !isRead(request)).map(({ operation }) => operation)).toEqual([]);
    expect(proxy.log.filter((request) => !isRead(request)).length).toBeGreaterThan(2);
    expect(await readdir(sandbox.cwd)).toEqual([".docprocrc.json"]);
  });
});

describe("init of an S3 endpoint", () => {
  const open = (options: S3ServerOptions) => openAws(() => startInRepoAws(options));

  test("hardens a bucket that was made without it", async () => {
    const { init, name, s3 } = await open({ bareBuckets: true });
    await s3.send(new CreateBucketCommand({ Bucket: name }));
    const { resources } = (await init()).json();
    expect(actions(resources)).toMatchObject({
      bucket: "exists",
      "public-access-block": "created",
      "owner-enforced": "created",
      "default-encryption": "created",
      "tls-only-policy": "unsupported",
      "abort-incomplete-uploads": "created",
    });
  });

  test("says what the endpoint cannot do, and is no failure", async () => {
    const without = ["PutPublicAccessBlock", "GetBucketOwnershipControls", "PutBucketLifecycleConfiguration"];
    const { sandbox, flags, init } = await open({ without });
    const human = await runDocproc(sandbox, ["init", ...flags]);
    expect(human.status).toBe(0);
    expect(human.stdout).toMatch(/^unsupported +public-access-block /m);
    expect(human.stderr).toContain("public-access-block, owner-enforced, tls-only-policy, abort-incomplete-uploads");
    expect(actions((await init()).json().resources)).toMatchObject({
      "owner-enforced": "unsupported",
      "default-encryption": "exists",
      "abort-incomplete-uploads": "unsupported",
      table: "exists",
    });
  });

  test("stops at a bucket of another account, before anything is made", async () => {
    const foreign = awsSettings("").bucket ?? "";
    const { init, sandbox, dynamodb, name } = await open({ foreignBuckets: [foreign] });
    const outcome = await init(["--bucket", foreign, "--table", name]);
    expect(outcome.status).toBe(5);
    expect(outcome.json()).toMatchObject({ code: "CONFLICT", message: expect.stringContaining(foreign) });
    await expect(dynamodb.send(new DescribeTableCommand({ TableName: name }))).rejects.toThrow("not found");
    expect(await readdir(sandbox.cwd)).toEqual([]);
  });

  test("makes the bucket in the region that is chosen, and says where a bucket of another region is", async () => {
    const { init, sandbox } = await open({ region: "eu-west-1" });
    const wrong = await init(["--region", "us-west-2"]);
    expect(wrong.status).toBe(2);
    expect(wrong.json()).toMatchObject({ code: "INVALID_CONFIG", hint: expect.stringContaining("--region eu-west-1") });
    expect(await readdir(sandbox.cwd)).toEqual([]);
    expect(await init(["--region", "eu-west-1"])).toMatchObject({ status: 0 });
    expect((await configOf(sandbox)).region).toBe("eu-west-1");
  });

  test.each([
    ["the table cannot have that name", "no table!", 2],
    ["the table has other keys", "other-keys", 5],
  ])("makes nothing when %s", async (_why, table, status) => {
    const { init, dynamodb, s3, name } = await open({});
    const [KeySchema, keys] = [
      [{ AttributeName: "id", KeyType: "HASH" as const }],
      [{ AttributeName: "id", AttributeType: "S" as const }],
    ];
    const theirs = {
      TableName: "other-keys",
      KeySchema,
      AttributeDefinitions: keys,
      BillingMode: "PAY_PER_REQUEST" as const,
    };
    await dynamodb.send(new CreateTableCommand(theirs));
    expect(await init(["--table", table])).toMatchObject({ status });
    await expect(s3.send(new HeadBucketCommand({ Bucket: name }))).rejects.toThrow();
  });

  test("takes a setting whose form the endpoint refuses for one that it does not have", async () => {
    const { endpoint } = await open({});
    const proxy = await startFaultProxy(endpoint);
    onTestFinished(() => proxy.close());
    const { init } = await at(proxy.endpoint);
    // As MinIO answers to a lifecycle rule that does nothing but abort uploads.
    const action = { kind: "status", status: 400, code: "InvalidArgument" } as const;
    proxy.inject({ operation: "PutBucketLifecycleConfiguration", action });
    const outcome = await init(["--json"]);
    expect(outcome.status).toBe(0);
    expect(outcome.json().resources).toContainEqual(
      expect.objectContaining({ kind: "abort-incomplete-uploads", action: "unsupported" }),
    );
  });

  test("says that credentials have expired, which S3 cannot say in its answer to a HEAD request", async () => {
    const { endpoint } = await open({});
    const proxy = await startFaultProxy(endpoint);
    onTestFinished(() => proxy.close());
    const { init } = await at(proxy.endpoint);
    proxy.inject({ action: { kind: "status", status: 400, code: "ExpiredToken" } });
    const outcome = await init();
    expect(outcome.status).toBe(4);
    expect(outcome.json()).toMatchObject({ code: "ACCESS_DENIED", message: expect.stringContaining("expired") });
  });
});

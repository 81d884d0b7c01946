/** `docproc destroy`: what it removes, what it refuses to, and what is asked before. */
import { mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { DescribeTableCommand, DynamoDBClient, UpdateTableCommand } from "@aws-sdk/client-dynamodb";
import {
  DeleteObjectCommand,
  HeadBucketCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { describe, expect, onTestFinished, test } from "vitest";
import { metadataDrivers } from "../../../src/metadata/registry.ts";
import { awsSettings, startInRepoAws } from "../../support/aws.ts";
import { startDynamoDbServer } from "../../support/dynamodb-server.ts";
import { startFaultProxy } from "../../support/fault-proxy.ts";
import { openLibrary, places, usePlace } from "../../support/library.ts";
import { motoOnPath, startMoto } from "../../support/moto.ts";
import { finish, start } from "../../support/process.ts";
import { makeSandbox, type RunOptions, runDocproc } from "../../support/run.ts";
import type { S3ServerOptions } from "../../support/s3-server.ts";
import { keyboard } from "../../support/streams.ts";

interface Resource {
  readonly kind: string;
  readonly name: string;
  readonly action: string;
}
const actionsOf = (outcome: { json(): { resources: Resource[] } }) =>
  Object.fromEntries(outcome.json().resources.map(({ kind, action }) => [kind, action]));

/** Answers with S3's own words that a bucket holds one older version and one delete marker. */
const versionsLeft = `<ListVersionsResult><IsTruncated>false</IsTruncated>
  <Version><Key>k</Key><VersionId>1</VersionId><IsLatest>false</IsLatest></Version>
  <DeleteMarker><Key>k</Key><VersionId>2</VersionId><IsLatest>true</IsLatest></DeleteMarker></ListVersionsResult>`;

/** An initialised library on AWS behind a fault proxy. */
async function openOnAws(options: S3ServerOptions = {}) {
  const aws = await startInRepoAws(options);
  onTestFinished(() => aws.close());
  return { ...(await openBehindProxy(aws.endpoint)), aws };
}

async function openBehindProxy(target: string) {
  const proxy = await startFaultProxy(target);
  onTestFinished(() => proxy.close());
  const library = await openLibrary(proxy.endpoint);
  const { bucket: Bucket = "", table: TableName = "" } = library.settings;
  const s3 = new S3Client({ endpoint: target, forcePathStyle: true });
  const dynamodb = new DynamoDBClient({ endpoint: target });
  onTestFinished(() => {
    s3.destroy();
    dynamodb.destroy();
  });
  proxy.log.length = 0;
  const table = async () =>
    (await dynamodb.send(new DescribeTableCommand({ TableName })).catch(() => undefined))?.Table;
  const hasBucket = async () =>
    await s3.send(new HeadBucketCommand({ Bucket })).then(
      () => true,
      () => false,
    );
  const destroy = async (...argv: string[]) => await library.run(["destroy", "--confirm", Bucket, ...argv, "--json"]);
  const operations = () => proxy.log.map(({ operation }) => operation);
  return { ...library, proxy, s3, dynamodb, Bucket, TableName, table, hasBucket, destroy, operations };
}

describe.each(Object.entries(places))("destroying a library on %s", (_place, begin) => {
  const endpoint = usePlace(begin);

  test("is refused until it is empty, removes what init made, and may be done again", async () => {
    const { run, upload, sandbox, settings } = await openLibrary(endpoint());
    await run(["init"]);
    const name = endpoint() === undefined ? sandbox.data : (settings.bucket ?? "");
    const destroy = async (...argv: string[]) => await run(["destroy", "--confirm", name, ...argv, "--json"]);
    const { id } = await upload("a.txt", "a");
    await upload("b.txt", "b");
    for (const argv of [[], ["--plan"]]) {
      const refused = await destroy(...argv);
      expect(refused).toMatchObject({ status: 5 });
      expect(refused.json()).toMatchObject({
        code: "CONFLICT",
        message: expect.stringMatching(/ holds 2 objects\. .* holds 2 documents\.$/),
        hint: expect.stringContaining("docproc delete"),
      });
    }
    expect(await run(["cat", id])).toMatchObject({ status: 0, stdout: "a" });
    expect(await run(["delete", "a.txt", "b.txt", "--yes"])).toMatchObject({ status: 0 });
    const would = await destroy("--dry-run");
    expect(new Set(Object.values(actionsOf(would)))).toEqual(new Set(["would-remove"]));
    const destroyed = await destroy();
    expect(destroyed).toMatchObject({ status: 0, stderr: "" });
    expect(destroyed.json()).toEqual({
      schema: "docproc.destroy/1",
      resources: would.json().resources.map((resource: Resource) => ({ ...resource, action: "removed" })),
    });
    const again = await destroy();
    expect(again).toMatchObject({ status: 0 });
    expect(new Set(Object.values(actionsOf(again)))).toEqual(new Set(["gone"]));
    expect(await run(["init"])).toMatchObject({ status: 0 });
    const anew = await upload("a.txt", "a");
    expect((await run(["list", "--json"])).json().documents).toMatchObject([{ id: anew.id }]);
  });

  test("names the resources to a person, and says that the config file stays", async () => {
    const { run, sandbox, settings } = await openLibrary(endpoint());
    await run(["init"]);
    const name = endpoint() === undefined ? sandbox.data : (settings.bucket ?? "");
    const { status, stdout, stderr } = await run(["destroy", "--confirm", name]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^removed +(catalog|table) +\S+$/m);
    expect(stderr).toBe(`The config file ${join(sandbox.cwd, ".docprocrc.json")} is kept.\n`);
    expect(await readdir(sandbox.cwd)).toEqual([".docprocrc.json"]);
  });
});

describe("before a library on AWS is destroyed", () => {
  test.each<[string, string[], string]>([
    ["Refusing to delete without confirmation", [], "--confirm"],
    ["another name is given", ["--confirm", "another-bucket"], "another-bucket"],
    ["no name is given", ["--confirm", ""], "--confirm"],
  ])("nothing is sent where %s", async (_what, argv, said) => {
    const { run, operations, hasBucket } = await openOnAws();
    const outcome = await run(["destroy", ...argv, "--json"]);
    expect(outcome).toMatchObject({ status: 2 });
    expect(outcome.json()).toMatchObject({ code: "USAGE" });
    expect(outcome.stdout).toContain(said);
    expect(operations()).toEqual([]);
    expect(await hasBucket()).toBe(true);
  });

  test("a plan needs no name, and sends nothing that writes", async () => {
    const { run, proxy, table } = await openOnAws();
    const outcome = await run(["destroy", "--plan", "--json"]);
    expect(actionsOf(outcome)).toEqual({ bucket: "would-remove", table: "would-remove" });
    const reads = ({ method, operation }: (typeof proxy.log)[number]) =>
      ["GET", "HEAD"].includes(method) || ["DescribeTable", "Scan"].includes(operation);
    expect(proxy.log.length).toBeGreaterThan(3);
    expect(proxy.log.filter((request) => !reads(request))).toEqual([]);
    expect((await table())?.DeletionProtectionEnabled).toBe(true);
  });

  const at = (keys: string): RunOptions => ({ terminal: 80, stdin: keyboard(keys) });

  test("a person types its name", async () => {
    const { run, Bucket, TableName, hasBucket, table } = await openOnAws();
    const outcome = await run(["destroy"], at(` ${Bucket} \r`));
    expect(outcome).toMatchObject({ status: 0, stdout: expect.stringMatching(/^removed +bucket /) });
    expect(outcome.stderr).toContain(`This removes the bucket ${Bucket}, the table ${TableName}.\n`);
    expect(outcome.stderr).toContain("Type the name of the bucket to continue: ");
    expect([await hasBucket(), await table()]).toEqual([false, undefined]);
    // Nothing is lost, nothing is asked.
    expect(await run(["destroy"], at(""))).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^gone +bucket /),
    });
  });

  test.each([
    ["yes", "y\r"],
    ["nothing", "\r"],
    ["Ctrl-D", "\u0004"],
    ["Ctrl-C", "\u0003"],
  ])("a person who types %s changes nothing", async (_what, keys) => {
    const { run, hasBucket, table } = await openOnAws();
    expect(await run(["destroy"], at(keys))).toMatchObject({ status: 130, stdout: "" });
    expect(await hasBucket()).toBe(true);
    expect((await table())?.DeletionProtectionEnabled).toBe(true);
  });

  test("a person is not asked about what cannot be removed", async () => {
    const { run, upload } = await openOnAws();
    await upload("a.txt", "a");
    const outcome = await run(["destroy"], at(""));
    expect(outcome).toMatchObject({ status: 5 });
    expect(outcome.stderr).not.toContain("Type the name");
  });
});

describe("a library on AWS that is not empty", () => {
  test("keeps its table protected when it is only the bucket that is in the way", async () => {
    const { s3, Bucket, destroy, table, operations } = await openOnAws();
    await s3.send(new PutObjectCommand({ Bucket, Key: "theirs.txt", Body: "theirs" }));
    const outcome = await destroy();
    expect(outcome).toMatchObject({ status: 5 });
    expect(outcome.json().message).toBe(`The bucket ${Bucket} holds 1 object.`);
    expect(operations()).not.toContain("UpdateTable");
    expect(operations()).not.toContain("DeleteBucket");
    expect((await table())?.DeletionProtectionEnabled).toBe(true);
  });

  test("keeps its bucket when it is only the table that is in the way", async () => {
    const { upload, destroy, s3, Bucket, operations } = await openOnAws();
    const { uri } = await upload("a.txt", "a");
    await s3.send(new DeleteObjectCommand({ Bucket, Key: uri.replace(`s3://${Bucket}/`, "") }));
    expect((await destroy()).json().message).toMatch(/^The table \S+ holds 1 document\.$/);
    expect(operations()).not.toContain("DeleteBucket");
  });

  test("is counted up to a thousand of each", async () => {
    const { aws, Bucket, upload, destroy } = await openOnAws();
    const { uri } = await upload("a.txt", "a");
    const objects = aws.s3.buckets.get(Bucket)?.objects;
    const object = objects?.get(uri.replace(`s3://${Bucket}/`, ""));
    if (!object) throw new Error("The object that was uploaded is not there.");
    for (let index = 0; index < 1_200; index += 1) objects?.set(`copy-${index}`, object);
    expect((await destroy()).json().message).toContain(" holds 1000 objects or more. ");
  });

  test("is one with older versions and delete markers", async () => {
    const { proxy, destroy, hasBucket } = await openOnAws();
    const reply = (response: ServerResponse) => void response.end(versionsLeft);
    proxy.inject({ operation: "ListObjectVersions", action: { kind: "answer", reply } });
    expect((await destroy()).json().message).toMatch(/ holds 1 older version, 1 delete marker\.$/);
    expect(await hasBucket()).toBe(true);
  });

  test.skipIf(!motoOnPath())("is one whose objects were deleted while versions were kept", async () => {
    const moto = await startMoto();
    onTestFinished(() => moto.close());
    const { s3, Bucket, destroy, hasBucket } = await openBehindProxy(moto.endpoint);
    const VersioningConfiguration = { Status: "Enabled" as const };
    await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration }));
    await s3.send(new PutObjectCommand({ Bucket, Key: "k", Body: "1" }));
    await s3.send(new DeleteObjectCommand({ Bucket, Key: "k" }));
    expect((await destroy()).json().message).toMatch(/ holds 1 older version, 1 delete marker\.$/);
    expect(await hasBucket()).toBe(true);
  });

  test("is found out on an endpoint without versions, too", async () => {
    const { destroy, upload, run } = await openOnAws({ without: ["ListObjectVersions", "ListMultipartUploads"] });
    await upload("a.txt", "a");
    expect((await destroy()).json().message).toMatch(/ holds 1 object\. .* holds 1 document\.$/);
    expect(await run(["delete", "a.txt", "--yes"])).toMatchObject({ status: 0 });
    expect(actionsOf(await destroy())).toEqual({ bucket: "removed", table: "removed" });
  });

  test("is not destroyed when something comes in at the last moment", async () => {
    const { proxy, s3, Bucket, destroy, hasBucket, table } = await openOnAws();
    let arrived = () => {};
    const until = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    proxy.inject({ operation: "DeleteBucket", action: { kind: "hold", until } });
    const destroying = destroy();
    await expect.poll(() => proxy.log.some(({ operation }) => operation === "DeleteBucket")).toBe(true);
    await s3.send(new PutObjectCommand({ Bucket, Key: "late", Body: "late" }));
    arrived();
    const outcome = await destroying;
    expect(outcome).toMatchObject({ status: 5 });
    expect(outcome.json().message).toBe(`The bucket ${Bucket} holds 1 object.`);
    expect(await hasBucket()).toBe(true);
    expect((await table())?.DeletionProtectionEnabled).toBe(true);
  });
});

describe("destroying a library on AWS, interrupted", () => {
  test("between the two services, goes on where it stopped, and leaves the table protected", async () => {
    const { proxy, destroy, hasBucket, table } = await openOnAws();
    const action = { kind: "status", status: 400, code: "AccessDeniedException" } as const;
    proxy.inject({ operation: "DeleteTable", action });
    const denied = await destroy();
    expect(denied).toMatchObject({ status: 4 });
    expect(denied.json()).toMatchObject({
      resources: [{ kind: "bucket", action: "removed" }],
      error: { code: "ACCESS_DENIED", message: expect.stringContaining("DeleteTable") },
    });
    expect(await hasBucket()).toBe(false);
    expect((await table())?.DeletionProtectionEnabled).toBe(true);
    proxy.clear();
    expect(actionsOf(await destroy())).toEqual({ bucket: "gone", table: "removed" });
  });

  test.each(["DeleteBucket", "UpdateTable", "DeleteTable"])(
    "by a kill while it waits for %s, goes on",
    async (operation) => {
      const { proxy, sandbox, Bucket, destroy, hasBucket, table } = await openOnAws();
      proxy.inject({ operation, action: { kind: "black-hole" } });
      const flags = ["--endpoint-url", proxy.endpoint, "--bucket", Bucket];
      const child = start(sandbox, ["destroy", "--confirm", Bucket, ...flags]);
      await expect.poll(() => proxy.log.some((request) => request.operation === operation)).toBe(true);
      child.kill("SIGKILL");
      await finish(child);
      proxy.clear();
      const bucket = operation === "DeleteBucket" ? "removed" : "gone";
      expect(actionsOf(await destroy())).toEqual({ bucket, table: "removed" });
      expect([await hasBucket(), await table()]).toEqual([false, undefined]);
    },
  );

  test.each(["DeleteBucket", "UpdateTable", "DeleteTable"])(
    "by a lost answer to %s, notices that it is done",
    async (operation) => {
      const { proxy, destroy, hasBucket, table } = await openOnAws();
      proxy.inject({ operation, nth: 1, action: { kind: "lose-reply" } });
      expect(actionsOf(await destroy())).toEqual({ bucket: "removed", table: "removed" });
      expect([await hasBucket(), await table()]).toEqual([false, undefined]);
    },
  );

  test("by a second one at the same time, is done by both", async () => {
    const { destroy, hasBucket, table } = await openOnAws();
    const both = await Promise.all([destroy(), destroy()]);
    expect(both).toMatchObject([{ status: 0 }, { status: 0 }]);
    expect([await hasBucket(), await table()]).toEqual([false, undefined]);
  });
});

describe("a bucket", () => {
  test("that S3 still shows after it was deleted is waited for", async () => {
    const { proxy, destroy } = await openOnAws();
    const isLate = (operation: string) =>
      operation === "HeadBucket" && proxy.log.some((one) => one.operation === "DeleteBucket");
    const reply = (response: ServerResponse) => void response.end();
    proxy.inject({
      operation: ({ operation }) => isLate(operation),
      nth: 1,
      times: 2,
      action: { kind: "answer", reply },
    });
    expect(actionsOf(await destroy())).toEqual({ bucket: "removed", table: "removed" });
    expect(proxy.log.filter(({ operation }) => operation === "HeadBucket").length).toBeGreaterThan(4);
  });

  test("that S3 does not delete for what it does not list stays, and the table with it", async () => {
    const { proxy, destroy, table, Bucket } = await openOnAws();
    proxy.inject({ operation: "DeleteBucket", action: { kind: "status", status: 409, code: "BucketNotEmpty" } });
    const outcome = await destroy();
    expect(outcome).toMatchObject({ status: 5 });
    expect(outcome.json().message).toContain(`the bucket ${Bucket} is not empty, but lists nothing in it`);
    expect((await table())?.DeletionProtectionEnabled).toBe(true);
  });
});

describe("the bucket of another account", () => {
  test("is not touched, nor is the table that goes with it", async () => {
    const foreign = awsSettings("").bucket ?? "";
    const { sandbox, proxy, table, TableName } = await openOnAws({ foreignBuckets: [foreign] });
    const theirs = ["--bucket", foreign, "--table", TableName, "--endpoint-url", proxy.endpoint];
    const outcome = await runDocproc(sandbox, ["destroy", "--confirm", foreign, ...theirs, "--json"]);
    expect(outcome).toMatchObject({ status: 5 });
    expect(outcome.json().message).toBe(`The bucket ${foreign} belongs to another account.`);
    expect(proxy.log.filter(({ method, service }) => service === "s3" && !["GET", "HEAD"].includes(method))).toEqual(
      [],
    );
    expect((await table())?.DeletionProtectionEnabled).toBe(true);
  });

  test.each([
    ["that init has found out", "cwd" as const],
    ["that nobody has named", "home" as const],
  ])("is excluded by the request itself, by the owner %s", async (_what, place) => {
    const { sandbox, proxy, Bucket, run } = await openOnAws();
    expect((await run(["config", "--json"])).stdout).toContain("123456789012");
    // The config file that init wrote is in the one directory, none is in the other.
    const { settings } = (await run(["config", "--json"], { cwd: sandbox.home })).json();
    expect(settings).toContainEqual(expect.objectContaining({ name: "bucketOwner", value: null }));
    expect(await run(["destroy", "--confirm", Bucket], { cwd: sandbox[place] })).toMatchObject({ status: 0 });
    const removal = proxy.log.find(({ operation }) => operation === "DeleteBucket");
    expect(removal?.headers["x-amz-expected-bucket-owner"]).toBe("123456789012");
  });

  test("is refused where the config names another owner", async () => {
    const { destroy, hasBucket, table } = await openOnAws();
    expect(await destroy("--bucket-owner", "999999999999")).toMatchObject({ status: 4 });
    expect(await hasBucket()).toBe(true);
    expect(await table()).toBeDefined();
  });
});

describe("a table", () => {
  const never = new AbortController().signal;
  const dismantled = async (settings: ReturnType<typeof awsSettings>) => {
    const actions: string[] = [];
    for await (const { action } of metadataDrivers.dynamodb.dismantle(settings, { plan: false, signal: never })) {
      actions.push(action);
    }
    return actions;
  };

  test("that takes its time is waited for, also when it was on its way out before", async () => {
    const server = await startDynamoDbServer({ tableMs: 700 });
    onTestFinished(() => server.close());
    const settings = awsSettings(server.endpoint);
    for await (const _ of metadataDrivers.dynamodb.provision(settings, { plan: false, signal: never }));
    expect(await Promise.all([dismantled(settings), dismantled(settings)])).toEqual([["removed"], ["removed"]]);
    expect(await dismantled(settings)).toEqual(["gone"]);
  });

  test("that is not protected is removed without a change of its settings", async () => {
    const { dynamodb, TableName, destroy, operations } = await openOnAws();
    await dynamodb.send(new UpdateTableCommand({ TableName, DeletionProtectionEnabled: false }));
    expect(await destroy()).toMatchObject({ status: 0 });
    expect(operations()).not.toContain("UpdateTable");
  });
});

describe("the directory of an embedded library", () => {
  async function openDirectory() {
    const sandbox = await makeSandbox();
    const directory = join(sandbox.cwd, "library");
    const run = (argv: readonly string[], options?: RunOptions) =>
      runDocproc(sandbox, [...argv, "--directory", "library"], options);
    expect(await run(["init"])).toMatchObject({ status: 0 });
    await writeFile(join(sandbox.root, "a.txt"), "a");
    expect(await run(["upload", join(sandbox.root, "a.txt")])).toMatchObject({ status: 0 });
    expect(await run(["delete", "a.txt", "--yes"])).toMatchObject({ status: 0 });
    const destroy = (...argv: string[]) => run(["destroy", "--confirm", "library", ...argv, "--json"]);
    return { sandbox, directory, run, destroy };
  }

  test("is kept if it has other files, and the message names them", async () => {
    const { directory, run, destroy } = await openDirectory();
    await writeFile(join(directory, "notes.txt"), "mine");
    await mkdir(join(directory, "folder"));
    const kept = { objects: "would-remove", catalog: "would-remove", directory: "kept" };
    expect(actionsOf(await destroy("--plan"))).toEqual(kept);
    const outcome = await run(["destroy", "--confirm", directory]);
    expect(outcome).toMatchObject({ status: 0, stdout: expect.stringMatching(/^kept +directory /m) });
    expect(outcome.stderr).toContain(`The directory ${directory} is kept: it holds folder, notes.txt.\n`);
    expect((await readdir(directory)).sort()).toEqual(["folder", "notes.txt"]);
    expect(actionsOf(await destroy())).toEqual({ objects: "gone", catalog: "gone", directory: "kept" });
    expect(await run(["init"])).toMatchObject({ status: 0 });
  });

  test("stays where something else is among the objects", async () => {
    const { directory, destroy } = await openDirectory();
    await symlink("/dev/null", join(directory, "objects", "link"));
    const outcome = await destroy();
    expect(outcome).toMatchObject({ status: 5 });
    expect(outcome.json().message).toBe(`The directory ${directory} holds 1 other file.`);
    expect((await readdir(directory)).sort()).toContain("catalog.db");
  });

  test("stays where it is a link, and what docproc made goes", async () => {
    const { sandbox, directory } = await openDirectory();
    await symlink(directory, join(sandbox.cwd, "link"));
    const argv = ["destroy", "--directory", "link", "--confirm", "link", "--json"];
    const kept = { objects: "removed", catalog: "removed", directory: "kept" };
    expect(actionsOf(await runDocproc(sandbox, argv))).toEqual(kept);
    expect(await readdir(directory)).toEqual([]);
  });

  test("has to be named: another one of the same name elsewhere is not it", async () => {
    const { directory, run, sandbox } = await openDirectory();
    const outcome = await run(["destroy", "--confirm", "/somewhere/library", "--json"]);
    expect(outcome).toMatchObject({ status: 2 });
    expect(outcome.json().message).toContain(directory);
    expect(await run(["destroy", "--json"])).toMatchObject({ status: 2 });
    expect(await readdir(directory)).toContain("catalog.db");
    const asked = await run(["destroy"], { terminal: 80, stdin: keyboard("./library\r") });
    expect(asked).toMatchObject({ status: 0 });
    expect(await readdir(sandbox.cwd)).toEqual([".docprocrc.json"]);
  });

  test("is no directory: nothing is removed", async () => {
    const sandbox = await makeSandbox();
    await writeFile(join(sandbox.cwd, "library"), "mine");
    const outcome = await runDocproc(sandbox, ["destroy", "--directory", "library", "--confirm", "library", "--json"]);
    expect(outcome).toMatchObject({ status: 5 });
    expect(await readdir(sandbox.cwd)).toEqual(["library"]);
  });

  test("of no library loses nothing", async () => {
    const sandbox = await makeSandbox();
    await mkdir(join(sandbox.cwd, "photos"));
    await writeFile(join(sandbox.cwd, "photos", "cat.jpg"), "cat");
    const argv = ["destroy", "--directory", "photos", "--confirm", "photos", "--json"];
    const gone = { objects: "gone", catalog: "gone", directory: "kept" };
    expect(actionsOf(await runDocproc(sandbox, argv))).toEqual(gone);
    expect(await readdir(join(sandbox.cwd, "photos"))).toEqual(["cat.jpg"]);
  });
});

describe("a library of two kinds of services", () => {
  test.each([
    [["--storage", "s3", "--metadata", "local"], { bucket: "removed", catalog: "removed", directory: "removed" }],
    [["--storage", "local", "--metadata", "dynamodb"], { objects: "removed", directory: "removed", table: "removed" }],
  ])("%j is destroyed as a whole", async (kinds, expected) => {
    const { endpoint, close } = await startInRepoAws();
    onTestFinished(close);
    const sandbox = await makeSandbox();
    const name = awsSettings(endpoint).bucket ?? "";
    const services = ["--bucket", name, "--table", name, "--directory", "library", "--endpoint-url", endpoint];
    const run = (...argv: string[]) => runDocproc(sandbox, [...argv, ...services, ...kinds, "--json"]);
    expect(await run("init")).toMatchObject({ status: 0 });
    await writeFile(join(sandbox.root, "a.txt"), "a");
    expect(await run("upload", join(sandbox.root, "a.txt"))).toMatchObject({ status: 0 });
    const confirmed = ["--confirm", kinds.includes("s3") ? name : "library"];
    expect(await run("destroy", ...confirmed)).toMatchObject({ status: 5 });
    expect(await run("delete", "a.txt", "--yes")).toMatchObject({ status: 0 });
    const destroyed = await run("destroy", ...confirmed);
    expect(destroyed).toMatchObject({ status: 0 });
    expect(actionsOf(destroyed)).toEqual(expected);
    expect(await readdir(sandbox.cwd)).toEqual([".docprocrc.json"]);
  });
});

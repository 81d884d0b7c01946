/** `docproc doctor` where a bucket is shared: with other catalogs, with other programs, and with what crashes left. */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import {
  DeleteItemCommand,
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  ScanCommand,
} from "@aws-sdk/client-dynamodb";
import {
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { v7 } from "uuid";
import { describe, expect, onTestFinished, test } from "vitest";
import { newDocumentId, storageKey } from "../../../src/document/record.ts";
import { awsEndpoints } from "../../support/aws.ts";
import { startFaultProxy } from "../../support/fault-proxy.ts";
import { openLibrary, usePlace } from "../../support/library.ts";
import { runDocproc } from "../../support/run.ts";
import { storedKeys } from "../../support/stored.ts";

const cli = fileURLToPath(new URL("../../../dist/docproc.js", import.meta.url));
const dayAndAnHour = 25 * 3_600_000;

describe.each(Object.entries(awsEndpoints()))("a doctor of a bucket on %s", (_place, start) => {
  const endpoint = usePlace(start);

  /** A library, the clients that look behind its back, and a doctor for whom everything is a day older. */
  async function openShared() {
    const library = await openLibrary(endpoint());
    const { sandbox, settings } = library;
    const s3 = new S3Client({ endpoint: endpoint() ?? "", forcePathStyle: true });
    const dynamodb = new DynamoDBClient({ endpoint: endpoint() ?? "" });
    const proxy = await startFaultProxy(endpoint() ?? "");
    onTestFinished(async () => {
      s3.destroy();
      dynamodb.destroy();
      await proxy.close();
    });
    const isList = ({ operation }: { operation: string }) => /^List(Objects|MultipartUploads|Parts)/.test(operation);
    proxy.inject({ operation: isList, action: { kind: "age", ms: dayAndAnHour } });
    const doctor = async (...argv: string[]) => {
      const outcome = await runDocproc(sandbox, ["doctor", ...argv, "--json"]);
      return { status: outcome.status, ...outcome.json() };
    };
    const Bucket = settings.bucket;
    return {
      ...library,
      s3,
      dynamodb,
      Bucket,
      doctor,
      doctorTomorrow: (...argv: string[]) => doctor("--endpoint-url", proxy.endpoint, ...argv),
      keys: () => storedKeys(settings),
      begin: (Key: string) => s3.send(new CreateMultipartUploadCommand({ Bucket, Key })),
      async uploads() {
        const { Uploads = [] } = await s3.send(new ListMultipartUploadsCommand({ Bucket }));
        return Uploads.map(({ Key }) => Key).sort();
      },
    };
  }

  test("aborts unfinished uploads that are a day old", async () => {
    const { s3, Bucket, begin, uploads, doctor, doctorTomorrow } = await openShared();
    const key = storageKey("", newDocumentId(), "a.bin");
    const { UploadId } = await begin(key);
    await s3.send(new UploadPartCommand({ Bucket, Key: key, UploadId, PartNumber: 1, Body: Buffer.from("a part") }));
    expect(await doctor("--repair")).toMatchObject({ status: 0, findings: [], summary: { young: 1 } });
    expect(await uploads()).toEqual([key]);
    const found = await doctorTomorrow();
    expect(found).toMatchObject({ status: 6, findings: [{ code: "STALE_UPLOAD", name: key, repaired: false }] });
    expect(await uploads()).toEqual([key]);
    const repaired = await doctorTomorrow("--repair");
    expect(repaired).toMatchObject({ status: 0, findings: [{ code: "STALE_UPLOAD", repaired: true }] });
    expect(await uploads()).toEqual([]);
  });

  test("keeps an interrupted upload for a day, so that it can resume; after that it starts over", async () => {
    const { run, sandbox, doctor, doctorTomorrow, uploads } = await openShared();
    const { cwd, home, state } = sandbox;
    await writeFile(join(cwd, "a.bin"), randomBytes(16 * 1024 * 1024));
    const proxy = await startFaultProxy(endpoint() ?? "");
    onTestFinished(() => proxy.close());
    proxy.inject({ operation: "CompleteMultipartUpload", action: { kind: "status", status: 500 } });
    const argv = ["upload", "a.bin", "--part-size", "5MiB", "--retries", "0", "--state-directory", state, "--json"];
    const interrupt = async () => {
      // A process of its own: with its end, nobody holds the journal.
      const env = { ...process.env, HOME: home, XDG_CONFIG_HOME: home };
      const options = { cwd, env, timeout: 60_000 };
      const failed = promisify(execFile)(process.execPath, [cli, ...argv, "--endpoint-url", proxy.endpoint], options);
      await expect(failed).rejects.toMatchObject({ code: 8 });
      expect(await uploads()).toHaveLength(1);
    };
    await interrupt();
    expect(await doctor("--repair")).toMatchObject({ status: 0, summary: { young: 1, found: 0 } });
    const resumed = (await run(argv)).json().documents[0];
    expect(resumed).toMatchObject({ action: "resumed", bytesSent: 0 });
    expect(await run(["delete", resumed.id, "--yes"])).toMatchObject({ status: 0 });
    await interrupt();
    expect(await doctorTomorrow("--repair")).toMatchObject({
      status: 0,
      findings: [{ code: "STALE_UPLOAD", repaired: true }],
    });
    expect((await run(argv)).json().documents).toMatchObject([{ action: "uploaded" }]);
    expect(await run(["verify", "--all", "--deep"])).toMatchObject({ status: 0 });
    expect(await uploads()).toEqual([]);
  });

  test("touches nothing that other programs keep there", async () => {
    const { s3, Bucket, begin, uploads, upload, doctorTomorrow, keys } = await openShared();
    await upload("a.txt", "a");
    const namesOf = (checks: readonly { check: string }[]) => checks.map(({ check }) => check);
    const before = namesOf((await doctorTomorrow()).checks);
    const id = newDocumentId();
    const theirs = ["!first", "backup/db.tar", `${id.slice(-2)}/${id}`, `other/${storageKey("", id, "a.txt")}`];
    for (const Key of theirs) {
      await s3.send(new PutObjectCommand({ Bucket, Key, Body: "theirs", ChecksumAlgorithm: "SHA256" }));
      await begin(Key);
    }
    const { status, findings, checks, summary } = await doctorTomorrow("--repair", "--yes");
    expect({ status, findings }).toEqual({ status: 0, findings: [] });
    expect(summary).toMatchObject({ records: 1, objects: 1, foreign: theirs.length });
    expect(await keys()).toHaveLength(theirs.length + 1);
    expect(await uploads()).toEqual(theirs.toSorted());
    // Whatever checksums theirs have says nothing of the endpoint.
    expect(namesOf(checks)).toEqual(before.toSpliced(-1, 0, "other files"));
    const detail = "4 not created by docproc, left alone: ";
    expect(checks).toContainEqual({ check: "other files", status: "ok", detail: expect.stringContaining(detail) });
  });

  test("names an object without a mark, and leaves it to a person", async () => {
    const { s3, Bucket, doctorTomorrow, keys } = await openShared();
    const id = newDocumentId();
    const Key = storageKey("", id, "a.txt");
    await s3.send(new PutObjectCommand({ Bucket, Key, Body: "whose?" }));
    const { status, findings } = await doctorTomorrow("--repair", "--yes");
    expect(status).toBe(6);
    expect(findings).toMatchObject([{ code: "ORPHAN_OBJECT", id, name: Key, repaired: false }]);
    expect(findings[0].fix).toContain("by hand");
    expect(await keys()).toEqual([Key]);
  });

  test("of one catalog never touches what is another's in the same bucket", async () => {
    const { run, settings, sandbox, upload, forget, doctorTomorrow, keys } = await openShared();
    const mine = await upload("mine.txt", "mine");
    await forget(await upload("my orphan", "1"));
    const table = `${settings.table}-2`;
    const inOther = (...argv: string[]) => run([...argv, "--table", table, "--json"]);
    expect(await inOther("init")).toMatchObject({ status: 0 });
    const path = `${sandbox.root}/upload`;
    const theirs = (await inOther("upload", path, "--name", "theirs.txt")).json().documents[0];
    // Their orphan: a record that their catalog lost.
    const orphan = (await inOther("upload", path, "--name", "their orphan")).json().documents[0];
    const client = new DynamoDBClient({ endpoint: endpoint() ?? "" });
    onTestFinished(() => client.destroy());
    await removeItems(client, table, orphan.id);
    const { status, findings } = await doctorTomorrow("--repair", "--yes", "--table", settings.table ?? "");
    expect(status).toBe(0);
    expect(findings).toMatchObject([{ code: "ORPHAN_OBJECT", repaired: true }]);
    expect((await keys()).map((key) => key.split("/")[1]).sort()).toEqual([mine.id, theirs.id, orphan.id].sort());
    expect((await doctorTomorrow("--repair", "--table", table)).findings).toMatchObject([
      { id: orphan.id, repaired: true },
    ]);
    expect(await run(["cat", mine.id])).toMatchObject({ status: 0, stdout: "mine" });
  });

  test("frees places whose document is not there, once they are a day old", async () => {
    const { dynamodb, settings, upload, doctor } = await openShared();
    await upload("a.txt", "a");
    /** Adds an older version to a path, as the table keeps them. */
    const place = async (path: string, id: string) => {
      const Key = { pk: { S: `path#${path}` }, sk: { S: "head" } };
      const { Item } = await dynamodb.send(new GetItemCommand({ TableName: settings.table, Key }));
      const entries = { S: `${id.replaceAll("-", "")}${"0".repeat(20)}${Item?.["entries"]?.S ?? ""}` };
      const put = { TableName: settings.table, Item: { ...Key, pages: { N: "0" }, entries } };
      await dynamodb.send(new PutItemCommand(put));
    };
    const old = v7({ msecs: Date.now() - dayAndAnHour });
    await place("a.txt", old);
    await place("young", newDocumentId());
    const found = await doctor();
    expect(found).toMatchObject({ status: 6, summary: { places: 3, young: 1, repaired: 0 } });
    expect(found.findings).toMatchObject([{ code: "ORPHAN_PLACE", id: old, name: "a.txt", repaired: false }]);
    expect(await doctor("--repair")).toMatchObject({ status: 0, findings: [{ code: "ORPHAN_PLACE", repaired: true }] });
    expect(await doctor()).toMatchObject({ status: 0, findings: [], summary: { places: 2, young: 1 } });
  });

  test("finds a document whose place another program took, and says what puts it back", async () => {
    const { run, dynamodb, settings, sandbox, upload, doctor } = await openShared();
    const { id } = await upload("in/a.txt", "a");
    const Key = { pk: { S: "path#in/a.txt" }, sk: { S: "head" } };
    await dynamodb.send(new DeleteItemCommand({ TableName: settings.table, Key }));
    expect((await run(["show", "in/a.txt"])).stderr).toContain("run docproc doctor");
    const { status, findings } = await doctor("--repair");
    expect(status).toBe(6);
    expect(findings).toMatchObject([{ code: "MISSING_PLACE", id, name: "in/a.txt", repaired: false }]);
    const advised: string = findings[0].fix;
    const commands = [...advised.matchAll(/docproc ([^,]+?)(?=,| with|$)/g)].map(([, argv = ""]) => argv);
    expect(commands).toHaveLength(3);
    for (const command of commands) {
      const argv = command.replaceAll("DIRECTORY", join(sandbox.cwd, "back")).split(" ");
      expect(await run([...argv, ...(argv[0] === "delete" ? ["--yes"] : [])])).toMatchObject({ status: 0 });
    }
    expect(await run(["cat", "in/a.txt"])).toMatchObject({ status: 0, stdout: "a" });
    expect(await doctor()).toMatchObject({ status: 0, summary: { records: 1, objects: 1, places: 1 } });
  });
});

/** Removes a document and the versions of its path from a table, and leaves the bytes. */
async function removeItems(client: DynamoDBClient, TableName: string, id: string): Promise<void> {
  const { Items = [] } = await client.send(new ScanCommand({ TableName, ConsistentRead: true }));
  for (const { pk, sk, entries } of Items) {
    if (!pk || !sk || (sk.S !== id && !entries?.S?.startsWith(id.replaceAll("-", "")))) continue;
    await client.send(new DeleteItemCommand({ TableName, Key: { pk, sk } }));
  }
}

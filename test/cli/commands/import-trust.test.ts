/** What `docproc import` believes of a file that came from anywhere: neither where bytes are nor what they are. */
import { createHash } from "node:crypto";
import { utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { describe, expect, onTestFinished, test } from "vitest";
import { type DocumentRecord, storageKey } from "../../../src/document/record.ts";
import { awsEndpoints, awsSettings, localSettings, startInRepoAws } from "../../support/aws.ts";
import { writeConfig } from "../../support/config.ts";
import { startFaultProxy } from "../../support/fault-proxy.ts";
import { inCatalog, openLibrary, places, usePlace } from "../../support/library.ts";
import { entryOf } from "../../support/record.ts";
import { makeSandbox, runDocproc } from "../../support/run.ts";
import { tamper } from "../../support/stored.ts";
import { openTwoLibraries } from "../../support/two-libraries.ts";

const never = new AbortController().signal;
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const line = (record: object) => `${JSON.stringify(record)}\n`;

async function openImporting(endpoint?: string) {
  const library = await openLibrary(endpoint);
  const { sandbox, run } = library;
  return {
    ...library,
    imported: async (records: readonly object[], ...flags: string[]) =>
      await run(["import", "--json", ...flags], { stdin: records.map(line).join("") }),
    /** Uploads text under a name, and says what it was taken for. */
    async uploaded(name: string, text: string, ...flags: string[]) {
      await writeFile(join(sandbox.cwd, name), text);
      const outcome = await run(["upload", name, ...flags, "--json"]);
      expect(outcome).toMatchObject({ status: 0 });
      return outcome.json().documents[0];
    },
    cat: async (reference: string) => (await run(["cat", reference])).stdout,
  };
}

describe.each(Object.entries(places))("a record that is imported into %s", (_place, start) => {
  const endpoint = usePlace(start);
  const open = () => openImporting(endpoint());

  test("with a SHA-256 that its bytes do not have takes no upload's place", async () => {
    const { upload, forget, imported, uploaded, cat, run } = await open();
    const record = await upload("invoice.pdf", "evil");
    await forget(record);
    const forged = { ...record, sha256: sha256("real") };
    const outcome = await imported([forged]);
    expect(outcome).toMatchObject({ status: 0 });
    expect(outcome.json()).toMatchObject({
      documents: [{ action: "imported", hashed: false }],
      summary: { imported: 1, unhashed: 1 },
    });
    expect((await run(["import"], { stdin: line(forged) })).stderr).toContain(
      "The bytes of 1 document are not hashed yet",
    );
    const real = await uploaded("invoice.pdf", "real");
    expect(real).toMatchObject({ action: "uploaded", sha256: sha256("real") });
    expect(await cat(real.id)).toBe("real");
    // Reading finds it out, and changes nothing.
    const deep = await imported([forged], "--deep");
    expect(deep).toMatchObject({ status: 6 });
    expect(deep.json().failures).toMatchObject([{ code: "INTEGRITY", message: expect.stringContaining("damaged") }]);
    expect((await uploaded("invoice.pdf", "real")).id).toBe(real.id);
  });

  test("with such a SHA-256 is refused by --deep, and nothing is recorded", async () => {
    const { upload, forget, imported, uploaded, run } = await open();
    const record = await upload("a.txt", "evil");
    await forget(record);
    expect(await imported([{ ...record, sha256: sha256("real") }], "--deep")).toMatchObject({ status: 6 });
    expect((await run(["list", "--json"])).json().count).toBe(0);
    expect((await imported([record], "--deep")).json()).toMatchObject({
      documents: [{ action: "imported", hashed: true }],
      summary: { unhashed: 0 },
    });
    expect(await uploaded("a.txt", "evil")).toMatchObject({ action: "unchanged", id: record.id });
  });

  test("is believed once its bytes were hashed, by a later --deep as well", async () => {
    const { upload, forget, imported, uploaded, run } = await open();
    const [record, other] = [await upload("a.txt", "a", "--tag", "x=1"), await upload("b.txt", "b")];
    await forget(record);
    expect((await imported([record, other])).json()).toMatchObject({
      documents: [
        { id: record.id, action: "imported", hashed: false },
        { id: other.id, action: "unchanged", hashed: true },
      ],
      summary: { imported: 1, unchanged: 1, unhashed: 1 },
    });
    // It stays unproved whatever becomes of its tags.
    for (const tag of ["x=2", "x=1"]) expect(await run(["tag", record.id, tag])).toMatchObject({ status: 0 });
    expect((await imported([record])).json().documents).toMatchObject([{ action: "unchanged", hashed: false }]);
    const proved = await imported([record, other], "--deep");
    expect(proved.json().summary).toMatchObject({ unchanged: 2, unhashed: 0 });
    expect(await uploaded("a.txt", "a", "--tag", "x=1")).toMatchObject({ action: "unchanged", id: record.id });
    expect((await run(["export"])).stdout).toBe(line(record) + line(other));
  });

  test("stays beside a document that was uploaded meanwhile", async () => {
    const { upload, forget, imported, uploaded, run, cat } = await open();
    const record = await upload("a.txt", "a");
    await forget(record);
    await imported([record]);
    const second = await uploaded("a.txt", "a");
    expect(second).toMatchObject({ action: "uploaded" });
    expect((await imported([record], "--deep")).json().documents).toMatchObject([
      { action: "unchanged", hashed: true },
    ]);
    expect(await uploaded("a.txt", "a")).toMatchObject({ action: "unchanged", id: second.id });
    expect(await run(["delete", second.id, "--yes"])).toMatchObject({ status: 0 });
    expect(await cat(record.id)).toBe("a");
    expect(await run(["verify", "--all", "--deep"])).toMatchObject({ status: 0 });
  });

  test("at the same time as the document is uploaded is never what the upload finds", async () => {
    const { upload, forget, imported, uploaded, run } = await open();
    const record = await upload("a.txt", "evil");
    await forget(record);
    const forged = { ...record, sha256: sha256("real") };
    const [first, , second] = await Promise.all([
      uploaded("a.txt", "real"),
      imported([forged]),
      uploaded("a.txt", "real"),
    ]);
    expect(first.id).toBe(second.id);
    expect(first.id).not.toBe(record.id);
    expect((await run(["cat", first.id])).stdout).toBe("real");
  });

  test("is read before a copy of the same id calls it unchanged", async () => {
    const at = endpoint();
    const { run, upload, list, sandbox, bucket } = await openTwoLibraries(at);
    const settings =
      at === undefined ? localSettings(join(sandbox.cwd, "there")) : awsSettings(at, { bucket, table: bucket });
    const { id } = await upload("here", "a.txt", "real");
    const copy = async () => await run(["copy", "--from", "here", "--to", "there", "--json"]);
    const importThere = async (record: object) =>
      await run(["import", "--use", "there", "--json"], { stdin: line(record) });
    expect((await copy()).json().documents).toMatchObject([{ id, action: "copied" }]);
    const [copied] = (await list("there")) as [DocumentRecord];
    const forget = async () => await inCatalog(settings, (metadata) => metadata.remove(id, never));
    await forget();
    expect((await importThere(copied)).json().documents).toMatchObject([{ hashed: false }]);
    expect((await copy()).json().documents).toMatchObject([{ id, action: "unchanged" }]);
    expect((await importThere(copied)).json().documents).toMatchObject([{ hashed: true }]);
    await forget();
    await tamper(copied, at, () => Buffer.from("evil"));
    // A file with another time would be read while it is imported.
    const time = new Date(copied.uploadedAt);
    if (copied.uri.startsWith("file:")) await utimes(fileURLToPath(copied.uri), time, time);
    expect(await importThere({ ...copied, crc32: null })).toMatchObject({ status: 0 });
    const refused = await copy();
    expect(refused).toMatchObject({ status: 5 });
    expect(refused.json().failures).toMatchObject([
      { ref: id, code: "CONFLICT", hint: expect.stringContaining("Delete") },
    ]);
    expect(await run(["delete", id, "--yes", "--use", "there"])).toMatchObject({ status: 0 });
    expect((await copy()).json().documents).toMatchObject([{ id, action: "copied" }]);
  });

  test.each<[string, (key: string, id: string) => string]>([
    ["that of another document", (key, id) => key.replaceAll(id, id.replace(/^./, "1"))],
    ["below another prefix", (key) => `b/${key}`],
    ["without the two digits", (key) => key.replace(/^..\//, "")],
    ["behind two other digits", (key) => key.replace(/^../, "zz")],
    ["a way up", (key, id) => key.replace(id, `${id}/../${id}`)],
    ["a directory", (key) => key.replace(/[^/]+$/, "..")],
    ["a name that is longer than one of ours", (key) => `${key}${"x".repeat(100)}`],
    ["a hidden name", (key) => key.replace(/[^/]+$/, ".a")],
    ["nothing", () => ""],
  ])("with the key of its bytes %s is refused", async (_what, change) => {
    const { upload, forget, imported, run } = await open();
    const record = await upload("a.txt", "a");
    await forget(record);
    const key = storageKey("", record.id, record.name);
    const uri = record.uri.replace(key, change(key, record.id));
    for (const kind of ["file", "register"]) {
      // Where others may store objects, one that was registered may be anywhere but among documents.
      if (kind === "register" && endpoint() !== undefined && !change(key, record.id).includes(record.id)) continue;
      const outcome = await imported([{ ...record, uri, source: { ...record.source, kind } }]);
      expect(outcome.json().failures).toMatchObject([{ code: expect.stringMatching(/^(CONFLICT|NOT_FOUND)$/) }]);
    }
    expect((await run(["list", "--json"])).json().count).toBe(0);
  });
});

describe.each(Object.entries(awsEndpoints()))("two libraries in one bucket of %s", (_place, start) => {
  const endpoint = usePlace(start);

  async function openBoth() {
    const sandbox = await makeSandbox();
    const { bucket = "" } = awsSettings("");
    const both = { storage: "s3", bucket, endpointUrl: endpoint(), metadata: "dynamodb" };
    const [a, b] = ["a", "b"].map((name) => ({ ...both, table: `${bucket}-${name}`, prefix: `${name}/` }));
    const registering = { ...both, table: `${bucket}-c`, prefix: "a/" };
    await writeConfig(join(sandbox.cwd, ".docprocrc.json"), { profiles: { a, b, registering } });
    const run = async (argv: readonly string[], use: string, stdin = "") =>
      await runDocproc(sandbox, [...argv, "--use", use], { stdin });
    for (const use of ["a", "b", "registering"]) expect(await run(["init"], use)).toMatchObject({ status: 0 });
    return { sandbox, bucket, run };
  }

  test("do not take in each other's records, and never remove each other's bytes", async () => {
    const { run, sandbox, bucket } = await openBoth();
    await writeFile(join(sandbox.cwd, "f"), "of b");
    expect(await run(["upload", "f"], "b")).toMatchObject({ status: 0 });
    const { stdout } = await run(["export"], "b");
    const refused = await run(["import", "--json"], "a", stdout);
    expect(refused).toMatchObject({ status: 5 });
    expect(refused.json().failures).toMatchObject([
      { code: "CONFLICT", message: expect.stringContaining("prefix a/"), hint: expect.stringContaining("--prefix") },
    ]);
    // However the record came into the catalog.
    const settings = awsSettings(endpoint() ?? "", { bucket, table: `${bucket}-a`, prefix: "a/" });
    const record = JSON.parse(stdout) as DocumentRecord;
    await inCatalog(settings, (metadata) => metadata.commit(entryOf(record), { unlessThere: false }, never));
    const deleted = await run(["delete", record.id, "--yes", "--json"], "a");
    expect(deleted.json().documents).toMatchObject([{ id: record.id, bytes: "kept", reason: "outside-prefix" }]);
    expect((await run(["cat", "f"], "b")).stdout).toBe("of b");
    // What the hint says works.
    expect(await runDocproc(sandbox, ["copy", "--from", "b", "--to", "a"])).toMatchObject({ status: 0 });
    expect((await run(["cat", "f"], "a")).stdout).toBe("of b");
  });

  test("take back what they registered outside of their prefix, and what they have of a copy", async () => {
    const { run, bucket } = await openBoth();
    const client = new S3Client({ endpoint: endpoint() ?? "", forcePathStyle: true });
    onTestFinished(() => client.destroy());
    await client.send(new PutObjectCommand({ Bucket: bucket, Key: "incoming/x", Body: "theirs" }));
    const registered = await run(["register", `s3://${bucket}/incoming/x`, "--json"], "a");
    expect(registered).toMatchObject({ status: 0 });
    const { stdout } = await run(["export"], "a");
    const outcome = await run(["import", "--json"], "registering", stdout);
    expect(outcome.json()).toMatchObject({ documents: [{ action: "imported" }], failures: [] });
    const { id } = registered.json();
    const deleted = await run(["delete", id, "--yes", "--json"], "registering");
    expect(deleted.json().documents).toMatchObject([{ id, bytes: "kept", reason: "registered" }]);
    expect((await run(["cat", id], "a")).stdout).toBe("theirs");
  });

  test("find out what an object is before they call it registered", async () => {
    const { run, bucket } = await openBoth();
    const client = new S3Client({ endpoint: endpoint() ?? "", forcePathStyle: true });
    onTestFinished(() => client.destroy());
    await client.send(new PutObjectCommand({ Bucket: bucket, Key: "x", Body: "bytes" }));
    const register = async (use: string) => await run(["register", `s3://${bucket}/x`, "--json"], use);
    const { action: _action, schema: _schema, ...record } = (await register("a")).json();
    const forged = { ...record, sha256: sha256("other"), crc32: null };
    expect(await run(["import"], "registering", line(forged))).toMatchObject({ status: 0 });
    expect(await register("registering")).toMatchObject({ status: 6 });
    expect(await run(["delete", record.id, "--yes"], "registering")).toMatchObject({ status: 0 });
    expect(await run(["import"], "registering", line(record))).toMatchObject({ status: 0 });
    expect((await register("registering")).json()).toMatchObject({ action: "unchanged", sha256: record.sha256 });
    const again = await run(["import", "--json"], "registering", line(record));
    expect(again.json().documents).toMatchObject([{ action: "unchanged", hashed: true }]);
  });
});

describe("an import whose bytes are proved", () => {
  test.each(["lose-reply", "reset"] as const)("is done when it is run again after %s", async (kind) => {
    const aws = await startInRepoAws();
    const proxy = await startFaultProxy(aws.endpoint);
    onTestFinished(async () => {
      await proxy.close();
      await aws.close();
    });
    const { upload, forget, imported, uploaded } = await openImporting(proxy.endpoint);
    const record = await upload("a.txt", "a");
    await forget(record);
    await imported([record]);
    proxy.inject({ operation: "TransactWriteItems", times: 99, action: { kind } });
    const first = await imported([record], "--deep", "--retries", "1");
    expect([0, 8]).toContain(first.status);
    proxy.clear();
    expect((await imported([record], "--deep")).json().documents).toMatchObject([{ hashed: true }]);
    expect(await uploaded("a.txt", "a")).toMatchObject({ action: "unchanged", id: record.id });
  });
});

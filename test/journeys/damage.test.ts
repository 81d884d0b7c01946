/** Damage that import and register meet, that shows only in the bytes, and that a file only claims: see healing.test.ts. */
import { mkdir, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { describe, expect, onTestFinished, test } from "vitest";
import { type DocumentRecord, timeOfId } from "../../src/document/record.ts";
import { startInRepoAws } from "../support/aws.ts";
import { openLibrary, places, usePlace } from "../support/library.ts";
import type { Outcome } from "../support/run.ts";
import { flipBit, tamper } from "../support/stored.ts";

type Library = Awaited<ReturnType<typeof openLibrary>>;

const content = "what is uploaded";
const damages: Record<string, (bytes: Buffer) => Buffer | null> = {
  "are gone": () => null,
  "have another length": (bytes) => bytes.subarray(1),
  "differ in one bit": flipBit,
};

/** The remedy that a command printed, with the file in it, and the id that stands beside it. */
function remedyIn({ stdout, stderr }: Outcome): string[] {
  const [, command = ""] = /docproc (upload FILE --restore (ID|[0-9a-f-]{36}))/.exec(stdout + stderr) ?? [];
  expect(command, `no remedy in ${stdout}${stderr}`).not.toBe("");
  const [id = ""] = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/.exec(stdout) ?? [];
  const words: Record<string, string> = { FILE: "original", ID: id };
  return command.split(" ").map((word) => words[word] ?? word);
}

/** The library has one document, with its bytes. */
async function expectGood({ run }: Library, { id, path }: DocumentRecord, text = content): Promise<void> {
  expect(await run(["cat", path])).toMatchObject({ status: 0, stdout: text });
  expect(await run(["verify", "--all", "--deep"])).toMatchObject({ status: 0 });
  const { documents } = (await run(["list", "--all", "--json"])).json();
  expect(documents.map((document: DocumentRecord) => document.id)).toEqual([id]);
}

describe.each(Object.entries(places))("on %s,", (_place, start) => {
  const endpoint = usePlace(start);

  async function openWithDocument() {
    const library = await openLibrary(endpoint());
    const document = await library.upload("a/b.txt", content);
    await writeFile(join(library.sandbox.cwd, "original"), content);
    return { library, document };
  }

  describe.each(Object.entries(damages))("a document whose bytes %s", (_what, change) => {
    test("is not imported: the remedy brings it in", async () => {
      const { library, document } = await openWithDocument();
      const { sandbox, run } = library;
      await writeFile(join(sandbox.cwd, "records"), (await run(["export"])).stdout);
      await tamper(document, endpoint(), change);
      const known = await run(["import", "records"]);
      expect(known.status).toBeOneOf([3, 6]);
      expect(await run([...remedyIn(known), "--json"])).toMatchObject({ status: 0 });
      await tamper(document, endpoint(), change);
      await library.forget(document);
      const refused = await run(["import", "records"]);
      expect(refused.status).toBeOneOf([3, 6]);
      expect(refused.stderr).toContain("Restore the bytes at the record's uri, then import it again.");
      expect((await run(["list", "--all", "--json"])).json().count).toBe(0);
      await putBack(document, content);
      expect(await run(["import", "records"])).toMatchObject({ status: 0 });
      await expectGood(library, document);
    });

    test("is not registered in place of an upload", async () => {
      if (start === undefined) return await expectNoRegister();
      const { library, document } = await openWithDocument();
      await tamper(document, endpoint(), change);
      const told = await library.run(["register", document.uri]);
      expect(told.status).toBeOneOf([3, 6]);
      expect(await library.run([...remedyIn(told), "--json"])).toMatchObject({ status: 0 });
      const { action, id } = (await library.run(["register", document.uri, "--json"])).json();
      expect({ action, id }).toEqual({ action: "unchanged", id: document.id });
      await expectGood(library, document);
    });
  });

  /** Stores an object at the address of a record, as a person does with other tools. */
  async function putBack({ uri }: DocumentRecord, text: string): Promise<void> {
    if (uri.startsWith("file:")) {
      await mkdir(dirname(fileURLToPath(uri)), { recursive: true });
      return await writeFile(fileURLToPath(uri), text);
    }
    const [, Bucket, Key] = /^s3:\/\/([^/]+)\/(.+)$/.exec(uri) ?? [];
    const client = new S3Client({ endpoint: endpoint() ?? "", forcePathStyle: true });
    await client.send(new PutObjectCommand({ Bucket, Key, Body: text }));
    client.destroy();
  }

  async function expectNoRegister(): Promise<void> {
    const { library, document } = await openWithDocument();
    expect(await library.run(["register", document.uri])).toMatchObject({ status: 2 });
  }

  test("other metadata, another type and another expiry change the record, and drop nothing of it", async () => {
    const library = await openLibrary(endpoint());
    const given = ["--meta", "a=1", "--content-type", "text/x-a", "--expires", "2030-01-01"];
    const first = await library.upload("a.txt", content, ...given, "--tag", "build=1");
    const changes: [string[], Partial<DocumentRecord>][] = [
      [["--meta", "a=2"], { metadata: { a: "2" } }],
      [["--content-type", "text/x-b"], { contentType: "text/x-b" }],
      [["--expires", "2031-01-01"], { expiresAt: "2031-01-01T00:00:00.000Z" }],
    ];
    let expected = first;
    for (const [flags, change] of changes) {
      expected = { ...expected, ...change };
      await writeFile(join(library.sandbox.cwd, "a.txt"), content);
      const outcome = await library.run(["upload", "a.txt", "--tag", "build=1", ...flags, "--json"]);
      expect(outcome.json().documents).toMatchObject([{ ...expected, action: "updated", bytesSent: 0 }]);
      expect((await library.run(["show", first.id, "--json"])).json()).toMatchObject(expected);
    }
    const again = await library.run(["upload", "a.txt", "--tag", "build=1", "--json"]);
    expect(again.json().documents).toMatchObject([{ ...expected, action: "unchanged" }]);
  });

  test("a record that only claims to have these bytes makes no upload `unchanged`", async () => {
    const { library, document } = await openWithDocument();
    const { sandbox, run } = library;
    const wanted = "bytes of the victim".slice(0, content.length);
    const [claimed] = [await library.upload("victim", wanted)];
    await run(["delete", "victim", "--yes"]);
    const [line = ""] = (await run(["export"])).stdout.split("\n");
    const forged = JSON.stringify({ ...JSON.parse(line), sha256: claimed.sha256, crc32: null });
    await library.forget(document);
    await writeFile(join(sandbox.cwd, "records"), `${forged}\n`);
    const imported = await run(["import", "records", "--json"]);
    expect(imported.json().documents).toMatchObject([{ id: document.id, action: "imported", hashed: false }]);
    await writeFile(join(sandbox.cwd, "victim"), wanted);
    const upload = await run(["upload", "victim", "--name", "a/b.txt", "--json"]);
    // Nor are its bytes copied.
    expect(upload.json().documents).toMatchObject([{ action: "uploaded", bytesSent: wanted.length }]);
    expect(await run(["cat", "a/b.txt"])).toMatchObject({ stdout: wanted });
    // Who asks for it by its id has its bytes read.
    const restored = await run(["upload", "victim", "--restore", document.id, "--json"]);
    expect(restored.json().documents).toMatchObject([{ id: document.id, action: "restored" }]);
    expect(await run(["cat", document.id])).toMatchObject({ stdout: wanted });
    // Now it is known to have them.
    await run(["delete", upload.json().documents[0].id, "--yes"]);
    const again = await run(["upload", "victim", "--name", "a/b.txt", "--json"]);
    expect(again.json().documents).toMatchObject([{ id: document.id, action: "unchanged" }]);
  });
});

describe("damage that shows only when the bytes are read", () => {
  test.each<[string, typeof startInRepoAws | undefined]>([
    ["a directory", undefined],
    ["a bucket", startInRepoAws],
  ])("in %s is mended by what verify says", async (_place, start) => {
    const aws = await start?.();
    if (aws) onTestFinished(() => aws.close());
    const library = await openLibrary(aws?.endpoint);
    const document = await library.upload("a/b.txt", content);
    await writeFile(join(library.sandbox.cwd, "original"), content);
    if (aws) {
      for (const { objects } of aws.s3.buckets.values()) {
        for (const [key, object] of objects) objects.set(key, { ...object, body: flipBit(object.body) });
      }
    } else {
      await tamper(document, undefined, flipBit);
      const time = timeOfId(document.id) / 1000;
      await utimes(fileURLToPath(document.uri), time, time);
    }
    expect(await library.run(["verify", document.id])).toMatchObject({ status: 0 });
    const told = await library.run(["verify", document.id, "--deep"]);
    expect(told).toMatchObject({ status: 6 });
    const followed = await library.run([...remedyIn(told), "--json"]);
    expect(followed.json().documents).toMatchObject([{ id: document.id, action: "restored" }]);
    await expectGood(library, document);
  });
});

/** Documents whose bytes were lost or changed behind docproc's back: every advice it gives ends with a good document. */
import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import type { DocumentRecord } from "../../src/document/record.ts";
import { awsEndpoints, type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { openLibrary, places, usePlace } from "../support/library.ts";
import { flipBit, tamper } from "../support/stored.ts";
import { openTwoLibraries } from "../support/two-libraries.ts";

const damages = [
  ["is gone", () => null],
  ["has other bytes", flipBit],
  ["is shorter", (bytes: Buffer) => bytes.subarray(1)],
] as const;

/** A library with the file `a.txt` in the working directory, and ways to upload and damage it. */
async function open(endpoint: string | undefined) {
  const library = await openLibrary(endpoint);
  const { run, sandbox } = library;
  const json = async (...argv: string[]) => (await run([...argv, "--json"])).json();
  const upload = async (...argv: string[]) => {
    const outcome = await run(["upload", ...argv, "--json"]);
    expect(outcome, outcome.stderr).toMatchObject({ status: 0 });
    return outcome.json().documents[0] as DocumentRecord & { action: string; bytesSent: number };
  };
  await writeFile(join(sandbox.cwd, "a.txt"), "the bytes");
  const expectGood = async (ids: string[]) => {
    const { documents } = await json("list", "--all", "--asc");
    expect(documents.map(({ id }: DocumentRecord) => id)).toEqual(ids);
    expect(await run(["verify", "--all", "--deep"])).toMatchObject({ status: 0 });
    expect((await json("doctor")).findings).toEqual([]);
  };
  const write = async (name: string, content: string | Uint8Array) => await writeFile(join(sandbox.cwd, name), content);
  return { ...library, json, upload, expectGood, write, damage: tamper };
}

/** The command that a hint names, with the file in place of FILE. */
function advised(text: string, file: string): string[] {
  const [, command = ""] = /docproc (upload FILE --restore [0-9a-f-]{36})/.exec(text) ?? [];
  expect(command, `no advice in: ${text}`).not.toBe("");
  return command.replace("FILE", file).split(" ");
}

describe.each(Object.entries(places))("in %s, a document whose object", (_place, start) => {
  const endpoint = usePlace(start);

  test.each(damages)("%s comes back from a second upload, as the same document", async (_what, change) => {
    const { upload, run, expectGood, damage } = await open(endpoint());
    const first = await upload("a.txt");
    await damage(first, endpoint(), change);
    expect((await run(["cat", "a.txt"])).status).not.toBe(0);
    expect(await upload("a.txt")).toMatchObject({ ...first, action: "restored", bytesSent: 9 });
    expect(await run(["cat", "a.txt"])).toMatchObject({ status: 0, stdout: "the bytes" });
    expect(await upload("a.txt")).toMatchObject({ id: first.id, action: "unchanged", bytesSent: 0 });
    await expectGood([first.id]);
  });

  test.each(damages)("%s is good again after what verify, doctor and cat advise", async (_what, change) => {
    const { upload, run, json, expectGood, damage, write } = await open(endpoint());
    const first = await upload("a.txt");
    // It is no longer the newest of its path: an upload of the same would be a new version.
    await write("b.txt", "other bytes");
    const second = await upload("b.txt", "--name", "a.txt");
    const ways = {
      verify: async () => (await json("verify", first.id, "--deep")).findings[0].fix,
      cat: async () => (await run(["cat", first.id])).stderr,
      download: async () => (await run(["download", first.id, "-o", "-"])).stderr,
    };
    for (const [way, advice] of Object.entries(ways)) {
      await damage(first, endpoint(), change);
      const text = await advice();
      const outcome = await run([...advised(text, "a.txt"), "--json"]);
      expect(outcome, `${way}: ${outcome.stderr}`).toMatchObject({ status: 0 });
      expect(outcome.json().documents).toMatchObject([{ id: first.id, action: "restored" }]);
      expect(await run(["cat", first.id])).toMatchObject({ status: 0, stdout: "the bytes" });
      await expectGood([first.id, second.id]);
    }
    await damage(first, endpoint(), () => null);
    const { findings } = await json("doctor");
    expect(findings).toMatchObject([{ code: "MISSING_BYTES", id: first.id }]);
    expect(await run(advised(findings[0].fix, "a.txt"))).toMatchObject({ status: 0 });
    await expectGood([first.id, second.id]);
  });

  test("is gone is not made good by another file, and nothing is lost", async () => {
    const { upload, run, json, damage, write } = await open(endpoint());
    const first = await upload("a.txt");
    await damage(first, endpoint(), flipBit);
    await write("b.txt", "not bytes");
    const refused = await run(["upload", "b.txt", "--restore", first.id, "--json"]);
    expect(refused).toMatchObject({ status: 6 });
    expect(refused.json()).toMatchObject({ documents: [], failures: [{ code: "INTEGRITY" }] });
    expect((await json("list", "--all")).documents).toMatchObject([{ id: first.id, path: "a.txt" }]);
    expect(await run(["upload", "a.txt", "--restore", first.id])).toMatchObject({ status: 0 });
    expect(await run(["cat", "a.txt"])).toMatchObject({ stdout: "the bytes" });
  });

  test("is gone is restored among the others of a tree, and only it", async () => {
    const { upload, run, damage, write } = await open(endpoint());
    await write("b.txt", "b");
    const first = await upload("a.txt");
    await upload("b.txt");
    await damage(first, endpoint(), () => null);
    const { documents, summary } = (await run(["upload", "-r", ".", "--json"])).json();
    const actions = Object.fromEntries(
      documents.map((one: { path: string; action: string }) => [one.path, one.action]),
    );
    expect(actions).toMatchObject({ "a.txt": "restored", "b.txt": "unchanged" });
    expect(summary).toMatchObject({ restored: 1, failed: 0 });
  });
});

describe.each(Object.entries(places))("in %s, the newest document of a path", (_place, start) => {
  const endpoint = usePlace(start);

  test("is the first version again after a roll-back, without a byte sent", async () => {
    const { upload, run, write, expectGood } = await open(endpoint());
    const first = await upload("a.txt");
    await write("a.txt", "the second");
    const second = await upload("a.txt");
    await write("a.txt", "the bytes");
    const third = await upload("a.txt");
    expect(third).toMatchObject({ action: "uploaded", bytesSent: 0 });
    expect(await run(["cat", "a.txt"])).toMatchObject({ stdout: "the bytes" });
    await expectGood([first.id, second.id, third.id]);
    expect(await upload("a.txt")).toMatchObject({ action: "unchanged", id: third.id });
  });

  test("is copied inside the storage for other tags, small or large", async () => {
    const { upload, run, write } = await open(endpoint());
    const large = randomBytes(12 * 1024 ** 2);
    await write("large.bin", large);
    for (const [name, size] of [
      ["a.txt", 9],
      ["large.bin", large.length],
    ] as const) {
      expect(await upload(name, "--tag", "build=42", "--part-size", "5MiB")).toMatchObject({ bytesSent: size });
      const again = await upload(name, "--tag", "build=43", "--part-size", "5MiB");
      expect(again).toMatchObject({ action: "uploaded", bytesSent: 0, tags: { build: "43" } });
      expect(await run(["verify", again.id, "--deep"])).toMatchObject({ status: 0 });
    }
  });

  test("keeps the tags that were edited, and is no second document after the next upload", async () => {
    const { upload, run, expectGood, sandbox } = await open(endpoint());
    const tree = ["upload", "-r", ".", "--json"];
    expect((await run(tree)).json().documents.length).toBeGreaterThan(0);
    const { id } = await upload("a.txt");
    expect(await run(["tag", "a.txt", "paid=yes"])).toMatchObject({ status: 0 });
    const { documents } = (await run(tree)).json();
    expect(documents.find((one: DocumentRecord) => one.path === "a.txt")).toMatchObject({
      id,
      action: "unchanged",
      tags: { paid: "yes" },
    });
    expect((await run(["list", "--path", "a.txt", "--json"])).json().documents).toHaveLength(1);
    expect(await readFile(join(sandbox.cwd, "a.txt"), "utf8")).toBe("the bytes");
    const all = (await run(["list", "--all", "--asc", "--json"])).json().documents;
    await expectGood(all.map((one: DocumentRecord) => one.id));
  });

  test("takes new metadata and another content type, as `updated`", async () => {
    const { upload, json } = await open(endpoint());
    const first = await upload("a.txt");
    expect(await upload("a.txt", "--meta", "a=1")).toMatchObject({ id: first.id, action: "updated", bytesSent: 0 });
    expect(await upload("a.txt", "--content-type", "text/x-a")).toMatchObject({ action: "updated" });
    expect(await upload("a.txt", "--meta", "a=1")).toMatchObject({ action: "unchanged" });
    expect(await json("show", "a.txt")).toMatchObject({ metadata: { a: "1" }, contentType: "text/x-a", id: first.id });
  });

  test("is no answer to an import while its bytes are gone", async () => {
    const { upload, run, damage, expectGood } = await open(endpoint());
    const first = await upload("a.txt");
    const { stdout } = await run(["export"]);
    await damage(first, endpoint(), () => null);
    const refused = await run(["import", "--json"], { stdin: stdout });
    expect(refused.status).toBe(3);
    expect(refused.json().failures).toMatchObject([{ code: "NOT_FOUND" }]);
    expect(await run(advised(refused.json().failures[0].hint, "a.txt"))).toMatchObject({ status: 0 });
    expect((await run(["import", "--json"], { stdin: stdout })).json().documents).toMatchObject([
      { id: first.id, action: "unchanged" },
    ]);
    await expectGood([first.id]);
  });
});

describe.each(Object.entries(places))("a copy to %s", (_place, start) => {
  const endpoint = usePlace(start);

  test.each(damages)("made a second time heals a document whose object %s", async (_what, change) => {
    const { upload, copy, expectSound, list } = await openTwoLibraries(endpoint());
    const record = await upload("here", "a.txt", "the bytes");
    await copy(record.id, "--from", "here", "--to", "there");
    const [there] = await list("there");
    expect(there).toMatchObject({ id: record.id });
    if (there) await tamper(there, endpoint(), change);
    const planned = (await copy(record.id, "--from", "here", "--to", "there", "--dry-run")).json();
    expect(planned.documents).toMatchObject([{ id: record.id, action: "planned" }]);
    const healed = (await copy(record.id, "--from", "here", "--to", "there")).json();
    expect(healed.documents).toMatchObject([{ id: record.id, action: "restored", bytesSent: 9 }]);
    await expectSound("there");
    const again = (await copy(record.id, "--from", "here", "--to", "there")).json();
    expect(again.documents).toMatchObject([{ id: record.id, action: "unchanged", bytesSent: 0 }]);
  });

  test("of an equal document under another id is a version of its own", async () => {
    const { upload, copy, list, expectSound } = await openTwoLibraries(endpoint());
    const one = await upload("here", "a.txt", "the bytes");
    const other = await upload("there", "a.txt", "the bytes");
    expect((await copy(one.id, "--from", "here", "--to", "there")).status).toBe(0);
    expect((await list("there")).map(({ id }) => id)).toEqual([one.id, other.id].sort());
    await expectSound("there");
  });
});

describe.each(Object.entries(awsEndpoints()))("with %s, a registered object", (_place, start) => {
  const endpoint = usePlace(start);

  test("is never written to, whatever became of it", async () => {
    const { run, upload, settings, damage } = await open(endpoint());
    const client = new S3Client({ endpoint: endpoint() ?? "", forcePathStyle: true });
    onTestFinished(() => client.destroy());
    const [Bucket = "", Key] = [settings.bucket, "theirs/a.txt"];
    await client.send(new PutObjectCommand({ Bucket, Key, Body: "the bytes" }));
    const uri = `s3://${Bucket}/${Key}`;
    const registered = (await run(["register", uri, "--json"])).json();
    expect(await upload("a.txt")).toMatchObject({ id: registered.id, action: "unchanged" });
    await damage({ uri }, endpoint(), () => Buffer.from("bytes the"));
    const refused = await run(["upload", "a.txt", "--restore", registered.id, "--json"]);
    expect(refused.status).toBe(5);
    expect(refused.json().failures).toMatchObject([{ code: "CONFLICT" }]);
    const own = await upload("a.txt");
    expect(own).toMatchObject({ action: "uploaded", bytesSent: 9 });
    expect(own.id).not.toBe(registered.id);
    expect((await run(["cat", registered.id])).status).toBe(6);
    let theirs = "";
    await damage({ uri }, endpoint(), (bytes) => {
      theirs = String(bytes);
      return bytes;
    });
    expect(theirs).toBe("bytes the");
    expect(await run(["cat", "a.txt"])).toMatchObject({ status: 0, stdout: "the bytes" });
  });
});

describe("with the servers of this repository", () => {
  let aws: InRepoAws;
  beforeAll(async () => {
    aws = await startInRepoAws();
  });
  afterAll(() => aws.close());

  /** The operations of S3 that wrote, and the bytes that came with them. */
  const writes = (from: number) =>
    aws.s3.requests
      .slice(from)
      .filter(({ operation }) => /^(Put|Copy|Upload|Create|Complete)/.test(operation))
      .map(({ operation }) => operation);

  test("a version that repeats older bytes costs no request with a body", async () => {
    const { upload, write } = await open(aws.endpoint);
    await upload("a.txt");
    await write("a.txt", "the second");
    await upload("a.txt");
    await write("a.txt", "the bytes");
    const from = aws.s3.requests.length;
    expect(await upload("a.txt")).toMatchObject({ action: "uploaded", bytesSent: 0 });
    expect(writes(from)).toEqual(["CopyObject"]);
  });

  test("an upload of what is there looks at its object once, and writes nothing", async () => {
    const { upload } = await open(aws.endpoint);
    await upload("a.txt");
    const from = aws.s3.requests.length;
    expect(await upload("a.txt")).toMatchObject({ action: "unchanged" });
    expect(aws.s3.requests.slice(from).map(({ operation }) => operation)).toEqual(["HeadObject"]);
  });

  test("a large document is restored in parts, under its own key", async () => {
    const { upload, write, damage, run } = await open(aws.endpoint);
    const bytes = randomBytes(12 * 1024 ** 2);
    await write("large.bin", bytes);
    const first = await upload("large.bin", "--part-size", "5MiB");
    for (const [, change] of damages) {
      await damage(first, aws.endpoint, change);
      const from = aws.s3.requests.length;
      const again = await upload("large.bin", "--part-size", "5MiB");
      expect(again).toMatchObject({ id: first.id, uri: first.uri, action: "restored", bytesSent: bytes.length });
      expect(writes(from).filter((operation) => operation === "UploadPart")).toHaveLength(3);
      expect(await run(["verify", "--all", "--deep"])).toMatchObject({ status: 0 });
    }
  });
});

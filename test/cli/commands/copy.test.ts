/** `docproc copy`: documents with their ids from one library into another, and back. */
import { randomBytes } from "node:crypto";
import { access, mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { DatabaseSync } from "@photostructure/sqlite";
import { describe, expect, test } from "vitest";
import { awsSettings, localSettings } from "../../support/aws.ts";
import { writeConfig } from "../../support/config.ts";
import { places, usePlace } from "../../support/library.ts";
import { makeSandbox, runDocproc } from "../../support/run.ts";
import { flipBit, storedKeys, tamper } from "../../support/stored.ts";
import { openTwoLibraries, portable } from "../../support/two-libraries.ts";

const mebibyte = 1024 * 1024;
/** Larger than what is held in memory, and sent in three parts. */
const large = randomBytes(12 * mebibyte);
const never = "00000000-0000-7000-8000-000000000000";

describe.each(Object.entries(places))("a copy into %s", (_place, start) => {
  const endpoint = usePlace(start);
  const open = () => openTwoLibraries(endpoint());
  const keysThere = async ({ sandbox, bucket }: Awaited<ReturnType<typeof open>>) => {
    const at = endpoint();
    const settings = at === undefined ? localSettings(join(sandbox.cwd, "there")) : awsSettings(at, { bucket });
    return await storedKeys(settings);
  };

  test("and back has the same ids, records and bytes, and sends nothing the second time", {
    timeout: 120_000,
  }, async () => {
    const library = await open();
    const { upload, copy, list, run, expectSound, sandbox } = library;
    await upload("here", "a.txt", "text", "--tag", "build=42", "--tag", "__proto__=x", "--meta", "by=me");
    await upload("here", "empty", "");
    await upload("here", "größe 📦.bin", large, "--content-type", "x/large");
    await run(["upload", "-", "--name", "piped", "--use", "here"], { stdin: "from a pipe" });
    await upload("here", "a.txt", "text", "--on-duplicate", "store", "--tag", "build=42", "--tag", "__proto__=x");
    const before = await list("here");
    expect(before.map(({ source }) => source.kind).sort()).toEqual(["file", "file", "file", "file", "stdin"]);

    const there = await copy("--from", "here", "--to", "there");
    expect(there).toMatchObject({ status: 0 });
    const bytes = 4 + 0 + large.length + 11 + 4;
    expect(there.json()).toMatchObject({
      schema: "docproc.copy/1",
      failures: [],
      summary: { total: 5, copied: 5, unchanged: 0, planned: 0, failed: 0, bytes, bytesSent: bytes },
    });
    const listed = await list("there");
    expect(portable(listed)).toEqual(portable(before));
    expect(listed.map(({ uri }) => uri)).not.toEqual(before.map(({ uri }) => uri));
    expect(
      there
        .json()
        .documents.map(({ id, uri }: { id: string; uri: string }) => [id, uri])
        .sort(),
    ).toEqual(listed.map(({ id, uri }) => [id, uri]));

    expect(await copy("--from", "there", "--to", "back")).toMatchObject({ status: 0 });
    const back = await list("back");
    expect(portable(back)).toEqual(portable(before));
    expect(back.map(({ crc32 }) => crc32)).toEqual(before.map(({ crc32 }) => crc32));
    for (const use of ["there", "back"]) await expectSound(use);
    const out = join(sandbox.root, "out");
    await run(["download", before[2]?.id ?? "", "--use", "back", "-o", out]);
    expect((await readFile(out)).equals(large)).toBe(true);

    for (const [from, to] of [
      ["here", "there"],
      ["there", "back"],
      ["back", "here"],
    ] as const) {
      const again = await copy("--from", from, "--to", to);
      expect(again).toMatchObject({ status: 0 });
      expect(again.json().summary).toMatchObject({ copied: 0, unchanged: 5, bytesSent: 0 });
    }
    // Nor does an upload of what was copied: the series came along, with its newest version.
    const path = join(sandbox.root, "upload");
    const tags = ["--tag", "build=42", "--tag", "__proto__=x"];
    const uploaded = await run(["upload", path, "--name", "a.txt", ...tags, "--use", "there", "--json"]);
    expect(uploaded.json().documents[0]).toMatchObject({ id: before.at(-1)?.id, action: "unchanged" });
  });

  test("keeps two of the same document apart, in whichever order they come", async () => {
    const { upload, copy, list, run, expectSound } = await open();
    const first = await upload("here", "a", "same");
    const second = await upload("here", "a", "same", "--on-duplicate", "store");
    for (const { id } of [second, first])
      expect(await copy(id, "--from", "here", "--to", "there")).toMatchObject({ status: 0 });
    expect(portable(await list("there"))).toEqual(portable([first, second].map(({ ...one }) => withoutSchema(one))));
    await expectSound("there");
    // Each has a place of its own, which goes with it.
    expect(await run(["delete", first.id, "--yes", "--use", "there"])).toMatchObject({ status: 0 });
    expect((await list("there")).map(({ id }) => id)).toEqual([second.id]);
    await expectSound("there");
  });

  test.each([
    ["small", Buffer.from("a small document")],
    ["large", large],
  ])(
    "says which %s document is damaged, records nothing of it, and goes on with the others",
    async (_size, content) => {
      const library = await open();
      const { upload, copy, list, run } = library;
      const damaged = await upload("here", "damaged", content);
      const sound = await upload("here", "sound", "sound");
      const gone = await upload("here", "gone", "gone");
      await tamper(damaged, undefined, flipBit);
      await tamper(gone, undefined, () => null);
      const outcome = await copy("--from", "here", "--to", "there");
      expect(outcome).toMatchObject({ status: 7 });
      expect(outcome.json().summary).toMatchObject({ total: 3, copied: 1, failed: 2 });
      const failures = outcome.json().failures as { ref: string; code: string; hint: string }[];
      expect(failures.map(({ ref, code }) => [ref, code])).toEqual([
        [damaged.id, "INTEGRITY"],
        [gone.id, "NOT_FOUND"],
      ]);
      expect((await list("there")).map(({ id }) => id)).toEqual([sound.id]);
      expect((await keysThere(library)).filter((key) => !key.includes(sound.id))).toEqual([]);
      expect(await copy(damaged.id, "--from", "here", "--to", "there")).toMatchObject({ status: 6 });
      // What was put right is copied then.
      await tamper(damaged, undefined, flipBit);
      expect(await copy(damaged.id, "--from", "here", "--to", "there")).toMatchObject({ status: 0 });
      expect(await run(["verify", "--all", "--deep", "--use", "there"])).toMatchObject({ status: 0 });
    },
  );

  test("finds the bytes that a crash left without a record, and never takes others for them", async () => {
    const { upload, copy, list, run, expectSound } = await open();
    const record = await upload("here", "a", "just these bytes");
    await copy("--from", "here", "--to", "there");
    const [there] = await list("there");
    if (there === undefined) throw new Error("nothing was copied");
    const orphan = async (change: (bytes: Buffer) => Buffer) => {
      // Its record goes, its bytes stay, as they were or changed.
      let kept: Buffer = Buffer.alloc(0);
      await tamper(there, endpoint(), (bytes) => {
        kept = bytes;
        return bytes;
      });
      expect(await run(["delete", record.id, "--yes", "--use", "there"])).toMatchObject({ status: 0 });
      await restore(there.uri, endpoint(), change(kept));
    };
    await orphan((bytes) => bytes);
    const adopted = await copy("--from", "here", "--to", "there");
    expect(adopted).toMatchObject({ status: 0 });
    expect(adopted.json().summary).toMatchObject({ copied: 1 });
    await expectSound("there");
    await orphan(flipBit);
    const refused = await copy("--from", "here", "--to", "there");
    expect(refused).toMatchObject({ status: 5 });
    expect(refused.json().failures[0]).toMatchObject({ ref: record.id, code: "CONFLICT" });
    expect(await list("there")).toEqual([]);
  });

  test("puts its versions beside those that a path has there, even with the same bytes", async () => {
    const { upload, copy, list, run, expectSound } = await open();
    const here = await upload("here", "a", "same");
    const other = await upload("here", "b", "other");
    const there = await upload("there", "a", "same");
    const planned = (await copy("--from", "here", "--to", "there", "--dry-run")).json();
    expect(planned.summary).toMatchObject({ planned: 2, failed: 0 });
    expect((await list("there")).map(({ id }) => id)).toEqual([there.id]);
    const outcome = await copy("--from", "here", "--to", "there");
    expect(outcome).toMatchObject({ status: 0 });
    expect(outcome.json().summary).toMatchObject({ copied: 2, unchanged: 0 });
    expect((await list("there")).map(({ id }) => id)).toEqual([here.id, other.id, there.id]);
    await expectSound("there");
    // By its id the newest is what the path means, whenever the others came.
    expect((await run(["show", "a", "--use", "there", "--json"])).json().id).toBe(there.id);
    const again = await copy("--from", "here", "--to", "there");
    expect(again.json().summary).toMatchObject({ copied: 0, unchanged: 2, bytesSent: 0 });
  });

  test("takes what is named, or what flags choose, and only looks where that is asked for", async () => {
    const library = await open();
    const { upload, copy, list } = library;
    const a = await upload("here", "a.txt", "a", "--tag", "x=1");
    const b = await upload("here", "b.pdf", "b", "--tag", "x=1", "--tag", "y=2");
    const c = await upload("here", "c.txt", "c");
    const idsOf = ({ json }: { json(): { documents: { id: string }[] } }) =>
      json()
        .documents.map(({ id }) => id)
        .sort();
    const planned = async (...argv: string[]) =>
      idsOf(await copy("--from", "here", "--to", "there", "--dry-run", ...argv));
    expect(await planned()).toEqual([a.id, b.id, c.id]);
    expect(await planned("--tag", "x=1")).toEqual([a.id, b.id]);
    expect(await planned("--tag", "x=1", "--tag", "y=2")).toEqual([b.id]);
    expect(await planned("--name", "*.txt")).toEqual([a.id, c.id]);
    expect(await planned("--type", "application/*")).toEqual([b.id]);
    expect(await planned("--since", "2100-01-01")).toEqual([]);
    expect(await planned("--until", "2001-01-01")).toEqual([]);
    expect(await planned("a.txt", a.id, "c.txt")).toEqual([a.id, c.id]);
    const plan = (await copy("a.txt", "--from", "here", "--to", "there", "--dry-run")).json();
    expect(plan.documents[0]).toEqual({ ...withoutSchema(a), uri: null, crc32: null, action: "planned", bytesSent: 0 });
    expect([await list("there"), await keysThere(library)]).toEqual([[], []]);
    expect(idsOf(await copy("b.pdf", "--from", "here", "--to", "there"))).toEqual([b.id]);
    expect((await list("there")).map(({ id }) => id)).toEqual([b.id]);
    const some = await copy("c.txt", "nothing", "--from", "here", "--to", "there");
    expect(some).toMatchObject({ status: 7 });
    expect(some.json().failures).toEqual([expect.objectContaining({ ref: "nothing", code: "NOT_FOUND" })]);
    expect(await copy(never, "--from", "here", "--to", "there")).toMatchObject({ status: 3 });
  });

  test("of the same documents by two at once stores each of them once", async () => {
    const library = await open();
    const { upload, copy, list, expectSound } = library;
    for (let n = 0; n < 8; n++) await upload("here", `${n}.txt`, `document ${n}`);
    await upload("here", "large", large);
    const both = await Promise.all([1, 2].map(() => copy("--from", "here", "--to", "there")));
    for (const outcome of both) {
      expect(outcome).toMatchObject({ status: 0 });
      expect(outcome.json().summary).toMatchObject({ total: 9, failed: 0 });
    }
    expect(portable(await list("there"))).toEqual(portable(await list("here")));
    expect(await keysThere(library)).toHaveLength(9);
    await expectSound("there");
  });

  test("goes on where it was interrupted between documents", async () => {
    const { upload, copy, list, run, expectSound } = await open();
    for (let n = 0; n < 6; n++) await upload("here", `${n}.txt`, `document ${n}`);
    const interruption = new AbortController();
    let seen = 0;
    const write = () => {
      seen += 1;
      if (seen === 3) interruption.abort();
      return true;
    };
    const stdout = { write, once: () => {} };
    const argv = ["copy", "--from", "here", "--to", "there", "--concurrency", "1", "--ndjson"];
    expect(await run(argv, { signal: interruption.signal, stdout })).toMatchObject({ status: 130 });
    const done = (await list("there")).length;
    expect(done).toBeGreaterThanOrEqual(3);
    expect(done).toBeLessThan(6);
    const rest = await copy("--from", "here", "--to", "there");
    expect(rest.json().summary).toMatchObject({ total: 6, unchanged: done, copied: 6 - done });
    await expectSound("there");
  });
});

describe("a copy", () => {
  test("refuses a library that cannot be used, also where nothing is to be copied", async () => {
    const { sandbox, config, upload } = await openTwoLibraries();
    await upload("here", "a", "a");
    const { profiles } = JSON.parse(await readFile(config, "utf8"));
    await writeConfig(config, { profiles: { ...profiles, broken: { bucket: "B" } } });
    for (const argv of [["--name", "zzz*"], ["nope"]]) {
      const outcome = await runDocproc(sandbox, ["copy", ...argv, "--from", "here", "--to", "broken"]);
      expect(outcome).toMatchObject({ status: 2, stderr: expect.stringContaining("bucket name") });
    }
  });

  test("needs a place to go to that is not where it comes from", async () => {
    const { sandbox, copy, config, upload } = await openTwoLibraries();
    await upload("here", "a", "a");
    await symlink(join(sandbox.cwd, "here"), join(sandbox.cwd, "linked"));
    const { profiles } = JSON.parse(await readFile(config, "utf8"));
    const linked = { directory: "./linked" };
    const sharing = {
      storage: "local",
      directory: "./here",
      metadata: "dynamodb",
      table: "table",
      endpointUrl: "http://localhost:1",
    };
    await writeConfig(config, { directory: "./here", profiles: { ...profiles, linked, sharing } });
    const refused = async (...argv: string[]) => {
      const outcome = await copy(...argv);
      expect(outcome).toMatchObject({ status: 2 });
      return `${outcome.json().message} ${outcome.json().hint}`;
    };
    expect(await refused()).toContain("--to");
    expect(await refused("--to", "here", "--from", "here")).toContain("same library");
    expect(await refused("--to", "here")).toContain("same library");
    expect(await refused("--from", "here", "--to", "linked")).toContain("same library");
    expect(await refused("--from", "here", "--to", "sharing")).toContain("docproc export");
    expect(await refused("--to", "heer")).toContain("Did you mean here?");
    expect(await refused("a", "--tag", "x=1", "--to", "there")).toContain("Remove the names or the filters");
    expect(await refused("--since", "2030-01-01", "--until", "2020-01-01", "--to", "there")).toContain("Swap");
  });

  test("goes to and from what flags and variables name, but for the side that a profile names", async () => {
    const { sandbox, upload, list, run } = await openTwoLibraries();
    const { id } = await upload("here", "a", "a");
    const env = { DOCPROC_DIRECTORY: "./main", DOCPROC_PREFIX: "p" };
    const into = ["copy", "--from", "here", "--json"];
    expect(await run(into, { env })).toMatchObject({ status: 0 });
    const main = (await run(["list", "--json"], { env })).json().documents;
    expect(main[0]).toMatchObject({ id, uri: expect.stringContaining("/main/objects/p/") });
    expect(await run(["copy", "--to", "there", "--directory", "./main", "--json"])).toMatchObject({ status: 0 });
    expect((await list("there"))[0]).toMatchObject({ id, uri: expect.stringContaining("/there/objects/") });
    expect((await list("there"))[0]?.uri).not.toContain("/p/");
    expect(await run(["copy", "--use", "there", "--to", "back"])).toMatchObject({
      status: 0,
      stderr: expect.stringContaining("1 copied"),
    });
    await rm(join(sandbox.cwd, "back"), { recursive: true });
    // A look makes no library.
    expect(await run(["copy", "--use", "there", "--to", "back", "--dry-run"])).toMatchObject({ status: 0 });
    await expect(access(join(sandbox.cwd, "back"))).rejects.toThrow();
  });

  test("of an empty library copies nothing and succeeds", async () => {
    const { copy } = await openTwoLibraries();
    const outcome = await copy("--from", "here", "--to", "there");
    expect(outcome).toMatchObject({ status: 0 });
    expect(outcome.json()).toMatchObject({ documents: [], failures: [], summary: { total: 0 } });
  });

  test("refuses another document that has the id", async () => {
    const { upload, copy, run, sandbox } = await openTwoLibraries();
    const { id } = await upload("here", "a", "a");
    await copy("--from", "here", "--to", "there");
    const other = await makeSandbox();
    await writeFile(join(other.cwd, "b"), "b");
    const { uri } = (await runDocproc(other, ["upload", "b", "--json"])).json().documents[0];
    // The same id in another library, as nothing but an accident makes it.
    const database = new DatabaseSync(join(other.data, "catalog.db"));
    database.prepare("UPDATE documents SET id = ?").run(id);
    database.close();
    expect(uri).toContain("file:");
    const argv = ["copy", "--to", "there", "--json"];
    const env = { DOCPROC_DIRECTORY: other.data };
    const outcome = await runDocproc({ ...other, cwd: sandbox.cwd }, argv, { env });
    expect(outcome).toMatchObject({ status: 5 });
    expect(outcome.json().failures[0]).toMatchObject({ ref: id, code: "CONFLICT" });
    expect(await run(["cat", id, "--use", "there"])).toMatchObject({ stdout: "a" });
  });

  test("shows a person a line a document and a sum, and a pipe the ids", async () => {
    const { upload, run } = await openTwoLibraries();
    const { id } = await upload("here", "a.txt", "a", "--into", "f/g");
    const argv = ["copy", "--from", "here", "--to"];
    expect(await run([...argv, "there"])).toMatchObject({
      status: 0,
      stdout: `copied    ${id}  f/g/a.txt  1\n`,
      stderr: expect.stringMatching(/^(From .*\n){2}1 copied; 1 B sent in \d+ms\.\n$/),
    });
    expect(await run([...argv, "back", "-q"])).toMatchObject({ status: 0, stdout: `${id}\n`, stderr: "" });
    const line = (await run([...argv, "back", "--ndjson"])).stdout;
    expect(JSON.parse(line)).toMatchObject({ id, action: "unchanged", bytesSent: 0 });
  });
});

function withoutSchema<T extends object>(record: T): T {
  const { schema: _, ...rest } = record as T & { schema?: string };
  return rest as T;
}

/** Puts bytes where an object was, marked as it was. */
async function restore(uri: string, endpoint: string | undefined, bytes: Buffer): Promise<void> {
  if (uri.startsWith("file:")) {
    await mkdir(dirname(fileURLToPath(uri)), { recursive: true });
    await writeFile(fileURLToPath(uri), bytes);
    return;
  }
  const [, Bucket, Key] = /^s3:\/\/([^/]+)\/(.+)$/.exec(uri) ?? [];
  const client = new S3Client({ ...(endpoint !== undefined && { endpoint }), forcePathStyle: true });
  await client.send(new PutObjectCommand({ Bucket, Key, Body: bytes }));
  client.destroy();
}

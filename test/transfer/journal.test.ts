/** What is remembered of an upload between two runs: who may have it, what survives, and what is not believed. */
import { copyFile, mkdtemp, readdir, readFile, rm, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { newDocumentId, storageKey } from "../../src/document/record.ts";
import {
  type UploadIdentity,
  type UploadJournal,
  UploadJournals,
  type UploadPlan,
} from "../../src/transfer/journal.ts";

const identity: UploadIdentity = { target: "s3://bucket/ catalog", file: "/a.bin", path: "in/a.bin", tags: {} };
const [first, second] = [newDocumentId(), newDocumentId()];
const keyOf = (id: string) => storageKey("", id, "a.bin");
const plan: UploadPlan = { id: first, key: keyOf(first), stamp: "10:20", contentType: "text/plain" };
const later: UploadPlan = { ...plan, id: second, key: keyOf(second) };
const upload = { uploadId: "upload-1", partSize: 5 };
const part = (number: number) => ({ size: 5, sha256: `digest ${number}`, etag: `"etag ${number}"` });
const day = 86_400_000;

let root: string;
let directory: string;
let troubles: string[];
let journals: UploadJournals;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "docproc-journal-"));
  directory = join(root, "state", "uploads");
  troubles = [];
  journals = new UploadJournals(directory, undefined, (message) => troubles.push(message));
});
afterEach(() => rm(root, { recursive: true }));

async function open(planned = plan, of = identity): Promise<UploadJournal> {
  const journal = await journals.open(of, planned);
  if (journal === undefined) throw new Error(`no journal: ${troubles.join()}`);
  return journal;
}

/** The journal of an upload with so many parts, closed as after an interruption. */
async function interrupted(parts: number): Promise<string> {
  const journal = await open();
  journal.begin(upload);
  for (let number = 1; number <= parts; number++) journal.save(number, part(number));
  journal.close();
  return await path();
}

async function path(): Promise<string> {
  const [name = "no journal"] = await readdir(directory);
  return join(directory, name);
}

function savedParts(journal: UploadJournal, upTo = 9): number[] {
  return Array.from({ length: upTo }, (_, index) => index + 1).filter((number) => journal.part(number) !== undefined);
}

async function modeOf(file: string): Promise<string> {
  return ((await stat(file)).mode & 0o777).toString(8);
}

test("a journal resumes the plan, the upload and the parts of an earlier run", async () => {
  await interrupted(2);
  expect(await journals.has(identity)).toBe(true);
  const journal = await open(later);
  expect(journal.plan).toEqual(plan);
  expect(journal.abandoned).toBeUndefined();
  expect(journal.begun).toEqual(upload);
  expect([journal.part(1), journal.part(2), journal.part(3)]).toEqual([part(1), part(2), undefined]);
  journal.close();
});

test.each([
  ["the file has another size or time", { stamp: "10:21" }],
  ["its content type is another", { contentType: "text/html" }],
])("a journal starts over when %s, and names what it does not resume", async (_what, change) => {
  await interrupted(2);
  const journal = await open({ ...later, ...change });
  expect(journal.plan.id).toBe(second);
  expect(journal.abandoned).toEqual({ id: plan.id, key: plan.key });
  expect(journal.begun).toBeUndefined();
  expect(savedParts(journal)).toEqual([]);
  journal.close();
  const again = await open({ ...later, ...change });
  expect(again.abandoned).toBeUndefined();
  again.close();
});

test.each<[string, Partial<UploadIdentity>]>([
  ["to another place", { target: "s3://other/ catalog" }],
  ["of another file", { file: "/b.bin" }],
  ["under another path", { path: "out/a.bin" }],
  ["with another tag", { tags: { build: "42" } }],
])("a different journal belongs to an upload %s", async (_what, change) => {
  await interrupted(2);
  const other = { ...identity, ...change };
  expect(await journals.has(other)).toBe(false);
  const journal = await open(later, other);
  expect(journal.begun).toBeUndefined();
  journal.close();
  expect(await readdir(directory)).toHaveLength(2);
});

test("a journal is the same for any order of the tags", async () => {
  (await open(plan, { ...identity, tags: { a: "1", b: "2" } })).close();
  expect(await journals.has({ ...identity, tags: { b: "2", a: "1" } })).toBe(true);
});

test("a journal forgets the parts of an upload when another one begins", async () => {
  await interrupted(3);
  const journal = await open();
  journal.begin({ uploadId: "upload-2", partSize: 7 });
  journal.save(1, part(1));
  journal.close();
  const again = await open();
  expect(again.begun).toEqual({ uploadId: "upload-2", partSize: 7 });
  expect(savedParts(again)).toEqual([1]);
  again.close();
});

test("a journal is locked while it is open, and free once it is closed", async () => {
  const journal = await open();
  journal.begin(upload);
  expect(await journals.open(identity, later)).toBeUndefined();
  expect(troubles).toEqual([expect.stringContaining("locked")]);
  journal.save(1, part(1));
  journal.close();
  const next = await open(later);
  expect(next.begun).toEqual(upload);
  expect(savedParts(next)).toEqual([1]);
  next.close();
});

test("a removed journal leaves nothing, and another one can be begun at once", async () => {
  await interrupted(2);
  await (await open()).remove();
  expect(await readdir(directory)).toEqual([]);
  expect(await journals.has(identity)).toBe(false);
  const journal = await open(later);
  expect(journal.plan.id).toBe(second);
  expect(savedParts(journal)).toEqual([]);
  await journal.remove();
});

test("a journal and the files beside it are readable by their owner alone", async () => {
  const journal = await open();
  journal.begin(upload);
  journal.save(1, part(1));
  const names = await readdir(directory);
  expect(names).toHaveLength(2);
  for (const name of names) expect(await modeOf(join(directory, name))).toBe("600");
  for (const made of [directory, join(root, "state")]) expect(await modeOf(made)).toBe("700");
  journal.close();
});

test("a journal expires after a week, and a younger one is kept", async () => {
  const old = await interrupted(2);
  const time = new Date(Date.now() - 7 * day - 60_000);
  await utimes(old, time, time);
  const journal = await open(later, { ...identity, path: "other" });
  expect(await journals.has(identity)).toBe(false);
  journal.close();
  const young = new Date(Date.now() - 6 * day);
  await utimes(await path(), young, young);
  (await open(later)).close();
  expect(await readdir(directory)).toHaveLength(2);
});

test("a journal over a week old starts over, just as private", async () => {
  const old = await interrupted(2);
  const time = new Date(Date.now() - 8 * day);
  await utimes(old, time, time);
  const journal = await open(later);
  expect(journal.begun).toBeUndefined();
  expect(await modeOf(old)).toBe("600");
  journal.close();
});

test("no journal is kept if its directory cannot be created", async () => {
  await writeFile(join(root, "state"), "a file");
  expect(await journals.open(identity, plan)).toBeUndefined();
  expect(troubles).toEqual([expect.stringContaining("/a.bin")]);
  expect(await journals.has(identity)).toBe(false);
});

describe("a journal after a crash", () => {
  /** What is on the disk while three parts are saved: the database, and the log that holds most of it. */
  async function crash(): Promise<string> {
    const journal = await open();
    journal.begin(upload);
    for (const number of [1, 2, 3]) journal.save(number, part(number));
    const database = (await path()).replace(/-wal$/, "");
    for (const suffix of ["", "-wal"]) await copyFile(`${database}${suffix}`, join(root, `copy${suffix}`));
    await journal.remove();
    for (const suffix of ["", "-wal"]) await copyFile(join(root, `copy${suffix}`), `${database}${suffix}`);
    return database;
  }

  test("has everything that was saved", async () => {
    await crash();
    const journal = await open(later);
    expect(journal.plan.id).toBe(first);
    expect(journal.begun).toEqual(upload);
    expect(savedParts(journal)).toEqual([1, 2, 3]);
    journal.close();
  });

  test("has a beginning of what was saved, wherever its log was torn off", async () => {
    const database = await crash();
    const { size } = await stat(`${database}-wal`);
    const seen = new Set<string>();
    for (let length = size; length >= 0; length -= Math.ceil(size / 17)) {
      for (const suffix of ["", "-wal"]) await copyFile(join(root, `copy${suffix}`), `${database}${suffix}`);
      await truncate(`${database}-wal`, length);
      const journal = await open(later);
      const saved = savedParts(journal);
      expect(saved).toEqual([1, 2, 3].slice(0, saved.length));
      if (saved.length > 0) expect(journal.begun).toEqual(upload);
      seen.add(saved.join());
      await journal.remove();
    }
    expect(seen).toEqual(new Set(["1,2,3", "1,2", "1", ""]));
  });
});

describe("a journal that cannot be read", () => {
  async function edit(file: string, sql: string): Promise<void> {
    const database = new DatabaseSync(file);
    database.exec(sql);
    database.close();
  }
  /** Overwrites the page that holds this text. */
  async function damage(file: string, text: string): Promise<void> {
    const bytes = await readFile(file);
    const page = Math.floor(bytes.lastIndexOf(text) / 4096);
    await writeFile(file, bytes.fill(0xee, page * 4096, (page + 1) * 4096));
  }

  test.each<[string, (file: string) => Promise<void>]>([
    ["is empty", (file) => writeFile(file, "")],
    ["is cut off within its first page", (file) => truncate(file, 1000)],
    ["is cut off behind its first page", (file) => truncate(file, 4096)],
    ["is damaged where the upload is", (file) => damage(file, upload.uploadId)],
    ["is damaged where the parts are", (file) => damage(file, "digest 2")],
    ["is of another format", (file) => edit(file, "DROP TABLE part; PRAGMA user_version = 99")],
    ["has other tables", (file) => edit(file, "DROP TABLE upload; CREATE TABLE t (a)")],
  ])("starts over because it %s, and works from then on", async (_what, spoil) => {
    await spoil(await interrupted(2));
    const journal = await open(later);
    expect(journal.plan.id).toBe(second);
    expect(journal.begun).toBeUndefined();
    expect(savedParts(journal)).toEqual([]);
    journal.begin(upload);
    journal.save(1, part(1));
    journal.close();
    const again = await open();
    expect(again.plan.id).toBe(second);
    expect(savedParts(again)).toEqual([1]);
    expect(await modeOf(await path())).toBe("600");
    await again.remove();
  });
});

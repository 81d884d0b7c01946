/** Changing tags beside others, and when nobody knows whether it was done. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { DocprocError, type ErrorCode } from "../../src/core/errors.ts";
import type { DocumentRecord } from "../../src/document/record.ts";
import { retag, type TagEdit } from "../../src/library/tag.ts";
import { metadataDrivers } from "../../src/metadata/registry.ts";
import type { MetadataService } from "../../src/metadata/service.ts";
import { localSettings } from "../support/aws.ts";
import { entryOf, recordWith } from "../support/record.ts";

const never = new AbortController().signal;
let directory: string;
let metadata: MetadataService;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "docproc-tagging-"));
  metadata = await metadataDrivers.local.open(localSettings(directory));
});
afterEach(async () => {
  await metadata.close();
  await rm(directory, { recursive: true });
});

async function commit(tags: DocumentRecord["tags"]): Promise<DocumentRecord> {
  const record = recordWith({ tags });
  expect(await metadata.commit(entryOf(record), { unlessThere: true }, never)).toEqual({ committed: true });
  return record;
}

const find = async ({ id }: DocumentRecord) => (await metadata.get(id, never))?.record;
const tagsOf = async (record: DocumentRecord) => (await find(record))?.tags;
const down = (code: ErrorCode = "UNAVAILABLE") => new DocprocError(code, "connection reset");
/** The catalog with some of its methods replaced. */
const catalogWith = (methods: Partial<MetadataService>): MetadataService =>
  new Proxy(metadata, {
    get(target, name: keyof MetadataService) {
      const member = methods[name] ?? target[name];
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
const edit = (catalog: MetadataService, record: DocumentRecord, ...edits: string[]) =>
  retag(catalog, record, editOf(edits), never);

/** `key=value` sets a tag, `key-` removes one. */
function editOf(edits: readonly string[]): TagEdit {
  const set = Object.fromEntries(edits.filter((edit) => edit.includes("=")).map((edit) => edit.split("=")));
  return { set, unset: edits.filter((edit) => !edit.includes("=")).map((edit) => edit.slice(0, -1)) };
}

/** Somebody else, who changes the tags before each of the first attempts. */
function meeting(times: number, change: (n: number) => Promise<unknown>): MetadataService {
  let n = 0;
  return catalogWith({
    async update(...args) {
      n += 1;
      if (n <= times) await change(n);
      return await metadata.update(...args);
    },
  });
}

describe("a change beside others", () => {
  test.each([1, 4])("keeps what %i others changed, and makes its own", async (times) => {
    const record = await commit({ old: "x" });
    const other = async (n: number) => await edit(metadata, (await find(record)) ?? record, `n=${n}`);
    expect(await edit(meeting(times, other), record, "own=1", "old-")).toMatchObject({
      action: "tagged",
      tags: { own: "1", n: String(times) },
    });
    expect(await tagsOf(record)).toEqual({ own: "1", n: String(times) });
  });

  test("ends after a few attempts, and says that nothing was changed", async () => {
    const record = await commit({});
    const other = async (n: number) => await edit(metadata, (await find(record)) ?? record, `n=${n}`);
    const attempt = edit(meeting(99, other), record, "own=1");
    await expect(attempt).rejects.toMatchObject({
      code: "CONFLICT",
      message: expect.stringContaining("Other commands"),
    });
    expect(await tagsOf(record)).toEqual({ n: "5" });
  });

  test("finds that another one made it already", async () => {
    const record = await commit({});
    const other = async () => await edit(metadata, record, "own=1");
    expect(await edit(meeting(1, other), record, "own=1")).toMatchObject({ action: "unchanged", tags: { own: "1" } });
  });

  test("finds that the document was deleted", async () => {
    const record = await commit({});
    const other = async () => await metadata.remove(record.id, never);
    const attempt = edit(meeting(1, other), record, "own=1");
    await expect(attempt).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("keeps what others changed of the other fields", async () => {
    const record = await commit({});
    const other = async () =>
      void (await metadata.update(record, { contentType: "x/y", metadata: { by: "another" } }, never));
    const changed = { contentType: "x/y", metadata: { by: "another" }, tags: { a: "1" } };
    expect(await edit(meeting(1, other), record, "a=1")).toMatchObject(changed);
    expect(await find(record)).toMatchObject(changed);
  });
});

test("a change leaves the document in its series, where an upload of the same finds it", async () => {
  const record = await commit({});
  const { path, sha256 } = record;
  expect(await edit(metadata, record, "paid=yes")).toMatchObject({ action: "tagged" });
  expect((await metadata.lookUp({ path, given: {} }, sha256, never)).newest?.record.id).toBe(record.id);
  expect((await metadata.lookUp({ path, given: { paid: "yes" } }, sha256, never)).newest).toBeUndefined();
});

describe("a change whose answer is lost", () => {
  const lossy = (done: boolean, more: Partial<MetadataService> = {}) =>
    catalogWith({
      async update(...args) {
        if (done) await metadata.update(...args);
        throw down();
      },
      ...more,
    });

  test("is a change if it was done", async () => {
    const record = await commit({});
    expect(await edit(lossy(true), record, "a=1")).toMatchObject({ action: "tagged", tags: { a: "1" } });
  });

  test("is a failure that may be tried again if it was not", async () => {
    const record = await commit({});
    await expect(edit(lossy(false), record, "a=1")).rejects.toMatchObject({ code: "UNAVAILABLE", retryable: true });
    expect(await tagsOf(record)).toEqual({});
  });

  test.each([
    ["the catalog cannot be asked", { get: () => Promise.reject(down()) }],
    ["others have changed the tags since", { get: async () => entryOf(recordWith({ tags: { b: "2" } })) }],
    ["the document is gone since", { get: async () => undefined }],
  ])("is reported as unknown if %s", async (_what, more) => {
    const record = await commit({});
    const attempt = edit(lossy(true, more), record, "a=1");
    await expect(attempt).rejects.toMatchObject({ code: "UNAVAILABLE", hint: expect.stringMatching(/unknown/) });
  });

  test.each(["ACCESS_DENIED", "CANCELLED", "INTEGRITY"] as const)(
    "is none after %s: nothing is asked",
    async (code) => {
      const record = await commit({});
      const asked = { get: () => Promise.reject(new Error("asked")) };
      const attempt = edit(catalogWith({ update: () => Promise.reject(down(code)), ...asked }), record, "a=1");
      await expect(attempt).rejects.toMatchObject({ code });
    },
  );
});

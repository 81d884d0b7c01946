/** What a reference to a document means. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { nameOfPath } from "../../src/document/path.ts";
import type { ListQuery } from "../../src/document/query.ts";
import { type DocumentRecord, uploadTimeOfId } from "../../src/document/record.ts";
import { documentsOf, findDocument } from "../../src/library/find.ts";
import { metadataDrivers } from "../../src/metadata/registry.ts";
import type { MetadataService } from "../../src/metadata/service.ts";
import { localSettings } from "../support/aws.ts";

const never = new AbortController().signal;
let directory: string;
let metadata: MetadataService;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "docproc-finding-"));
  metadata = await metadataDrivers.local.open(localSettings(directory));
});
afterEach(async () => {
  await metadata.close();
  await rm(directory, { recursive: true });
});

let clock = 0x0198_0000_0000;
/** A new id, of which the digits behind the clock are known. */
const nextId = () => {
  const digits = (++clock).toString(16).padStart(12, "0");
  return `${digits.slice(0, 8)}-${digits.slice(8)}-7abc-8def-0123456789ab`;
};

async function add(path: string, id = nextId()): Promise<string> {
  const record: DocumentRecord = {
    ...{ id, path, name: nameOfPath(path), size: 3, contentType: "text/plain", sha256: "0".repeat(64) },
    ...{ uploadedAt: uploadTimeOfId(id), uri: `s3://bucket/${id}`, tags: {}, metadata: {} },
    ...{ source: { kind: "stdin", path: null, modifiedAt: null }, provenance: null, crc32: null, expiresAt: null },
  };
  const entry = { record, given: {}, proved: true };
  expect(await metadata.commit(entry, { unlessThere: false }, never)).toEqual({ committed: true });
  return id;
}

const find = async (reference: string) => (await findDocument(metadata, reference, never)).id;
const failure = async (reference: string) => {
  const error = await find(reference).catch((one: unknown) => one);
  return error as { code: string; message: string; hint: string };
};

describe("a reference", () => {
  test("is an id, in letters of both cases", async () => {
    const id = await add("a.txt");
    await add("a.txt");
    expect(await find(id)).toBe(id);
    expect(await find(id.toUpperCase())).toBe(id);
  });

  test("is a path, which means its newest version", async () => {
    await add("reports/a.txt");
    const newest = await add("reports/a.txt");
    await add("a.txt");
    await add("reports/A.txt");
    expect(await find("reports/a.txt")).toBe(newest);
    expect(await find("./reports/a.txt")).toBe(newest);
    await metadata.remove(newest, never);
    expect(await find("reports/a.txt")).not.toBe(newest);
  });

  test("is a path in both forms of Unicode", async () => {
    const id = await add("é.txt");
    expect(await find("e\u0301.txt")).toBe(id);
  });

  test("is not a path in other letters, though an id is taken in any", async () => {
    const lower = await add("01a2");
    expect(await failure("01A2")).toMatchObject({ code: "NOT_FOUND", hint: "Did you mean 01a2?" });
    expect(await find("01a2")).toBe(lower);
  });

  test("is a beginning of one id, of eight digits or more", async () => {
    const id = await add("a.txt", "01980000-0001-7abc-8def-0123456789ab");
    expect(await find("01980000")).toBe(id);
    for (const digits of [4, 7]) expect(await failure(id.slice(0, digits))).toMatchObject({ code: "NOT_FOUND" });
  });

  test("is no beginning of an id in upper case, which is rather a path that is gone", async () => {
    const id = await add("a.txt", "0198abcd-0001-7abc-8def-0123456789ab");
    expect(await find("0198abcd")).toBe(id);
    for (const beginning of ["0198ABCD", "0198ABCD-0001", id.slice(0, 35).toUpperCase()]) {
      expect(await failure(beginning)).toMatchObject({ code: "NOT_FOUND" });
    }
    const named = await add("0198ABCD");
    expect(await find("0198ABCD")).toBe(named);
  });

  test("that begins several ids is not guessed", async () => {
    const ids = [await add("a.txt"), await add("b.txt")];
    const [one = ""] = ids;
    const error = await failure(one.slice(0, 8));
    expect(error.code).toBe("CONFLICT");
    for (const id of ids) expect(error.hint).toContain(id);
  });

  test("that is a path and the beginning of another document's id is not guessed, and can be said", async () => {
    const id = await add("a.txt");
    const beginning = id.slice(0, 13);
    const named = await add(beginning);
    expect(await failure(beginning)).toMatchObject({
      code: "CONFLICT",
      message: `"${beginning}" is the path of one document and the beginning of the id of another.`,
      hint: `For the path write ./${beginning}, for the other document its whole id: ${id}.`,
    });
    expect(await find(`./${beginning}`)).toBe(named);
    expect(await find(id)).toBe(id);
    const second = await add("b.txt", id.replace(/.$/, "f"));
    expect(await failure(beginning)).toMatchObject({
      code: "CONFLICT",
      message: `"${beginning}" is the path of one document and the beginning of the ids of others.`,
      hint: `For the path write ./${beginning}, for another its id: ${id} or ${second}.`,
    });
  });

  test("that is the path of one document and the id of another is not guessed either", async () => {
    const id = await add("a.txt");
    const named = await add(id);
    expect(await failure(id)).toMatchObject({
      code: "CONFLICT",
      message: `"${id}" is the path of one document and the id of another.`,
      hint: `For the path write ./${id}, for the other document fewer digits: ${id.slice(0, -1)}.`,
    });
    expect(await find(`./${id}`)).toBe(named);
    expect(await find(id.slice(0, -1))).toBe(id);
  });

  test("that is the path of a document and the beginning of its own id means it", async () => {
    const id = nextId();
    await add(id.slice(0, 13), id);
    expect(await find(id.slice(0, 13))).toBe(id);
    // Not once the id of a later one begins in the same way.
    const other = await add("b.txt", id.replace(/.$/, "f"));
    const error = await failure(id.slice(0, 13));
    expect(error).toMatchObject({ code: "CONFLICT", hint: expect.stringContaining(`whole id: ${other}.`) });
    expect(await find(`./${id.slice(0, 13)}`)).toBe(id);
  });
});

describe("a reference to nothing", () => {
  test("names the paths that are near", async () => {
    await add("a/README.md");
    await add("b/README.md");
    await add("docs/invoice.pdf");
    const hint = async (reference: string) => (await failure(reference)).hint;
    expect(await hint("README.md")).toMatch(/^Did you mean [ab]\/README\.md or [ab]\/README\.md\?$/);
    expect(await hint("readme.md")).toMatch(/README\.md/);
    expect(await hint("docs/invoce.pdf")).toBe("Did you mean docs/invoice.pdf?");
    expect(await hint("invoce.pdf")).toBe("Did you mean docs/invoice.pdf?");
    expect(await hint("something else")).toBe("Run docproc list to see the documents.");
  });

  test("is never suggested for itself, though a document of that path is listed", async () => {
    await add("a/b.txt");
    const list = metadata.list.bind(metadata);
    // Its place is gone.
    const damaged: MetadataService = Object.assign(Object.create(metadata), { list, async *versions() {} });
    for (const reference of ["a/b.txt", "./a/b.txt"]) {
      const error = await findDocument(damaged, reference, never).catch((one: unknown) => one);
      expect(error).toMatchObject({ code: "NOT_FOUND", hint: "But docproc list shows one: run docproc doctor." });
    }
  });

  test("is not what a folder is called", async () => {
    await add("dist/js/a");
    await add("my docs/it's/b");
    await add("dist");
    const hint = (word: string, folder: string) =>
      `It is a folder: docproc list ${word} shows its documents, download and copy take them with --under ${folder}.`;
    const said = async (reference: string) => {
      const { code, hint } = await failure(reference);
      return [code, hint];
    };
    // A document and a folder can have one path.
    expect(await find("dist")).toBeDefined();
    for (const reference of ["dist/", "./dist//"]) {
      expect(await said(reference)).toEqual(["NOT_FOUND", hint("dist/", "dist")]);
    }
    expect(await said("dist/js")).toEqual(["NOT_FOUND", hint("dist/js/", "dist/js")]);
    expect(await said("my docs/it's")).toEqual(["NOT_FOUND", hint("'my docs/it'\\''s/'", "'my docs/it'\\''s'")]);
    for (const other of ["dis", "dist/j", "js/", "", "/", "."]) {
      expect((await said(other))[1], other).not.toContain("folder");
    }
  });

  test("is a folder where reads are charged only if one of those that are read for suggestions is in it", async () => {
    await add("old/a");
    await add("new/a");
    const asked: object[] = [];
    const charged = new Proxy(metadata, {
      get(target, name) {
        if (name === "traits") return { ...target.traits, readsFree: false };
        if (name === "list") {
          return (query: ListQuery, signal: AbortSignal) => {
            asked.push(query);
            return target.list(query, signal);
          };
        }
        const value = Reflect.get(target, name, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const error = await findDocument(charged, "old", never).catch((one: unknown) => one);
    expect(error).toMatchObject({ code: "NOT_FOUND", hint: expect.stringContaining("It is a folder") });
    expect(asked).toEqual([{ ascending: false, expected: 200 }]);
  });
});

test("the documents of a path come newest first, in more than one batch", async () => {
  const ids: string[] = [];
  for (let index = 0; index < 205; index++) ids.push(await add("many.txt"));
  await add("many.txt.sig");
  const found: string[] = [];
  for await (const { id } of documentsOf(metadata, "many.txt", never)) found.push(id);
  expect(found).toEqual(ids.reverse());
}, 120_000);

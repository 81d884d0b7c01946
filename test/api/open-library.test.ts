/** What programs can do with a library, wherever it is, and what they are told when they cannot. */
import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pathToFileURL } from "node:url";
import { describe, expect, onTestFinished, test } from "vitest";
import type { LibraryOptions } from "../../src/api/library.ts";
import { openLibraryIn } from "../../src/api/open-library.ts";
import { DocprocError } from "../../src/core/errors.ts";
import type { DocumentRecord } from "../../src/document/record.ts";
import { places, usePlace } from "../support/library.ts";
import { names, openForProgram as open } from "../support/program.ts";
import { flipBit, tamper } from "../support/stored.ts";

const stalled = () => new PassThrough();
async function* breaking(): AsyncIterable<Uint8Array> {
  yield Buffer.alloc(10_000_000);
  throw new Error("the disk was pulled out");
}

describe.each(Object.entries(places))("a library in %s", (_place, start) => {
  const endpoint = usePlace(start);

  test("is made once, and stores whatever yields bytes", async () => {
    const { library, sandbox, made } = await open(endpoint());
    expect(made.map(({ action }) => action)).toContain("created");
    expect((await library.init()).map(({ action }) => action)).not.toContain("created");
    const path = join(sandbox.cwd, "a file.txt");
    const bytes = randomBytes(9_000_000);
    await writeFile(path, bytes);
    const given = [path, pathToFileURL(path), bytes, Readable.from([bytes]), new Blob([bytes]).stream()];
    for (const [index, one] of given.entries()) {
      const sent: number[] = [];
      const stored = await library.upload(one, { path: `n${index}`, onProgress: (count) => void sent.push(count) });
      expect(stored).toMatchObject({
        name: `n${index}`,
        size: bytes.length,
        action: "uploaded",
        bytesSent: bytes.length,
      });
      expect(sent.reduce((sum, count) => sum + count, 0)).toBe(bytes.length);
      expect((await buffer(await library.read(stored))).equals(bytes)).toBe(true);
    }
    expect(await library.upload(path)).toMatchObject({
      name: "a file.txt",
      action: "uploaded",
      source: { kind: "file" },
    });
    expect(await library.upload(path)).toMatchObject({ action: "unchanged", bytesSent: 0 });
    expect(await library.upload(path, { onDuplicate: "store" })).toMatchObject({ action: "uploaded" });
  });

  test("finds what was stored", async () => {
    const { library } = await open(endpoint());
    const tagged = { tags: { build: "42", __proto__x: "y" }, metadata: { "a key": "a value" } };
    const first = await library.upload(Buffer.from("%PDF-1.7"), { path: "a.pdf", ...tagged });
    await library.upload(Buffer.from("b"), { path: "b.txt", tags: { build: "42" }, contentType: "text/x-b" });
    const last = await library.upload(Buffer.from(""), { path: "b.txt" });
    expect(first).toMatchObject({ ...tagged, contentType: "application/pdf", source: { kind: "stdin", path: null } });
    expect(await names(library.list())).toEqual(["b.txt", "b.txt", "a.pdf"]);
    expect(await names(library.list({ ascending: true, limit: 2 }))).toEqual(["a.pdf", "b.txt"]);
    expect(await names(library.list({ tags: { build: "42" } }))).toEqual(["b.txt", "a.pdf"]);
    expect(await names(library.list({ name: "a*", since: "1h", until: new Date(Date.now() + 1000) }))).toEqual([
      "a.pdf",
    ]);
    expect(await names(library.list({ type: "text/x-b" }))).toEqual(["b.txt"]);
    expect(await names(library.list({ after: last.id }))).toEqual(["b.txt", "a.pdf"]);
    expect(await names(library.list({ since: new Date(Date.now() + 60_000) }))).toEqual([]);
    expect(await library.get("b.txt")).toEqual((({ action, bytesSent, ...record }) => record)(last));
    expect((await library.get(first.id)).sha256).toBe(first.sha256);
  });

  test("writes documents to files, and removes them", async () => {
    const { library, sandbox } = await open(endpoint());
    const { id } = await library.upload(Buffer.from("1"), { path: "a.txt" });
    const path = join(sandbox.cwd, "out", "a.txt");
    expect(await library.download("a.txt", { to: "out/" })).toMatchObject({ id, file: path, action: "downloaded" });
    expect(await readFile(path, "utf8")).toBe("1");
    expect(await library.download(id, { to: path })).toMatchObject({ id, file: path, action: "present" });
    await library.upload(Buffer.from("22"), { path: "a.txt" });
    await expect(library.download("a.txt", { to: path })).rejects.toMatchObject({ code: "CONFLICT" });
    const written: number[] = [];
    await library.download("a.txt", { to: path, force: true, onProgress: (count) => void written.push(count) });
    expect([await readFile(path, "utf8"), written]).toEqual(["22", [2]]);
    await library.upload(Buffer.from("3"), { path: "folder/b.txt" });
    const inFolder = { file: join(sandbox.cwd, "out", "folder", "b.txt") };
    expect(await library.download("folder/b.txt", { to: "out" })).toMatchObject(inFolder);
    await library.delete("folder/b.txt");
    const removed = await library.delete(id);
    expect(removed.id).toBe(id);
    for (const gone of [() => library.get(id), () => library.delete(removed), () => library.read(removed)]) {
      await expect(gone()).rejects.toMatchObject({ code: "NOT_FOUND" });
    }
    expect(await names(library.list())).toEqual(["a.txt"]);
  });

  test("hands out records that nothing can change, and changes nothing that it is given", async () => {
    const [one, two] = [(await open(endpoint())).library, (await open(endpoint())).library];
    const given = { tags: { build: "1", ["__proto__"]: "kept" }, metadata: { a: "b" } };
    const mine = structuredClone(given);
    const uploads = await Promise.all(
      [one, two].map((library) => library.upload(Buffer.from("a"), { path: "a", ...mine })),
    );
    expect(Object.values(mine).some((value) => Object.isFrozen(value))).toBe(false);
    mine.tags.build = "changed";
    const again = await one.upload(Buffer.from("a"), { path: "a", ...given });
    expect(again).toMatchObject({ action: "unchanged", tags: { build: "1" } });
    const listed: DocumentRecord[] = [];
    for await (const record of one.list()) listed.push(record);
    const downloaded = await one.download(await one.get("a"), { to: "out/" });
    // What a program has made of a record is its own.
    const own = structuredClone(await one.get("a"));
    const copied = await one.download(own, { to: "copies/" });
    (own.tags as Record<string, string>)["build"] = "mine";
    const kept = [...uploads, again, ...listed, downloaded, copied, await one.get("a"), await one.delete("a")];
    for (const record of kept) {
      for (const part of [record, record.tags, record.metadata, record.source]) {
        expect(Object.isFrozen(part)).toBe(true);
        expect(() => Object.assign(part, { build: "changed" })).toThrow(TypeError);
      }
      expect(record.tags["build"]).toBe("1");
    }
    expect((await two.get("a")).tags["build"]).toBe("1");
  });

  test("removes of a record what it has itself under that id, and says what became of the bytes", async () => {
    const { library } = await open(endpoint());
    const record = await library.upload(Buffer.from("1"), { path: "a.txt" });
    const named = await library.upload(Buffer.from("2"), { path: record.id });
    const elsewhere = { ...record, uri: record.uri.replace(/[^/]+$/, "other") };
    expect(await library.delete(elsewhere)).toMatchObject({ uri: record.uri, bytes: "removed", reason: null });
    await expect(library.delete(record)).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect((await library.get(record.id)).id).toBe(named.id);
  });

  test("writes hidden files only under a name that was given", async () => {
    const { library, sandbox } = await open(endpoint());
    const { id } = await library.upload(Buffer.from("1"), { path: ".bashrc" });
    const refused = { code: "USAGE", message: expect.stringContaining("hidden") };
    await expect(library.download(id, { to: "out/" })).rejects.toMatchObject(refused);
    await expect(library.download(await library.get(id), { to: sandbox.cwd })).rejects.toMatchObject(refused);
    expect(await library.download(".bashrc", { to: "out/" })).toMatchObject({ id });
    expect(await library.download(id, { to: "out/.mine" })).toMatchObject({ id });
  });

  test("never yields all bytes of a damaged document", async () => {
    const { library } = await open(endpoint());
    const bytes = randomBytes(3_000_000);
    const record = await library.upload(bytes, { path: "a" });
    await tamper(record, endpoint(), flipBit);
    let read = 0;
    const reading = async () => {
      for await (const chunk of await library.read("a")) read += chunk.length;
    };
    await expect(reading()).rejects.toMatchObject({ name: "DocprocError", code: "INTEGRITY" });
    expect(read).toBeLessThan(bytes.length);
    await expect(library.download("a", { to: "a" })).rejects.toMatchObject({ code: "INTEGRITY" });
  });

  test("keeps nothing of an upload that broke off or was called off", async () => {
    const { library } = await open(endpoint());
    await expect(library.upload(breaking(), { path: "a" })).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining("the disk was pulled out"),
    });
    for (const producer of [stalled(), Readable.toWeb(stalled()), endless()]) {
      const controller = new AbortController();
      setTimeout(() => controller.abort(), 100);
      const upload = library.upload(producer as AsyncIterable<Uint8Array>, { path: "a", signal: controller.signal });
      await expect(upload).rejects.toMatchObject({ code: "CANCELLED" });
    }
    expect(await names(library.list())).toEqual([]);
    const mine = new DocprocError("CONFLICT", "Mine.");
    await expect(library.get("a", { signal: AbortSignal.abort(mine) })).rejects.toBe(mine);
  });
});

async function* endless(): AsyncIterable<Uint8Array> {
  for (;;) {
    yield Buffer.alloc(1000);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test("a stream of Node that is called off while it waits is destroyed", async () => {
  const { library } = await open();
  const stream = stalled();
  const signal = AbortSignal.timeout(50);
  await expect(library.upload(stream, { path: "a", signal })).rejects.toMatchObject({ code: "CANCELLED" });
  expect(stream.destroyed).toBe(true);
});

test("one signal for many calls does not make Node warn of a leak", async () => {
  const { library } = await open();
  const warnings: Error[] = [];
  const listener = (warning: Error) => void warnings.push(warning);
  process.on("warning", listener);
  onTestFinished(() => void process.off("warning", listener));
  const { signal } = new AbortController();
  await Promise.all(
    Array.from({ length: 30 }, (_, n) => library.upload(Buffer.from(`${n}`), { path: `${n}`, signal })),
  );
  await new Promise(setImmediate);
  expect(warnings.filter(({ name }) => name.startsWith("MaxListeners"))).toEqual([]);
});

test("records when a document expires, given as a term, a day or a Date", async () => {
  const { library } = await open();
  const at = new Date("2999-01-31T12:00:00.500Z");
  const upload = async (expires: string | Date) =>
    (await library.upload(Buffer.from("a"), { path: "a", expires })).expiresAt;
  expect(await upload(at)).toBe(at.toISOString());
  expect(await upload("2999-01-31")).toBe("2999-01-31T00:00:00.000Z");
  expect(Date.parse((await upload("1h")) ?? "") - Date.now()).toBeGreaterThan(3_500_000);
  for (const past of ["2020-01-31", new Date(0), new Date("never"), "soon"]) {
    await expect(upload(past)).rejects.toMatchObject({ code: "USAGE", message: expect.stringContaining("expires") });
  }
});

// biome-ignore lint/suspicious/noExplicitAny: what a program in JavaScript could give.
type Anything = any;

test.each<[string, (library: Anything) => Promise<unknown>]>([
  ["a number to upload", (library) => library.upload(3, { path: "a" })],
  ["nothing to upload", (library) => library.upload(undefined, { path: "a" })],
  ["an address of the web", (library) => library.upload(new URL("https://example.org/a"), { path: "a" })],
  ["bytes without a path", (library) => library.upload(Buffer.from("a"))],
  ["a path that leads out", (library) => library.upload(Buffer.from("a"), { path: "a/../b" })],
  ["a stream of objects", (library) => library.upload(Readable.from([{ a: 1 }]), { path: "a" })],
  ["a directory", (library) => library.upload(".")],
  ["a tag with = in its key", (library) => library.upload(Buffer.from("a"), { path: "a", tags: { "b=c": "d" } })],
  ["a tag without a key", (library) => library.list({ tags: { "": "d" } }).next()],
  ["a tag that is a number", (library) => library.upload(Buffer.from("a"), { path: "a", tags: { b: 42 } })],
  ["no content type", (library) => library.upload(Buffer.from("a"), { path: "a", contentType: "nonsense" })],
  ["a limit of 0", (library) => library.list({ limit: 0 }).next()],
  ["a limit of a half", (library) => library.list({ limit: 1.5 }).next()],
  ["no date", (library) => library.list({ since: new Date("never") }).next()],
  ["no time", (library) => library.list({ until: "soon" }).next()],
])("%s is a mistake of usage, and nothing is stored", async (_what, attempt) => {
  const { library } = await open();
  await expect(attempt(library)).rejects.toMatchObject({
    name: "DocprocError",
    code: "USAGE",
    hint: expect.any(String),
  });
  expect(await names(library.list())).toEqual([]);
});

test.each<[LibraryOptions, string]>([
  [{}, "needs to know where the library is"],
  [{ storage: "s3", bucket: "docs", metadata: "local" }, "needs to know where the library is"],
  [{ storage: "s3", metadata: "dynamodb", table: "t" }, "needs a bucket"],
  [{ directory: "a", region: "EU 1" }, "region (the option region)"],
  [{ directory: "a", retries: -1 }, "retries (the option retries)"],
  [{ directory: "a", timeout: 0.1 }, "timeout (the option timeout)"],
  [{ bukcet: "a" } as LibraryOptions, 'the unknown key "bukcet"'],
  [{ bucket: "A" }, "is not a valid bucket name"],
])("%j does not open a library", async (options, message) => {
  const { surroundings } = await open();
  await expect(openLibraryIn(options, surroundings)).rejects.toMatchObject({
    code: "INVALID_CONFIG",
    message: expect.stringContaining(message),
  });
});

test("a library that is closed says so, and can be closed again", async () => {
  const { library } = await open();
  await library[Symbol.asyncDispose]();
  await library.close();
  await expect(library.get("a")).rejects.toMatchObject({ code: "USAGE", message: "The library is closed." });
  await expect(names(library.list())).rejects.toMatchObject({ code: "USAGE" });
});

/** What a program does with documents that are there: choose, tag, sign, count, verify, copy and register them. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Library } from "../../src/api/library.ts";
import { awsEndpoints } from "../support/aws.ts";
import { inCatalog, places, usePlace } from "../support/library.ts";
import { names, openForProgram as open } from "../support/program.ts";
import { entryOf } from "../support/record.ts";
import { flipBit, tamper } from "../support/stored.ts";

const never = new AbortController().signal;
const bytes = (text: string) => Buffer.from(text);

/** Three documents: two of a build and a customer, and the largest of them all. */
async function fill(library: Library) {
  const a = await library.upload(bytes("1"), { path: "b.txt", tags: { build: "42", kind: "log" } });
  const b = await library.upload(bytes("333"), { path: "a.txt", tags: { build: "42" } });
  const c = await library.upload(bytes("22"), { path: "c.pdf", contentType: "application/pdf" });
  return { a, b, c };
}

describe.each(Object.entries(places))("in %s, a program", (_place, start) => {
  const endpoint = usePlace(start);

  test("tags a document, and is told when that changes nothing", async () => {
    const { library } = await open(endpoint());
    const { a, c } = await fill(library);
    const tagged = await library.tag("b.txt", { set: { paid: "yes", build: "43" }, unset: ["kind"] });
    expect(tagged).toMatchObject({ id: a.id, action: "tagged", tags: { paid: "yes", build: "43" } });
    expect(Object.keys(tagged.tags).sort()).toEqual(["build", "paid"]);
    expect([Object.isFrozen(tagged), Object.isFrozen(tagged.tags)]).toEqual([true, true]);
    expect(await library.tag(a.id, { set: { paid: "yes" } })).toMatchObject({ action: "unchanged" });
    // The record is from before: what counts is what is stored.
    expect(await library.tag(a, { set: { build: "42", kind: "log" } })).toMatchObject({ action: "tagged" });
    expect((await library.get(a.id)).tags).toMatchObject({ build: "42", kind: "log", paid: "yes" });
    const { id: _id, ...elsewhere } = c;
    await expect(library.tag({ ...elsewhere, id: a.id.replace(/.$/, "x") }, { set: {} })).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
    const contradiction = library.tag(c, { set: { a: "1" }, unset: ["a"] });
    await expect(contradiction).rejects.toMatchObject({ code: "USAGE", message: expect.stringContaining('"a"') });
    const twin = await library.upload(bytes("22"), { path: "c.pdf", tags: { copy: "2" } });
    expect(await library.tag(twin, { unset: ["copy"] })).toMatchObject({ action: "tagged", id: twin.id, tags: {} });
  });

  test("counts the documents that it chooses", async () => {
    const { library } = await open(endpoint());
    await fill(library);
    const all = await library.stats();
    expect(all).toMatchObject({ count: 3, bytes: 6, tagsLeftOut: 0 });
    expect(all.tags).toContainEqual({ key: "build=42", count: 2, bytes: 4 });
    expect(await library.stats({ tags: { build: "42" } })).toMatchObject({ count: 2, bytes: 4 });
    expect(await library.stats({ type: "application/pdf" })).toMatchObject({ count: 1, bytes: 2 });
    expect(await library.stats({ name: "nothing" })).toMatchObject({ count: 0, types: [], days: [] });
    await expect(library.stats({ commit: "abc" })).rejects.toMatchObject({ code: "USAGE" });
  });

  test("chooses documents by the commit and the CI run that made them", async () => {
    const { library, settings } = await open(endpoint());
    const { a, b } = await fill(library);
    const git = { commit: "4f475bb0c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f6", branch: null, dirty: null, remote: null };
    const ci = { provider: "github", run: "77", attempt: null, job: null, actor: null, url: null };
    await inCatalog(settings, async (metadata) => {
      for (const [{ id }, provenance] of [
        [a, { git, ci: null }],
        [b, { git: null, ci }],
      ] as const) {
        const record = await metadata.remove(id, never);
        if (record) await metadata.commit(entryOf({ ...record, provenance }), { unlessThere: true }, never);
      }
    });
    expect(await names(library.list({ commit: "4F475BB" }))).toEqual(["b.txt"]);
    expect(await names(library.list({ commit: "4f475bc" }))).toEqual([]);
    expect(await names(library.list({ run: "77" }))).toEqual(["a.txt"]);
    expect(await names(library.list({ run: "7" }))).toEqual([]);
    expect(await library.stats({ run: "77" })).toMatchObject({ count: 1, bytes: 3 });
    for await (const { provenance } of library.list({ run: "77" })) expect(Object.isFrozen(provenance?.ci)).toBe(true);
  });

  test("verifies a document, and is told what is wrong with it", async () => {
    const { library } = await open(endpoint());
    const { a, b } = await fill(library);
    expect(await library.verify("a.txt")).toBeUndefined();
    const read: number[] = [];
    expect(await library.verify(b, { deep: true, onProgress: (count) => void read.push(count) })).toBeUndefined();
    expect(read).toEqual([3]);
    await tamper(a, endpoint(), flipBit);
    expect(await library.verify(a.id, { deep: true })).toMatchObject({
      code: expect.stringMatching(/^WRONG_(BYTES|CHECKSUM)$/),
      id: a.id,
      path: "b.txt",
      fix: expect.any(String),
    });
    await expect(library.verify("nothing")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("copies a document into another library, once, and back", async () => {
    const { library } = await open(endpoint());
    const { library: other } = await open();
    const { a } = await fill(library);
    const sent: number[] = [];
    const copied = await library.copy(a, { to: other, onProgress: (count) => void sent.push(count) });
    expect(copied).toMatchObject({ id: a.id, name: "b.txt", action: "copied", bytesSent: 1, tags: a.tags });
    expect([copied.uri === a.uri, Object.isFrozen(copied.tags), sent]).toEqual([false, true, [1]]);
    expect(await library.copy("b.txt", { to: other })).toMatchObject({ action: "unchanged", bytesSent: 0 });
    expect(await other.verify(a.id, { deep: true })).toBeUndefined();
    await library.delete(a);
    expect(await other.copy(a.id, { to: library })).toMatchObject({ action: "copied", uri: a.uri });
    // What is copied is what the library has under the id, whatever the record says.
    await library.delete(a);
    expect(await other.copy({ ...copied, name: "forged" }, { to: library })).toMatchObject({ name: "b.txt" });
    await expect(library.copy(a, { to: library })).rejects.toMatchObject({ code: "USAGE" });
    await expect(library.copy(a, { to: {} as Library })).rejects.toMatchObject({ code: "USAGE" });
    await other.close();
    await expect(library.copy(a, { to: other })).rejects.toMatchObject({ message: "The library is closed." });
  });
});

describe.each(["the embedded library", ...Object.keys(awsEndpoints())])("in %s, a listing", (place) => {
  const endpoint = usePlace(places[place]);

  test("comes in the order that was asked for, or says that there is none", async () => {
    const { library } = await open(endpoint());
    await fill(library);
    expect(await names(library.list({ sort: "time" }))).toEqual(["c.pdf", "a.txt", "b.txt"]);
    const sorted = async () => [
      await names(library.list({ sort: "size" })),
      await names(library.list({ sort: "size", ascending: true, limit: 1 })),
      await names(library.list({ sort: "path" })),
    ];
    if (endpoint() === undefined) {
      expect(await sorted()).toEqual([["a.txt", "c.pdf", "b.txt"], ["b.txt"], ["a.txt", "b.txt", "c.pdf"]]);
    } else {
      await expect(sorted()).rejects.toMatchObject({ code: "USAGE" });
    }
    const odd = "best" as "time";
    await expect(names(library.list({ sort: odd }))).rejects.toMatchObject({
      code: "USAGE",
      message: expect.stringContaining('"best"'),
    });
  });
});

describe.each(Object.entries(awsEndpoints()))("with %s, a program", (_place, start) => {
  const endpoint = usePlace(start);

  test("signs links for those without credentials", async () => {
    const { library } = await open(endpoint());
    const { a } = await fill(library);
    const before = Date.now();
    const link = await library.url("b.txt", { expiresIn: "1h" });
    expect(link).toMatchObject({ id: a.id, path: "b.txt", method: "GET", mayExpireEarlier: false });
    expect(Math.abs(Date.parse(link.expiresAt) - before - 3_600_000)).toBeLessThan(60_000);
    expect(await (await fetch(link.url, { headers: link.headers })).text()).toBe("1");
    expect(Date.parse((await library.url(a, { expiresIn: 60 })).expiresAt)).toBeLessThan(before + 120_000);
    await expect(library.url(a, { method: "PUT" })).rejects.toMatchObject({ code: "CONFLICT" });
    const forged = { ...a, uri: a.uri.replace(/[^/]+$/, "other.txt") };
    expect(new URL((await library.url(forged)).url).pathname).toBe(new URL(link.url).pathname);
    for (const method of ["put", "DELETE"] as unknown as "PUT"[]) {
      await expect(library.url(a, { method })).rejects.toMatchObject({ code: "USAGE" });
    }
    for (const expiresIn of ["8d", 0, "soon", Number.NaN]) {
      await expect(library.url(a, { expiresIn })).rejects.toMatchObject({ code: "USAGE", hint: expect.any(String) });
    }
  });

  test("records what others have put into the bucket", async () => {
    const { library, settings } = await open(endpoint());
    const Bucket = settings.bucket ?? "";
    const client = new S3Client({ endpoint: endpoint() ?? "", forcePathStyle: true });
    onTestFinished(() => client.destroy());
    const Key = `incoming/${Date.now()}.txt`;
    await client.send(new PutObjectCommand({ Bucket, Key, Body: "hello", ContentType: "text/x-theirs" }));
    const uri = `s3://${Bucket}/${Key}`;
    const read: number[] = [];
    const options = { path: "theirs.txt", tags: { a: "1" }, metadata: { by: "them" } };
    const recorded = await library.register(uri, { ...options, onProgress: (count) => void read.push(count) });
    const expected = { ...options, uri, size: 5, contentType: "text/x-theirs" };
    expect(recorded).toMatchObject({ ...expected, action: "registered", source: { kind: "register" } });
    expect([read, Object.isFrozen(recorded.source)]).toEqual([[5], true]);
    expect(await library.register(uri, options)).toMatchObject({ id: recorded.id, action: "unchanged" });
    await expect(library.register(uri, { path: "other" })).rejects.toMatchObject({ code: "CONFLICT" });
    await expect(library.register(`${uri}x`)).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(await library.delete(recorded)).toMatchObject({ bytes: "kept", reason: "registered" });
  });
});

test("the embedded library signs nothing, and has nothing to register", async () => {
  const { library, sandbox } = await open();
  await fill(library);
  await expect(library.url("a.txt")).rejects.toMatchObject({ code: "USAGE" });
  const path = join(sandbox.cwd, "a.txt");
  await writeFile(path, "1");
  await expect(library.register(path)).rejects.toMatchObject({ code: "USAGE" });
});

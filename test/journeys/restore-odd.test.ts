/** Bytes that come back in unusual ways: from standard input, into a moved library, beside records of odd times. */
import { randomBytes } from "node:crypto";
import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { storageDrivers } from "../../src/storage/registry.ts";
import { inCatalog, openLibrary, places, usePlace } from "../support/library.ts";
import { makeSandbox, runDocproc } from "../support/run.ts";

const never = new AbortController().signal;
const mebibyte = 1024 * 1024;

describe.each(Object.entries(places))("in %s", (_place, start) => {
  const endpoint = usePlace(start);

  test.each([
    ["small", 1_000],
    ["large", 9 * mebibyte],
  ])("a %s document is restored from standard input, and from its own bytes only", async (_size, size) => {
    const { run, upload, settings } = await openLibrary(endpoint());
    const [content, longer] = [randomBytes(size), randomBytes(size + 1)];
    const record = await upload("a/big.bin", content);
    const storage = await storageDrivers[settings.storage as "local" | "s3"].open(settings);
    const key = record.uri.slice(storage.uri("").length);
    await storage.remove(key, never);
    const restore = (bytes: Buffer) =>
      run(["upload", "-", "--restore", record.id, "--json"], { stdin: Readable.from([bytes]) });
    for (const wrong of [randomBytes(size), longer, content.subarray(1)]) {
      expect(await restore(wrong)).toMatchObject({ status: 6 });
      expect(await storage.stat(key, never)).toBeUndefined();
    }
    const restored = await restore(content);
    expect(restored.json()).toMatchObject({ documents: [{ id: record.id, action: "restored" }] });
    expect(await run(["verify", record.id, "--deep"])).toMatchObject({ status: 0 });
    // Nothing is to be restored, but other bytes are not the document's.
    expect(await restore(longer)).toMatchObject({ status: 6 });
    expect((await restore(content)).json()).toMatchObject({ documents: [{ action: "unchanged" }] });
    expect((await run(["list", "--json"])).json().documents).toHaveLength(1);
    await storage.close();
  });

  test("no version is stored behind one of the last millisecond there is", async () => {
    const { run, upload, sandbox, settings } = await openLibrary(endpoint());
    const record = await upload("a.txt", "1");
    const last = "e677d21f-dbff-7fff-bfff-ffffffffffff";
    const uploadedAt = "9999-12-31T23:59:59.999Z";
    await inCatalog(settings, async (metadata) => {
      const entry = { record: { ...record, id: last, uploadedAt }, given: {}, proved: true };
      await metadata.commit(entry, { unlessThere: false }, never);
    });
    await writeFile(join(sandbox.root, "upload"), "2");
    const outcome = await run(["upload", join(sandbox.root, "upload"), "--name", "a.txt"]);
    expect(outcome).toMatchObject({ status: 5, stderr: expect.stringContaining(`docproc delete ${last}`) });
    expect((await run(["list", "--json"])).json().documents).toHaveLength(2);
  });
});

test("a lost object of a moved library comes back where the library is now", async () => {
  const sandbox = await makeSandbox();
  const [before, now] = [join(sandbox.root, "before"), join(sandbox.root, "now")];
  await writeFile(join(sandbox.cwd, "a.txt"), "1");
  const upload = (directory: string) => runDocproc(sandbox, ["upload", "a.txt", "--directory", directory, "--json"]);
  const [{ id, uri }] = (await upload(before)).json().documents;
  await rename(before, now);
  await rm(fileURLToPath(uri).replace(before, now));
  expect((await upload(now)).json()).toMatchObject({ documents: [{ id, action: "restored" }] });
  expect(await runDocproc(sandbox, ["cat", "a.txt", "--directory", now])).toMatchObject({ status: 0, stdout: "1" });
  expect((await upload(now)).json()).toMatchObject({ documents: [{ id, action: "unchanged" }] });
});

/** Restores and copies in a bucket: what is on the wire, and what other processes do between the look and the write. */
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { awsSettings, type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { forward, listen } from "../support/forward.ts";
import { awsState, complaints, digestOf } from "../support/oracle.ts";
import { openResumable, sha256 } from "../support/resumable.ts";
import { makeSandbox, type RunOptions, runDocproc } from "../support/run.ts";
import { flipBit, remark } from "../support/stored.ts";

let aws: InRepoAws;
beforeAll(async () => {
  aws = await startInRepoAws();
});
afterAll(() => aws.close());

/** The second is sent in two parts. */
const sizes = [
  ["small", randomBytes(2_000)],
  ["large", randomBytes(6 * 1024 * 1024)],
] as const;
const damages = [
  ["is gone", () => null],
  ["is damaged", flipBit],
] as const;
const cases = sizes.flatMap(([size, bytes]) => damages.map(([what, change]) => [size, what, bytes, change] as const));

/** The request that makes an object visible. */
function publishes({ method, url = "" }: IncomingMessage): boolean {
  const part = /[?&]partNumber=/.test(url);
  return (method === "PUT" && !part && /\/[0-9a-f-]{36}\//.test(url)) || (method === "POST" && /uploadId=/.test(url));
}

async function open(own = aws) {
  const sandbox = await makeSandbox();
  const bucket = awsSettings("").bucket ?? "";
  const state = awsState(own, bucket);
  const path = join(sandbox.cwd, "a.bin");
  const at = (endpoint: string) => ["--endpoint-url", endpoint, "--bucket", bucket, "--part-size", "5MiB"];
  const run = (argv: readonly string[], options?: RunOptions) =>
    runDocproc(sandbox, [...argv, ...at(own.endpoint).slice(0, argv[0] === "upload" ? undefined : 4)], options);
  expect(await run(["init"])).toMatchObject({ status: 0 });
  const upload = async (bytes: Buffer, ...argv: string[]) => {
    await writeFile(path, bytes);
    const before = own.s3.requests.length;
    const outcome = await run(["upload", "a.bin", ...argv, "--json"]);
    const sent = own.s3.requests.slice(before).filter(({ operation }) => /^(PutObject|UploadPart)$/.test(operation));
    return { ...outcome.json().documents[0], sent: sent.reduce((sum, { bodyBytes }) => sum + bodyBytes, 0) };
  };
  return {
    sandbox,
    bucket,
    state,
    run,
    upload,
    /** Uploads a.bin through a proxy; something happens before its first object is made visible. */
    async uploadBeside(happens: () => Promise<unknown>, argv: readonly string[] = [], options?: RunOptions) {
      let happening: Promise<unknown> | undefined;
      const proxy = await listen(async (incoming, outgoing) => {
        if (happening === undefined && publishes(incoming)) {
          happening = happens();
          await happening.catch(() => {});
        }
        await forward(incoming, outgoing, own.endpoint);
      });
      onTestFinished(() => proxy.close());
      const outcome = await runDocproc(sandbox, ["upload", "a.bin", "--json", ...at(proxy.endpoint), ...argv], options);
      expect(happening).toBeDefined();
      await happening;
      return outcome;
    },
    async expectSound() {
      const { documents } = (await run(["list", "--all", "--json"])).json();
      expect(await complaints(state, documents, { garbage: true })).toEqual([]);
      return documents;
    },
  };
}

describe.each(cases)("a %s object that %s", (_size, _what, bytes, change) => {
  async function openDamaged() {
    const library = await open();
    const { id } = await library.upload(bytes);
    await library.state.damage(id, change);
    return { ...library, id, right: sha256(bytes) };
  }

  test("is put back in one piece of the size that it has, and is sent once", async () => {
    const { upload, expectSound, id } = await openDamaged();
    expect(await upload(bytes)).toMatchObject({ id, action: "restored", bytesSent: bytes.length, sent: bytes.length });
    await expectSound();
    expect(await upload(bytes)).toMatchObject({ id, action: "unchanged", sent: 0 });
  });

  test("and that another process restores first is not written again", async () => {
    const { run, uploadBeside, expectSound, bucket, id } = await openDamaged();
    const modified = () => [...(aws.s3.buckets.get(bucket)?.objects.values() ?? [])].map((one) => one.lastModified);
    let restored: Date[] = [];
    const outcome = await uploadBeside(async () => {
      expect((await run(["upload", "a.bin", "--json"])).json().documents).toMatchObject([{ action: "restored" }]);
      restored = modified();
    });
    // What is there may be its own, if an answer was lost: both words are true.
    expect(outcome.json().documents).toMatchObject([{ id, action: expect.stringMatching(/^(restored|unchanged)$/) }]);
    expect(modified()).toEqual(restored);
    await expectSound();
  });

  test("and is damaged otherwise meanwhile is looked at again", async () => {
    const { state, uploadBeside, expectSound, bucket, id } = await openDamaged();
    const outcome = await uploadBeside(async () => {
      if ((await digestOf(state, id)) !== undefined) return await state.damage(id, () => Buffer.from("otherwise"));
      // A program stores something where nothing was.
      const key = `${id.slice(-2)}/${id}/a.bin`;
      const objects = aws.s3.buckets.get(bucket)?.objects;
      const theirs = { headers: {}, metadata: {}, body: Buffer.from("x"), etag: "x", lastModified: new Date() };
      objects?.set(key, { ...theirs, checksum: undefined } as never);
    });
    expect(outcome.json().documents).toMatchObject([{ id, action: "restored" }]);
    await expectSound();
  });

  test("and whose document is deleted meanwhile is stored as a new document", async () => {
    const { run, uploadBeside, expectSound, id } = await openDamaged();
    const outcome = await uploadBeside(() => run(["delete", id, "--yes"]));
    const [document] = outcome.json().documents;
    expect(document).toMatchObject({ action: "uploaded" });
    expect(document.id).not.toBe(id);
    expect(await expectSound()).toMatchObject([{ id: document.id }]);
  });

  test("is restored beside the next version, which stays the newest", async () => {
    const { sandbox, run, uploadBeside, expectSound, id } = await openDamaged();
    await writeFile(join(sandbox.cwd, "next"), "the next version");
    const outcome = await uploadBeside(() => run(["upload", "next", "--name", "a.bin"]));
    expect(outcome.json().documents).toMatchObject([{ id, action: "restored" }]);
    expect(await expectSound()).toHaveLength(2);
    expect(await run(["cat", "a.bin"])).toMatchObject({ stdout: "the next version" });
  });

  test("is as it was or whole after an interruption", async () => {
    const { state, upload, uploadBeside, expectSound, id, right } = await openDamaged();
    const before = await digestOf(state, id);
    const stop = new AbortController();
    const outcome = await uploadBeside(async () => stop.abort(new Error("stop")), [], { signal: stop.signal });
    expect(outcome.status).not.toBe(0);
    expect([before, right]).toContain(await digestOf(state, id));
    expect(await upload(bytes)).toMatchObject({ id, sha256: right });
    await expectSound();
  });

  test("and belongs to another catalog is never written to", async () => {
    const { state, run, upload, bucket, id } = await openDamaged();
    if ((await digestOf(state, id)) === undefined) return expect(await upload(bytes)).toMatchObject({ id });
    const uri = (await run(["show", id, "--json"])).json().uri;
    await remark({ ...awsSettings(aws.endpoint), bucket }, [{ uri }], "0".repeat(32));
    const theirs = await digestOf(state, id);
    const refused = await run(["upload", "a.bin", "--restore", id]);
    expect(refused).toMatchObject({ status: 5, stderr: expect.stringContaining("were not stored by this library") });
    const beside = await upload(bytes);
    expect(beside).toMatchObject({ action: "uploaded", sha256: sha256(bytes) });
    expect(beside.id).not.toBe(id);
    expect(await digestOf(state, id)).toBe(theirs);
  });
});

test("a registered object that is another by now is never written to", async () => {
  const { sandbox, bucket, run, upload } = await open();
  const objects = aws.s3.buckets.get(bucket)?.objects;
  const other = await upload(Buffer.from("any"), "--name", "any");
  const made = objects?.values().next().value;
  if (!made) throw new Error("nothing to go on with");
  objects?.set("theirs/a.bin", { ...made, body: Buffer.from("any"), lastModified: new Date() });
  const registered = (await run(["register", `s3://${bucket}/theirs/a.bin`, "--json"])).json();
  objects?.set("theirs/a.bin", { ...made, body: Buffer.from("new"), etag: "new", checksum: undefined });
  await writeFile(join(sandbox.cwd, "a.bin"), "any");
  expect(await run(["upload", "a.bin", "--restore", registered.id])).toMatchObject({ status: 5 });
  const beside = await upload(Buffer.from("any"));
  expect(beside).toMatchObject({ action: "uploaded" });
  expect([registered.id, other.id]).not.toContain(beside.id);
  expect(objects?.get("theirs/a.bin")?.body.toString()).toBe("new");
});

describe.each(sizes)("a %s version that repeats the bytes of its path", (_size, bytes) => {
  const second = Buffer.from("the second version");

  test("is copied inside the storage: back, with other tags, and where each upload is to be stored", async () => {
    const { run, upload, expectSound } = await open();
    const first = await upload(bytes);
    await upload(second);
    for (const flags of [[], ["--tag", "build=43"], ["--on-duplicate", "store"]]) {
      // The last is meant to be twice the same.
      if (flags.includes("store")) expect(await expectSound()).toHaveLength(4);
      const copied = await upload(bytes, ...flags);
      expect(copied).toMatchObject({ action: "uploaded", bytesSent: 0, sent: 0, sha256: first.sha256 });
      expect((await run(["show", "a.bin", "--json"])).json().id).toBe(copied.id);
    }
  });

  test("is sent where the other one is gone or damaged, and no damage spreads", async () => {
    const { state, upload } = await open();
    const first = await upload(bytes);
    await upload(second);
    for (const change of [flipBit, () => null]) {
      await state.damage(first.id, change);
      const sent = await upload(bytes, "--tag", `n=${change.name}`);
      expect(sent).toMatchObject({ action: "uploaded", sent: bytes.length });
      expect(await digestOf(state, sent.id)).toBe(sha256(bytes));
      await state.damage(sent.id, () => null);
    }
  });

  test("is sent where the storage does not copy", async () => {
    const without = await startInRepoAws({ without: ["CopyObject"] });
    onTestFinished(() => without.close());
    const { upload, expectSound } = await open(without);
    await upload(bytes);
    await upload(second);
    expect(await upload(bytes)).toMatchObject({ action: "uploaded", bytesSent: bytes.length, sent: bytes.length });
    expect(await expectSound()).toHaveLength(3);
  });
});

test("an object that another program stored in its place shows by its missing mark where there are no checksums", async () => {
  const bare = await startInRepoAws({ checksums: false });
  onTestFinished(() => bare.close());
  const { bucket, upload, state, run } = await open(bare);
  const bytes = randomBytes(2_000);
  const first = await upload(bytes);
  const objects = bare.s3.buckets.get(bucket)?.objects;
  const [[key, object] = []] = [...(objects ?? [])];
  if (key === undefined || object === undefined) throw new Error("nothing is stored");
  objects?.set(key, { ...object, metadata: {}, body: flipBit(bytes), etag: "e" });
  expect(await run(["verify", first.id])).toMatchObject({ status: 6 });
  expect(await upload(bytes, "--tag", "build=2")).toMatchObject({ action: "uploaded", sent: bytes.length });
  expect(await upload(bytes)).toMatchObject({ id: first.id, action: "restored" });
  expect(await digestOf(state, first.id)).toBe(sha256(bytes));
  expect(await upload(bytes)).toMatchObject({ id: first.id, action: "unchanged", sent: 0 });
});

describe("an upload that is resumed after another version was stored", () => {
  test.each([
    ["with its tags", []],
    ["with other tags", ["--tag", "build=2"]],
  ])("%s is the newest, and leaves nothing of what was interrupted", async (_what, flags) => {
    const library = await openResumable(aws.endpoint);
    const bytes = await library.write(16);
    library.failBehindPart2({ kind: "status", status: 500 });
    expect(await library.upload()).toMatchObject({ status: 8 });
    library.proxy.clear();
    const [interrupted = ""] = (await library.left()).uploads;
    await writeFile(join(library.sandbox.cwd, "b.bin"), "beside");
    const beside = await library.run(["upload", "b.bin", "--name", "a.bin", ...flags]);
    const [{ id }] = beside.json().documents;
    const [resumed] = (await library.upload()).json().documents;
    expect(resumed).toMatchObject({ action: "uploaded", sha256: sha256(bytes) });
    expect(resumed.id > id && id > interrupted).toBe(true);
    expect((await library.run(["show", "a.bin"])).json().id).toBe(resumed.id);
    expect(await library.left()).toMatchObject({ documents: [resumed.id, id], uploads: [], journals: 0 });
  });
});

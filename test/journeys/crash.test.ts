/** The program killed as by kill -9: at every step of every protocol, and at moments that nobody chose. */
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type Step, steps } from "../../src/core/crash-points.ts";
import { type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { killAt, passagesOf } from "../support/passages.ts";
import { finish, killer } from "../support/process.ts";
import { randomNumbers } from "../support/random.ts";
import type { Sandbox } from "../support/run.ts";
import { openStoredLibrary, type StoredLibrary, storedPlaces } from "../support/stored-library.ts";
import { report, soak } from "../support/sweep-report.ts";

const mebibyte = 1024 * 1024;
const small = randomBytes(40_000);
/** Three parts. */
const large = randomBytes(12 * mebibyte);
const parts = 3;
const sizes = [
  ["small", small],
  ["large", large],
] as const;
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
const upload = ["upload", "a.bin", "--part-size", "5MiB", "--json"];
const patience = { timeout: 180_000 };

/** Files with a piece of the document in them, where none should be. */
async function strayCopies(content: Buffer, { sandbox, keeps }: StoredLibrary, known: readonly string[]) {
  const pieces = [0, content.length >> 1, content.length - 32].map((at) => content.subarray(at, at + 32));
  const found: string[] = [];
  for (const path of await filesBelow(sandbox.root)) {
    if ([...keeps, ...known].some((place) => path.startsWith(place))) continue;
    const bytes = await readFile(path);
    if (pieces.some((piece) => bytes.includes(piece))) found.push(path);
  }
  return found;
}

async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function journals({ state }: Sandbox): Promise<string[]> {
  return await readdir(join(state, "uploads")).catch(() => []);
}

/** A library with one document, whose source is gone. */
async function withDocument(content: Buffer, aws: InRepoAws | undefined) {
  const library = await openStoredLibrary(aws);
  const source = join(library.sandbox.cwd, "a.bin");
  const add = async (): Promise<string> => {
    await writeFile(source, content);
    const added = await library.run(upload);
    expect(added).toMatchObject({ status: 0 });
    await rm(source);
    return added.json().documents[0].id;
  };
  return { library, add };
}

test("every step is passed by one of the commands that are killed here", patience, async () => {
  const aws = await startInRepoAws();
  onTestFinished(() => aws.close());
  const passed = new Set<Step>();
  for (const place of [undefined, aws]) {
    for (const [, content] of sizes) {
      const { sandbox, run, listed, state } = await openStoredLibrary(place);
      await writeFile(join(sandbox.cwd, "a.bin"), content);
      const pass = async (command: readonly string[]) => {
        for (const { step } of await passagesOf(() => run(command))) passed.add(step);
      };
      await pass(upload);
      const [id = ""] = (await listed()).map((document) => document.id);
      await state.damage(id, () => null);
      await pass(upload);
      await pass([...upload, "--tag", "build=1"]);
      await pass(["download", "a.bin", "-o", "out"]);
      await pass(["delete", "a.bin", "--yes"]);
    }
  }
  expect([...passed].toSorted()).toEqual(steps.toSorted());
});

describe.each(Object.entries(storedPlaces))("killed at any step, with %s,", (_place, startAws) => {
  let aws: InRepoAws | undefined;
  beforeAll(async () => {
    aws = await startAws?.();
  });
  afterAll(() => aws?.close());

  test.each(sizes)("an upload of a %s document ends well when it is run again", patience, async (_size, content) => {
    const library = await openStoredLibrary(aws);
    const { sandbox, run, listed } = library;
    const source = join(sandbox.cwd, "a.bin");
    await writeFile(source, content);
    const journaled = aws !== undefined && content === large;
    const passages = await passagesOf(() => run(upload));
    for (const passage of passages) {
      const { step, passed, label } = passage;
      expect(await run(["delete", "a.bin", "--yes"]), label).toMatchObject({ status: 0 });
      await killAt(library, upload, passage);
      await library.expectSound(label, { garbage: false });
      const committed = passed.includes("record-committed");
      expect(await listed(), label).toHaveLength(committed ? 1 : 0);
      expect(await strayCopies(content, library, [source]), label).toEqual([]);

      const before = aws?.s3.requests.length ?? 0;
      const again = await run(upload);
      expect(again, label).toMatchObject({ status: 0 });
      const [document] = again.json().documents;
      const sent = aws?.s3.requests.slice(before).filter(({ operation }) => operation === "UploadPart") ?? [];
      if (journaled) {
        // How far the parts were when the end of the file was read, nobody knows.
        const acknowledged = step === "source-read" ? [] : passed.filter((one) => one === "s3-part-stored");
        expect(sent.length, label).toBeLessThanOrEqual(parts - acknowledged.length);
        expect(document.bytesSent, label).toBe(sent.reduce((bytes, { bodyBytes }) => bytes + bodyBytes, 0));
      } else {
        expect(document.bytesSent, label).toBe(committed ? 0 : content.length);
      }
      const action = committed ? "unchanged" : document.bytesSent < content.length ? "resumed" : "uploaded";
      const facts = { name: "a.bin", size: content.length, sha256: sha256(content) };
      expect(document, label).toMatchObject({ ...facts, action });
      // What is gone on with leaves nothing to clear away, unless it was killed while S3 was asked to begin it.
      await library.expectSound(label, { garbage: journaled && step !== "source-read" });
      await library.expectRepairable(label);
      expect(await listed(), label).toMatchObject([{ id: document.id, ...facts }]);
      expect(await journals(sandbox), label).toEqual([]);
    }
  });

  test.each([
    ["", []],
    [" that replaces a file", ["--force"]],
  ])("a download%s ends well when it is run again", patience, async (_what, flags) => {
    const { library, add } = await withDocument(large, aws);
    const { sandbox, run } = library;
    const target = join(sandbox.cwd, "out", "a.bin");
    const directory = dirname(target);
    const download = ["download", await add(), "-o", join("out", "a.bin"), "--json", ...flags];
    const old = flags.length > 0 ? "what was there" : undefined;
    const prepare = async () => {
      await rm(directory, { recursive: true, force: true });
      await mkdir(directory);
      if (old !== undefined) await writeFile(target, old);
    };
    await prepare();
    for (const passage of await passagesOf(() => run(download))) {
      const { passed, label } = passage;
      await prepare();
      await killAt(library, download, passage);
      const published = passed.includes("download-published");
      const found = existsSync(target) ? await readFile(target) : undefined;
      expect(published ? found?.equals(large) : found?.toString() === old, label).toBe(true);
      for (const path of await filesBelow(directory)) {
        if (path === target) continue;
        expect(basename(path), label).toMatch(/^\.docproc-[0-9a-f-]{36}\.part$/);
        if (!published) expect((await stat(path)).mode & 0o077, label).toBe(0);
      }
      // Only what is a document is taken for one.
      const walk = await run(["upload", "-r", "out", "--dry-run", "--json"]);
      const taken = walk.status === 0 ? walk.json().documents.map(({ name }: { name: string }) => name) : [];
      expect(taken, label).toEqual(found === undefined ? [] : ["a.bin"]);
      expect(await strayCopies(large, library, [directory]), label).toEqual([]);

      const again = await run(download);
      expect(again, label).toMatchObject({ status: 0 });
      expect(again.json().documents, label).toMatchObject([{ action: published ? "present" : "downloaded" }]);
      expect((await readFile(target)).equals(large), label).toBe(true);
      await library.expectSound(label, { garbage: true });
    }
  });

  test("a download of folders goes on where it was", patience, async () => {
    const library = await openStoredLibrary(aws);
    const { sandbox, run } = library;
    const contents: Record<string, string> = { "in/a/1": "one", "in/a/b/2": "", "in/c/1": "one" };
    for (const [path, content] of Object.entries(contents)) {
      await writeFile(join(sandbox.cwd, "file"), content);
      expect(await run(["upload", "file", "--name", path])).toMatchObject({ status: 0 });
    }
    const out = join(sandbox.cwd, "out");
    const download = ["download", "--under", "in", "-o", "out", "--concurrency", "1", "--json"];
    for (const passage of await passagesOf(() => run(download))) {
      const { passed, label } = passage;
      await rm(out, { recursive: true, force: true });
      await killAt(library, download, passage);
      const found = (await filesBelow(out)).map((path) => relative(out, path));
      const there = found.filter((path) => !/^\.docproc-[0-9a-f-]{36}\.part$/.test(basename(path))).sort();
      for (const path of there) expect(await readFile(join(out, path), "utf8"), label).toBe(contents[path]);
      expect(there.length, label).toBeGreaterThanOrEqual(passed.filter((step) => step === "download-published").length);

      const again = await run(download);
      expect(again, label).toMatchObject({ status: 0 });
      const { documents } = again.json() as { documents: { path: string; action: string }[] };
      const present = documents.filter(({ action }) => action === "present").map(({ path }) => path);
      expect(present.sort(), label).toEqual(there);
      for (const [path, content] of Object.entries(contents)) {
        expect(await readFile(join(out, path), "utf8"), label).toBe(content);
      }
    }
  });

  test("a removal ends well when it is run again", patience, async () => {
    const { library, add } = await withDocument(small, aws);
    const { run, listed } = library;
    const first = await add();
    for (const passage of await passagesOf(() => run(["delete", first, "--yes"]))) {
      const { label } = passage;
      const removal = ["delete", await add(), "--yes", "--json"];
      await killAt(library, removal, passage);
      await library.expectSound(label, { garbage: false });
      expect(await listed(), label).toEqual([]);
      expect(await strayCopies(small, library, []), label).toEqual([]);
      expect(await run(removal), label).toMatchObject({ status: 3 });
      await library.expectRepairable(label);
    }
  });
});

test("an upload that is killed at every part sends none twice that was acknowledged", patience, async () => {
  const aws = await startInRepoAws();
  onTestFinished(() => aws.close());
  const library = await openStoredLibrary(aws);
  await writeFile(join(library.sandbox.cwd, "a.bin"), large);
  const sent = () => aws.s3.requests.filter(({ operation }) => operation === "UploadPart").length;
  for (let acknowledged = 0; acknowledged < parts; acknowledged++) {
    const before = sent();
    const env = { KILL_AT_STEP: "s3-part-stored", KILL_AT_NTH: "1" };
    expect(await library.spawn(upload, { node: killer, env })).toMatchObject({ status: "SIGKILL" });
    await library.expectSound(`killed with ${acknowledged} parts`, { garbage: false });
    expect(sent() - before).toBeLessThanOrEqual(parts - acknowledged);
  }
  const before = sent();
  const { stdout } = await library.spawn(upload);
  const facts = { action: "resumed", bytesSent: 0, size: large.length, sha256: sha256(large) };
  expect(JSON.parse(stdout).documents).toMatchObject([facts]);
  expect(sent() - before).toBe(0);
  await library.expectSound("afterwards", { garbage: true });
});

/** Of each kind of upload to each place: 102 in all, or 1,002. */
const kills = soak ? 167 : 17;
const seed = 20_260_131;
const five = Object.fromEntries([0, 1, 5_000, 300_000, mebibyte].map((size) => [`${size}.bin`, randomBytes(size)]));

/** Runs a command and kills it after so many milliseconds, if it takes that long. */
async function killAfter({ start }: StoredLibrary, argv: readonly string[], delay: number) {
  const began = performance.now();
  const child = start(argv);
  child.stdin?.end();
  const timer = setTimeout(() => child.kill("SIGKILL"), delay);
  const outcome = await finish(child);
  clearTimeout(timer);
  return { ...outcome, took: performance.now() - began };
}

describe.each(Object.entries(storedPlaces))("killed at any moment, with %s,", (place, startAws) => {
  let aws: InRepoAws | undefined;
  beforeAll(async () => {
    aws = await startAws?.();
  });
  afterAll(() => aws?.close());

  test.each<[string, Record<string, Buffer>]>([
    ["a small document", { "small.bin": small }],
    ["a large document", { "large.bin": large }],
    ["five documents", five],
  ])("an upload of %s ends well when it is run again", { timeout: soak ? 3_600_000 : 180_000 }, async (what, files) => {
    const library = await openStoredLibrary(aws);
    const { sandbox, run, listed } = library;
    for (const [name, content] of Object.entries(files)) await writeFile(join(sandbox.cwd, name), content);
    const digests = Object.fromEntries(Object.entries(files).map(([name, content]) => [name, sha256(content)]));
    const names = Object.keys(files);
    const uploadAll = ["upload", ...names, "--part-size", "5MiB", "--ndjson"];
    const removeAll = async () => expect(await run(["delete", ...names, "--yes"])).toMatchObject({ status: 0 });
    const next = randomNumbers(seed);
    let { took: duration } = await killAfter(library, uploadAll, patience.timeout);
    await removeAll();
    let [killed, inARow] = [0, 0];
    for (let runs = 1; killed < kills; runs++) {
      expect(runs, "most runs are killed before they end").toBeLessThan(4 * kills + 10);
      const delay = next() * duration;
      const label = `seed ${seed}, run ${runs}, killed after ${Math.round(delay)} ms`;
      const { status, stdout, took } = await killAfter(library, uploadAll, delay);
      expect(["SIGKILL", 0], label).toContain(status);
      await library.expectSound(label, { garbage: false });
      const records = await listed();
      for (const { name, sha256: digest } of records) expect(digest, label).toBe(digests[name]);
      // What was said to be done is done. The last line may have been cut off.
      const said = stdout
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line).id);
      expect(
        records.map(({ id }) => id),
        label,
      ).toEqual(expect.arrayContaining(said));
      if (status === "SIGKILL") [killed, inARow] = [killed + 1, inARow + 1];
      else duration = (duration + took) / 2;
      // Some are killed again on top of what is left. Few in a row: a doctor takes much garbage for a lost catalog.
      if (status === "SIGKILL" && inARow < 3 && next() < 0.5) continue;
      inARow = 0;
      expect(await run(uploadAll), label).toMatchObject({ status: 0 });
      const found = (await listed()).map(({ name, sha256: digest }) => [name, digest]);
      expect(Object.fromEntries(found), label).toEqual(digests);
      expect(found, label).toHaveLength(names.length);
      await library.expectRepairable(label);
      await removeAll();
    }
    report(`crash: survived ${killed} kills at random moments of uploading ${what}, with ${place}`);
  });
});

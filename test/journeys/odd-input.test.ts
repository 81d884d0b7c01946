/** Input that is odd and means something all the same: it is kept as it is, whole, in the same memory. */
import { createHash } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { mkdir, open, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { plannedPartSize } from "../../src/core/limits.ts";
import { startInRepoAws } from "../support/aws.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import { openEmptyLibrary, places, usePlace } from "../support/library.ts";
import { docproc, preload } from "../support/process.ts";
import { makeSandbox, runDocproc } from "../support/run.ts";

const soak = process.env["DOCPROC_SOAK"] === "1";
const mebibyte = 1024 * 1024;
const emptySha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/** Bytes that repeat nowhere near a part's size, so that a part in the wrong place is noticed. */
function patternOf(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at + 4 <= size; at += 4) bytes.writeUInt32LE((at * 2_654_435_761) >>> 0, at);
  return bytes;
}

for (const [place, start] of Object.entries(places)) {
  describe(`on ${place}`, () => {
    const endpoint = usePlace(start);

    test("a document is kept whole, wherever its size falls between parts", async () => {
      const { sandbox, run } = await openEmptyLibrary(endpoint());
      // Around the part size, and around 8 MiB, up to which a document is kept in memory.
      const edges = [5, 8, 10, 15].flatMap((size) => [-1, 0, 1].map((more) => size * mebibyte + more));
      const digests = new Map<string, string>();
      for (const size of [0, 1, ...edges]) {
        const bytes = patternOf(size);
        await writeFile(join(sandbox.cwd, `${size}.bin`), bytes);
        digests.set(`${size}.bin`, createHash("sha256").update(bytes).digest("hex"));
      }
      const uploaded = await run(["upload", ...digests.keys(), "--part-size", "5MiB", "--json"]);
      expect(uploaded).toMatchObject({ status: 0 });
      const { documents } = uploaded.json();
      const found = new Map(documents.map(({ name, sha256 }: Record<string, string>) => [name, sha256]));
      expect(found).toEqual(digests);
      expect(digests.get("0.bin")).toBe(emptySha256);
      expect(await run(["verify", "--all", "--deep"])).toMatchObject({ status: 0 });
    }, 120_000);

    test.each([
      ["a change of direction", "invoice\u202egpj.exe"],
      ["separators of lines and paragraphs", "a\u2028b\u2029c.txt"],
      ["512 bytes", "é".repeat(256)],
      ["a device on Windows", "CON"],
      ["a dot at its end", "report."],
      ["a drive letter", "C:\\temp\\a.txt"],
      ["only spaces", "   "],
      ["an option's form", "--all"],
      ["an id's form", "0198aaaa-bbbb-7ccc-8ddd-eeeeeeeeee42"],
      ["characters beyond the first plane", "📦\u{1f680}\u{10ffff}"],
    ])("a name with %s is kept as it is", async (_what, name) => {
      const { sandbox, run } = await openEmptyLibrary(endpoint());
      await writeFile(join(sandbox.cwd, "a.txt"), name);
      // Named by the config file: behind -- no flag would be one.
      const bare = (...argv: string[]) => runDocproc(sandbox, argv);
      expect(await run(["upload", "a.txt", `--name=${name}`])).toMatchObject({ status: 0, stderr: "" });
      expect((await bare("list", "--json")).json().documents).toMatchObject([{ name }]);
      expect((await bare("show", "--json", "--", name)).json().name).toBe(name);
      expect((await bare("cat", "--", name)).stdout).toBe(Buffer.from(name).toString("latin1"));
      expect(await bare("delete", "--yes", "--", name)).toMatchObject({ status: 0 });
    });

    test("a name is one name, however its accents are encoded", async () => {
      const { sandbox, run } = await openEmptyLibrary(endpoint());
      await writeFile(join(sandbox.cwd, "a.txt"), "a");
      const actionOf = async (name: string) => (await run(["upload", "a.txt", "--name", name, "--json"])).json();
      const [composed, decomposed] = ["résumé.txt".normalize("NFC"), "résumé.txt".normalize("NFD")];
      expect((await actionOf(decomposed)).documents).toMatchObject([{ action: "uploaded", name: composed }]);
      expect((await actionOf(composed)).documents).toMatchObject([{ action: "unchanged" }]);
    });

    test("40 tags of the greatest length and 16 KiB of metadata are kept", async () => {
      const { sandbox, run } = await openEmptyLibrary(endpoint());
      await writeFile(join(sandbox.cwd, "a.txt"), "a");
      const [value, big] = ["v".repeat(256), "\u{1f680}".repeat(4_000)];
      const tags = Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`${n}`.padStart(128, "k"), value]));
      const flags = Object.entries(tags).flatMap(([key, text]) => ["--tag", `${key}=${text}`]);
      const metadata = { big, number: "9007199254740993", empty: "", equals: "a=b=c" };
      const meta = Object.entries(metadata).flatMap(([key, text]) => ["--meta", `${key}=${text}`]);
      expect(await run(["upload", "a.txt", ...flags, ...meta])).toMatchObject({ status: 0 });
      expect((await run(["show", "a.txt", "--json"])).json()).toMatchObject({ tags, metadata });
      expect((await run(["list", ...flags, "--json"])).json().count).toBe(1);
    });

    test("an id may be in capitals, a limit may be a billion, a time may be before all times", async () => {
      const { sandbox, run } = await openEmptyLibrary(endpoint());
      await writeFile(join(sandbox.cwd, "a.txt"), "a");
      const [{ id }] = (await run(["upload", "a.txt", "--json"])).json().documents;
      expect((await run(["show", id.toUpperCase(), "-q"])).stdout).toBe(`${id}\n`);
      for (const flags of [
        ["--limit", "1e9"],
        ["--since", "99999y"],
        ["--until", "9999-12-31"],
      ]) {
        expect((await run(["list", "-q", ...flags])).stdout).toBe(`${id}\n`);
      }
    });
  });
}

describe("a list of files", () => {
  test("may have the line ends of Windows, and names with spaces", async () => {
    const { sandbox, run } = await openEmptyLibrary();
    for (const name of ["a.txt", " b .txt", "#c"]) await writeFile(join(sandbox.cwd, name), name);
    const outcome = await run(["upload", "--files-from", "-", "--json"], { stdin: "a.txt\r\n b .txt\r\n\r\n#c" });
    const names = outcome.json().documents.map(({ name }: { name: string }) => name);
    expect(names).toEqual(["a.txt", " b .txt", "#c"]);
  });

  test("may be a long one", async () => {
    const { sandbox, run } = await openEmptyLibrary();
    const count = soak ? 100_000 : 3_000;
    const folder = join(sandbox.cwd, "many");
    await mkdir(folder);
    for (let n = 0; n < count; n++) await (await open(join(folder, `${n}`), "w")).close();
    const planned = await run(["upload", "-r", "many", "--dry-run", "--json"]);
    expect(planned.json().summary).toMatchObject({ total: count, failed: 0 });
  }, 300_000);
});

describe("standard input", () => {
  test("that is closed is an empty document", async () => {
    const input = openSync("/dev/null", "r");
    onTestFinished(() => closeSync(input));
    const sandbox = await makeSandbox();
    const outcome = await docproc(sandbox, ["upload", "-", "--name", "empty", "--json"], { stdin: input });
    expect(JSON.parse(outcome.stdout).documents).toMatchObject([{ size: 0, sha256: emptySha256 }]);
  });

  test("that is a directory is said to be one", async () => {
    const sandbox = await makeSandbox();
    const input = openSync(sandbox.cwd, "r");
    onTestFinished(() => closeSync(input));
    const outcome = await docproc(sandbox, ["upload", "-", "--name", "x"], { stdin: input });
    expect(outcome).toMatchObject({ status: 2, stdout: "", stderr: expect.stringContaining("directory") });
    expect((await docproc(sandbox, ["list", "-q"])).stdout).toBe("");
  });
});

// Names are text on other systems.
test.runIf(process.platform === "linux")("a file whose name is not UTF-8 is named as well as possible", async () => {
  const { sandbox, run } = await openEmptyLibrary();
  const folder = join(sandbox.cwd, "folder");
  await mkdir(folder);
  await writeFile(Buffer.concat([Buffer.from(`${folder}/caf`), Buffer.from([0xe9])]), "latin-1");
  await writeFile(join(folder, "good.txt"), "good");
  const outcome = await run(["upload", "-r", "folder", "--json"]);
  expect(outcome.status).toBe(7);
  expect(outcome.json()).toMatchObject({ documents: [{ name: "good.txt" }], failures: [{ path: "folder/caf\ufffd" }] });
});

describe("a sparse file", () => {
  const size = (soak ? 6 * 1024 : 300) * mebibyte;
  /** Far below the file: the parts in flight, two more, and what Node and the SDK are themselves. */
  const mostMemory = 256 * mebibyte;
  // Not resourceUsage().maxRSS: on Linux that begins with the memory of the process that started this one.
  const node = preload(`import { writeFileSync } from "node:fs";
    let peak = 0;
    setInterval(() => { peak = Math.max(peak, process.memoryUsage.rss()); }, 5).unref();
    process.on("exit", () => writeFileSync(process.env.MEMORY, String(peak)));`);

  async function arrange() {
    const sandbox = await makeSandbox();
    await writeFile(join(sandbox.cwd, "sparse.bin"), "");
    await truncate(join(sandbox.cwd, "sparse.bin"), size);
    const MEMORY = join(sandbox.root, "memory");
    const peak = async () => Number(await readFile(MEMORY, "utf8"));
    const run = (...argv: string[]) => docproc(sandbox, [...argv, "--json"], { node, env: { MEMORY } });
    return { run, peak };
  }

  test("goes into the embedded library in little memory", async () => {
    const { run, peak } = await arrange();
    const outcome = await run("upload", "sparse.bin");
    expect(JSON.parse(outcome.stdout).documents).toMatchObject([{ action: "uploaded", size }]);
    expect(await peak()).toBeLessThan(mostMemory);
  }, 600_000);

  test("goes to S3 in little memory", async () => {
    const { run, peak } = await arrange();
    const aws = await startInRepoAws({ checksums: false });
    const proxy = await startFaultProxy(aws.endpoint);
    onTestFinished(async () => {
      await proxy.close();
      await aws.close();
    });
    expect(await run("init", "--endpoint-url", proxy.endpoint, "--bucket", "documents")).toMatchObject({ status: 0 });
    // The server here keeps what it gets in memory, and the parts of a large file need not be kept for this.
    const answer = (operation: string, body: string, headers: Record<string, string | number> = {}) =>
      proxy.inject({ operation, action: { kind: "answer", reply: (to) => void to.writeHead(200, headers).end(body) } });
    answer("UploadPart", "", { etag: '"part"' });
    answer("CompleteMultipartUpload", "<CompleteMultipartUploadResult></CompleteMultipartUploadResult>");
    answer("HeadObject", "", { "content-length": size });
    const outcome = await run("upload", "sparse.bin");
    expect(JSON.parse(outcome.stdout).documents).toMatchObject([{ action: "uploaded", size }]);
    const parts = Math.ceil(size / plannedPartSize(size, 64 * mebibyte));
    expect(proxy.log.filter(({ operation }) => operation === "UploadPart")).toHaveLength(parts);
    expect(await peak()).toBeLessThan(mostMemory);
  }, 600_000);
});

/** docproc as a library: the package as programs get it, and the examples of docs/library.md. */
import { execFile, execFileSync, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { startInRepoAws } from "../support/aws.ts";

const run = promisify(execFile);
let root = "";

/** As npm would install it, without asking a registry: what is packed, and its dependency from here. */
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "docproc-library-"));
  const modules = join(root, "node_modules");
  await mkdir(join(modules, "docproc-cli"), { recursive: true });
  const packing = ["pack", "--ignore-scripts", "--silent", "--pack-destination", root];
  const tarball = execFileSync("npm", packing, { encoding: "utf8" }).trim();
  execFileSync("tar", ["-xzf", join(root, tarball), "--strip-components=1", "-C", join(modules, "docproc-cli")]);
  for (const name of ["@photostructure", "@types", "undici-types"]) {
    await symlink(resolve("node_modules", name), join(modules, name));
  }
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** A directory in which the package can be found. */
async function program(files: Record<string, string | Uint8Array>): Promise<string> {
  const directory = await mkdtemp(join(root, "program-"));
  for (const [name, content] of Object.entries(files)) await writeFile(join(directory, name), content);
  return directory;
}

const environment = {
  PATH: process.env["PATH"],
  AWS_ACCESS_KEY_ID: "test",
  AWS_SECRET_ACCESS_KEY: "test",
  AWS_EC2_METADATA_DISABLED: "true",
};

async function node(directory: string, file: string, env: Record<string, string> = {}) {
  // What the library would say on its own account; Node's own warnings are its own.
  const flags = ["--disable-warning=ExperimentalWarning"].filter((flag) =>
    process.allowedNodeEnvironmentFlags.has(flag.split("=")[0] ?? ""),
  );
  return await run(process.execPath, [...flags, file], { cwd: directory, env: { ...environment, ...env } });
}

describe("a program", () => {
  const work = `
    const library = await openLibrary({ directory: "documents" });
    const bytes = Buffer.alloc(9_000_000, "x");
    const { size, sha256 } = await library.upload(bytes, { path: "large.bin" });
    console.log(JSON.stringify([size, sha256, typeof DocprocError, Object.keys(exitStatuses).length > 5]));
    await library.close();`;
  const expected = JSON.stringify([
    9_000_000,
    createHash("sha256").update(Buffer.alloc(9_000_000, "x")).digest("hex"),
    "function",
    true,
  ]);

  test("imports it", async () => {
    const code = `import { DocprocError, exitStatuses, openLibrary } from "docproc-cli";${work}`;
    expect(await node(await program({ "a.mjs": code }), "a.mjs")).toEqual({ stdout: `${expected}\n`, stderr: "" });
  });

  test("requires it", async () => {
    const code = `const { DocprocError, exitStatuses, openLibrary } = require("docproc-cli");(async () => {${work}})();`;
    expect(await node(await program({ "a.cjs": code }), "a.cjs")).toEqual({ stdout: `${expected}\n`, stderr: "" });
  });

  test("gets the same class of errors both ways", async () => {
    const code = `
      import { createRequire } from "node:module";
      import { DocprocError, openLibrary } from "docproc-cli";
      const required = createRequire(import.meta.url)("docproc-cli");
      const error = await required.openLibrary({}).catch((thrown) => thrown);
      console.log(error instanceof DocprocError, error.code, required.openLibrary === openLibrary);`;
    expect((await node(await program({ "a.mjs": code }), "a.mjs")).stdout).toBe("true INVALID_CONFIG true\n");
  });

  test("that only imports it has read nothing of environment and arguments, and listens to nothing", async () => {
    const code = `
      const read = [];
      // Node itself reads this one, with each file that names a source map.
      const own = (key) => key !== "NODE_V8_COVERAGE";
      const watched = (object) => new Proxy(object, { get: (from, key) => (own(key) && read.push(key), from[key]) });
      const listeners = () => process.eventNames().flatMap((name) => process.listeners(name)).length;
      process.env = watched(process.env);
      process.argv = watched(process.argv);
      const before = listeners();
      require("docproc-cli");
      process.exitCode = read.length + listeners() - before;
      console.log(read.join());`;
    expect(await node(await program({ "a.cjs": code }), "a.cjs")).toEqual({ stdout: "\n", stderr: "" });
  });

  test("ignores config files and the environment", async () => {
    const code = `
      import { openLibrary } from "docproc-cli";
      const open = async (options) => await (await openLibrary(options)).upload(Buffer.from("a"), { path: "a" });
      console.log((await open({ directory: "mine" })).uri.includes("/mine/"));
      console.log((await open({ config: true })).uri.includes("/theirs/"));
      console.log((await open({ config: "other.json", directory: "mine" })).tags);
      console.log(await open({}).catch(({ code }) => code), await open({ storage: "local" }).catch(({ code }) => code));`;
    const configs = { ".docprocrc.json": "{}", "other.json": JSON.stringify({ onDuplicate: "store" }) };
    const directory = await program({ "a.mjs": code, ...configs });
    const { stdout } = await node(directory, "a.mjs", { DOCPROC_DIRECTORY: "theirs", HOME: directory });
    expect(stdout.split("\n")).toEqual([
      "true",
      "true",
      "[Object: null prototype] {}",
      "INVALID_CONFIG INVALID_CONFIG",
      "",
    ]);
    expect(await readdir(directory)).toEqual([".docprocrc.json", "a.mjs", "mine", "other.json", "theirs"]);
  });
});

describe("a TypeScript program", () => {
  const code = `
    import { createReadStream } from "node:fs";
    import { type DocumentRecord, DocprocError, type ErrorCode, type Library, openLibrary } from "docproc-cli";
    import type { CopiedRecord, Damage, DownloadedRecord, FilterOptions, SignedUrl, Stats } from "docproc-cli";
    async function main(): Promise<ErrorCode | undefined> {
      const library: Library = await openLibrary({ bucket: "b", region: undefined, timeout: "2m", retries: 3 });
      try {
        const { action, id } = await library.upload(createReadStream("a"), { path: "a", tags: { a: "b" } });
        const known: "uploaded" | "resumed" | "unchanged" | "restored" | "updated" = action;
        await library.upload(new Response("a").body!, { path: known + id });
        const records: DocumentRecord[] = [];
        for await (const record of library.list({ since: new Date(), limit: 3 })) records.push(record);
        (await library.read(records[0] ?? id)).pipe(process.stdout);
        const chosen: FilterOptions = { commit: "4f475bb", run: "7" };
        for await (const { id } of library.list({ ...chosen, sort: "size" })) await library.tag(id, { unset: ["a"] });
        const { types }: Stats = await library.stats(chosen);
        const damage: Damage | undefined = await library.verify(id, { deep: types.length > 0 });
        const { url }: SignedUrl = await library.url(id, { method: "PUT", expiresIn: 60 });
        const copied: CopiedRecord = await library.copy(id, { to: library });
        const done: "registered" | "unchanged" = (await library.register(url, { path: copied.uri })).action;
        console.log(damage?.fix, done);
        const { file }: DownloadedRecord = await library.download(id, { to: "x", signal: AbortSignal.timeout(3) });
        await library[Symbol.asyncDispose]();
        return file === "" ? "NOT_FOUND" : undefined;
      } catch (error) {
        return error instanceof DocprocError ? error.code : undefined;
      }
    }
    // @ts-expect-error there is no such option
    void openLibrary({ bukcet: "b" });
    // @ts-expect-error a number is nothing to upload
    void main().then(async () => (await openLibrary({ directory: "" })).upload(3));
    // @ts-expect-error there is no such order
    void main().then(async () => (await openLibrary({ directory: "" })).list({ sort: "best" }));
    // @ts-expect-error nothing says where to
    void main().then(async () => (await openLibrary({ directory: "" })).copy("a", {}));
    // @ts-expect-error there is no such code
    const code: ErrorCode = "NOTHING";
    void code;`;

  test.each([
    ["a.mts", "nodenext", "nodenext"],
    ["a.cts", "nodenext", "nodenext"],
    ["a.ts", "esnext", "bundler"],
  ])("%s is checked as strictly as can be, declarations included", async (file, module, moduleResolution) => {
    const compilerOptions = {
      ...{ target: "es2023", lib: ["es2023"], module, moduleResolution, types: ["node"], noEmit: true },
      ...{
        strict: true,
        exactOptionalPropertyTypes: true,
        skipLibCheck: false,
        verbatimModuleSyntax: file !== "a.cts",
      },
    };
    const directory = await program({
      [file]: code,
      "tsconfig.json": JSON.stringify({ compilerOptions, files: [file] }),
    });
    const tsc = resolve("node_modules/typescript/bin/tsc");
    const checked = await run(process.execPath, [tsc, "-p", directory]).catch(({ stdout }) => ({ stdout }));
    expect(checked.stdout).toBe("");
  });
});

describe("docs/library.md", async () => {
  const page = await readFile("docs/library.md", "utf8");
  const examples = [...page.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code = ""]) => code);

  test("has five examples, all of which are run here", () => expect(examples).toHaveLength(5));

  test("shows how a file is stored and found again", async () => {
    const directory = await program({ "example.mjs": examples[0] ?? "", "invoice.pdf": "%PDF-1.7" });
    const { stdout, stderr } = await node(directory, "example.mjs");
    const copy = join(directory, "copies", "invoice.pdf");
    expect(stdout.split("\n")).toEqual([
      expect.stringMatching(/^uploaded [0-9a-f-]{36}$/),
      "invoice.pdf 8 4711",
      copy,
      "",
    ]);
    expect({ stderr, copy: await readFile(copy, "utf8") }).toEqual({ stderr: "", copy: "%PDF-1.7" });
  });

  test("shows how a build's artifacts get into S3, once", async () => {
    const aws = await startInRepoAws();
    onTestFinished(() => aws.close());
    const directory = await program({ "example.mjs": examples[1] ?? "" });
    await mkdir(join(directory, "dist"));
    await writeFile(join(directory, "dist", "app.tgz"), randomBytes(1000));
    const env = { S3_ENDPOINT: aws.endpoint, BUILD_NUMBER: "42", GIT_COMMIT: "abc" };
    const uri = "s3://build-artifacts/\\S+/app\\.tgz\n";
    const first = await node(directory, "example.mjs", env);
    expect(first).toEqual({
      stdout: expect.stringMatching(new RegExp(`created bucket\n(created .+\n)*uploaded ${uri}$`)),
      stderr: "",
    });
    expect(first.stdout).toContain("created table\n");
    expect((await node(directory, "example.mjs", env)).stdout).toMatch(new RegExp(`^unchanged ${uri}$`));
    await aws.close();
    expect(await node(directory, "example.mjs", env).catch((failed) => failed)).toMatchObject({
      code: 75,
      stderr: expect.stringMatching(/^UNAVAILABLE: /),
    });
  });

  test("shows how documents are verified, copied into an archive and tagged", async () => {
    const upload = `
      import { openLibrary } from "docproc-cli";
      const library = await openLibrary({ directory: "documents" });
      const tags = { customer: "4711", draft: "yes" };
      await library.upload(Buffer.from("1"), { path: "small.txt", tags });
      await library.upload(Buffer.from("22"), { path: "large.txt", tags });
      await library.upload(Buffer.from("3"), { path: "other.txt" });`;
    const list = `
      import { openLibrary } from "docproc-cli";
      const library = await openLibrary({ directory: "documents" });
      for await (const { name, tags } of library.list({ sort: "path" })) console.log(name, Object.entries(tags).join());`;
    const files = { "upload.mjs": upload, "list.mjs": list, "example.mjs": examples[3] ?? "" };
    const directory = await program(files);
    await node(directory, "upload.mjs");
    const first = await node(directory, "example.mjs");
    expect(first).toEqual({ stdout: "copied large.txt\ncopied small.txt\n2 documents, 3 bytes\n", stderr: "" });
    expect((await node(directory, "list.mjs")).stdout.split("\n")).toEqual([
      "large.txt archived,yes,customer,4711",
      "other.txt ",
      "small.txt archived,yes,customer,4711",
      "",
    ]);
    const again = await node(directory, "example.mjs");
    expect(again.stdout).toBe("unchanged large.txt\nunchanged small.txt\n2 documents, 3 bytes\n");
  });

  test("shows how an object of others is recorded and handed on", async () => {
    const aws = await startInRepoAws();
    onTestFinished(() => aws.close());
    const make = `
      import { openLibrary } from "docproc-cli";
      const { S3_ENDPOINT: endpointUrl } = process.env;
      await (await openLibrary({ bucket: "build-artifacts", region: "us-east-1", endpointUrl })).init();`;
    const directory = await program({ "make.mjs": make, "example.mjs": examples[4] ?? "" });
    const env = { S3_ENDPOINT: aws.endpoint };
    await node(directory, "make.mjs", env);
    const client = new S3Client({ endpoint: aws.endpoint, forcePathStyle: true });
    onTestFinished(() => client.destroy());
    const theirs = { Bucket: "build-artifacts", Key: "incoming/report.pdf", Body: "%PDF-1.7" };
    await client.send(new PutObjectCommand(theirs));
    const { stdout } = await node(directory, "example.mjs", env);
    const [said = "", url = ""] = stdout.split("\n");
    expect(said).toMatch(/^registered report\.pdf 20\d\d-.+Z$/);
    expect(await (await fetch(url)).text()).toBe("%PDF-1.7");
  });

  test("shows how a server takes documents in and hands them out", async () => {
    const directory = await program({ "example.mjs": examples[2] ?? "" });
    const server = spawn(process.execPath, ["example.mjs"], { cwd: directory, env: { ...environment, PORT: "0" } });
    onTestFinished(() => void server.kill("SIGKILL"));
    const [port] = await once(createInterface(server.stdout), "line");
    const at = (name: string) => `http://127.0.0.1:${port}/${encodeURIComponent(name)}`;
    const bytes = randomBytes(20_000_000);
    const put = await fetch(at("my file.bin"), { method: "PUT", body: bytes });
    expect(put.status).toBe(201);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    expect(await put.json()).toMatchObject({ name: "my file.bin", size: bytes.length, sha256, action: "uploaded" });
    const got = await fetch(at("my file.bin"));
    expect(got.headers.get("content-type")).toBe("application/octet-stream");
    expect(
      createHash("sha256")
        .update(Buffer.from(await got.arrayBuffer()))
        .digest("hex"),
    ).toBe(sha256);
    expect((await fetch(at("missing"))).status).toBe(404);
    expect((await fetch(at("a//b"), { method: "PUT", body: "x" })).status).toBe(400);
    // Damaged since: whoever reads it is not told that this was all.
    const [fan = ""] = await readdir(join(directory, "documents", "objects"));
    const [id = ""] = await readdir(join(directory, "documents", "objects", fan));
    await writeFile(join(directory, "documents", "objects", fan, id, "my_file.bin"), randomBytes(20_000_000));
    const damaged = fetch(at("my file.bin")).then(async (answer) => (await answer.arrayBuffer()).byteLength);
    await expect(damaged).rejects.toThrow("terminated");
  });
});

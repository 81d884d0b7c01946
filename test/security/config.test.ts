/** Files that come with a directory, and where they may send documents: settings are data, and data stays safe. */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { getDefaultSearchPlaces, globalConfigSearchPlaces, metaSearchPlaces } from "cosmiconfig/dist/defaults.js";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { awsSettings, type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { writeConfig } from "../support/config.ts";
import { docproc } from "../support/process.ts";
import { makeSandbox, runDocproc, type Sandbox } from "../support/run.ts";
import { certificate, startTlsProxy } from "../support/tls-proxy.ts";

/** Milliseconds: far less than what an endless file or an endless list takes. */
const soon = 60_000;

describe("code that comes with a directory", () => {
  /** Every place that the loader itself knows, under every name that could be ours. */
  const places = [
    ...getDefaultSearchPlaces("docproc"),
    ...globalConfigSearchPlaces.flatMap((place) => [place, `.config/${place}`]),
    ...metaSearchPlaces,
    ...["package.yaml", ".docprocrc.jsx", ".docprocrc.wasm", ".docprocrc.node", "node_modules/docproc/index.js"],
  ];

  test("is not run, wherever it lies and whatever it is called", async () => {
    const sandbox = await makeSandbox();
    const marks = join(sandbox.root, "marks");
    await mkdir(marks);
    await mkdir(join(sandbox.cwd, ".git"));
    const below = join(sandbox.cwd, "below");
    const settings = { searchPlaces: [".docprocrc.cjs"], loaders: { ".json": "./loader.js" }, $import: "./code.cjs" };
    for (const folder of [below, sandbox.cwd, sandbox.home, join(sandbox.root, "config", "docproc")]) {
      for (const place of [...places, "code.cjs", "loader.js"]) {
        const path = join(folder, place);
        const mark = `require("node:fs").writeFileSync(${JSON.stringify(join(marks, "mark"))}, ${JSON.stringify(path)})`;
        const data = { cosmiconfig: settings, docproc: { bucket: "planted" }, name: "x" };
        const isData = /(json|ya?ml)$|config$|rc$/.test(place);
        // Data of our own names would be read, and refused: here it is about what is run.
        if (/^\.docprocrc(\.(json|ya?ml))?$/.test(place) || (folder.endsWith("docproc") && isData)) continue;
        await writeConfig(path, isData ? data : `${mark};\nmodule.exports = { bucket: "planted" };\n`);
      }
    }
    await writeConfig(join(below, ".docprocrc.json"), { table: "documents" });
    const library = ["--directory", "library"];
    for (const argv of [
      ["config", "--json"],
      ["list", ...library],
      ["upload", ".docprocrc.json", ...library],
    ]) {
      const { status, stdout } = await docproc({ ...sandbox, cwd: below }, argv);
      expect(status).toBe(0);
      expect(stdout).not.toContain("planted");
    }
    expect(await readdir(marks)).toEqual([]);
  });

  test("is not run when a file of ours asks for it", async () => {
    const sandbox = await makeSandbox();
    const mark = join(sandbox.root, "mark");
    for (const file of ["code.cjs", "code.js", "code.mjs"]) {
      await writeFile(join(sandbox.cwd, file), `require("node:fs").writeFileSync(${JSON.stringify(mark)}, "");`);
    }
    const asking = [
      '{"$import": "./code.cjs"}',
      '{"extends": "./code.cjs"}',
      "bucket: !!js/function 'function () { return 1 }'",
      "bucket: !!js/regexp /a/",
      "bucket: !<tag:yaml.org,2002:js/undefined> ''",
      "bucket: !include code.cjs",
      "--- !ruby/object:Gem::Installer\ni: x",
    ];
    for (const content of asking) {
      await writeFile(join(sandbox.cwd, ".docprocrc.yaml"), content);
      expect(await docproc(sandbox, ["config"])).toMatchObject({ status: 2, stdout: "" });
      expect(await docproc(sandbox, ["config", "--config", ".docprocrc.yaml"])).toMatchObject({
        status: 2,
        stdout: "",
      });
    }
    for (const file of ["code.cjs", "code.js", "code.mjs"]) {
      expect(await docproc(sandbox, ["config", "--config", file])).toMatchObject({ status: 2 });
      expect(await docproc(sandbox, ["config"], { env: { DOCPROC_CONFIG: file } })).toMatchObject({ status: 2 });
    }
    expect(await readdir(sandbox.root)).not.toContain("mark");
  });
});

describe("a config file that never ends", () => {
  const nested = Array.from({ length: 40 }, (_, n) => `a${n + 1}: &a${n + 1} [*a${n}, *a${n}, *a${n}, *a${n}]`);
  const merged = Array.from({ length: 40 }, (_, n) => `b${n + 1}: &b${n + 1} {<<: [*b${n}, *b${n}], k${n}: 1}`);
  const link = (target: string) => (path: string) => symlink(target, path);
  const write = (content: string) => (path: string) => writeFile(path, content);

  test.each<[string, string, (path: string) => Promise<unknown>]>([
    ["lists of lists of one another", ".docprocrc.yaml", write(["a0: &a0 x", ...nested, "bucket: *a40"].join("\n"))],
    ["as an unknown key", ".docprocrc.yaml", write(["a0: &a0 x", ...nested].join("\n"))],
    ["mappings merged into one another", ".docprocrc.yaml", write(["b0: &b0 {k: 1}", ...merged].join("\n"))],
    ["a list that holds itself", ".docprocrc.yaml", write("bucket: &a [*a]")],
    ["depth without end", ".docprocrc.json", write(`${"[".repeat(30_000)}${"]".repeat(30_000)}`)],
    ["depth without end in YAML", ".docprocrc.yaml", write(`bucket: ${"[".repeat(30_000)}`)],
    ["two megabytes", ".docprocrc.json", write(JSON.stringify({ bucket: "x".repeat(2 ** 21) }))],
    [
      "two megabytes that are a link away",
      ".docprocrc.json",
      async (path) => {
        await writeFile(`${path}.big`, " ".repeat(2 ** 21));
        await symlink(`${path}.big`, path);
      },
    ],
    ["a device", ".docprocrc.json", link("/dev/zero")],
    ["chance", ".docprocrc", link("/dev/urandom")],
    ["a named pipe", ".docprocrc.json", async (path) => spawnSync("mkfifo", [path])],
    ["a terminal", ".docprocrc.json", link("/dev/tty")],
    ["a directory", ".docprocrc.json", (path) => mkdir(path)],
  ])("is refused soon: %s", async (_what, file, plant) => {
    const sandbox = await makeSandbox();
    const path = join(sandbox.cwd, file);
    await plant(path);
    for (const argv of [["list"], ["list", "--config", file]]) {
      const since = performance.now();
      const outcome = await docproc(sandbox, argv);
      expect(performance.now() - since).toBeLessThan(soon);
      expect(outcome).toMatchObject({ status: 2, stdout: "" });
      expect(outcome.stderr.length).toBeLessThan(2_000);
      expect(outcome.stderr).toContain(file);
    }
    // Newer Nodes keep compiled code.
    expect((await readdir(sandbox.root)).filter((name) => name !== "cache")).toEqual(["cwd", "home"]);
  });
});

test("no flag and no variable of ours takes a credential", async () => {
  const sandbox = await makeSandbox();
  const help = await runDocproc(sandbox, ["--help"]);
  const commands = [...help.stdout.matchAll(/^ {2}([a-z]+)[ |]/gm)].map(([, name = ""]) => name);
  expect(commands).toEqual(expect.arrayContaining(["init", "upload", "download", "doctor", "config"]));
  const pages = await Promise.all(commands.map(async (name) => (await runDocproc(sandbox, ["help", name])).stdout));
  const flags = new Set([help.stdout, ...pages].flatMap((page) => page.match(/--[a-z-]+/g) ?? []));
  expect(flags.size).toBeGreaterThan(30);
  expect([...flags].filter((flag) => /secret|access|key|token|password|credential|session/.test(flag))).toEqual([]);
  const { settings } = (await runDocproc(sandbox, ["config", "--json"])).json();
  const names = settings.map(({ name }: { name: string }) => name);
  expect(names.filter((name: string) => /secret|access|key|token|password|credential|session/i.test(name))).toEqual([]);
});

describe("the way to a service", () => {
  let aws: InRepoAws;
  beforeAll(async () => {
    aws = await startInRepoAws();
  });
  afterAll(() => aws.close());
  const bucket = () => ["--bucket", awsSettings("").bucket ?? ""];

  /** Not one of the names of this machine, but on Linux and macOS a way to it all the same. */
  const elsewhere = (endpoint: string) => endpoint.replace("127.0.0.1", "0.0.0.0");
  const commands = [["init"], ["list"], ["upload", "a.txt"], ["doctor"], ["show", "x"]];

  async function withFile(): Promise<Sandbox> {
    const sandbox = await makeSandbox();
    await writeFile(join(sandbox.cwd, "a.txt"), "a");
    return sandbox;
  }

  test.each(commands)(
    "without TLS leads to this machine only, unless that is allowed: %s",
    async (...argv) => {
      const sandbox = await withFile();
      const endpoint = elsewhere(aws.endpoint);
      const name = bucket();
      const before = aws.s3.requests.length;
      const variables = [
        { DOCPROC_ENDPOINT_URL: endpoint },
        { AWS_ENDPOINT_URL: endpoint },
        { AWS_ENDPOINT_URL_S3: endpoint, AWS_ENDPOINT_URL_DYNAMODB: endpoint },
      ];
      for (const env of variables) {
        const outcome = await docproc(sandbox, [...argv, ...name], { env });
        expect(outcome).toMatchObject({
          status: 2,
          stderr: expect.stringMatching(/TLS[\s\S]+DOCPROC_ALLOW_HTTP=true/),
        });
      }
      const file = await writeConfig(join(sandbox.cwd, ".docprocrc.json"), { endpointUrl: endpoint });
      for (const env of [{}, { DOCPROC_CONFIG: file }]) {
        expect(await docproc(sandbox, [...argv, ...name], { env })).toMatchObject({ status: 2 });
      }
      expect(aws.s3.requests.length).toBe(before);
      await rm(file);
      const env = { DOCPROC_ALLOW_HTTP: "true", DOCPROC_ENDPOINT_URL: endpoint };
      const allowed = await docproc(sandbox, [...argv, ...name], { env });
      // It gets through: what comes now is the service's answer.
      expect([0, 9]).toContain(allowed.status);
    },
    60_000,
  );

  test.each([
    "http://localhost.example.com",
    "http://127.0.0.1.nip.io",
    "http://[::ffff:192.0.2.1]",
    "http://10.0.0.1",
  ])("without TLS does not lead to %s", async (endpoint) => {
    const outcome = await runDocproc(await makeSandbox(), ["list", ...bucket(), "--endpoint-url", endpoint]);
    expect(outcome).toMatchObject({ status: 2, stderr: expect.stringContaining("TLS") });
  });

  test("applies to every service that init calls, STS included", async () => {
    const sandbox = await withFile();
    let asked = 0;
    const spy = createServer((_incoming, outgoing) => {
      asked += 1;
      outgoing.end();
    }).listen(0, "127.0.0.1");
    await once(spy, "listening");
    onTestFinished(() => void spy.close());
    const env = {
      AWS_ENDPOINT_URL_S3: aws.endpoint,
      AWS_ENDPOINT_URL_DYNAMODB: aws.endpoint,
      AWS_ENDPOINT_URL_STS: `http://0.0.0.0:${(spy.address() as AddressInfo).port}`,
      AWS_SESSION_TOKEN: "a-token-that-lets-anybody-in",
    };
    expect(await docproc(sandbox, ["init", ...bucket()], { env })).toMatchObject({ status: 0 });
    expect(asked).toBe(0);
  });

  test("is not taken with certificates unchecked", async () => {
    const sandbox = await withFile();
    const tls = await startTlsProxy(aws.endpoint);
    onTestFinished(() => tls.close());
    for (const argv of commands) {
      const flags = [...argv, ...bucket(), "--endpoint-url", tls.endpoint];
      const outcome = await docproc(sandbox, flags, { env: { NODE_TLS_REJECT_UNAUTHORIZED: "0" } });
      expect(outcome).toMatchObject({ status: 2, stderr: expect.stringContaining("NODE_EXTRA_CA_CERTS") });
    }
    expect(tls.count()).toBe(0);
    // The embedded library asks nobody.
    const env = { NODE_TLS_REJECT_UNAUTHORIZED: "0" };
    expect(await docproc(sandbox, ["upload", "a.txt"], { env })).toMatchObject({ status: 0 });
  });

  test("is not taken to a server with a self-signed certificate, until that is trusted", async () => {
    const sandbox = await withFile();
    const tls = await startTlsProxy(aws.endpoint);
    onTestFinished(() => tls.close());
    const flags = [...bucket(), "--endpoint-url", tls.endpoint];
    for (const argv of commands) {
      const outcome = await docproc(sandbox, [...argv, ...flags, "--retries", "0"]);
      expect(outcome).toMatchObject({
        status: 8,
        stderr: expect.stringMatching(/SELF_SIGNED[\s\S]+NODE_EXTRA_CA_CERTS/),
      });
    }
    expect(tls.count()).toBe(0);
    const file = await writeConfig(join(sandbox.root, "authority.pem"), certificate);
    const env = { NODE_EXTRA_CA_CERTS: file };
    for (const argv of [["init"], ["upload", "a.txt"], ["verify", "--all"]]) {
      expect(await docproc(sandbox, [...argv, ...flags], { env })).toMatchObject({ status: 0 });
    }
    expect(tls.count()).toBeGreaterThan(10);
  });
});

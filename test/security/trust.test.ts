/** What a project file may decide, and what needs the consent of the user: a checkout is made by other people. */
import { chmod, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { loadIn, writeConfig } from "../support/config.ts";
import { makeSandbox, runDocproc, type Sandbox } from "../support/run.ts";

const aws = { bucket: "documents", region: "us-east-1" };

/** A project file, and what a command that needs its settings says. */
async function refusalOf(
  values: object,
  how: { env?: Record<string, string>; user?: object; argv?: string[]; sandbox?: Sandbox } = {},
) {
  const sandbox = how.sandbox ?? (await makeSandbox());
  const file = await writeConfig(join(sandbox.cwd, ".docprocrc.json"), values);
  if (how.user) await writeConfig(join(sandbox.config, "config.json"), how.user);
  // A listing of what is not there: without a region or an endpoint it would end otherwise than for want of consent.
  const config = await loadIn(sandbox, { env: how.env ?? {} });
  const outcome = await runDocproc(sandbox, ["list", "--json", ...(how.argv ?? [])], {
    env: { AWS_ACCESS_KEY_ID: "x", AWS_SECRET_ACCESS_KEY: "x", ...how.env },
  });
  const { code, message = "", hint = "" } = outcome.json();
  return { sandbox, file, config, outcome, code, message, hint, isRefused: /is not trusted to/.test(message) };
}

const closed = "http://127.0.0.1:9";

describe("a project file needs consent", () => {
  test.each<[string, object, RegExp]>([
    [
      "for an endpoint",
      { ...aws, endpointUrl: "https://evil.example" },
      /send documents and credentials to https:\/\/evil/,
    ],
    ["for requests without TLS", { ...aws, endpointUrl: closed, allowHttp: true }, /without TLS/],
    ["for an AWS profile", { ...aws, endpointUrl: closed, profile: "prod" }, /use the AWS profile prod/],
    ["for what an endpoint lacks", { ...aws, unsupported: "tls-only-policy" }, /turn off tls-only-policy/],
    ["for a directory elsewhere", { directory: "../elsewhere" }, /keep documents in .*elsewhere, outside the project/],
    ["for a state directory", { stateDirectory: "./state" }, /keep its state in/],
    ["for an endpoint whose name a server tells", { ...aws, endpointUrl: "http://x.localhost:9" }, /x\.localhost/],
    ["for the catalog of a bucket", { ...aws, metadata: "local", directory: "./lib" }, /keep the catalog of a bucket/],
    ["for variables in tags", { tagVariables: ["DATABASE_URL"] }, /put the variables DATABASE_URL into tags/],
  ])("%s", async (_what, values, wish) => {
    const { file, outcome, code, message, hint } = await refusalOf(values);
    expect(outcome.status).toBe(2);
    expect(code).toBe("INVALID_CONFIG");
    expect(message).toMatch(wish);
    expect(message).toContain(`${file} is not trusted to `);
    expect(hint).toContain("docproc trust");
  });

  test("for what a profile of it says", async () => {
    const profiles = { team: { ...aws, endpointUrl: "https://evil.example" } };
    expect(await refusalOf({ profiles }, { argv: ["--use", "team"] })).toMatchObject({ isRefused: true });
    expect(
      await refusalOf({ profiles }, { user: { profiles: { team: { directory: "own" } } }, argv: ["--use", "team"] }),
    ).toMatchObject({
      isRefused: false,
      outcome: { status: 0 },
    });
  });

  test("for a directory that a link leads out of the project", async () => {
    const sandbox = await makeSandbox();
    await mkdir(join(sandbox.root, "elsewhere"));
    await symlink(join(sandbox.root, "elsewhere"), join(sandbox.cwd, "library"));
    expect(await refusalOf({ directory: "./library/x" }, { sandbox })).toMatchObject({ isRefused: true });
  });

  test.each<[string, object]>([
    [
      "a bucket, its account, a prefix, a table and a region",
      { ...aws, bucketOwner: "123456789012", prefix: "p", table: "t", retries: 0 },
    ],
    [
      "an endpoint on this machine, and what it lacks",
      { ...aws, endpointUrl: closed, unsupported: "versioning", retries: 0 },
    ],
    ["a directory of the project", { directory: "./library" }],
    ["the project as the directory", { directory: "." }],
    ["tags, provenance and tuning", { tags: { a: "b" }, provenance: false, concurrency: 3, retries: 1 }],
    [
      "nothing of S3 where S3 is not used",
      { directory: "./library", endpointUrl: "https://evil.example", profile: "p", allowHttp: true },
    ],
  ])("but may say %s", async (_what, values) => {
    // The bucket is looked for where nothing listens.
    const env = { AWS_ENDPOINT_URL: closed, DOCPROC_TIMEOUT: "1s" };
    expect(await refusalOf(values, { env })).toMatchObject({ isRefused: false });
  });
});

describe("consent is", () => {
  const endpointUrl = "https://127.0.0.1.example:9";
  const values = { ...aws, endpointUrl, retries: 0, timeout: "1s" };

  test.each<[string, Parameters<typeof refusalOf>[1]]>([
    ["a flag that says the same", { argv: ["--endpoint-url", endpointUrl] }],
    ["a variable that says the same", { env: { DOCPROC_ENDPOINT_URL: endpointUrl } }],
    ["AWS's variable that says the same", { env: { AWS_ENDPOINT_URL: endpointUrl } }],
    ["the user's own file that says the same", { user: { endpointUrl } }],
    ["a profile of the user's own file", { user: { profiles: { minio: { endpointUrl, bucket: "b" } } } }],
    ["--config", { argv: ["--config", ".docprocrc.json"] }],
    ["DOCPROC_CONFIG", { env: { DOCPROC_CONFIG: ".docprocrc.json" } }],
  ])("%s", async (_what, how) => {
    expect(await refusalOf(values, how)).toMatchObject({ isRefused: false });
  });

  test("not the AWS profile of another library", async () => {
    const user = { profiles: { archive: { bucket: "archive", profile: "admin" } } };
    const project = { ...aws, endpointUrl: closed, profile: "admin" };
    expect(await refusalOf(project, { user })).toMatchObject({ isRefused: true });
  });

  test("not a variable that says otherwise: the file would win over AWS's own", async () => {
    const env = { AWS_ENDPOINT_URL: closed };
    expect(await refusalOf(values, { env })).toMatchObject({ isRefused: true });
  });

  test("docproc trust, for the file as it is and where it is", async () => {
    const sandbox = await makeSandbox();
    expect(await refusalOf({ stateDirectory: "./state" }, { sandbox })).toMatchObject({ isRefused: true });
    const file = join(sandbox.cwd, ".docprocrc.json");
    const trusted = await runDocproc(sandbox, ["trust", "--json"]);
    expect(trusted).toMatchObject({ status: 0 });
    expect(trusted.json()).toMatchObject({
      file,
      action: "trusted",
      settings: [{ name: "stateDirectory", value: "./state", origin: file }],
    });
    expect((await runDocproc(sandbox, ["trust"])).stdout).toMatch(/^unchanged .*\n {2}stateDirectory +\.\/state\n$/);
    expect(await runDocproc(sandbox, ["list"])).toMatchObject({ status: 0, stderr: "No documents.\n" });

    const changed = await refusalOf({ stateDirectory: "./other" }, { sandbox });
    expect(changed).toMatchObject({ isRefused: true, message: expect.stringContaining("has changed since") });
    // The content that was agreed to, in another place.
    const elsewhere = await makeSandbox();
    expect(
      await refusalOf({ stateDirectory: "./state" }, { sandbox: { ...elsewhere, config: sandbox.config } }),
    ).toMatchObject({
      isRefused: true,
    });

    await writeConfig(file, { stateDirectory: "./state" });
    expect((await runDocproc(sandbox, ["trust", "--remove", "--json"])).json()).toMatchObject({ action: "removed" });
    expect(await runDocproc(sandbox, ["list"])).toMatchObject({ status: 2 });
    expect((await runDocproc(sandbox, ["trust", "--remove", "--json"])).json()).toMatchObject({ action: "gone" });
    expect(await readdir(join(sandbox.config, "trusted"))).toEqual([]);
  });

  test("not believed where other users may write", async () => {
    const sandbox = await makeSandbox();
    await refusalOf({ stateDirectory: "./state" }, { sandbox });
    const uid = process.getuid?.() ?? 0;
    const consent = async () => (await loadIn(sandbox, { uid })).projectUse?.consent;
    expect(await runDocproc(sandbox, ["trust"])).toMatchObject({ status: 0 });
    expect(await consent()).toBe("agreed");
    await chmod(join(sandbox.config, "trusted"), 0o777);
    expect(await consent()).toBe("none");
  });

  test("not there to be given without a file", async () => {
    const sandbox = await makeSandbox();
    expect(await runDocproc(sandbox, ["trust"])).toMatchObject({
      status: 3,
      stderr: expect.stringContaining("--config"),
    });
  });
});

test("what a file decides without consent is said in one line to people, and not in scripts", async () => {
  const sandbox = await makeSandbox();
  const file = await writeConfig(join(sandbox.cwd, ".docprocrc.json"), { directory: "./library", concurrency: 2 });
  const said = `From ${file}: directory ${join(sandbox.cwd, "library")}. Run docproc trust to confirm it.\n`;
  const list = (...argv: string[]) => runDocproc(sandbox, ["list", ...argv]);
  expect((await list()).stderr).toContain(said);
  for (const flag of ["--json", "-q"]) expect((await list(flag)).stderr).toBe("");
  await runDocproc(sandbox, ["trust"]);
  expect((await list()).stderr).not.toContain("docproc trust");
});

test("docproc config shows what a file says before there is consent, and sends nothing", async () => {
  const { sandbox } = await refusalOf({ ...aws, endpointUrl: "https://evil.example" });
  const outcome = await runDocproc(sandbox, ["config", "--json"]);
  expect(outcome.status).toBe(0);
  expect((await runDocproc(sandbox, ["config"])).stdout).toMatch(/^endpointUrl\s.+docprocrc\.json \(not trusted\)$/m);
  expect(outcome.json().settings).toContainEqual(
    expect.objectContaining({ name: "endpointUrl", value: "https://evil.example" }),
  );
});

describe("init", () => {
  let server: InRepoAws;
  beforeAll(async () => {
    server = await startInRepoAws();
  });
  afterAll(() => server.close());

  test("agrees to the file that it writes", async () => {
    const sandbox = await makeSandbox();
    const elsewhere = join(sandbox.root, "elsewhere");
    expect(await runDocproc(sandbox, ["init", "--directory", elsewhere])).toMatchObject({ status: 0 });
    expect(await runDocproc(sandbox, ["list"])).toMatchObject({ status: 0, stderr: "No documents.\n" });
    // Nor does another checkout of the file, of another user.
    const colleague = await makeSandbox();
    await writeFile(join(colleague.cwd, ".docprocrc.json"), await readFile(join(sandbox.cwd, ".docprocrc.json")));
    expect(await runDocproc(colleague, ["list"])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining(elsewhere),
    });
  });

  test("does not agree to what it found in the file", async () => {
    const { sandbox } = await refusalOf({ profiles: { team: { ...aws, endpointUrl: "https://evil.example" } } });
    expect(await runDocproc(sandbox, ["init", "--directory", "library"])).toMatchObject({ status: 0 });
    expect(await runDocproc(sandbox, ["list"])).toMatchObject({ status: 0 });
    expect(await runDocproc(sandbox, ["list", "--use", "team"])).toMatchObject({ status: 2 });
  });

  test("asks no endpoint that needs consent", async () => {
    const sandbox = await makeSandbox();
    const host = server.endpoint.replace("127.0.0.1", "127.0.0.1.example");
    await writeConfig(join(sandbox.cwd, ".docprocrc.json"), { ...aws, endpointUrl: host });
    expect(await runDocproc(sandbox, ["init"])).toMatchObject({ status: 2, stdout: "" });
  });
});

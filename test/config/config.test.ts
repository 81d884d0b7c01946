import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import type { ConfigInput } from "../../src/config/config.ts";
import { drivers, type SettingName, settingNames, settingTable } from "../../src/config/settings.ts";
import { flagOf, variableOf } from "../../src/core/setting.ts";
import { loadIn, writeConfig } from "../support/config.ts";
import { makeSandbox, type Sandbox } from "../support/run.ts";

const invalid = expect.objectContaining({ code: "INVALID_CONFIG" });

async function load(sandbox: Sandbox, input: Partial<ConfigInput> = {}) {
  const loaded = await loadIn(sandbox, input);
  const origins = new Map(loaded.origins.map(({ name, value, origin }) => [name, { value, origin }]));
  return { ...loaded, of: (name: SettingName) => origins.get(name) };
}

/** One value a layer for every setting, all of them different where the setting allows it. */
const samples: Record<SettingName, readonly [flag: string, variable: string, project: string, user: string]> = {
  storage: ["local", "s3", "local", "s3"],
  metadata: ["dynamodb", "local", "dynamodb", "local"],
  directory: ["/flag", "/variable", "/project", "/user"],
  bucket: ["flag", "variable", "project", "user"],
  bucketOwner: ["111111111111", "222222222222", "333333333333", "444444444444"],
  prefix: ["flag/", "variable/", "project/", "user/"],
  table: ["flag", "variable", "project", "user"],
  region: ["eu-west-1", "eu-west-2", "eu-west-3", "eu-north-1"],
  profile: ["flag", "variable", "project", "user"],
  endpointUrl: ["http://a:1", "https://b", "http://c/", "http://d"],
  partSize: ["8388608", "16MiB", "32MiB", "64MiB"],
  partsInFlight: ["2", "3", "4", "256"],
  concurrency: ["1", "2", "3", "256"],
  connections: ["1", "2", "3", "256"],
  onDuplicate: ["store", "reuse", "store", "reuse"],
  retries: ["0", "1", "2", "100"],
  timeout: ["30", "45s", "2m", "1h"],
  resume: ["false", "true", "false", "true"],
  stateDirectory: ["/flag", "/variable", "/project", "/user"],
  provenance: ["false", "true", "false", "true"],
  tags: ["a=flag", "a=variable,b=c=d", "a=project", "a=user"],
  tagVariables: ["A", "B,C", "D", "E"],
  allowHttp: ["true", "false", "true", "false"],
  unsupported: ["flag", "variable", "project", "user"],
};
describe("precedence", () => {
  test.each(settingNames)("%s: flag, variable, project file, user file, AWS's own, default", async (name) => {
    const sandbox = await makeSandbox();
    const [setting, sample] = [settingTable[name], samples[name]];
    if (setting === undefined || sample === undefined) throw new Error(`no samples of ${name}`);
    const expected = (text: string) => setting.parse(text);
    const [flag, variable, inProject, inUser] = sample;
    const project = await writeConfig(join(sandbox.cwd, ".docprocrc.json"), { [name]: inProject });
    const user = await writeConfig(join(sandbox.config, "config.json"), { [name]: inUser });
    const aws = setting.vendorVariables?.[0];
    const env = { [variableOf(name)]: variable, ...(aws ? { [aws]: "from-aws" } : {}) };
    const found = async (input: Partial<ConfigInput>) => (await load(sandbox, input)).of(name);

    expect(await found({ flags: { [name]: flag }, env })).toEqual({ value: expected(flag), origin: flagOf(name) });
    expect(await found({ env })).toEqual({ value: expected(variable), origin: variableOf(name) });
    const less = { ...env, [variableOf(name)]: "" };
    expect(await found({ env: less })).toEqual({ value: expected(inProject), origin: project });
    await writeFile(project, "{}");
    expect(await found({ env: less })).toEqual({ value: expected(inUser), origin: user });
    await writeFile(user, "{}");
    const fallback = Object.hasOwn(drivers, name) ? "local" : setting.fallback;
    const places = { data: sandbox.data, state: sandbox.state, elsewhere: undefined };
    const value = typeof fallback === "function" ? fallback(places) : (fallback ?? null);
    if (aws) expect(await found({ env: less })).toEqual({ value: "from-aws", origin: aws });
    expect(await found({})).toEqual({ value, origin: "default" });
  });

  test("AWS_REGION counts more than AWS_DEFAULT_REGION, and an empty one nothing", async () => {
    const sandbox = await makeSandbox();
    const region = async (env: Record<string, string>) => (await load(sandbox, { env })).of("region");
    const both = { AWS_REGION: "eu-west-1", AWS_DEFAULT_REGION: "eu-west-2" };
    expect(await region(both)).toEqual({ value: "eu-west-1", origin: "AWS_REGION" });
    expect(await region({ ...both, AWS_REGION: "" })).toEqual({ value: "eu-west-2", origin: "AWS_DEFAULT_REGION" });
  });

  test("a number of a file may be 0", async () => {
    const sandbox = await makeSandbox();
    await writeConfig(join(sandbox.cwd, ".docprocrc.json"), { retries: 0 });
    expect((await load(sandbox)).settings.retries).toBe(0);
  });

  test("flags and variables are named after their setting", () => {
    expect([flagOf("endpointUrl"), variableOf("endpointUrl")]).toEqual(["--endpoint-url", "DOCPROC_ENDPOINT_URL"]);
  });

  test("the AWS variables of an endpoint make it a custom one, and lose to our own", async () => {
    const sandbox = await makeSandbox();
    const custom = async (env: Record<string, string>, flags = {}) =>
      (await load(sandbox, { env, flags })).settings.customEndpoint;
    const env = { AWS_ENDPOINT_URL: "http://all", AWS_ENDPOINT_URL_S3: "http://s3" };
    expect(await custom({})).toBeUndefined();
    expect(await custom(env)).toBe("http://s3");
    expect(await custom(env, { endpointUrl: "http://flag" })).toBe("http://flag");
    expect(await custom({ ...env, AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: "true" })).toBeUndefined();
  });
});

describe("the choice of services", () => {
  type Choice = [title: string, flags: object, project: object, user: object, chosen: object];
  test.each<Choice>([
    ["nothing", {}, {}, {}, { storage: "local", metadata: "local", table: undefined }],
    ["--bucket alone", { bucket: "b" }, {}, {}, { storage: "s3", metadata: "dynamodb", bucket: "b", table: "b" }],
    ["--bucket and --table", { bucket: "b", table: "t" }, {}, {}, { storage: "s3", metadata: "dynamodb", table: "t" }],
    [
      "--bucket with local metadata",
      { bucket: "b", metadata: "local" },
      {},
      {},
      { storage: "s3", metadata: "local", table: undefined },
    ],
    [
      "--storage local in a project with a bucket",
      { storage: "local" },
      { bucket: "b" },
      {},
      { storage: "local", metadata: "local", table: undefined },
    ],
    [
      "--storage local and a table",
      { storage: "local", table: "t" },
      {},
      {},
      { storage: "local", metadata: "dynamodb" },
    ],
    ["--table alone", { table: "t" }, {}, {}, { storage: "local", metadata: "dynamodb", table: "t" }],
    ["--directory alone", { directory: "/d" }, {}, {}, { storage: "local", metadata: "local", directory: "/d" }],
    [
      "--directory against a bucket of the project",
      { directory: "/d" },
      { bucket: "b" },
      {},
      { storage: "local", metadata: "local" },
    ],
    [
      "--bucket against a library of the project",
      { bucket: "b" },
      { storage: "local", metadata: "local", directory: "/d" },
      {},
      { storage: "s3", metadata: "dynamodb", table: "b" },
    ],
    [
      "--bucket against bucket and table of the project",
      { bucket: "new" },
      { bucket: "b", table: "t" },
      {},
      { bucket: "new", table: "new" },
    ],
    [
      "--table against bucket and table of the project",
      { table: "new" },
      { bucket: "b", table: "t" },
      {},
      { storage: "s3", bucket: "b", table: "new" },
    ],
    [
      "a bucket of the project against a table of the user",
      {},
      { bucket: "b" },
      { table: "t" },
      { storage: "s3", table: "b" },
    ],
    [
      "a bucket of the user against a directory of the project",
      {},
      { directory: "/d" },
      { bucket: "b" },
      { storage: "local", metadata: "local" },
    ],
    [
      "bucket and directory in one place",
      {},
      { bucket: "b", directory: "/d", metadata: "local" },
      {},
      { storage: "s3", metadata: "local", directory: "/d" },
    ],
  ])("%s", async (_title, flags, project, user, chosen) => {
    const sandbox = await makeSandbox();
    await writeConfig(join(sandbox.cwd, ".docprocrc.json"), project);
    await writeConfig(join(sandbox.config, "config.json"), user);
    expect((await load(sandbox, { flags: { ...flags } })).settings).toMatchObject(chosen);
  });

  test("what a bucket implies has the bucket's origin", async () => {
    const { of } = await load(await makeSandbox(), { env: { DOCPROC_BUCKET: "b" } });
    const implied = ["storage", "metadata", "bucket", "table"] as const;
    expect(implied.map((name) => of(name)?.origin)).toEqual(implied.map(() => "DOCPROC_BUCKET"));
  });

  test("each bucket has a local catalog of its own, unless a directory is named", async () => {
    const sandbox = await makeSandbox();
    const directory = async (flags: Record<string, string>) => (await load(sandbox, { flags })).settings.directory;
    const flags = { bucket: "b", metadata: "local" };
    expect(await directory(flags)).toBe(join(sandbox.data, "buckets", "b"));
    expect(await directory({ ...flags, directory: "d" })).toBe(resolve(sandbox.cwd, "d"));
    expect(await directory({})).toBe(sandbox.data);
  });
});

describe("values", () => {
  test.each<[SettingName, unknown, unknown]>([
    ["prefix", "team", "team/"],
    ["prefix", "a/b//", "a/b/"],
    ["prefix", "", ""],
    ["partSize", 5 * 2 ** 20, 5 * 2 ** 20],
    ["partSize", "5GiB", 5 * 2 ** 30],
    ["partSize", "16MiB", 16 * 2 ** 20],
    ["partSize", "8388608", 8_388_608],
    ["concurrency", 16, 16],
    ["concurrency", "16", 16],
    ["timeout", "30", 30_000],
    ["timeout", "45s", 45_000],
    ["timeout", "1h", 3_600_000],
    ["resume", "true", true],
    ["resume", false, false],
    ["provenance", "false", false],
    ["allowHttp", "true", true],
    ["tags", "a=b", '{"a":"b"}'],
    ["tags", "a=b,c=d=e", '{"a":"b","c":"d=e"}'],
    ["region", null, null],
  ])("%s: %j is read as %j", async (name, given, value) => {
    const sandbox = await makeSandbox();
    await writeConfig(join(sandbox.cwd, ".docprocrc.json"), { [name]: given });
    expect((await load(sandbox)).of(name)?.value).toBe(value);
  });

  test.each<[SettingName, unknown]>([
    ["storage", "gcs"],
    ["metadata", "s3"],
    ["bucket", 42],
    ["bucket", ""],
    ["table", ["t"]],
    ["region", true],
    ["directory", {}],
    ["prefix", "/"],
    ["prefix", "/absolute"],
    ["prefix", "a/../b"],
    ["prefix", "a b"],
    ["prefix", "é"],
    ["prefix", "x".repeat(600)],
    ["endpointUrl", "localhost:9000"],
    ["endpointUrl", "ftp://x"],
    ["endpointUrl", "https://user:secret@x"],
    ["endpointUrl", "https://x/?token=secret"],
    ["endpointUrl", "https://x/#secret"],
    ["partSize", "4MiB"],
    ["partSize", "6GiB"],
    ["partSize", "large"],
    ["partSize", 5 * 2 ** 20 + 0.5],
    ["concurrency", 0],
    ["concurrency", 257],
    ["connections", 0],
    ["concurrency", 1.5],
    ["concurrency", "many"],
    ["concurrency", true],
    ["concurrency", [4]],
    ["onDuplicate", "replace"],
  ])("%s may not be %j, and the failure names setting and file", async (name, value) => {
    const sandbox = await makeSandbox();
    const file = await writeConfig(join(sandbox.cwd, ".docprocrc.json"), { [name]: value });
    const failure = await load(sandbox).catch((error: unknown) => error);
    expect(failure).toEqual(invalid);
    expect(failure).toMatchObject({ message: expect.stringContaining(`${name} (${file})`) });
  });

  test("a password in an endpoint is not repeated in the failure", async () => {
    const flags = { endpointUrl: "https://user:secret@x" };
    const failure = await load(await makeSandbox(), { flags }).catch((error: unknown) => error);
    expect(failure).toEqual(invalid);
    expect(JSON.stringify(failure)).not.toContain("secret");
  });

  test.each([
    ["buckets", "Did you mean bucket?"],
    ["endpoint_url", "Did you mean endpointUrl?"],
    ["endpoint-url", "Did you mean endpointUrl?"],
    ["REGION", "Did you mean region?"],
    ["PartSize", "Did you mean partSize?"],
    ["favouriteColour", "Known keys: storage,"],
    ["__proto__", "Known keys: storage,"],
    ["constructor", "Known keys: storage,"],
  ])("the unknown key %s is refused: %s", async (key, hint) => {
    const sandbox = await makeSandbox();
    const file = await writeConfig(join(sandbox.cwd, ".docprocrc.json"), `{${JSON.stringify(key)}: "x"}`);
    const failure = await load(sandbox).catch((error: unknown) => error);
    expect(failure).toEqual(invalid);
    expect(failure).toMatchObject({ message: expect.stringContaining(file), hint: expect.stringContaining(hint) });
  });
});

/** `docproc config`: every setting, and where it comes from. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { settingNames } from "../../../src/config/settings.ts";
import { makeSandbox, runDocproc } from "../../support/run.ts";

interface Setting {
  readonly name: string;
  readonly value: string | number | null;
  readonly origin: string;
}
const byName = (settings: readonly Setting[]) =>
  Object.fromEntries(settings.map(({ name, value, origin }) => [name, [value, origin]]));

test("without any configuration every value is a default", async () => {
  const sandbox = await makeSandbox();
  const outcome = await runDocproc(sandbox, ["config", "--json"]);
  expect(outcome).toMatchObject({ status: 0, stderr: "" });
  const { settings, ...rest } = outcome.json();
  expect(rest).toEqual({ schema: "docproc.config/1", configFile: null });
  expect(settings.map(({ name }: Setting) => name)).toEqual(settingNames);
  expect(new Set(settings.map((setting: Setting) => Object.keys(setting).join()))).toEqual(
    new Set(["name,value,origin"]),
  );
  expect(new Set(settings.map(({ origin }: Setting) => origin))).toEqual(new Set(["default"]));
  expect(byName(settings)).toMatchObject({
    storage: ["local", "default"],
    metadata: ["local", "default"],
    directory: [sandbox.data, "default"],
    bucket: [null, "default"],
    prefix: ["", "default"],
    partsInFlight: [null, "default"],
    concurrency: [null, "default"],
    onDuplicate: ["reuse", "default"],
  });
});

test("every value names the flag, the variable or the file that it comes from", async () => {
  const sandbox = await makeSandbox();
  const project = join(sandbox.cwd, ".docprocrc.yaml");
  const user = join(sandbox.config, "config.json");
  await mkdir(sandbox.config);
  await writeFile(project, "prefix: team\nconcurrency: 8\npartSize: 16MiB\n");
  await writeFile(user, JSON.stringify({ concurrency: 2, onDuplicate: "store", profile: "mine" }));
  const env = { DOCPROC_PREFIX: "env", DOCPROC_TABLE: "", AWS_REGION: "eu-north-1", AWS_PROFILE: "other" };
  const outcome = await runDocproc(sandbox, ["config", "--bucket", "docs", "--json"], { env });
  expect(outcome.json().configFile).toBe(project);
  expect(byName(outcome.json().settings)).toMatchObject({
    storage: ["s3", "--bucket"],
    metadata: ["dynamodb", "--bucket"],
    bucket: ["docs", "--bucket"],
    table: ["docs", "--bucket"],
    prefix: ["env/", "DOCPROC_PREFIX"],
    concurrency: [8, project],
    partSize: [16 * 1024 * 1024, project],
    onDuplicate: ["store", user],
    profile: ["mine", user],
    region: ["eu-north-1", "AWS_REGION"],
  });
});

test("config prints a table for a person, and one setting per line with --ndjson", async () => {
  const sandbox = await makeSandbox();
  const { stdout } = await runDocproc(sandbox, ["config", "--prefix", "a/b"]);
  const rows = stdout
    .trimEnd()
    .split("\n")
    .map((line) => line.split("\t"));
  expect(rows.map(([name]) => name)).toEqual(settingNames);
  expect(rows).toContainEqual(["prefix", "a/b/", "--prefix"]);
  expect(rows).toContainEqual(["bucket", "-", "default"]);
  expect(rows).toContainEqual(["timeout", "120s", "default"]);
  const lines = (await runDocproc(sandbox, ["config", "--ndjson"])).stdout.trimEnd().split("\n");
  expect(lines.map((line) => JSON.parse(line).name)).toEqual(settingNames);
  const drawn = await runDocproc(sandbox, ["config"], { terminal: 60 });
  expect(drawn.stdout).toMatch(/^SETTING +VALUE +FROM\n/);
});

test.each([
  ["an unknown key", { buckett: "docs" }, "Did you mean bucket?"],
  ["a value that is not allowed", { concurrency: 0 }, "concurrency"],
  ["a list", ["bucket"], "has no settings"],
])("a config file with %s is refused with its path", async (_what, content, expected) => {
  const sandbox = await makeSandbox();
  const path = join(sandbox.cwd, ".docprocrc.json");
  await writeFile(path, JSON.stringify(content));
  const human = await runDocproc(sandbox, ["config"]);
  expect(human).toMatchObject({ status: 2, stdout: "" });
  expect(human.stderr).toContain(path);
  expect(human.stderr).toContain(expected);
  const machine = await runDocproc(sandbox, ["config", "--json"]);
  expect(machine.json()).toMatchObject({ schema: "docproc.error/1", code: "INVALID_CONFIG" });
});

test("--config reads the named file in place of the project's", async () => {
  const sandbox = await makeSandbox();
  const other = join(sandbox.root, "other.json");
  await writeFile(join(sandbox.cwd, ".docprocrc.json"), JSON.stringify({ prefix: "project" }));
  await writeFile(other, JSON.stringify({ directory: "./library" }));
  const { settings, configFile } = (await runDocproc(sandbox, ["config", "--config", other, "--json"])).json();
  expect(configFile).toBe(other);
  expect(byName(settings)).toMatchObject({
    prefix: ["", "default"],
    directory: [join(sandbox.root, "library"), other],
  });
  expect(await runDocproc(sandbox, ["config", "--config", "missing.json"])).toMatchObject({ status: 2, stdout: "" });
});

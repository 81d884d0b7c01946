/** Named profiles: how they are read, which settings they have and which not, and what a mistake in one says. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadIn, writeConfig } from "../support/config.ts";
import { makeSandbox, runDocproc, type Sandbox } from "../support/run.ts";

const project = ({ cwd }: Sandbox) => join(cwd, ".docprocrc.json");

async function settingsOf(sandbox: Sandbox, input: Parameters<typeof loadIn>[1]) {
  const { origins } = await loadIn(sandbox, input);
  return Object.fromEntries(origins.map(({ name, value, origin }) => [name, [value, origin]]));
}

test("a profile says whole where a library is, and how it is worked with comes from around it", async () => {
  const sandbox = await makeSandbox();
  const path = await writeConfig(project(sandbox), {
    bucket: "docs",
    bucketOwner: "123456789012",
    prefix: "team",
    endpointUrl: "http://localhost:4566",
    concurrency: 8,
    retries: 1,
    profiles: { archive: { bucket: "old-docs", region: "eu-west-1", retries: 9 }, disk: { directory: "./library" } },
  });
  const inArchive = `${path} (profile archive)`;
  expect(await settingsOf(sandbox, { use: "archive" })).toMatchObject({
    storage: ["s3", inArchive],
    metadata: ["dynamodb", inArchive],
    bucket: ["old-docs", inArchive],
    table: ["old-docs", inArchive],
    region: ["eu-west-1", inArchive],
    retries: [9, inArchive],
    concurrency: [8, path],
    bucketOwner: [null, "default"],
    prefix: ["", "default"],
    endpointUrl: [null, "default"],
  });
  expect(await settingsOf(sandbox, { env: { DOCPROC_USE: "disk" } })).toMatchObject({
    storage: ["local", `${path} (profile disk)`],
    directory: [join(sandbox.cwd, "library"), `${path} (profile disk)`],
    bucket: [null, "default"],
  });
  expect(await settingsOf(sandbox, { env: { DOCPROC_USE: "" } })).toMatchObject({ bucket: ["docs", path] });
});

test("flags and variables are above a profile, unless it stands for itself", async () => {
  const sandbox = await makeSandbox();
  await writeConfig(project(sandbox), { profiles: { archive: { bucket: "old-docs", prefix: "a" } } });
  const given = { use: "archive", flags: { bucket: "flag", retries: "2" }, env: { DOCPROC_PREFIX: "env" } };
  expect(await settingsOf(sandbox, given)).toMatchObject({
    bucket: ["flag", "--bucket"],
    prefix: ["env/", "DOCPROC_PREFIX"],
    retries: [2, "--retries"],
  });
  const { origins, profile } = await loadIn(sandbox, { ...given, apart: true });
  const values = Object.fromEntries(origins.map(({ name, value }) => [name, value]));
  expect(values).toMatchObject({ bucket: "old-docs", table: "old-docs", prefix: "a/", retries: 2 });
  expect(profile?.origin).toMatch(/\(profile archive\)$/);
});

test("the user's own profile of a name is taken whole before the project's", async () => {
  const sandbox = await makeSandbox();
  const user = await writeConfig(join(sandbox.config, "config.yaml"), "profiles: {a: {bucket: mine}}");
  const file = await writeConfig(project(sandbox), {
    profiles: { a: { bucket: "project-a", prefix: "p" }, b: { bucket: "project-b" } },
  });
  expect(await settingsOf(sandbox, { use: "a" })).toMatchObject({
    bucket: ["mine", `${user} (profile a)`],
    prefix: ["", "default"],
  });
  expect(await settingsOf(sandbox, { use: "b" })).toMatchObject({ bucket: ["project-b", `${file} (profile b)`] });
});

test.each([
  ["an unknown key", { a: { buckett: "x" } }, "Did you mean bucket?"],
  ["a value that is not allowed", { a: { retries: "many" } }, "retries"],
  ["profiles of its own", { a: { profiles: {} } }, 'unknown key "profiles"'],
  ["no settings", { a: "bucket" }, "the profile a has no settings"],
  ["a list", { a: [] }, "the profile a has no settings"],
  ["an odd name", { "a b": {} }, '"a b" is not a valid profile name'],
  ["an empty name", { "": {} }, '"" is not a valid profile name'],
])("a profile with %s is refused, whether it is used or not", async (_what, profiles, expected) => {
  const sandbox = await makeSandbox();
  const path = await writeConfig(project(sandbox), { profiles });
  const outcome = await runDocproc(sandbox, ["list", "--json"]);
  expect(outcome).toMatchObject({ status: 2 });
  expect(outcome.json()).toMatchObject({ schema: "docproc.error/1", code: "INVALID_CONFIG" });
  expect(`${outcome.json().message} ${outcome.json().hint}`).toContain(expected);
  expect(outcome.json().message).toContain(path);
});

test("profiles that are no map are refused", async () => {
  const sandbox = await makeSandbox();
  await writeConfig(project(sandbox), { profiles: ["archive"] });
  expect(await runDocproc(sandbox, ["list"])).toMatchObject({ status: 2, stderr: expect.stringContaining("profiles") });
});

test("a name that no file has is refused with the nearest, or with all there are", async () => {
  const sandbox = await makeSandbox();
  const none = await runDocproc(sandbox, ["list", "--use", "archive", "--json"]);
  expect(none).toMatchObject({ status: 2 });
  expect(none.json().hint).toContain('"profiles"');
  await writeConfig(project(sandbox), { profiles: { archive: {}, disk: {} } });
  expect((await runDocproc(sandbox, ["list", "--use", "archiv", "--json"])).json().hint).toBe("Did you mean archive?");
  expect((await runDocproc(sandbox, ["list", "--use", "xyz", "--json"])).json().hint).toBe("Profiles: archive, disk.");
  // Neither of these is one of the object's own.
  expect(await runDocproc(sandbox, ["list", "--use", "constructor"])).toMatchObject({ status: 2 });
});

test("every command works with the library of a profile, and init leaves the file as it is", async () => {
  const sandbox = await makeSandbox();
  const content = { directory: "./main", profiles: { archive: { directory: "./archive" } } };
  await writeConfig(project(sandbox), content);
  await mkdir(join(sandbox.cwd, "in"));
  await writeConfig(join(sandbox.cwd, "in", "a.txt"), "a");
  const made = await runDocproc(sandbox, ["init", "--use", "archive", "--json"]);
  expect(made).toMatchObject({ status: 0 });
  expect(made.json().resources).toContainEqual(
    expect.objectContaining({ kind: "config-file", name: project(sandbox), action: "exists" }),
  );
  expect(await runDocproc(sandbox, ["upload", "in/a.txt", "--use", "archive"])).toMatchObject({ status: 0 });
  const count = async (...argv: string[]) => (await runDocproc(sandbox, ["list", ...argv, "--json"])).json().count;
  expect([await count(), await count("--use", "archive")]).toEqual([0, 1]);
  // Making the project's own afterwards keeps the profiles.
  expect(await runDocproc(sandbox, ["init"])).toMatchObject({ status: 0 });
  expect(await count("--use", "archive")).toBe(1);
});

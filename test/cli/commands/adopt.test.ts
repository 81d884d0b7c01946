/** A catalog that is gone for good: its records come back, and what it stored is the new one's. */
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { DocumentRecord } from "../../../src/document/record.ts";
import { startInRepoAws } from "../../support/aws.ts";
import { startFaultProxy } from "../../support/fault-proxy.ts";
import { openLibrary, places, usePlace } from "../../support/library.ts";
import { awsState, localState } from "../../support/oracle.ts";
import { storedKeys } from "../../support/stored.ts";
import { storedPlaces } from "../../support/stored-library.ts";
import { openTwoLibraries } from "../../support/two-libraries.ts";

const dayAndMore = () => Date.now() + 25 * 3_600_000;

/** A library whose catalog can be lost: then it has a new one, which knows nothing. */
async function openLosing(endpoint?: string) {
  const library = await openLibrary(endpoint);
  const { sandbox, settings } = library;
  let table: string[] = [];
  const run: typeof library.run = async (argv, options) => await library.run([...argv, ...table], options);
  return {
    ...library,
    run,
    async lose() {
      if (endpoint === undefined) await rm(join(sandbox.data, "catalog.db"));
      else table = ["--table", `${settings.table}-new`];
      expect(await run(["init"])).toMatchObject({ status: 0 });
      expect((await run(["list", "--json"])).json().count).toBe(0);
    },
    keys: async () => (await storedKeys(settings)).join(" "),
    imported: async (records: string, ...flags: string[]) =>
      await run(["import", "--json", ...flags], { stdin: records }),
    deleted: async (id: string) => (await run(["delete", id, "--yes", "--json"])).json().documents[0],
    doctor: async (...flags: string[]) => await run(["doctor", "--json", ...flags], { now: dayAndMore }),
  };
}

describe.each(Object.entries(places))("the documents of a lost catalog in %s", (_place, start) => {
  const endpoint = usePlace(start);
  const open = () => openLosing(endpoint());

  test("are deleted with their bytes once it is adopted, and its library is sound", async () => {
    const { run, upload, lose, keys, imported, deleted, doctor } = await open();
    const [a, b, c] = [await upload("a.txt", "a"), await upload("b.txt", "b"), await upload("c.txt", "c")];
    const records = (await run(["export"])).stdout;
    await lose();
    const first = await imported(records);
    expect(first).toMatchObject({ status: 0 });
    const [catalog] = first.json().summary.otherCatalogs as [string];
    expect(first.json().summary).toMatchObject({
      imported: 3,
      otherCatalogs: [expect.stringMatching(/^[0-9a-f-]{32,}$/)],
    });
    // Until it is said to be gone, it may need them.
    expect(await deleted(a.id)).toMatchObject({ bytes: "kept", reason: "other-catalog" });
    expect(await keys()).toContain(a.id);
    const human = await run(["import"], { stdin: records });
    expect(human.stderr).toContain(`belong to the catalog ${catalog}. If it is lost for good`);
    const adopted = await imported(records, "--adopt", catalog);
    expect(adopted).toMatchObject({ status: 0 });
    expect(adopted.json().summary).toMatchObject({ unchanged: 3, otherCatalogs: [] });
    expect((await doctor()).json()).toMatchObject({ findings: [] });
    for (const { id } of [a, b]) {
      expect(await deleted(id)).toMatchObject({ id, bytes: "removed", reason: null });
      expect(await keys()).not.toContain(id);
    }
    expect(await keys()).toContain(c.id);
    expect(await run(["verify", "--all", "--deep"])).toMatchObject({ status: 0 });
    expect((await doctor("--repair")).json()).toMatchObject({ findings: [] });
    // Adopted twice, it is adopted.
    const again = (await run(["export"])).stdout;
    expect(await imported(again, "--adopt", catalog)).toMatchObject({ status: 0 });
  });

  test("are taken over by the import itself, with documents that are uploaded afterwards beside them", async () => {
    const { run, upload, lose, keys, imported, deleted, doctor } = await open();
    const a = await upload("a.txt", "a");
    const records = (await run(["export"])).stdout;
    await lose();
    const [catalog] = (await imported(records)).json().summary.otherCatalogs as [string];
    expect(await deleted(a.id)).toMatchObject({ bytes: "kept" });
    const outcome = await imported(records, "--adopt", catalog, "--deep");
    expect(outcome.json()).toMatchObject({ documents: [{ action: "imported", hashed: true }], failures: [] });
    const stdin = "new";
    const added = (await run(["upload", "-", "--name", "new.txt", "--json"], { stdin })).json().documents[0];
    expect((await doctor("--repair")).json()).toMatchObject({ findings: [] });
    for (const { id } of [a, added]) expect(await deleted(id)).toMatchObject({ bytes: "removed" });
    expect(await keys()).toBe("");
    expect((await doctor()).json()).toMatchObject({ findings: [] });
  });

  test("stay those of the lost one where another id is named, or none", async () => {
    const { run, upload, lose, imported, deleted } = await open();
    const { id } = await upload("a.txt", "a");
    const records = (await run(["export"])).stdout;
    await lose();
    const other = await imported(records, "--adopt", "0".repeat(32));
    expect(other).toMatchObject({ status: 3, stderr: expect.stringContaining("Nothing was adopted") });
    expect(await imported(records, "--adopt", "gone")).toMatchObject({ status: 2 });
    expect(await deleted(id)).toMatchObject({ bytes: "kept", reason: "other-catalog" });
  });
});

test.each(Object.entries(storedPlaces))(
  "documents that came to %s after the last export are named by a doctor, and removed by --yes alone",
  async (_place, start) => {
    const aws = await start?.();
    onTestFinished(() => aws?.close());
    const { run, upload, lose, keys, imported, doctor, settings, sandbox } = await openLosing(aws?.endpoint);
    await upload("a.txt", "a");
    const records = (await run(["export"])).stdout;
    const late = await upload("late.txt", "late");
    await lose();
    const [catalog] = (await imported(records)).json().summary.otherCatalogs as [string];
    expect(await imported(records, "--adopt", catalog)).toMatchObject({ status: 0 });
    await (aws ? awsState(aws, settings.bucket ?? "") : localState(sandbox.data)).age();
    for (const flags of [[], ["--repair"]]) {
      const outcome = await doctor(...flags);
      expect(outcome).toMatchObject({ status: 6 });
      expect(outcome.json().findings).toMatchObject([
        { code: "ORPHAN_OBJECT", id: late.id, fix: expect.stringContaining("--repair --yes"), repaired: false },
      ]);
      expect(await keys()).toContain(late.id);
    }
    expect((await doctor("--repair", "--yes")).json().findings).toMatchObject([{ id: late.id, repaired: true }]);
    expect(await keys()).not.toContain(late.id);
    expect((await doctor()).json()).toMatchObject({ findings: [] });
  },
);

test("a doctor of an embedded library says how a lost catalog is adopted, and that works", async () => {
  const { run, upload, lose, doctor, sandbox } = await openLosing();
  await upload("a.txt", "a");
  await writeFile(join(sandbox.cwd, "records.ndjson"), (await run(["export"])).stdout);
  await lose();
  const [finding] = (await doctor()).json().findings;
  expect(finding).toMatchObject({ code: "CATALOG_LOST" });
  const [, catalog = ""] = /docproc import FILE --deep --adopt (\S+)/.exec(finding.fix) ?? [];
  expect((await readFile(join(sandbox.data, "catalog-id"), "utf8")).trim()).toBe(catalog);
  expect(await run(["import", "records.ndjson", "--adopt", catalog])).toMatchObject({ status: 0 });
  expect((await doctor()).json()).toMatchObject({ findings: [] });
});

test("a copy goes on with bytes that were stored for a catalog that was adopted, and with no other's", async () => {
  const { run, upload, sandbox } = await openTwoLibraries();
  const records: DocumentRecord[] = [await upload("here", "a.txt", "a"), await upload("here", "b.txt", "b")];
  const copy = async () => (await run(["copy", "--from", "here", "--to", "there", "--json"])).json().summary;
  expect(await copy()).toMatchObject({ copied: 2 });
  const exported = (await run(["export", "--name", "a.txt", "--use", "there"])).stdout;
  await rm(join(sandbox.cwd, "there", "catalog.db"));
  expect(await copy()).toMatchObject({ copied: 0, failed: records.length });
  const importThere = async (...flags: string[]) =>
    (await run(["import", "--use", "there", "--json", ...flags], { stdin: exported })).json().summary;
  const { otherCatalogs } = await importThere();
  expect(await importThere("--adopt", otherCatalogs[0])).toMatchObject({ unchanged: 1, failed: 0 });
  expect(await copy()).toMatchObject({ copied: 1, unchanged: 1 });
});

test.each(["lose-reply", "reset"] as const)("an adoption is done when it is run again after %s", async (kind) => {
  const aws = await startInRepoAws();
  const proxy = await startFaultProxy(aws.endpoint);
  onTestFinished(async () => {
    await proxy.close();
    await aws.close();
  });
  const { run, upload, lose, imported, deleted } = await openLosing(proxy.endpoint);
  const { id } = await upload("a.txt", "a");
  const records = (await run(["export"])).stdout;
  await lose();
  const [catalog] = (await imported(records)).json().summary.otherCatalogs as [string];
  proxy.inject({ operation: "PutItem", times: 99, action: { kind } });
  expect(await imported(records, "--adopt", catalog, "--retries", "1")).toMatchObject({ status: 8 });
  proxy.clear();
  expect(await imported(records, "--adopt", catalog)).toMatchObject({ status: 0 });
  expect(await deleted(id)).toMatchObject({ bytes: "removed" });
});

test("a table with an adopted catalog and nothing else can be taken down", async () => {
  const aws = await startInRepoAws();
  onTestFinished(() => aws.close());
  const { run, upload, lose, imported, deleted, settings } = await openLosing(aws.endpoint);
  const { id } = await upload("a.txt", "a");
  const records = (await run(["export"])).stdout;
  await lose();
  const [catalog] = (await imported(records)).json().summary.otherCatalogs as [string];
  await imported(records, "--adopt", catalog);
  await deleted(id);
  expect(await run(["destroy", "--confirm", settings.bucket ?? ""])).toMatchObject({ status: 0 });
});

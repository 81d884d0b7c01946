/** `docproc doctor`: what it finds between catalog and storage, what --repair removes, and what it never touches. */
import { mkdir, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { newDocumentId, storageKey } from "../../../src/document/record.ts";
import { temporaryIn } from "../../../src/files/removal.ts";
import type { Finding } from "../../../src/library/doctor.ts";
import { startFaultProxy } from "../../support/fault-proxy.ts";
import { openLibrary, places, usePlace } from "../../support/library.ts";
import { localState } from "../../support/oracle.ts";
import { makeSandbox, runDocproc } from "../../support/run.ts";
import { storedKeys, tamper } from "../../support/stored.ts";

const dayAndAnHour = 25 * 3_600_000;

/** A library, and a doctor who comes now, or when everything is a day older. */
async function openExamined(endpoint?: string) {
  const library = await openLibrary(endpoint);
  const { sandbox, settings } = library;
  const report = async (argv: readonly string[]) => {
    const outcome = await runDocproc(sandbox, ["doctor", "--json", ...argv]);
    const { findings, checks, summary } = outcome.json();
    return { status: outcome.status, findings: findings as Finding[], checks, summary };
  };
  return {
    ...library,
    keys: () => storedKeys(settings),
    doctor: (...argv: string[]) => report(argv),
    async doctorTomorrow(...argv: string[]) {
      if (endpoint === undefined) {
        await localState(settings.directory).age();
        return await report(argv);
      }
      const proxy = await startFaultProxy(endpoint);
      onTestFinished(() => proxy.close());
      const isListing = ({ operation }: { operation: string }) =>
        /^List(Objects|MultipartUploads|Parts)/.test(operation);
      proxy.inject({ operation: isListing, action: { kind: "age", ms: dayAndAnHour } });
      return await report([...argv, "--endpoint-url", proxy.endpoint]);
    },
  };
}

const codes = (findings: readonly Finding[]) => findings.map(({ code }) => code).sort();

describe.each(Object.entries(places))("a doctor of %s", (_place, start) => {
  const endpoint = usePlace(start);

  test("finds nothing where all is well, and changes nothing", async () => {
    const { run, doctor, doctorTomorrow, upload, keys } = await openExamined(endpoint());
    await upload("empty", "");
    await upload("a.txt", "a", "--tag", "x=1");
    const before = await keys();
    const healthy = await doctor();
    expect(healthy).toMatchObject({ status: 0, findings: [], summary: { records: 2, objects: 2, found: 0, young: 0 } });
    expect(healthy.checks).toContainEqual({ check: "documents", status: "ok", detail: "2 records, 2 objects" });
    expect(await doctorTomorrow("--repair")).toMatchObject({ status: 0, findings: [] });
    expect(await keys()).toEqual(before);
    expect(await run(["verify", "--all", "--deep"])).toMatchObject({ status: 0 });
  });

  test("leaves bytes without a record alone until they are a day old, and removes them then", async () => {
    const { run, doctor, doctorTomorrow, upload, forget, keys } = await openExamined(endpoint());
    const kept = await upload("kept.txt", "kept");
    const orphan = await upload("a.txt", "a");
    await forget(orphan);
    const young = await doctor("--repair");
    expect(young).toMatchObject({ status: 0, findings: [], summary: { records: 1, objects: 2, young: 1 } });
    expect(await keys()).toHaveLength(2);
    const found = await doctorTomorrow();
    expect(found).toMatchObject({ status: 6, summary: { young: 0, repaired: 0 } });
    expect(found.findings).toEqual([
      {
        code: "ORPHAN_OBJECT",
        id: orphan.id,
        name: storageKey("", orphan.id, "a.txt"),
        message: "1 byte without a record, 1 day old.",
        fix: "Remove it with docproc doctor --repair.",
        repaired: false,
      },
    ]);
    expect(await keys()).toHaveLength(2);
    expect((await doctorTomorrow("--repair")).findings).toMatchObject([{ code: "ORPHAN_OBJECT", repaired: true }]);
    expect(await keys()).toEqual([storageKey("", kept.id, "kept.txt")]);
    expect((await doctorTomorrow("--repair")).findings).toEqual([]);
    expect(await run(["cat", "kept.txt"])).toMatchObject({ status: 0, stdout: "kept" });
  });

  test("names records without their bytes, and never removes one", async () => {
    const { run, doctorTomorrow, upload, plant } = await openExamined(endpoint());
    await upload("sound", "12345");
    const gone = await upload("gone", "12345");
    await tamper(gone, endpoint(), () => null);
    const shorter = await upload("shorter", "12345");
    await tamper(shorter, endpoint(), (bytes) => bytes.subarray(1));
    const elsewhere = { ...gone, id: newDocumentId(), name: "elsewhere", uri: "s3://not-this-one/k" };
    await plant(elsewhere);
    for (const argv of [[], ["--repair"], ["--repair", "--yes"]]) {
      const { status, findings } = await doctorTomorrow(...argv);
      expect(status).toBe(6);
      expect(codes(findings)).toEqual(["MISSING_BYTES", "MISSING_BYTES", "MISSING_BYTES"]);
      expect(findings.map(({ id, repaired }) => [id, repaired])).toEqual(
        [gone, shorter, elsewhere].map(({ id }) => [id, false]),
      );
      for (const { fix } of findings) expect(fix).not.toBe("");
    }
    expect((await run(["list", "--json"])).json().count).toBe(4);
  });

  test("of one library leaves alone what is below another prefix", async () => {
    const { doctorTomorrow, upload, forget, keys } = await openExamined(endpoint());
    await forget(await upload("outside", "1", "--prefix", "other/"));
    await forget(await upload("inside", "2", "--prefix", "mine/"));
    const { findings } = await doctorTomorrow("--repair", "--prefix", "mine/");
    expect(findings).toMatchObject([{ code: "ORPHAN_OBJECT", repaired: true }]);
    expect(await keys()).toEqual([expect.stringMatching(/^other\/.+\/outside$/)]);
  });
});

describe("a doctor of the embedded library", () => {
  test("finds nothing where nothing was ever made, and makes nothing", async () => {
    const sandbox = await makeSandbox();
    for (const argv of [["doctor"], ["doctor", "--repair"]]) {
      expect(await runDocproc(sandbox, argv)).toMatchObject({ status: 0, stderr: "0 problems found, 0 repaired.\n" });
    }
    expect(await readdir(sandbox.root)).toEqual(["cwd", "home"]);
    const { checks } = (await runDocproc(sandbox, ["doctor", "--json"])).json();
    expect(checks).toContainEqual({
      check: "catalog",
      status: "ok",
      detail: expect.stringContaining("nothing stored yet"),
    });
  });

  test("removes temporary files and empty directories of uploads that died", async () => {
    const { settings, doctor, doctorTomorrow, upload } = await openExamined();
    await upload("a.txt", "a");
    const incoming = temporaryIn(join(settings.directory, "incoming"));
    await writeFile(incoming, "half of it");
    const id = newDocumentId();
    const empty = join(settings.directory, "objects", id.slice(-2), id);
    await mkdir(empty, { recursive: true });
    expect(await doctor("--repair")).toMatchObject({ status: 0, findings: [], summary: { young: 2 } });
    await utimes(empty, new Date(0), new Date(0));
    const { findings } = await doctorTomorrow("--repair");
    expect(findings.map(({ code, name, repaired }) => [code, name, repaired])).toEqual([
      ["STALE_UPLOAD", incoming, true],
      ["STALE_UPLOAD", empty, true],
    ]);
    expect(await readdir(join(settings.directory, "incoming"))).toEqual([]);
    await expect(readdir(empty)).rejects.toMatchObject({ code: "ENOENT" });
  });

  test("counts what others put there, and touches none of it", async () => {
    const { settings, doctorTomorrow, upload, keys } = await openExamined();
    await upload("a.txt", "a");
    const objects = join(settings.directory, "objects");
    const id = newDocumentId();
    const names = [
      "notes.txt",
      `zz/${id}/a.txt`,
      `${id.slice(-2)}/${id}/deeper/a.txt`,
      `${id.slice(-2)}/${id.toUpperCase()}/a`,
    ];
    for (const name of names) {
      await mkdir(join(objects, name, ".."), { recursive: true });
      await writeFile(join(objects, name), "theirs");
    }
    const { status, findings, summary } = await doctorTomorrow("--repair", "--yes");
    expect({ status, findings }).toEqual({ status: 0, findings: [] });
    expect(summary).toMatchObject({ objects: 1, foreign: names.length });
    expect(await keys()).toHaveLength(names.length + 1);
  });

  test("removes nothing whose owner is unknown", async () => {
    const { settings, doctorTomorrow, upload, forget, keys } = await openExamined();
    await forget(await upload("a.txt", "a"));
    await rm(join(settings.directory, "catalog-id"));
    for (const argv of [["--repair"], ["--repair", "--yes"]]) {
      const { status, findings } = await doctorTomorrow(...argv);
      expect(status).toBe(6);
      expect(findings).toMatchObject([
        { code: "ORPHAN_OBJECT", repaired: false, fix: expect.stringContaining("by hand") },
      ]);
    }
    expect(await keys()).toHaveLength(1);
  });

  test("says that the catalog is not the one that the documents were stored for, and touches none of them", async () => {
    const { settings, doctorTomorrow, upload, keys } = await openExamined();
    for (const name of ["a", "b", "c"]) await upload(name, name);
    await rm(join(settings.directory, "catalog.db"));
    for (const argv of [[], ["--repair"], ["--repair", "--yes"]]) {
      const { status, findings } = await doctorTomorrow(...argv);
      expect(status).toBe(6);
      expect(findings).toMatchObject([{ code: "CATALOG_LOST", name: "3 objects", repaired: false }]);
    }
    expect(await keys()).toHaveLength(3);
  });

  /** Documents, of which some lost their record. */
  async function openWithOrphans(orphans: number, others: number) {
    const library = await openExamined();
    for (let n = 0; n < orphans; n++) await library.forget(await library.upload(`orphan-${n}`, String(n)));
    for (let n = 0; n < others; n++) await library.upload(`kept-${n}`, String(n));
    return library;
  }

  test("believes a lost catalog before it removes most of what is there, unless told that it is right", async () => {
    const { doctorTomorrow, keys } = await openWithOrphans(21, 20);
    const careful = await doctorTomorrow("--repair");
    expect(careful).toMatchObject({ status: 6, summary: { found: 22, repaired: 0 } });
    expect(codes(careful.findings).slice(0, 2)).toEqual(["CATALOG_LOST", "ORPHAN_OBJECT"]);
    expect(careful.findings[0]).toMatchObject({ code: "CATALOG_LOST", fix: expect.stringContaining("--repair --yes") });
    expect(await keys()).toHaveLength(41);
    const told = await doctorTomorrow("--repair", "--yes");
    expect(told).toMatchObject({ status: 0, summary: { found: 21, repaired: 21 } });
    expect(await keys()).toHaveLength(20);
  });

  test.each([
    ["more records", 21, 21],
    ["as few as crashes may have left", 20, 0],
  ])("removes orphans without --yes if there are %s", async (_what, orphans, others) => {
    const { doctorTomorrow, keys } = await openWithOrphans(orphans, others);
    expect(await doctorTomorrow("--repair")).toMatchObject({
      status: 0,
      summary: { found: orphans, repaired: orphans },
    });
    expect(await keys()).toHaveLength(others);
  });

  test("prints a line for everything, as it is found", async () => {
    const { run, settings, upload, forget } = await openExamined();
    await upload("a\u202e", "a");
    const orphan = await upload("orphan", "a");
    await forget(orphan);
    await localState(settings.directory).age();
    const human = await run(["doctor"]);
    expect(human.status).toBe(6);
    expect(human.stdout).toMatch(/^ok +config +defaults$/m);
    expect(human.stdout).toMatch(
      /^found +ORPHAN_OBJECT +[0-9a-f]{2}\/.+\/orphan: .+\n +Remove it with docproc doctor --repair\.$/m,
    );
    expect(human.stderr).toContain("1 problem found, 0 repaired.");
    const lines = (await run(["doctor", "--ndjson"])).stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines.filter(({ code }) => code !== undefined)).toMatchObject([{ code: "ORPHAN_OBJECT", id: orphan.id }]);
    expect(await run(["doctor", "-q"])).toMatchObject({ status: 6, stdout: `${orphan.id}\n` });
    expect((await run(["doctor", "--repair"])).stdout).toMatch(/^repaired +ORPHAN_OBJECT/m);
  });
});

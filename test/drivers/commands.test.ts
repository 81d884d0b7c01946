/** Two drivers that only this test knows, through every command: nothing in the program was written for them. */
import { randomUUID } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { settingNames } from "../../src/config/settings.ts";
import { ledgers } from "../support/drivers/ledger.ts";
import { shelves } from "../support/drivers/shelf.ts";
import { makeSandbox, type RunOptions, runDocproc } from "../support/run.ts";

vi.mock("../../src/storage/registry.ts", async (original) => {
  return await (await import("../support/drivers/register.ts")).withShelves(original);
});
vi.mock("../../src/metadata/registry.ts", async (original) => {
  return await (await import("../support/drivers/register.ts")).withLedgers(original);
});

const dayAndAnHour = 25 * 3_600_000;

/** An empty place of a name of its own, and ways to look at it behind docproc's back. */
async function openShelf() {
  const sandbox = await makeSandbox();
  const name = `shelf-${randomUUID()}`;
  const run = async (argv: readonly string[], options?: RunOptions) =>
    await runDocproc(sandbox, [...argv, "--shelf", name], options);
  const ok = async (...argv: string[]) => {
    const outcome = await run(argv);
    expect(outcome, `${argv.join(" ")}: ${outcome.stderr}`).toMatchObject({ status: 0 });
    return outcome;
  };
  const write = async (file: string, content: string) => {
    await writeFile(join(sandbox.cwd, file), content);
    return file;
  };
  const shelf = () => {
    const found = shelves.get(name);
    if (found === undefined) throw new Error(`no shelf ${name}`);
    return found;
  };
  return { sandbox, name, run, ok, write, shelf };
}

/** The same with a document in it. */
async function openStocked() {
  const place = await openShelf();
  await place.ok("init");
  await place.write("report.txt", "figures");
  const { documents } = (await place.ok("upload", "report.txt", "--tag", "year=2026", "--json")).json();
  return { ...place, record: documents[0] };
}

describe("init", () => {
  test("plans, makes, and writes the settings of the drivers to the config file", async () => {
    const { sandbox, name, ok } = await openShelf();
    const planned = (await ok("init", "--plan", "--json")).json().resources;
    expect(planned).toMatchObject([
      { kind: "shelf", name, action: "would-create" },
      { kind: "ledger", name, action: "would-create" },
      { kind: "config-file", action: "would-create" },
    ]);
    expect(shelves.has(name)).toBe(false);
    expect((await ok("init", "--json")).json().resources).toMatchObject([
      { kind: "shelf", action: "created" },
      { kind: "ledger", action: "created" },
      { kind: "config-file", action: "created" },
    ]);
    const written = JSON.parse(await readFile(join(sandbox.cwd, ".docprocrc.json"), "utf8"));
    expect(written).toEqual({ storage: "memory", metadata: "memory", shelf: name, ledger: name });
    const again = await runDocproc(sandbox, ["init", "--json"]);
    expect(again.json().resources.map(({ action }: { action: string }) => action)).toEqual([
      "exists",
      "exists",
      "exists",
    ]);
  });

  test("is asked for where it was not run, and the missing setting is named", async () => {
    const { sandbox, run, write } = await openShelf();
    expect(await run(["upload", await write("a.txt", "a")])).toMatchObject({ status: 9 });
    const without = await runDocproc(sandbox, ["list", "--storage", "memory"]);
    expect(without).toMatchObject({ status: 2, stderr: expect.stringContaining("--shelf") });
  });
});

test("upload, list, show, cat, download and verify work, and unchanged documents are found again", async () => {
  const { sandbox, ok, name, record } = await openStocked();
  expect(record).toMatchObject({ action: "uploaded", uri: expect.stringMatching(`^memory://${name}/`) });
  const { documents } = (await ok("upload", "report.txt", "--tag", "year=2026", "--json")).json();
  expect(documents).toMatchObject([{ action: "unchanged", id: record.id }]);
  expect((await ok("list", "--tag", "year=2026", "--json")).json().documents).toMatchObject([{ id: record.id }]);
  expect((await ok("show", "report.txt", "--json")).json()).toMatchObject({ id: record.id, uri: record.uri });
  expect((await ok("cat", "report.txt")).stdout).toBe("figures");
  await ok("download", record.id, "-o", "back.txt");
  expect(await readFile(join(sandbox.cwd, "back.txt"), "utf8")).toBe("figures");
  expect((await ok("verify", "--all", "--deep", "--json")).json().summary).toMatchObject({ checked: 1, damaged: 0 });
});

test("tag, stats, export, import and delete work", async () => {
  const { ok, run, sandbox, record, shelf } = await openStocked();
  await ok("tag", "report.txt", "checked=yes");
  expect((await ok("stats", "--json")).json()).toMatchObject({ count: 1, bytes: 7 });
  expect((await run(["stats"])).stderr).toBe("");
  const exported = await ok("export");
  await writeFile(join(sandbox.cwd, "records.ndjson"), exported.stdout);
  expect((await ok("import", "records.ndjson", "--json")).json().summary).toMatchObject({ unchanged: 1 });
  await ok("delete", record.id, "--yes");
  expect(shelf().objects.size).toBe(0);
  expect((await ok("list", "--json")).json().documents).toEqual([]);
});

test("doctor finds damage and leftovers, and repairs what is garbage", async () => {
  const { name, ok, run, write, shelf, record } = await openStocked();
  await ok("upload", await write("kept.txt", "kept"));
  const [kept] = (await ok("list", "--name", "kept.txt", "--json")).json().documents;
  expect((await ok("doctor", "--json")).json().findings).toEqual([]);
  const lost = [...shelf().objects.keys()].find((key) => key.includes(record.id)) ?? "";
  shelf().objects.delete(lost);
  shelf().drafts.set(`${lost}#draft`, Date.now());
  shelf().drafts.set("of/another/program#draft", Date.now());
  const orphan = `00/${kept.id.replace(/..$/, "00")}/orphan.txt`;
  const catalog = ledgers.get(name)?.id ?? "";
  shelf().place(orphan, Buffer.from("orphan"), { catalog });
  ledgers.get(name)?.places.set(record.id.replace(/..$/, "ff"), "gone.txt");
  const later = { now: () => Date.now() + dayAndAnHour };
  const codes = async (argv: string[]) => {
    const outcome = await run(["doctor", "--json", ...argv], later);
    expect(outcome.status).toBe(6);
    return outcome
      .json()
      .findings.map(({ code }: { code: string }) => code)
      .sort();
  };
  expect(await codes([])).toContain("MISSING_BYTES");
  expect((await run(["verify", "--all", "--json"])).json().findings).toMatchObject([{ id: record.id }]);
  vi.useFakeTimers({ now: Date.now() + dayAndAnHour, toFake: ["Date"] });
  try {
    expect(await codes(["--repair"])).toEqual(["MISSING_BYTES", "ORPHAN_OBJECT", "ORPHAN_PLACE", "STALE_UPLOAD"]);
  } finally {
    vi.useRealTimers();
  }
  expect([...shelf().drafts.keys()]).toEqual(["of/another/program#draft"]);
  expect(shelf().objects.has(orphan)).toBe(false);
});

test("register records an object that another program has put there", async () => {
  const { name, ok, run, shelf } = await openStocked();
  shelf().place("incoming/scan.pdf", Buffer.from("%PDF-1.7 scan"), { contentType: "application/pdf" });
  const uri = `memory://${name}/incoming/scan.pdf`;
  expect((await ok("register", uri, "--json")).json()).toMatchObject({ action: "registered", name: "scan.pdf", uri });
  expect((await ok("cat", "scan.pdf")).stdout).toBe("%PDF-1.7 scan");
  expect(await run(["register", "s3://elsewhere/key"])).toMatchObject({ status: 2 });
  expect((await run(["register", "memory://another/key"])).stderr).toContain("--shelf");
});

test("copy takes documents to them and from them", async () => {
  const { sandbox, name, ok, record } = await openStocked();
  const profiles = { memory: { shelf: name }, files: { directory: "./library" } };
  await writeFile(join(sandbox.cwd, ".docprocrc.json"), JSON.stringify({ profiles }));
  const copy = async (...argv: string[]) => {
    const outcome = await runDocproc(sandbox, ["copy", ...argv, "--json"]);
    expect(outcome, outcome.stderr).toMatchObject({ status: 0 });
    return outcome.json().documents;
  };
  expect(await copy("--from", "memory", "--to", "files")).toMatchObject([{ id: record.id, action: "copied" }]);
  await ok("delete", record.id, "--yes");
  expect(await copy("--from", "files", "--to", "memory")).toMatchObject([{ id: record.id, action: "copied" }]);
  expect((await ok("cat", record.id)).stdout).toBe("figures");
  const same = await runDocproc(sandbox, ["copy", "--from", "memory", "--to", "memory"]);
  expect(same).toMatchObject({ status: 2 });
});

test("destroy asks for the name of the shelf, and removes both", async () => {
  const { name, ok, run, record } = await openStocked();
  expect(await run(["destroy", "--confirm", name])).toMatchObject({ status: 5 });
  await ok("delete", record.id, "--yes");
  const wrong = await run(["destroy", "--confirm", "another"]);
  expect(wrong).toMatchObject({ status: 2, stderr: expect.stringContaining(`the shelf is ${name}`) });
  expect(wrong.stderr).toContain("--shelf");
  const { resources } = (await ok("destroy", "--confirm", name, "--json")).json();
  expect(resources).toMatchObject([
    { kind: "shelf", action: "removed" },
    { kind: "ledger", action: "removed" },
  ]);
  expect([shelves.has(name), ledgers.has(name)]).toEqual([false, false]);
});

describe("the settings of the drivers", () => {
  test("are flags, variables, keys and profiles, and say where they come from", async () => {
    const { sandbox, name } = await openShelf();
    expect(settingNames).toEqual(expect.arrayContaining(["shelf", "shelfLimit", "ledger"]));
    const config = async (argv: string[], env: Record<string, string> = {}) => {
      const { settings } = (await runDocproc(sandbox, ["config", "--json", ...argv], { env })).json();
      return (setting: string) => settings.find((one: { name: string }) => one.name === setting);
    };
    const byFlag = await config(["--shelf", name]);
    expect(byFlag("storage")).toEqual({ name: "storage", value: "memory", origin: "--shelf" });
    expect(byFlag("metadata")).toEqual({ name: "metadata", value: "memory", origin: "--shelf" });
    expect(byFlag("ledger")).toEqual({ name: "ledger", value: name, origin: "--shelf" });
    expect(byFlag("shelfLimit")).toEqual({ name: "shelfLimit", value: 100_000_000, origin: "default" });
    const byVariable = await config([], { DOCPROC_SHELF: name, DOCPROC_SHELF_LIMIT: "5", DOCPROC_LEDGER: "apart" });
    expect(byVariable("shelf")).toMatchObject({ value: name, origin: "DOCPROC_SHELF" });
    expect(byVariable("shelfLimit")).toMatchObject({ value: 5, origin: "DOCPROC_SHELF_LIMIT" });
    expect(byVariable("ledger")).toMatchObject({ value: "apart", origin: "DOCPROC_LEDGER" });
    await writeFile(join(sandbox.cwd, ".docprocrc.json"), JSON.stringify({ profiles: { desk: { shelf: name } } }));
    expect((await config(["--use", "desk"]))("storage")).toMatchObject({
      value: "memory",
      origin: expect.stringContaining("profile desk"),
    });
    const refused = await runDocproc(sandbox, ["config", "--shelf-limit", "none"]);
    expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining("whole number") });
  });

  test("stand in the help and in completion", async () => {
    const { sandbox } = await openShelf();
    const { stdout } = await runDocproc(sandbox, ["--help"]);
    expect(stdout).toMatch(/--shelf <name> +shelf in memory/);
    expect(stdout).toMatch(/--shelf-limit <bytes>/);
    expect(stdout).toMatch(/--storage <kind> +.*local,\s+s3\s+or\s+memory/);
    expect(stdout).toMatch(/--ledger <name>/);
    const complete = async (...words: string[]) =>
      (await runDocproc(sandbox, ["complete", "bash", "--", ...words])).stdout.split("\n").map((line) => line.trim());
    expect(await complete("list", "--she")).toEqual(expect.arrayContaining(["--shelf", "--shelf-limit"]));
    expect(await complete("list", "--storage", "mem")).toContain("memory");
  });

  test("limit what is stored", async () => {
    const { ok, run, write } = await openShelf();
    await ok("init");
    const outcome = await run(["upload", await write("large.txt", "much too long"), "--shelf-limit", "5"]);
    expect(outcome).toMatchObject({ status: 2, stderr: expect.stringContaining("more than 5 bytes") });
  });
});

test("an order that the catalog cannot list in is refused, with another way", async () => {
  const { run } = await openStocked();
  const { status, stderr } = await run(["list", "--sort", "size"]);
  expect([status, stderr]).toEqual([2, expect.stringMatching(/a ledger in memory would have to read everything.*jq/s)]);
});

test("policy and url are refused, and say why", async () => {
  const { run } = await openStocked();
  const policy = await run(["policy", "upload"]);
  expect(policy).toMatchObject({ status: 2, stderr: expect.stringContaining("not on AWS") });
  const url = await run(["url", "report.txt"]);
  expect(url).toMatchObject({ status: 2, stderr: expect.stringContaining("docproc download") });
});

test("completion offers what the catalog in memory knows", async () => {
  const { sandbox, name } = await openStocked();
  const { stdout } = await runDocproc(sandbox, ["complete", "bash", "--", "--shelf", name, "show", "rep"]);
  expect(stdout).toContain("report.txt");
});

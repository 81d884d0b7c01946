/** Directories that hold what is not docproc's: none of it is removed, replaced, moved, re-moded or written through. */
import { execFileSync } from "node:child_process";
import { chmod, chown, lstat, mkdir, readdir, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { dirname, join } from "node:path";
import { DynamoDBClient, PutItemCommand, ScanCommand } from "@aws-sdk/client-dynamodb";
import { CreateMultipartUploadCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { DatabaseSync } from "@photostructure/sqlite";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { newDocumentId } from "../../src/document/record.ts";
import { temporaryIn } from "../../src/files/removal.ts";
import { type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { picture } from "../support/picture.ts";
import { docproc } from "../support/process.ts";
import { openInterrupted, openResumable } from "../support/resumable.ts";
import { makeSandbox, runDocproc, type Sandbox } from "../support/run.ts";

const monthAgo = new Date(Date.now() - 30 * 86_400_000);

/** Makes a file of another program, a month old. */
async function plant(path: string, content: string | Uint8Array = "theirs"): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
  await utimes(path, monthAgo, monthAgo);
}

describe("a state directory that holds other things, too", () => {
  let aws: InRepoAws;
  beforeAll(async () => {
    aws = await startInRepoAws();
  });
  afterAll(() => aws.close());

  const hex = "0123456789abcdef0123456789abcdef01234567";

  test("keeps all of it, whatever its names and its age", async () => {
    const { sandbox, upload, write } = await openResumable(aws.endpoint);
    const uploads = join(sandbox.root, "site", "uploads");
    for (const name of ["logo.png", "id_rsa", "2026/old.db", `${hex}.txt`, `${hex}.db`, `${hex}.db-wal`]) {
      await plant(join(uploads, name));
    }
    const theirs = new DatabaseSync(join(uploads, `${hex.replace("0", "f")}.db`));
    theirs.exec("CREATE TABLE theirs (a)");
    theirs.close();
    await utimes(join(uploads, `${hex.replace("0", "f")}.db`), monthAgo, monthAgo);
    await chmod(uploads, 0o755);
    const before = await picture(join(sandbox.root, "site"));
    await write(12);
    expect(await upload(["--state-directory", "../site"])).toMatchObject({ status: 0 });
    expect(await picture(join(sandbox.root, "site"))).toEqual(before);
  });

  test("is pruned of journals alone", async () => {
    const { sandbox, journals, upload, path } = await openInterrupted(aws.endpoint);
    const [journal = ""] = await journals();
    await utimes(journal, monthAgo, monthAgo);
    await plant(join(dirname(journal), `${hex}.db`));
    // What another upload, killed before its first write, has left.
    await plant(join(dirname(journal), `${hex.replace("0", "e")}.db`), "");
    await writeFile(path, "x".repeat(12 * 1024 * 1024));
    expect(await upload(["--name", "other.bin"])).toMatchObject({ status: 0 });
    expect(await readdir(join(sandbox.state, "uploads"))).toEqual([`${hex}.db`]);
  });

  test.each([
    ["is a link", async (uploads: string, outside: string) => await symlink(outside, uploads), "symbolic link"],
    ["is a link that leads nowhere", async (uploads: string) => await symlink("nowhere", uploads), "symbolic link"],
    ["is a file", async (uploads: string) => await plant(uploads), "in the way"],
    ...(userInfo().uid === 0
      ? [
          [
            "is another user's",
            async (uploads: string) => {
              await mkdir(uploads);
              await chown(uploads, 54_321, 54_321);
              await chmod(dirname(uploads), 0o1777);
            },
            "another user",
          ] as const,
        ]
      : []),
  ] as const)(
    "keeps no journal where uploads %s: the upload goes on, and says so with -v",
    async (_what, make, said) => {
      const { sandbox, upload, write } = await openResumable(aws.endpoint);
      const outside = join(sandbox.root, "outside");
      await plant(join(outside, "id_rsa"));
      await plant(join(outside, `${hex}.db`), "");
      await mkdir(sandbox.state);
      await make(join(sandbox.state, "uploads"), outside);
      const before = [await picture(outside), await picture(sandbox.state)];
      await write(12);
      const outcome = await upload(["-v"]);
      expect(outcome).toMatchObject({ status: 0 });
      expect(outcome.stderr).toMatch(new RegExp(`No journal of .+${said}`));
      expect([await picture(outside), await picture(sandbox.state)]).toEqual(before);
    },
  );

  test.each([
    ["a text", async (path: string) => await plant(path, "my diary")],
    ["a damaged database", async (path: string) => await plant(path, `SQLite format 3\0${"x".repeat(9_000)}`)],
    [
      "a database of another program, with a log of what is not in it yet",
      async (path: string) => {
        const theirs = new DatabaseSync(path);
        theirs.exec("PRAGMA journal_mode = WAL; CREATE TABLE theirs (a)");
        const log = await readFile(`${path}-wal`);
        theirs.close();
        await writeFile(`${path}-wal`, log);
      },
    ],
    ["a pipe", async (path: string) => void execFileSync("mkfifo", [path])],
    ["a link to a database", async (path: string) => await symlink("../outside.db", path)],
    ["a directory", async (path: string) => await mkdir(path)],
  ])("keeps %s that has the name of the journal", async (_what, make) => {
    const { sandbox, journals, upload } = await openInterrupted(aws.endpoint);
    const [journal = ""] = await journals();
    await rm(journal);
    new DatabaseSync(join(sandbox.state, "outside.db")).close();
    await make(journal);
    const before = await picture(sandbox.state);
    const outcome = await upload(["-v"]);
    expect(outcome).toMatchObject({ status: 0 });
    expect(outcome.stderr).toContain("No journal of ");
    expect(await picture(sandbox.state)).toEqual(before);
  });

  test.each(["", "theirs/", "theirs/large.iso"])("has a journal that names other objects: %j", async (key) => {
    const { journals, upload, client, bucket, left } = await openInterrupted(aws.endpoint);
    await client.send(new PutObjectCommand({ Bucket: bucket, Key: "theirs/large.iso", Body: "theirs" }));
    const theirs = await client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: "theirs/large.iso" }));
    const [journal = ""] = await journals();
    const database = new DatabaseSync(journal);
    database.prepare("UPDATE upload SET stamp = 'another', key = ?").run(key);
    database.close();
    expect(await upload()).toMatchObject({ status: 0 });
    expect(aws.s3.buckets.get(bucket)?.objects.has("theirs/large.iso")).toBe(true);
    expect(aws.s3.buckets.get(bucket)?.uploads.has(theirs.UploadId ?? "")).toBe(true);
    expect((await left()).documents).toHaveLength(1);
  });
});

/** A library with a document, in `cwd/library`; commands say `--directory library`. */
async function openLibrary() {
  const sandbox = await makeSandbox();
  await writeFile(join(sandbox.cwd, "a.txt"), "a document");
  const run = (...argv: string[]) => runDocproc(sandbox, [...argv, "--directory", "library"]);
  expect(await run("upload", "a.txt")).toMatchObject({ status: 0 });
  return { sandbox, run, library: join(sandbox.cwd, "library") };
}

const deletion = ["delete", "a.txt", "--yes"];
const destruction = ["destroy", "--confirm", "library"];

describe("doctor --repair", () => {
  /** The check that names what docproc did not make, and what was found. */
  async function repair(sandbox: Sandbox) {
    const outcome = await runDocproc(sandbox, ["doctor", "--repair", "--yes", "--directory", "library", "--json"]);
    const { checks, findings, summary } = outcome.json();
    const others = checks.filter(({ check }: { check: string }) => check === "other files");
    return { status: outcome.status, others, findings, summary };
  }

  test("leaves and names what others keep where temporary files are", async () => {
    const { sandbox, library } = await openLibrary();
    const incoming = join(library, "incoming");
    const id = newDocumentId();
    for (const name of ["mail.eml", "sub/deep.txt", id, ".docproc-1.part"]) await plant(join(incoming, name));
    await plant(join(sandbox.root, "photo.jpg"));
    await symlink(sandbox.root, join(incoming, "link"));
    const before = await picture(sandbox.root);
    const { status, others, findings, summary } = await repair(sandbox);
    expect({ status, findings }).toEqual({ status: 0, findings: [] });
    expect(others).toEqual([{ check: "other files", status: "ok", detail: expect.stringContaining(incoming) }]);
    expect(others[0].detail).toMatch(/^5 not created by docproc, left alone: .+ and 2 more$/);
    expect(summary).toMatchObject({ foreign: 5 });
    expect(await picture(sandbox.root)).toEqual(before);
    await plant(temporaryIn(incoming));
    expect((await repair(sandbox)).findings).toMatchObject([{ code: "STALE_UPLOAD", repaired: true }]);
    expect(await picture(sandbox.root)).toEqual(before);
  });

  test("leaves everything in a directory that has no mark of docproc", async () => {
    const sandbox = await makeSandbox();
    const library = join(sandbox.cwd, "library");
    const id = newDocumentId();
    await plant(temporaryIn(join(library, "incoming")));
    await mkdir(join(library, "objects", id.slice(-2), id), { recursive: true });
    for (const path of [`objects/${id.slice(-2)}/${id}`, `objects/${id.slice(-2)}`]) {
      await utimes(join(library, path), monthAgo, monthAgo);
    }
    const before = await picture(library);
    expect(await repair(sandbox)).toMatchObject({ status: 0, findings: [], summary: { foreign: 1 } });
    await symlink("nowhere", join(library, "catalog-id"));
    expect((await repairFails(sandbox)).message).toContain("catalog-id is a symbolic link");
    await rm(join(library, "catalog-id"));
    await plant(join(library, "catalog-id"), "no id\nof ours\n");
    expect(await repair(sandbox)).toMatchObject({ status: 0, findings: [], summary: { foreign: 1 } });
    await rm(join(library, "catalog-id"));
    expect(await picture(library)).toEqual(before);
  });

  const repairFails = async (sandbox: Sandbox) => {
    const outcome = await runDocproc(sandbox, ["doctor", "--repair", "--directory", "library", "--json"]);
    expect(outcome).toMatchObject({ status: 5 });
    return outcome.json();
  };

  test("leaves empty directories of other names", async () => {
    const { sandbox, library } = await openLibrary();
    const id = newDocumentId();
    const digits = id.slice(-2);
    const mine = `objects/${digits}/${id}`;
    const theirs = [`objects/zz/${id}`, `objects/empty`, `objects/${digits}/empty`, `objects/team/${digits}/${id}`];
    for (const path of [mine, ...theirs]) await mkdir(join(library, path), { recursive: true });
    await symlink(sandbox.home, join(library, "objects", "link"));
    for (const path of [mine, ...theirs]) await utimes(join(library, path), monthAgo, monthAgo);
    const { findings, summary } = await repair(sandbox);
    expect(findings).toMatchObject([{ code: "STALE_UPLOAD", name: join(library, mine), repaired: true }]);
    expect(summary).toMatchObject({ foreign: 1 });
    for (const path of theirs) expect((await lstat(join(library, path))).isDirectory()).toBe(true);
    await expect(lstat(join(library, mine))).rejects.toThrow("ENOENT");
  });
});

describe("a table that another program keeps items in", () => {
  test("loses none of them to doctor --repair, whatever their keys look like", async () => {
    const aws = await startInRepoAws();
    onTestFinished(() => aws.close());
    const { run, bucket } = await openResumable(aws.endpoint);
    const client = new DynamoDBClient({ endpoint: aws.endpoint });
    onTestFinished(() => client.destroy());
    const ids = [{}, { id: { S: "42" } }, { id: { S: "" } }, { id: { S: newDocumentId().toUpperCase() } }];
    for (const [index, id] of ids.entries()) {
      const Item = { pk: { S: "path#user" }, sk: { S: `profile-${index}` }, ...id };
      await client.send(new PutItemCommand({ TableName: bucket, Item }));
    }
    const outcome = await run(["doctor", "--repair", "--yes"]);
    expect(outcome).toMatchObject({ status: 0 });
    expect(outcome.json()).toMatchObject({ findings: [], summary: { foreign: ids.length, places: 0 } });
    const { Count } = await client.send(
      new ScanCommand({
        TableName: bucket,
        FilterExpression: "pk = :pk",
        ExpressionAttributeValues: { ":pk": { S: "path#user" } },
      }),
    );
    expect(Count).toBe(ids.length);
  });
});

describe("a link inside a library", () => {
  test.each(["objects", "incoming", "catalog-id", "catalog.db", "catalog.db-journal"])(
    "in place of %s is an error, and nothing behind it is touched",
    async (part) => {
      const { sandbox, run, library } = await openLibrary();
      const outside = join(sandbox.root, "outside");
      await mkdir(outside);
      const target = join(outside, part);
      const isDirectory = part === "objects" || part === "incoming";
      execFileSync("mv", [join(library, part), target]);
      await symlink(target, join(library, part));
      if (isDirectory) await plant(join(target, "mine"));
      else await utimes(target, monthAgo, monthAgo);
      const id = newDocumentId();
      if (part === "objects") await mkdir(join(target, id.slice(-2), id), { recursive: true });
      if (part === "incoming") await plant(temporaryIn(target));
      const before = await picture(sandbox.root);
      for (const argv of [["upload", "a.txt", "--tag", "k=v"], ["doctor", "--repair"], ["init"], destruction]) {
        const outcome = await run(...argv, "--json");
        expect(outcome, argv.join(" ")).toMatchObject({ status: 5 });
        expect(outcome.stdout).toContain('"CONFLICT"');
        expect(outcome.stdout).toContain(`${join(library, part)} is a symbolic link`);
      }
      expect(await picture(sandbox.root)).toEqual(before);
      // What is read from may be anywhere; a catalog is written to by whatever opens it.
      const reads = part.startsWith("catalog.db") ? 5 : 0;
      for (const argv of [["list"], ["cat", "a.txt"], ["verify", "--all"]]) {
        expect(await run(...argv), argv.join(" ")).toMatchObject({ status: reads });
      }
      expect(await picture(sandbox.root)).toEqual(before);
    },
  );

  test("that leads nowhere makes nothing there", async () => {
    for (const part of ["objects", "incoming", "catalog-id", "catalog.db", "catalog.db-journal"]) {
      const sandbox = await makeSandbox();
      await plant(join(sandbox.cwd, "a.txt"));
      await mkdir(join(sandbox.cwd, "library"));
      await symlink(join(sandbox.root, "made"), join(sandbox.cwd, "library", part));
      const outcome = await runDocproc(sandbox, ["upload", "a.txt", "--directory", "library"]);
      expect(outcome, part).toMatchObject({ status: 5 });
      expect(await readdir(sandbox.root)).not.toContain("made");
    }
  });

  test.each([0, 1])("among the objects keeps a document from being removed, %i levels down", async (level) => {
    const { sandbox, run, library } = await openLibrary();
    const objects = join(library, "objects");
    const levels = (await readdir(objects, { recursive: true })).toSorted((a, b) => a.length - b.length);
    const path = join(objects, levels[level] ?? "");
    const outside = join(sandbox.root, "outside");
    execFileSync("mv", [path, outside]);
    await symlink(outside, path);
    const before = await picture(outside);
    expect(await run(...deletion)).toMatchObject({ status: 5, stderr: expect.stringContaining("symbolic link") });
    expect(await run(...destruction)).toMatchObject({ status: 5, stderr: expect.stringContaining("1 other file") });
    expect(await picture(outside)).toEqual(before);
    expect((await lstat(path)).isSymbolicLink()).toBe(true);
  });

  test("above a new object is not written through", async () => {
    const { sandbox, run, library } = await openLibrary();
    const outside = join(sandbox.root, "outside");
    await mkdir(outside);
    await symlink(outside, join(library, "objects", "team"));
    const outcome = await run("upload", "a.txt", "--prefix", "team/in/", "--tag", "k=v");
    expect(outcome).toMatchObject({ status: 5, stderr: expect.stringContaining("objects/team is a symbolic link") });
    expect(await readdir(outside)).toEqual([]);
  });

  test.each(["a pipe", "a directory"])("is as good as %s in place of the catalog", async (what) => {
    const { sandbox } = await openLibrary();
    await mkdir(join(sandbox.cwd, "other"));
    const catalog = join(sandbox.cwd, "other", "catalog.db");
    if (what === "a pipe") execFileSync("mkfifo", [catalog]);
    else await mkdir(catalog);
    for (const argv of [["list"], ["upload", "a.txt"], ["destroy", "--confirm", "other"]]) {
      const outcome = await docproc(sandbox, [...argv, "--directory", "other"]);
      expect(outcome).toMatchObject({ status: 5, stderr: expect.stringContaining(`${catalog} is not a file.`) });
    }
  });
});

describe("destroy", () => {
  test("keeps what has no mark of docproc, and says so", async () => {
    const sandbox = await makeSandbox();
    const site = join(sandbox.cwd, "library");
    await mkdir(join(site, "incoming", "2026", "october"), { recursive: true });
    await mkdir(join(site, "objects", "aa"), { recursive: true });
    const before = await picture(site);
    for (const plan of [["--plan"], []]) {
      const outcome = await runDocproc(sandbox, [...destruction, "--directory", "library", ...plan, "--json"]);
      expect(outcome).toMatchObject({ status: 0 });
      const actions = outcome.json().resources.map(({ action }: { action: string }) => action);
      expect(actions).toEqual(["kept", "gone", "kept"]);
      const { stderr } = await runDocproc(sandbox, [...destruction, "--directory", "library", ...plan]);
      expect(stderr).toContain("is kept: it has no catalog-id, so docproc may not have created it.\n");
      expect(stderr).toContain("is kept: it holds incoming, objects.\n");
      expect(await picture(site)).toEqual(before);
    }
  });

  test.each([
    ["objects/theirs", undefined, "1 other folder"],
    ["incoming/2026/theirs", undefined, "2 other folders"],
    ["incoming/notes.txt", "theirs", "1 other file"],
    ["objects/notes.txt", "theirs", "1 other file"],
  ])("is refused as long as %s is in a library", async (path, content, counted) => {
    const { run, library } = await openLibrary();
    expect(await run(...deletion)).toMatchObject({ status: 0 });
    if (content === undefined) await mkdir(join(library, path), { recursive: true });
    else await plant(join(library, path), content);
    const before = await picture(library);
    for (const plan of [["--plan"], []]) {
      const outcome = await run(...destruction, ...plan);
      expect(outcome).toMatchObject({ status: 5 });
      expect(outcome.stderr).toContain(`The directory ${library} holds ${counted}.`);
    }
    expect(await picture(library)).toEqual(before);
  });

  test("keeps a catalog file that is empty: it may be anyone's", async () => {
    const sandbox = await makeSandbox();
    await plant(join(sandbox.cwd, "library", "catalog.db"), "");
    for (const plan of [["--plan"], []]) {
      const outcome = await runDocproc(sandbox, [...destruction, "--directory", "library", ...plan, "--json"]);
      const actions = outcome.json().resources.map(({ action }: { action: string }) => action);
      expect(actions).toEqual(["gone", "kept", "kept"]);
    }
    expect(await readdir(join(sandbox.cwd, "library"))).toEqual(["catalog.db"]);
  });

  test("removes a library with a prefix as a whole", async () => {
    const sandbox = await makeSandbox();
    await plant(join(sandbox.cwd, "a.txt"));
    const run = (...argv: string[]) =>
      runDocproc(sandbox, [...argv, "--directory", "library", "--prefix", "team/in/", "--json"]);
    expect(await run("upload", "a.txt")).toMatchObject({ status: 0 });
    expect(await run(...deletion)).toMatchObject({ status: 0 });
    const { resources } = (await run(...destruction)).json();
    expect(resources.map(({ action }: { action: string }) => action)).toEqual(["removed", "removed", "removed"]);
    expect(await readdir(sandbox.cwd)).toEqual(["a.txt"]);
  });
});

describe("init", () => {
  test.each([0o755, 0o777, 0o2775])("uses a directory as it is, and says its mode: %o", async (mode) => {
    const sandbox = await makeSandbox();
    const library = join(sandbox.cwd, "library");
    await mkdir(library);
    await chmod(library, mode);
    const isOpen = (mode & 0o022) !== 0;
    const text = mode.toString(8).padStart(4, "0");
    const note = `The directory ${library} is used as it is: others may write to it, as its mode is ${text}.\n`;
    const init = await runDocproc(sandbox, ["init", "--directory", "library"]);
    expect(init).toMatchObject({ status: 0, stderr: isOpen ? note : "" });
    const again = await runDocproc(sandbox, ["init", "--json"]);
    expect(again.json().resources[0]).toEqual({
      kind: "directory",
      name: library,
      action: "exists",
      settings: { mode: text },
    });
    expect((await lstat(library)).mode & 0o7777).toBe(mode);
    await plant(join(sandbox.cwd, "a.txt"));
    expect(await runDocproc(sandbox, ["upload", "a.txt"])).toMatchObject({ status: 0 });
    for (const [name, seen] of Object.entries(await picture(library))) {
      expect(seen, name).toMatch(/^(4[02]700|100600) /);
    }
    // It stays what its owner made it: nothing that is wrong, and that init could mend.
    const doctor = (await runDocproc(sandbox, ["doctor", "--json"])).json();
    const detail = isOpen ? `${library}: others may write to it, as its mode is ${text}` : library;
    expect(doctor.checks).toContainEqual({ check: "directory", status: isOpen ? "weaker" : "ok", detail });
    expect(doctor.findings).toEqual([]);
  });

  test("replaces no config file that is a link", async () => {
    const sandbox = await makeSandbox();
    await plant(join(sandbox.home, "docproc.json"), '{"prefix":"x/"}');
    await symlink(join(sandbox.home, "docproc.json"), join(sandbox.cwd, ".docprocrc.json"));
    const outcome = await runDocproc(sandbox, ["init", "--directory", "library", "--json"]);
    expect(outcome).toMatchObject({ status: 5 });
    expect(outcome.json()).toMatchObject({
      code: "CONFLICT",
      hint: expect.stringContaining('"directory":"./library"'),
    });
    expect((await lstat(join(sandbox.cwd, ".docprocrc.json"))).isSymbolicLink()).toBe(true);
    expect(await readdir(sandbox.cwd)).toEqual([".docprocrc.json"]);
  });

  test("keeps the mode of a config file that it changes", async () => {
    const sandbox = await makeSandbox();
    const path = join(sandbox.cwd, ".docprocrc.json");
    await writeFile(path, "{}", { mode: 0o600 });
    expect(await runDocproc(sandbox, ["init", "--directory", "library"])).toMatchObject({ status: 0 });
    expect((await lstat(path)).mode & 0o777).toBe(0o600);
    expect(await readFile(path, "utf8")).toContain("./library");
  });
});

describe("a download with --force", () => {
  test.each([
    ["a pipe", (path: string) => execFileSync("mkfifo", [path])],
    ["a link to a pipe", (path: string) => symlink("../pipe", path)],
    ["a link to a device", (path: string) => symlink("/dev/null", path)],
  ])("replaces no %s, and reads nothing before it says so", async (_what, make) => {
    const { sandbox, run } = await openLibrary();
    execFileSync("mkfifo", [join(sandbox.root, "pipe")]);
    const target = join(sandbox.cwd, "target");
    await make(target);
    const { ino } = await lstat(target);
    const outcome = await run("download", "a.txt", "--force", "-o", "target", "--json");
    expect(outcome).toMatchObject({ status: 5 });
    expect(outcome.stdout).toContain("is not a file, and docproc replaces only files");
    expect((await lstat(target)).ino).toBe(ino);
    expect((await readdir(sandbox.cwd)).sort()).toEqual(["a.txt", "library", "target"]);
  });
});

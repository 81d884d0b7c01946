/** The program as a process that dies or is interrupted in the middle of an upload, and what the next one makes of it. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Step } from "../../src/core/crash-points.ts";
import { type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { docproc, finish, type SpawnOptions, start } from "../support/process.ts";
import { event, finished, mebibyte, openResumable, partOf, sha256 } from "../support/resumable.ts";

let aws: InRepoAws;
beforeAll(async () => {
  aws = await startInRepoAws();
});
afterAll(() => aws.close());

async function open(mebibytes: number) {
  const library = await openResumable(aws.endpoint);
  const { sandbox, uploading, proxy } = library;
  const flags = ["--parts-in-flight", "4", "--state-directory", sandbox.state];
  const argv = ["upload", "a.bin", "--json", ...uploading, ...flags];
  return {
    ...library,
    bytes: await library.write(mebibytes),
    start: (options?: SpawnOptions) => start(sandbox, argv, options),
    async upload(flags: readonly string[] = [], options?: SpawnOptions) {
      const outcome = await docproc(sandbox, [...argv, ...flags], options);
      return { ...outcome, json: () => JSON.parse(outcome.stdout) };
    },
    /** Lets parts 1 and 2 through and no other, and waits until no more can be done. */
    async stall(begin: () => ChildProcess): Promise<ChildProcess> {
      proxy.inject({ operation: (request) => partOf(request) > 2, action: { kind: "black-hole" } });
      const child = begin();
      // Four parts are in flight at a time: that these four are says that both before them are stored.
      await expect.poll(() => proxy.log.map(partOf)).toEqual(expect.arrayContaining([3, 4, 5, 6]));
      return child;
    },
  };
}

const rest = 20 * mebibyte;
const hint = "Run the same command again; 10.5 MB of 31.5 MB are stored and will not be sent again.";

describe("an upload goes on", () => {
  test("after its process was killed", async () => {
    const { stall, start, proxy, sentParts, upload, left, bytes } = await open(30);
    const child = await stall(start);
    child.kill("SIGKILL");
    await once(child, "close");
    const [id = ""] = (await left()).uploads;
    proxy.clear();
    sentParts();
    expect((await upload()).json().documents).toMatchObject([{ action: "resumed", id, bytesSent: rest }]);
    expect(sentParts()).toEqual([3, 4, 5, 6]);
    expect(await left()).toEqual(finished(id, bytes));
  });

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("after %s, which says how much is stored and exits with %i", async (signal, status) => {
    const { stall, start, proxy, sentParts, upload, left, bytes } = await open(30);
    const child = await stall(start);
    const ended = finish(child);
    child.kill(signal);
    const interrupted = await ended;
    expect(interrupted.status).toBe(status);
    const message = `Interrupted by ${signal}.`;
    expect(JSON.parse(interrupted.stdout).failures).toEqual([{ path: "a.bin", code: "CANCELLED", message, hint }]);
    const { uploads, ...others } = await left();
    expect(others).toEqual({ documents: [], objects: {}, journals: 1 });
    const [id = ""] = uploads;
    proxy.clear();
    sentParts();
    expect((await upload()).json().documents).toMatchObject([{ action: "resumed", id, bytesSent: rest }]);
    expect(sentParts()).toEqual([3, 4, 5, 6]);
    expect(await left()).toEqual(finished(id, bytes));
  });
});

describe("a process that died between the commit and its last word", () => {
  const dieAt = (step: Step): SpawnOptions => {
    const hook = `import { subscribe } from "node:diagnostics_channel";
      subscribe("docproc:step", (step) => step === "${step}" && process.kill(process.pid, "SIGKILL"));`;
    return { node: ["--import", `data:text/javascript,${encodeURIComponent(hook)}`] };
  };
  const ways: [string, number, string][] = [
    ["in parts", 16, "5MiB"],
    ["in one piece", 9, "16MiB"],
  ];

  test.each(ways)("has stored its document, sent %s", async (_how, mebibytes, partSize) => {
    const { upload, sentParts, left, bytes } = await open(mebibytes);
    expect(await upload(["--part-size", partSize], dieAt("record-committed"))).toMatchObject({ status: "SIGKILL" });
    const [id = ""] = (await left()).documents;
    expect(await left()).toMatchObject({ ...finished(id, bytes), journals: expect.any(Number) });
    sentParts();
    const again = await upload(["--part-size", partSize]);
    expect(again.json().documents).toMatchObject([{ action: "unchanged", id, bytesSent: 0 }]);
    expect(sentParts()).toEqual([]);
    expect(await left()).toEqual(finished(id, bytes));
  });

  test.each(ways)(
    "has stored it for good: to store again makes another, copied from what was sent %s",
    async (_how, mebibytes, partSize) => {
      const { upload, left, bytes } = await open(mebibytes);
      const flags = ["--part-size", partSize, "--on-duplicate", "store"];
      expect(await upload(flags, dieAt("record-committed"))).toMatchObject({ status: "SIGKILL" });
      const [first = ""] = (await left()).documents;
      const [second] = (await upload(flags)).json().documents;
      expect(second).toMatchObject({ action: "uploaded", bytesSent: 0 });
      expect(second.id).not.toBe(first);
      const digest = sha256(bytes);
      const objects = { [first]: digest, [second.id]: digest };
      expect(await left()).toEqual({ documents: [second.id, first], objects, uploads: [], journals: 0 });
    },
  );

  test.each(ways)(
    "has stored it for good: another that fails does not damage it, sent %s",
    async (_how, mebibytes, partSize) => {
      const { proxy, upload, left, bytes } = await open(mebibytes);
      const flags = ["--part-size", partSize, "--on-duplicate", "store"];
      expect(await upload(flags, dieAt("record-committed"))).toMatchObject({ status: "SIGKILL" });
      const [first = ""] = (await left()).documents;
      proxy.inject({
        operation: "TransactWriteItems",
        action: { kind: "status", status: 400, code: "ValidationException" },
      });
      expect(await upload(flags)).toMatchObject({ status: 1 });
      expect(await left()).toMatchObject({ documents: [first], objects: { [first]: sha256(bytes) } });
    },
  );
});

test("a journal is private and holds no credentials, whatever the umask", async () => {
  const { sandbox, stall, start } = await open(30);
  const secrets = {
    AWS_SECRET_ACCESS_KEY: "remember-me-not",
    AWS_SESSION_TOKEN: "nor-me",
    AWS_ACCESS_KEY_ID: "AKIANORME",
  };
  const node = ["--import", "data:text/javascript,process.umask(0)"];
  await stall(() => start({ env: secrets, node }));
  const entries = await readdir(sandbox.state, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  expect(files).toHaveLength(2);
  for (const entry of [sandbox.state, ...entries.map((one) => join(one.parentPath, one.name))]) {
    const mode = (await stat(entry)).mode & 0o777;
    expect({ entry, mode: mode.toString(8) }).toEqual({ entry, mode: files.includes(entry) ? "600" : "700" });
  }
  const content = (await Promise.all(files.map((file) => readFile(file, "latin1")))).join("");
  expect(content).toContain("etag");
  for (const secret of Object.values(secrets)) expect(content).not.toContain(secret);
});

test("two processes that upload the same at once end in one document, with an interrupted upload before them", async () => {
  const { proxy, stall, start, upload, library, left, bytes } = await open(30);
  const killed = await stall(start);
  killed.kill("SIGKILL");
  await once(killed, "close");
  proxy.clear();
  proxy.log.length = 0;
  const done = event();
  proxy.inject({ operation: (request) => partOf(request) > 2, action: { kind: "hold", until: done.happened } });
  const first = finish(start());
  await expect.poll(() => proxy.log.map(partOf)).toContain(3);
  const second = await upload(library(aws.endpoint));
  done.happen();
  const [faster] = second.json().documents;
  expect(faster).toMatchObject({ action: "uploaded", bytesSent: 30 * mebibyte });
  const slower = JSON.parse((await first).stdout).documents;
  expect(slower).toMatchObject([{ action: "unchanged", id: faster.id, bytesSent: rest }]);
  expect(await left()).toEqual(finished(faster.id, bytes));
});

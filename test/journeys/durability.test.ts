/** In which order bytes, names and records become durable: a power failure keeps a beginning of it, whichever. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import promises, { type FileHandle, writeFile } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { dirname, join, relative } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { makeSandbox, runDocproc, type Sandbox } from "../support/run.ts";
import { placeOf } from "../support/through-handle.ts";

/** What the program does below a directory that a power failure could undo, in order; until the test ends. */
function traceOf(root: string): string[] {
  const trace: string[] = [];
  const { open, link, rename } = promises;
  const name = (path: unknown) =>
    relative(root, placeOf(String(path))).replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "ID");
  const watched = async (...args: Parameters<typeof open>): Promise<FileHandle> => {
    const handle = await open(...args);
    const sync = handle.sync.bind(handle);
    handle.sync = async () => {
      await sync();
      trace.push(`flush ${name(args[0])}`);
    };
    return handle;
  };
  const replacement = {
    open: watched,
    link: async (...[from, to]: Parameters<typeof link>) => {
      await link(from, to);
      trace.push(`name ${name(to)}`);
    },
    rename: async (...[from, to]: Parameters<typeof rename>) => {
      await rename(from, to);
      trace.push(`name ${name(to)}`);
    },
  };
  const onStep = (step: unknown) => void trace.push(`step ${step}`);
  Object.assign(promises, replacement);
  syncBuiltinESMExports();
  subscribe("docproc:step", onStep);
  onTestFinished(() => {
    Object.assign(promises, { open, link, rename });
    syncBuiltinESMExports();
    unsubscribe("docproc:step", onStep);
  });
  return trace;
}

async function upload({ cwd }: Sandbox, run: () => ReturnType<typeof runDocproc>) {
  await writeFile(join(cwd, "a.txt"), "hello");
  const outcome = await run();
  expect(outcome.status).toBe(0);
  return outcome;
}

test("an upload flushes its bytes, then names them, then flushes the names, and only then commits", async () => {
  const sandbox = await makeSandbox();
  const trace = traceOf(sandbox.data);
  const [{ uri }] = (await upload(sandbox, () => runDocproc(sandbox, ["upload", "a.txt", "--json"]))).json().documents;
  const shard = uri.split("/").at(-3);
  const order = trace.filter((entry) => !/catalog-id|local-file|source-read|journal/.test(entry));
  // The first flush of a temporary file is that of the library's own mark.
  expect(order.filter((entry) => entry.startsWith("flush incoming"))).toHaveLength(2);
  expect(order.slice(order.lastIndexOf("flush incoming/.docproc-ID.part"))).toEqual([
    "flush incoming/.docproc-ID.part",
    `name objects/${shard}/ID/a.txt`,
    ...[`objects/${shard}/ID`, `objects/${shard}`, "objects", ""].map((directory) => `flush ${directory}`),
    "step bytes-proved",
    "step record-committed",
  ]);
});

test("a download flushes its bytes before they get their name, and the name after it", async () => {
  const sandbox = await makeSandbox();
  await upload(sandbox, () => runDocproc(sandbox, ["upload", "a.txt"]));
  const trace = traceOf(sandbox.cwd);
  const download = await runDocproc(sandbox, ["download", "a.txt", "-o", "copy.txt"]);
  expect(download.status).toBe(0);
  expect(trace).toEqual([
    "step download-begun",
    "step download-checked",
    "flush .docproc-ID.part",
    "name copy.txt",
    "step download-published",
    "flush ",
  ]);
});

test("a download flushes the folder in which another was made, before anything is in that", async () => {
  const sandbox = await makeSandbox();
  await upload(sandbox, () => runDocproc(sandbox, ["upload", "a.txt", "--name", "one/two/a.txt"]));
  const trace = traceOf(sandbox.cwd);
  expect((await runDocproc(sandbox, ["download", "--all", "-o", "out"])).status).toBe(0);
  expect(trace).toEqual([
    ...["", "out", "out/one"].map((directory) => `flush ${directory}`),
    "step download-begun",
    "step download-checked",
    "flush out/one/two/.docproc-ID.part",
    "name out/one/two/a.txt",
    "step download-published",
    "flush out/one/two",
  ]);
});

test("a removal takes the record first, and flushes the directory that the bytes were in", async () => {
  const sandbox = await makeSandbox();
  const uploaded = await upload(sandbox, () => runDocproc(sandbox, ["upload", "a.txt", "--json"]));
  const key = uploaded.json().documents[0].uri.split("/objects/")[1];
  const trace = traceOf(sandbox.data);
  expect((await runDocproc(sandbox, ["delete", "a.txt", "--yes"])).status).toBe(0);
  const directory = dirname(key).replace(/[^/]+$/, "ID");
  expect(trace).toEqual(["step record-removed", `flush objects/${directory}`, "step bytes-removed"]);
});

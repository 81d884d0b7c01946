/** What the sweeps do with a library, see sweep.ts. Each run has documents of its own. */
import { createHash, randomBytes } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { onTestFinished } from "vitest";
import { awsSettings, type InRepoAws } from "./aws.ts";
import { soak } from "./nth-call.ts";
import { awsState, digestOf } from "./oracle.ts";
import { makeSandbox, type Outcome, runDocproc } from "./run.ts";
import { flipBit } from "./stored.ts";
import type { Attempt, Library, Scenario } from "./sweep.ts";

const mebibyte = 1024 * 1024;
/** Sent in three parts, in two parts, and in one piece. */
const large = randomBytes(12 * mebibyte);
const twoParts = large.subarray(0, 6 * mebibyte);
const small = Buffer.from("a small document\n");
const several = [
  small,
  Buffer.from("another"),
  Buffer.alloc(0),
  ...(soak ? Array.from({ length: 9 }, () => small) : []),
];
const parts = ["--part-size", "5MiB"];

function uploading(name: string, contents: readonly Buffer[], flags: readonly string[] = []): Scenario {
  const digests = contents.map((bytes) => createHash("sha256").update(bytes).digest("hex"));
  return {
    name,
    async prepare({ sandbox }, n) {
      const files = contents.map((_, index) => `${n}-${index}.bin`);
      for (const [index, file] of files.entries()) await writeFile(join(sandbox.cwd, file), contents[index] ?? "");
      return {
        argv: ["upload", ...files, ...parts, ...flags],
        async again(second) {
          if (second.status !== 0) return [`failed: ${second.stderr}`];
          const { documents } = second.json() as { documents: { name: string; sha256: string }[] };
          const wrong = (await readdir(join(sandbox.state, "uploads")).catch(() => [])).map(
            (name) => `the journal ${name} is still there`,
          );
          for (const [index, file] of files.entries()) {
            const found = documents.filter((one) => one.name === file && one.sha256 === digests[index]);
            if (found.length !== 1) wrong.push(`not one document ${file}: ${second.stdout}`);
          }
          return wrong;
        },
      };
    },
  };
}

/** Stores a document and answers with its id. */
async function store({ sandbox, run }: Library, name: string, bytes: Buffer): Promise<string> {
  const file = basename(name);
  await writeFile(join(sandbox.cwd, file), bytes);
  const outcome = await run(["upload", file, "--name", name, ...parts, "--json"]);
  if (outcome.status !== 0) throw new Error(`nothing to go on with: ${outcome.stderr}`);
  return outcome.json().documents[0].id;
}

/** A document whose stored bytes are gone or wrong, and whose file is uploaded again. */
function restoring(name: string, bytes: Buffer, change: (bytes: Buffer) => Buffer | null): Scenario {
  const digest = createHash("sha256").update(bytes).digest("hex");
  return {
    name,
    async prepare(library, n): Promise<Attempt> {
      const file = `${n}.bin`;
      const needs = await store(library, file, bytes);
      await library.state.damage(needs, change);
      const before = await digestOf(library.state, needs);
      return {
        argv: ["upload", file, ...parts],
        needs,
        restores: needs,
        async afterwards(outcome) {
          const found = await digestOf(library.state, needs);
          const allowed = outcome.status === 0 ? [digest] : [digest, before];
          return allowed.includes(found) ? [] : [`its object is neither what it was nor restored: ${found}`];
        },
        async again(second, first) {
          if (second.status !== 0) return [`failed: ${second.stderr}`];
          const [{ id, action }] = second.json().documents;
          const wrong = id === needs ? [] : [`another document: ${second.stdout}`];
          // After a failure it may have been put back, and the answer was lost.
          const allowed = first.status === 0 ? ["unchanged"] : ["restored", "unchanged"];
          if (!allowed.includes(action)) wrong.push(`it is ${action}`);
          if ((await digestOf(library.state, needs)) !== digest) wrong.push("it is not restored");
          return wrong;
        },
      };
    },
  };
}

/** The bytes of the first version after those of a second: they are copied inside the storage. */
function repeating(name: string, bytes: Buffer): Scenario {
  return {
    name,
    async prepare(library, n): Promise<Attempt> {
      const file = `${n}.bin`;
      const first = await store(library, file, bytes);
      const second = await store(library, file, Buffer.from("the second version"));
      await writeFile(join(library.sandbox.cwd, file), bytes);
      return {
        argv: ["upload", file, ...parts],
        needs: [first, second],
        async afterwards(outcome, failed) {
          if (failed !== undefined) return [];
          const [{ action, bytesSent }] = outcome.json().documents;
          return action === "uploaded" && bytesSent === 0 ? [] : [`it was not copied: ${outcome.stdout}`];
        },
        async again(third) {
          if (third.status !== 0) return [`failed: ${third.stderr}`];
          const [{ id }] = third.json().documents;
          const wrong = id > second ? [] : [`it is no newer version: ${third.stdout}`];
          const { documents } = (await library.run(["list", "--name", file, "--json"])).json();
          if (documents.length !== 3 || documents[0].id !== id) wrong.push("there are not three versions");
          return wrong;
        },
      };
    },
  };
}

/** A document that many runs need, stored once in each library. */
function storedOnce(name: string, bytes: Buffer): (library: Library) => Promise<string> {
  const ids = new WeakMap<Library, Promise<string>>();
  return async (library) => {
    const id = ids.get(library) ?? store(library, name, bytes);
    ids.set(library, id);
    return await id;
  };
}

function downloading(name: string, bytes: Buffer): Scenario {
  const file = "document.bin";
  const stored = storedOnce(file, bytes);
  return {
    name,
    async prepare(library, n): Promise<Attempt> {
      const needs = await stored(library);
      const directory = join(library.sandbox.cwd, `out-${n}`);
      const entries = async () => await readdir(directory).catch(() => []);
      // Where what fails is the removal of what has served its purpose, that is still there.
      let hidden = /^$/;
      const wrong = async ({ status, stderr }: Outcome): Promise<string[]> => {
        const found = (await entries()).filter((name) => !hidden.test(name));
        if (status !== 0) return found.length === 0 ? [] : [`failed and left ${found.join(", ")}: ${stderr}`];
        if (found.join() !== file) return [`the directory holds ${found.join(", ")}`];
        return (await readFile(join(directory, file))).equals(bytes) ? [] : ["the file holds other bytes"];
      };
      return {
        argv: ["download", file, "-o", `out-${n}/`],
        needs,
        async afterwards(outcome, failed) {
          if (/^(lstat|unlink) .+\.part$/.test(failed ?? "")) hidden = /^\.docproc-.+\.part$/;
          return await wrong(outcome);
        },
        async again(second, first) {
          if (second.status !== 0) return [`exit ${second.status}, ${second.stderr}`];
          const { action } = second.json().documents[0];
          const expected = first.status === 0 ? "present" : "downloaded";
          return action === expected ? await wrong(second) : [`it is ${action} when it is asked for again`];
        },
      };
    },
  };
}

/** Documents in folders, of which some may arrive and others not. */
function downloadingFolders(name: string, contents: Readonly<Record<string, Buffer>>): Scenario {
  const paths = Object.keys(contents).sort();
  const stored = Object.fromEntries(paths.map((path) => [path, storedOnce(path, contents[path] ?? Buffer.alloc(0))]));
  return {
    name,
    async prepare(library, n): Promise<Attempt> {
      const needs: string[] = [];
      for (const path of paths) needs.push((await stored[path]?.(library)) ?? "");
      const directory = join(library.sandbox.cwd, `out-${n}`);
      const files = async () => {
        const found = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => []);
        return found
          .filter((one) => !one.isDirectory())
          .map((one) => relative(directory, join(one.parentPath, one.name)));
      };
      let hidden = /^$/;
      const wrong = async ({ status, stderr }: Outcome): Promise<string[]> => {
        const found = (await files()).filter((path) => !hidden.test(path));
        const isRight = async (path: string) => contents[path]?.equals(await readFile(join(directory, path))) ?? false;
        const strange = [];
        for (const path of found) if (!(await isRight(path))) strange.push(`${path} is there, or holds other bytes`);
        if (status === 0 && found.length < paths.length) strange.push(`only ${found.join(", ")} arrived: ${stderr}`);
        return strange;
      };
      let before: string[] = [];
      return {
        argv: ["download", "--under", "folder", "-o", `out-${n}`],
        needs,
        async afterwards(outcome, failed) {
          if (/^(lstat|unlink) .+\.part$/.test(failed ?? "")) hidden = /(^|\/)\.docproc-[^/]+\.part$/;
          before = (await files()).filter((path) => paths.includes(path)).sort();
          return await wrong(outcome);
        },
        async again(second) {
          if (second.status !== 0) return [`exit ${second.status}, ${second.stderr}`];
          const { documents } = second.json() as { documents: { path: string; action: string }[] };
          const present = documents.filter(({ action }) => action === "present").map(({ path }) => path);
          const asThere = present.sort().join() === before.join() ? [] : [`present: ${present}, and not ${before}`];
          return [...asThere, ...(await wrong(second))];
        },
      };
    },
  };
}

/** From a library that is not swept itself, beside the one that is. */
function copying(name: string, bytes: Buffer): Scenario {
  return {
    name,
    async prepare({ sandbox }, n) {
      const [origin, file] = [join(sandbox.cwd, "origin"), `${n}.bin`];
      const path = join(sandbox.cwd, ".docprocrc.json");
      const config = JSON.parse(await readFile(path, "utf8").catch(() => "{}"));
      await writeFile(
        path,
        JSON.stringify({ ...config, partSize: "5MiB", profiles: { origin: { directory: origin } } }),
      );
      await writeFile(join(sandbox.cwd, file), bytes);
      const { status, json } = await runDocproc(sandbox, ["upload", file, "--directory", origin, "--json"]);
      if (status !== 0) throw new Error(`nothing to copy: ${JSON.stringify(json())}`);
      const { id } = json().documents[0];
      return {
        argv: ["copy", id, "--from", "origin"],
        async again(second) {
          if (second.status !== 0) return [`failed: ${second.stderr}`];
          const left = await readdir(join(sandbox.state, "uploads")).catch(() => []);
          const wrong = left.map((journal) => `the journal ${journal} is still there`);
          return second.json().documents[0].id === id ? wrong : [...wrong, `another document: ${second.stdout}`];
        },
      };
    },
  };
}

/** From another catalog over the same bucket. */
export const importing: Scenario = {
  name: "importing a record",
  async prepare({ sandbox, run }, n) {
    const [document, file] = [`${n}.bin`, `${n}.ndjson`];
    const other = ["--metadata", "local", "--directory", join(sandbox.root, `catalog-${n}`)];
    await writeFile(join(sandbox.cwd, document), small);
    const uploaded = await run(["upload", document, ...other, "--json"]);
    const { status, stdout, stderr } = await run(["export", ...other]);
    if (status !== 0) throw new Error(`nothing to import: ${stderr}`);
    await writeFile(join(sandbox.cwd, file), stdout);
    const { id } = uploaded.json().documents[0];
    return {
      argv: ["import", file],
      async again(second) {
        if (second.status !== 0) return [`failed: ${second.stderr}`];
        return second.json().documents[0].id === id ? [] : [`another document: ${second.stdout}`];
      },
    };
  },
};

export const deleting: Scenario = {
  name: "deleting a document",
  async prepare(library, n) {
    const removes = await store(library, `${n}.bin`, small);
    return {
      argv: ["delete", removes, "--yes"],
      removes,
      async again(second) {
        return second.status === 0 || second.status === 3 ? [] : [`exit ${second.status}, ${second.stderr}`];
      },
    };
  },
};

export const tagging: Scenario = {
  name: "tagging a document",
  async prepare(library, n) {
    const needs = await store(library, `${n}.bin`, small);
    return {
      argv: ["tag", needs, "a=1"],
      needs,
      async again(second) {
        if (second.status !== 0) return [`exit ${second.status}, ${second.stderr}`];
        const found = await library.run(["list", "--tag", "a=1", "--name", `${n}.bin`, "--json"]);
        const same = found.json().documents.map(({ id }: { id: string }) => id);
        return same.join() === needs && second.json().tags["a"] === "1" ? [] : [`not tagged: ${found.stdout}`];
      },
    };
  },
};

export const initialising: Scenario = {
  name: "init",
  async prepare({ sandbox }) {
    return {
      argv: ["init"],
      async again(second) {
        if (second.status !== 0) return [`failed: ${second.stderr}`];
        const file = await readFile(join(sandbox.cwd, ".docprocrc.json"), "utf8").catch(() => "");
        return file.includes('"storage"') ? [] : [`the config file is not there: ${second.stdout}`];
      },
    };
  },
};

const listed = storedOnce("document.bin", small);
const listingWith = (name: string, argv: string[]): Scenario => ({
  name,
  async prepare(library) {
    const needs = await listed(library);
    const wrong = async (outcome: Outcome) =>
      outcome.status !== 0 || outcome.json().documents[0]?.id === needs ? [] : [`incomplete: ${outcome.stdout}`];
    return { argv: ["list", ...argv], needs, afterwards: wrong, again: wrong };
  },
});
export const listing = listingWith("listing documents", ["--all"]);
export const listingOneName = listingWith("listing documents of one name", ["--name", "document.bin"]);

export const uploadingOne = uploading("uploading a small file", [small]);
export const uploadingLarge = uploading("uploading a large file", [large]);
export const uploadingSeveral = uploading("uploading several files", several);
/** So many that they share requests to the catalog. */
const atOnce = Array.from({ length: 6 }, (_, index) => Buffer.from(`document ${index}`));
export const uploadingAtOnce = uploading("uploading small files at once", atOnce, ["--concurrency", "6"]);
export const restoringMissing = restoring("putting back a small document that is gone", small, () => null);
export const restoringWrong = restoring("putting back a large document that is damaged", twoParts, flipBit);
export const repeatingOne = repeating("repeating a small version", small);
export const repeatingLarge = repeating("repeating a large version", twoParts);
export const downloadingOne = downloading("downloading a small document", small);
export const copyingOne = copying("copying a small document", small);
export const copyingLarge = copying("copying a large document", large);
export const downloadingLarge = downloading("downloading a large document", large);
export const downloadingTree = downloadingFolders("downloading folders", {
  "folder/a/small.bin": small,
  "folder/a/b/other.bin": Buffer.from("other"),
});

/**
 * A library of its own on the servers of this repository, until the test ends.
 * @param endpoint the servers', or that of a proxy in front of them
 * @param flags for every command
 */
export async function awsLibrary(aws: InRepoAws, endpoint: string, flags: readonly string[]): Promise<Library> {
  const sandbox = await makeSandbox();
  const bucket = awsSettings("").bucket ?? "";
  // Large files of many sweeps would fill the memory.
  onTestFinished(() => void aws.s3.buckets.delete(bucket));
  const run: Library["run"] = async (argv, options) =>
    await runDocproc(sandbox, [...argv, "--endpoint-url", endpoint, "--bucket", bucket, ...flags], options);
  return { sandbox, state: awsState(aws, bucket), run };
}

/** The same, made ready for documents. */
export async function initialised(library: Library): Promise<Library> {
  const { status, stderr } = await library.run(["init"]);
  if (status !== 0) throw new Error(`no library to begin with: ${stderr}`);
  return library;
}

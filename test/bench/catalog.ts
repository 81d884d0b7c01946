/** What an embedded library of a million records takes, beside one of a thousand. */
import { mkdir, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { openDatabase } from "../../src/files/sqlite.ts";
import { metadataDrivers } from "../../src/metadata/registry.ts";
import { localSettings } from "../support/aws.ts";
import type { Bench, Case } from "./cases.ts";
import { docproc, plain } from "./peers.ts";

const megabyte = 1_000_000;
const large = 1_000_000;
const small = 1000;
/** What is asked for has to come at this rate, start-up included. */
const recordsPerSecond = 100_000;
/** Milliseconds between the oldest and the newest record. */
const age = 365 * 24 * 3_600_000;

/**
 * Every tenth record is an invoice; of the others, those of the older half have other names than those of the newer one.
 * All of them have a tag, half of them another, a hundred have a build in common, and only the four oldest are rare.
 */
const records = `
  WITH RECURSIVE
    numbers(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :count),
    times AS (SELECT n, :begin + n * :age / :count AS time, lower(hex(randomblob(32))) AS random FROM numbers),
    named AS (
      SELECT n, random,
        printf('%08x-%04x-7%s-8%s-%s', time >> 16, time & 0xffff, substr(random, 1, 3), substr(random, 4, 3),
          substr(random, 7, 12)) AS id,
        CASE
          WHEN n % 10 = 0 THEN printf('invoice-%07d.pdf', n)
          WHEN n * 2 < :count THEN printf('old-%07d.png', n)
          ELSE printf('report-%07d.txt', n)
        END AS name
      FROM times)
  INSERT INTO documents
  SELECT id, name, lower(hex(randomblob(32))), n,
    CASE substr(name, -3) WHEN 'pdf' THEN 'application/pdf' WHEN 'png' THEN 'image/png' ELSE 'text/plain' END,
    random, 'file:///home/ada/.local/share/docproc/objects/' || substr(id, -2) || '/' || id || '/' || name,
    json_patch(
      json_object('all', 'yes', 'build', CAST(n / 100 AS TEXT), 'half', CAST(n % 2 AS TEXT)),
      CASE WHEN n % 2 = 1 THEN '{"odd":"yes"}' WHEN n < 8 THEN '{"rare":"yes"}' ELSE '{}' END),
    '{}', json_object('kind', 'file', 'path', 'docs/' || name, 'modifiedAt', '2026-01-01T00:00:00.000Z'), NULL, NULL
  FROM named`;

/**
 * Makes the catalog of an embedded library with this many records, without their bytes.
 * @param directory of the library; it exists and is empty
 */
export async function fillCatalog(directory: string, count: number): Promise<void> {
  const never = new AbortController().signal;
  for await (const _ of metadataDrivers.local.provision(localSettings(directory), { plan: false, signal: never }));
  const database = await openDatabase(join(directory, "catalog.db"), 0, (made) => {
    made.exec("PRAGMA synchronous = OFF; PRAGMA cache_size = -262144");
    made.prepare(records).run({ count, begin: Date.now() - age, age });
  });
  database.close();
}

/** @returns the directory of a library with so many records, made once */
async function makeCatalog({ scratch, scale }: Bench, unscaled: number): Promise<string> {
  // Only the large one is scaled: a thousand are few already.
  const count = unscaled === small ? small : Math.ceil(unscaled * scale);
  const path = join(scratch, `catalog-${count}`);
  if (await stat(path).catch(() => undefined)) return path;
  const unfinished = `${path}.part`;
  await mkdir(unfinished, { mode: 0o700 });
  await fillCatalog(unfinished, count);
  await rename(unfinished, path);
  return path;
}

/** The id of the record in the middle. */
async function middleOf(directory: string): Promise<string> {
  const database = await openDatabase(join(directory, "catalog.db"), 0, () => {});
  const sql = "SELECT id FROM documents ORDER BY id LIMIT 1 OFFSET (SELECT count(*) / 2 FROM documents)";
  const id = String(Object.values(database.prepare(sql).get() as object)[0]);
  database.close();
  return id;
}

type Argv = readonly string[] | ((directory: string) => Promise<readonly string[]>);

function beside(argv: Argv, about: string) {
  return async (bench: Bench): Promise<Case> => {
    const contender = async (name: string, count: number) => {
      const directory = await makeCatalog(bench, count);
      const words = typeof argv === "function" ? await argv(directory) : argv;
      const command = docproc([...words, "--ndjson"], { ...plain(), HOME: directory, DOCPROC_DIRECTORY: directory });
      return { name, command: async () => command };
    };
    return {
      name: typeof argv === "function" ? about : `docproc ${argv.join(" ")}`,
      about: `${about}, in a large and in a small embedded library`,
      contenders: [await contender("1,000,000 records", large), await contender("1,000 records", small)],
      goals: [{ figure: "wall", to: "1,000 records", atMost: 1.5 }],
    };
  };
}

const page = ["--limit", "50"];

/** Each is run on both libraries. */
export const catalogCases = {
  "catalog-list": beside(["list", ...page], "the newest"),
  "catalog-tag": beside(["list", "--tag", "half=1", ...page], "a tag of half of the records"),
  "catalog-rare-tag": beside(["list", "--tag", "rare=yes", ...page], "a tag of four old records"),
  "catalog-two-tags": beside(["list", "--tag", "all=yes", "--tag", "half=1", ...page], "two tags of many records"),
  "catalog-no-tags": beside(["list", "--tag", "half=0", "--tag", "odd=yes", ...page], "two tags that meet nowhere"),
  "catalog-name": beside(["list", "--name", "inv*", ...page], "names of a tenth of the records"),
  "catalog-old-name": beside(["list", "--name", "old*", ...page], "names of the older half"),
  "catalog-no-name": beside(["list", "--name", "*.zip", ...page], "a glob that begins with a star, for nothing"),
  "catalog-since": beside(["list", "--since", "7d", ...page], "the last week"),
  "catalog-tag-name": beside(["list", "--since", "30d", "--tag", "half=0", "--name", "inv*", ...page], "three filters"),
  "catalog-type": beside(["list", "--type", "image", ...page], "types of the older half"),
  "catalog-size": beside(["list", "--sort", "size", ...page], "the largest"),
  "catalog-size-tag": beside(["list", "--sort", "size", "--tag", "half=1", ...page], "the largest with a tag"),
  "catalog-size-rare": beside(["list", "--sort", "size", "--tag", "rare=yes", ...page], "the largest of four"),
  "catalog-size-no-tags": beside(
    ["list", "--sort", "size", "--tag", "half=0", "--tag", "odd=yes", ...page],
    "the largest with two tags that meet nowhere",
  ),
  "catalog-show": beside(async (directory) => ["show", await middleOf(directory)], "docproc show ID"),
  "catalog-show-prefix": beside(
    async (directory) => ["show", (await middleOf(directory)).slice(0, 13)],
    "docproc show BEGINNING-OF-AN-ID",
  ),
  "catalog-show-name": beside(["show", "invoice-0000500.pdf"], "a name"),

  "catalog-all": async (bench: Bench): Promise<Case> => {
    const directory = await makeCatalog(bench, large);
    const count = Math.ceil(large * bench.scale);
    const env = { ...plain(), HOME: directory, DOCPROC_DIRECTORY: directory };
    return {
      name: "docproc list --all --ndjson",
      about: `${count} records; ${recordsPerSecond} a second would take ${count / recordsPerSecond} s, start-up included`,
      rounds: 3,
      contenders: [{ name: "docproc", command: async () => docproc(["list", "--all", "--ndjson"], env) }],
      goals: [
        { figure: "wall", atMost: count / recordsPerSecond },
        { figure: "peak", atMost: 150 * megabyte },
      ],
    };
  },
};

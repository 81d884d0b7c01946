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
 * Every tenth record is an invoice; of the others, those of the older half have other names than those of the newer one,
 * and those of the newer half have up to four versions of a path. All of them have a tag, half of them another, a hundred
 * have a build in common, and only the four oldest are rare.
 */
const records = `
  WITH RECURSIVE
    numbers(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :count),
    times AS MATERIALIZED (SELECT n, :begin + n * :age / :count AS time, lower(hex(randomblob(32))) AS random FROM numbers),
    named AS (
      SELECT n, random,
        printf('%08x-%04x-7%s-8%s-%s', time >> 16, time & 0xffff, substr(random, 1, 3), substr(random, 4, 3),
          substr(random, 7, 12)) AS id,
        CASE
          WHEN n % 10 = 0 THEN printf('invoice-%07d.pdf', n)
          WHEN n * 2 < :count THEN printf('old-%07d.png', n)
          ELSE printf('report-%07d.txt', n / 4 * 4)
        END AS name,
        CASE
          WHEN n < 8 AND n % 2 = 0 THEN 'Rare/place/'
          WHEN n % 10 = 0 THEN 'invoices/' || (n % 7) || '/'
          WHEN n * 2 < :count THEN 'old/of/' || (n % 1000) || '/'
          ELSE 'reports/' || (n / 10000) || '/'
        END AS folder
      FROM times),
    tagged AS (
      SELECT *, json_patch(
        json_object('all', 'yes', 'build', CAST(n / 100 AS TEXT), 'half', CAST(n % 2 AS TEXT)),
        CASE WHEN n % 2 = 1 THEN '{"odd":"yes"}' WHEN n < 8 THEN '{"rare":"yes"}' ELSE '{"seen":"yes"}' END) AS tags
      FROM named)
  INSERT INTO documents (
    id, path, name, size, content_type, sha256, uri, tags, metadata, source, provenance, crc32, expires_at, given, proved)
  SELECT id, folder || name, name, n,
    CASE substr(name, -3) WHEN 'pdf' THEN 'application/pdf' WHEN 'png' THEN 'image/png' ELSE 'text/plain' END,
    random, 'file:///home/ada/.local/share/docproc/objects/' || substr(id, -2) || '/' || id || '/' || name,
    tags, '{}', json_object('kind', 'file', 'path', 'docs/' || name, 'modifiedAt', '2026-01-01T00:00:00.000Z'),
    CASE WHEN n % 2 = 1 THEN json_object('git', json_object('commit', substr(random, 1, 40), 'branch',
      CASE WHEN n * 2 < :count THEN 'old' ELSE 'main' END, 'dirty', json('false'), 'remote', NULL), 'ci', NULL) END,
    NULL, NULL, tags, 1
  FROM tagged`;

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

/** A column of the record in the middle. */
async function middleOf(directory: string, column: "id" | "path" | "sha256" = "id"): Promise<string> {
  const database = await openDatabase(join(directory, "catalog.db"), 0, () => {});
  const sql = `SELECT ${column} FROM documents ORDER BY id LIMIT 1 OFFSET (SELECT count(*) / 2 FROM documents)`;
  const value = String(Object.values(database.prepare(sql).get() as object)[0]);
  database.close();
  return value;
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
  "catalog-what": beside(["list", "invoice", ...page], "a part of the paths of a tenth of the records"),
  "catalog-rare-what": beside(
    ["list", "rare/pl", ...page],
    "a part of the paths of four old records, in other letters",
  ),
  "catalog-rare-exact": beside(["list", "Rare/pl", ...page], "a part of the paths of four old records"),
  "catalog-no-what": beside(["list", "*nothing*.zip", ...page], "a glob that folds letters, for nothing"),
  "catalog-path": beside(["list", "--path", "old/**/old-*.png", ...page], "paths of the older half"),
  "catalog-path-literal": beside(
    async (directory) => ["list", "--path", await middleOf(directory, "path")],
    "--path PATH",
  ),
  "catalog-no-path": beside(["list", "--path", "**/*.zip", ...page], "a glob for paths, for nothing"),
  "catalog-under": beside(["list", "--under", "old", ...page], "a folder of the older half"),
  "catalog-rare-under": beside(["list", "--under", "Rare/place", ...page], "a folder of four old records"),
  "catalog-sha256": beside(
    async (directory) => ["list", "--sha256", (await middleOf(directory, "sha256")).slice(0, 12)],
    "--sha256 BEGINNING",
  ),
  "catalog-branch": beside(["list", "--branch", "old", ...page], "a branch of a quarter of the records"),
  "catalog-tag-key": beside(["list", "--tag", "seen", ...page], "any tag of a key that half of the records have"),
  "catalog-rare-key": beside(["list", "--tag", "rare", ...page], "any tag of a key that four old records have"),
  "catalog-not-tag": beside(["list", "--not-tag", "odd=yes", ...page], "without a tag that half of the records have"),
  "catalog-not-key": beside(["list", "--not-tag", "seen", ...page], "without any tag of a key that half of them have"),
  "catalog-not-all": beside(["list", "--not-tag", "all=yes", ...page], "without a tag that every record has"),
  "catalog-not-rest": beside(
    ["list", "--tag", "half=0", "--not-tag", "seen=yes", ...page],
    "with a tag, and without one that all but four of these have",
  ),
  "catalog-latest": beside(["list", "--latest", ...page], "the newest of each path"),
  "catalog-sort-path": beside(["list", "--sort", "path", ...page], "by path"),
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
  "catalog-show-path": beside(["show", "invoices/3/invoice-0000500.pdf"], "a path"),

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

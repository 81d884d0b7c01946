/**
 * What has to hold whatever went wrong: every listed document has its bytes, and nothing else is left for good.
 * Looks at files, buckets and tables themselves, never through the code that is tested.
 */
import { createHash } from "node:crypto";
import { readdir, readFile, utimes } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { DynamoDBClient, paginateScan, ResourceNotFoundException } from "@aws-sdk/client-dynamodb";
import { DatabaseSync } from "@photostructure/sqlite";
import type { DocumentRecord } from "../../src/document/record.ts";
import type { InRepoAws } from "./aws.ts";
import { tamper } from "./stored.ts";

/** Milliseconds: more than what a doctor leaves alone. */
export const dayAndAnHour = 25 * 3_600_000;

/** Characters of a document's id. */
const idLength = 36;

export interface LibraryState {
  /** Keys of objects, or paths of files below `objects/`, with their SHA-256. */
  objects(): Promise<Map<string, string>>;
  /** What is in the catalog: ids of documents, and those that have a place among the versions of a path. */
  catalog(): Promise<{ documents: string[]; places: string[] }>;
  /** Multipart uploads, or temporary files and directories for documents that hold none. */
  leftovers(): Promise<string[]>;
  /** Makes all of it a day older. */
  age(): Promise<void>;
  /**
   * Changes the stored bytes of a document behind docproc's back.
   * @param change the bytes that are stored afterwards, or null for none
   */
  damage(id: string, change: (bytes: Buffer) => Buffer | null): Promise<void>;
}

/** The embedded library in a directory. */
export function localState(directory: string): LibraryState {
  const below = async (name: string) => {
    const entries = await readdir(join(directory, name), { recursive: true, withFileTypes: true }).catch(() => []);
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  };
  /** Directories of documents; those above them, which share two digits, are used again. */
  const emptyDirectories = async () => {
    const options = { recursive: true, withFileTypes: true } as const;
    const entries = await readdir(join(directory, "objects"), options).catch(() => []);
    const parents = new Set(entries.map(({ parentPath }) => parentPath));
    return entries
      .filter((entry) => entry.isDirectory() && entry.name.length === idLength)
      .map((entry) => join(entry.parentPath, entry.name))
      .filter((path) => !parents.has(path));
  };
  return {
    async damage(id, change) {
      const path = (await below("objects")).find((one) => one.includes(id)) ?? "";
      await tamper({ uri: pathToFileURL(path).href }, undefined, change);
    },
    async objects() {
      const files = await below("objects");
      const digests = await Promise.all(files.map(async (path) => sha256(await readFile(path))));
      return new Map(files.map((path, index) => [path, digests[index] ?? ""]));
    },
    async catalog() {
      const ids = await readCatalog(join(directory, "catalog.db"));
      // A row is the place as well.
      return { documents: ids, places: ids };
    },
    leftovers: async () => [...(await below("incoming")), ...(await emptyDirectories())],
    async age() {
      const time = new Date(Date.now() - dayAndAnHour);
      const paths = [...(await below("objects")), ...(await below("incoming")), ...(await emptyDirectories())];
      for (const path of paths) await utimes(path, time, time);
    },
  };
}

async function readCatalog(path: string): Promise<string[]> {
  if (!(await readFile(path).catch(() => undefined))) return [];
  const database = new DatabaseSync(path);
  try {
    // The rows of an interrupted transaction are rolled back by opening it.
    const [check] = database.prepare("PRAGMA integrity_check").all() as { integrity_check: string }[];
    if (check?.integrity_check !== "ok") throw new Error(`the catalog is damaged: ${JSON.stringify(check)}`);
    if (!database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'documents'").get()) return [];
    return (database.prepare("SELECT id FROM documents").all() as { id: string }[]).map(({ id }) => id);
  } finally {
    database.close();
  }
}

/** A bucket and a table of the servers of this repository. */
export function awsState(aws: InRepoAws, name: string): LibraryState {
  const bucket = () => aws.s3.buckets.get(name);
  return {
    async damage(id, change) {
      const key = [...(bucket()?.objects.keys() ?? [])].find((one) => one.includes(id));
      await tamper({ uri: `s3://${name}/${key}` }, aws.endpoint, change);
    },
    async objects() {
      return new Map([...(bucket()?.objects ?? [])].map(([key, { body }]) => [key, sha256(body)]));
    },
    async catalog() {
      const client = new DynamoDBClient({ endpoint: aws.endpoint });
      const [documents, places]: [string[], string[]] = [[], []];
      try {
        for await (const { Items = [] } of paginateScan({ client }, { TableName: name, ConsistentRead: true })) {
          for (const { pk, sk, entries } of Items) {
            if (pk?.S?.startsWith("doc#")) documents.push(sk?.S ?? "");
            if (pk?.S?.startsWith("path#")) places.push(...idsIn(entries?.S ?? ""));
          }
        }
      } catch (error) {
        // Before an init there is no table, and so nothing in it.
        if (!(error instanceof ResourceNotFoundException)) throw error;
      } finally {
        client.destroy();
      }
      return { documents, places };
    },
    leftovers: async () => [...(bucket()?.uploads.keys() ?? [])],
    async age() {
      const time = new Date(Date.now() - dayAndAnHour);
      for (const object of bucket()?.objects.values() ?? []) object.lastModified = time;
      for (const upload of bucket()?.uploads.values() ?? []) {
        upload.initiated = time;
        for (const part of upload.parts.values()) part.lastModified = time;
      }
    },
  };
}

/**
 * Everything that is wrong with a library, in sentences; empty for a sound one.
 * @param listed what `docproc list --all --json` says
 * @param garbage whether objects without a record, unfinished uploads and stray places count as wrong
 * @param damaged a document whose bytes may be gone or wrong
 * @param edited whether documents were deleted or tagged, which may leave equal ones side by side
 */
export async function complaints(
  state: LibraryState,
  listed: readonly DocumentRecord[],
  { garbage, damaged, edited = false }: { garbage: boolean; damaged?: string | undefined; edited?: boolean },
): Promise<string[]> {
  const [objects, catalog, leftovers] = await Promise.all([state.objects(), state.catalog(), state.leftovers()]);
  const found: string[] = [];
  const keyOf = (record: DocumentRecord) => keyWith(objects, record.id);
  for (const record of listed) {
    const digest = objects.get(keyOf(record) ?? "");
    if (record.id === damaged) continue;
    if (digest === undefined) found.push(`${record.id} is listed and has no bytes`);
    else if (digest !== record.sha256) found.push(`${record.id} is listed and has other bytes`);
  }
  const ids = listed.map(({ id }) => id).sort();
  if (ids.join() !== catalog.documents.toSorted().join()) found.push("the listing is not what the catalog holds");
  for (const id of edited ? [] : twice(listed)) found.push(`${id} and the version before it are the same`);
  if (catalog.places.length !== new Set(catalog.places).size) found.push("a document has two places");
  for (const id of ids)
    if (!catalog.places.includes(id)) found.push(`${id} has no place among the versions of its path`);
  if (!garbage) return found;
  const owned = new Set(listed.map(keyOf));
  for (const key of objects.keys()) if (!owned.has(key)) found.push(`${key} has no record`);
  for (const name of leftovers) found.push(`${name} was left unfinished`);
  for (const id of catalog.places) if (!ids.includes(id)) found.push(`a place is kept for ${id}, which is not there`);
  return found;
}

/** The SHA-256 of a document's stored bytes; undefined when there are none. */
export async function digestOf(state: LibraryState, id: string): Promise<string | undefined> {
  const objects = await state.objects();
  return objects.get(keyWith(objects, id) ?? "");
}

function keyWith(objects: ReadonlyMap<string, string>, id: string): string | undefined {
  return [...objects.keys()].find((key) => key.includes(`/${id}/`));
}

/** Documents whose bytes are those of the version before: the newest before them of their path and tags. */
function twice(listed: readonly DocumentRecord[]): string[] {
  const newest = new Map<string, string>();
  const found: string[] = [];
  for (const { id, path, tags, sha256: digest } of listed.toSorted((a, b) => (a.id < b.id ? -1 : 1))) {
    const series = JSON.stringify([path, Object.entries(tags).sort()]);
    if (newest.get(series) === digest) found.push(id);
    newest.set(series, digest);
  }
  return found;
}

/** The ids in the versions of a path as the table keeps them: entries of 52 digits, which begin with an id. */
function idsIn(entries: string): string[] {
  return (entries.match(/.{52}/g) ?? []).map((entry) =>
    entry.slice(0, 32).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-"),
  );
}

function sha256(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

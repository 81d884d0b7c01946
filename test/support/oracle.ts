/**
 * What has to hold whatever went wrong: every listed document has its bytes, and nothing else is left for good.
 * Looks at files, buckets and tables themselves, never through the code that is tested.
 */
import { createHash } from "node:crypto";
import { readdir, readFile, utimes } from "node:fs/promises";
import { join } from "node:path";
import { DynamoDBClient, paginateScan, ResourceNotFoundException } from "@aws-sdk/client-dynamodb";
import { DatabaseSync } from "@photostructure/sqlite";
import type { DocumentRecord } from "../../src/document/record.ts";
import type { InRepoAws } from "./aws.ts";

/** Milliseconds: more than what a doctor leaves alone. */
export const dayAndAnHour = 25 * 3_600_000;

/** Characters of a document's id. */
const idLength = 36;

export interface LibraryState {
  /** Keys of objects, or paths of files below `objects/`, with their SHA-256. */
  objects(): Promise<Map<string, string>>;
  /** What is in the catalog: ids of documents, and the ids that claims name. */
  catalog(): Promise<{ documents: string[]; claims: string[] }>;
  /** Multipart uploads, or temporary files and directories for documents that hold none. */
  leftovers(): Promise<string[]>;
  /** Makes all of it a day older. */
  age(): Promise<void>;
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
    async objects() {
      const files = await below("objects");
      const digests = await Promise.all(files.map(async (path) => sha256(await readFile(path))));
      return new Map(files.map((path, index) => [path, digests[index] ?? ""]));
    },
    async catalog() {
      const ids = await readCatalog(join(directory, "catalog.db"));
      return { documents: ids, claims: ids };
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
    async objects() {
      return new Map([...(bucket()?.objects ?? [])].map(([key, { body }]) => [key, sha256(body)]));
    },
    async catalog() {
      const client = new DynamoDBClient({ endpoint: aws.endpoint });
      const [documents, claims]: [string[], string[]] = [[], []];
      try {
        for await (const { Items = [] } of paginateScan({ client }, { TableName: name, ConsistentRead: true })) {
          for (const { pk, sk, id } of Items) {
            if (pk?.S?.startsWith("doc#")) documents.push(sk?.S ?? "");
            if (pk?.S?.startsWith("name#")) claims.push(id?.S ?? "");
          }
        }
      } catch (error) {
        // Before an init there is no table, and so nothing in it.
        if (!(error instanceof ResourceNotFoundException)) throw error;
      } finally {
        client.destroy();
      }
      return { documents, claims };
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
 * @param garbage whether objects without a record, unfinished uploads and stray claims count as wrong
 */
export async function complaints(
  state: LibraryState,
  listed: readonly DocumentRecord[],
  { garbage }: { garbage: boolean },
): Promise<string[]> {
  const [objects, catalog, leftovers] = await Promise.all([state.objects(), state.catalog(), state.leftovers()]);
  const found: string[] = [];
  const keyOf = (record: DocumentRecord) => [...objects.keys()].find((key) => key.includes(`/${record.id}/`));
  for (const record of listed) {
    const digest = objects.get(keyOf(record) ?? "");
    if (digest === undefined) found.push(`${record.id} is listed and has no bytes`);
    else if (digest !== record.sha256) found.push(`${record.id} is listed and has other bytes`);
  }
  const ids = listed.map(({ id }) => id).sort();
  if (ids.join() !== catalog.documents.toSorted().join()) found.push("the listing is not what the catalog holds");
  const identities = listed.map(({ name, sha256: digest, tags }) => JSON.stringify([name, digest, tags]));
  if (new Set(identities).size !== identities.length) found.push("two documents are the same");
  if (!garbage) return found;
  const owned = new Set(listed.map(keyOf));
  for (const key of objects.keys()) if (!owned.has(key)) found.push(`${key} has no record`);
  for (const name of leftovers) found.push(`${name} was left unfinished`);
  for (const id of catalog.claims) if (!ids.includes(id)) found.push(`a claim names ${id}, which is not there`);
  return found;
}

function sha256(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

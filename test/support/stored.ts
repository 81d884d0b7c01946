/** What is stored, looked at and changed behind docproc's back, as a bad disk does, or a person with other tools. */
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import {
  DeleteObjectCommand,
  GetObjectCommand,
  PutObjectCommand,
  paginateListObjectsV2,
  S3Client,
} from "@aws-sdk/client-s3";
import type { AnySettings } from "./aws.ts";

/** The keys of everything that is stored in a directory or a bucket. */
export async function storedKeys({
  directory,
  bucket: Bucket,
  customEndpoint: endpoint,
}: AnySettings): Promise<string[]> {
  if (endpoint === undefined) {
    const objects = join(directory, "objects");
    const entries = await readdir(objects, { recursive: true, withFileTypes: true }).catch(() => []);
    const files = entries.filter((entry) => entry.isFile());
    return files.map(({ parentPath, name }) => relative(objects, join(parentPath, name))).sort();
  }
  const client = new S3Client({ endpoint, forcePathStyle: true });
  const keys: string[] = [];
  try {
    for await (const { Contents = [] } of paginateListObjectsV2({ client }, { Bucket })) {
      keys.push(...Contents.map(({ Key = "" }) => Key));
    }
  } finally {
    client.destroy();
  }
  return keys.sort();
}

/**
 * @param uri of a record
 * @param endpoint of S3, where the uri is one of S3
 * @param change the bytes that are stored afterwards, or null for none
 */
export async function tamper(
  { uri }: { readonly uri: string },
  endpoint: string | undefined,
  change: (bytes: Buffer) => Buffer | null,
): Promise<void> {
  if (uri.startsWith("file:")) {
    const path = fileURLToPath(uri);
    const changed = change(await readFile(path));
    // With the directory, which holds nothing else: left empty, it is a finding of its own a day later.
    await (changed === null ? rm(dirname(path), { recursive: true }) : writeFile(path, changed));
    return;
  }
  const [, Bucket, Key] = /^s3:\/\/([^/]+)\/(.+)$/.exec(uri) ?? [];
  const client = new S3Client({ ...(endpoint !== undefined && { endpoint }), forcePathStyle: true });
  try {
    const { Body, Metadata } = await client.send(new GetObjectCommand({ Bucket, Key }));
    const changed = change(Buffer.from((await Body?.transformToByteArray()) ?? []));
    if (changed === null) await client.send(new DeleteObjectCommand({ Bucket, Key }));
    else await client.send(new PutObjectCommand({ Bucket, Key, Body: changed, Metadata }));
  } finally {
    client.destroy();
  }
}

/**
 * Gives objects of a bucket another mark, or the directory with all of its objects.
 * @param catalog null takes the mark away
 */
export async function remark(
  { directory, bucket: Bucket, customEndpoint: endpoint }: AnySettings,
  records: readonly { readonly uri: string }[],
  catalog: string | null,
): Promise<void> {
  if (endpoint === undefined) {
    const path = join(directory, "catalog-id");
    await (catalog === null ? rm(path) : writeFile(path, `${catalog}\n`));
    return;
  }
  const client = new S3Client({ endpoint, forcePathStyle: true });
  try {
    for (const { uri } of records) {
      const Key = uri.slice(`s3://${Bucket}/`.length);
      const { Body, Metadata } = await client.send(new GetObjectCommand({ Bucket, Key }));
      const bytes = Buffer.from((await Body?.transformToByteArray()) ?? []);
      const marks = Object.keys(Metadata ?? {}).map((name) => [name, catalog]);
      const put = { Bucket, Key, Body: bytes, Metadata: catalog === null ? {} : Object.fromEntries(marks) };
      await client.send(new PutObjectCommand(put));
    }
  } finally {
    client.destroy();
  }
}

export function flipBit(bytes: Buffer): Buffer {
  const changed = Buffer.from(bytes);
  const middle = Math.floor(bytes.length / 2);
  changed.writeUInt8(changed.readUInt8(middle) ^ 1, middle);
  return changed;
}

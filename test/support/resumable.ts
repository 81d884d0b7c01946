/** Large uploads that are interrupted and gone on with, behind a proxy that fails as told. */
import { createHash, randomBytes } from "node:crypto";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { GetObjectCommand, ListMultipartUploadsCommand, paginateListObjectsV2, S3Client } from "@aws-sdk/client-s3";
import { expect, onTestFinished } from "vitest";
import type { Step } from "../../src/core/crash-points.ts";
import type { DocumentRecord } from "../../src/document/record.ts";
import { awsSettings } from "./aws.ts";
import { type Fault, type ProxiedRequest, startFaultProxy } from "./fault-proxy.ts";
import { makeSandbox, type RunOptions, runDocproc } from "./run.ts";

export const mebibyte = 1024 * 1024;
export const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

/** What the service says when it fails. */
export const failure: Fault = { kind: "status", status: 500 };

/** The number of a part that is sent; 0 for any other request. */
export function partOf({ operation, path }: ProxiedRequest): number {
  return operation === "UploadPart" ? Number(new URL(path, "http://localhost").searchParams.get("partNumber")) : 0;
}

/** Resolves when so many parts are stored, and written into the journal, by uploads in this process. */
export function partsStored(count: number): Promise<void> {
  return new Promise((resolve) => {
    let stored = 0;
    const listen = (step: unknown) => {
      if ((step as Step) === "s3-part-stored") stored += 1;
      if (stored === count) resolve();
    };
    subscribe("docproc:step", listen);
    onTestFinished(() => void unsubscribe("docproc:step", listen));
  });
}

/** A promise and what keeps it. */
export function event() {
  let happen = () => {};
  const happened = new Promise<void>((resolve) => {
    happen = resolve;
  });
  return { happen, happened };
}

/** The document that an object, or an upload of one, is of. */
export function idOfKey(key: string | undefined): string {
  return key?.split("/").at(-2) ?? "no key";
}

/** What is left of uploads that ended in one document: `left()` of {@link openResumable} looks for it. */
export function finished(id: string, bytes: Buffer) {
  return { documents: [id], objects: { [id]: sha256(bytes) }, uploads: [], journals: 0 };
}

export const nothing = { documents: [], objects: {}, uploads: [], journals: 0 };

/** A bucket, a table and an empty directory. Uploads of its `a.bin` go through the proxy, everything else past it. */
export async function openResumable(endpoint: string) {
  const sandbox = await makeSandbox();
  const bucket = awsSettings("").bucket ?? "";
  const proxy = await startFaultProxy(endpoint);
  const client = new S3Client({ endpoint, forcePathStyle: true });
  onTestFinished(async () => {
    client.destroy();
    await proxy.close();
  });
  const library = (at: string) => ["--endpoint-url", at, "--bucket", bucket];
  const run = (argv: readonly string[], options?: RunOptions) =>
    runDocproc(sandbox, [...argv, "--json", ...library(endpoint)], options);
  expect(await run(["init"])).toMatchObject({ status: 0 });
  const path = join(sandbox.cwd, "a.bin");
  /** Flags of an upload; a later flag wins over an earlier one. */
  const uploading = ["--part-size", "5MiB", "--retries", "2", ...library(proxy.endpoint)];
  const journals = async () => {
    const names = await readdir(join(sandbox.state, "uploads")).catch(() => []);
    return names.map((name) => join(sandbox.state, "uploads", name));
  };

  return {
    sandbox,
    bucket,
    proxy,
    client,
    path,
    journals,
    run,
    library,
    uploading,

    async upload(flags: readonly string[] = [], options?: RunOptions) {
      return await runDocproc(sandbox, ["upload", "a.bin", ...uploading, "--json", ...flags], options);
    },

    async write(mebibytes: number): Promise<Buffer> {
      const bytes = randomBytes(mebibytes * mebibyte);
      await writeFile(path, bytes);
      return bytes;
    },

    /** Lets parts 1 and 2 through; those behind them fail once both are stored. */
    failBehindPart2(fault: Fault): void {
      const until = partsStored(2);
      proxy.inject({ operation: (request) => partOf(request) > 2, action: { kind: "hold", until, fault } });
    },

    /** Numbers of the parts that were sent since the last time, each as often as it was. */
    sentParts(): number[] {
      const parts = proxy.log.splice(0).map(partOf);
      return parts.filter((part) => part > 0).toSorted((a, b) => a - b);
    },

    /** What is really there, whatever the program says. Objects are told by their SHA-256. */
    async left() {
      const { documents } = (await run(["list"])).json();
      const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
      const objects: Record<string, string> = {};
      for await (const { Contents = [] } of paginateListObjectsV2({ client }, { Bucket: bucket })) {
        for (const { Key } of Contents) {
          const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key }));
          objects[idOfKey(Key)] = sha256(Buffer.from((await Body?.transformToByteArray()) ?? []));
        }
      }
      return {
        documents: (documents as DocumentRecord[]).map(({ id }) => id),
        objects,
        uploads: Uploads.map(({ Key }) => idOfKey(Key)),
        journals: (await journals()).length,
      };
    },
  };
}

/** The same, with an upload of which two parts of four are stored, by a run that failed. */
export async function openInterrupted(endpoint: string) {
  const library = await openResumable(endpoint);
  const bytes = await library.write(16);
  library.failBehindPart2(failure);
  expect(await library.upload()).toMatchObject({ status: 8 });
  library.proxy.clear();
  library.sentParts();
  const [id = "no upload"] = (await library.left()).uploads;
  return { ...library, bytes, id };
}

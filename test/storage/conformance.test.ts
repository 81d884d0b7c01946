/** Every kind of storage passes the suite of conformance.ts, at every place that there is on this machine. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { describe } from "vitest";
import { temporaryIn } from "../../src/files/removal.ts";
import { type StorageName, storageDrivers } from "../../src/storage/registry.ts";
import { awsEndpoints, awsSettings, localSettings } from "../support/aws.ts";
import { type StorageTarget, storageConformance } from "./conformance.ts";

const mebibyte = 1024 * 1024;

async function localTarget(): Promise<StorageTarget> {
  const directory = await mkdtemp(join(tmpdir(), "docproc-storage-"));
  return {
    settings: localSettings(directory),
    leftovers: async () => (await readdir(join(directory, "incoming")).catch(() => [])).length,
    async leave() {
      await mkdir(join(directory, "incoming"), { recursive: true });
      await writeFile(temporaryIn(join(directory, "incoming")), "half of it");
    },
    checksums: false,
    close: () => rm(directory, { recursive: true }),
  };
}

function s3Target(start: () => Promise<{ endpoint: string; close(): Promise<void> }>, checksums: boolean) {
  return async (): Promise<StorageTarget> => {
    const { endpoint, close } = await start();
    const settings = awsSettings(endpoint, { partSize: 5 * mebibyte });
    const client = new S3Client({ endpoint, forcePathStyle: true });
    return {
      settings,
      checksums,
      async leftovers() {
        const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: settings.bucket }));
        return Uploads.length;
      },
      async leave(Key) {
        const upload = { Bucket: settings.bucket, Key };
        const { UploadId } = await client.send(new CreateMultipartUploadCommand(upload));
        await client.send(new UploadPartCommand({ ...upload, UploadId, PartNumber: 1, Body: "half of it" }));
      },
      async close() {
        client.destroy();
        await close();
      },
    };
  };
}

/** The compiler asks for an entry for every driver of the registry, so none can be without tests. */
const targets: Record<StorageName, Record<string, () => Promise<StorageTarget>>> = {
  local: { "a directory": localTarget },
  s3: Object.fromEntries(
    Object.entries(awsEndpoints()).map(([name, start]) => [name, s3Target(start, name !== "moto")]),
  ),
};

for (const [driver, places] of Object.entries(targets) as [StorageName, (typeof targets)[StorageName]][]) {
  for (const [place, start] of Object.entries(places)) {
    describe(`${driver} storage on ${place}`, () => storageConformance(storageDrivers[driver], start));
  }
}

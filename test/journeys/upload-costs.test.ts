/** What an upload costs on AWS, from the file to the record: requests to S3 and DynamoDB, units, and bytes on the wire. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { awsSettings, type InRepoAws, startInRepoAws } from "../support/aws.ts";
import { type Meter, startMeter } from "../support/dynamodb-meter.ts";
import { makeSandbox, runDocproc } from "../support/run.ts";

let aws: InRepoAws;
let meter: Meter;
beforeAll(async () => {
  aws = await startInRepoAws();
  meter = await startMeter(aws.endpoint);
});
afterAll(async () => {
  meter.close();
  await aws.close();
});

const files = 100;

/** An upload of all files: its summary, the requests to S3, the bytes that they brought, and what DynamoDB charges. */
async function openFolder() {
  const sandbox = await makeSandbox();
  const bucket = awsSettings("").bucket ?? "";
  const folder = join(sandbox.cwd, "dist");
  await mkdir(folder);
  const flags = ["--endpoint-url", meter.endpoint, "--bucket", bucket];
  expect(await runDocproc(sandbox, ["init", ...flags])).toMatchObject({ status: 0 });
  return {
    bucket,
    async write(version: string): Promise<void> {
      for (let n = 0; n < files; n++) await writeFile(join(folder, `${n}.txt`), `${version} of ${n}`);
    },
    async upload(...argv: string[]) {
      meter.start();
      const before = aws.s3.requests.length;
      const upload = ["upload", "-r", "dist", "--concurrency", String(files), "--json", ...argv];
      const outcome = await runDocproc(sandbox, [...upload, ...flags]);
      expect(outcome).toMatchObject({ status: 0 });
      const s3: Record<string, number> = {};
      let onTheWire = 0;
      for (const { operation, bodyBytes } of aws.s3.requests.slice(before)) {
        s3[operation] = (s3[operation] ?? 0) + 1;
        onTheWire += bodyBytes;
      }
      const { requests, readUnits, writeUnits } = meter.read();
      const { GetItem = 0, BatchGetItem = 0, ...writes } = requests;
      // How many are on their way at a time depends on the machine.
      expect(GetItem + BatchGetItem).toBeLessThan(files / 2);
      const { summary } = outcome.json();
      return { summary, s3, onTheWire, readUnits, writeUnits, writes };
    },
  };
}

test("a hundred files cost as much as is said: new, unchanged, updated, changed, changed back and restored", async () => {
  const { bucket, write, upload } = await openFolder();
  await write("v1");
  const added = await upload();
  expect(added).toMatchObject({
    summary: { uploaded: files },
    s3: { PutObject: files },
    onTheWire: added.summary.bytes,
  });
  // One more of each for the catalog's own item, which the first upload makes.
  expect(added).toMatchObject({ readUnits: files + 1, writeUnits: 4 * files + 1 });
  expect(added.writes["TransactWriteItems"]).toBeLessThan(files / 2);

  const nothing = { onTheWire: 0, writes: {}, writeUnits: 0 };
  const unchanged = await upload();
  expect(unchanged).toMatchObject({ summary: { unchanged: files, bytesSent: 0 }, ...nothing });
  expect(unchanged.s3).toEqual({ HeadObject: files });
  // The versions of the path, and the record of the newest; and once the catalog's own item, if it is asked for.
  expect(unchanged.readUnits - 2 * files).toBeOneOf([0, 1]);

  const updated = await upload("--meta", "a=1");
  expect(updated).toMatchObject({ summary: { updated: files }, onTheWire: 0, writeUnits: files });
  expect(updated.s3).toEqual({ HeadObject: files });
  expect(updated.writes).toEqual({ UpdateItem: files });
  expect(updated.readUnits - 2 * files).toBeOneOf([0, 1]);

  await write("v2");
  const changed = await upload();
  expect(changed).toMatchObject({ summary: { uploaded: files }, onTheWire: changed.summary.bytes });
  expect(changed.s3).toEqual({ PutObject: files });
  expect(changed).toMatchObject({ readUnits: 2 * files + 1, writeUnits: 4 * files });

  await write("v1");
  const back = await upload();
  expect(back).toMatchObject({ summary: { uploaded: files, bytesSent: 0 }, onTheWire: 0 });
  // The version with the bytes is looked at, then it and the new key are by what copies it.
  expect(back.s3).toEqual({ HeadObject: 3 * files, CopyObject: files });
  expect(back).toMatchObject({ readUnits: 3 * files + 1, writeUnits: 4 * files });

  aws.s3.buckets.get(bucket)?.objects.clear();
  const restored = await upload();
  expect(restored).toMatchObject({ summary: { restored: files }, onTheWire: restored.summary.bytes });
  expect(restored.s3).toEqual({ HeadObject: files, PutObject: files });
  // Each record is read once more: it may have been deleted meanwhile.
  expect(restored).toMatchObject({ readUnits: 3 * files + 1, writeUnits: 0, writes: {} });
}, 180_000);

/** Many documents to AWS and back: what comes back is what was there, byte by byte. A soak takes a thousand. */
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { DocumentRecord } from "../../src/document/record.ts";
import { type AwsEndpoint, awsEndpoints } from "../support/aws.ts";
import { randomNumbers } from "../support/random.ts";
import { report, soak } from "../support/sweep-report.ts";
import { openTwoLibraries, portable } from "../support/two-libraries.ts";

const count = soak ? 1_000 : 60;
/** Bytes of document number `n`: mostly small, some sent in parts, one empty. */
function sizeOf(n: number, random: () => number): number {
  if (n % 250 === 7) return 11 * 1024 * 1024 + n;
  return n === 0 ? 0 : Math.floor(random() * 40_000);
}

/** SHA-256 of every stored file by the id of its document, read without docproc. */
async function digestsIn(library: string): Promise<Record<string, string>> {
  const objects = join(library, "objects");
  const digests: Record<string, string> = {};
  for (const file of await readdir(objects, { recursive: true, withFileTypes: true })) {
    if (!file.isFile()) continue;
    const bytes = await readFile(join(file.parentPath, file.name));
    digests[file.parentPath.split("/").at(-1) ?? ""] = createHash("sha256").update(bytes).digest("hex");
  }
  return digests;
}

describe.each(Object.entries(awsEndpoints()))(`${count} documents copied to %s and back`, (place, start) => {
  let aws: AwsEndpoint;
  beforeAll(async () => {
    aws = await start();
  });
  afterAll(() => aws.close());

  test("are byte-identical, with the same ids", { timeout: soak ? 900_000 : 120_000 }, async () => {
    const { sandbox, run, copy, list, expectSound } = await openTwoLibraries(aws.endpoint);
    await mkdir(join(sandbox.cwd, "in"));
    const random = randomNumbers(count);
    for (let n = 0; n < count; n++) {
      const bytes = Buffer.alloc(sizeOf(n, random));
      for (let at = 0; at + 4 <= bytes.length; at += 4) bytes.writeUInt32LE(Math.floor(random() * 2 ** 32), at);
      await writeFile(join(sandbox.cwd, "in", `document ${n}.bin`), bytes);
    }
    const tagged = ["--tag", "kind=scan", "--meta", "made=once", "--use", "here", "-q"];
    expect(await run(["upload", "-r", "in", ...tagged])).toMatchObject({ status: 0 });
    const before = await list("here");
    expect(before).toHaveLength(count);

    const [there, back] = [
      await copy("--from", "here", "--to", "there"),
      await copy("--from", "there", "--to", "back"),
    ];
    for (const outcome of [there, back]) {
      expect(outcome).toMatchObject({ status: 0 });
      expect(outcome.json().summary).toMatchObject({ total: count, copied: count, failed: 0 });
    }
    const listed: Record<string, DocumentRecord[]> = { there: await list("there"), back: await list("back") };
    expect(portable(listed["there"] ?? [])).toEqual(portable(before));
    expect(portable(listed["back"] ?? [])).toEqual(portable(before));
    const digests = await digestsIn(join(sandbox.cwd, "back"));
    expect(digests).toEqual(await digestsIn(join(sandbox.cwd, "here")));
    expect(digests).toEqual(Object.fromEntries(before.map(({ id, sha256 }) => [id, sha256])));

    const again = await copy("--from", "here", "--to", "there");
    expect(again.json().summary).toMatchObject({ unchanged: count, bytesSent: 0 });
    for (const use of ["there", "back"]) await expectSound(use);
    const [out, home, rerun] = [there, back, again].map((outcome) => outcome.json().summary);
    report(
      `${count} documents, ${out.bytes} bytes, to ${place} in ${out.durationMs} ms and back in ${home.durationMs} ms; ` +
        `${rerun.unchanged} found unchanged in ${rerun.durationMs} ms`,
    );
  });
});

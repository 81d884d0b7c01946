/** The program killed while it puts bytes back, or copies them inside the storage. */
import { createHash, randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { InRepoAws } from "../support/aws.ts";
import { digestOf } from "../support/oracle.ts";
import { killAt, passagesOf } from "../support/passages.ts";
import { flipBit } from "../support/stored.ts";
import { openStoredLibrary, storedPlaces } from "../support/stored-library.ts";

const small = randomBytes(40_000);
/** Three parts. */
const large = randomBytes(12 * 1024 * 1024);
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
const upload = ["upload", "a.bin", "--part-size", "5MiB", "--json"];
const patience = { timeout: 180_000 };

describe.each(Object.entries(storedPlaces))("killed at any step, with %s,", (_place, startAws) => {
  let aws: InRepoAws | undefined;
  beforeAll(async () => {
    aws = await startAws?.();
  });
  afterAll(() => aws?.close());

  test.each<[string, Buffer, (bytes: Buffer) => Buffer | null]>([
    ["a small document that is gone", small, () => null],
    ["a small document that is damaged", small, flipBit],
    ["a large document that is gone", large, () => null],
    ["a large document that is damaged", large, flipBit],
  ])("the restoring of %s leaves what was there or all of it", patience, async (_what, content, change) => {
    const library = await openStoredLibrary(aws);
    const { sandbox, run, listed, state } = library;
    await writeFile(join(sandbox.cwd, "a.bin"), content);
    const { id } = (await run(upload)).json().documents[0];
    const right = sha256(content);
    await state.damage(id, change);
    for (const passage of await passagesOf(() => run(upload))) {
      const { passed, label } = passage;
      expect(await digestOf(state, id), label).toBe(right);
      await state.damage(id, change);
      const before = await digestOf(state, id);
      await killAt(library, upload, passage);
      await library.expectSound(label, { garbage: false, damaged: id });
      const restored = passed.includes("bytes-restored");
      expect(restored ? [right] : [right, before], label).toContain(await digestOf(state, id));

      const again = await run(upload);
      expect(again, label).toMatchObject({ status: 0 });
      const [document] = again.json().documents;
      expect(document, label).toMatchObject({ id, size: content.length, sha256: right });
      expect(restored ? ["unchanged"] : ["restored", "unchanged"], label).toContain(document.action);
      await library.expectRepairable(label);
      expect(await listed(), label).toHaveLength(1);
    }
  });

  test.each([
    ["small", small],
    ["large", large],
  ])("a copy of a %s document inside the storage ends well when it is run again", patience, async (_size, content) => {
    const library = await openStoredLibrary(aws);
    const { sandbox, run, listed } = library;
    const file = join(sandbox.cwd, "a.bin");
    const versions: string[] = [];
    for (const bytes of [content, Buffer.from("the second version"), content]) {
      await writeFile(file, bytes);
      if (versions.length < 2) versions.push((await run(upload)).json().documents[0].id);
    }
    for (const passage of await passagesOf(() => run(upload))) {
      const { passed, label } = passage;
      expect(await run(["delete", "a.bin", "--yes"]), label).toMatchObject({ status: 0 });
      expect((await listed()).map(({ id }) => id).sort(), label).toEqual(versions);
      await killAt(library, upload, passage);
      await library.expectSound(label, { garbage: false });
      const committed = passed.includes("record-committed");
      expect(await listed(), label).toHaveLength(committed ? 3 : 2);

      const again = await run(upload);
      expect(again, label).toMatchObject({ status: 0 });
      const action = committed ? "unchanged" : "uploaded";
      const [document] = again.json().documents;
      expect(document, label).toMatchObject({ action, bytesSent: 0, sha256: sha256(content) });
      expect(document.id > (versions[1] ?? ""), label).toBe(true);
      await library.expectRepairable(label);
      expect(await listed(), label).toHaveLength(3);
    }
  });
});

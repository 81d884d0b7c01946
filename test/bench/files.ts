/** What is uploaded: files of random bytes, made once for all rounds. */
import { randomFillSync } from "node:crypto";
import { mkdir, open, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";

interface Place {
  readonly scratch: string;
  /** Sizes, and numbers of files, are multiplied with this. */
  readonly scale: number;
}

const blockSize = 1024 * 1024;

/** A file of `size` bytes. */
export async function makeFile({ scratch, scale }: Place, size: number): Promise<string> {
  const length = Math.ceil(size * scale);
  const path = join(scratch, `file-${length}`);
  if (await isThere(path)) return path;
  const block = randomFillSync(Buffer.alloc(blockSize));
  const handle = await open(`${path}.part`, "w");
  for (let written = 0; written < length; written += blockSize) {
    // No two blocks alike, so that nothing can be clever about them.
    block.writeDoubleLE(written);
    await handle.write(block, 0, Math.min(blockSize, length - written));
  }
  await handle.sync();
  await handle.close();
  await rename(`${path}.part`, path);
  return path;
}

export interface Files {
  readonly path: string;
  /** After scaling. */
  readonly count: number;
}

/** A directory of different files of `size` bytes, a hundred in each directory below it. */
export async function makeFiles({ scratch, scale }: Place, unscaled: number, size: number): Promise<Files> {
  const count = Math.ceil(unscaled * scale);
  const path = join(scratch, `files-${count}-${size}`);
  if (await isThere(path)) return { path, count };
  for (let index = 0; index < count; index++) {
    const folder = join(`${path}.part`, String(Math.floor(index / 100)));
    if (index % 100 === 0) await mkdir(folder, { recursive: true });
    await writeFile(join(folder, `document-${index}.bin`), randomFillSync(Buffer.alloc(size)));
  }
  await rename(`${path}.part`, path);
  return { path, count };
}

async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

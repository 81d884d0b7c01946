/** Files that git-lfs stores elsewhere: the commit holds a pointer with their hash instead. */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { open } from "node:fs/promises";

/**
 * Whether a blob is git-lfs's pointer to a file, so that the file is unchanged. Computes the pointer's id instead of
 * reading the blob: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
 * @param blob its id, of SHA-1 or SHA-256
 */
export async function isPointerTo(path: string, blob: string, signal: AbortSignal): Promise<boolean> {
  const handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0));
  try {
    if (!(await handle.stat()).isFile()) return false;
    const content = createHash("sha256");
    let size = 0;
    for await (const chunk of handle.createReadStream({ autoClose: false, signal })) {
      content.update(chunk);
      size += chunk.length;
    }
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${content.digest("hex")}\nsize ${size}\n`;
    // https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
    const algorithm = blob.length === 64 ? "sha256" : "sha1";
    const id = createHash(algorithm)
      .update(`blob ${Buffer.byteLength(pointer)}\0${pointer}`)
      .digest("hex");
    return id === blob;
  } finally {
    await handle.close();
  }
}

/** The thread that digest.ts starts. It is JavaScript because Node starts a thread from a file, bundled or not. */
import { createHash } from "node:crypto";
import { parentPort } from "node:worker_threads";
import { crc32 } from "node:zlib";

/** Bytes small enough to be in the processor's cache for the second digest. */
const block = 256 * 1024;

/** The running SHA-256 of each stream, by number. */
const streams = new Map();

parentPort?.on("message", ({ stream, bytes }) => {
  if (bytes === null) {
    streams.delete(stream);
    return;
  }
  const sha256 = streams.get(stream) ?? createHash("sha256");
  streams.set(stream, sha256);
  let checksum = 0;
  for (let at = 0; at < bytes.length; at += block) {
    const piece = bytes.subarray(at, at + block);
    sha256.update(piece);
    checksum = crc32(piece, checksum);
  }
  // A copy, since a hash cannot be updated after it is read.
  parentPort?.postMessage({ sha256: sha256.copy().digest("hex"), crc32: checksum });
});

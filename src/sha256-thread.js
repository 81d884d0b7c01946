/** Runs in the thread that sha256.ts starts. JavaScript, since Node starts a thread from a file, bundled or not. */
import { createHash } from "node:crypto";
import { parentPort } from "node:worker_threads";

/** By the number of the stream: the digest of its bytes so far. */
const digests = new Map();

parentPort?.on("message", ({ stream, bytes }) => {
  if (bytes === null) {
    digests.delete(stream);
    return;
  }
  const digest = digests.get(stream) ?? createHash("sha256");
  digests.set(stream, digest);
  digest.update(bytes);
  // A copy, since a digest cannot be added to once it is read.
  parentPort?.postMessage(digest.copy().digest("hex"));
});

/** The inputs a program may upload: a path, bytes, or an iterable of bytes. */
import { fileURLToPath } from "node:url";
import { cancelled, DocprocError, throwIfCancelled } from "../core/errors.ts";
import { openFile, readerOf, type Source } from "../transfer/source.ts";
import type { Chunks } from "./library.ts";

/**
 * Opens an input.
 * @throws USAGE for any other kind; for a path see {@link openFile}
 */
export async function openInput(given: string | URL | Uint8Array | Chunks): Promise<Source> {
  if (given instanceof URL && given.protocol === "file:") return await openFile(fileURLToPath(given));
  if (typeof given === "string") return await openFile(given);
  if (given instanceof Uint8Array) return openChunks(oneChunk(given));
  if (typeof given === "object" && given !== null && Symbol.asyncIterator in given) return openChunks(given);
  throw new DocprocError("USAGE", "The source is neither a path, nor bytes, nor a stream of bytes.", {
    hint: "Pass a path, a file: URL, a Uint8Array, or anything that yields Uint8Arrays, such as a stream.",
  });
}

async function* oneChunk(bytes: Uint8Array): Chunks {
  yield bytes;
}

/** Recorded like standard input: bytes that are read once, from an unknown place. */
function openChunks(chunks: Chunks): Source {
  return {
    kind: "stdin",
    path: null,
    modifiedAt: null,
    place: null,
    label: "the stream",
    name: "",
    size: null,
    read: (signal) => readerOf(untilAborted(chunks, signal)),
    async assertUnchanged() {},
    async close() {},
  };
}

async function* untilAborted(chunks: Chunks, signal: AbortSignal): Chunks {
  throwIfCancelled(signal);
  const iterator = chunks[Symbol.asyncIterator]();
  let stop = () => {};
  // A stalled producer must not delay the abort.
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(cancelled(signal));
  });
  aborted.catch(() => {});
  signal.addEventListener("abort", stop, { once: true });
  try {
    for (;;) {
      const next = await Promise.race([iterator.next().catch(streamFailed), aborted]);
      if (next.done) return;
      yield asBytes(next.value);
    }
  } finally {
    signal.removeEventListener("abort", stop);
    // Not awaited, because of a stalled producer; a Node stream's iterator returns only when the stream continues.
    iterator.return?.()?.catch(() => {});
    if (signal.aborted && "destroy" in chunks && typeof chunks.destroy === "function") chunks.destroy();
  }
}

function streamFailed(error: unknown): never {
  if (error instanceof DocprocError) throw error;
  const why = error instanceof Error ? error.message : String(error);
  throw new DocprocError("UNAVAILABLE", `The source stream failed: ${why}`, {
    hint: "Nothing was stored. Upload it again.",
    cause: error,
  });
}

/** Streams with an encoding yield text. */
function asBytes(chunk: unknown): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk;
  if (typeof chunk === "string") return Buffer.from(chunk);
  throw new DocprocError("USAGE", "The source stream does not yield bytes.", {
    hint: "Pass a stream of Uint8Arrays.",
  });
}

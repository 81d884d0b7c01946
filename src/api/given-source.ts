/** The inputs a program may upload: a path, bytes, or an iterable of bytes. */
import { fileURLToPath } from "node:url";
import { cancelled, DocprocError, throwIfCancelled } from "../core/errors.ts";
import { openFile, readerOf, type Source } from "../transfer/source.ts";
import type { Chunks } from "./library.ts";

/**
 * Opens what was given.
 * @throws USAGE for anything else; what {@link openFile} throws of a path
 */
export async function openGiven(given: string | URL | Uint8Array | Chunks): Promise<Source> {
  if (given instanceof URL && given.protocol === "file:") return await openFile(fileURLToPath(given));
  if (typeof given === "string") return await openFile(given);
  if (given instanceof Uint8Array) return openChunks(oneChunk(given));
  if (typeof given === "object" && given !== null && Symbol.asyncIterator in given) return openChunks(given);
  throw new DocprocError("USAGE", "What was given is neither a path, nor bytes, nor a stream of them.", {
    hint: "Give a path, a file: URL, a Uint8Array, or anything that yields Uint8Arrays, such as a stream.",
  });
}

async function* oneChunk(bytes: Uint8Array): Chunks {
  yield bytes;
}

/** In a record it is the same as standard input: bytes that came once, from nowhere that is known. */
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
  // A producer may have stalled, and would be waited for as long.
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(cancelled(signal));
  });
  aborted.catch(() => {});
  signal.addEventListener("abort", stop, { once: true });
  try {
    for (;;) {
      const next = await Promise.race([iterator.next().catch(brokeOff), aborted]);
      if (next.done) return;
      yield asBytes(next.value);
    }
  } finally {
    signal.removeEventListener("abort", stop);
    // Not waited for, for the same reason; and the iterator of a stream of Node comes to it only when the stream goes on.
    iterator.return?.()?.catch(() => {});
    if (signal.aborted && "destroy" in chunks && typeof chunks.destroy === "function") chunks.destroy();
  }
}

function brokeOff(error: unknown): never {
  if (error instanceof DocprocError) throw error;
  const why = error instanceof Error ? error.message : String(error);
  throw new DocprocError("UNAVAILABLE", `The stream that was given broke off: ${why}`, {
    hint: "Nothing was stored. Upload it again.",
    cause: error,
  });
}

/** Streams that were told an encoding yield text. */
function asBytes(chunk: unknown): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk;
  if (typeof chunk === "string") return Buffer.from(chunk);
  throw new DocprocError("USAGE", "The stream that was given does not yield bytes.", {
    hint: "Give one of Uint8Arrays.",
  });
}

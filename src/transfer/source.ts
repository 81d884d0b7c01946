/** An input to upload: a file, which can be read again, or stdin, which cannot. */
import { constants } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import type { Readable } from "node:stream";
import { cancelled, DocprocError, fromSystemError, isSystemError, throwIfCancelled } from "../core/errors.ts";
import type { DocumentSource } from "../document/record.ts";
import { type Bounds, outsideOf } from "../files/bounds.ts";
import { isAbsence } from "../files/stat.ts";

export interface Source extends DocumentSource {
  /** The user's spelling, for messages. */
  readonly label: string;
  /** Absolute path and content stamp of the file; null for a source that is read only once, such as stdin. */
  readonly place: { readonly path: string; readonly stamp: string } | null;
  /** Base name from the system; empty for stdin. */
  readonly name: string;
  /** Bytes; null when unknown before the end. */
  readonly size: number | null;
  /** Reads from the start, until the signal fires. Without a {@link place} only once. */
  read(signal: AbortSignal): SourceReader;
  /** Throws `INTEGRITY` when the file at the path has changed. */
  assertUnchanged(): Promise<void>;
  close(): Promise<void>;
}

/** Reads bytes in order. */
export interface SourceReader {
  /** Fills `into` from its start: fewer bytes only at the end, then none. */
  read(into: Uint8Array): Promise<number>;
  /** Ends the read in progress. */
  close(): Promise<void>;
}

export interface OpenFileOptions {
  /** Follow symbolic links (default). Otherwise a link that has replaced a file is refused. */
  readonly follow?: boolean;
  /** Where the file must be; default: anywhere. */
  readonly bounds?: Bounds | undefined;
}

/**
 * Opens a regular file once and keeps the descriptor, so that the same file is hashed, sent and checked even if the
 * path is replaced meanwhile.
 * @throws NOT_FOUND, ACCESS_DENIED, or USAGE when it is not a regular file, or not within the bounds
 */
export async function openFile(
  path: string,
  label = path,
  { follow = true, bounds }: OpenFileOptions = {},
): Promise<Source> {
  let handle: FileHandle | undefined;
  try {
    // Before open(), which may act on a device. Without `follow` the caller has checked already.
    const seen = follow ? await stat(path) : undefined;
    if (seen?.isFile() === false) throw notAFile(label, seen.isDirectory());
    // Non-blocking: open() of a FIFO that has replaced the file would wait for a writer.
    const flags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (follow ? 0 : (constants.O_NOFOLLOW ?? 0));
    handle = await open(path, flags);
    if (bounds && !(await bounds.holdsFile(handle, path))) throw outsideOf(bounds, label);
    return await fileSource(handle, path, label);
  } catch (error) {
    await handle?.close();
    if (!follow && isSystemError(error) && error.code === "ELOOP") throw notAFile(label, false);
    throw fromSystemError(error, label);
  }
}

async function fileSource(handle: FileHandle, path: string, label: string): Promise<Source> {
  const opened = await handle.stat({ bigint: true });
  if (!opened.isFile()) throw notAFile(label, opened.isDirectory());
  const size = Number(opened.size);
  return {
    kind: "file",
    path: label,
    modifiedAt: new Date(Number(opened.mtimeMs)).toISOString(),
    place: { path: resolve(path), stamp: `${opened.size}:${opened.mtimeNs}` },
    label,
    name: basename(path),
    size,
    read(signal) {
      let position = 0;
      return {
        async read(into) {
          throwIfCancelled(signal);
          // Files in /proc report size 0.
          if (size === 0 && (await readAt(handle, label, Buffer.alloc(1), 0)) > 0) throw notAFile(label, false);
          // Stops at the initial size: assertUnchanged() catches a file that grows.
          const wanted = into.subarray(0, size - position);
          const length = await readAt(handle, label, wanted, position);
          position += length;
          return length;
        },
        async close() {},
      };
    },
    async assertUnchanged() {
      const now = await atPath(path, label);
      const isOpened = now?.ino === opened.ino && now.dev === opened.dev;
      if (!isOpened || now.size !== opened.size || now.mtimeNs !== opened.mtimeNs) throw sourceChanged(label);
    },
    async close() {
      // Read-only, so an error on close loses nothing.
      await handle.close().catch(() => {});
    },
  };
}

/** Undefined when the path is gone. */
async function atPath(path: string, label: string) {
  try {
    return await stat(path, { bigint: true });
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw fromSystemError(error, label);
  }
}

/** Fills `into` from a position; read(2) may return fewer bytes than requested. */
async function readAt(handle: FileHandle, label: string, into: Uint8Array, position: number): Promise<number> {
  let length = 0;
  try {
    while (length < into.length) {
      const { bytesRead } = await handle.read(into, length, into.length - length, position + length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
  } catch (error) {
    throw fromSystemError(error, label);
  }
  return length;
}

/** Wraps the program's standard input. */
export function openStdin(stream: Readable): Source {
  return {
    kind: "stdin",
    path: null,
    modifiedAt: null,
    place: null,
    label: "-",
    name: "",
    size: null,
    read(signal) {
      const { read } = readerOf(untilAborted(stream, signal));
      // Ending the loop instead would wait for a stalled producer.
      return { read, close: async () => void stream.destroy() };
    },
    async assertUnchanged() {},
    async close() {},
  };
}

async function* untilAborted(stream: Readable, signal: AbortSignal): AsyncIterable<Buffer> {
  // A stalled producer would block the loop forever, so abort destroys the stream.
  const stop = () => stream.destroy(cancelled(signal));
  signal.addEventListener("abort", stop, { once: true });
  try {
    throwIfCancelled(signal);
    for await (const chunk of stream) yield typeof chunk === "string" ? Buffer.from(chunk) : chunk;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** Reads exact lengths from chunks of any size. */
export function readerOf(chunks: AsyncIterable<Uint8Array>): SourceReader {
  const iterator = chunks[Symbol.asyncIterator]();
  /** The unread remainder of the last chunk. */
  let rest: Uint8Array = new Uint8Array(0);
  return {
    async read(into) {
      let length = 0;
      while (length < into.length) {
        if (rest.length === 0) {
          const next = await iterator.next();
          if (next.done) break;
          rest = next.value;
        }
        const piece = rest.subarray(0, into.length - length);
        into.set(piece, length);
        length += piece.length;
        rest = rest.subarray(piece.length);
      }
      return length;
    },
    async close() {
      await iterator.return?.();
    },
  };
}

/** The source is not the file that was opened. */
export function sourceChanged(label: string): DocprocError {
  return new DocprocError("INTEGRITY", `${label} changed while it was being read.`, {
    hint: "Nothing was stored. Upload it again when no program writes to it.",
  });
}

function notAFile(label: string, directory: boolean): DocprocError {
  return directory
    ? new DocprocError("USAGE", `${label} is a directory.`, { hint: "Add -r to upload the files in it." })
    : new DocprocError("USAGE", `${label} is not a regular file.`, {
        hint: "Pipe it instead: docproc upload - --name NAME < FILE",
      });
}

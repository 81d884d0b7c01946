/** An input to upload: a file, which can be read again, or stdin, which cannot. */
import { constants } from "node:fs";
import { type FileHandle, lstat, open, stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import type { Readable } from "node:stream";
import type { DocumentSource } from "./document.ts";
import { cancelled, DocprocError, fromSystemError, throwIfCancelled } from "./errors.ts";
import { isAbsence } from "./presence.ts";

export interface Source extends DocumentSource {
  /** What the user typed, for messages. */
  readonly label: string;
  /** Where the file is, absolute, and what tells one content of it from another; null for stdin. */
  readonly place: { readonly path: string; readonly stamp: string } | null;
  /** Base name as the system gives it; empty for stdin. */
  readonly name: string;
  /** Bytes, or null when nobody knows before the end. */
  readonly size: number | null;
  /** Reads from the start, until the signal fires. A source of kind `stdin` can do this once. */
  read(signal: AbortSignal): AsyncIterable<Buffer>;
  /** Throws `INTEGRITY` when the file is no longer the one that was opened. */
  assertUnchanged(): Promise<void>;
  close(): Promise<void>;
}

/** Bytes a read. Large enough that a system call costs little beside hashing what it returns. */
const readSize = 256 * 1024;

/**
 * Opens a regular file once and keeps the descriptor, so that what is hashed, sent and checked is one file
 * even when the path is replaced meanwhile.
 * @param follow a symbolic link; where it is not, one that took the place of a file is no file
 * @throws NOT_FOUND, ACCESS_DENIED, or USAGE for anything that is not a regular file
 */
export async function openFile(path: string, label = path, follow = true): Promise<Source> {
  let handle: FileHandle | undefined;
  try {
    // Before open(): opening a FIFO would wait for a writer.
    const seen = await (follow ? stat : lstat)(path);
    if (!seen.isFile()) throw notAFile(label, seen.isDirectory());
    // Not blocking, in case a FIFO has taken its place by now.
    const flags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (follow ? 0 : (constants.O_NOFOLLOW ?? 0));
    handle = await open(path, flags);
    return await fileSource(handle, path, label);
  } catch (error) {
    await handle?.close();
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
    async *read(signal) {
      // Stops at the size seen at the start: a file that grows meanwhile is caught by assertUnchanged().
      let position = 0;
      while (position < size) {
        throwIfCancelled(signal);
        const length = Math.min(readSize, size - position);
        const { bytesRead, buffer } = await readAt(handle, label, length, position);
        if (bytesRead === 0) return;
        position += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
      // The files of /proc say that they are empty and are not.
      if (size === 0 && (await readAt(handle, label, 1, 0)).bytesRead > 0) throw notAFile(label, false);
    },
    async assertUnchanged() {
      const [now, atPath] = await lookAgain(handle, path, label);
      const same =
        now.size === opened.size &&
        now.mtimeNs === opened.mtimeNs &&
        atPath?.ino === opened.ino &&
        atPath.dev === opened.dev;
      if (!same) throw sourceChanged(label);
    },
    async close() {
      // It was only read: what it holds is uploaded by now, or its upload has failed for a reason of its own.
      await handle.close().catch(() => {});
    },
  };
}

/** The file that is open, and what has its path now. */
async function lookAgain(handle: FileHandle, path: string, label: string) {
  try {
    const atPath = stat(path, { bigint: true }).catch((error: unknown) => {
      if (isAbsence(error)) return undefined;
      throw error;
    });
    return await Promise.all([handle.stat({ bigint: true }), atPath]);
  } catch (error) {
    throw fromSystemError(error, label);
  }
}

async function readAt(handle: FileHandle, label: string, length: number, position: number) {
  try {
    return await handle.read(Buffer.allocUnsafe(length), 0, length, position);
  } catch (error) {
    throw fromSystemError(error, label);
  }
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
    async *read(signal) {
      // A producer that has stalled would keep the loop waiting for ever: abort ends the stream itself.
      const stop = () => stream.destroy(cancelled(signal));
      signal.addEventListener("abort", stop, { once: true });
      try {
        throwIfCancelled(signal);
        for await (const chunk of stream) yield typeof chunk === "string" ? Buffer.from(chunk) : chunk;
      } finally {
        signal.removeEventListener("abort", stop);
      }
    },
    async assertUnchanged() {},
    async close() {},
  };
}

/** The bytes read are not the file that was opened. */
export function sourceChanged(label: string): DocprocError {
  return new DocprocError("INTEGRITY", `${label} changed while it was being read.`, {
    hint: "Nothing was stored. Upload it again when nothing writes to it.",
  });
}

function notAFile(label: string, directory: boolean): DocprocError {
  return directory
    ? new DocprocError("USAGE", `${label} is a directory.`, { hint: "Add -r to upload the files in it." })
    : new DocprocError("USAGE", `${label} is not a regular file.`, {
        hint: "Pipe it instead: docproc upload - --name NAME < FILE",
      });
}

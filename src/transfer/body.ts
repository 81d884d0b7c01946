/** The two bodies of an upload: a document in memory, and one that is read and hashed while it is sent. */
import { hash } from "node:crypto";
import { crc32 } from "node:zlib";
import { reached } from "../core/crash-points.ts";
import { type Digests, RunningDigest } from "../core/digest.ts";
import { piecesOf } from "../storage/read-ahead.ts";
import type { Body, Piece } from "../storage/service.ts";
import { type Source, type SourceReader, sourceChanged } from "./source.ts";

/** A document that is in memory. */
export class MemoryBody implements Body {
  readonly bytes: Buffer;
  #position = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  async read(into: Uint8Array): Promise<Piece> {
    const piece = this.bytes.subarray(this.#position, this.#position + into.length);
    into.set(piece);
    this.#position += piece.length;
    const sha256 = hash("sha256", this.bytes.subarray(0, this.#position), "hex");
    return { length: piece.length, sha256, crc32: crc32(piece) };
  }

  async rewind(): Promise<boolean> {
    this.#position = 0;
    return true;
  }
}

export interface StreamedBodyOptions {
  /** Reads from the beginning. Called again to rewind, unless `once`. */
  readonly open: () => SourceReader;
  /** The source can be read once only. */
  readonly once: boolean;
  /** Called at the end, with the bytes read, before anybody learns that it is the end. Throws to refuse it. */
  readonly atEnd: (bytesRead: number) => Promise<void>;
}

/** A document that is read piece by piece, and hashed in another thread while the next piece is read. */
export class StreamedBody implements Body {
  readonly #options: StreamedBodyOptions;
  #reader: SourceReader;
  #digest = new RunningDigest();
  /** The last reading that was asked for: each waits for the one before it, and fails with it. */
  #reading: Promise<number> = Promise.resolve(0);
  #position = 0;
  #ended = false;
  #last: Digests = { sha256: hash("sha256", "", "hex"), crc32: 0 };

  constructor(options: StreamedBodyOptions) {
    this.#options = options;
    this.#reader = options.open();
  }

  /** Bytes read so far. */
  get size(): number {
    return this.#position;
  }

  /** SHA-256 of the bytes read so far, hex. */
  get sha256(): string {
    return this.#last.sha256;
  }

  async read(into: Uint8Array): Promise<Piece> {
    const reading = this.#reading.then(() => this.#fill(into));
    this.#reading = reading;
    const length = await reading;
    if (length === 0) return { length, sha256: this.sha256, crc32: 0 };
    const digests = await this.#digest.update(into.subarray(0, length));
    this.#last = digests;
    return { length, ...digests };
  }

  async #fill(into: Uint8Array): Promise<number> {
    if (this.#ended) return 0;
    const length = await this.#reader.read(into);
    this.#position += length;
    if (length < into.length) {
      await this.#options.atEnd(this.#position);
      this.#ended = true;
    }
    return length;
  }

  async rewind(): Promise<boolean> {
    if (this.#options.once) return false;
    // An attempt that was given up may still be reading.
    await this.#reading.catch(() => {});
    await this.close();
    this.#reader = this.#options.open();
    this.#digest = new RunningDigest();
    this.#reading = Promise.resolve(0);
    this.#position = 0;
    this.#ended = false;
    return true;
  }

  /** Ends the reading, wherever it is. */
  async close(): Promise<void> {
    this.#digest.close();
    await this.#reader.close();
  }
}

/** The beginning of a source, and whether it is all of it. */
export interface Head {
  readonly bytes: Buffer;
  /** Reads what comes behind it; undefined when that was all. */
  readonly rest: SourceReader | undefined;
}

/** Bytes from which the type of a document is told. */
const headSize = 256 * 1024;

/**
 * Reads the beginning of a source: all of it up to `limit` bytes, of a larger file only some.
 * @throws INTEGRITY when a file ends before its size
 */
export async function readHead(source: Source, limit: number, signal: AbortSignal): Promise<Head> {
  const { size } = source;
  const reader = source.read(signal);
  // Of a stream one byte more, to learn whether there is more.
  const wanted = size === null ? limit + 1 : size > limit ? Math.min(headSize, size) : size;
  const into = Buffer.allocUnsafe(wanted);
  const length = await reader.read(into);
  const bytes = into.subarray(0, length);
  const isAll = size === null ? length <= limit : size <= limit;
  if (!isAll) return { bytes, rest: reader };
  await reader.close();
  if (size !== null && length !== size) throw sourceChanged(source.label);
  return { bytes, rest: undefined };
}

/**
 * A source larger than its head, read while it is sent.
 * Its end is reached only if the source held still, so that nobody publishes bytes that never stood in a file.
 */
export function streamedBody(source: Source, head: Head, signal: AbortSignal): StreamedBody {
  const { size } = source;
  let begun = false;
  return new StreamedBody({
    open() {
      // Only to start again is the head read twice.
      if (begun || head.rest === undefined) return source.read(signal);
      begun = true;
      return behind(head.bytes, head.rest);
    },
    once: source.place === null,
    async atEnd(bytesRead) {
      if (size !== null && bytesRead !== size) throw sourceChanged(source.label);
      await source.assertUnchanged();
      reached("source-read");
    },
  });
}

/** Reads what was read already, then the rest. */
function behind(head: Uint8Array, rest: SourceReader): SourceReader {
  let left = head;
  return {
    async read(into) {
      const piece = left.subarray(0, into.length);
      into.set(piece);
      left = left.subarray(piece.length);
      return piece.length + (await rest.read(into.subarray(piece.length)));
    },
    close: () => rest.close(),
  };
}

/** Bytes read, and hashed, at a time where nothing is sent. */
const hashedAtATime = 1024 * 1024;

/** SHA-256 of a whole source, hex. */
export async function hashAll(source: Source, signal: AbortSignal): Promise<string> {
  const body = streamedBody(source, { bytes: Buffer.alloc(0), rest: undefined }, signal);
  try {
    for await (const _ of piecesOf(body, hashedAtATime));
    return body.sha256;
  } finally {
    await body.close();
  }
}

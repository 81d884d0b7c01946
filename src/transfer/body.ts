/** The two bodies of an upload: a document in memory, and one that is read and hashed while it is sent. */
import { hash } from "node:crypto";
import { crc32 } from "node:zlib";
import { reached } from "../core/crash-points.ts";
import { type Digests, RunningDigest } from "../core/digest.ts";
import type { DocprocError } from "../core/errors.ts";
import { piecesOf } from "../storage/read-ahead.ts";
import type { Body, Piece } from "../storage/service.ts";
import { type Source, type SourceReader, sourceChanged } from "./source.ts";

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
  /** The source can be read only once. */
  readonly once: boolean;
  /** Called with the bytes read before the end is reported. Throws to reject the body. */
  readonly atEnd: (bytesRead: number) => Promise<void>;
}

/** A document that is read in pieces and hashed in another thread while the next piece is read. */
export class StreamedBody implements Body {
  readonly #options: StreamedBodyOptions;
  #reader: SourceReader;
  #digest = new RunningDigest();
  /** The latest read: each read waits for the previous one, and fails with it. */
  #reading: Promise<number> = Promise.resolve(0);
  #position = 0;
  #ended = false;
  #last: Digests = { sha256: hash("sha256", "", "hex"), crc32: 0 };
  /** The latest update of the digests: the end of the body waits for it. */
  #hashing: Promise<Digests> = Promise.resolve(this.#last);

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
    if (length === 0) return { length, sha256: (await this.#hashing).sha256, crc32: 0 };
    this.#hashing = this.#digest.update(into.subarray(0, length));
    const digests = await this.#hashing;
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
    // An aborted attempt may still be reading.
    await this.#reading.catch(() => {});
    await this.close();
    this.#reader = this.#options.open();
    this.#digest = new RunningDigest();
    this.#hashing = Promise.resolve(this.#last);
    this.#reading = Promise.resolve(0);
    this.#position = 0;
    this.#ended = false;
    return true;
  }

  /** Ends the read in progress. */
  async close(): Promise<void> {
    this.#digest.close();
    await this.#reader.close();
  }
}

/** The beginning of a source, perhaps all of it. */
export interface SourceHead {
  readonly bytes: Buffer;
  /** Reads the remainder; undefined when there is none. */
  readonly rest: SourceReader | undefined;
}

/** Bytes that content-type detection gets. */
const headSize = 256 * 1024;

/**
 * Reads all of a source up to `limit` bytes, or only the beginning of a larger file.
 * @throws INTEGRITY when a file ends before its size
 */
export async function readHead(source: Source, limit: number, signal: AbortSignal): Promise<SourceHead> {
  const { size } = source;
  const reader = source.read(signal);
  // One byte beyond the limit shows whether a stream has more.
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
 * The body of a source larger than its head. It ends only if the source did not change, so that no mixture of two
 * versions is stored.
 */
export function streamedBody(source: Source, head: SourceHead, signal: AbortSignal): StreamedBody {
  const { size } = source;
  let begun = false;
  return new StreamedBody({
    open() {
      // Only a restart reads the head again.
      if (begun || head.rest === undefined) return source.read(signal);
      begun = true;
      return prepend(head.bytes, head.rest);
    },
    once: source.place === null,
    async atEnd(bytesRead) {
      if (size !== null && bytesRead !== size) throw sourceChanged(source.label);
      await source.assertUnchanged();
      reached("source-read");
    },
  });
}

/** Reads the head from memory, then the rest. */
function prepend(head: Uint8Array, rest: SourceReader): SourceReader {
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

/** Bytes per read when nothing is sent. */
const hashPieceSize = 1024 * 1024;

/** SHA-256 of a whole source, hex. */
export async function hashAll(source: Source, signal: AbortSignal): Promise<string> {
  const body = streamedBody(source, { bytes: Buffer.alloc(0), rest: undefined }, signal);
  try {
    await drain(body);
    return body.sha256;
  } finally {
    await body.close();
  }
}

/**
 * A body that ends only if it has the expected bytes, for a document that is known already.
 * @param sha256 hex
 * @param failure what it throws otherwise
 */
export function expecting(
  body: Body,
  { size, sha256 }: { readonly size: number; readonly sha256: string },
  failure: () => DocprocError,
): Body {
  // In memory it was hashed.
  if (body.bytes) return body;
  let length = 0;
  return {
    async read(into) {
      const piece = await body.read(into);
      length += piece.length;
      const isEnd = piece.length < into.length || length >= size;
      if (isEnd && (length !== size || piece.sha256 !== sha256)) throw failure();
      return piece;
    },
    async rewind() {
      length = 0;
      return await body.rewind();
    },
  };
}

/** Reads a body to its end. */
export async function drain(body: Body): Promise<void> {
  for await (const _ of piecesOf(body, hashPieceSize));
}

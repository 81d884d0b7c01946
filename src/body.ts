/** The two bodies of an upload: a document in memory, and one that is read and hashed while it is sent. */
import { createHash, type Hash, hash } from "node:crypto";
import { type Source, sourceChanged } from "./source.ts";
import { reached } from "./steps.ts";
import type { Body } from "./storage/service.ts";

/** A document that is in memory. */
export class MemoryBody implements Body {
  readonly #bytes: Uint8Array;
  #taken = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  async take(length: number): Promise<Uint8Array | undefined> {
    if (this.#taken >= this.#bytes.byteLength) return undefined;
    const piece = this.#bytes.subarray(this.#taken, this.#taken + length);
    this.#taken += piece.byteLength;
    return piece;
  }

  sha256(): string {
    return hash("sha256", this.#bytes.subarray(0, this.#taken), "hex");
  }

  async rewind(): Promise<boolean> {
    this.#taken = 0;
    return true;
  }
}

export interface StreamedBodyOptions {
  /** Reads from the beginning. Called again to rewind, unless `once`. */
  readonly read: () => AsyncIterable<Uint8Array>;
  /** The source can be read once only. */
  readonly once: boolean;
  /** Called at the end, with the bytes read, before anybody learns that it is the end. Throws to refuse it. */
  readonly atEnd: (bytesRead: number) => Promise<void>;
}

/** A document that is read piece by piece. The pieces are hashed in the order in which they are taken. */
export class StreamedBody implements Body {
  readonly #options: StreamedBodyOptions;
  #iterator: AsyncIterator<Uint8Array>;
  #digest: Hash = createHash("sha256");
  #taken = 0;
  /** Read, and not taken yet. */
  #rest: Uint8Array = new Uint8Array(0);
  #ended = false;

  constructor(options: StreamedBodyOptions) {
    this.#options = options;
    this.#iterator = options.read()[Symbol.asyncIterator]();
  }

  /** Bytes taken so far. */
  get taken(): number {
    return this.#taken;
  }

  async take(length: number): Promise<Uint8Array | undefined> {
    while (this.#rest.byteLength === 0) {
      if (this.#ended) return undefined;
      const next = await this.#iterator.next();
      if (next.done) {
        await this.#options.atEnd(this.#taken);
        this.#ended = true;
      } else {
        this.#rest = next.value;
      }
    }
    const piece = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(length);
    this.#digest.update(piece);
    this.#taken += piece.byteLength;
    return piece;
  }

  sha256(): string {
    // A copy, since a digest cannot be added to once it is read.
    return this.#digest.copy().digest("hex");
  }

  async rewind(): Promise<boolean> {
    if (this.#options.once) return false;
    await this.close();
    this.#iterator = this.#options.read()[Symbol.asyncIterator]();
    this.#digest = createHash("sha256");
    this.#taken = 0;
    this.#rest = new Uint8Array(0);
    this.#ended = false;
    return true;
  }

  /** Ends the reading, wherever it is. */
  async close(): Promise<void> {
    if (!this.#ended) await this.#iterator.return?.();
  }
}

/** The beginning of a source, and whether it is all of it. */
export interface Head {
  readonly bytes: Buffer;
  /** What comes behind it; undefined when that was all. */
  readonly rest: AsyncIterable<Buffer> | undefined;
}

/**
 * Reads the beginning of a source: all of it up to `limit` bytes, of a larger file only some.
 * @throws INTEGRITY when a file ends before its size
 */
export async function readHead(source: Source, limit: number, signal: AbortSignal): Promise<Head> {
  const chunks: Buffer[] = [];
  let length = 0;
  const iterator = source.read(signal)[Symbol.asyncIterator]();
  while (length <= limit) {
    const next = await iterator.next();
    if (next.done) {
      if (source.size !== null && length !== source.size) throw sourceChanged(source.label);
      return { bytes: Buffer.concat(chunks, length), rest: undefined };
    }
    chunks.push(next.value);
    length += next.value.length;
    // A large file need not be held: its beginning is enough, it is read on from there.
    if (source.size !== null && source.size > limit) break;
  }
  return { bytes: Buffer.concat(chunks, length), rest: { [Symbol.asyncIterator]: () => iterator } };
}

/**
 * A source larger than its head, read while it is sent.
 * Its end is reached only if the source held still, so that nobody publishes bytes that never stood in a file.
 */
export function streamedBody(source: Source, { bytes, rest }: Head, signal: AbortSignal): StreamedBody {
  const { size } = source;
  let begun = false;
  return new StreamedBody({
    read() {
      // Only to start again is the head read twice.
      if (begun || rest === undefined) return source.read(signal);
      begun = true;
      return concat(bytes, rest);
    },
    once: source.kind === "stdin",
    async atEnd(bytesRead) {
      if (size !== null && bytesRead !== size) throw sourceChanged(source.label);
      await source.assertUnchanged();
      reached("source-read");
    },
  });
}

async function* concat(head: Buffer, rest: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  yield head;
  yield* rest;
}

/** SHA-256 of a whole source, hex. */
export async function hashAll(source: Source, signal: AbortSignal): Promise<string> {
  const digest = createHash("sha256");
  for await (const chunk of source.read(signal)) digest.update(chunk);
  await source.assertUnchanged();
  return digest.digest("hex");
}

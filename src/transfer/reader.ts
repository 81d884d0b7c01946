/**
 * Reads a document whole and in order from any storage: several ranges at a time where that is faster, resuming after a
 * broken connection. The record is the authority: other sizes or SHA-256 values are errors.
 */
import { createHash } from "node:crypto";
import { pMapIterable } from "p-map";
import { DocprocError, throwIfCancelled, toDocprocError } from "../core/errors.ts";
import { pause } from "../core/retry.ts";
import type { DocumentRecord } from "../document/record.ts";
import { PlaceTaken } from "../storage/conflict.ts";
import type { StorageService } from "../storage/service.ts";

export interface Reading {
  readonly storage: StorageService;
  readonly key: string;
  readonly record: Pick<DocumentRecord, "id" | "size" | "sha256" | "source" | "uri">;
  /** Attempts to resume reading without {@link minProgress} bytes in between. */
  readonly retries: number;
  readonly signal: AbortSignal;
}

/** An object to read as a whole. */
export interface ObjectReading {
  readonly storage: StorageService;
  readonly key: string;
  /** Bytes. */
  readonly size: number;
  /** Attempts to resume reading without {@link minProgress} bytes in between. */
  readonly retries: number;
  readonly signal: AbortSignal;
}

/** Bytes that reset the count of failed attempts: with one byte each, retries would never end. */
const minProgress = 16 * 1024;
/** Bytes of one range. Times the ranges in flight, this bounds the memory of a read. */
const rangeSize = 8 * 1024 * 1024;

/**
 * The bytes of a document. Ends only when all were read and verified.
 * @throws INTEGRITY, after the last byte, when they differ; NOT_FOUND before the first one when the object is missing
 */
export async function* readDocument(reading: Reading): AsyncIterable<Uint8Array> {
  const { record } = reading;
  const digest = createHash("sha256");
  let size = 0;
  try {
    for await (const chunk of readStored({ ...reading, size: record.size })) {
      digest.update(chunk);
      size += chunk.byteLength;
      // Too many bytes are an error already, and might never end.
      if (size > record.size) break;
      yield chunk;
    }
  } catch (error) {
    throw toDocprocError(error).code === "NOT_FOUND" ? missing(record, error) : error;
  }
  if (size !== record.size) throw damaged(record, `it has ${size > record.size ? "more" : "fewer"} bytes`);
  if (digest.digest("hex") !== record.sha256) throw damaged(record, "its bytes differ from those uploaded");
}

/** How to get the bytes of a document back. */
export function howToRestore({ id, uri, source }: Reading["record"]): string {
  return source.kind === "register"
    ? `docproc did not store its bytes. Store the object again as ${uri}.`
    : `Put its bytes back from the original file: docproc upload FILE --restore ${id}`;
}

function damaged(record: Reading["record"], why: string): DocprocError {
  const message = `The document ${record.id} is damaged: ${why}.`;
  return new DocprocError("INTEGRITY", message, { hint: howToRestore(record) });
}

function missing(record: Reading["record"], cause: unknown): DocprocError {
  const [why, first] =
    cause instanceof PlaceTaken ? [`: ${cause.place} is not a regular file`, "Move it away. "] : ["", ""];
  const message = `The bytes of the document ${record.id} are missing${why}.`;
  return new DocprocError("NOT_FOUND", message, { hint: `${first}${howToRestore(record)}`, cause });
}

/** The unverified bytes of an object: possibly more than its size, never silently fewer. */
export function readStored(stretch: ObjectReading): AsyncIterable<Uint8Array> {
  const { storage, size } = stretch;
  const inRanges = storage.traits.rangesInFlight > 1 && size > rangeSize;
  return inRanges ? readInRanges(stretch) : readFrom(stretch, 0, size - 1);
}

async function* readInRanges(reading: ObjectReading): AsyncIterable<Uint8Array> {
  const { size } = reading;
  const starts = Array.from({ length: Math.ceil(size / rangeSize) }, (_, index) => index * rangeSize);
  // Stops the other ranges when one fails or the consumer stops.
  const stop = new AbortController();
  const signal = AbortSignal.any([reading.signal, stop.signal]);
  const readRange = async (start: number) => {
    const end = Math.min(start + rangeSize, size) - 1;
    const chunks: Uint8Array[] = [];
    for await (const chunk of readFrom({ ...reading, signal }, start, end)) chunks.push(chunk);
    return chunks;
  };
  const inFlight = reading.storage.traits.rangesInFlight;
  try {
    for await (const chunks of pMapIterable(starts, readRange, { concurrency: inFlight, backpressure: inFlight })) {
      yield* chunks;
    }
  } finally {
    stop.abort();
  }
}

/** Reads the bytes from `start` to `end`, both included, and resumes after a broken connection. */
async function* readFrom(reading: ObjectReading, start: number, end: number): AsyncIterable<Uint8Array> {
  const { storage, key, retries, signal } = reading;
  let position = start;
  for (let attempt = 1; ; attempt++) {
    // Without a range, the read also reveals excess bytes.
    const whole = position === 0 && end === reading.size - 1;
    // Outside of the try: the storage has retried open() itself.
    const bytes = await storage.open(key, whole ? { signal } : { signal, range: { start: position, end } });
    const from = position;
    try {
      for await (const chunk of bytes) {
        throwIfCancelled(signal);
        position += chunk.byteLength;
        if (position - from >= minProgress) attempt = 1;
        yield chunk;
        // Too many bytes are an error already, and might never end.
        if (position > end + 1) return;
      }
      return;
    } catch (error) {
      throwIfCancelled(signal);
      if (toDocprocError(error).code !== "UNAVAILABLE" || attempt > retries || position > end) throw error;
    }
    await pause(attempt, signal);
  }
}

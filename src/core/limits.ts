/** Default concurrency: enough to keep a network busy, bounded by the memory. */

const mebibyte = 1024 * 1024;

/** Bytes of one part of a multipart upload. Five MiB is the least that S3 takes; fewer, larger parts cost fewer requests. */
export const defaultPartSize = 8 * mebibyte;

/** Parts of a file from which on they are larger rather than more: each costs a request, and a flush of the journal. */
const manyParts = 64;
/** Parts that have to be on their way at a time to fill a network. */
const fewestInFlight = 4;

/**
 * Bytes of the parts of a file.
 * @param size bytes of the file
 * @param memory bytes that parts on their way may take
 */
export function plannedPartSize(size: number, memory: number): number {
  let partSize = defaultPartSize;
  while (size / partSize > manyParts && 2 * partSize * fewestInFlight <= memory) partSize *= 2;
  return partSize;
}

/** Bytes that documents on their way are given on a machine that has plenty: eight parts. */
const enoughMemory = 64 * mebibyte;

/**
 * Bytes that documents on their way may take, of all files together.
 * @param machine bytes of memory that the machine or the container has
 */
export function documentMemory(machine: number, partSize = defaultPartSize, partsInFlight?: number): number {
  if (partsInFlight !== undefined) return partsInFlight * partSize;
  return Math.min(enoughMemory, Math.floor(machine / 16));
}

/** Documents that are read, checked or removed at a time. */
export const defaultConcurrency = 4;
/** Files uploaded at a time, if the memory is enough: most are small, and what takes time is to wait for answers. */
export const uploadConcurrency = 32;

/**
 * Bytes of the memory for documents that one upload is reckoned with.
 * @param size bytes of the file; null for a stream
 * @param inMemoryLimit bytes up to which a file is held in memory whole
 */
export function reckonedMemory(size: number | null, inMemoryLimit: number, memory: number): number {
  // A large one sends from memory that all of them share. A few at a time fill the network, and are done sooner.
  return size === null || size > inMemoryLimit ? memory / 4 : size;
}

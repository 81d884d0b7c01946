/** Default concurrency: enough to keep a network busy, bounded by the memory. */

const mebibyte = 1024 * 1024;

/** Bytes. S3 takes no parts under 5 MiB; fewer, larger parts cost fewer requests. */
export const defaultPartSize = 8 * mebibyte;

/** From this number on, parts grow instead: each costs a request and a journal flush. */
const manyParts = 64;
/** Parts in flight that are needed to fill a network. */
const fewestInFlight = 4;

/**
 * Plans the part size of a file, in bytes.
 * @param size bytes of the file
 * @param memory bytes that parts in flight may use
 */
export function plannedPartSize(size: number, memory: number): number {
  let partSize = defaultPartSize;
  while (size / partSize > manyParts && 2 * partSize * fewestInFlight <= memory) partSize *= 2;
  return partSize;
}

/** Bytes in flight on a machine with plenty of memory: eight parts. */
const enoughMemory = 64 * mebibyte;

/**
 * Bytes that documents in flight may use, all files together.
 * @param machine bytes of memory of the machine or container
 */
export function documentMemory(machine: number, partSize = defaultPartSize, partsInFlight?: number): number {
  if (partsInFlight !== undefined) return partsInFlight * partSize;
  return Math.min(enoughMemory, Math.floor(machine / 16));
}

/** Documents read, checked or removed in parallel. */
export const defaultConcurrency = 4;
/** Files uploaded in parallel if memory allows: most are small, and the time goes into waiting for answers. */
export const uploadConcurrency = 32;

/**
 * The share of `memory` that one upload reserves, in bytes.
 * @param size bytes of the file; null for a stream
 * @param inMemoryLimit bytes up to which a file is held in memory whole
 */
export function memoryShare(size: number | null, inMemoryLimit: number, memory: number): number {
  // Large files share the send buffers. Four at a time fill the network and finish sooner.
  return size === null || size > inMemoryLimit ? memory / 4 : size;
}

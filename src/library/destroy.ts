/** Removes a library: checks all of it first, then removes the storage, then the catalog. */
import { DocprocError, toDocprocError } from "../core/errors.ts";
import type { DismantledResource } from "../core/resources.ts";
import type { Settings } from "../core/settings.ts";
import type { MetadataDriver } from "../metadata/service.ts";
import type { StorageDriver } from "../storage/service.ts";

/** The drivers that the settings chose. */
export interface Drivers {
  readonly storage: StorageDriver;
  readonly metadata: MetadataDriver;
}

/**
 * What would happen to each resource. Changes nothing.
 * @throws CONFLICT with all obstacles, of both services
 */
export async function planRemoval(
  { storage, metadata }: Drivers,
  settings: Settings,
  signal: AbortSignal,
): Promise<DismantledResource[]> {
  const shared = await sharePlace({ storage, metadata }, settings);
  const resources: DismantledResource[] = [];
  const conflicts: DocprocError[] = [];
  for (const driver of [storage, metadata]) {
    try {
      for await (const resource of driver.dismantle(settings, { plan: true, signal, shared })) resources.push(resource);
    } catch (thrown) {
      const error = toDocprocError(thrown);
      if (error.code !== "CONFLICT") throw error;
      conflicts.push(error);
    }
  }
  const [first] = conflicts;
  if (first === undefined) return resources;
  const messages = conflicts.map(({ message }) => message).join(" ");
  throw new DocprocError("CONFLICT", messages, { hint: first.hint, cause: first });
}

/**
 * Removes what {@link planRemoval} listed. The storage goes first: without it no upload can complete, and only S3
 * removes a bucket on condition that it is empty. Can be run again after any interruption.
 */
export async function* removeLibrary(
  { storage, metadata }: Drivers,
  settings: Settings,
  signal: AbortSignal,
): AsyncIterable<DismantledResource> {
  const shared = await sharePlace({ storage, metadata }, settings);
  for (const driver of [storage, metadata]) yield* driver.dismantle(settings, { plan: false, signal, shared });
}

/** Whether both services use one place, which is removed last. */
async function sharePlace({ storage, metadata }: Drivers, settings: Settings): Promise<boolean> {
  return (await storage.placeOf(settings)) === (await metadata.placeOf(settings));
}

/** The services that the settings choose, and the library on top of them. All of them open on first use. */
import { join } from "node:path";
import type { Settings } from "../core/settings.ts";
import { type MetadataName, metadataDrivers } from "../metadata/registry.ts";
import type { MetadataDriver, MetadataService } from "../metadata/service.ts";
import { type StorageName, storageDrivers } from "../storage/registry.ts";
import type { StorageDriver, StorageService } from "../storage/service.ts";
import { DocumentService } from "./documents.ts";

export interface Services {
  /** The drivers that the settings chose. */
  drivers(): Promise<{ storage: StorageDriver; metadata: MetadataDriver }>;
  documents(): Promise<DocumentService>;
  /** For what looks at both of them, and is no business of documents. */
  services(): Promise<{ storage: StorageService; metadata: MetadataService }>;
  /** Closes what was opened. */
  close(): Promise<void>;
}

export interface ServicesOptions {
  /** Asked for once, with the first thing that is opened. */
  readonly settings: () => Promise<Settings>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Called with what is of interest to who looks for a fault. */
  readonly debug: (message: string) => void;
}

/** Bytes; a document up to this size is read into memory whole, so that its hash is known before it is sent. */
const inMemoryLimit = 8 * 1024 * 1024;

/** Opens nothing yet. What a driver refuses to work with is said by the first call that needs it. */
export function openServices(options: ServicesOptions): Services {
  const settings = once(options.settings);
  const drivers = once(async () => {
    const chosen = await settings();
    const storage = storageDrivers[chosen.storage as StorageName];
    const metadata = metadataDrivers[chosen.metadata as MetadataName];
    // Both at once: one of them may be opened, and asked things, long before the other.
    for (const driver of [storage, metadata]) driver.check(chosen);
    return { storage, metadata };
  });
  const opened: (StorageService | MetadataService)[] = [];
  const open = <S extends StorageService | MetadataService>(opening: () => Promise<S>) =>
    once(async () => {
      const service = await opening();
      opened.push(service);
      return service;
    });
  const storage = open(async () => (await drivers()).storage.open(await settings()));
  const metadata = open(async () => (await drivers()).metadata.open(await settings()));
  return {
    drivers,
    documents: once(async () => {
      const { prefix, retries, resume, stateDirectory, owners, memory } = await settings();
      const journals = async () => {
        const { UploadJournals } = await import("../transfer/journal.ts");
        return new UploadJournals(join(stateDirectory, "uploads"), owners, options.debug);
      };
      return new DocumentService({
        storage,
        metadata,
        prefix,
        journals: resume ? journals : undefined,
        inMemoryLimit,
        memory,
        retries,
        now: options.now,
      });
    }),
    services: async () => ({ storage: await storage(), metadata: await metadata() }),
    async close() {
      await Promise.all(opened.map((service) => service.close()));
    },
  };
}

/** The answer of the first call, for every call. */
export function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

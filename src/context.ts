/** What a command is given: the outside world, the configuration, the services. Nothing opens until asked. */
import { join } from "node:path";
import type { Readable } from "node:stream";
import { type Config, type ConfigInput, loadConfig } from "./config.ts";
import { DocumentService } from "./documents.ts";
import { type MetadataName, metadataDrivers } from "./metadata/registry.ts";
import type { MetadataDriver, MetadataService } from "./metadata/service.ts";
import type { OutputStream, Reporter } from "./output/reporter.ts";
import { type StorageName, storageDrivers } from "./storage/registry.ts";
import type { StorageDriver, StorageService } from "./storage/service.ts";

/** Everything of the process that the program may know. bin/docproc.ts makes the real one, tests make others. */
export interface Host {
  /** Arguments, without the program. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly home: string;
  /** Of this user; undefined on Windows. */
  readonly uid?: number | undefined;
  /** Permissions that new files of this process do not get. */
  readonly umask: number;
  /** Absolute; where the platform keeps data, config and state of this program. */
  readonly paths: { readonly data: string; readonly config: string; readonly state: string };
  /** Bytes that this machine or container has. */
  readonly memory: number;
  readonly stdin: () => Readable & { readonly isTTY?: boolean };
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  /** Why stdout could not be written; undefined while it can. */
  readonly stdoutError?: () => Error | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Fires on the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  readonly version: string;
}

export interface Context {
  readonly host: Host;
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
  config(): Promise<Config>;
  /** The drivers that the configuration chose. */
  drivers(): Promise<{ storage: StorageDriver; metadata: MetadataDriver }>;
  documents(): Promise<DocumentService>;
  /** For what looks at both of them, and is no business of documents. */
  services(): Promise<{ storage: StorageService; metadata: MetadataService }>;
  /** The same for the library of a profile, wherever flags and variables say that this one is. */
  inProfile(name: string): Context;
  /** Closes what was opened. */
  close(): Promise<void>;
}

export type ConfigFlags = Pick<ConfigInput, "flags" | "file" | "use" | "apart">;

/** Bytes; a document up to this size is read into memory whole, so that its hash is known before it is sent. */
const inMemoryLimit = 8 * 1024 * 1024;

export function createContext(host: Host, reporter: Reporter, flags: ConfigFlags): Context {
  const { env, cwd, home, uid, paths, memory, signal } = host;
  const config = once(() => loadConfig({ ...flags, env, cwd, home, uid, paths, memory }));
  const drivers = once(async () => {
    const { settings } = await config();
    const storage = storageDrivers[settings.storage as StorageName];
    const metadata = metadataDrivers[settings.metadata as MetadataName];
    // Both at once: one of them may be opened, and asked things, long before the other.
    for (const driver of [storage, metadata]) driver.check(settings);
    return { storage, metadata };
  });
  const opened: { close(): Promise<void> }[] = [];
  const open = <S extends StorageService | MetadataService>(opening: () => Promise<S>) =>
    once(async () => {
      const service = await opening();
      opened.push(service);
      return service;
    });
  const storage = open(async () => (await drivers()).storage.open((await config()).settings));
  const metadata = open(async () => (await drivers()).metadata.open((await config()).settings));
  return {
    host,
    reporter,
    signal,
    config,
    drivers,
    documents: once(async () => {
      const { prefix, retries, resume, stateDirectory, memory } = (await config()).settings;
      const journals = async () => {
        const { UploadJournals } = await import("./journal.ts");
        return new UploadJournals(join(stateDirectory, "uploads"), (message) => reporter.debug(message));
      };
      return new DocumentService({
        storage,
        metadata,
        prefix,
        journals: resume ? journals : undefined,
        inMemoryLimit,
        memory,
        retries,
        now: host.now,
      });
    }),
    services: async () => ({ storage: await storage(), metadata: await metadata() }),
    inProfile(name) {
      const other = createContext(host, reporter, { ...flags, use: name, apart: true });
      opened.push(other);
      return other;
    },
    async close() {
      await Promise.all(opened.map((service) => service.close()));
    },
  };
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

/**
 * A library: everything that commands and programs do with documents, on any storage and catalog. They use nothing
 * below it. Services and rarely needed code load on first use.
 */
import { join } from "node:path";
import type { PlaceName } from "../core/driver.ts";
import { DocprocError } from "../core/errors.ts";
import type { PolicyStatement, Role } from "../core/policy.ts";
import type { DismantledResource, ProvisionedResource, ProvisionOptions } from "../core/resources.ts";
import type { Settings } from "../core/settings.ts";
import type { Selection } from "../document/query.ts";
import type { DocumentRecord, TextMap } from "../document/record.ts";
import { Marks } from "../metadata/marks.ts";
import { type MetadataName, metadataDrivers } from "../metadata/registry.ts";
import type { Entry, MetadataService } from "../metadata/service.ts";
import { type StorageName, storageDrivers } from "../storage/registry.ts";
import type { StorageService } from "../storage/service.ts";
import type { UploadedDocument, UploadRequest } from "../transfer/request.ts";
import type { Source } from "../transfer/source.ts";
import type { UploadProtocol } from "../transfer/upload.ts";
import type { CopiedDocument, CopyRequest, CopySide } from "./copy.ts";
import type { Drivers } from "./destroy.ts";
import type { Examination, Examined, Finding } from "./doctor.ts";
import { bytesOf } from "./documents.ts";
import { documentsOf, findDocument, getDocument } from "./find.ts";
import type { ImportedDocument, ImportRequest } from "./import.ts";
import type { RegisteredDocument, RegisterRequest } from "./register.ts";
import type { RemovedBytes } from "./removal.ts";
import type { Services } from "./services.ts";
import type { SignedRequest, SignRequest } from "./sign.ts";
import type { Stats } from "./stats.ts";
import type { RetaggedDocument, TagEdit } from "./tag.ts";
import type { DocumentDamage, VerifyRequest } from "./verify.ts";

export interface DocumentLibraryOptions {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Receives details for debugging. */
  readonly debug: (message: string) => void;
}

/** Bytes; up to this size a document is read into memory and hashed before it is sent. */
const inMemoryLimit = 8 * 1024 * 1024;

export class DocumentLibrary {
  readonly settings: Settings;
  readonly #services: Services;
  /** The checked drivers that the settings chose. */
  readonly #drivers: () => Drivers;
  /** One for all uploads: they share its memory. */
  readonly #uploads: () => Promise<UploadProtocol>;
  readonly #opened: (StorageService | MetadataService)[] = [];

  /** Opens nothing. The first call that needs a driver throws if the driver refuses the settings. */
  constructor(settings: Settings, { now, debug }: DocumentLibraryOptions) {
    this.settings = settings;
    const { prefix, retries } = settings;
    this.#drivers = once(() => {
      const storage = storageDrivers[settings.storage as StorageName];
      const metadata = metadataDrivers[settings.metadata as MetadataName];
      // Both at once, because one may be in use long before the other is opened.
      for (const driver of [storage, metadata]) driver.check(settings);
      return { storage, metadata };
    });
    const open = <S extends StorageService | MetadataService>(opening: () => Promise<S>) =>
      once(async () => {
        const service = await opening();
        this.#opened.push(service);
        return service;
      });
    const storage = open(() => this.#drivers().storage.open(settings));
    const metadata = open(() => this.#drivers().metadata.open(settings));
    this.#services = { storage, metadata, marks: new Marks(metadata), prefix, retries, now };
    this.#uploads = once(() => this.#loadUploads(debug));
  }

  /** @throws INVALID_CONFIG when a driver refuses the settings */
  check(): void {
    this.#drivers();
  }

  /**
   * Opens both services. Sends nothing: what they refuse is known before any document is looked at.
   * @throws INVALID_CONFIG for settings that a driver cannot work with
   */
  async open(): Promise<void> {
    await Promise.all([this.#services.storage(), this.#services.metadata()]);
  }

  /**
   * The id of the catalog, which is made if there is none: it is there, and of this version of docproc.
   * @throws NOT_INITIALISED, and INVALID_CONFIG when another version of docproc wrote it
   */
  async catalog(signal: AbortSignal): Promise<string> {
    return await this.#services.marks.catalog(signal);
  }

  /** The name by which people know the library. */
  get name(): PlaceName {
    return this.#drivers().storage.nameOf(this.settings);
  }

  /** The catalog's service, if it charges for every record read. */
  get chargedBy(): string | undefined {
    const { traits, title } = this.#drivers().metadata;
    return traits.readsFree ? undefined : title;
  }

  /** The IAM statements of a role; none for a library that is not on AWS. */
  async permissions(role: Role): Promise<PolicyStatement[]> {
    const all = Object.values(this.#drivers()).map((driver) => driver.permissions?.(role, this.settings) ?? []);
    return (await Promise.all(all)).flat();
  }

  /** Creates what the library needs; yields the outcome for each resource. Existing resources stay. */
  async *provision({ plan, signal }: ProvisionOptions): AsyncIterable<ProvisionedResource> {
    // Plan first, so that an unusable table fails before a bucket is created.
    if (!plan) for await (const _ of this.provision({ plan: true, signal }));
    for (const driver of Object.values(this.#drivers())) yield* driver.provision(this.settings, { plan, signal });
  }

  /** See `planRemoval`. */
  async planDismantling(signal: AbortSignal): Promise<DismantledResource[]> {
    const { planRemoval } = await import("./destroy.ts");
    return await planRemoval(this.#drivers(), this.settings, signal);
  }

  /** See `removeLibrary`. */
  async *dismantle(signal: AbortSignal): AsyncIterable<DismantledResource> {
    const { removeLibrary } = await import("./destroy.ts");
    yield* removeLibrary(this.#drivers(), this.settings, signal);
  }

  /** Milliseconds by which each service's clock is ahead of this machine's. */
  async *clockSkews(signal: AbortSignal): AsyncIterable<readonly [service: string, skew: number]> {
    for (const [service, driver] of Object.entries(this.#drivers())) {
      yield [service, await driver.clockSkew(this.settings, signal)];
    }
  }

  /** See {@link findDocument}. */
  async find(reference: string, signal: AbortSignal): Promise<DocumentRecord> {
    return await findDocument(await this.#services.metadata(), reference, signal);
  }

  /** See {@link getDocument}. */
  async get(id: string, signal: AbortSignal): Promise<DocumentRecord> {
    return await getDocument(await this.#services.metadata(), id, signal);
  }

  /** The records of {@link entries}. */
  async list(query: Selection, signal: AbortSignal): Promise<AsyncIterable<DocumentRecord>> {
    return recordsOf(await this.entries(query, signal));
  }

  /**
   * All that the catalog keeps of the matching documents: see {@link MetadataService.list}.
   * @throws USAGE for an order that the catalog cannot list in
   */
  async entries(query: Selection, signal: AbortSignal): Promise<AsyncIterable<Entry>> {
    const { traits, title } = this.#drivers().metadata;
    if (query.sort !== undefined && !traits.sorts) {
      throw new DocprocError("USAGE", `${title} would have to read everything to list documents by ${query.sort}.`, {
        hint: `Read it once and sort it: docproc list --all --json | jq '.documents | sort_by(.${query.sort})'`,
      });
    }
    const metadata = await this.#services.metadata();
    if (!query.latest) return metadata.list(query, signal);
    const { listNewest } = await import("./newest.ts");
    return listNewest(metadata, query, signal);
  }

  /** The ids of the documents of a path, newest first. */
  async *versions(path: string, signal: AbortSignal): AsyncIterable<string> {
    yield* (await this.#services.metadata()).versions(path, signal);
  }

  /** See {@link documentsOf}. */
  async *documentsOf(path: string, signal: AbortSignal): AsyncIterable<DocumentRecord> {
    yield* documentsOf(await this.#services.metadata(), path, signal);
  }

  /** See {@link bytesOf}. */
  read(record: DocumentRecord, signal: AbortSignal): AsyncIterable<Uint8Array> {
    return bytesOf(this.#services, record, signal);
  }

  /** See `collectStats`. */
  async stats(query: Omit<Selection, "ascending">, signal: AbortSignal): Promise<Stats> {
    const { collectStats } = await import("./stats.ts");
    return await collectStats(await this.list({ ...query, ascending: true }, signal));
  }

  /** See {@link UploadProtocol.run}. */
  async upload(source: Source, request: UploadRequest): Promise<UploadedDocument> {
    return await (await this.#uploads()).run(source, request);
  }

  /** See `registerObject`. */
  async register(uri: string, request: RegisterRequest): Promise<RegisteredDocument> {
    const { registerObject } = await import("./register.ts");
    return await registerObject(uri, this.#services, request);
  }

  /** See `importRecord`. */
  async importRecord(record: DocumentRecord, given: TextMap, request: ImportRequest): Promise<ImportedDocument> {
    const { importRecord } = await import("./import.ts");
    return await importRecord(record, given, this.#services, request);
  }

  /** Copies a document from another library into this one: see `copyDocument`. */
  async copyFrom(from: DocumentLibrary, record: DocumentRecord, options: CopyRequest): Promise<CopiedDocument> {
    const { copyDocument } = await import("./copy.ts");
    return await copyDocument(record, from.#side(), this.#side(), options);
  }

  /**
   * Refuses to copy a library onto itself.
   * @throws USAGE
   */
  async assertApartFrom(from: DocumentLibrary, signal: AbortSignal): Promise<void> {
    const { assertApart } = await import("./copy.ts");
    await assertApart(from.#side(), this.#side(), signal);
  }

  /** See `retag`. */
  async tag(record: DocumentRecord, edit: TagEdit, signal: AbortSignal): Promise<RetaggedDocument> {
    const { retag } = await import("./tag.ts");
    return await retag(await this.#services.metadata(), record, edit, signal);
  }

  /** See `signDocument`. */
  async sign(record: DocumentRecord, request: SignRequest): Promise<SignedRequest> {
    const { signDocument } = await import("./sign.ts");
    return await signDocument(this.#services, record, request);
  }

  /** See `verifyDocument`. */
  async verify(record: DocumentRecord, options: VerifyRequest): Promise<DocumentDamage | undefined> {
    const { verifyDocument } = await import("./verify.ts");
    return await verifyDocument(this.#services, record, options);
  }

  /** See `removeDocument`. */
  async remove(record: DocumentRecord, signal: AbortSignal): Promise<RemovedBytes> {
    const { removeDocument } = await import("./removal.ts");
    return await removeDocument(this.#services, record, signal);
  }

  /** See `examine`. */
  async examine(examination: Examination, found: (finding: Finding) => Promise<void>): Promise<Examined> {
    const { examine } = await import("./doctor.ts");
    return await examine(this.#services, examination, found);
  }

  /** Closes the opened services. */
  async close(): Promise<void> {
    await Promise.all(this.#opened.map((service) => service.close()));
  }

  #side(): CopySide {
    return { settings: this.settings, services: this.#services, uploads: this.#uploads };
  }

  /** Sending, reading and hashing take time to load; looking a document up needs none of it. */
  async #loadUploads(debug: (message: string) => void): Promise<UploadProtocol> {
    const { resume, stateDirectory, owners, memory } = this.settings;
    const [{ UploadProtocol }, journals] = await Promise.all([
      import("../transfer/upload.ts"),
      resume ? import("../transfer/journal.ts") : undefined,
    ]);
    return new UploadProtocol({
      ...this.#services,
      journals: journals && new journals.UploadJournals(join(stateDirectory, "uploads"), owners, debug),
      inMemoryLimit,
      memory,
    });
  }
}

async function* recordsOf(entries: AsyncIterable<Entry>): AsyncIterable<DocumentRecord> {
  for await (const { record } of entries) yield record;
}

/** Memoises the first call. */
export function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

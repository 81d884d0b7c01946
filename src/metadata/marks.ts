/** Ownership of objects, from their mark: the id of the catalog that each was stored for. */
import type { MetadataService } from "./service.ts";

/** `adopted`: its catalog is gone and this one took it over. `unknown`: it has no mark. */
export type Owner = "ours" | "adopted" | "other" | "unknown";

/** Resolves marks for one catalog, whose ids are cached. */
export class Marks {
  readonly #metadata: () => Promise<MetadataService>;
  #catalog: Promise<string> | undefined;
  #adopted: Promise<readonly string[]> | undefined;

  /** @param metadata called at the first mark */
  constructor(metadata: () => Promise<MetadataService>) {
    this.#metadata = metadata;
  }

  /** @param mark see `StoredObject.catalog` */
  async ownerOf(mark: string | null, signal: AbortSignal): Promise<Owner> {
    if (mark === null) return "unknown";
    if (mark === (await this.catalog(signal))) return "ours";
    this.#adopted ??= this.#metadata().then((metadata) => metadata.adopted(signal));
    // Failures are not cached: the next request may succeed.
    this.#adopted.catch(() => {
      this.#adopted = undefined;
    });
    return (await this.#adopted).includes(mark) ? "adopted" : "other";
  }

  /** See {@link MetadataService.catalog}. */
  async catalog(signal: AbortSignal): Promise<string> {
    this.#catalog ??= this.#metadata().then((metadata) => metadata.catalog(signal));
    this.#catalog.catch(() => {
      this.#catalog = undefined;
    });
    return await this.#catalog;
  }

  /** See {@link MetadataService.adopt}. Does nothing when the objects are this catalog's already. */
  async adopt(catalog: string, signal: AbortSignal): Promise<void> {
    if ((await this.ownerOf(catalog, signal)) !== "other") return;
    await (await this.#metadata()).adopt(catalog, signal);
    this.#adopted = undefined;
  }
}

/** True for a possible catalog id. A mark in a bucket may be any text. */
export function isCatalogId(text: string): boolean {
  return /^[0-9a-f][0-9a-f-]{31,35}$/.test(text);
}

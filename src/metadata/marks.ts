/** Whose an object is, as its mark says: the id of the catalog that it was stored for. */
import type { MetadataService } from "./service.ts";

/** `adopted`: of a catalog that is gone, and whose objects are this one's. `unknown`: it has no mark. */
export type Owner = "ours" | "adopted" | "other" | "unknown";

/** Reads the marks of objects for one catalog, which is asked for its ids once. */
export class Marks {
  readonly #metadata: () => Promise<MetadataService>;
  #catalog: Promise<string> | undefined;
  #adopted: Promise<readonly string[]> | undefined;

  /** @param metadata called with the first mark */
  constructor(metadata: () => Promise<MetadataService>) {
    this.#metadata = metadata;
  }

  /** @param mark see `StoredObject.catalog` */
  async ownerOf(mark: string | null, signal: AbortSignal): Promise<Owner> {
    if (mark === null) return "unknown";
    if (mark === (await this.catalog(signal))) return "ours";
    this.#adopted ??= this.#metadata().then((metadata) => metadata.adopted(signal));
    // A failure is of one request, the next one may succeed.
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

  /** See {@link MetadataService.adopt}. Nothing is done where its objects are this catalog's already. */
  async adopt(catalog: string, signal: AbortSignal): Promise<void> {
    if ((await this.ownerOf(catalog, signal)) !== "other") return;
    await (await this.#metadata()).adopt(catalog, signal);
    this.#adopted = undefined;
  }
}

/** True for what can be the id of a catalog. A mark in a bucket may be any text. */
export function isCatalogId(text: string): boolean {
  return /^[0-9a-f][0-9a-f-]{31,35}$/.test(text);
}

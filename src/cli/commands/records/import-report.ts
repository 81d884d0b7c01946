/** Reports an import of many records. */
import { counted } from "../../../core/not-empty.ts";
import type { ImportedDocument } from "../../../library/import.ts";

/** Limit on named catalogs: a hostile bucket may have any number of marks. */
const catalogsNamed = 5;

/** Totals of an import, so that its records need not be kept. */
export class ImportCounts {
  /** Whether any object belongs to the catalog to adopt. */
  adopted = false;
  readonly #counts = { imported: 0, unchanged: 0, unhashed: 0 };
  readonly #others = new Set<string>();

  add({ action, hashed }: ImportedDocument): void {
    this.#counts[action] += 1;
    if (!hashed) this.#counts.unhashed += 1;
  }

  /** @param id of another catalog that an object belongs to */
  addOther(id: string): void {
    if (this.#others.size < catalogsNamed) this.#others.add(id);
  }

  /** The summary in `docproc.import/1`; `durationMs` in milliseconds. */
  summary(total: number, failed: number, durationMs: number) {
    return { total, ...this.#counts, failed, otherCatalogs: [...this.#others], durationMs };
  }
}

/** Lines for people. */
export function importSummary(summary: ReturnType<ImportCounts["summary"]>): string {
  const { imported, unchanged, unhashed, failed, otherCatalogs } = summary;
  const sentences = [`${imported} imported, ${unchanged} unchanged, ${failed} failed.`];
  if (unhashed > 0)
    sentences.push(
      `The bytes of ${counted(unhashed, "document")} are not hashed yet: uploads store them again until import --deep has hashed them.`,
    );
  if (otherCatalogs.length > 0) {
    const ids = otherCatalogs.join(", ");
    sentences.push(`Some objects belong to the catalog ${ids}. If it is lost for good, take them over with --adopt.`);
  }
  return sentences.join(" ");
}

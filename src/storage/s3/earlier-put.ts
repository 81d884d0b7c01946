/** Finds what S3 still has of an interrupted put, so that it can be resumed. */
import { httpStatusOf } from "../../aws/failures.ts";
import { DocprocError } from "../../core/errors.ts";
import type { BegunUpload, PutOptions, StoredObject } from "../service.ts";
import { headObject, type ObjectTarget, type StoredPart, storedParts } from "./parts.ts";

export class EarlierPut {
  /** The upload to go on with. */
  readonly begun: BegunUpload | undefined;
  /** The object, if it was completed by a request whose answer nobody got. */
  readonly completed: StoredObject | undefined;
  readonly #checkpoint: PutOptions["checkpoint"];
  readonly #stored: ReadonlyMap<number, StoredPart>;

  private constructor(
    options: PutOptions,
    found: { begun?: BegunUpload; completed?: StoredObject; stored?: ReadonlyMap<number, StoredPart> },
  ) {
    this.#checkpoint = options.checkpoint;
    this.begun = found.begun;
    this.completed = found.completed;
    this.#stored = found.stored ?? new Map();
  }

  /** Looks for what the checkpoint remembers. Rejects with what the SDK throws. */
  static async find(target: ObjectTarget, options: PutOptions, signal: AbortSignal): Promise<EarlierPut> {
    const begun = options.checkpoint?.begun;
    if (begun === undefined) return new EarlierPut(options, {});
    try {
      return new EarlierPut(options, { begun, stored: await storedParts(target, begun.uploadId, signal) });
    } catch (error) {
      if (httpStatusOf(error) !== 404) throw error;
    }
    // Completed without an answer, or dropped by the bucket's lifecycle rule or by a doctor.
    const object = await headObject(target, signal).catch((error) => {
      if (httpStatusOf(error) === 404) return undefined;
      throw error;
    });
    const ours = object?.size === options.size && isMarkedFor(object, options.catalog);
    return new EarlierPut(options, ours ? { begun, completed: object } : {});
  }

  /** Bytes that S3 has of it. */
  get storedBytes(): number {
    return this.completed?.size ?? totalSize(this.#stored.values());
  }

  /**
   * The part as S3 has it, if it holds exactly these bytes: what was just read again has the digest that was
   * remembered when S3 acknowledged the part, and S3 still lists it as it did then.
   * @param sha256 of the body up to the end of the part
   * @throws INTEGRITY when the object is complete and holds other bytes than the file does now
   */
  has(number: number, bytes: number, sha256: string): StoredPart | undefined {
    const saved = this.#checkpoint?.part(number);
    const same = saved?.sha256 === sha256 && saved.size === bytes;
    if (this.completed) {
      if (!same) throw changedSinceStored();
      return { PartNumber: number, ETag: saved.etag, size: bytes };
    }
    const stored = this.#stored.get(number);
    return same && stored?.size === bytes && bare(stored.ETag) === bare(saved.etag) ? stored : undefined;
  }
}

/** Whether an object was stored for this catalog. Endpoints that keep no metadata are given the benefit of the doubt. */
export function isMarkedFor({ catalog }: StoredObject, expected: string): boolean {
  return catalog === null || catalog === expected;
}

/** Bytes of some parts. */
export function totalSize(parts: Iterable<StoredPart>): number {
  let bytes = 0;
  for (const { size } of parts) bytes += size;
  return bytes;
}

/** Servers disagree on whether an ETag has its quotes in a listing. */
function bare(etag: string | undefined): string | undefined {
  return etag?.replaceAll('"', "");
}

/** An upload was completed, the answer never came, and by now the file holds other bytes. */
export function changedSinceStored(): DocprocError {
  return new DocprocError("INTEGRITY", "The file is not the one that was stored before an interruption.", {
    hint: "Nothing was recorded. Run the same command again: it starts anew.",
  });
}

/** Finds what S3 still has of an interrupted put, so that it can be resumed. */
import { httpStatusOf } from "../../aws/failures.ts";
import { DocprocError } from "../../core/errors.ts";
import type { BegunUpload, PutOptions, StoredObject } from "../service.ts";
import { headIfThere, isWritable, type ObjectTarget, type StoredPart, storedParts } from "./parts.ts";

export class EarlierPut {
  /** The upload to resume. */
  readonly begun: BegunUpload | undefined;
  /** The object, if a request whose response was lost has completed it. */
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

  /** Looks up the upload in the checkpoint. Rejects with the SDK's error. */
  static async find(target: ObjectTarget, options: PutOptions, signal: AbortSignal): Promise<EarlierPut> {
    const begun = options.checkpoint?.begun;
    if (begun === undefined) return new EarlierPut(options, {});
    try {
      return new EarlierPut(options, { begun, stored: await storedParts(target, begun.uploadId, signal) });
    } catch (error) {
      if (httpStatusOf(error) !== 404) throw error;
    }
    // Completed without a response, or dropped by the lifecycle rule or doctor.
    const object = await headIfThere(target, signal);
    // A damaged object that is still to be replaced may have the size and the mark, too.
    const isDone = object && !(options.replaces && isWritable(object, options));
    const ours = isDone && object.size === options.size && isMarkedFor(object, options.catalog);
    return new EarlierPut(options, ours ? { begun, completed: object } : {});
  }

  /** Bytes of it that S3 has stored. */
  get storedBytes(): number {
    return this.completed?.size ?? totalSize(this.#stored.values());
  }

  /**
   * The stored part, if it has exactly these bytes: they were just read again and have the digest that was saved when
   * S3 acknowledged the part, and S3 still lists it unchanged.
   * @param sha256 of the body up to the end of the part
   * @throws INTEGRITY when the object is complete and differs from the file
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

/** Whether an object was stored for this catalog. Without metadata, as on some endpoints, it counts as ours. */
export function isMarkedFor({ catalog }: StoredObject, expected: string): boolean {
  return catalog === null || catalog === expected;
}

/** Bytes of some parts. */
export function totalSize(parts: Iterable<StoredPart>): number {
  let bytes = 0;
  for (const { size } of parts) bytes += size;
  return bytes;
}

/** Servers disagree on whether a listed ETag has quotes. */
function bare(etag: string | undefined): string | undefined {
  return etag?.replaceAll('"', "");
}

/** The upload was completed without a response, and the file has changed since. */
export function changedSinceStored(): DocprocError {
  return new DocprocError("INTEGRITY", "The file differs from the one stored before the interruption.", {
    hint: "Nothing was recorded. Run the same command again; it starts over.",
  });
}

/** Finds the interrupted upload to resume, and cleans up those that cannot be. */

import { reached } from "../core/crash-points.ts";
import { throwIfCancelled, toDocprocError } from "../core/errors.ts";
import type { TextMap } from "../document/record.ts";
import type { MetadataService } from "../metadata/service.ts";
import type { StorageService } from "../storage/service.ts";
import type { UploadIdentity, UploadJournal, UploadJournals, UploadPlan } from "./journal.ts";
import type { Source } from "./source.ts";

interface ResumptionRequest {
  /** Of the document. */
  readonly path: string;
  readonly tags: TextMap;
  readonly signal: AbortSignal;
}

export interface ResumptionOptions {
  readonly storage: StorageService;
  readonly metadata: MetadataService;
  /** See {@link MetadataService.catalog}. */
  readonly catalog: (signal: AbortSignal) => Promise<string>;
  /** Undefined when nothing should be resumed. */
  readonly journals: UploadJournals | undefined;
}

export class Resumption {
  readonly #options: ResumptionOptions;

  constructor(options: ResumptionOptions) {
    this.#options = options;
  }

  /**
   * Opens the journal of an upload. Its plan is an earlier run's if that can be resumed, else `plan`.
   * @param last id of the path: an upload that began before it is not resumed, as its document would be an older version
   * @returns undefined when there is no journal: for stdin, a storage that cannot resume, or beside another process
   */
  async open(
    source: Source,
    request: ResumptionRequest,
    plan: UploadPlan,
    last: string | undefined,
  ): Promise<UploadJournal | undefined> {
    const { journals, metadata } = this.#options;
    const identity = journals && (await this.#identity(source, request));
    let journal = identity && (await journals.open(identity, plan));
    try {
      const earlier = journal && journal.plan.id !== plan.id ? journal.plan : undefined;
      const isOld = earlier !== undefined && last !== undefined && earlier.id < last;
      if (identity && journal && earlier && (isOld || (await metadata.get(earlier.id, request.signal)))) {
        // If it is recorded, it was interrupted after the commit, and this upload is a new one.
        await journal.remove();
        journal = await journals.open(identity, plan);
        await this.#discard(earlier, request.signal);
      }
      if (journal?.abandoned) await this.#discard(journal.abandoned, request.signal);
    } catch (error) {
      journal?.close();
      throw error;
    }
    reached("journal-opened");
    return journal;
  }

  /** Removes what an interrupted upload left of a document that exists by now. */
  async drop(source: Source, request: ResumptionRequest, plan: UploadPlan): Promise<void> {
    const { journals } = this.#options;
    const identity = journals && (await this.#identity(source, request));
    if (!identity || !(await journals.has(identity))) return;
    const journal = await journals.open(identity, plan);
    if (journal === undefined) return;
    try {
      await this.#discard(journal.abandoned ?? journal.plan, request.signal);
    } catch {
      // The document exists all the same; the next run or doctor cleans up.
      journal.close();
      throwIfCancelled(request.signal);
      return;
    }
    await journal.remove();
  }

  async #identity(source: Source, { path, tags, signal }: ResumptionRequest): Promise<UploadIdentity | undefined> {
    const { storage, catalog } = this.#options;
    if (!storage.traits.resumes || source.place === null) return undefined;
    return { target: `${storage.uri("")} ${await catalog(signal)}`, file: source.place.path, path, tags };
  }

  /** Removes the remains of an upload that never became a document. What cannot be removed now is left to doctor. */
  async #discard({ id, key }: Pick<UploadPlan, "id" | "key">, signal: AbortSignal): Promise<void> {
    const { storage, metadata } = this.#options;
    if (await metadata.get(id, signal)) return;
    try {
      for await (const leftover of storage.leftovers(key, signal)) {
        if (!("isForeign" in leftover)) await leftover.discard(signal);
      }
      await storage.remove(key, signal);
    } catch (error) {
      throwIfCancelled(signal);
      if (toDocprocError(error).code === "INTERNAL") throw error;
    }
  }
}

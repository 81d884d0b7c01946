/** Finds the interrupted upload to resume, and cleans up those that cannot be. */

import { reached } from "../core/crash-points.ts";
import { throwIfCancelled, toDocprocError } from "../core/errors.ts";
import type { TextMap } from "../document/record.ts";
import type { MetadataService } from "../metadata/service.ts";
import type { StorageService } from "../storage/service.ts";
import type { UploadIdentity, UploadJournal, UploadJournals, UploadPlan } from "./journal.ts";
import type { Source } from "./source.ts";

interface Request {
  readonly name: string;
  readonly tags: TextMap;
  readonly signal: AbortSignal;
}

export interface ResumptionOptions {
  readonly storage: StorageService;
  readonly metadata: MetadataService;
  /** See {@link MetadataService.catalog}. */
  readonly catalog: (signal: AbortSignal) => Promise<string>;
  /** Undefined where nothing is to be gone on with. */
  readonly journals: UploadJournals | undefined;
}

export class Resumption {
  readonly #options: ResumptionOptions;

  constructor(options: ResumptionOptions) {
    this.#options = options;
  }

  /**
   * The journal of an upload, whose plan is that of an earlier run where it can be gone on with, and `plan` otherwise.
   * @returns undefined where no journal is kept: of stdin, by a storage that cannot go on, beside another process
   */
  async open(source: Source, request: Request, plan: UploadPlan): Promise<UploadJournal | undefined> {
    const { journals, metadata } = this.#options;
    const identity = journals && (await this.#identity(source, request));
    let journal = identity && (await journals.open(identity, plan));
    try {
      const goesOn = journal !== undefined && journal.plan.id !== plan.id;
      if (identity && journal && goesOn && (await metadata.get(journal.plan.id, request.signal))) {
        // Interrupted between the commit and its last word: that document is done, this is another one.
        await journal.remove();
        journal = await journals.open(identity, plan);
      }
      if (journal?.abandoned) await this.#discard(journal.abandoned, request.signal);
    } catch (error) {
      journal?.close();
      throw error;
    }
    reached("journal-opened");
    return journal;
  }

  /** The document is there, by whatever way: what an interrupted upload of it left is of no use any more. */
  async drop(source: Source, request: Request, plan: UploadPlan): Promise<void> {
    const { journals } = this.#options;
    const identity = journals && (await this.#identity(source, request));
    if (!identity || !(await journals.has(identity))) return;
    const journal = await journals.open(identity, plan);
    if (journal === undefined) return;
    try {
      await this.#discard(journal.abandoned ?? journal.plan, request.signal);
    } catch {
      // The document is there all the same; the next run, or a doctor, clears up.
      journal.close();
      throwIfCancelled(request.signal);
      return;
    }
    await journal.remove();
  }

  async #identity(source: Source, { name, tags, signal }: Request): Promise<UploadIdentity | undefined> {
    const { storage, catalog } = this.#options;
    if (!storage.traits.resumes || source.place === null) return undefined;
    return { target: `${storage.uri("")} ${await catalog(signal)}`, path: source.place.path, name, tags };
  }

  /** Removes what an upload left that never became a document. What cannot be removed now, a doctor will find. */
  async #discard({ id, key }: Pick<UploadPlan, "id" | "key">, signal: AbortSignal): Promise<void> {
    const { storage, metadata } = this.#options;
    if (await metadata.get(id, signal)) return;
    try {
      for await (const leftover of storage.leftovers(key, signal)) {
        if (leftover.kind !== "foreign") await leftover.discard(signal);
      }
      await storage.remove(key, signal);
    } catch (error) {
      throwIfCancelled(signal);
      if (toDocprocError(error).code === "INTERNAL") throw error;
    }
  }
}

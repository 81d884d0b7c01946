/** Changes the tags of a stored document. Tags are part of its identity, so its claim moves. */

import { DocprocError } from "../core/errors.ts";
import { cleanUpSignal, pause } from "../core/retry.ts";
import { identityOf } from "../document/identity.ts";
import { type DocumentRecord, documentTags, type TextMap } from "../document/record.ts";
import { mayHaveSucceeded, orphanClaim, outcomeUnknown } from "../metadata/commit-outcome.ts";
import type { MetadataService, RetagResult } from "../metadata/service.ts";

export interface TagEdit {
  readonly set: TextMap;
  readonly unset: readonly string[];
}

/** @throws USAGE for a tag to be both set and removed */
export function tagEdit(set: TextMap, unset: readonly string[]): TagEdit {
  const both = unset.find((key) => Object.hasOwn(set, key));
  if (both === undefined) return { set, unset };
  throw new DocprocError("USAGE", `The tag ${JSON.stringify(both)} cannot be both set and removed.`, {
    hint: "Remove one of them.",
  });
}

export interface RetaggedDocument extends DocumentRecord {
  readonly action: "tagged" | "unchanged";
}

/** Retries while others change the same document. */
const attempts = 5;

/**
 * Sets and removes tags atomically; other tags stay, including concurrent changes by others.
 * @throws CONFLICT, with nothing changed, when another document has the same name, bytes and tags
 * @throws NOT_FOUND when it is gone, USAGE when it would have too many tags
 */
export async function retag(
  metadata: MetadataService,
  found: DocumentRecord,
  edit: TagEdit,
  signal: AbortSignal,
): Promise<RetaggedDocument> {
  let record: DocumentRecord | undefined = found;
  for (let attempt = 1; record !== undefined; attempt++) {
    const tags = edited(record.tags, edit);
    const changed: DocumentRecord = { ...record, tags };
    const identity = identityOf(changed);
    if (identity === identityOf(record)) return { ...record, action: "unchanged" };
    const result: RetagResult = await metadata.retag(record, tags, identity, signal).catch(async (error: unknown) => {
      // The response may have been lost after success: ask the catalog.
      if (!mayHaveSucceeded(error)) throw error;
      const now = await metadata.get(found.id, cleanUpSignal(signal)).catch(() => undefined);
      if (now !== undefined && identityOf(now) === identity) return { retagged: true };
      throw outcomeUnknown(error, `whether the tags of ${found.id} were changed`);
    });
    if (result.retagged) return { ...changed, action: "tagged" };
    const { holder } = result;
    if (holder !== undefined && (await metadata.get(holder, signal))) throw sameDocument(record.name, holder);
    if (attempt === attempts) throw holder === undefined ? tooMany(found.id) : orphanClaim(record.name, holder);
    await pause(attempt, signal);
    record = await metadata.get(found.id, signal);
  }
  throw new DocprocError("NOT_FOUND", `The document ${found.id} no longer exists.`);
}

function edited(tags: TextMap, { set, unset }: TagEdit): TextMap {
  const all = Object.entries({ ...tags, ...set }).filter(([key]) => !unset.includes(key));
  return documentTags(all.map(([key, value]) => `${key}=${value}`));
}

function sameDocument(name: string, holder: string): DocprocError {
  return new DocprocError("CONFLICT", `The document ${holder} has the same name, bytes and tags: ${name}.`, {
    hint: "Nothing was changed. Use that document, and delete this one with docproc delete.",
  });
}

function tooMany(id: string): DocprocError {
  return new DocprocError("CONFLICT", `Other commands changed the tags of ${id} ${attempts} times meanwhile.`, {
    hint: "Nothing was changed. Run the same command again.",
  });
}

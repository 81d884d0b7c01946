/** Changes the tags of a stored document. It stays in its series: see `Series`. */

import { DocprocError } from "../core/errors.ts";
import { type DocumentRecord, documentTags, type TextMap } from "../document/record.ts";
import type { MetadataService } from "../metadata/service.ts";
import { changeRecord } from "../transfer/change.ts";

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

/**
 * Sets and removes tags atomically; other tags stay, including concurrent changes by others.
 * @throws NOT_FOUND when it is gone, USAGE when it would have too many tags, CONFLICT when others keep changing it
 */
export async function retag(
  metadata: MetadataService,
  found: DocumentRecord,
  edit: TagEdit,
  signal: AbortSignal,
): Promise<RetaggedDocument> {
  const { record, changed } = await changeRecord(metadata, found, ({ tags }) => ({ tags: edited(tags, edit) }), signal);
  return { ...record, action: changed ? "tagged" : "unchanged" };
}

function edited(tags: TextMap, { set, unset }: TagEdit): TextMap {
  const all = Object.entries({ ...tags, ...set }).filter(([key]) => !unset.includes(key));
  return documentTags(all.map(([key, value]) => `${key}=${value}`));
}

/** What an upload is asked for, and what it answers. */
import type { Series } from "../document/identity.ts";
import type { DocumentRecord, Provenance, TextMap } from "../document/record.ts";
import type { GivenFacts } from "./known.ts";

export interface UploadRequest {
  /** See `documentPath`. */
  readonly path: string;
  /** What the user said of it. */
  readonly facts: GivenFacts;
  /** Detects the content type from the first bytes. Called only for a new document without a given type. */
  readonly detectType: (head: Uint8Array) => Promise<string>;
  readonly tags: TextMap;
  /** May still be pending; never rejects. */
  readonly provenance: Promise<Provenance | null>;
  readonly onDuplicate: "reuse" | "store";
  /** The document whose bytes are to be restored from the source; nothing else is stored. */
  readonly restores?: DocumentRecord | undefined;
  /** The id to record it under, and the tags of its series: those it has in another library. */
  readonly as?: { readonly id: string; readonly given: TextMap };
  /** Read and hash, but send and commit nothing. */
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
  /** Called with the bytes newly sent. */
  readonly onProgress?: (bytes: number) => void;
  /** Called with the bytes that an earlier run stored. */
  readonly onSkipped?: (bytes: number) => void;
}

export type UploadAction = "uploaded" | "resumed" | "unchanged" | "restored" | "updated" | "planned";

/** A record, or a planned one: null for fields that only an upload can fill. */
export type UploadedDocument = { [Field in keyof DocumentRecord]: DocumentRecord[Field] | null } & {
  readonly action: UploadAction;
  /** Bytes sent for this document. */
  readonly bytesSent: number;
};

/** The series that an upload belongs to. */
export function seriesOf({ path, tags, as }: Pick<UploadRequest, "path" | "tags" | "as">): Series {
  return { path, given: as?.given ?? tags };
}

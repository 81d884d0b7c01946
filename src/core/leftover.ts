/** Garbage that an interrupted operation can leave in a service; no listing shows it. */
export interface Leftover {
  readonly kind: "multipart-upload" | "temporary-file" | "empty-directory";
  /** For a person who looks for it: a key, or a path. */
  readonly name: string;
  /** Milliseconds since somebody last worked on it, as far as the service knows, by the service's own clock. */
  readonly age: number;
  /** Removes it. Removing what is gone already succeeds. */
  discard(signal: AbortSignal): Promise<void>;
}

/** What lies where an operation keeps its leftovers, and docproc did not make: it is named, and left as it is. */
export interface ForeignEntry {
  readonly kind: "foreign";
  /** For a person who looks for it: a path. */
  readonly name: string;
}

/** What an operation that was cut short can leave in a service: nothing lists it, and it is only in the way. */
export interface Leftover {
  /** The driver's word for it, with hyphens: `multipart-upload`. */
  readonly kind: string;
  /** For a person who looks for it: a key, or a path. */
  readonly name: string;
  /** The storage key that it is of, where other programs may leave such things beside ours. */
  readonly key?: string;
  /** Milliseconds since somebody last worked on it, as far as the service knows, by the service's own clock. */
  readonly age: number;
  /** Removes it. Removing what is gone already succeeds. */
  discard(signal: AbortSignal): Promise<void>;
}

/** What lies where an operation keeps its leftovers, and docproc did not make: it is named, and left as it is. */
export interface ForeignEntry {
  readonly isForeign: true;
  /** For a person who looks for it: a path. */
  readonly name: string;
}

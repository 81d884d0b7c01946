/** Garbage that an interrupted operation can leave in a service; no listing shows it. */
export interface Leftover {
  /** The driver's name for its kind, hyphenated: `multipart-upload`. */
  readonly kind: string;
  /** A key or a path, for a person to find it. */
  readonly name: string;
  /** Its storage key, where other programs may leave similar garbage. */
  readonly key?: string;
  /** Milliseconds since the last activity that the service knows of, by the service's clock. */
  readonly age: number;
  /** Removes it. Idempotent. */
  discard(signal: AbortSignal): Promise<void>;
}

/** An entry where leftovers are stored that docproc did not make. It is reported and never touched. */
export interface ForeignEntry {
  readonly isForeign: true;
  /** A path, for a person to find it. */
  readonly name: string;
}

/** The settings of every library, after config/ has resolved them. For those of drivers see `Driver.settings`. */
export interface Settings {
  /** Name of a driver in storage/registry.ts. */
  readonly storage: string;
  /** Name of a driver in metadata/registry.ts. */
  readonly metadata: string;
  /** Prepended to every storage key; empty, or ends in a slash. */
  readonly prefix: string;
  /** Bytes of one part of a multipart upload; undefined: planned from the size. */
  readonly partSize: number | undefined;
  /** Parts in flight, all files together; undefined: planned from the memory. */
  readonly partsInFlight: number | undefined;
  /** Bytes that documents in flight may use, all files together: from {@link partsInFlight} or the machine. */
  readonly memory: number;
  /** Files or documents in flight; undefined: the command decides. */
  readonly concurrency: number | undefined;
  /** `reuse` an existing record with the same name, bytes and tags, or `store` another one. */
  readonly onDuplicate: "reuse" | "store";
  /** Retries of a request after a transient failure. */
  readonly retries: number;
  /** Milliseconds without progress after which a request, including its retries, is aborted. */
  readonly timeout: number;
  /** Keep a journal of large uploads, to resume interrupted ones. */
  readonly resume: boolean;
  /** Record the commit and the CI job that a document comes from. */
  readonly provenance: boolean;
  /** Added to every upload that does not set the key itself. */
  readonly tags: Readonly<Record<string, string>>;
  /** True when `${VARIABLE}` in {@link tags} is expanded: the tags come from a file. */
  readonly expandTags: boolean;
  /** Variables that may be expanded besides those of CI jobs. */
  readonly tagVariables: readonly string[];
  /** Absolute path of the state kept between runs. */
  readonly stateDirectory: string;
  /** Ids of trusted file owners; undefined where the system has no such ids. */
  readonly owners: ReadonlySet<number> | undefined;
}

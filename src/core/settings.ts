/**
 * What a user can set, whichever drivers are in use, after config/ has decided where each value comes from.
 * The settings of all drivers stand beside these, see `Driver.settings`.
 */
export interface Settings {
  /** Name of a driver in storage/registry.ts. */
  readonly storage: string;
  /** Name of a driver in metadata/registry.ts. */
  readonly metadata: string;
  /** Put before every storage key; empty, or ends in a slash. */
  readonly prefix: string;
  /** Bytes of one part of a multipart upload; undefined plans it from the size. */
  readonly partSize: number | undefined;
  /** Parts of multipart uploads on their way at a time, of all files together; undefined plans it from the memory. */
  readonly partsInFlight: number | undefined;
  /** Bytes that documents on their way may take, of all files together: from {@link partsInFlight} or the machine. */
  readonly memory: number;
  /** Files or documents in flight; undefined leaves it to the command. */
  readonly concurrency: number | undefined;
  /** `reuse` an existing record with the same name, bytes and tags, or `store` another one. */
  readonly onDuplicate: "reuse" | "store";
  /** How often a request that failed for a passing reason is sent again. */
  readonly retries: number;
  /** Milliseconds without any progress after which a request is given up, its retries included. */
  readonly timeout: number;
  /** Keep a journal of large uploads, to go on from where one was interrupted. */
  readonly resume: boolean;
  /** Record which commit and which CI job a document comes from. */
  readonly provenance: boolean;
  /** Of every upload, unless it names the key itself. */
  readonly tags: Readonly<Record<string, string>>;
  /** True where `${VARIABLE}` in {@link tags} is expanded: they come from a file. */
  readonly expandTags: boolean;
  /** Variables that may be expanded beside those that describe a CI job. */
  readonly tagVariables: readonly string[];
  /** Absolute path of what docproc remembers between two runs. */
  readonly stateDirectory: string;
  /** Ids of the users whose files are believed; undefined where the system has no such ids. */
  readonly owners: ReadonlySet<number> | undefined;
}

/**
 * The settings a user can set, after config/ has resolved them.
 * Drivers read what concerns them and refuse what is missing.
 */
export interface Settings {
  /** Name of a driver in storage/registry.ts. */
  readonly storage: string;
  /** Name of a driver in metadata/registry.ts. */
  readonly metadata: string;
  /** Absolute path of the embedded library: stored bytes and catalog. */
  readonly directory: string;
  readonly bucket: string | undefined;
  /** The AWS account that the bucket has to belong to; S3 refuses every request to another one's. */
  readonly bucketOwner: string | undefined;
  /** Put before every storage key; empty, or ends in a slash. */
  readonly prefix: string;
  readonly table: string | undefined;
  readonly region: string | undefined;
  readonly profile: string | undefined;
  readonly endpointUrl: string | undefined;
  /** Bytes of one part of a multipart upload; undefined plans it from the size. */
  readonly partSize: number | undefined;
  /** Parts of multipart uploads on their way at a time, of all files together; undefined plans it from the memory. */
  readonly partsInFlight: number | undefined;
  /** Bytes that documents on their way may take, of all files together: from {@link partsInFlight} or the machine. */
  readonly memory: number;
  /** Files or documents in flight; undefined leaves it to the command. */
  readonly concurrency: number | undefined;
  /** Connections to S3, and as many to DynamoDB, in use at a time; undefined takes as many as there are requests. */
  readonly connections: number | undefined;
  /** `reuse` an existing record with the same name, bytes and tags, or `store` another one. */
  readonly onDuplicate: "reuse" | "store";
  /** Where S3 requests go when not to Amazon: {@link endpointUrl}, or what AWS's own variables say. */
  readonly customEndpoint: string | undefined;
  /** Hardenings that the endpoint does not have, by kind, separated by commas: what init found out. */
  readonly unsupported: string;
  /** True allows requests without TLS to other machines. */
  readonly allowHttp: boolean;
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

/** What became of one resource when a driver provisioned it. */
export interface ProvisionedResource {
  /** For example `bucket`, `lifecycle-rule`, `table`. */
  readonly kind: string;
  readonly name: string;
  readonly action: ProvisionAction;
  /**
   * What it is made with where it is not there: file modes, and of AWS the parameters of the request under AWS's own
   * names. What is there already may be set otherwise; of a directory it is the mode that it has. Empty for what is
   * only looked at.
   */
  readonly settings: Readonly<Record<string, unknown>>;
  /** What is worth knowing of one that is there and was not made by docproc, as a clause. */
  readonly weakness?: string;
  /** Settings that were found out on the way and are worth writing into the config file. */
  readonly remember?: Pick<Settings, "bucketOwner">;
}

/** The `would-` forms are what a plan reports: nothing was changed. */
export type ProvisionAction = "created" | "exists" | "updated" | "unsupported" | "would-create" | "would-update";

/** What became of one resource when a driver dismantled it. */
export interface DismantledResource {
  /** For example `bucket`, `table`, `directory`. */
  readonly kind: string;
  readonly name: string;
  readonly action: DismantleAction;
  /** Why it was kept, as a clause: `it holds notes.txt`. */
  readonly because?: string;
}

/** `gone`: it was not there. `kept`: something is in it that is not docproc's, or nothing says that it is. */
export type DismantleAction = "removed" | "gone" | "kept" | "would-remove";

/** Of provisioning and of dismantling. */
export interface ProvisionOptions {
  /** Only look; change nothing. */
  readonly plan: boolean;
  readonly signal: AbortSignal;
}

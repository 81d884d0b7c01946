/**
 * The settings a user can set, after config/ has resolved them. Drivers read what concerns them and refuse what is
 * missing.
 */
export interface Settings {
  /** Name of a driver in storage/registry.ts. */
  readonly storage: string;
  /** Name of a driver in metadata/registry.ts. */
  readonly metadata: string;
  /** Absolute path of the embedded library: stored bytes and catalog. */
  readonly directory: string;
  readonly bucket: string | undefined;
  /** The AWS account that must own the bucket; S3 refuses every request to another account's. */
  readonly bucketOwner: string | undefined;
  /** Prepended to every storage key; empty, or ends in a slash. */
  readonly prefix: string;
  readonly table: string | undefined;
  readonly region: string | undefined;
  readonly profile: string | undefined;
  readonly endpointUrl: string | undefined;
  /** Bytes of one part of a multipart upload; undefined: planned from the size. */
  readonly partSize: number | undefined;
  /** Parts in flight, all files together; undefined: planned from the memory. */
  readonly partsInFlight: number | undefined;
  /** Bytes that documents in flight may use, all files together: from {@link partsInFlight} or the machine. */
  readonly memory: number;
  /** Files or documents in flight; undefined: the command decides. */
  readonly concurrency: number | undefined;
  /** Connections to S3, and as many to DynamoDB; undefined: no limit. */
  readonly connections: number | undefined;
  /** `reuse` an existing record with the same name, bytes and tags, or `store` another one. */
  readonly onDuplicate: "reuse" | "store";
  /** The S3 endpoint when it is not Amazon: {@link endpointUrl}, or from AWS's own variables. */
  readonly customEndpoint: string | undefined;
  /** Kinds of hardening that the endpoint lacks, comma-separated, as init found them. */
  readonly unsupported: string;
  /** Allows requests without TLS to other machines. */
  readonly allowHttp: boolean;
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

/** The outcome of provisioning one resource. */
export interface ProvisionedResource {
  /** For example `bucket`, `lifecycle-rule`, `table`. */
  readonly kind: string;
  readonly name: string;
  readonly action: ProvisionAction;
  /**
   * What a missing resource is created with: file modes, or AWS request parameters under AWS's own names. An existing
   * resource may differ; for an existing directory it is the actual mode. Empty for resources that are only checked.
   */
  readonly settings: Readonly<Record<string, unknown>>;
  /** A weakness of an existing resource that docproc did not create, as a clause. */
  readonly weakness?: string;
  /** Settings found during provisioning that belong in the config file. */
  readonly remember?: Pick<Settings, "bucketOwner">;
}

/** The `would-` forms come from a plan, which changes nothing. */
export type ProvisionAction = "created" | "exists" | "updated" | "unsupported" | "would-create" | "would-update";

/** The outcome of dismantling one resource. */
export interface DismantledResource {
  /** For example `bucket`, `table`, `directory`. */
  readonly kind: string;
  readonly name: string;
  readonly action: DismantleAction;
  /** Why it was kept, as a clause: `it holds notes.txt`. */
  readonly because?: string;
}

/** `gone`: it did not exist. `kept`: it holds something that is not, or may not be, docproc's. */
export type DismantleAction = "removed" | "gone" | "kept" | "would-remove";

/** For provisioning and dismantling. */
export interface ProvisionOptions {
  /** Check only; change nothing. */
  readonly plan: boolean;
  readonly signal: AbortSignal;
}

/**
 * The outcome of creating (`init`) and removing (`destroy`) the resources of a library, such as a bucket or a table.
 */

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
  readonly remember?: Readonly<Record<string, string>>;
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
  /** True when the other service uses the same place. */
  readonly shared?: boolean;
}

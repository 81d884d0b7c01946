/** What becomes of the resources of a library, such as a bucket or a table, when `init` makes them and `destroy` removes them. */

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
  readonly remember?: Readonly<Record<string, string>>;
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
  /** True where the other service keeps its things in the same place. */
  readonly shared?: boolean;
}

/** A driver as the registries list it: everything that is specific to one kind of storage or catalog. */
import type { PolicyStatement, Role } from "./policy.ts";
import type { DismantledResource, ProvisionedResource, ProvisionOptions } from "./resources.ts";
import type { ServiceName, SettingTable, ValuesOf } from "./setting.ts";
import type { Settings } from "./settings.ts";

export interface Driver<Service extends { readonly traits: object }, Own = object> {
  /** The common name of the service, such as `Amazon S3`. */
  readonly title: string;
  /** The traits of every service that {@link open} opens. */
  readonly traits: Service["traits"];
  /** The driver's own settings. Drivers share a setting by sharing its definition. */
  readonly settings: SettingTable;
  /** Settings that select this driver when their origin does not name one. */
  readonly chosenBy: readonly string[];
  /** True when requests leave this machine, even if only in principle (a loopback endpoint counts). */
  readonly isRemote: boolean;
  /** Drivers of the other service that go with this one, when its origin names none. */
  readonly implies?: Partial<Record<ServiceName, string>>;
  /** Values from environment variables that no setting covers. */
  derive?(settings: Settings & Own, env: Readonly<Record<string, string | undefined>>): Partial<Own>;
  /** @throws INVALID_CONFIG when a setting that the driver needs is missing or invalid. Sends nothing. */
  check(settings: Settings & Own): void;
  /** @throws what `check` throws. Sends nothing. */
  open(settings: Settings & Own): Promise<Service>;
  /** Creates and hardens what the driver needs; yields the outcome for each resource. Idempotent. */
  provision(settings: Settings & Own, options: ProvisionOptions): AsyncIterable<ProvisionedResource>;
  /**
   * Removes what `provision` creates; yields each resource once it is gone. Idempotent, also after an interruption: a
   * missing resource is `gone`. Checks everything before it changes anything. Of a directory it removes only what
   * docproc creates; with other content the directory is `kept`.
   * @throws CONFLICT, with nothing changed, when the place is not docproc's or not empty (objects and items of other
   *   programs and unfinished puts count)
   */
  dismantle(settings: Settings & Own, options: ProvisionOptions): AsyncIterable<DismantledResource>;
  /** Milliseconds by which the service's clock is ahead of this machine's; 0 when they share one. */
  clockSkew(settings: Settings & Own, signal: AbortSignal): Promise<number>;
  /** The name by which people know the resource that {@link provision} creates. Sends nothing, does not validate. */
  nameOf(settings: Settings & Own): PlaceName;
  /** Equal texts mean the same place. Sends nothing. */
  placeOf(settings: Settings & Own): Promise<string>;
  /** The IAM statements of a role. Absent for drivers that need no AWS permissions. */
  permissions?(role: Role, settings: Settings & Own): Promise<readonly PolicyStatement[]>;
}

/** The settings that select one of the matching drivers. */
export function choosingSettings<One extends { readonly chosenBy: readonly string[] }>(
  drivers: Readonly<Record<string, One>>,
  matches: (driver: One) => boolean = () => true,
): string[] {
  const chosenBy = Object.values(drivers)
    .filter(matches)
    .flatMap((driver) => driver.chosenBy);
  return [...new Set(chosenBy)];
}

export interface PlaceName {
  /** Such as `bucket`. */
  readonly kind: string;
  /** Empty when no setting gives it. */
  readonly name: string;
  /** True for a path, which has several spellings. */
  readonly isPath: boolean;
}

/**
 * Types a driver with its own settings. A registry may forget them, because the configuration parses the settings of
 * all registered drivers before any driver sees them.
 */
export function defineDriver<Service extends { readonly traits: object }, Table extends SettingTable, More = object>(
  driver: Omit<Driver<Service, ValuesOf<Table> & More>, "settings"> & { readonly settings: Table },
): Driver<Service> & { readonly settings: Table } {
  return driver as unknown as Driver<Service> & { readonly settings: Table };
}

/** What the registries hold for each kind of storage and each kind of catalog: all that is the driver's own. */
import type { PolicyStatement, Role } from "./policy.ts";
import type { DismantledResource, ProvisionedResource, ProvisionOptions } from "./resources.ts";
import type { ServiceName, SettingTable, ValuesOf } from "./setting.ts";
import type { Settings } from "./settings.ts";

export interface Driver<Service extends { readonly traits: object }, Own = object> {
  /** One line for the documentation. */
  readonly summary: string;
  /** What people call the service, such as `Amazon S3`. */
  readonly title: string;
  /** Those of every service that {@link open} opens. */
  readonly traits: Service["traits"];
  /** The settings that this driver reads, beside those of every library. Drivers share one by sharing its definition. */
  readonly settings: SettingTable;
  /** Settings that choose this driver where the origin that has them does not name one. */
  readonly chosenBy: readonly string[];
  /** True where requests leave this machine, if only for one that answers at a loopback address. */
  readonly isRemote: boolean;
  /** Drivers that go with this one, where the origin that names it names no other. */
  readonly implies?: Partial<Record<ServiceName, string>>;
  /** What the driver reads from the environment, under names that no setting has. */
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
  /** The name by which a person knows what {@link provision} makes. Sends nothing, and takes settings as they are. */
  nameOf(settings: Settings & Own): PlaceName;
  /** Text that is equal for settings that mean the same place. Sends nothing. */
  placeOf(settings: Settings & Own): Promise<string>;
  /** What AWS has to allow for a role. Drivers that AWS has nothing to permit for have none. */
  permissions?(role: Role, settings: Settings & Own): Promise<readonly PolicyStatement[]>;
}

export interface PlaceName {
  /** Such as `bucket`. */
  readonly kind: string;
  /** Empty where no setting says it. */
  readonly name: string;
  /** True for a path, which has several spellings. */
  readonly isPath: boolean;
}

/**
 * A driver that reads settings of its own. The configuration has parsed all settings of all registered drivers before
 * any driver sees them, so that a registry may forget which ones are whose.
 */
export function defineDriver<Service extends { readonly traits: object }, Table extends SettingTable, More = object>(
  driver: Omit<Driver<Service, ValuesOf<Table> & More>, "settings"> & { readonly settings: Table },
): Driver<Service> & { readonly settings: Table } {
  return driver as unknown as Driver<Service> & { readonly settings: Table };
}

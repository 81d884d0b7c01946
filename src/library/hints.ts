/** Flags that an error can name as a next step, whatever drivers there are. */
import { choosingSettings } from "../core/driver.ts";
import { flagOf } from "../core/setting.ts";
import { alternatives } from "../core/values.ts";
import { storageDrivers } from "../storage/registry.ts";
import type { StorageDriver } from "../storage/service.ts";

/** The flags that choose a storage, as a list for a sentence: `--directory, --bucket or --use`. */
export function storageFlags(matches?: (driver: StorageDriver) => boolean): string {
  return alternatives([...choosingSettings<StorageDriver>(storageDrivers, matches).map(flagOf), "--use"]);
}

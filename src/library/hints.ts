/** Flags that an error can name as a next step, whatever drivers there are. */
import { flagOf } from "../core/setting.ts";
import { storageDrivers } from "../storage/registry.ts";
import type { StorageDriver } from "../storage/service.ts";

/** The flags that choose a storage, as a list for a sentence: `--directory, --bucket or --use`. */
export function storageFlags(isMeant: (driver: StorageDriver) => boolean = () => true): string {
  const meant = Object.values<StorageDriver>(storageDrivers).filter(isMeant);
  const flags = meant.flatMap(({ chosenBy }) => chosenBy).map(flagOf);
  return `${flags.join(", ")} or --use`;
}

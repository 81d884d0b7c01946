/** Every storage driver, one line each. Names in `--help`, config and the conformance suite derive from here. */
import { localStorage } from "./local/driver.ts";
import { s3Storage } from "./s3/driver.ts";
import type { StorageDriver } from "./service.ts";

export const storageDrivers = {
  local: localStorage,
  s3: s3Storage,
} as const satisfies Record<string, StorageDriver>;

export type StorageName = keyof typeof storageDrivers;

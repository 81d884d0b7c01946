/** Every catalog driver, one line each. Names in `--help`, config and the conformance suite derive from here. */
import { dynamodbMetadata } from "./dynamodb/driver.ts";
import { localMetadata } from "./local/driver.ts";
import type { MetadataDriver } from "./service.ts";

export const metadataDrivers = {
  local: localMetadata,
  dynamodb: dynamodbMetadata,
} as const satisfies Record<string, MetadataDriver>;

export type MetadataName = keyof typeof metadataDrivers;

/**
 * Puts the two drivers into the registries, for one test file: `vi.mock` of both registries, as they are in
 * {@link withShelves} and {@link withLedgers}. Nothing else of the program knows of them.
 */
import { ledgerMetadata } from "./ledger.ts";
import { shelfStorage } from "./shelf.ts";

type Original = () => Promise<unknown>;

export async function withShelves(original: Original) {
  const { storageDrivers } = (await original()) as { storageDrivers: object };
  return { storageDrivers: { ...storageDrivers, memory: shelfStorage } };
}

export async function withLedgers(original: Original) {
  const { metadataDrivers } = (await original()) as { metadataDrivers: object };
  return { metadataDrivers: { ...metadataDrivers, memory: ledgerMetadata } };
}

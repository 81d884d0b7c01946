/** Two drivers that only this test knows keep the promises of their contracts. */
import { randomUUID } from "node:crypto";
import { describe } from "vitest";
import { idAt, metadataConformance, recordWith } from "../metadata/conformance.ts";
import { storageConformance } from "../storage/conformance.ts";
import { localSettings } from "../support/aws.ts";
import { ledgerMetadata, ledgers } from "../support/drivers/ledger.ts";
import { shelfStorage, shelves } from "../support/drivers/shelf.ts";

describe("memory storage", () =>
  storageConformance(shelfStorage, async () => {
    const shelf = randomUUID();
    return {
      settings: Object.assign({}, localSettings("unused"), { shelf, shelfLimit: 100_000_000 }),
      leftovers: async () => shelves.get(shelf)?.drafts.size ?? 0,
      leave: async (key) => void shelves.get(shelf)?.drafts.set(`${key}#1`, Date.now()),
      checksums: true,
      close: async () => void shelves.delete(shelf),
    };
  }));

describe("memory metadata", () =>
  metadataConformance(ledgerMetadata, async () => {
    const ledger = randomUUID();
    return {
      settings: Object.assign({}, localSettings("unused"), { ledger }),
      async putPlace({ record }) {
        ledgers.get(ledger)?.places.set(record.id, record.path);
        return true;
      },
      dropPlace: async ({ record }) => ledgers.get(ledger)?.places.delete(record.id) ?? false,
      severalPages: (time) => Array.from({ length: 50 }, (_, index) => recordWith({ id: idAt(time + index) })),
      questions: 100,
      close: async () => void ledgers.delete(ledger),
    };
  }));

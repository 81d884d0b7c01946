/** The settings of the two drivers in memory. */
import type { SettingTable, ValuesOf } from "../../../src/core/setting.ts";
import type { Settings } from "../../../src/core/settings.ts";
import { text, wholeNumber } from "../../../src/core/values.ts";

const shelf = {
  parse: text,
  flag: { placeholder: "<name>", help: "shelf in memory; by default with a ledger of the same name" },
  isPlace: true,
  written: "chosen",
} as const;

export const shelfSettings = {
  shelf,
  shelfLimit: {
    parse: wholeNumber(1, 1_000_000_000),
    flag: { placeholder: "<bytes>", help: "most bytes of an object on a shelf" },
    fallback: 100_000_000,
  },
} as const satisfies SettingTable;

export const ledgerSettings = {
  ledger: {
    parse: text,
    flag: { placeholder: "<name>", help: "catalog in memory" },
    isPlace: true,
    follows: "shelf",
    written: "chosen",
  },
} as const satisfies SettingTable;

export type ShelfSettings = Settings & ValuesOf<typeof shelfSettings>;
export type LedgerSettings = Settings & ValuesOf<typeof ledgerSettings>;

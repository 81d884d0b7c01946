/**
 * The table of all settings. `DOCPROC_DOCS_UPDATE=1` writes it to docs/configuration.md.
 */
import { readFile, writeFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { isUsed, settingNames, settingTable } from "../../src/config/settings.ts";
import { flagOf, variableOf } from "../../src/core/setting.ts";

/** The row of docs/configuration.md. */
function rowOf(name: string): string {
  const { flag, docs = {} } = settingTable[name] ?? {};
  const shown = flag ? flagOf(name) : docs.flag;
  const cells = [
    shown && `\`${shown}\``,
    `\`${variableOf(name)}\``,
    `\`${name}\``,
    docs.meaning ?? flag?.help,
    docs.fallback,
  ];
  return `| ${cells.join(" | ")} |`.replace(/ {2,}/g, " ");
}

describe("the settings", () => {
  test("stand in docs/configuration.md, each with its flag, meaning and default", async () => {
    const path = "docs/configuration.md";
    const table = /(?<=^\|---\|---\|---\|---\|---\|\n)(\|.*\n)+/m;
    const rows = settingNames.map((name) => `${rowOf(name)}\n`).join("");
    if (process.env["DOCPROC_DOCS_UPDATE"]) await writeFile(path, (await readFile(path, "utf8")).replace(table, rows));
    expect(table.exec(await readFile(path, "utf8"))?.[0]).toBe(rows);
  });

  test("have the defaults that their help and docs/configuration.md name", () => {
    const constants = settingNames.flatMap((name) => {
      const { fallback, flag, docs, parse } = settingTable[name] ?? {};
      if (parse === undefined || fallback === undefined || typeof fallback === "function") return [];
      const inHelp = /\(default: (.*)\)/.exec(flag?.help ?? "")?.[1];
      const inDocs = docs?.fallback?.replaceAll("`", "");
      const named = [inHelp, inDocs].filter((text) => text !== undefined && text !== "none").map(parse);
      return [{ name, fallback, named }];
    });
    expect(constants.length).toBeGreaterThan(6);
    const empty: readonly unknown[] = ["", "{}"];
    for (const { name, fallback, named } of constants) {
      // A default that is nothing need not be named.
      expect({ name, named: [...new Set(named)] }).toEqual({ name, named: empty.includes(fallback) ? [] : [fallback] });
    }
  });

  test("of a driver are in use with that driver, those of every library always", () => {
    const [embedded, aws] = [
      { storage: "local", metadata: "local" },
      { storage: "s3", metadata: "dynamodb" },
    ];
    const used = (chosen: typeof aws) =>
      ["directory", "bucket", "table", "region", "prefix"].map((name) => isUsed(name, chosen));
    expect(used(embedded)).toEqual([true, false, false, false, true]);
    expect(used(aws)).toEqual([false, true, true, true, true]);
  });
});

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

/** The manual page that is built: complete, and without a fault that those who show it would find. */
import { execFileSync, spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { commands } from "../../../src/cli/commands/registry.ts";
import { settingNames } from "../../../src/config/settings.ts";
import { exitStatuses } from "../../../src/core/errors.ts";
import { variableOf } from "../../../src/core/setting.ts";
import { findOnPath } from "../../support/on-path.ts";
import { makeSandbox, runDocproc } from "../../support/run.ts";

const path = "dist/docproc.1";
const source = await readFile(path, "utf8");
/** As it reads, without its markup. */
const signs: Readonly<Record<string, string>> = { "\\-": "-", "\\(aq": "'", "\\(ti": "~", "\\e": "\\" };
const page = source.replace(/\\f[BIR]/g, "").replace(/\\(-|e|\(..)/g, (sign) => signs[sign] ?? sign);

describe("the manual page", () => {
  // A list, since npm links a page that is not in one nowhere.
  test("is the one that the package installs", async () => {
    const { man, files, version } = JSON.parse(await readFile("package.json", "utf8"));
    expect({ man, files }).toEqual({ man: [path], files: expect.arrayContaining(["dist"]) });
    expect(page).toMatch(new RegExp(`^\\.TH DOCPROC 1 \\d{4}-\\d\\d-\\d\\d "docproc ${version}"`));
  });

  test.each(commands)(
    "has $name with all its names, flags, arguments and examples",
    async ({ name, aliases = [], load }) => {
      const section = page.split("\n.SS ").find((text) => text.startsWith([name, ...aliases].join(", "))) ?? "";
      const command = await load();
      const described = new Command();
      command.configure(described);
      for (const { flags, description } of described.options) {
        expect(section).toContain(`\n${flags.replace(/<(.*)>/, "$1")}\n${firstWords(description)}`);
      }
      for (const argument of described.registeredArguments) {
        expect(section).toContain(argument.name());
        expect(section.replaceAll("\n", " ")).toContain(argument.description);
      }
      for (const [, args] of command.examples) expect(page).toContain(`    docproc ${args}\n`);
    },
  );

  test("has every global flag, variable and exit status", async () => {
    const help = (await runDocproc(await makeSandbox(), ["--help"])).stdout;
    const flags = [...help.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm)].map(([, flag = ""]) => flag);
    expect(flags.length).toBeGreaterThan(20);
    for (const flag of flags) expect(page).toMatch(new RegExp(`^(-\\w, )?${flag}( |$)`, "m"));
    for (const name of settingNames) expect(page).toContain(`\n${variableOf(name)}\n`);
    for (const [code, status] of Object.entries(exitStatuses)) expect(page).toContain(`\n${status}  ${code}\n`);
  });

  const checks: Record<string, readonly string[]> = {
    mandoc: ["-T", "lint", "-W", "style", path],
    groff: ["-man", "-ww", "-z", path],
    man: ["--warnings", "-l", path],
  };
  test.each(Object.entries(checks).filter(([program]) => findOnPath(program)))(
    "is faultless to %s",
    (program, args) => {
      const { status, stdout, stderr } = spawnSync(program, args, { encoding: "utf8" });
      expect({ status, faults: program === "mandoc" ? stdout : stderr }).toEqual({ status: 0, faults: "" });
    },
  );

  test.each(["groff"].filter(findOnPath))("keeps what is copied from it as it is typed, shown by %s", (program) => {
    const shown = execFileSync(program, ["-man", "-Tutf8", "-P-cbou", path], { encoding: "utf8" });
    expect(shown).toContain("docproc upload -r dist --exclude '*.map'");
    expect(shown).toContain("docproc delete $(docproc list --tag build=42 --all -q) --yes");
  });
});

function firstWords(text: string): string {
  return text.slice(0, 20).trim();
}

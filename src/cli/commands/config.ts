import { defineCommand } from "./command.ts";

export const config = defineCommand({
  examples: [["Show the settings that a command in this directory would use", "config"]],
  configure: (command) => command,
  parse: () => null,
  async run({ configAsFound, reporter }) {
    const { origins, projectFile, projectUse } = await configAsFound();
    const isPending = (name: string) =>
      projectUse?.consent !== "agreed" && (projectUse?.claims.some((claim) => claim.name === name) ?? false);
    for (const setting of origins) await reporter.item({ value: setting, id: null });
    return {
      envelope: { schema: "docproc.config/1", settings: origins, configFile: projectFile?.path ?? null },
      text: (painter) =>
        painter.table(
          [{ heading: "SETTING" }, { heading: "VALUE", narrow: "cut" }, { heading: "FROM" }],
          origins.map(({ name, value, origin }) => [
            name,
            value === null ? painter.faint("-") : painter.text(asFlagValue(name, value)),
            `${painter.text(origin)}${isPending(name) ? " (not trusted)" : ""}`,
          ]),
        ),
    };
  },
});

/** In the form of the flag, where a bare number means seconds. */
function asFlagValue(name: string, value: unknown): string {
  return name === "timeout" ? `${Number(value) / 1000}s` : String(value);
}

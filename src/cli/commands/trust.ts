import { guardedSettings } from "../../config/consent.ts";
import { blocksOf } from "../../config/profiles.ts";
import { TrustStore } from "../../config/trust.ts";
import { DocprocError } from "../../core/errors.ts";
import type { Painter } from "../output/reporter.ts";
import { defineCommand } from "./command.ts";

interface GuardedSetting {
  readonly name: string;
  readonly value: unknown;
  /** The file, or a profile in it. */
  readonly origin: string;
}

export const trust = defineCommand({
  examples: [
    ["Trust the current project file, as it is now", "trust"],
    ["Revoke the trust", "trust --remove"],
  ],
  configure(command) {
    return command.option("--remove", "revoke the trust in every version of the file");
  },
  parse: (_args, flags) => ({ remove: flags.remove ?? false }),
  async run({ configAsFound, host, reporter }, { remove }) {
    const {
      projectFile,
      settings: { owners },
    } = await configAsFound();
    if (projectFile === undefined) {
      throw new DocprocError("NOT_FOUND", `No project file was found in ${host.cwd} or above it.`, {
        hint: "Change to the project's directory, or name its file with --config.",
      });
    }
    const store = new TrustStore(host.paths.config, owners);
    const change = async () => {
      if (!remove) return (await store.agreeTo(projectFile)) ? "trusted" : "unchanged";
      return (await store.forget(projectFile.path)) ? "removed" : "gone";
    };
    const action = await change();
    const { main, profiles } = blocksOf(projectFile);
    const settings: GuardedSetting[] = [main, ...profiles.values()].flatMap(({ values, origin }) =>
      guardedSettings
        .filter((name) => values[name] !== undefined)
        .map((name) => ({ name, value: values[name], origin })),
    );
    const { path: file, sha256 } = projectFile;
    const envelope = { schema: "docproc.trust/1", file, sha256, action, settings };
    await reporter.item({ value: envelope, id: null });
    return { envelope, text: (painter) => lines(action, file, remove ? [] : settings, painter) };
  },
});

function lines(action: string, file: string, settings: readonly GuardedSetting[], painter: Painter): string {
  const rows = settings.map(({ name, value, origin }) => {
    const shown = typeof value === "string" ? value : JSON.stringify(value);
    const where = origin === file ? "" : painter.faint(painter.text(origin.slice(file.length)));
    return `  ${name.padEnd(14)} ${painter.text(shown)}${where}`;
  });
  return [`${painter.good(action.padEnd(9))} ${painter.text(file)}`, ...rows].join("\n");
}

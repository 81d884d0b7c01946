import { resolve } from "node:path";
import { drivers } from "../../config/settings.ts";
import { choosingSettings, type PlaceName } from "../../core/driver.ts";
import { DocprocError } from "../../core/errors.ts";
import type { DismantledResource } from "../../core/resources.ts";
import { flagOf } from "../../core/setting.ts";
import { assertCanAsk, confirmName } from "../confirm.ts";
import { display } from "../output/display.ts";
import type { Painter } from "../output/reporter.ts";
import { defineCommand } from "./command.ts";

interface DestroyInput {
  readonly plan: boolean;
  readonly confirm: string | undefined;
}

export const destroy = defineCommand({
  document: { schema: "docproc.destroy/1", items: "resources" },
  examples: [
    ["Show what would be removed", "destroy --bucket my-documents --plan"],
    ["Remove bucket and table after asking for the name of the bucket", "destroy --bucket my-documents"],
    [
      "Remove bucket and table without confirmation, in a script",
      "destroy --bucket my-documents --confirm my-documents",
    ],
  ],
  configure(command) {
    return command
      .option("--confirm <name>", "bucket or directory to remove, as confirmation; required without a terminal")
      .option("--plan, --dry-run", "show what would be removed, change nothing");
  },
  parse: (_args, { dryRun = false, confirm }): DestroyInput => ({ plan: dryRun, confirm }),
  async run(context, { plan, confirm }) {
    const { reporter, signal, host } = context;
    const { projectFile } = await context.config();
    const library = await context.library();
    const { kind, name } = library.name;
    const isLibrary = (text: string) => isNameOf(library.name, text, host.cwd);
    // Before any request is sent.
    if (confirm !== undefined && !isLibrary(confirm)) {
      throw new DocprocError("USAGE", `--confirm names ${confirm}, but the ${kind} is ${name}.`, {
        hint: `Nothing was changed. Choose the library with ${choosingSettings(drivers.storage).map(flagOf).join(" or ")}.`,
      });
    }
    if (!plan && confirm === undefined) assertCanAsk(host, `Add --confirm ${name}.`);
    const planned = await library.planDismantling(signal);
    const doomed = planned.filter(({ action }) => action === "would-remove");
    if (!plan && confirm === undefined && doomed.length > 0) {
      const what = doomed.map(({ kind, name }) => `the ${kind} ${display(name)}`).join(", ");
      const question = `This removes ${what}.\nType the name of the ${kind} to continue: `;
      await confirmName(host, question, isLibrary);
    }
    for await (const { kind, name, action, because } of plan ? planned : library.dismantle(signal)) {
      const resource = { kind, name, action };
      await reporter.item({ value: resource, id: null, line: (painter) => line(resource, painter) });
      if (because !== undefined) reporter.note(`The ${kind} ${name} is kept: ${because}.`);
    }
    const note = plan || !projectFile ? undefined : `The config file ${projectFile.path} is kept.`;
    return { envelope: {}, text: () => "", note };
  },
});

/** Whether the typed text names that library. */
function isNameOf({ name, isPath }: PlaceName, text: string, cwd: string): boolean {
  return text !== "" && (isPath ? resolve(cwd, text) : text) === name;
}

function line({ kind, name, action }: Pick<DismantledResource, "kind" | "name" | "action">, painter: Painter): string {
  const paint = action === "removed" ? painter.good : painter.faint;
  return `${paint.call(painter, action.padEnd(12))} ${kind.padEnd(24)} ${painter.text(name)}`;
}

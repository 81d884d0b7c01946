import { resolve } from "node:path";
import { DocprocError } from "../../core/errors.ts";
import type { DismantledResource } from "../../core/settings.ts";
import { planRemoval, removeLibrary } from "../../library/destroy.ts";
import { assertCanAsk, confirmName } from "../confirm.ts";
import type { Context } from "../context.ts";
import { display } from "../output/display.ts";
import type { Painter } from "../output/reporter.ts";
import { defineCommand } from "./command.ts";

interface DestroyInput {
  readonly plan: boolean;
  readonly confirm: string | undefined;
}

/** The name by which a person knows a library. */
interface LibraryName {
  readonly kind: "bucket" | "directory";
  readonly name: string;
  is(text: string): boolean;
}

export const destroy = defineCommand<{ dryRun?: boolean; confirm?: string }, DestroyInput>({
  examples: [
    ["Show what would be removed", "destroy --bucket my-documents --plan"],
    ["Remove bucket and table after asking for the name of the bucket", "destroy --bucket my-documents"],
    [
      "Remove bucket and table without confirmation, in a script",
      "destroy --bucket my-documents --confirm my-documents",
    ],
  ],
  configure(command) {
    command
      .option("--confirm <name>", "bucket or directory to remove, as confirmation; required without a terminal")
      .option("--plan, --dry-run", "show what would be removed, change nothing");
  },
  parse: (_args, { dryRun = false, confirm }) => ({ plan: dryRun, confirm }),
  async run(context, { plan, confirm }) {
    const { reporter, signal, host } = context;
    const { settings, projectFile } = await context.config();
    const drivers = await context.drivers();
    const library = await libraryName(context);
    // Before anything is asked of a service.
    if (confirm !== undefined && !library.is(confirm)) {
      throw new DocprocError("USAGE", `--confirm names ${confirm}, and the ${library.kind} is ${library.name}.`, {
        hint: "Nothing was changed. Choose the library with --bucket or --directory.",
      });
    }
    if (!plan && confirm === undefined) assertCanAsk(host, `Add --confirm ${library.name}.`);
    const planned = await planRemoval(drivers, settings, signal);
    const doomed = planned.filter(({ action }) => action === "would-remove");
    if (!plan && confirm === undefined && doomed.length > 0) {
      const what = doomed.map(({ kind, name }) => `the ${kind} ${display(name)}`).join(", ");
      const question = `This removes ${what}.\nType the name of the ${library.kind} to go on: `;
      await confirmName(host, question, library.is);
    }
    const resources: Pick<DismantledResource, "kind" | "name" | "action">[] = [];
    for await (const { kind, name, action, because } of plan ? planned : removeLibrary(drivers, settings, signal)) {
      const resource = { kind, name, action };
      resources.push(resource);
      await reporter.item({ value: resource, id: null, line: (painter) => line(resource, painter) });
      if (because !== undefined) reporter.note(`The ${kind} ${name} stays: ${because}.`);
    }
    const note = plan || !projectFile ? undefined : `The config file ${projectFile.path} is left where it is.`;
    return { envelope: { schema: "docproc.destroy/1", resources }, text: () => "", note };
  },
});

async function libraryName(context: Context): Promise<LibraryName> {
  const { settings } = await context.config();
  const { storage, directory, bucket = "" } = settings;
  if (storage !== "local") return { kind: "bucket", name: bucket, is: (text) => text === bucket };
  const is = (text: string) => text !== "" && resolve(context.host.cwd, text) === directory;
  return { kind: "directory", name: directory, is };
}

function line({ kind, name, action }: Pick<DismantledResource, "kind" | "name" | "action">, painter: Painter): string {
  const paint = action === "removed" ? painter.good : painter.faint;
  return `${paint.call(painter, action.padEnd(12))} ${kind.padEnd(24)} ${painter.text(name)}`;
}

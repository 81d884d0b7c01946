import { agreeToProjectFile, planProjectFile, writeProjectFile } from "../../config/project-file.ts";
import type { ProvisionedResource } from "../../core/resources.ts";
import type { Painter } from "../output/reporter.ts";
import { defineCommand } from "./command.ts";

type InitialisedResource = Pick<ProvisionedResource, "kind" | "name" | "action" | "settings">;

export const init = defineCommand({
  document: { schema: "docproc.init/1", items: "resources" },
  examples: [
    ["Create an embedded library in a directory", "init --directory ./library"],
    ["Create a bucket and a table of the same name", "init --bucket my-documents --region eu-west-1"],
    ["Show what would be created, with all settings", "init --bucket my-documents --plan --json"],
  ],
  configure(command) {
    return command.option("--plan", "show what would be created, change nothing");
  },
  parse: (_args, flags) => ({ plan: flags.plan ?? false }),
  async run(context, { plan }) {
    const { reporter, signal } = context;
    const config = await context.config();
    const library = await context.library();
    library.check();
    // Before anything is created: an unchangeable file is a reason to stop.
    const planned = await planProjectFile(context.host.cwd, config);
    const weaker: string[] = [];
    const add = async ({ kind, name, action, settings, weakness }: ProvisionedResource) => {
      const resource = { kind, name, action, settings };
      if (action === "unsupported") weaker.push(kind);
      await reporter.item({ value: resource, id: null, line: (painter) => line(resource, painter) });
      reporter.debug(`  ${JSON.stringify(resource.settings)}`);
      if (weakness !== undefined) reporter.note(`The ${kind} ${name} is used as it is: ${weakness}.`);
    };
    const found: Record<string, string> = {};
    for await (const resource of library.provision({ plan, signal })) {
      Object.assign(found, resource.remember);
      await add(resource);
    }
    if (weaker.length > 0) found["unsupported"] = weaker.join();
    const file = plan ? planned : await planProjectFile(context.host.cwd, config, found);
    const action = plan ? file.planned : await writeProjectFile(file);
    const refused = plan ? undefined : await agreeToProjectFile(config, file.path, context.host.paths.config);
    if (refused !== undefined) reporter.note(`The trust in ${file.path} could not be saved: ${refused.message}`);
    await add({ kind: "config-file", name: file.path, action, settings: file.values });
    if (config.profile && Object.keys(found).length > 0) {
      reporter.note(`Add these detected settings to ${config.profile.origin}: ${JSON.stringify(found)}`);
    }
    if (weaker.length > 0) reporter.note(`The endpoint does not support: ${weaker.join(", ")}.`);
    return { envelope: { configFile: file.path }, text: () => "" };
  },
});

function line({ kind, name, action }: InitialisedResource, painter: Painter): string {
  const paint = action === "created" || action === "updated" ? painter.good : painter.faint;
  return `${paint.call(painter, action.padEnd(12))} ${kind.padEnd(24)} ${painter.text(name)}`;
}

import { lstat, readFile, writeFile } from "node:fs/promises";
import { dirname, extname, join, relative } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { publish } from "../atomic-file.ts";
import type { Config, SettingName } from "../config.ts";
import type { Context } from "../context.ts";
import { DocprocError, fromSystemError } from "../errors.ts";
import { removeFile, replaceFile, temporaryFile, temporaryIn } from "../files/removal.ts";
import type { Painter } from "../output/reporter.ts";
import { statIfThere } from "../presence.ts";
import type { ProvisionAction, ProvisionedResource, Settings } from "../settings.ts";
import { defineCommand } from "./command.ts";

export const init = defineCommand<{ plan?: boolean }, { plan: boolean }>({
  examples: [
    ["The embedded library, in a directory of its own", "init --directory ./library"],
    ["A bucket and a table of the same name", "init --bucket my-documents --region eu-west-1"],
    ["Only look: what would be made, and with which settings", "init --bucket my-documents --plan --json"],
  ],
  configure(command) {
    command.option("--plan", "say what would be made, change nothing");
  },
  parse: (_args, flags) => ({ plan: flags.plan ?? false }),
  async run(context, { plan }) {
    const { reporter, signal } = context;
    const config = await context.config();
    const { storage, metadata } = await context.drivers();
    // Before anything is made: a file that cannot be changed is a reason to stop.
    const planned = await planConfigFile(context, config);
    const resources: InitialisedResource[] = [];
    const add = async ({ kind, name, action, settings, weakness }: ProvisionedResource) => {
      const resource = { kind, name, action, settings };
      resources.push(resource);
      await reporter.item({ value: resource, id: null, line: (painter) => line(resource, painter) });
      reporter.debug(`  ${JSON.stringify(resource.settings)}`);
      if (weakness !== undefined) reporter.note(`The ${kind} ${name} is used as it is: ${weakness}.`);
    };
    const provision = async function* (planOnly: boolean) {
      for (const driver of [storage, metadata]) yield* driver.provision(config.settings, { plan: planOnly, signal });
    };
    // A table that cannot be used is found out before a bucket is made.
    if (!plan) for await (const _ of provision(true));
    let bucketOwner: string | undefined;
    for await (const resource of provision(plan)) {
      bucketOwner ??= resource.remember?.bucketOwner;
      await add(resource);
    }
    const weaker = resources.filter(({ action }) => action === "unsupported").map(({ kind }) => kind);
    const file = plan ? planned : await planConfigFile(context, config, { bucketOwner, unsupported: weaker.join() });
    const action = plan ? file.planned : await writeConfigFile(file);
    await add({ kind: "config-file", name: file.path, action, settings: file.values });
    if (config.profile && (bucketOwner !== undefined || weaker.length > 0)) {
      const found = JSON.stringify({ bucketOwner, unsupported: weaker.join() || undefined });
      reporter.note(`Found out, and worth adding to ${config.profile.origin}: ${found}`);
    }
    if (weaker.length > 0) reporter.note(`The endpoint does not support: ${weaker.join(", ")}.`);
    return { envelope: { schema: "docproc.init/1", resources, configFile: file.path }, text: () => "" };
  },
});

type InitialisedResource = Pick<ProvisionedResource, "kind" | "name" | "action" | "settings">;

interface PlannedFile {
  readonly path: string;
  readonly values: Readonly<Record<string, unknown>>;
  readonly planned: ProvisionAction;
}

/** What the project file should hold: the services that were chosen, and every other key as it is. */
async function planConfigFile(
  { host }: Context,
  { settings, origins, projectFile, profile }: Config,
  found: Partial<Settings> = {},
): Promise<PlannedFile> {
  // It is named there already, and is not what the project uses.
  if (profile) return { path: profile.path, values: profile.values, planned: "exists" };
  const path = projectFile?.path ?? join(host.cwd, ".docprocrc.json");
  const originOf = (name: SettingName) => origins.find((setting) => setting.name === name)?.origin;
  const aws = settings.storage === "s3" || settings.metadata === "dynamodb";
  const local = settings.storage === "local" || settings.metadata === "local";
  const chosen: Partial<Record<SettingName, unknown>> = {
    storage: settings.storage,
    metadata: settings.metadata,
    directory: local && originOf("directory") !== "default" ? portable(path, settings.directory) : undefined,
    bucket: settings.storage === "s3" ? settings.bucket : undefined,
    bucketOwner: settings.storage === "s3" ? (settings.bucketOwner ?? found.bucketOwner) : undefined,
    prefix: settings.prefix || undefined,
    table: settings.metadata === "dynamodb" ? settings.table : undefined,
    // Where a bucket is never changes, so it is worth keeping even if AWS_REGION said it.
    region: aws ? settings.region : undefined,
    // Whose credentials are used differs from one machine to the next.
    profile: aws && originOf("profile") !== "AWS_PROFILE" ? settings.profile : undefined,
    endpointUrl: aws ? settings.endpointUrl : undefined,
    unsupported: (found.unsupported ?? settings.unsupported) || undefined,
  };
  const values = Object.fromEntries(
    Object.entries({ ...projectFile?.values, ...chosen }).filter(([, value]) => value !== undefined),
  );
  if (projectFile === undefined) return { path, values, planned: "would-create" };
  if (isDeepStrictEqual(projectFile.values, values)) return { path, values, planned: "exists" };
  const isLink = (await statIfThere(path, lstat))?.isSymbolicLink();
  if (isLink || extname(path) !== ".json") {
    const why = isLink
      ? "is a symbolic link, which docproc does not replace"
      : "only JSON files are changed by docproc";
    throw new DocprocError("CONFLICT", `${path} names other services, and ${why}.`, {
      hint: `Edit it by hand so that it holds: ${JSON.stringify(chosen)}`,
    });
  }
  return { path, values, planned: "would-update" };
}

/** A directory inside the project is named from its file, so that the project can be moved. */
function portable(file: string, directory: string): string {
  const inside = relative(dirname(file), directory);
  return inside === "" || inside.startsWith("..") ? directory : `./${inside}`;
}

/** Writes the file in one step, so that no process reads half of it. A file that came up meanwhile is not replaced unread. */
async function writeConfigFile({ path, values, planned }: PlannedFile): Promise<ProvisionAction> {
  if (planned === "exists") return "exists";
  const content = `${JSON.stringify(values, null, 2)}\n`;
  const temporary = temporaryIn(dirname(path));
  try {
    // One that others may not read stays so.
    const mode = (await statIfThere(path))?.mode ?? 0o666;
    await writeFile(temporary, content, { flag: "wx", mode: mode & 0o777 });
    if (planned === "would-update" && (await replaceFile(temporaryFile(temporary), path))) return "updated";
    if (await publish(temporary, path)) return "created";
    // Another init in the same directory was faster; if it chose the same, all is well.
    if ((await readFile(path, "utf8")) === content) return "exists";
    throw new DocprocError("CONFLICT", `${path} was written by another process meanwhile.`, {
      hint: "Look at it, then run docproc init again.",
    });
  } catch (error) {
    throw fromSystemError(error, path);
  } finally {
    await removeFile(temporaryFile(temporary));
  }
}

function line({ kind, name, action }: InitialisedResource, painter: Painter): string {
  const paint = action === "created" || action === "updated" ? painter.good : painter.faint;
  return `${paint.call(painter, action.padEnd(12))} ${kind.padEnd(24)} ${painter.text(name)}`;
}

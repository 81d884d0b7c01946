/** Chooses the reporter from the flags and the surroundings: a CI job, a terminal, secrets. */
import { DocprocError } from "../../core/errors.ts";
import { withoutSecrets } from "../../core/secrets.ts";
import type { LineOf } from "./human.ts";
import { JsonReporter, NdjsonReporter } from "./json.ts";
import { NoProgress, PlainProgress } from "./progress.ts";
import type { ItemDocument, OutputStream, Reporter } from "./reporter.ts";
import { isReadForCommands, joinWithoutCommands, linesWithoutCommands } from "./runner-commands.ts";

/** What a reporter needs of the process. */
export interface ReportingHost {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly now: () => number;
}

type Flags = Readonly<Record<string, unknown>>;

/** The command that reports. */
interface Reported {
  readonly name: string;
  /** Whether it was given a list of paths. */
  readonly readsList: boolean;
  readonly makesDocuments?: boolean;
  readonly document?: ItemDocument | undefined;
}

/**
 * Opens the reporter that the global flags select.
 * @param command undefined while it is unknown
 * @throws USAGE for flags that exclude each other
 */
export async function openReporter(host: ReportingHost, flags: Flags, command?: Reported): Promise<Reporter> {
  const reporter = await reporterFor(host, flags, command);
  // https://docs.github.com/en/actions/reference/workflows-and-actions/variables
  if (host.env["GITHUB_ACTIONS"] !== "true") return reporter;
  const { GithubReporter } = await import("./github.ts");
  return new GithubReporter(reporter, {
    env: host.env,
    stderr: withoutSecretsOn(host.stderr),
    makesDocuments: command?.makesDocuments ?? false,
  });
}

/** Output for people loads on use: a script never waits for a spinner to load. */
async function reporterFor(host: ReportingHost, flags: Flags, command?: Reported): Promise<Reporter> {
  const verbose = Boolean(flags["verbose"]);
  const progress = await openProgress(host, flags["progress"] !== false);
  const streams = { stdout: host.stdout, stderr: withoutSecretsOn(host.stderr) };
  if (flags["json"] || flags["ndjson"]) {
    if (flags["format"] !== undefined && command) {
      throw new DocprocError("USAGE", "--format cannot be used with --json or --ndjson.", {
        hint: "Remove one of them.",
      });
    }
    return flags["ndjson"]
      ? new NdjsonReporter(streams, progress, verbose)
      : new JsonReporter(streams, progress, verbose, command?.document);
  }
  const [{ HumanReporter, LineReporter }, { painterFor }] = await Promise.all([
    import("./human.ts"),
    import("./painter.ts"),
  ]);
  const options = { colors: flags["color"] !== false, now: host.now };
  const painters = { stdout: painterFor(host.stdout, options), stderr: painterFor(host.stderr, options) };
  const lineOf = command && (await lineOfItems(host, flags, command));
  const how = [streams, progress, painters, verbose] as const;
  return lineOf ? new LineReporter(lineOf, flags["null"] ? "\0" : "\n", ...how) : new HumanReporter(...how);
}

/**
 * The line of each item under `-q` and `--format`; undefined for people.
 * @throws USAGE for an invalid template, and for --null without lines to end
 */
async function lineOfItems(
  host: ReportingHost,
  flags: Flags,
  { name, readsList }: Reported,
): Promise<LineOf | undefined> {
  if (flags["quiet"]) return ({ id }) => (id === null ? undefined : linesWithoutCommands(id));
  if (typeof flags["format"] === "string") {
    const [{ display }, { parseTemplate }, { itemFields }] = await Promise.all([
      import("./display.ts"),
      import("./template.ts"),
      import("../../schemas/items.ts"),
    ]);
    const fields = itemFields(name);
    if (fields === undefined) {
      throw new DocprocError("USAGE", `docproc ${name} has nothing for --format to print.`, {
        hint: "Remove --format.",
      });
    }
    // A value must not move a terminal's cursor or command a CI runner; a pipe gets it unchanged.
    const template = parseTemplate(flags["format"], fields, {
      shown: host.stdout.isTTY ? display : undefined,
      join: isReadForCommands(host.env) ? joinWithoutCommands : undefined,
    });
    return ({ value }) => template(value);
  }
  if (flags["null"] && !readsList) {
    throw new DocprocError("USAGE", "--null needs -q, --format or --files-from.", {
      hint: "Add -q.",
    });
  }
  return undefined;
}

/** Redacts stderr: failures, causes and details. stdout is data and stays unchanged. */
function withoutSecretsOn(stream: OutputStream): OutputStream {
  return {
    write: (chunk) => stream.write(typeof chunk === "string" ? withoutSecrets(chunk) : chunk),
    once: (event, listener) => stream.once(event, listener),
    isTTY: stream.isTTY,
    columns: stream.columns,
  };
}

async function openProgress(host: ReportingHost, wanted: boolean) {
  if (!wanted) return new NoProgress();
  // Some CI systems provide a terminal, but its output ends up in a log.
  const drawable = host.stderr.isTTY && host.env["TERM"] !== "dumb" && host.env["CI"] === undefined;
  if (!drawable) return new PlainProgress(host.stderr, host.now);
  const { DrawnProgress } = await import("./drawn-progress.ts");
  return new DrawnProgress(host.stderr, host.now);
}

import { resolve } from "node:path";
import { DocprocError } from "../../../core/errors.ts";
import { counted } from "../../../core/not-empty.ts";
import { downloadTo } from "../../../transfer/download.ts";
import { writeAll } from "../../output/reporter.ts";
import { defineCommand } from "../command.ts";
import { addFilterFlags, type Chosen, parseFilter } from "../filter.ts";
import { linesOf } from "./file.ts";

interface ExportInput {
  /** Undefined: standard output. */
  readonly output: string | undefined;
  readonly force: boolean;
  readonly chosen: Chosen;
}

export const exportRecords = defineCommand({
  examples: [
    ["Export every record to a file", "export -o records.ndjson"],
    ["Move the records to another catalog of the same bucket", "export | docproc import --use other"],
    ["Compress the export", "export | gzip > records.ndjson.gz"],
  ],
  configure(command) {
    return addFilterFlags(
      command
        .option("-o, --output <file>", "write to this file, completely or not at all (default: standard output)")
        .option("--force", "replace an existing file"),
    );
  },
  parse(_args, flags, now): ExportInput {
    const output = flags.output === "-" ? undefined : flags.output;
    if (output === undefined && (flags.json || flags.quiet || flags.format !== undefined)) {
      throw new DocprocError("USAGE", "Standard output cannot hold both the records and a report.", {
        hint: "Remove --json, -q or --format, or write to a file with -o FILE.",
      });
    }
    return { output, force: flags.force ?? false, chosen: parseFilter(flags, now) };
  },
  async run(context, { output, force, chosen }) {
    const { reporter, signal, host } = context;
    const library = await context.library();
    let count = 0;
    const lines = linesOf(await library.entries({ ascending: true, ...chosen }, signal), () => {
      count += 1;
    });
    if (output === undefined) {
      for await (const chunk of lines) {
        // A closed reader has what it wanted.
        if (reporter.closed) break;
        await writeAll(host.stdout, chunk);
      }
      return { envelope: {}, text: () => "" };
    }
    const file = resolve(host.cwd, output);
    await downloadTo(file, bytesOf(lines), { force, umask: host.umask, signal, onProgress: () => {} });
    const envelope = { schema: "docproc.export/1", file, count };
    await reporter.item({ value: envelope, id: null });
    return { envelope, text: () => "", note: `${counted(count, "record")} written to ${output}.` };
  },
});

async function* bytesOf(lines: AsyncIterable<string>): AsyncIterable<Uint8Array> {
  for await (const text of lines) yield Buffer.from(text);
}

import { DocprocError } from "../../core/errors.ts";
import { writeToStdout } from "../output/document.ts";
import { defineCommand, oneReference } from "./command.ts";

export const cat = defineCommand({
  examples: [
    ["Pipe a document to another command", "cat dump.sql | psql app"],
    ["Choose an older version by its id", "cat 019aae5c-1f2e"],
  ],
  configure(command) {
    return command.argument("<ref>", oneReference);
  },
  parse([reference = ""], flags) {
    if (flags.json || flags.ndjson || flags.quiet) {
      throw new DocprocError("USAGE", "cat prints only the document itself.", {
        hint: "To print its record, run docproc show.",
      });
    }
    return { reference };
  },
  async run(context, { reference }) {
    const library = await context.library();
    await writeToStdout(context, await library.find(reference, context.signal));
    return { envelope: {}, text: () => "" };
  },
});

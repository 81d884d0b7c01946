import { DocprocError } from "../../core/errors.ts";
import { writeToStdout } from "../output/document.ts";
import { defineCommand } from "./command.ts";

interface CatFlags {
  json?: boolean;
  ndjson?: boolean;
  quiet?: boolean;
}

export const cat = defineCommand<CatFlags, { reference: string }>({
  examples: [
    ["To another command", "cat dump.sql | psql app"],
    ["An older one, by its id", "cat 019aae5c-1f2e"],
  ],
  configure(command) {
    command.argument("<ref>", "id, unique beginning of an id, or name");
  },
  parse([reference = ""], flags) {
    if (flags.json || flags.ndjson || flags.quiet) {
      throw new DocprocError("USAGE", "cat prints the document itself, in its own form.", {
        hint: "docproc show prints its record.",
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

import { defaultConcurrency } from "../../core/limits.ts";
import type { DocumentRecord } from "../../document/record.ts";
import type { KeptFor, RemovedBytes } from "../../library/removal.ts";
import { batchFailure, runNamed } from "../batch.ts";
import { confirm } from "../confirm.ts";
import { display } from "../output/display.ts";
import { defineCommand } from "./command.ts";

interface DeleteInput {
  readonly references: readonly string[];
  readonly yes: boolean;
}

type Deleted = DocumentRecord & RemovedBytes & { readonly action: "deleted" };

/** Names shown in the question. */
const namesAsked = 5;

const whyKept: Record<KeptFor, string> = {
  registered: "docproc did not store them",
  "outside-prefix": "they are outside the prefix of this library",
  "other-catalog": "they belong to another catalog",
  unmarked: "they have no mark of a catalog",
};

const howToAdopt =
  "If that catalog is lost for good, adopt it before deleting more: docproc export | docproc import prints its id, and docproc import --adopt ID takes over its objects.";

export const remove = defineCommand({
  document: { schema: "docproc.delete/1", items: "documents", input: "ref" },
  examples: [
    ["Delete the newest document of a name", "delete invoice.pdf"],
    ["Delete without confirmation, in a script", "delete 019aae5c-1f2e --yes"],
    ["Delete the artifacts of a build", "delete $(docproc list --tag build=42 --all -q) --yes"],
  ],
  configure(command) {
    return command
      .argument("<ref...>", "ids, unique id prefixes, or names (the newest)")
      .option("-y, --yes", "do not ask for confirmation; required without a terminal");
  },
  parse: (references, flags): DeleteInput => ({ references, yes: flags.yes ?? false }),
  async run(context, { references, yes }) {
    const { reporter, signal, host } = context;
    const started = host.now();
    const library = await context.library();
    const { concurrency = defaultConcurrency } = (await context.config()).settings;
    let ofOtherCatalog = false;
    const batch = await runNamed<Deleted>(references, {
      concurrency,
      inOrder: reporter.keepsOrder,
      signal,
      find: async (reference) => await library.find(reference, signal),
      // The question names all of them.
      async onFound(records) {
        if (records.length > 0) await confirm(host, question(records), yes);
      },
      async run(record) {
        return { ...record, action: "deleted", ...(await library.remove(record, signal)) };
      },
      onDone: async (one) => {
        ofOtherCatalog ||= one.reason === "other-catalog";
        await reporter.item({
          value: one,
          id: one.id,
          line: (painter) => {
            const kept = one.reason === null ? "" : `bytes kept: ${one.uri} (${whyKept[one.reason]})`;
            const line = `${painter.good("deleted")}  ${one.id}  ${painter.text(one.name)}`;
            return kept === "" ? line : `${line}  ${painter.faint(painter.text(kept))}`;
          },
        });
      },
      onFailure: ({ label, error }) => reporter.problem(label, error, { only: references.length === 1 }),
    });
    const { total, doneCount: deleted, failedCount: failed } = batch;
    return {
      envelope: { summary: { total, deleted, failed, durationMs: host.now() - started } },
      text: () => "",
      note: ofOtherCatalog ? howToAdopt : undefined,
      failure: batchFailure(
        batch,
        "documents",
        "The others are deleted. Run the command again for the failed documents.",
        signal,
      ),
    };
  },
});

function question(records: readonly DocumentRecord[]): string {
  const names = records.slice(0, namesAsked).map(({ name }) => display(name));
  const more = records.length > namesAsked ? ` and ${records.length - namesAsked} more` : "";
  return `Delete ${names.join(", ")}${more}?`;
}

import { throwIfCancelled } from "../../core/errors.ts";
import { defaultConcurrency } from "../../core/limits.ts";
import type { DocumentRecord } from "../../document/record.ts";
import type { KeptFor } from "../../library/removal.ts";
import { batchFailure, failureList, runBatch } from "../batch.ts";
import { confirm } from "../confirm.ts";
import { display } from "../output/display.ts";
import { defineCommand } from "./command.ts";

interface DeleteInput {
  readonly references: readonly string[];
  readonly yes: boolean;
}

/** Names shown in the question. */
const namesAsked = 5;

const whyKept: Record<KeptFor, string> = {
  registered: "docproc did not put them there",
  "outside-prefix": "they are outside the prefix of this library",
  "other-catalog": "they are marked as those of another catalog",
  unmarked: "they are marked as those of no catalog",
};

const howToAdopt =
  "If that catalog is gone for good, adopt it before you delete more: docproc export | docproc import says which it is, and --adopt takes its objects over.";

export const remove = defineCommand<{ yes?: boolean }, DeleteInput>({
  examples: [
    ["Delete the newest document of a name", "delete invoice.pdf"],
    ["Delete without confirmation, in a script", "delete 019aae5c-1f2e --yes"],
    ["Delete the artifacts of a build", "delete $(docproc list --tag build=42 --all -q) --yes"],
  ],
  configure(command) {
    command
      .argument("<ref...>", "ids, unique id prefixes, or names (the newest)")
      .option("-y, --yes", "do not ask for confirmation; required without a terminal");
  },
  parse: (references, flags) => ({ references, yes: flags.yes ?? false }),
  async run(context, { references, yes }) {
    const { reporter, signal, host } = context;
    const started = host.now();
    const library = await context.library();
    const { concurrency = defaultConcurrency } = (await context.config()).settings;
    const options = {
      concurrency,
      signal,
      onFailure: ({ label, error }: Parameters<Parameters<typeof runBatch>[1]["onFailure"]>[0]) =>
        references.length > 1 && reporter.problem(label, error),
    };
    // Look all of them up first: the question names them, and duplicates are deleted once.
    const found = await runBatch(references, {
      ...options,
      labelOf: (reference) => reference,
      run: async (reference) => await library.find(reference, signal),
    });
    throwIfCancelled(signal);
    const records = [...new Map(found.done.map((record) => [record.id, record])).values()];
    if (records.length > 0) await confirm(host, question(records), yes);
    const deleted = await runBatch(records, {
      ...options,
      labelOf: ({ id }) => id,
      async run(record) {
        return { ...record, action: "deleted" as const, ...(await library.remove(record, signal)) };
      },
      onDone: async (one) =>
        await reporter.item({
          value: one,
          id: one.id,
          line: (painter) => {
            const kept = one.reason === null ? "" : `its bytes stay: ${one.uri} (${whyKept[one.reason]})`;
            const line = `${painter.good("deleted")}  ${one.id}  ${painter.text(one.name)}`;
            return kept === "" ? line : `${line}  ${painter.faint(painter.text(kept))}`;
          },
        }),
    });
    const failures = [...found.failures, ...deleted.failures];
    const counts = { total: records.length + found.failures.length, deleted: deleted.done.length };
    return {
      envelope: {
        schema: "docproc.delete/1",
        documents: deleted.done,
        failures: failureList(failures, "ref"),
        summary: { ...counts, failed: failures.length, durationMs: host.now() - started },
      },
      text: () => "",
      note: deleted.done.some(({ reason }) => reason === "other-catalog") ? howToAdopt : undefined,
      failure: batchFailure(
        {
          ...deleted,
          total: counts.total,
          failedCount: failures.length,
          firstFailure: failures[0],
          codes: new Set([...found.codes, ...deleted.codes]),
        },
        "documents",
        "The others are deleted; run the command again for those that failed.",
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

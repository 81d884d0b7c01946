import { defaultConcurrency } from "../../core/limits.ts";
import type { DocumentRecord } from "../../document/record.ts";
import type { DocumentLibrary } from "../../library/library.ts";
import type { KeptFor, RemovedBytes } from "../../library/removal.ts";
import { batchFailure, runNamed } from "../batch.ts";
import { confirm } from "../confirm.ts";
import { display } from "../output/display.ts";
import { defineCommand, severalReferences } from "./command.ts";
import { otherVersions } from "./versions.ts";

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
    ["Delete the newest version of a path", "delete reports/invoice.pdf"],
    ["Delete without confirmation, in a script", "delete 019aae5c-1f2e --yes"],
    ["Delete the artifacts of a build", "delete $(docproc list --tag build=42 --all -q) --yes"],
  ],
  configure(command) {
    return command
      .argument("<ref...>", severalReferences)
      .option("-y, --yes", "do not ask for confirmation; required without a terminal");
  },
  parse: (given, flags): DeleteInput => ({ references: given, yes: flags.yes ?? false }),
  async run(context, { references: given, yes }) {
    const { reporter, signal, host } = context;
    const started = host.now();
    const library = await context.library();
    const { concurrency = defaultConcurrency } = (await context.config()).settings;
    let ofOtherCatalog = false;
    let staying: readonly string[] = [];
    const batch = await runNamed<Deleted>(given, {
      concurrency,
      inOrder: reporter.keepsOrder,
      signal,
      find: async (reference) => await library.find(reference, signal),
      // The question names all of them.
      async onFound(records) {
        if (records.length === 0) return;
        // Who gives an id means one version.
        const byPath = records.filter(({ id }) => !given.includes(id));
        staying = await versionsThatStay(library, byPath, records, signal);
        await confirm(host, `${staying.map((one) => `${one}\n`).join("")}${question(records)}`, yes);
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
            const line = `${painter.good("deleted")}  ${one.id}  ${painter.text(one.path)}`;
            return kept === "" ? line : `${line}  ${painter.faint(painter.text(kept))}`;
          },
        });
      },
      onFailure: ({ label, error, only }) => reporter.problem(label, error, { only }),
    });
    const { total, doneCount: deleted, failedCount: failed } = batch;
    return {
      envelope: { summary: { total, deleted, failed, durationMs: host.now() - started } },
      text: () => "",
      note: [...(yes ? staying : []), ...(ofOtherCatalog ? [howToAdopt] : [])].join("\n") || undefined,
      failure: batchFailure(
        batch,
        "documents",
        "The others are deleted. Run the command again for the failed documents.",
        signal,
      ),
    };
  },
});

/** Equal paths are told apart by their ids. */
function question(records: readonly DocumentRecord[]): string {
  const names = records.slice(0, namesAsked).map(({ path, id }) => `${display(path)} (${id})`);
  const more = records.length > namesAsked ? ` and ${records.length - namesAsked} more` : "";
  return `Delete ${names.join(", ")}${more}?`;
}

/** A sentence for each of the first paths that keep versions when `going` are deleted. */
async function versionsThatStay(
  library: DocumentLibrary,
  byPath: readonly DocumentRecord[],
  going: readonly DocumentRecord[],
  signal: AbortSignal,
): Promise<string[]> {
  const paths = [...new Set(byPath.map(({ path }) => path))].slice(0, namesAsked);
  const sentences: string[] = [];
  for (const path of paths) {
    const own = going.filter((record) => record.path === path);
    const others = await otherVersions(library, own, signal);
    if (others !== undefined) sentences.push(`${display(path)} keeps ${others}.`);
  }
  return sentences;
}

import { documentTags } from "../../document/record.ts";
import { tagEdit } from "../../library/tag.ts";
import { defineCommand, oneReference } from "./command.ts";

export const tag = defineCommand({
  examples: [
    ["Set tags", "tag invoice.pdf paid=yes year=2026"],
    ["Remove a tag", "tag invoice.pdf draft-"],
  ],
  configure(command) {
    return command.argument("<ref>", oneReference).argument("<changes...>", "key=value sets a tag, key- removes it");
  },
  parse([reference = "", ...changes]) {
    const unset = changes.filter((change) => !change.includes("=") && /.-$/s.test(change));
    const set = documentTags(changes.filter((change) => !unset.includes(change)));
    const keys = unset.map((change) => change.slice(0, -1));
    return { reference, edit: tagEdit(set, keys) };
  },
  async run({ library: openLibrary, reporter, signal }, { reference, edit }) {
    const library = await openLibrary();
    const document = await library.tag(await library.find(reference, signal), edit, signal);
    const envelope = { schema: "docproc.tag/1", ...document };
    await reporter.item({ value: envelope, id: document.id });
    const tags = Object.entries(document.tags).map(([key, value]) => `${key}=${value}`);
    return {
      envelope,
      text: (painter) => `${painter.good(document.action)} ${document.id}  ${painter.text(tags.join(" "))}`.trimEnd(),
    };
  },
});

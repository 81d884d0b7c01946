import { sharedSchemes } from "../../config/settings.ts";
import { documentPath } from "../../document/path.ts";
import { contentType, documentMetadata, documentTags, type TextMap } from "../../document/record.ts";
import type { FileProgress } from "../output/reporter.ts";
import { collect, defineCommand } from "./command.ts";

interface RegisterInput {
  readonly uri: string;
  readonly path: string | undefined;
  readonly contentType: string | undefined;
  readonly tags: TextMap;
  readonly documentMetadata: TextMap;
}

const schemes = sharedSchemes.join(":// or ");

export const register = defineCommand({
  examples: [
    ["Register an object of the configured bucket", "register s3://my-documents/incoming/invoice.pdf"],
    [
      "Register an object under another path, with a tag",
      "register s3://my-documents/dumps/17 --name dump.sql --tag app=shop",
    ],
  ],
  configure(command) {
    return command
      .argument("<uri>", `object in the configured storage, as ${schemes}://...; stays where it is`)
      .option("--name <path>", "path of the document in the library (default: last segment of the key)")
      .option("--content-type <type>", "content type (default: the object's own, else detected)")
      .option("--tag <key=value>", "tag to find it by; part of its identity (repeatable)", collect)
      .option("--meta <key=value>", "metadata to keep with it (repeatable)", collect)
      .option("--on-duplicate <reuse|store>", "what to do if the document is already stored (default: reuse)");
  },
  parse([uri = ""], flags): RegisterInput {
    return {
      uri,
      path: flags.name === undefined ? undefined : documentPath(flags.name),
      contentType: flags.contentType === undefined ? undefined : contentType(flags.contentType),
      tags: documentTags(flags.tag ?? []),
      documentMetadata: documentMetadata(flags.meta ?? []),
    };
  },
  async run(context, { uri, ...given }) {
    const { reporter, signal } = context;
    const library = await context.library();
    const { onDuplicate } = library.settings;
    let progress: FileProgress | undefined;
    const onBegin = (size: number) => {
      progress = reporter.progress.start(uri, size);
      return progress.advance;
    };
    try {
      const document = await library.register(uri, { ...given, onDuplicate, signal, onBegin });
      const envelope = { schema: "docproc.register/1", ...document };
      await reporter.item({ value: envelope, id: document.id });
      const { id, path, size, action } = document;
      return {
        envelope,
        text: (painter) => {
          const mark = action === "registered" ? painter.good(action) : painter.faint(action);
          return `${mark} ${id}  ${painter.text(path)}  ${painter.faint(painter.size(size))}`;
        },
        note: document.uri === uri ? undefined : `The same document is stored as ${document.uri}.`,
      };
    } finally {
      progress?.done();
    }
  },
});

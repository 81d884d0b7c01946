import { mkdtemp, rm } from "node:fs/promises";
import { platform, tmpdir } from "node:os";
import { join, sep } from "node:path";
import { assertDesktop, showOnDesktop } from "../desktop.ts";
import { downloadTo } from "../download.ts";
import { fromSystemError } from "../errors.ts";
import { fileNameOf } from "../file-name.ts";
import { defineCommand } from "./command.ts";

export const open = defineCommand<object, { reference: string }>({
  examples: [
    ["The newest of a name, in the desktop's own viewer", "open invoice.pdf"],
    ["Another one, by its id", "open 019aae5c-1f2e"],
  ],
  configure(command) {
    command.argument("<ref>", "id, unique beginning of an id, or name");
  },
  parse([reference = ""]) {
    return { reference };
  },
  async run({ documents, reporter, signal, host }, { reference }) {
    assertDesktop(host.env, platform());
    const service = await documents();
    const record = await service.find(reference, signal);
    // Hidden or not: it is alone in a directory of its own.
    const file = fileNameOf(record.name, sep === "\\", true);
    // A copy for this user alone: an editor that saved into the stored file would make it another document.
    const folder = await mkdtemp(join(tmpdir(), "docproc-")).catch((error) => {
      throw fromSystemError(error, tmpdir());
    });
    const path = join(folder, file);
    const progress = reporter.progress.start(record.name, record.size);
    try {
      const readOnly = { force: false, umask: 0o377 };
      await downloadTo(path, service.read(record, signal), { ...readOnly, signal, onProgress: progress.advance });
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    } finally {
      progress.done();
    }
    await showOnDesktop(path);
    const envelope = { schema: "docproc.open/1", id: record.id, name: record.name, path };
    await reporter.item({ value: envelope, id: record.id });
    return { envelope, text: (painter) => `${painter.good("opened")} ${record.id}  ${painter.text(path)}` };
  },
});

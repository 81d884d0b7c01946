import { mkdtemp } from "node:fs/promises";
import { platform, tmpdir } from "node:os";
import { basename, dirname, join, resolve, sep } from "node:path";
import { fromSystemError } from "../../core/errors.ts";
import { fileNameOf } from "../../files/names.ts";
import { trustedOwners } from "../../files/ownership.ts";
import { removeDirectory } from "../../files/removal.ts";
import { downloadTo } from "../../transfer/download.ts";
import { assertDesktop, assertNoProgram, showOnDesktop } from "../desktop.ts";
import { defineCommand, oneReference } from "./command.ts";

export const open = defineCommand({
  examples: [
    ["Open the newest version of a path", "open invoice.pdf"],
    ["Open an older version by its id", "open 019aae5c-1f2e"],
  ],
  configure(command) {
    return command.argument("<ref>", oneReference);
  },
  parse([reference = ""]) {
    return { reference };
  },
  async run({ library: openLibrary, reporter, signal, host }, { reference }) {
    const { env, cwd, uid } = host;
    const owners = trustedOwners(uid, env);
    const desktop = { platform: platform(), env, cwd, owners, signal };
    assertDesktop(desktop);
    const library = await openLibrary();
    const record = await library.find(reference, signal);
    assertNoProgram(record.name);
    // Hidden files are fine in a directory of their own.
    const file = fileNameOf(record.name, sep === "\\", true);
    // A private read-only copy: an editor must not change the stored file.
    const folder = await mkdtemp(join(resolve(tmpdir()), "docproc-")).catch((error) => {
      throw fromSystemError(error, tmpdir());
    });
    const path = join(folder, file);
    const progress = reporter.progress.start(record.path, record.size);
    try {
      const readOnly = { force: false, umask: 0o377 };
      await downloadTo(path, library.read(record, signal), { ...readOnly, signal, onProgress: progress.advance });
    } catch (error) {
      // A failed download leaves it empty.
      const own = { root: dirname(folder), path: basename(folder), form: /^docproc-[^/]{6}$/ };
      await removeDirectory(own).catch(() => {});
      throw error;
    } finally {
      progress.done();
    }
    await showOnDesktop(path, desktop);
    const envelope = { schema: "docproc.open/1", id: record.id, path: record.path, file: path };
    await reporter.item({ value: envelope, id: record.id });
    return { envelope, text: (painter) => `${painter.good("opened")} ${record.id}  ${painter.text(path)}` };
  },
});

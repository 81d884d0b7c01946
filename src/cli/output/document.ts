/** Writes a document to standard output. */

import { DocprocError } from "../../core/errors.ts";
import type { DocumentRecord } from "../../document/record.ts";
import type { Context } from "../context.ts";
import { writeAll } from "./reporter.ts";

/**
 * Writes a document to standard output. Written bytes cannot be taken back, so damage is reported only at the end.
 * @throws USAGE for bytes that would garble a terminal
 */
export async function writeToStdout(
  { host, reporter, signal, library }: Context,
  record: DocumentRecord,
): Promise<void> {
  if (host.stdout.isTTY && !isReadable(record.contentType)) {
    throw new DocprocError("USAGE", `${record.path} is ${record.contentType}, which a terminal cannot show.`, {
      hint: "Pipe it into a program, or write it to a file: docproc download REF -o FILE",
    });
  }
  for await (const chunk of (await library()).read(record, signal)) {
    // A closed reader has what it wanted.
    if (reporter.closed) return;
    await writeAll(host.stdout, chunk);
  }
}

function isReadable(contentType: string): boolean {
  return /^text\/|^application\/(json|xml|yaml|toml|sql|javascript|x-sh)|[+](json|xml)\b/i.test(contentType);
}

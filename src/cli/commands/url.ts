import { duration } from "../../config/values.ts";
import type { DocumentRecord } from "../../document/record.ts";
import { expiryOf, type SignedRequest } from "../../library/sign.ts";
import { defineCommand, oneReference } from "./command.ts";

interface UrlInput {
  readonly reference: string;
  readonly method: "GET" | "PUT";
  /** Milliseconds. */
  readonly expiresIn: number;
}

export const url = defineCommand({
  examples: [
    ["Print a link that is valid for an hour", "url invoice.pdf --expires-in 1h"],
    ["Download with curl, without its own credentials", "url app.tgz | xargs curl -fsSLJO"],
    ["Print a link that restores lost bytes", "url invoice.pdf --put"],
  ],
  configure(command) {
    return command
      .argument("<ref>", oneReference)
      .option("--expires-in <time>", "how long the link is valid, such as 30s, 1h or 7d (default: 15m)")
      .option("--put", "print a link for restoring the document's bytes if they are lost");
  },
  parse([reference = ""], { expiresIn = "15m", put }): UrlInput {
    return { reference, method: put ? "PUT" : "GET", expiresIn: expiryOf(duration(expiresIn), expiresIn) };
  },
  async run({ library: openLibrary, reporter, signal }, { reference, method, expiresIn }) {
    const library = await openLibrary();
    const record = await library.find(reference, signal);
    const signed = await library.sign(record, { method, expiresIn, signal });
    const envelope = {
      schema: "docproc.url/1",
      id: record.id,
      path: record.path,
      method,
      url: signed.url,
      headers: signed.headers,
      expiresAt: signed.expiresAt.toISOString(),
    };
    await reporter.item({ value: envelope, id: record.id });
    return {
      envelope,
      text: () => signed.url,
      note: method === "PUT" ? howToSend(record, signed) : undefined,
      warning: earlyEnd(signed),
    };
  },
});

/** The URL is not repeated: it grants access and belongs on stdout alone. */
function howToSend({ path }: DocumentRecord, { headers }: SignedRequest): string {
  // A content type may be any text from the catalog, and this is for a shell.
  const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const flags = Object.entries(headers).map(([header, value]) => `-H ${quoted(`${header}: ${value}`)}`);
  return `Send ${path}, and nothing else, with: curl -fT FILE ${flags.join(" ")} URL`;
}

function earlyEnd({ expiresAt, credentialsExpireAt }: SignedRequest): string | undefined {
  if (credentialsExpireAt === "unknown") {
    return "The URL expires with the temporary credentials that signed it, at an unknown time.";
  }
  if (credentialsExpireAt?.getTime() !== expiresAt.getTime()) return undefined;
  return `The URL expires earlier, at ${expiresAt.toISOString()}, with the temporary credentials that signed it.`;
}

import { duration } from "../../config/values.ts";
import { DocprocError } from "../../core/errors.ts";
import type { DocumentRecord } from "../../document/record.ts";
import { longestExpiry, type SignedRequest } from "../../storage/service.ts";
import { defineCommand } from "./command.ts";

interface UrlFlags {
  expiresIn?: string;
  put?: boolean;
}

interface UrlInput {
  readonly reference: string;
  readonly method: "GET" | "PUT";
  /** Milliseconds. */
  readonly expiresIn: number;
}

export const url = defineCommand<UrlFlags, UrlInput>({
  examples: [
    ["Print a link that is valid for an hour", "url invoice.pdf --expires-in 1h"],
    ["Download with curl, on a host without credentials", 'curl -fsSLJO "$(docproc url app.tgz)"'],
    ["Print a link that restores lost bytes", "url invoice.pdf --put"],
  ],
  configure(command) {
    command
      .argument("<ref>", "id, unique id prefix, or name")
      .option("--expires-in <time>", "how long the link is valid, such as 30s, 1h or 7d (default: 15m)")
      .option("--put", "print a link for restoring the document's bytes if they are lost");
  },
  parse([reference = ""], { expiresIn = "15m", put }) {
    return { reference, method: put ? "PUT" : "GET", expiresIn: parseExpiry(expiresIn) };
  },
  async run({ documents, reporter, signal }, { reference, method, expiresIn }) {
    const service = await documents();
    const record = await service.find(reference, signal);
    const signed = await service.sign(record, { method, expiresIn, signal });
    const envelope = {
      schema: "docproc.url/1",
      id: record.id,
      name: record.name,
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

function parseExpiry(text: string): number {
  const expiry = Math.floor(duration(text) / 1000) * 1000;
  if (expiry >= 1000 && expiry <= longestExpiry) return expiry;
  throw new DocprocError("USAGE", `A URL cannot be good for ${JSON.stringify(text)}.`, {
    hint: "Give a time like 15m or 12h, from one second to seven days.",
  });
}

/** The URL is not repeated: it lets its reader in, and belongs on stdout alone. */
function howToSend({ name }: DocumentRecord, { headers }: SignedRequest): string {
  // A content type is whatever somebody wrote into the catalog, and this is for a shell.
  const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const flags = Object.entries(headers).map(([header, value]) => `-H ${quoted(`${header}: ${value}`)}`);
  return `Send ${name}, and nothing else, with: curl -fT FILE ${flags.join(" ")} URL`;
}

function earlyEnd({ expiresAt, credentialsExpireAt }: SignedRequest): string | undefined {
  if (credentialsExpireAt === "unknown") {
    return "The URL ends with the temporary credentials that signed it, and nobody says when that is.";
  }
  if (credentialsExpireAt?.getTime() !== expiresAt.getTime()) return undefined;
  return `The URL ends earlier, at ${expiresAt.toISOString()}, with the temporary credentials that signed it.`;
}

/** The content type of a document, the same on every machine: no table of the operating system is asked. */
import { isUtf8 } from "node:buffer";
import { fileTypeFromBuffer } from "file-type";
import { Mime } from "mime";
import otherTypes from "mime/types/other.js";
import standardTypes from "mime/types/standard.js";

/** Bytes of a document's beginning that are enough for {@link detectContentType}. */
export const sniffLength = 4_100;

/** Registered types that the package's tables give as unknown: https://www.iana.org/assignments/media-types */
const registered = { "application/vnd.debian.binary-package": ["deb"] };
const mime = new Mime(standardTypes, otherTypes).define(registered, true);

const unknown = "application/octet-stream";

/**
 * Decides from the first bytes and the name. The name knows more about containers and text (a `.docx` is a zip,
 * a `.csv` is text); the bytes know more about everything else (a PNG that is called `photo.jpg`).
 * @param head the first bytes, at best {@link sniffLength} of them
 */
export async function detectContentType(name: string, head: Uint8Array): Promise<string> {
  const named = mime.getType(name);
  const byName = named === null || named === unknown ? undefined : named;
  const byBytes = await sniff(head);
  if (byBytes !== undefined && !isContainer(byBytes)) {
    // `application/x-…` is the sniffer's own invention where the name has a registered one.
    return byName !== undefined && sameKind(byName, byBytes) ? byName : byBytes;
  }
  const text = byBytes === undefined && head.length > 0 && isText(head);
  if (byName !== undefined && !(text && isBinaryMedia(byName))) return byName;
  return byBytes ?? (text ? "text/plain" : unknown);
}

/** What a sniffer sees when the format proper is inside. */
function isContainer(type: string): boolean {
  return /^application\/(zip|gzip|xml|x-cfb|octet-stream)$/.test(type);
}

function sameKind(byName: string, byBytes: string): boolean {
  const [nameGroup, bytesGroup] = [byName.split("/")[0], byBytes.split("/")[0]];
  return byBytes.startsWith("application/")
    ? nameGroup === "application"
    : nameGroup === bytesGroup && isAlias(byName, byBytes);
}

/** `audio/x-wav` and `audio/wav`, `video/matroska` and `video/x-matroska`: the same, registered or not. */
function isAlias(byName: string, byBytes: string): boolean {
  const bare = (type: string) => type.replace("/x-", "/").replace("/vnd.", "/");
  return bare(byName) === bare(byBytes);
}

/** By the extension `.ts`, a TypeScript file would be an MPEG transport stream. */
function isBinaryMedia(type: string): boolean {
  return /^(image|audio|video|font)\//.test(type) && !type.endsWith("+xml");
}

async function sniff(head: Uint8Array): Promise<string | undefined> {
  try {
    return (await fileTypeFromBuffer(head))?.mime;
  } catch {
    // The beginning of a file may end in the middle of what the sniffer reads.
    return undefined;
  }
}

function isText(head: Uint8Array): boolean {
  // The cut may fall into a character of up to four bytes.
  return !head.includes(0) && [0, 1, 2, 3].some((cut) => isUtf8(head.subarray(0, head.length - cut)));
}

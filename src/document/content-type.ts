/** Detects content types, the same on every machine: the operating system's table is not used. */
import { extname } from "node:path";
import { fileTypeFromBuffer } from "file-type";
import { Mime } from "mime";
import otherTypes from "mime/types/other.js";
import standardTypes from "mime/types/standard.js";

/** Leading bytes that {@link detectContentType} needs. */
export const sniffLength = 4_100;

/** Registered types that mime's tables lack: https://www.iana.org/assignments/media-types */
const registered = { "application/vnd.debian.binary-package": ["deb"], "application/vnd.efi.iso": ["iso"] };
const mime = new Mime(standardTypes, otherTypes).define(registered, true);

const unknown = "application/octet-stream";

/**
 * Decides from the first bytes and the name. The name is better for text and containers (`.csv`, and `.docx`, which is
 * a zip); the bytes are better for the rest (a PNG named `photo.jpg`).
 * @param head the first bytes, ideally {@link sniffLength} of them
 */
export async function detectContentType(name: string, head: Uint8Array): Promise<string> {
  const text = head.length > 0 && isText(head.subarray(0, sniffLength));
  const byName = typeOfExtension(extname(name));
  const byBytes = await sniff(head, text);
  if (byBytes !== undefined && !isContainer(byBytes)) return byBytes;
  // The extension `.ts` also means video: media types are trusted only from bytes.
  const credible = byName !== undefined && !(isMedia(byName) && (text || head.length === 0));
  return (credible ? byName : byBytes) ?? (text ? "text/plain" : unknown);
}

function typeOfExtension(extension: string): string | undefined {
  const type = extension === "" ? null : mime.getType(extension);
  return type === null || type === unknown ? undefined : type;
}

/** Formats that contain the actual format. */
function isContainer(type: string): boolean {
  return /^application\/(zip|gzip|xml|x-cfb)$/.test(type);
}

function isMedia(type: string): boolean {
  return /^(image|audio|video|font)\//.test(type) && !type.endsWith("+xml");
}

/** Text formats that the sniffer recognises. */
const textFormats = /^(text\/.*|application\/(xml|pdf|postscript|rtf|pgp-encrypted)|image\/svg\+xml)$/;

async function sniff(head: Uint8Array, text: boolean): Promise<string | undefined> {
  const found = await fileTypeFromBuffer(head).catch(() => undefined);
  // "BM" begins a bitmap, but also a sentence about cars.
  if (found === undefined || (text && !textFormats.test(found.mime))) return undefined;
  // Prefer the registered name to the sniffer's own.
  const named = typeOfExtension(found.ext);
  return named?.split("/")[0] === found.mime.split("/")[0] ? named : found.mime;
}

/** UTF-8, or UTF-16 with a byte order mark. The last character may be cut off. */
function isText(head: Uint8Array): boolean {
  if ((head[0] === 0xff && head[1] === 0xfe) || (head[0] === 0xfe && head[1] === 0xff)) return true;
  if (head.includes(0)) return false;
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(head, { stream: true });
    return true;
  } catch {
    return false;
  }
}
